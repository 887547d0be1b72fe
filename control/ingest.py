"""The control API over HTTP: publish, recover, metrics, health (GRIP.md 2.1, 2.2).

Understands requests and words the answers; what an item means is `grip.item`, where it goes is
`publish`. It asks nobody who they are, so it belongs on a private address.

One deviation from GRIP.md 2.1, where a connection carries one request: publishers may keep theirs.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from control import admin
from control.errors import ItemError
from control.grip.item import items_from_json
from control.link.server import LinkServer
from control.log import log
from control.publish import Publisher
from control.stats import Stats

BODY_TIMEOUT_SECONDS = 30  # for the whole of a publish body, of at most a few megabytes
IDLE_TIMEOUT_SECONDS = 300  # of a connection between two requests; clients' pools keep less
LINGER_SECONDS = 1  # how long the rest of a refused body is read, so that the answer arrives
LENGTH_NOT_NEEDED = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

TEXT = "text/plain"
JSON = "application/json"
ACCEPTED = {
    "text/plain": TEXT,
    "text/*": TEXT,
    "*/*": TEXT,
    "*": TEXT,
    "application/json": JSON,
    "application/*": JSON,
}

_Answer = Callable[[web.BaseRequest], Awaitable[web.Response]]


class Ingest:
    """The control API on any number of sockets."""

    def __init__(
        self,
        publisher: Publisher,
        links: LinkServer,
        stats: Stats,
        *,
        head_max_bytes: int,
        body_max_bytes: int,
    ) -> None:
        self._publisher = publisher
        self._links = links
        self._stats = stats
        self._head_max_bytes = head_max_bytes
        self._body_max_bytes = body_max_bytes
        self._answers: dict[str, tuple[str, _Answer]] = {
            "/publish": ("POST", self._publish),
            "/recover": ("POST", self._recover),
            "/metrics": ("GET", self._metrics),
            "/healthz": ("GET", self._health),
        }
        self._listeners: list[asyncio.AbstractServer] = []
        self._server: web.Server | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on listening sockets, TCP and Unix."""
        loop = asyncio.get_running_loop()
        server = self._server = web.Server(self.answer)

        def connect() -> RequestHandler:
            return _Connection(
                server,
                loop=loop,
                keepalive_timeout=IDLE_TIMEOUT_SECONDS,
                access_log=None,  # type: ignore[arg-type]  # aiohttp's way to have none
                lingering_time=LINGER_SECONDS,
                auto_decompress=False,
                max_line_size=self._head_max_bytes,
                max_field_size=self._head_max_bytes,
            )

        for sock in sockets:
            create = (
                loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            )
            self._listeners.append(await create(connect, sock=sock))

    async def stop(self) -> None:
        """Accept nothing more; answer what has been asked."""
        for listener in self._listeners:
            listener.close()
        if self._server is not None:
            await self._server.shutdown(timeout=LINGER_SECONDS)
        for listener in self._listeners:
            await listener.wait_closed()

    # -- requests

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request of the control API."""
        refusal = self._refuse_head(request)
        if refusal is not None:
            return refusal
        target = request.raw_path
        path = target.removesuffix("/") if len(target) > 1 else target
        if path == "/":
            return _text(200, "Fanway API\n")
        if path not in self._answers:
            return _text(404, "Not Found\n")
        method, answer = self._answers[path]
        if request.method != method:
            response = _text(405, f"Method not allowed: {request.method}.\n")
            response.headers["Allow"] = method
            return response
        return await answer(request)

    def _refuse_head(self, request: web.BaseRequest) -> web.Response | None:
        """Check what can be checked before the target and the body are looked at."""
        head_bytes = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
        if head_bytes > self._head_max_bytes:
            return _text(400, "Request header too large.\n")
        if request.method not in LENGTH_NOT_NEEDED and "Content-Length" not in request.headers:
            return _text(411, "Request requires Content-Length.\n")
        if (request.content_length or 0) > self._body_max_bytes:
            return _text(400, "Request body too large.\n")
        if request.raw_path.startswith("/metrics"):
            return None  # scrapers name formats of their own, and have one that always fits
        if _negotiate(request.headers.getall("Accept", ())) is None:
            formats = f"{TEXT} and {JSON}"
            return _text(406, f"Not Acceptable. Supported formats are {formats}.\n")
        return None

    async def _publish(self, request: web.BaseRequest) -> web.Response:
        await self._links.uncongested()
        try:
            body = await _read(request)
        except TimeoutError:
            return _text(408, "Request body took too long.\n")
        except ConnectionError:
            return _text(400, "Request body is incomplete.\n")  # which nobody is there to read
        try:
            items = items_from_json(body)
        except ItemError as error:
            return _text(400, f"{error}\n")
        self._publisher.publish(items)
        return _done(request, "Published")

    async def _recover(self, request: web.BaseRequest) -> web.Response:
        self._publisher.recover()
        return _done(request, "Updated")

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        accept = ",".join(request.headers.getall("Accept", ()))
        content_type, body = admin.metrics(self._stats.registry, accept)
        return _response(200, content_type, body)

    async def _health(self, request: web.BaseRequest) -> web.Response:
        links = self._links
        status, body = admin.health(links.links, links.silent_workers, links.worker_count)
        return _response(status, JSON, body)


def _negotiate(accept: Sequence[str]) -> str | None:
    """Content type of the answer; None: nothing that the client takes (GRIP.md 2.1)."""
    if not accept:
        return TEXT
    chosen = None
    for entry in ",".join(accept).split(","):
        chosen = ACCEPTED.get(entry.partition(";")[0].strip().lower(), chosen)
    return chosen


async def _read(request: web.BaseRequest) -> bytes:
    """Read the body, whose length has been checked."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.content.is_eof():
        return request.content.read_nowait(-1)
    async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
        return await request.content.read()


def _done(request: web.BaseRequest, word: str) -> web.Response:
    if _negotiate(request.headers.getall("Accept", ())) == JSON:
        return _response(200, JSON, orjson.dumps({"message": word}) + b"\n")
    return _text(200, f"{word}\n")


def _text(status: int, text: str) -> web.Response:
    return _response(status, TEXT, text.encode("utf-8", "replace"))


def _response(status: int, content_type: str, body: bytes) -> web.Response:
    headers = {"Content-Type": content_type, "Server": "Fanway"}
    return web.Response(status=status, body=body, headers=headers)


def _what_is_malformed(error: HttpProcessingError) -> str:
    if isinstance(error, LineTooLong) or "Too many headers" in error.message:
        return "Request header too large.\n"
    if "Content-Length" in error.message:
        return "Bad Content-Length.\n"
    return "Failed to parse request header.\n"


class _Connection(RequestHandler):
    """aiohttp's, but for the texts of its errors."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Word what aiohttp has refused, or what went wrong in here."""
        if isinstance(exc, HttpProcessingError):
            response = _text(400, _what_is_malformed(exc))
        else:
            log.error("internal_error", where="ingest", exc_info=exc)
            response = _text(500, "Internal error.\n")
        response.force_close()
        return response
