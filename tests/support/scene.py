"""Control as it runs, between one fake worker and one origin that says what it is told to say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from control.app import Control, started
from control.config import Settings
from control.grip.item import items_from_json
from support.fake_worker import FakeWorker, Order

REF = 1 << 32 | 7
WINDOW = 256 * 1024


@dataclass
class Origin:
    """Says the answers it is given, one a request, and notes the requests."""

    answers: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    before_answer: asyncio.Event | None = None
    hangs_up: bool = False  # after each answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = header(head, b"content-length")
                self.bodies.append(await reader.readexactly(int(length or 0)))
                self.heads.append(head)
                if self.before_answer is not None:
                    await self.before_answer.wait()
                answer = self.answers.pop(0)
                writer.write(answer)
                await writer.drain()
                if self.hangs_up:
                    break
        writer.close()


def header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n"):
        found, colon, value = line.partition(b": ")
        if colon and found.lower() == name:
            return value
    return None


def answer(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Scene:
    worker: FakeWorker
    origin: Origin
    control: Control

    def publish(self, *items: dict) -> None:
        self.control.publisher.publish(items_from_json(json.dumps({"items": items}).encode()))

    async def ask(self, *answers: bytes, ref: int = REF, **request) -> Order:
        self.origin.answers += answers
        self.worker.opened(ref, **request)
        return await self.worker.order()


@contextlib.asynccontextmanager
async def scene(tmp_path: Path, route: str = "*", **settings) -> AsyncIterator[Scene]:
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link_path = str(tmp_path / "link")
    chosen = Settings(route=[f"{route} 127.0.0.1:{port}"], workers=1, **settings)
    async with server, started(chosen, link_path, [], 1) as control:
        async with FakeWorker(link_path) as worker:
            await worker.greet()
            yield Scene(worker, origin, control)
