"""Pages: answers to next links, each asked for once and read once for all who wait (GRIP.md 1.9).

A request is made when its time has come, for those who have come by then; who comes later waits
for the next one, which is made when that one is answered: so nobody is given what the origin said
before it was told to ask. Never knows a session, and never relays anything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from control.errors import InstructError, OriginError
from control.grip.filters import response_filter
from control.grip.instruct import Instruct, is_json
from control.limiter import Limiter
from control.links import Ask, decide_page, without_query
from control.log import log
from control.origin import Response
from control.sharing import Reader, Shared, taken

CALLS_MAX = 100  # requests to next links at a time; hints may ask for any number
# Sessions of all workers that one hint reaches report it within about this time.
GATHER_SECONDS = 0.01
RETRIES_MAX = 5  # GRIP.md 1.9.2
RETRY_SECONDS = 1.0  # doubled each time
RETRY_JITTER_SECONDS = 1.0

Call = Callable[[Ask], Awaitable[Response]]


class PageReader(Reader):
    """One session's way through a page."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.instruct = page.instruct


class Page(Shared):
    """One answer, whose beginning has come, and what it instructs."""

    def __init__(self, instruct: Instruct, response: Response, first: bytes) -> None:
        filters = [name for channel in instruct.channels for name in channel.filters]
        expansion = response_filter(filters, instruct.meta) if first else None
        super().__init__(response, first, expansion)
        self.instruct = instruct

    def reader(self) -> PageReader:
        """Make one more reader, of the whole page."""
        return self.join(PageReader(self))


class _Topic:
    """All who want one page."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.uri = without_query(ask.uri)  # as it may stand in a log
        self.waiting: list[tuple[asyncio.Future[PageReader], int]] = []  # and how often it failed
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

    async def get(self, ask: Ask, *, is_urgent: bool) -> PageReader:
        """Ask for a page, with all others who want it; at once, or at the limiter's pace.

        OriginError if it cannot be had, even if asked for again and again; InstructError if what it
        instructs cannot be followed.
        """
        topic = self._topics.get(ask)
        if topic is None:
            topic = self._topics[ask] = _Topic(ask)
            self._keep(asyncio.create_task(self._serve(topic)))
        future: asyncio.Future[PageReader] = asyncio.get_running_loop().create_future()
        topic.waiting.append((future, 0))
        if is_urgent:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, topic.due.set)
        elif not topic.is_queued:
            topic.is_queued = True
            self._limiter.add(topic.uri, topic.due.set)
        return await taken(future)

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
        self, topic: _Topic, asked: list[tuple[asyncio.Future[PageReader], int]], error: OriginError
    ) -> None:
        """Let those try again who have not tried often enough."""
        for future, times in asked:
            if times < RETRIES_MAX:
                topic.waiting.append((future, times + 1))
            else:
                _fail(future, error)

    def _hand_out(self, page: Page, asked: list[tuple[asyncio.Future[PageReader], int]]) -> None:
        for future, _ in asked:
            if not future.done():
                future.set_result(page.reader())
        task = page.start()
        if task is not None:
            self._keep(task)

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


def _fail(future: asyncio.Future[PageReader], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
