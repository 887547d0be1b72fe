"""Servers of asyncio in tests that have no loop: each in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

from support.waiting import DEADLINE_SECONDS

Served = TypeVar("Served")
Serving = Callable[[], AbstractAsyncContextManager[Served]]


@contextmanager
def running(serving: Serving[Served]) -> Iterator[Served]:
    """Run what `serving` starts until the caller is done with what it gives, usually a port."""
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()
    served: list[Served] = []

    async def run() -> None:
        async with serving() as given:
            served.append(given)
            ready.set()
            await done.wait()

    def run_thread() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=run_thread, daemon=True)
    thread.start()
    assert ready.wait(DEADLINE_SECONDS), "it did not start"
    try:
        yield served[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
