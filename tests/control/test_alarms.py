"""Alarms: who is due, when, and how few points in time that takes."""

from __future__ import annotations

import asyncio

import pytest

from control.alarms import STEPS_COUNT, Alarms
from support.fake_worker import eventually


async def test_things_ring_in_the_order_of_their_times():
    rung: list[str] = []
    alarms: Alarms[str] = Alarms(rung.append)
    alarms.set("third", 0.03)
    alarms.set("first", 0.01)
    alarms.set("second", 0.02)
    await eventually(lambda: len(rung) == 3)
    assert rung == ["first", "second", "third"]


async def test_an_alarm_is_never_early_and_hardly_late():
    loop = asyncio.get_running_loop()
    rung: list[float] = []
    alarms: Alarms[str] = Alarms(lambda _thing: rung.append(loop.time()))
    due = loop.time() + 0.05
    alarms.set("one", 0.05)
    await eventually(lambda: rung)
    assert rung[0] >= due


async def test_what_is_taken_out_does_not_ring():
    rung: list[str] = []
    alarms: Alarms[str] = Alarms(rung.append)
    alarms.set("one", 0.01).discard("one")
    alarms.set("two", 0.02)
    await eventually(lambda: rung)
    assert rung == ["two"]


async def test_a_thing_may_set_its_next_alarm_when_it_rings():
    rung: list[str] = []

    def ring(thing: str) -> None:
        rung.append(thing)
        if len(rung) < 3:
            alarms.set(thing, 0.001)

    alarms: Alarms[str] = Alarms(ring)
    alarms.set("one", 0.001)
    await eventually(lambda: len(rung) == 3)


@pytest.mark.parametrize("seconds", [1, 55, 86_400])
async def test_alarms_of_one_length_share_few_points_in_time(
    seconds: int, monkeypatch: pytest.MonkeyPatch
):
    alarms: Alarms[int] = Alarms(lambda _thing: None)
    now = 1000.0

    class Clock:
        def time(self) -> float:
            return now

    monkeypatch.setattr(alarms, "_loop", Clock())
    monkeypatch.setattr(alarms, "_arm", lambda: None)
    for number in range(1000):
        now = 1000.0 + number * seconds / 1000
        alarms.set(number, seconds)
    assert len(alarms._due) <= STEPS_COUNT + 1
    assert sum(map(len, alarms._due.values())) == 1000


async def test_stopped_alarms_are_silent():
    rung: list[str] = []
    alarms: Alarms[str] = Alarms(rung.append)
    alarms.set("one", 0.001)
    alarms.stop()
    others: list[str] = []
    Alarms(others.append).set("two", 0.01)
    await eventually(lambda: others)
    assert rung == []
