"""The tally: each counter has its name, and gauges come down again."""

from __future__ import annotations

from fastpath import probe_floor2 as probe
from fastpath.tally import Tally


def test_every_counter_has_the_name_it_has_in_the_source() -> None:
    counters = probe.counters()
    tally = Tally()
    for place in counters.values():
        probe.add(tally, place, place + 1)
    assert tally.snapshot() == {name.lower(): place + 1 for name, place in counters.items()}


def test_a_new_tally_is_zero() -> None:
    assert set(Tally().snapshot().values()) == {0}


def test_gauges_come_down_again() -> None:
    tally = Tally()
    sessions = probe.counters()["SESSIONS"]
    probe.add(tally, sessions, 3)
    probe.add(tally, sessions, -1)
    assert tally.snapshot()["sessions"] == 2


def test_totals_outlive_32_bits() -> None:
    tally = Tally()
    for _ in range(3):
        probe.add(tally, probe.counters()["BYTES_OUT"], 2**62)
    assert tally.snapshot()["bytes_out"] == 3 * 2**62


def test_a_snapshot_is_a_copy() -> None:
    tally = Tally()
    before = tally.snapshot()
    probe.add(tally, probe.counters()["REQUESTS"], 1)
    assert before["requests"] == 0
