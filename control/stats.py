"""What is counted: by the workers, who send tallies, and by control itself.

One custom Collector gives the tallies to Prometheus; what control counts are Prometheus' own
objects. Counting never fails and never waits; nothing here decides anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CALL_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
CALL_OUTCOMES = ("answered", "failed", "unreachable", "cancelled")


@dataclass(frozen=True, slots=True)
class _Shown:
    """How counters of the tally are shown: one metric, of one counter or one a label."""

    name: str
    text: str
    counters: dict[str, str]  # counter -> value of the label
    label: str = ""
    is_gauge: bool = False


# The counters are those of fastpath/tally.pxd.
SHOWN = (
    _Shown("connections", "Client connections now.", {"sessions": ""}, is_gauge=True),
    _Shown(
        "holds",
        "Held connections now.",
        {"holds_response": "response", "holds_stream": "stream", "holds_ws": "ws"},
        "mode",
        is_gauge=True,
    ),
    _Shown("connections_accepted", "Client connections accepted.", {"accepted": ""}),
    _Shown("requests", "Requests of clients.", {"requests": ""}),
    _Shown("requests_refused", "Malformed, too big or too slow.", {"refused_requests": ""}),
    _Shown("messages", "Messages that reached a worker.", {"messages": ""}),
    _Shown(
        "deliveries",
        "Messages delivered to a client.",
        {
            "delivered_response": "http-response",
            "delivered_stream": "http-stream",
            "delivered_ws": "ws-message",
        },
        "transport",
    ),
    _Shown("keep_alives", "Keep-alives sent.", {"keep_alives": ""}),
    _Shown("asked_again", "Holds that asked their origin again.", {"asked_again": ""}),
    _Shown("slow_ended", "Clients ended because they did not read.", {"ended_slow": ""}),
    _Shown(
        "faulty_ended", "WebSockets ended because they broke the protocol.", {"ended_faulty": ""}
    ),
    _Shown("ghost_orders", "Orders for a client that had just left.", {"dropped_ghost": ""}),
    _Shown(
        "bytes",
        "Bytes from and to clients.",
        {"bytes_in": "in", "bytes_out": "out"},
        "direction",
    ),
)
DROPPED_BY_WORKERS = {
    "dropped_queue": "queue_full",
    "dropped_midway": "message_midway",
    "dropped_hwm": "message_hwm",
    "dropped_unjudged": "not_judged",
}  # counter -> reason
GAUGES = frozenset(c for shown in SHOWN if shown.is_gauge for c in shown.counters)


@dataclass(slots=True)
class _WorkerTally:
    """The last tally of one worker process."""

    pid: int
    is_linked: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)


class Stats(Collector):
    """Everything counted, and the registry that /metrics shows."""

    def __init__(
        self,
        *,
        channels_count: Callable[[], int],
        backlogs: Callable[[], Mapping[int, int]],
        unsequenced: Callable[[], Mapping[str, int]],
    ) -> None:
        """Take whom to ask when somebody looks.

        `backlogs` are bytes by worker, `unsequenced` the items that the sequencer dropped, by
        reason.
        """
        self._channels_count = channels_count
        self._backlogs = backlogs
        self._unsequenced = unsequenced
        self._tallies: dict[int, _WorkerTally] = {}
        self._totals: Counter[str] = Counter()  # of workers that have been replaced
        self.items_count = 0
        self.dropped: Counter[str] = Counter()  # reason -> items not passed on to a worker
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the lines
        self.registry = prometheus.CollectorRegistry()
        self.registry.register(self)
        calls = prometheus.Counter(
            "fanway_origin_calls", "Calls to origins.", ["outcome"], registry=self.registry
        )
        self._calls = {outcome: calls.labels(outcome) for outcome in CALL_OUTCOMES}
        self._call_seconds = prometheus.Histogram(
            "fanway_origin_call_seconds",
            "From a request to the head of its answer.",
            buckets=CALL_SECONDS_BUCKETS,
            registry=self.registry,
        )

    # -- counting

    def origin_called(self, outcome: str, seconds: float) -> None:
        """Count a call to an origin; `outcome` is one of CALL_OUTCOMES."""
        self._calls[outcome].inc()
        if outcome == "answered":
            self._call_seconds.observe(seconds)

    def worker_greeted(self, worker: int, pid: int) -> None:
        """Begin to count a worker; what a dead one of its number has counted stays counted."""
        older = self._tallies.get(worker)
        if older is not None and older.pid == pid:
            older.is_linked = True
            return
        if older is not None:
            self._totals.update({c: n for c, n in older.counts.items() if c not in GAUGES})
        self._tallies[worker] = _WorkerTally(pid)

    def worker_tallied(self, worker: int, counts: Mapping[str, int]) -> None:
        """Take the counters of a worker: its totals since it began, and its gauges."""
        self._tallies[worker].counts = counts

    def worker_lost(self, worker: int) -> None:
        """Show a worker's gauges no longer."""
        self._tallies[worker].is_linked = False

    # -- showing

    def merged(self) -> Counter[str]:
        """All workers' counters: gauges of the linked ones, totals of all there ever were."""
        merged = Counter(self._totals)
        for tally in self._tallies.values():
            for counter, number in tally.counts.items():
                if tally.is_linked or counter not in GAUGES:
                    merged[counter] += number
        return merged

    def collect(self) -> Iterator[Metric]:
        """Give every metric but those of the origin calls, which are in the registry too."""
        counts = self.merged()
        for shown in SHOWN:
            yield _family(shown, counts)
        yield CounterMetricFamily("fanway_items", "Items published.", value=self.items_count)
        dropped = CounterMetricFamily(
            "fanway_dropped", "Items or deliveries dropped.", labels=["reason"]
        )
        by_workers = {reason: counts[c] for c, reason in DROPPED_BY_WORKERS.items()}
        for reason, number in {**by_workers, **self._unsequenced(), **self.dropped}.items():
            dropped.add_metric([reason], number)
        yield dropped
        yield GaugeMetricFamily(
            "fanway_channels", "Channels that are held now.", value=self._channels_count()
        )
        backlogs = self._backlogs()
        yield GaugeMetricFamily(
            "fanway_workers_linked", "Workers with a link.", value=len(backlogs)
        )
        backlog = GaugeMetricFamily(
            "fanway_link_backlog_bytes", "Orders that a worker has not taken.", labels=["worker"]
        )
        for worker, count_bytes in backlogs.items():
            backlog.add_metric([str(worker)], count_bytes)
        yield backlog


def _family(shown: _Shown, counts: Mapping[str, int]) -> Metric:
    kind = GaugeMetricFamily if shown.is_gauge else CounterMetricFamily
    labels = [shown.label] if shown.label else []
    family = kind(f"fanway_{shown.name}", shown.text, labels=labels)
    for counter, value in shown.counters.items():
        family.add_metric([value] if shown.label else [], counts[counter])
    return family
