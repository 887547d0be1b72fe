"""The timer wheel: deadlines by slot, with a clock made of numbers."""

import pytest

from fastpath import probe_floor2 as probe
from fastpath.wheel import Wheel

TICK_MS = 16
REVOLUTION_MS = 4096 * TICK_MS


@pytest.fixture
def wheel():
    w = Wheel()
    probe.due(w, 1_000_000)
    return w


def test_nothing_armed_has_no_next_time(wheel):
    assert probe.next_ms(wheel) == 0


@pytest.mark.parametrize("after", [1, 15, 16, 17, 1000, 55_000, REVOLUTION_MS, 10 * REVOLUTION_MS])
def test_a_deadline_is_never_early_and_late_by_at_most_a_tick(wheel, after):
    deadline = 1_000_000 + after
    probe.arm(wheel, 7, deadline)
    assert probe.due(wheel, deadline - 1) == []
    assert probe.due(wheel, deadline + TICK_MS) == [7]
    assert wheel.armed_count == 0


def test_waking_at_next_ms_finds_what_is_due(wheel):
    probe.arm(wheel, 1, 1_000_500)
    now = probe.next_ms(wheel)
    assert 1_000_500 <= now <= 1_000_500 + TICK_MS
    assert probe.due(wheel, now) == [1]


def test_a_later_revolution_wakes_early_but_makes_progress(wheel):
    deadline = 1_000_000 + 3 * REVOLUTION_MS + 40
    probe.arm(wheel, 1, deadline)
    woken = []
    while not (due := probe.due(wheel, now := probe.next_ms(wheel))):
        assert not woken or now > woken[-1]
        woken.append(now)
    assert due == [1]
    assert deadline <= now <= deadline + TICK_MS
    assert len(woken) <= 4


def test_arming_again_replaces_the_deadline(wheel):
    probe.arm(wheel, 1, 1_000_100)
    probe.arm(wheel, 1, 1_000_900)
    assert probe.due(wheel, 1_000_500) == []
    assert probe.due(wheel, 1_000_916) == [1]


def test_a_disarmed_slot_is_never_due(wheel):
    for slot in (1, 2, 3):
        probe.arm(wheel, slot, 1_000_100)
    probe.disarm(wheel, 2)
    probe.disarm(wheel, 2)
    probe.check_wheel(wheel)
    assert sorted(probe.due(wheel, 1_000_200)) == [1, 3]


def test_a_deadline_that_has_passed_is_due_at_the_next_sweep(wheel):
    probe.arm(wheel, 1, 5)
    now = probe.next_ms(wheel)
    assert now <= 1_000_000 + 2 * TICK_MS
    assert probe.due(wheel, now) == [1]


def test_a_sweep_after_a_long_sleep_finds_everything_once(wheel):
    for slot in range(100):
        probe.arm(wheel, slot, 1_000_000 + slot * 5000)
    assert sorted(probe.due(wheel, 1_000_000 + 20 * REVOLUTION_MS)) == list(range(100))
    assert probe.due(wheel, 1_000_000 + 21 * REVOLUTION_MS) == []
