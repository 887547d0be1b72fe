"""One call to a target: connect, ask, read the answer, pace both bodies.

Built on aiohttp's connector (pool, names, TLS, happy eyeballs), parser and stream reader, one
layer below `ClientSession`: a proxy has to pass on a target and header values byte for byte, and
has to know whether it was connecting that failed (the next target may be asked) or what came
after it (it may not). Knows HTTP and nothing of GRIP, of routes or of the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

from aiohttp import (
    BaseConnector,
    ClientError,
    ClientRequest,
    ClientTimeout,
    TCPConnector,
    ThreadedResolver,
    UnixConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from control.address import TcpAddress
from control.errors import OriginError
from control.routes import Target

# Of an origin's answer: policies are long, and HEADERS_MAX of them fit a packet of the link.
HEAD_LINE_MAX_BYTES = 32 * 1024
HEADERS_MAX = 64  # of an origin's answer, GRIP.md 8.7
READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading from the origin at twice as much
DESTINATIONS_MAX = 1024  # prepared connection keys that are remembered
# Connections to one destination that are set up at a time. A burst of requests then takes over
# connections as they come free, instead of opening one each.
DIALS_MAX = 16
# RFC 9110 9.2.2: may be asked again when a reused connection turns out to be dead.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
# RFC 9110 8.6: without a body, these send no Content-Length: 0.
BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE", b"CONNECT"})

_FAILURES = (ClientError, HttpProcessingError, OSError, asyncio.TimeoutError)

Headers = Sequence[tuple[bytes, bytes]]


class Body(Protocol):
    """A request's body as it is to be sent."""

    @property
    def length(self) -> int:
        """Bytes of the whole body; -1 if that is not known."""

    def whole(self) -> bytes | None:
        """Give the body if all of it is here and it can be sent again."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it arrives. Once only."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one target is asked: everything but the framing, as it goes on the wire."""

    method: bytes
    target: bytes
    headers: Headers  # no Content-Length, no Transfer-Encoding, no Connection
    tls_name: str  # what the certificate must be for, if the target speaks TLS


class Response:
    """The answer of an origin: its head, and its body as it comes."""

    def __init__(
        self,
        connection: Connection,
        upload: asyncio.Task[None] | None,
        *,
        target: Target,
        is_bodiless: bool,
        status: int,
        reason: bytes,
        headers: Headers,
        length: int,
        content: StreamReader,
    ) -> None:
        self.target = target
        self.is_bodiless = is_bodiless  # whatever `length` says: RFC 9112 6.3
        self.status = status
        self.reason = reason
        self.headers = headers
        self.length = length  # of the body, as the origin announced it; -1: it did not
        self._connection = connection
        self._upload = upload
        self._content = content

    def all_here(self) -> bytes | None:
        """Give the rest of the body if it has arrived already, and is at most one read buffer."""
        if not self._content.is_eof():
            return None
        rest = self._content.read_nowait(-1)
        self._release()
        return rest

    async def read(self) -> bytes:
        """Give what has arrived, waiting for at least a byte; empty at the end.

        OriginError if the origin breaks off or falls silent.
        """
        try:
            piece = await self._content.readany()
        except _FAILURES as error:
            self.close()
            raise OriginError(f"{self.target}: the body broke off: {_why(error)}") from None
        if not piece:
            self._release()
        return piece

    def close(self) -> None:
        """Give up what has not been read. Harmless after the end."""
        if self._upload is not None:
            self._upload.cancel()
        self._connection.close()

    def _release(self) -> None:
        # An origin that has answered before it was asked completely reads the rest of the request
        # as the beginning of the next one.
        if self._upload is None or self._upload.done():
            self._connection.release()
        else:
            self.close()


class _Protocol(ResponseHandler):
    """aiohttp's, but a body that turns out to be malformed fails; there, its reader waits on."""

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Tell whoever waits for a head, and whoever waits for more of a body."""
        super().set_exception(exc, *cause)
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(exc)


class Origins:
    """All origins, and the pool of connections to them."""

    def __init__(
        self,
        *,
        connect_timeout_seconds: float,
        silence_timeout_seconds: float,
        called: Callable[[str, float], None],
    ) -> None:
        """Must be made in a running loop. `called` is told each call's outcome and seconds."""
        self._timeout = ClientTimeout(total=None, connect=connect_timeout_seconds)
        self._silence_timeout_seconds = silence_timeout_seconds
        self._called = called
        self._protocol = partial[ResponseHandler](_Protocol, asyncio.get_running_loop())
        self._tcp = TCPConnector(limit=0, resolver=ThreadedResolver())
        self._tcp._factory = self._protocol
        self._unix: dict[str, UnixConnector] = {}  # one a path that a route names
        self._destination = lru_cache(DESTINATIONS_MAX)(Destination)

    async def close(self) -> None:
        """Close every connection."""
        for connector in (self._tcp, *self._unix.values()):
            await connector.close()

    async def call(
        self, targets: Sequence[Target], ask: Callable[[Target], Request], body: Body
    ) -> Response:
        """Ask the first target that can be connected to (GRIP.md 7.7).

        `ask` makes the request for a target. OriginError if there is no answer.
        """
        began = time.perf_counter()
        outcome = "failed"
        try:
            response = await self._call(targets, ask, body)
            outcome = "answered"
            return response
        except OriginError as error:
            outcome = "unreachable" if error.tried else "failed"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._called(outcome, time.perf_counter() - began)

    async def _call(
        self, targets: Sequence[Target], ask: Callable[[Target], Request], body: Body
    ) -> Response:
        tried = []
        for target in targets:
            request = ask(target)
            while True:
                try:
                    connection = await self._connect(target, request.tls_name)
                except (*_FAILURES, ValueError) as error:
                    tried.append((str(target), _why(error)))
                    break
                response = await self._ask(connection, target, request, body)
                if response is not None:
                    return response
        why = ", ".join(f"{name} ({reason})" for name, reason in tried)
        raise OriginError(f"cannot connect: {why}", tried=[name for name, _ in tried])

    async def _connect(self, target: Target, tls_name: str) -> Connection:
        destination = self._destination(target, tls_name if target.ssl else "")
        async with destination.dialing:
            return await self._connector(target).connect(destination.key, [], self._timeout)

    def _connector(self, target: Target) -> BaseConnector:
        if isinstance(target.address, TcpAddress):
            return self._tcp
        path = target.address.path
        connector = self._unix.get(path)
        if connector is None:
            connector = self._unix[path] = UnixConnector(path, limit=0)
            connector._factory = self._protocol
        return connector

    async def _ask(
        self, connection: Connection, target: Target, request: Request, body: Body
    ) -> Response | None:
        """Send the request and read the answer's head. None: ask again on another connection."""
        protocol = connection.protocol
        assert protocol is not None
        # Nobody but the lines below sets the timeout, so a protocol that has one was used before.
        is_reused = protocol.read_timeout is not None
        protocol.set_response_params(
            skip_payload=request.method == b"HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=self._silence_timeout_seconds,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=HEAD_LINE_MAX_BYTES,
            max_field_size=HEAD_LINE_MAX_BYTES,
            max_headers=HEADERS_MAX,
        )
        whole = body.whole()
        upload = None
        try:
            # The end of a chunked body may have come since its length was announced as unknown.
            head = render_head(request, body.length if whole is None else len(whole))
            if whole is not None:
                _write(connection, head + whole)
                protocol.start_timeout()
            else:
                upload = asyncio.create_task(self._upload(connection, head, body))
            return await _read_head(connection, upload, target, request.method)
        except BaseException as error:
            if upload is not None:
                upload.cancel()
            connection.close()
            if not isinstance(error, _FAILURES):
                raise
            is_dead = is_reused and not isinstance(
                error, (asyncio.TimeoutError, HttpProcessingError)
            )
            if is_dead and whole is not None and request.method in IDEMPOTENT:
                return None
            raise OriginError(f"{target}: {_why(error)}") from None

    async def _upload(self, connection: Connection, head: bytes, body: Body) -> None:
        """Send head and body, as fast as the origin takes them.

        A failure is not reported: the origin may have refused the body with an answer, and if it
        has not, reading finds the connection closed.
        """
        protocol = connection.protocol
        assert protocol is not None
        is_chunked = body.length < 0
        with contextlib.suppress(*_FAILURES):
            _write(connection, head)
            async for piece in body.pieces():
                _write(connection, b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                if protocol.writing_paused:
                    async with asyncio.timeout(self._silence_timeout_seconds):
                        await protocol._drain_helper()
            if is_chunked:
                _write(connection, b"0\r\n\r\n")
            protocol.start_timeout()
            return
        connection.close()


def render_head(request: Request, length: int) -> bytes:
    """Render the head of a request; `length` is that of its body, -1 for chunked.

    OriginError if a line end or NUL would end up inside a line (RFC 9112 2.2): header values come
    from clients and, by Grip-Last, from origins.
    """
    lines = [b"%b %b HTTP/1.1" % (request.method, request.target)]
    lines += [b"%b: %b" % header for header in request.headers]
    if length > 0 or (length == 0 and request.method not in BODILESS):
        lines.append(b"Content-Length: %d" % length)
    elif length < 0:
        lines.append(b"Transfer-Encoding: chunked")
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    ends_count = len(lines) + 1
    if head.count(b"\r") != ends_count or head.count(b"\n") != ends_count or b"\0" in head:
        raise OriginError("a line end or NUL in a header for the origin")
    return head


def _write(connection: Connection, run: bytes) -> None:
    transport = connection.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the origin closed the connection")
    transport.write(run)


async def _read_head(
    connection: Connection, upload: asyncio.Task[None] | None, target: Target, method: bytes
) -> Response:
    protocol = connection.protocol
    assert protocol is not None
    while True:
        message, content = await protocol.read()
        if message.code >= 200:
            break
        if message.code == 101:
            raise OriginError(f"{target}: 101 without having been asked to upgrade")
    return Response(
        connection,
        upload,
        target=target,
        is_bodiless=method == b"HEAD" or message.code in (204, 304),
        status=message.code,
        reason=message.reason.encode("utf-8", "surrogateescape"),
        headers=message.raw_headers,
        length=-1 if message.chunked else _announced_length(message.raw_headers),
        content=content,
    )


def _announced_length(headers: Headers) -> int:
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value)  # the parser has checked it
    return -1


class Destination:
    """Where connections go: their key for aiohttp's connector, and who may open one now."""

    def __init__(self, target: Target, tls_name: str) -> None:
        if isinstance(target.address, TcpAddress):
            host, port = target.address.host, target.address.port
        else:
            host, port = "localhost", None
        self.dialing = asyncio.Semaphore(DIALS_MAX)
        self.key = ClientRequest(  # nothing of it is ever sent
            "GET",
            URL.build(scheme="https" if target.ssl else "http", host=host, port=port),
            loop=asyncio.get_running_loop(),
            ssl=not target.insecure,
            server_hostname=tls_name or None,
        )


def _why(error: BaseException) -> str:
    """Say in a few words, for the log, what an exception means."""
    if isinstance(error, asyncio.TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
