"""Gone links: an origin is told that a client has left, or that its hold is over (GRIP.md 1.9.4).

One request each, without a body and without a second attempt. What it answers is of no interest
but for the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from control.errors import OriginError
from control.link.server import Link
from control.links import Home, without_query
from control.log import log
from control.origin import Response

CALLS_MAX = 100  # at a time: all clients of a worker may leave at once
WAITING_MAX = 100_000  # each is a task and a few hundred bytes
ANSWER_MAX_BYTES = 10_000  # that are read of an answer, so that its connection is good for more

Call = Callable[[Home, str], Awaitable[Response]]


class GoneLinks:
    """The requests to gone links."""

    def __init__(self, call: Call) -> None:
        """Must be made in a running loop. `call` makes one request; OriginError: no answer."""
        self._call = call
        self._slots = asyncio.Semaphore(CALLS_MAX)
        self._under_way: dict[tuple[Link, int], asyncio.Task[None]] = {}  # the last of a session
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Tell nobody any more."""
        for task in self._tasks:
            task.cancel()

    def tell(self, link: Link, ref: int, home: Home, uri: str) -> None:
        """Make the request of a session's gone link."""
        if len(self._tasks) >= WAITING_MAX:
            log.warning("gone_link_dropped", uri=without_query(uri))
            return
        key = link, ref
        task = self._under_way[key] = asyncio.create_task(self._tell(home, uri))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if self._under_way.get(key) is task:
                del self._under_way[key]

        task.add_done_callback(ended)

    async def told(self, link: Link, ref: int) -> None:
        """Wait until the origin of a session has been told, if it is to be."""
        task = self._under_way.get((link, ref))
        if task is not None:
            await asyncio.wait([task])

    async def _tell(self, home: Home, uri: str) -> None:
        try:
            async with self._slots:
                response = await self._call(home, uri)
                try:
                    body, _ = await response.read_up_to(ANSWER_MAX_BYTES)
                finally:
                    response.close()
            if not 200 <= response.status < 300 or body:
                self._failed(uri, f"status {response.status}, {len(body)} bytes")
        except OriginError as error:
            self._failed(uri, str(error))
        except Exception:
            log.exception("internal_error", where="gone")

    @staticmethod
    def _failed(uri: str, why: str) -> None:
        log.warning("gone_link_failed", uri=without_query(uri), reason=why)
