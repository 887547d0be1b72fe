"""The hold table as fan-out uses it: holding, walking the spools of a channel, sending.

A publish to many is timed in its two halves. The mark walks the table and appends one shared frame
to every session; the flush is one send(2) for each session.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.conftest import ROUNDS, Stage
from fastpath import probe_session as probe

CHANNEL = b"news"
HOLDS = 200  # each has two ends, and a process may have 1,024 descriptors
EVENT = (0, b"data: " + b"x" * 64 + b"\n\n")  # action SEND


@pytest.fixture
def crowd(stage: Stage) -> Stage:
    for _ in range(HOLDS):
        stage.hold(CHANNEL)
    stage.rest()
    return stage


def test_mark_200_holds(benchmark: BenchmarkFixture, crowd: Stage) -> None:
    def publish() -> None:
        probe.publish(crowd.fanout, CHANNEL, stream=EVENT)

    publish()
    benchmark.pedantic(publish, setup=crowd.rest, rounds=ROUNDS)
    assert probe.waiting_count(crowd.roster) == HOLDS


def test_flush_200_holds(benchmark: BenchmarkFixture, crowd: Stage) -> None:
    def mark() -> None:
        probe.publish(crowd.fanout, CHANNEL, stream=EVENT)
        if probe.waiting_count(crowd.roster) > HOLDS:
            crowd.rest()
            probe.publish(crowd.fanout, CHANNEL, stream=EVENT)

    benchmark.pedantic(crowd.loop.turn, setup=mark, rounds=ROUNDS)
    assert probe.waiting_count(crowd.roster) == 0


def test_publish_to_a_channel_that_nobody_holds(benchmark: BenchmarkFixture, crowd: Stage) -> None:
    benchmark.pedantic(
        probe.publish,
        args=(crowd.fanout, b"other"),
        kwargs={"stream": EVENT},
        rounds=ROUNDS,
        iterations=1000,
    )
    assert probe.waiting_count(crowd.roster) == 0


@pytest.mark.parametrize("channels", [1, 20])
def test_hold(benchmark: BenchmarkFixture, stage: Stage, channels: int) -> None:
    names = [(b"channel-%d" % number, None) for number in range(channels)]

    def connect() -> tuple[tuple[object], dict[str, object]]:
        return (stage.connect(),), {"mode": 2, "channels": names}

    benchmark.pedantic(probe.hold, setup=connect, rounds=ROUNDS)
    assert stage.roster.table.subscription_count == ROUNDS * channels
