"""A WebSocket origin whose frames are written and read by hand."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path

from control.app import Control, started
from control.config import Settings
from support.event_origin import DEADLINE_SECONDS, HANDSHAKE, REF
from support.fake_worker import FakeWorker, Order

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GRIP = "Sec-WebSocket-Extensions: grip"
CONTINUATION = 0


def frame(opcode: int, content: bytes = b"", *, final: bool = True) -> bytes:
    """A frame as a server sends it."""
    first = bytes((opcode | 0x80 if final else opcode,))
    size = len(content)
    if size < 126:
        return first + bytes((size,)) + content
    if size < 65536:
        return first + b"\x7e" + size.to_bytes(2, "big") + content
    return first + b"\x7f" + size.to_bytes(8, "big") + content


@dataclass
class Peer:
    """One connection of a proxy, from its request for an upgrade."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def header(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")]
        return [value for found, _, value in lines if found.lower() == name]

    @property
    def accept(self) -> str:
        key = self.header(b"sec-websocket-key")[0]
        return b64encode(sha1(key + GUID).digest()).decode()

    def accepts(self, *headers: str, behind: bytes = b"", accept: str = "") -> None:
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {accept or self.accept}", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode() + behind)

    def says(self, opcode: int, content: bytes = b"", *, final: bool = True) -> None:
        self.writer.write(frame(opcode, content, final=final))

    async def hears(self) -> tuple[int, bytes, bool]:
        """The next frame: opcode, content, whether it is final. It must be masked."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            first, second = await self.reader.readexactly(2)
            assert second & 0x80
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            key = await self.reader.readexactly(4)
            masked = await self.reader.readexactly(size)
        assert not first & 0x70
        content = bytes(byte ^ key[at % 4] for at, byte in enumerate(masked))
        return first & 0x0F, content, first >= 0x80

    async def is_left(self) -> bool:
        """Whether the proxy has hung up: waits for it."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        return True


@dataclass
class FrameOrigin:
    """Takes connections, each for the test to speak to."""

    _peers: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self._peers.put_nowait(Peer(await reader.readuntil(b"\r\n\r\n"), reader, writer))

    async def peer(self) -> Peer:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._peers.get()

    @property
    def is_unasked(self) -> bool:
        return self._peers.empty()

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@dataclass
class Scene:
    """Control between a worker and an origin."""

    worker: FakeWorker
    origin: FrameOrigin
    control: Control

    async def opens(self, *headers: tuple[bytes, bytes], **more) -> Peer:
        """A client asks for a WebSocket; its origin has yet to answer."""
        self.worker.opened(REF, b"/ws", headers=[*HANDSHAKE, *headers], ws=True, **more)
        return await self.origin.peer()

    async def open(self, *headers: str) -> Peer:
        """A client's WebSocket, accepted by the origin."""
        peer = await self.opens()
        peer.accepts(*headers)
        await self.worker.order("ACCEPT")
        return peer

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
        probe = REF + 1
        self.worker.opened(probe, headers=[(b"Host", b"nowhere.test")])
        order = await self.worker.order("RESPOND")
        assert order.ref == probe


@contextlib.asynccontextmanager
async def scene(
    tmp_path: Path, condition: str = "a.test", options: str = "", **settings
) -> AsyncIterator[Scene]:
    """One worker, one origin, one route."""
    origin = FrameOrigin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link_path = str(tmp_path / "link")
    chosen = Settings(route=[f"{condition} 127.0.0.1:{port}{options}"], workers=1, **settings)
    async with server:
        async with started(chosen, link_path, [], 1) as control, FakeWorker(link_path) as worker:
            await worker.greet()
            yield Scene(worker, origin, control)
        await origin.close()
