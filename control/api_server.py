"""HTTP for the control API: requests in, answers out, one after the other on each connection.

On aiohttp's parser, without its web server: that takes a task and a request object for each
publish, and subscribers wait meanwhile. Knows no path and no item; what to answer is decided by the
`Api` it serves. What is not read, or too slowly, is bounded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import StreamReader

from control.log import log

PROGRESS_SECONDS = 30.0  # for the rest of a request that has begun: a few megabytes at most
IDLE_SECONDS = 300.0  # of a connection between two requests; clients' pools keep less
LINGER_SECONDS = 1.0  # how long the rest of what is refused is read, so that the answer arrives
HEADERS_MAX = 128  # of one head
PIPELINE_MAX = 16  # requests that are read ahead on one connection
READ_BYTES = 65536  # of a body, at least, before its connection is read no further

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    content_type: str
    body: bytes
    allow: str = ""  # the methods of a 405


class Api(Protocol):
    """What is served."""

    def refuse(self, head: RawRequestMessage) -> Answer | None:
        """Answer what need not be read to its end; None: it is to be read."""

    def answer(self, head: RawRequestMessage, body: bytes) -> Answer:
        """Answer a request that is complete."""

    def has_to_wait(self, head: RawRequestMessage) -> bool:
        """Whether a request is not to be read to its end for now."""

    async def uncongested(self) -> None:
        """Wait until none has to."""


def text(status: int, said: str) -> Answer:
    """Make an answer of a sentence."""
    return Answer(status, TEXT, said.encode("utf-8", "replace"))


class ApiServer:
    """The connections of one API, on any number of sockets."""

    def __init__(self, api: Api, *, head_max_bytes: int, body_max_bytes: int) -> None:
        """Must be made in a running loop. The limits are those that `api` holds requests to."""
        self.api = api
        self.loop = asyncio.get_running_loop()
        self.head_max_bytes = head_max_bytes
        self.body_max_bytes = body_max_bytes
        self.connections: set[Connection] = set()
        self._listeners: list[asyncio.AbstractServer] = []
        self._empty = asyncio.Event()  # once it has been stopped

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on listening sockets, TCP and Unix."""
        for sock in sockets:
            is_unix = sock.family == socket.AF_UNIX
            create = self.loop.create_unix_server if is_unix else self.loop.create_server
            self._listeners.append(await create(lambda: Connection(self), sock=sock))

    def left(self, connection: Connection) -> None:
        """Forget a connection that is lost."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def stop(self) -> None:
        """Accept nothing more; answer what has been asked."""
        for listener in self._listeners:
            listener.close()
        self._empty.clear()
        if not self.connections:
            self._empty.set()
        for connection in list(self.connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._empty.wait()
        for connection in list(self.connections):
            connection.abort()
        for listener in self._listeners:
            await listener.wait_closed()


class Connection(BaseProtocol):
    """One client of the API."""

    __slots__ = (
        "_deadline",
        "_is_begun",
        "_is_closing",
        "_is_finishing",
        "_is_resting",
        "_is_waiting",
        "_requests",
        "_server",
        "_timer",
    )

    _parser: HttpRequestParser | None

    def __init__(self, server: ApiServer) -> None:
        parser = HttpRequestParser(
            self,
            server.loop,
            max(server.body_max_bytes, READ_BYTES),
            max_line_size=server.head_max_bytes,
            max_field_size=server.head_max_bytes,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            max_msg_queue_size=PIPELINE_MAX,
        )
        super().__init__(server.loop, parser)
        self._server = server
        self._requests: deque[tuple[RawRequestMessage, StreamReader]] = deque()  # PIPELINE_MAX
        self._is_begun = False  # the first of them has been looked at
        self._is_waiting = False  # for a link
        self._is_resting = True  # nothing of another request has come
        self._is_finishing = False  # closed as soon as nothing is unanswered
        self._is_closing = False  # whatever comes is read and thrown away
        self._deadline = server.loop.time() + IDLE_SECONDS
        self._timer = server.loop.call_later(PROGRESS_SECONDS, self._look_at_time)

    # -- told by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for requests."""
        super().connection_made(transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Answer nothing more."""
        super().connection_lost(exc)
        self._is_closing = True
        self._server.left(self)
        self._parser = None
        self._timer.cancel()

    def eof_received(self) -> bool:
        """Keep the connection of who waits for an answer; nothing else will be asked."""
        self._is_finishing = True
        return self._is_waiting

    def data_received(self, data: bytes) -> None:
        """Take what the client says."""
        if self._is_resting:
            self._is_resting = False
            self._deadline = self._loop.time() + PROGRESS_SECONDS
        while not self._is_closing:
            assert self._parser is not None
            try:
                requests, is_upgraded, _ = self._parser.feed_data(data)
            except HttpProcessingError as error:
                self._refuse(text(400, _what_is_malformed(error)))
                return
            self._requests.extend(requests)
            if is_upgraded:  # the parser reads no further
                self._is_finishing = True
            self._serve()
            if len(requests) < PIPELINE_MAX or self._is_waiting:
                return
            data = b""  # it has kept the rest

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on as before: a body fits its buffer, so that reading is never paused for one."""

    # -- one request after the other

    def _serve(self) -> None:
        try:
            while self._requests and not self._is_closing and self._serve_first():
                pass
        except Exception:
            log.exception("internal_error", where="api")
            self._refuse(text(500, "Internal error.\n"))
        if self._is_finishing and not self._requests and self.transport is not None:
            self.transport.close()

    def _serve_first(self) -> bool:
        """Answer the first request. False: it has to wait."""
        head, body = self._requests[0]
        api = self._server.api
        if not self._is_begun:
            self._is_begun = True
            refusal = api.refuse(head)
            if refusal is not None:
                self._answer(head, refusal, is_whole=body.is_eof())
                return True
            if not body.is_eof() and head.headers.get("Expect", "").lower() == "100-continue":
                self._write(GO_ON)
        if api.has_to_wait(head):
            self._wait()
            return False
        if not body.is_eof():
            return False
        self._answer(head, api.answer(head, body.read_nowait(-1)))
        return True

    def _wait(self) -> None:
        self._is_waiting = True
        self._pause_reading_for_buffer()
        task = self._loop.create_task(self._server.api.uncongested())
        task.add_done_callback(lambda _: self._go_on())

    def _go_on(self) -> None:
        self._is_waiting = False
        if not self._is_closing:
            self._is_resting = True  # its time begins anew
            self._resume_reading_for_buffer()
            self._serve()
            self.data_received(b"")

    def _answer(self, head: RawRequestMessage, answer: Answer, *, is_whole: bool = True) -> None:
        assert self._parser is not None
        self._parser.message_consumed()
        self._requests.popleft()
        self._is_begun = False
        self._is_resting = True
        self._deadline = self._loop.time() + IDLE_SECONDS
        closes = head.should_close or not is_whole
        self._write(render(answer, head.method, closes=closes, is_old=head.version < (1, 1)))
        if closes:
            self._close(lingers=not is_whole)

    def _refuse(self, answer: Answer) -> None:
        """Answer what is no request, or comes too slowly."""
        self._write(render(answer, "GET", closes=True))
        self._close(lingers=True)

    def _write(self, run: bytes) -> None:
        if self.transport is not None:
            self.transport.write(run)

    # -- the end

    def finish(self) -> None:
        """Close once everything that has been asked is answered."""
        self._is_finishing = True
        if not self._requests and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Cut the client off."""
        if self.transport is not None:
            self.transport.abort()

    def _close(self, *, lingers: bool) -> None:
        """Hang up; who is still talking would not read the answer if it were done at once."""
        self._is_closing = True
        self._requests.clear()
        transport = self.transport
        if transport is None:
            return
        if not lingers:
            transport.close()
            return
        transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, transport.close)

    def _look_at_time(self) -> None:
        left = self._deadline - self._loop.time()
        if left > 0 or self._is_waiting or self._is_closing:
            wait = min(max(left, 1.0), PROGRESS_SECONDS)
            self._timer = self._loop.call_later(wait, self._look_at_time)
        elif self._requests:
            self._refuse(text(408, "Request body took too long.\n"))
        elif self.transport is not None:
            self.transport.close()


def render(answer: Answer, method: str, *, closes: bool, is_old: bool = False) -> bytes:
    """Make the bytes of a response; `is_old`: to HTTP/1.0, which is told that it may go on."""
    connection = "Connection: close\r\n" if closes else ""
    if is_old and not closes:
        connection = "Connection: keep-alive\r\n"
    allow = f"Allow: {answer.allow}\r\n" if answer.allow else ""
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"{allow}Content-Type: {answer.content_type}\r\nServer: Fanway\r\n"
        f"Content-Length: {len(answer.body)}\r\nDate: {rfc822_formatted_time()}\r\n"
        f"{connection}\r\n"
    )
    return head.encode("latin-1") + (b"" if method == "HEAD" else answer.body)


def _what_is_malformed(error: HttpProcessingError) -> str:
    if isinstance(error, LineTooLong) or "Too many headers" in error.message:
        return "Request header too large.\n"
    if "Content-Length" in error.message:
        return "Bad Content-Length.\n"
    return "Failed to parse request header.\n"
