"""Bodies on their way through control, each paced by the slower side.

`Upload` is the request's, from worker to origin; `Credit` is what may be sent of the answer's,
from origin to worker (fastpath/LINK.md, Credit). No sockets, no packets; both wait on futures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from control.grip.instruct import GRIP_BODY_MAX_BYTES
from control.link.packets import LINK_WINDOW

GRANT_BYTES = LINK_WINDOW // 4  # one GRANT for so much: few packets, and the window never runs dry


@dataclass(frozen=True, slots=True)
class Whole:
    """A request's body that is all there."""

    content: bytes

    @property
    def length(self) -> int:
        """Its bytes."""
        return len(self.content)

    def whole(self) -> bytes:
        """Give it."""
        return self.content

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give it."""
        yield self.content


NO_BODY = Whole(b"")


class Upload:
    """A request's body: what has come of it, and what is kept of it."""

    def __init__(
        self, length: int, first: bytes, more: bool, grant: Callable[[int], object]
    ) -> None:
        """`grant` is told how many more bytes may come, once as many have been taken."""
        self.length = length if more else len(first)  # -1: unknown
        self._grant = grant
        self._taken_bytes = 0  # since the last grant
        self._is_complete = not more
        self._arrived: asyncio.Event | None = None  # made when somebody waits
        self._untaken: deque[bytes] = deque()  # at most LINK_WINDOW, by credit
        self._kept: list[bytes] | None = []  # at most GRIP_BODY_MAX_BYTES; None: it is too much
        self._kept_bytes = 0
        self._add(first)

    def received(self, piece: bytes, more: bool) -> None:
        """Take the next part of the body; without `more` it is the last."""
        self._add(piece)
        self._is_complete = not more
        if self._arrived is not None:
            self._arrived.set()

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        self._untaken.append(piece)
        self._kept_bytes += len(piece)
        if self._kept is not None:
            self._kept.append(piece)
            if self._kept_bytes > GRIP_BODY_MAX_BYTES:
                self._kept = None

    def whole(self) -> bytes | None:
        """Give the body if all of it has come and is kept."""
        if self._kept is None or not self._is_complete:
            return None
        return b"".join(self._kept)

    async def finish(self) -> bytes | None:
        """Wait for the rest of a body that nobody reads any more; None: it is over the limit."""
        while not self._is_complete and self._kept is not None:
            await self._arrival()
        return self.whole()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it comes. What has been taken is granted anew."""
        while True:
            while self._untaken:
                piece = self._untaken.popleft()
                self._took(len(piece))
                yield piece
            if self._is_complete:
                return
            await self._arrival()

    def _took(self, count_bytes: int) -> None:
        self._taken_bytes += count_bytes
        if self._taken_bytes >= GRANT_BYTES and not self._is_complete:
            self._grant(self._taken_bytes)
            self._taken_bytes = 0

    async def _arrival(self) -> None:
        if self._arrived is None:
            self._arrived = asyncio.Event()
        self._arrived.clear()
        await self._arrived.wait()


class Credit:
    """Body bytes that may be sent to a client now."""

    def __init__(self) -> None:
        self._left_bytes = LINK_WINDOW
        self._waiter: asyncio.Future[None] | None = None

    def granted(self, count_bytes: int) -> None:
        """Take note that the client has taken so many."""
        self._left_bytes += count_bytes
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def spend(self, wanted_bytes: int) -> int:
        """Spend what there is, up to what is wanted; waits until that is at least a byte."""
        while self._left_bytes <= 0:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        spent_bytes = min(wanted_bytes, self._left_bytes)
        self._left_bytes -= spent_bytes
        return spent_bytes
