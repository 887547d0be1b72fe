"""One answer of an origin, read once for all who want it, each at its own pace within bounds.

Knows neither why they want the same nor what the answer says. Never asks anybody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

from control.errors import FilterError, OriginError
from control.grip.filters import Expansion
from control.link.packets import LINK_WINDOW
from control.log import log
from control.origin import Response

AHEAD_MAX_BYTES = LINK_WINDOW  # that the origin is read ahead of a reader
SLOW_SECONDS = 5.0  # for so long may one reader hold up the others

AnyResponse = TypeVar("AnyResponse", bound=Response)
AnyReader = TypeVar("AnyReader", bound="Reader")


class TooSlow(Exception):
    """A reader has held up the others for too long."""


class Reader(Response):
    """The answer as one of those who share it reads it. Its pieces are those of all, not copies."""

    def __init__(self, shared: Shared) -> None:
        head = shared.response
        super().__init__(
            target=head.target,
            status=head.status,
            reason=head.reason,
            headers=head.headers,
            length=head.length,
            is_bodiless=head.is_bodiless,
        )
        self._shared = shared
        self._pieces: deque[bytes] = deque()  # up to AHEAD_MAX_BYTES and a piece
        self._end: Exception | None = None
        self._has_ended = False
        self._arrival: asyncio.Future[None] | None = None
        self.behind_bytes = 0

    def all_here(self) -> bytes | None:
        """Give the rest of the body if all of it has come."""
        if not self._has_ended or self._end is not None:
            return None
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return rest

    async def read(self) -> bytes:
        """Give what comes next; empty at the end.

        Raises OriginError if the answer broke off, FilterError, or TooSlow.
        """
        while not self._pieces:
            if self._end is not None:
                raise self._end
            if self._has_ended:
                return b""
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        piece = self._pieces.popleft()
        self.behind_bytes -= len(piece)
        self._shared.drained.set()
        return piece

    def close(self) -> None:
        """Read no more. An answer that nobody reads is given up."""
        self._shared.leave(self)

    def add(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if piece:
            self._pieces.append(piece)
            self.behind_bytes += len(piece)
            self._wake()

    def give_up(self) -> None:
        """Keep nothing for one who is too slow: it finds out when it reads on."""
        self._pieces.clear()
        self.end(TooSlow("held up those who share the answer"))

    def end(self, error: Exception | None) -> None:
        """Take note that nothing more comes, and why; None: the answer is complete."""
        self._has_ended = True
        self._end = error
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class Shared:
    """One answer whose head has come, and those who read it."""

    def __init__(
        self, response: Response, first: bytes = b"", expansion: Expansion | None = None
    ) -> None:
        """`first` has been read of it already; what it is expanded to is what readers get."""
        self.response = response
        self.drained = asyncio.Event()  # somebody has read something
        self._readers: set[Reader] = set()
        self._first = first
        self._expansion = expansion
        self._task: asyncio.Task[None] | None = None

    def reader(self) -> Reader:
        """Make one more reader, of the whole answer."""
        return self.join(Reader(self))

    def join(self, reader: AnyReader) -> AnyReader:
        """Have one more reader, before any piece has been handed out."""
        assert self._task is None
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader. With the last one the answer is given up."""
        self._readers.discard(reader)
        self.drained.set()
        if not self._readers and self._task is not None:
            self._task.cancel()
            self.response.close()

    def start(self) -> asyncio.Task[None] | None:
        """Begin to give everybody the answer, as fast as they read it. None: that is done."""
        if not self._readers:
            self.response.close()
            return None
        rest = self.response.all_here() if self._expansion is None else None
        if rest is not None:
            for reader in self._readers:
                reader.add(self._first)
                reader.add(rest)
                reader.end(None)
            return None
        self._task = asyncio.create_task(self._work())
        return self._task

    async def _work(self) -> None:
        error: Exception | None = None
        try:
            await self._pump()
        except (OriginError, FilterError) as caught:
            error = caught
        except Exception as caught:
            log.exception("internal_error", where="sharing")
            error = OriginError(str(caught))
        finally:
            self.response.close()
            for reader in self._readers:
                reader.end(error)

    async def _pump(self) -> None:
        expansion = self._expansion
        piece = self._first or await self.response.read()
        while piece and self._readers:
            expanded = piece if expansion is None else expansion.feed(piece)
            for reader in self._readers:
                reader.add(expanded)
            await self._make_room()
            piece = await self.response.read()
        if expansion is not None:
            expansion.finish()

    async def _make_room(self) -> None:
        """Wait for those who are far behind. Who makes others wait for too long is given up."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + SLOW_SECONDS
        while slow := [r for r in self._readers if r.behind_bytes > AHEAD_MAX_BYTES]:
            if len(slow) == len(self._readers):
                deadline = clock() + SLOW_SECONDS  # nobody waits for them
            elif clock() >= deadline:
                for reader in slow:
                    reader.give_up()
                    self._readers.discard(reader)
                return
            self.drained.clear()
            try:
                nobody_waits = len(slow) == len(self._readers)
                async with asyncio.timeout_at(None if nobody_waits else deadline):
                    await self.drained.wait()
            except TimeoutError:
                continue


async def taken(given: asyncio.Future[AnyResponse]) -> AnyResponse:
    """Wait for an answer. One that comes just when whoever waits is cancelled is given up."""
    try:
        return await given
    except asyncio.CancelledError:
        if given.done() and not given.cancelled() and given.exception() is None:
            given.result().close()
        raise
