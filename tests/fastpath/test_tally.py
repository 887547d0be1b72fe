"""The worker's counters."""

from fastpath import probe_floor2 as probe
from fastpath.tally import Tally


def test_every_counter_has_a_name_of_its_own():
    assert len(Tally().snapshot()) == probe.COUNTERS


def test_gauges_go_up_and_down():
    tally = Tally()
    probe.add(tally, 0, 3)
    probe.add(tally, 0, -1)
    assert tally.snapshot()["sessions"] == 2
