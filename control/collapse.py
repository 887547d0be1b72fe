"""Identical requests that wait for an origin at the same time: one call, an answer for each.

The setting `share_all` and the route option `aggregate` ask for it (GRIP.md 9.4). Says which
requests are identical and makes the one call; what is done with the answer is the business of
whoever is given it. Never knows a session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from control.link.packets import Opened
from control.origin import Headers, Response
from control.rewrite import Lasts, Matched
from control.sharing import Shared, taken

METHODS = frozenset({b"GET", b"HEAD"})  # a POST that is left out would be a deed left undone
# What a client says of itself or of the answer that it wants: who differs in it may be answered
# differently. RFC 9110 11.6, 12.5, 13.1 and 14.2, RFC 6265 4.2, RFC 6454 7, HTML 9.2.4.
DISTINGUISHING = frozenset(
    {
        b"authorization",
        b"cookie",
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
        b"range",
        b"origin",
        b"last-event-id",
    }
)

Call = Callable[[], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Key:
    """All that identical requests have in common. Compared part by part, so nothing can blur."""

    matched: Matched
    method: bytes
    lasts: tuple[tuple[str, str], ...]
    distinguishing: tuple[tuple[bytes, bytes], ...]


def decide_key(
    matched: Matched, opened: Opened, lasts: Lasts, *, has_body: bool, shares_all: bool
) -> Key | None:
    """Say what a request has in common with those that may share its answer. None: it is alone.

    Alone are those with a body, those that are no reads, and those of other GRIP proxies, who speak
    for more clients than they tell of.
    """
    if not (shares_all or matched.route.aggregate):
        return None
    if opened.method not in METHODS or has_body or matched.is_trusted:
        return None
    named = [(name.lower(), value) for name, value in opened.headers]
    distinguishing = tuple(header for header in named if header[0] in DISTINGUISHING)
    return Key(matched, opened.method, tuple(lasts), distinguishing)


def is_personal(headers: Headers) -> bool:
    """Whether an answer is meant for one client only (RFC 6265 3, RFC 9111 5.2.2.7)."""
    for name, value in headers:
        lower = name.lower()
        if lower == b"set-cookie":
            return True
        if lower == b"cache-control":
            directives = value.lower().split(b",")
            if any(d.partition(b"=")[0].strip() == b"private" for d in directives):
                return True
    return False


class _Alone(Exception):
    """The answer was meant for another client."""


class _Waiting:
    """One call, and who waits for its answer."""

    task: asyncio.Task[None]  # that makes it

    def __init__(self) -> None:
        self.futures: dict[asyncio.Future[Response], None] = {}  # in the order they came


class Collapse:
    """The calls that others may join. Each goes on for as long as somebody waits for it."""

    def __init__(self) -> None:
        self._calls: dict[Key, _Waiting] = {}  # at most as many as there are exchanges
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Give up every call, and every answer that is being read."""
        for task in self._tasks:
            task.cancel()

    def is_asked(self, key: Key) -> bool:
        """Whether somebody waits already for the answer to such a request."""
        return key in self._calls

    async def get(self, key: Key, call: Call) -> Response:
        """Join the call that is under way, or make it. Raises what it raises, for all who wait.

        An answer that is personal is given to one of them; the others make their own calls.
        """
        waiting = self._calls.get(key)
        if waiting is None:
            waiting = self._calls[key] = _Waiting()
            waiting.task = self._keep(asyncio.create_task(self._serve(key, waiting, call)))
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        waiting.futures[future] = None
        try:
            return await taken(future)
        except _Alone:
            return await call()
        except asyncio.CancelledError:
            del waiting.futures[future]
            if not waiting.futures and self._calls.get(key) is waiting:
                del self._calls[key]  # nobody may join what is being given up
                waiting.task.cancel()
            raise

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, key: Key, waiting: _Waiting, call: Call) -> None:
        try:
            response = await call()
        except Exception as error:  # whatever it is: each would have met it alone
            for future in waiting.futures:
                if not future.done():
                    future.set_exception(error)
        else:
            self._hand_out(response, [f for f in waiting.futures if not f.done()])
        finally:
            if self._calls.get(key) is waiting:
                del self._calls[key]

    def _hand_out(self, response: Response, futures: list[asyncio.Future[Response]]) -> None:
        if is_personal(response.headers) and len(futures) > 1:
            for future in futures[1:]:
                future.set_exception(_Alone())
            del futures[1:]
        if len(futures) == 1:
            futures[0].set_result(response)
            return
        shared = Shared(response)
        for future in futures:
            future.set_result(shared.reader())
        task = shared.start()
        if task is not None:
            self._keep(task)
