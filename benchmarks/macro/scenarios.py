"""What is measured, as a table: a question, the figures that answer it, and what they must be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.macro.load import FAULTS, Account, Load
from benchmarks.macro.targets import Target

LATENCY_RATE_PER_SECOND = 50.0  # far below what any target can do: the machine rests in between
PROXY_CONNECTIONS = 64
ECHO_CLIENTS = 64
SETTLE_SECONDS = 0.5  # allocators give back what a burst of new holds took

Size = Mapping[str, int]
Figures = dict[str, float]
Measure = Callable[[Target, Load, Size], Figures]


@dataclass(frozen=True)
class Bound:
    """What a figure of Fanway must not exceed: a number, or a multiple of another target's."""

    figure: str
    limit: float
    times: str | None = None  # the target whose figure is the unit

    def __str__(self) -> str:
        return f"≤ {self.limit:.4g}" + (f" times {self.times}" if self.times else "")


@dataclass(frozen=True)
class Scenario:
    """One row. `measure` returns figures whose names end in their unit, and the FAULTS."""

    question: str
    measure: Measure
    full: Size
    quick: Size
    bounds: tuple[Bound, ...] = ()
    targets: tuple[str, ...] = ("fanway", "floor")


def _faults(*accounts: Account) -> Figures:
    """The faults of all accounts together."""
    return {name: sum(account.get(name, 0) for account in accounts) for name in FAULTS}


def _percentiles(account: Account) -> Figures:
    return {f"{name}_us": value for name, value in account["latency_us"].items()}


def _fanout(path: str) -> Measure:
    """A broadcast to the subscribers of a path, over and over."""

    def measure(target: Target, load: Load, size: Size) -> Figures:
        load.subscribe(size["subscribers"], path)
        return _broadcast(target, load, size)

    return measure


def _broadcast(target: Target, load: Load, size: Size) -> Figures:
    warm = load.publish(size["warm"], size_bytes=size["payload_bytes"])
    target.wait_for_rest()
    all_before, worker_before = target.cpu_seconds(), target.worker_cpu_seconds()
    account = load.publish(size["messages"], size_bytes=size["payload_bytes"])
    target.wait_for_rest()
    microseconds = 1e6 / max(1, account["delivered"])
    return {
        "worker_cpu_us_per_delivery": (target.worker_cpu_seconds() - worker_before) * microseconds,
        "cpu_us_per_delivery": (target.cpu_seconds() - all_before) * microseconds,
        "deliveries_per_second": account["delivered"] / account["seconds"],
        "bytes_per_delivery": account["received_bytes"] / max(1, account["delivered"]),
        **_percentiles(account),
        **_faults(warm, account),
    }


def _idle_memory(target: Target, load: Load, size: Size) -> Figures:
    target.wait_for_rest()
    before = target.pss_bytes()
    load.subscribe(size["subscribers"])
    target.wait_for_rest()
    time.sleep(SETTLE_SECONDS)
    after = target.pss_bytes()
    proof = load.publish(1, size_bytes=size["payload_bytes"])  # that every hold is alive
    return {"pss_bytes_per_hold": (after - before) / size["subscribers"], **_faults(proof)}


def _ws_memory(target: Target, load: Load, size: Size) -> Figures:
    target.wait_for_rest()
    worker_before, others_before = target.worker_pss_bytes(), target.other_pss_bytes()
    load.subscribe(size["subscribers"], "/ws")
    target.wait_for_rest()
    time.sleep(SETTLE_SECONDS)
    worker, others = target.worker_pss_bytes(), target.other_pss_bytes()
    proof = load.publish(1, size_bytes=size["payload_bytes"])
    return {
        "worker_pss_bytes_per_client": (worker - worker_before) / size["subscribers"],
        "control_pss_bytes_per_client": (others - others_before) / size["subscribers"],
        **_faults(proof),
    }


def _echo(path: str) -> Measure:
    """Round trips through Fanway to the origin of a path."""

    def measure(target: Target, load: Load, size: Size) -> Figures:
        load.subscribe(ECHO_CLIENTS, path)
        warm = load.echo(size["warm"], size_bytes=size["payload_bytes"])
        target.wait_for_rest()
        all_before, worker_before = target.cpu_seconds(), target.worker_cpu_seconds()
        account = load.echo(size["round_trips"], size_bytes=size["payload_bytes"])
        target.wait_for_rest()
        spent = target.cpu_seconds() - all_before
        worker_spent = target.worker_cpu_seconds() - worker_before
        answered = max(1, account["answered"])
        return {
            "cpu_us_per_round_trip": spent * 1e6 / answered,
            "worker_cpu_us_per_round_trip": worker_spent * 1e6 / answered,
            "round_trips_per_cpu_second": answered / spent,
            "round_trips_per_second": answered / account["seconds"],
            **_percentiles(account),
            **_faults(warm, account),
        }

    return measure


def _new_hold(target: Target, load: Load, size: Size) -> Figures:
    target.wait_for_rest()
    all_before, worker_before = target.cpu_seconds(), target.worker_cpu_seconds()
    account = load.subscribe(size["subscribers"])
    target.wait_for_rest()
    microseconds = 1e6 / size["subscribers"]
    return {
        "cpu_us_per_hold": (target.cpu_seconds() - all_before) * microseconds,
        "worker_cpu_us_per_hold": (target.worker_cpu_seconds() - worker_before) * microseconds,
        "holds_per_second": size["subscribers"] / account["seconds"],
        **_faults(account),
    }


def _latency(target: Target, load: Load, size: Size) -> Figures:
    load.subscribe(1)
    pace: dict[str, Any] = {
        "size_bytes": size["payload_bytes"],
        "per_second": LATENCY_RATE_PER_SECOND,
    }
    warm = load.publish(size["warm"], **pace)
    account = load.publish(size["messages"], **pace)
    return {**_percentiles(account), **_faults(warm, account)}


def _plain_proxy(target: Target, load: Load, size: Size) -> Figures:
    warm = load.request(size["warm"], connections=PROXY_CONNECTIONS)
    target.wait_for_rest()
    all_before, worker_before = target.cpu_seconds(), target.worker_cpu_seconds()
    account = load.request(size["requests"], connections=PROXY_CONNECTIONS)
    target.wait_for_rest()
    microseconds = 1e6 / max(1, account["answered"])
    return {
        "cpu_us_per_request": (target.cpu_seconds() - all_before) * microseconds,
        "worker_cpu_us_per_request": (target.worker_cpu_seconds() - worker_before) * microseconds,
        "requests_per_second": account["answered"] / account["seconds"],
        **_percentiles(account),
        **_faults(warm, account),
    }


SCENARIOS: dict[str, Scenario] = {
    "sse-fanout": Scenario(
        question="CPU per delivery, many SSE subscribers of one channel, back to back",
        measure=_fanout("/sse"),
        full={"subscribers": 10_000, "messages": 60, "warm": 5, "payload_bytes": 64},
        quick={"subscribers": 1_000, "messages": 60, "warm": 5, "payload_bytes": 64},
        bounds=(Bound("worker_cpu_us_per_delivery", 1.15, times="floor"),),
    ),
    "idle-memory": Scenario(
        question="user memory per idle SSE hold, all processes together",
        measure=_idle_memory,
        full={"subscribers": 15_000, "payload_bytes": 64},
        quick={"subscribers": 2_000, "payload_bytes": 64},
        bounds=(Bound("pss_bytes_per_hold", 2048),),
    ),
    "new-hold": Scenario(
        question="CPU of all processes per new hold, each with its own origin call",
        measure=_new_hold,
        full={"subscribers": 10_000},
        quick={"subscribers": 1_000},
        bounds=(Bound("cpu_us_per_hold", 270),),
    ),
    "latency": Scenario(
        question="publish to receipt, one subscriber, idle machine",
        measure=_latency,
        full={"messages": 200, "warm": 50, "payload_bytes": 64},
        quick={"messages": 50, "warm": 20, "payload_bytes": 64},
        bounds=(Bound("p50_us", 1, times="pushpin"),),
        targets=("fanway", "floor", "pushpin"),
    ),
    "plain-proxy": Scenario(
        question="CPU of all processes per small request that is only proxied",
        measure=_plain_proxy,
        full={"requests": 20_000, "warm": 2_000},
        quick={"requests": 2_000, "warm": 200},
    ),
    "ws-fanout": Scenario(
        question="CPU per delivery, many WebSocket subscribers of one channel, back to back",
        measure=_fanout("/ws"),
        full={"subscribers": 10_000, "messages": 60, "warm": 5, "payload_bytes": 64},
        quick={"subscribers": 1_000, "messages": 60, "warm": 5, "payload_bytes": 64},
        bounds=(Bound("worker_cpu_us_per_delivery", 1.15, times="floor"),),
    ),
    "ws-fanout-1k": Scenario(
        question="the same with 1 KiB",
        measure=_fanout("/ws"),
        full={"subscribers": 10_000, "messages": 60, "warm": 5, "payload_bytes": 1024},
        quick={"subscribers": 1_000, "messages": 60, "warm": 5, "payload_bytes": 1024},
        bounds=(Bound("worker_cpu_us_per_delivery", 1.15, times="floor"),),
    ),
    "ws-deflate": Scenario(
        question="1 KiB of JSON to subscribers that offer compression, accepted or not",
        measure=_fanout("/ws-deflate"),
        full={"subscribers": 10_000, "messages": 60, "warm": 5, "payload_bytes": 1024},
        quick={"subscribers": 1_000, "messages": 60, "warm": 5, "payload_bytes": 1024},
        bounds=(
            Bound("worker_cpu_us_per_delivery", 1.15, times="uncompressed"),
            Bound("bytes_per_delivery", 1 / 3, times="uncompressed"),
        ),
        targets=("fanway", "uncompressed"),
    ),
    "ws-memory": Scenario(
        question="user memory per idle WebSocket with one subscription",
        measure=_ws_memory,
        full={"subscribers": 15_000, "payload_bytes": 64},
        quick={"subscribers": 2_000, "payload_bytes": 64},
        bounds=(
            Bound("worker_pss_bytes_per_client", 2560),
            Bound("control_pss_bytes_per_client", 1024),
        ),
        targets=("fanway",),
    ),
    "ws-echo-pass": Scenario(
        question=f"round trips of {ECHO_CLIENTS} clients to a WebSocket origin",
        measure=_echo("/pass"),
        full={"round_trips": 50_000, "warm": 2_000, "payload_bytes": 256},
        quick={"round_trips": 5_000, "warm": 500, "payload_bytes": 256},
        bounds=(Bound("cpu_us_per_round_trip", 1 / 1.5, times="pushpin"),),
        targets=("fanway", "pushpin"),
    ),
    "ws-echo-http": Scenario(
        question=f"round trips of {ECHO_CLIENTS} clients to an origin over HTTP",
        measure=_echo("/echo"),
        full={"round_trips": 50_000, "warm": 2_000, "payload_bytes": 256},
        quick={"round_trips": 5_000, "warm": 500, "payload_bytes": 256},
        bounds=(Bound("cpu_us_per_round_trip", 1 / 1.5, times="pushpin"),),
        targets=("fanway", "pushpin"),
    ),
}
