"""The pace of updates that nobody waits for."""

from __future__ import annotations

import asyncio

import pytest

from control import limiter
from control.limiter import BUNDLE_MAX, Limiter


async def test_one_key_at_a_time_and_the_first_waits_as_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limiter, "ACTION_SECONDS", 0.02)
    one = Limiter()
    done: list[str] = []
    clock = asyncio.get_running_loop().time
    began = clock()
    finished = asyncio.Event()
    for name in ("a1", "b1", "a2"):
        one.add(name[0], lambda name=name: done.append(name))
    one.add("c", finished.set)
    assert done == []
    await finished.wait()
    assert done == ["a1", "a2", "b1"]
    assert clock() - began >= 0.05


async def test_a_bundle_has_its_limit_and_the_rest_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limiter, "ACTION_SECONDS", 0.001)
    one = Limiter()
    done: list[int] = []
    finished = asyncio.Event()
    for number in range(BUNDLE_MAX + 1):
        one.add("a", lambda number=number: done.append(number))
    one.add("b", lambda: done.append(-1))
    one.add("a", finished.set)
    await finished.wait()
    assert done == [*range(BUNDLE_MAX), -1, BUNDLE_MAX]


async def test_nothing_is_done_after_its_end():
    one = Limiter()
    one.add("a", pytest.fail)
    one.stop()
    await asyncio.sleep(0.11)
