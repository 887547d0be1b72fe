"""The timer wheel: never early, late by less than a tick, and asleep until something can be due."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from fastpath import probe_floor2 as probe
from fastpath.probe_floor2 import TICK_MS
from fastpath.wheel import Wheel

NOW_MS = 1_000_000
REVOLUTION_MS = 4096 * TICK_MS


@pytest.fixture
def wheel() -> Wheel:
    wheel = Wheel()
    probe.due(wheel, NOW_MS)
    return wheel


def due(wheel: Wheel, now_ms: int) -> list[int]:
    found = probe.due(wheel, now_ms)
    probe.check_wheel(wheel)
    return sorted(found)


def test_an_empty_wheel_sleeps(wheel: Wheel) -> None:
    assert probe.next_ms(wheel) == 0
    assert due(wheel, NOW_MS + 10 * REVOLUTION_MS) == []


@pytest.mark.parametrize(
    "after_ms", [1, 15, 16, 17, 20_000, REVOLUTION_MS - 1, REVOLUTION_MS, 10 * REVOLUTION_MS + 3]
)
def test_a_deadline_is_never_early_and_late_by_less_than_a_tick(
    wheel: Wheel, after_ms: int
) -> None:
    deadline_ms = NOW_MS + after_ms
    probe.arm(wheel, 7, deadline_ms)
    assert due(wheel, deadline_ms - 1) == []
    assert due(wheel, deadline_ms + TICK_MS - 1) == [7]
    assert not probe.armed(wheel, 7)


@pytest.mark.parametrize("after_ms", [1, 16, 20_001, REVOLUTION_MS - TICK_MS - 1])
def test_next_ms_is_when_the_first_is_due(wheel: Wheel, after_ms: int) -> None:
    probe.arm(wheel, 1, NOW_MS + after_ms)
    probe.arm(wheel, 2, NOW_MS + after_ms + TICK_MS)
    at = probe.next_ms(wheel)
    assert NOW_MS + after_ms <= at < NOW_MS + after_ms + TICK_MS
    assert due(wheel, at) == [1]


def test_a_later_revolution_wakes_early_but_not_again_and_again(wheel: Wheel) -> None:
    deadline_ms = NOW_MS + 5 * REVOLUTION_MS + 40
    probe.arm(wheel, 1, deadline_ms)
    woken = 0
    now_ms = NOW_MS
    while not due(wheel, now_ms):
        assert probe.next_ms(wheel) > now_ms
        now_ms = probe.next_ms(wheel)
        woken += 1
    assert deadline_ms <= now_ms < deadline_ms + TICK_MS
    assert woken == 6


def test_arming_again_puts_off_and_brings_forward(wheel: Wheel) -> None:
    probe.arm(wheel, 1, NOW_MS + 1000)
    probe.arm(wheel, 2, NOW_MS + 3000)
    probe.arm(wheel, 1, NOW_MS + 3000)
    probe.arm(wheel, 2, NOW_MS + 1000)
    assert wheel.armed_count == 2
    assert due(wheel, NOW_MS + 2000) == [2]
    assert due(wheel, NOW_MS + 4000) == [1]


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_disarm_takes_one_out_of_the_middle_of_many(wheel: Wheel, gone: int) -> None:
    for slot in (1, 2, 3):
        probe.arm(wheel, slot, NOW_MS + 1000)
    probe.disarm(wheel, gone)
    probe.check_wheel(wheel)
    assert [slot for slot in (1, 2, 3) if not probe.armed(wheel, slot)] == [gone]
    assert due(wheel, NOW_MS + 2000) == [slot for slot in (1, 2, 3) if slot != gone]


def test_disarm_of_what_is_not_armed_does_nothing(wheel: Wheel) -> None:
    probe.arm(wheel, 1, NOW_MS + 1000)
    for slot in (0, 2, 10**6):
        probe.disarm(wheel, slot)
        assert not probe.armed(wheel, slot)
    assert wheel.armed_count == 1
    probe.disarm(wheel, 1)
    assert probe.next_ms(wheel) == 0


@pytest.mark.parametrize("deadline_ms", [0, 1, NOW_MS - 1, NOW_MS])
def test_a_deadline_that_has_passed_is_due_at_the_next_sweep(
    wheel: Wheel, deadline_ms: int
) -> None:
    probe.arm(wheel, 1, deadline_ms)
    at = probe.next_ms(wheel)
    assert NOW_MS < at <= NOW_MS + TICK_MS
    assert due(wheel, at) == [1]


def test_the_first_sweep_may_come_at_any_time() -> None:
    wheel = Wheel()
    probe.arm(wheel, 1, 0)
    probe.arm(wheel, 2, NOW_MS)
    probe.arm(wheel, 3, NOW_MS + TICK_MS)
    assert due(wheel, NOW_MS) == [1, 2]
    assert NOW_MS + TICK_MS <= probe.next_ms(wheel) < NOW_MS + 2 * TICK_MS


def test_all_are_due_once_after_a_long_sleep(wheel: Wheel) -> None:
    for slot in range(1000):
        probe.arm(wheel, slot, NOW_MS + slot * 997)
    assert due(wheel, NOW_MS + 100 * REVOLUTION_MS) == list(range(1000))
    assert due(wheel, NOW_MS + 200 * REVOLUTION_MS) == []


def test_a_clock_that_stands_still_is_no_reason_to_report_twice(wheel: Wheel) -> None:
    probe.arm(wheel, 1, NOW_MS + 10)
    assert due(wheel, NOW_MS + 100) == [1]
    probe.arm(wheel, 1, NOW_MS + 10)
    assert due(wheel, NOW_MS + 100) == []
    assert due(wheel, NOW_MS) == []
    assert due(wheel, NOW_MS + 100 + TICK_MS) == [1]


@pytest.mark.parametrize(
    "change",
    [
        lambda wheel: probe.arm(wheel, 64, NOW_MS + 1000),
        lambda wheel: probe.arm(wheel, 100_000, NOW_MS + 1000),
    ],
)
def test_arming_without_memory_changes_nothing(change: Callable[[Wheel], None]) -> None:
    for allocations in count():
        wheel = Wheel()
        probe.arm(wheel, 63, NOW_MS)
        try:
            probe.with_allocations(allocations, change, wheel)
        except MemoryError:
            probe.check_wheel(wheel)
            assert wheel.armed_count == 1
            change(wheel)
        else:
            assert allocations > 1, "it asked for no memory"
            return
        assert wheel.armed_count == 2
        probe.check_wheel(wheel)
