"""Pages: answers to next links, each asked for once and read once for all who wait (GRIP.md 1.9).

A request is made when its time has come, for those who have come by then; who comes later waits
for the next one, which is made when that one is answered: so nobody is given what the origin said
before it was told to ask. Never knows a session, and never relays anything.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable

from control.errors import FilterError, InstructError, OriginError
from control.grip.filters import Expansion, response_filter
from control.grip.instruct import Instruct, is_json
from control.limiter import Limiter
from control.link.packets import LINK_WINDOW
from control.links import Ask, decide_page, without_query
from control.log import log
from control.origin import Response
from control.routes import Target

CALLS_MAX = 100  # requests to next links at a time; hints may ask for any number
# Sessions of all workers that one hint reaches report it within about this time.
GATHER_SECONDS = 0.01
RETRIES_MAX = 5  # GRIP.md 1.9.2
RETRY_SECONDS = 1.0  # doubled each time
RETRY_JITTER_SECONDS = 1.0
AHEAD_MAX_BYTES = LINK_WINDOW  # that the origin is read ahead of a reader
SLOW_SECONDS = 5.0  # for so long may one reader hold up the others

Call = Callable[[Ask], Awaitable[Response]]


class TooSlow(Exception):
    """A reader has held up the others for too long."""


class Reader:
    """One session's way through a page. Its pieces are those of all others, not copies."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._pieces: deque[bytes] = deque()  # up to AHEAD_MAX_BYTES and a piece
        self._end: Exception | None = None
        self._has_ended = False
        self._arrival: asyncio.Future[None] | None = None
        self.behind_bytes = 0

    @property
    def instruct(self) -> Instruct:
        """What the page instructs."""
        return self._page.instruct

    @property
    def target(self) -> Target:
        """Who has answered."""
        return self._page.target

    async def read(self) -> bytes:
        """Give what comes next; empty at the end.

        Raises OriginError if the page broke off, FilterError, or TooSlow.
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
        self._page.drained.set()
        return piece

    def close(self) -> None:
        """Read no more. A page that nobody reads is given up."""
        self._page.readers.discard(self)
        self._page.drained.set()
        if not self._page.readers:
            self._page.abandon()

    def add(self, piece: bytes) -> None:
        """Take a piece of the page."""
        if piece:
            self._pieces.append(piece)
            self.behind_bytes += len(piece)
            self._wake()

    def give_up(self) -> None:
        """Keep nothing for a session that is too slow: it finds out when it reads on."""
        self._pieces.clear()
        self.end(TooSlow())

    def end(self, error: Exception | None) -> None:
        """Take note that nothing more comes, and why; None: the page is complete."""
        self._has_ended = True
        self._end = error
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class Page:
    """One answer, whose beginning has come."""

    def __init__(self, instruct: Instruct, response: Response, first: bytes) -> None:
        self.instruct = instruct
        self.target = response.target
        self.readers: set[Reader] = set()
        self.drained = asyncio.Event()  # somebody has read something
        self._response = response
        self._first = first
        self._task: asyncio.Task[None] | None = None

    def reader(self) -> Reader:
        """Make one more reader, of the whole page."""
        reader = Reader(self)
        self.readers.add(reader)
        return reader

    def start(self) -> asyncio.Task[None]:
        """Begin to give everybody the page, as fast as they read it."""
        self._task = asyncio.create_task(self._work())
        return self._task

    def close(self) -> None:
        """Give it up before anybody has read it."""
        self._response.close()

    def abandon(self) -> None:
        """Leave the rest unread."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        error: Exception | None = None
        try:
            await self._pump()
        except (OriginError, FilterError) as caught:
            error = caught
        except Exception as caught:
            log.exception("internal_error", where="pages")
            error = OriginError(str(caught))
        finally:
            self._response.close()
            for reader in self.readers:
                reader.end(error)

    async def _pump(self) -> None:
        piece = self._first
        expansion = self._expansion() if piece else None
        while piece and self.readers:
            expanded = piece if expansion is None else expansion.feed(piece)
            for reader in self.readers:
                reader.add(expanded)
            await self._make_room()
            piece = await self._response.read()
        if expansion is not None:
            expansion.finish()

    def _expansion(self) -> Expansion | None:
        filters = [name for channel in self.instruct.channels for name in channel.filters]
        return response_filter(filters, self.instruct.meta)

    async def _make_room(self) -> None:
        """Wait for those who are far behind. Who makes others wait for too long is given up."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + SLOW_SECONDS
        while slow := [r for r in self.readers if r.behind_bytes > AHEAD_MAX_BYTES]:
            if len(slow) == len(self.readers):
                deadline = clock() + SLOW_SECONDS  # nobody waits for them
            elif clock() >= deadline:
                for reader in slow:
                    reader.give_up()
                    self.readers.discard(reader)
                return
            self.drained.clear()
            try:
                async with asyncio.timeout_at(None if len(slow) == len(self.readers) else deadline):
                    await self.drained.wait()
            except TimeoutError:
                continue


class _Topic:
    """All who want one page."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.uri = without_query(ask.uri)  # as it may stand in a log
        self.waiting: list[tuple[asyncio.Future[Reader], int]] = []  # and how often it failed
        self.due = asyncio.Event()  # the next request is to be made
        self.is_queued = False  # ... at the limiter's next turn

    def is_wanted(self) -> bool:
        """Whether anybody waits; who has left does not count."""
        self.waiting = [(future, count) for future, count in self.waiting if not future.done()]
        return bool(self.waiting)


class Pages:
    """The requests to next links."""

    def __init__(self, call: Call) -> None:
        """Must be made in a running loop. `call` makes one request; OriginError: no answer."""
        self._call = call
        self._limiter = Limiter()
        self._slots = asyncio.Semaphore(CALLS_MAX)
        self._topics: dict[Ask, _Topic] = {}  # those with somebody who waits
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Ask nobody any more."""
        self._limiter.stop()
        for task in self._tasks:
            task.cancel()

    async def get(self, ask: Ask, *, is_urgent: bool) -> Reader:
        """Ask for a page, with all others who want it; at once, or at the limiter's pace.

        OriginError if it cannot be had, even if asked for again and again; InstructError if what it
        instructs cannot be followed.
        """
        topic = self._topics.get(ask)
        if topic is None:
            topic = self._topics[ask] = _Topic(ask)
            self._keep(asyncio.create_task(self._serve(topic)))
        future: asyncio.Future[Reader] = asyncio.get_running_loop().create_future()
        topic.waiting.append((future, 0))
        if is_urgent:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, topic.due.set)
        elif not topic.is_queued:
            topic.is_queued = True
            self._limiter.add(topic.uri, topic.due.set)
        return await future

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, topic: _Topic) -> None:
        """Make requests for as long as somebody waits."""
        failures_count = 0
        while topic.is_wanted():
            await topic.due.wait()
            topic.due.clear()
            topic.is_queued = False
            asked, topic.waiting = topic.waiting, []
            try:
                async with self._slots:
                    page = await self._ask(topic.ask)
            except OriginError as error:
                log.warning("next_link_failed", uri=topic.uri, reason=str(error))
                self._wait_on(topic, asked, error)
                if topic.is_wanted():
                    await asyncio.sleep(retry_seconds(failures_count))
                    topic.due.set()
                failures_count += 1
            except InstructError as error:
                log.warning("bad_instruct", uri=topic.uri, reason=str(error))
                for future, _ in asked:
                    _fail(future, error)
            except Exception as error:
                log.exception("internal_error", where="pages")
                for future, _ in asked:
                    _fail(future, OriginError(str(error)))
            else:
                failures_count = 0
                self._hand_out(page, asked)
        del self._topics[topic.ask]

    def _wait_on(
        self, topic: _Topic, asked: list[tuple[asyncio.Future[Reader], int]], error: OriginError
    ) -> None:
        """Let those try again who have not tried often enough."""
        for future, times in asked:
            if times < RETRIES_MAX:
                topic.waiting.append((future, times + 1))
            else:
                _fail(future, error)

    def _hand_out(self, page: Page, asked: list[tuple[asyncio.Future[Reader], int]]) -> None:
        for future, _ in asked:
            if not future.done():
                future.set_result(page.reader())
        if page.readers:
            self._keep(page.start())
        else:
            page.close()

    async def _ask(self, ask: Ask) -> Page:
        """Ask once. The page's first bytes have come, so that a failure is none of them."""
        response = await self._call(ask)
        try:
            if not 200 <= response.status < 300:
                raise OriginError(f"{response.target}: status {response.status}")
            instruct = read_page(response)
            first = response.all_here()
            if first is None:
                first = await response.read()
        except BaseException:
            response.close()
            raise
        return Page(instruct, response, first)


def read_page(response: Response) -> Instruct:
    """Read what a page instructs, by its headers (GRIP.md 1.9.2). Raises InstructError."""
    if is_json(response.headers):
        raise InstructError("failed to parse application/grip-instruct content as JSON")
    instruct = Instruct.from_head(response.status, response.reason, response.headers)
    decide_page(instruct)
    return instruct


def retry_seconds(failures_count: int) -> float:
    """Say how long to wait after so many failures in a row, not counting the last."""
    times = min(failures_count, RETRIES_MAX - 1)
    return RETRY_SECONDS * (1 << times) + RETRY_JITTER_SECONDS * random.random()


def _fail(future: asyncio.Future[Reader], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
