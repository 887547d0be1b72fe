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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from control.destinations import Destinations, ForbiddenAddress
from control.errors import OriginError
from control.origin_failures import FAILURES, in_words, when_unanswered, when_unconnected
from control.routes import BuiltIn, Target

# Of an origin's answer: policies are long, and HEADERS_MAX of them fit a packet of the link.
HEAD_LINE_MAX_BYTES = 32 * 1024
HEADERS_MAX = 64  # of an origin's answer, GRIP.md 8.7
READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading from the origin at twice as much
# RFC 9110 9.2.2: may be asked again when a reused connection turns out to be dead.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
# RFC 9110 8.6: without a body, these send no Content-Length: 0.
BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE", b"CONNECT"})

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
    headers: Headers  # no Content-Length, no Transfer-Encoding; Connection only to upgrade
    tls_name: str  # what the certificate must be for, if the target speaks TLS
    route: str = ""  # the id that its traffic is summed under; empty: its route has none
    upgrades: bool = False  # 101 is an answer to it
    # May be asked again when a reused connection turns out to be dead, whatever its method says.
    is_repeatable: bool = False


class Response:
    """An answer: its head, and its body. This one is all here."""

    def __init__(
        self,
        *,
        target: Target,
        status: int,
        reason: bytes,
        headers: Headers,
        body: bytes = b"",
        length: int | None = None,
        is_bodiless: bool = False,
    ) -> None:
        self.target = target
        self.is_bodiless = is_bodiless  # whatever `length` says: RFC 9112 6.3
        self.status = status
        self.reason = reason
        self.headers = headers
        # Of the body, as the origin announced it; -1: it did not.
        self.length = len(body) if length is None else length
        self._body = body

    def all_here(self) -> bytes | None:
        """Give the rest of the body if it has arrived already, and is at most one read buffer."""
        body, self._body = self._body, b""
        return body

    async def read(self) -> bytes:
        """Give what has arrived, waiting for at least a byte; empty at the end.

        OriginError if the origin breaks off or falls silent.
        """
        return self.all_here() or b""

    async def read_up_to(self, max_bytes: int) -> tuple[bytes, bool]:
        """Read a body of at most so many bytes. Of a longer one: what has come, and False."""
        body = self.all_here()
        if body is not None:
            return body, len(body) <= max_bytes
        pieces: list[bytes] = []
        size = 0
        while size <= max_bytes:
            piece = await self.read()
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces), False

    @property
    def is_upgraded(self) -> bool:
        """Whether what follows the head is no HTTP any more."""
        return False

    def take_over(self, protocol: asyncio.Protocol) -> bool:
        """Give an upgraded connection to another protocol, with what has come behind the head.

        False if it is closed already.
        """
        return False

    def close(self) -> None:
        """Give up what has not been read. Harmless after the end."""


class _Arriving(Response):
    """The answer of an origin, whose body comes by a connection."""

    def __init__(
        self,
        connection: Connection,
        upload: asyncio.Task[None] | None,
        content: StreamReader,
        *,
        target: Target,
        status: int,
        reason: bytes,
        headers: Headers,
        length: int,
        is_bodiless: bool,
    ) -> None:
        super().__init__(
            target=target,
            status=status,
            reason=reason,
            headers=headers,
            length=length,
            is_bodiless=is_bodiless,
        )
        self._connection = connection
        self._upload = upload
        self._content = content

    def all_here(self) -> bytes | None:
        if not self._content.is_eof():
            return None
        rest = self._content.read_nowait(-1)
        self._release()
        return rest

    async def read(self) -> bytes:
        try:
            piece = await self._content.readany()
        except FAILURES as error:
            self.close()
            why = f"{self.target}: the body broke off: {in_words(error)}"
            raise OriginError(why, condition=when_unanswered(error)) from None
        if not piece:
            self._release()
        return piece

    @property
    def is_upgraded(self) -> bool:
        protocol = self._connection.protocol
        return protocol is not None and protocol.upgraded

    def take_over(self, protocol: asyncio.Protocol) -> bool:
        old = self._connection.protocol
        if old is None or old.transport is None:
            return False
        transport, rest = old.transport, old._tail
        old.transport, old._tail = None, b""  # the pool forgets the connection, and leaves it open
        self._connection.close()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if not transport.is_reading():
            transport.resume_reading()
        if rest:
            protocol.data_received(rest)
        return True

    def close(self) -> None:
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


# What answers for a target that is inside: it is given the target, the request and its body.
BuiltInOrigin = Callable[[Target, Request, Body], Awaitable[Response]]


class _Protocol(ResponseHandler):
    """aiohttp's, but a body that turns out to be malformed fails; there, its reader waits on."""

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Tell whoever waits for a head, and whoever waits for more of a body."""
        super().set_exception(exc, *cause)
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(exc)


class Origins:
    """All origins, whether they are reached by a connection or inside."""

    def __init__(
        self,
        *,
        connect_timeout_seconds: float,
        silence_timeout_seconds: float,
        called: Callable[[str, float], None],
        built_in: BuiltInOrigin,
    ) -> None:
        """Must be made in a running loop. `called` is told each call's outcome and seconds.

        `built_in` answers for the targets that are inside.
        """
        self._built_in = built_in
        self._silence_timeout_seconds = silence_timeout_seconds
        self._called = called
        loop = asyncio.get_running_loop()
        self.destinations = Destinations(lambda: _Protocol(loop), connect_timeout_seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self.destinations.close()

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
        condition = ""  # of the last one
        for target in targets:
            request = ask(target)
            if isinstance(target.address, BuiltIn):
                return await self._built_in(target, request, body)
            while True:
                try:
                    connection = await self.destinations.connect(target, request.tls_name)
                except ForbiddenAddress as error:
                    raise OriginError(f"{target}: {error}", is_forbidden=True) from None
                except (*FAILURES, ValueError) as error:
                    tried.append((str(target), in_words(error)))
                    condition = when_unconnected(error)
                    break
                response = await self._ask(connection, target, request, body)
                if response is not None:
                    return response
        why = ", ".join(f"{name} ({reason})" for name, reason in tried)
        names = [name for name, _ in tried]
        raise OriginError(f"cannot connect: {why}", tried=names, condition=condition)

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
            return await _read_head(connection, upload, target, request)
        except BaseException as error:
            if upload is not None:
                upload.cancel()
            connection.close()
            if not isinstance(error, FAILURES):
                raise
            is_dead = is_reused and not isinstance(
                error, (asyncio.TimeoutError, HttpProcessingError)
            )
            is_repeatable = request.is_repeatable or request.method in IDEMPOTENT
            if is_dead and whole is not None and is_repeatable:
                return None
            why = f"{target}: {in_words(error)}"
            raise OriginError(why, condition=when_unanswered(error)) from None

    async def _upload(self, connection: Connection, head: bytes, body: Body) -> None:
        """Send head and body, as fast as the origin takes them.

        A failure is not reported: the origin may have refused the body with an answer, and if it
        has not, reading finds the connection closed.
        """
        protocol = connection.protocol
        assert protocol is not None
        is_chunked = body.length < 0
        with contextlib.suppress(*FAILURES):
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
    connection: Connection, upload: asyncio.Task[None] | None, target: Target, request: Request
) -> Response:
    protocol = connection.protocol
    assert protocol is not None
    while True:
        message, content = await protocol.read()
        if message.code >= 200 or (message.code == 101 and request.upgrades):
            break
        if message.code == 101:
            raise OriginError(f"{target}: 101 without having been asked to upgrade")
    return _Arriving(
        connection,
        upload,
        content,
        target=target,
        is_bodiless=request.method == b"HEAD" or message.code in (204, 304),
        status=message.code,
        reason=message.reason.encode("utf-8", "surrogateescape"),
        headers=message.raw_headers,
        length=-1 if message.chunked else _announced_length(message.raw_headers),
    )


def _announced_length(headers: Headers) -> int:
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value)  # the parser has checked it
    return -1
