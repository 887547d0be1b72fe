"""The tallies of all workers, merged."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from control.stats import GAUGES, SHOWN, Stats


@pytest.fixture
def stats() -> Stats:
    return Stats(
        channels_count=lambda: 4,
        backlogs=lambda: {0: 10, 1: 20},
        unsequenced=lambda: {"duplicate": 5},
    )


def lines(stats: Stats) -> list[str]:
    return generate_latest(stats.registry).decode().splitlines()


def test_workers_are_added_up(stats: Stats):
    for worker in (0, 1):
        stats.worker_greeted(worker, 100 + worker)
        stats.worker_tallied(worker, {"sessions": 3, "accepted": 10})
    assert stats.merged() == {"sessions": 6, "accepted": 20}


def test_a_tally_replaces_the_one_before_it(stats: Stats):
    stats.worker_greeted(0, 100)
    stats.worker_tallied(0, {"sessions": 3, "accepted": 10})
    stats.worker_tallied(0, {"sessions": 2, "accepted": 11})
    assert stats.merged() == {"sessions": 2, "accepted": 11}


def test_the_gauges_of_a_lost_worker_are_gone_and_its_totals_stay(stats: Stats):
    stats.worker_greeted(0, 100)
    stats.worker_tallied(0, {"sessions": 3, "accepted": 10})
    stats.worker_lost(0)
    assert stats.merged() == {"accepted": 10}


def test_a_worker_that_links_again_is_not_counted_twice(stats: Stats):
    stats.worker_greeted(0, 100)
    stats.worker_tallied(0, {"sessions": 3, "accepted": 10})
    stats.worker_lost(0)
    stats.worker_greeted(0, 100)
    assert stats.merged() == {"sessions": 3, "accepted": 10}


def test_the_totals_of_a_dead_worker_survive_its_successor(stats: Stats):
    stats.worker_greeted(0, 100)
    stats.worker_tallied(0, {"sessions": 3, "accepted": 10})
    stats.worker_lost(0)
    stats.worker_greeted(0, 200)
    stats.worker_tallied(0, {"sessions": 1, "accepted": 2})
    assert stats.merged() == {"sessions": 1, "accepted": 12}


def test_everything_is_shown(stats: Stats):
    stats.worker_greeted(0, 100)
    counters = [counter for shown in SHOWN for counter in shown.counters]
    stats.worker_tallied(0, dict.fromkeys([*counters, "dropped_queue"], 7))
    stats.items_count = 3
    stats.dropped["no_subscriber"] = 2
    stats.origin_called("answered", 0.02)
    stats.origin_called("failed", 0.02)
    shown = lines(stats)
    for line in (
        "fanway_connections 7.0",
        'fanway_holds{mode="response"} 7.0',
        'fanway_deliveries_total{transport="http-stream"} 7.0',
        "fanway_items_total 3.0",
        'fanway_dropped_total{reason="queue_full"} 7.0',
        'fanway_dropped_total{reason="no_subscriber"} 2.0',
        'fanway_dropped_total{reason="duplicate"} 5.0',
        "fanway_channels 4.0",
        "fanway_workers_linked 2.0",
        'fanway_link_backlog_bytes{worker="1"} 20.0',
        'fanway_origin_calls_total{outcome="failed"} 1.0',
        'fanway_origin_call_seconds_bucket{le="0.025"} 1.0',
        "fanway_origin_call_seconds_count 1.0",
    ):
        assert line in shown, line


def test_gauges_are_what_goes_down_again():
    assert set(GAUGES) == {"sessions", "holds_response", "holds_stream", "holds_ws"}
