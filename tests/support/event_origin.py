"""An origin of WebSocket-over-HTTP whose answers are given by the test, each when it wants to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from control.app import Control, started
from control.config import Settings
from support.fake_worker import FakeWorker, Order

DEADLINE_SECONDS = 5.0
REF = 1 << 32 | 7
TEXT, BINARY, PING, PONG, CLOSE = 1, 2, 3, 4, 5
HANDSHAKE = [
    (b"Host", b"a.test"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", typed: bool = True) -> bytes:
    """An answer to events, unless told otherwise."""
    content_type = ["Content-Type: application/websocket-events"] if typed else []
    length = f"Content-Length: {len(body)}"
    return (
        "\r\n".join([f"HTTP/1.1 {status}", *content_type, *headers, length, "", ""]).encode() + body
    )


@dataclass
class Asked:
    """One request, which waits for its answer."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter

    def answer(self, body: bytes = b"", *headers: str, **more) -> None:
        self.writer.write(answer(body, *headers, **more))

    def hang_up(self) -> None:
        self.writer.close()

    def header(self, name: bytes) -> bytes | None:
        for line in self.head.split(b"\r\n"):
            found, colon, value = line.partition(b": ")
            if colon and found.lower() == name:
                return value
        return None


class EventOrigin:
    """Takes requests; nothing is answered but by the test."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = Asked(await reader.readuntil(b"\r\n\r\n"), b"", writer)
                length = int(asked.header(b"content-length") or 0)
                asked.body = await reader.readexactly(length)
                self._asked.put_nowait(asked)
        writer.close()
        self._serving.discard(asyncio.current_task())

    async def close(self) -> None:
        """Returns when everybody has hung up."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self._serving:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def asked(self, body: bytes | None = None) -> Asked:
        """The next request; with this body, if one is given."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            asked = await self._asked.get()
        assert body is None or asked.body == body
        return asked

    @property
    def is_unasked(self) -> bool:
        """Whether no request has come that was not taken."""
        return self._asked.empty()


@dataclass
class Scene:
    """Control between a worker and an origin."""

    worker: FakeWorker
    origin: EventOrigin
    control: Control

    def opens(self, *headers: tuple[bytes, bytes], target: bytes = b"/ws", **more) -> None:
        """A client asks for a WebSocket."""
        self.worker.opened(REF, target, headers=[*HANDSHAKE, *headers], ws=True, **more)

    async def open(self, events: bytes = b"", *headers: str, grip: bool = False) -> Order:
        """A client's WebSocket, accepted by the origin."""
        self.opens()
        asked = await self.origin.asked(b"OPEN\r\n")
        extension = ["Sec-WebSocket-Extensions: grip"] if grip else []
        asked.answer(b"OPEN\r\n" + events, *extension, *headers)
        return await self.worker.order("ACCEPT")

    def says(self, kind: int, content: bytes = b"", *, more: bool = False) -> None:
        """The client says something."""
        self.worker.received(REF, content, more=more, kind=kind)

    async def told(self, name: str = "SEND") -> Order:
        """The next order, about the client."""
        order = await self.worker.order(name)
        assert order.ref == REF
        return order

    async def in_order(self) -> None:
        """Returns when control has read all that the worker has reported."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            probe = REF + 1
            self.worker.opened(probe, headers=[(b"Host", b"nowhere.test")])
            order = await self.worker.order("RESPOND")
            assert order.ref == probe


@contextlib.asynccontextmanager
async def scene(
    tmp_path: Path,
    condition: str = "a.test",
    options: str = ",over_http",
    port: int | None = None,
    **settings,
) -> AsyncIterator[Scene]:
    """One worker, one origin, one route."""
    origin = EventOrigin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = port or server.sockets[0].getsockname()[1]
    link_path = str(tmp_path / "link")
    route = f"{condition} 127.0.0.1:{port}{options}"
    chosen = Settings(route=[route], workers=1, **settings)
    async with server:
        async with started(chosen, link_path, [], 1) as control, FakeWorker(link_path) as worker:
            await worker.greet()
            yield Scene(worker, origin, control)
        await origin.close()
