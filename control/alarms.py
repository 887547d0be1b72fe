"""Alarms for many things at once: one timer of the loop, and a set of things a point in time.

A thing that waits costs its place in a set, where a timer object of its own would cost more than
all else that is known of an idle WebSocket. Never does what is due: that is the thing's own.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

# An alarm is never early, and late by at most this share of the time it was set for: those of one
# length share at most so many points in time.
STEPS_COUNT = 64


class Alarms(Generic[Thing]):
    """Things, each due at some time. A thing may be in it more than once."""

    def __init__(self, ring: Callable[[Thing], object]) -> None:
        """Must be made in a running loop. `ring` is told each thing that is due."""
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, set[Thing]] = {}
        self._times: list[float] = []  # a heap of the keys
        self._timer: asyncio.TimerHandle | None = None

    def set(self, thing: Thing, seconds: float) -> set[Thing]:
        """Ring in so many seconds. To call it off, take the thing out of the set that is given."""
        step = seconds / STEPS_COUNT
        at = math.ceil((self._loop.time() + seconds) / step) * step
        things = self._due.get(at)
        if things is None:
            things = self._due[at] = set()
            heapq.heappush(self._times, at)
            if self._times[0] == at:
                self._arm()
        things.add(thing)
        return things

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self.stop()
        self._timer = self._loop.call_at(self._times[0], self._ring_due)

    def _ring_due(self) -> None:
        now = self._loop.time()
        while self._times and self._times[0] <= now:
            things = self._due.pop(heapq.heappop(self._times))
            while things:
                self._ring(things.pop())
        if self._times:
            self._arm()
