"""A worker as control sees it: reports written and orders read by hand, field by field.

The judge of control's end of the link where no real worker is wanted. It knows LINK.md and shares
no code with `control.link`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

HEADER = struct.Struct(">IBBHQ")
DEADLINE_SECONDS = 5.0
NO_HEADERS: list[tuple[bytes, bytes]] = []

# fmt: off
OPS = {
    0x41: "WELCOME", 0x42: "RESPOND", 0x43: "SEND", 0x44: "FINISH", 0x45: "ACCEPT", 0x46: "HOLD",
    0x47: "SUBSCRIBE", 0x48: "UNSUBSCRIBE", 0x49: "PUBLISH", 0x4A: "CLOSE", 0x4B: "GRANT",
    0x4C: "RELEASE", 0x4E: "PING", 0x4F: "KEEP_ALIVE", 0x50: "VERDICT",
}
# fmt: on


@dataclass(frozen=True)
class Order:
    """One order: its name, its session, its fields by their names in LINK.md."""

    name: str
    ref: int
    more: bool
    fields: dict[str, Any]

    def __getattr__(self, field: str) -> Any:
        try:
            return self.fields[field]
        except KeyError:
            raise AttributeError(field) from None


class Fields:
    """Reads a payload from its beginning to its end."""

    def __init__(self, payload: bytes) -> None:
        self.left = payload

    def take(self, count: int) -> bytes:
        assert len(self.left) >= count, "payload too short"
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "big", signed=signed)

    def str16(self) -> bytes:
        return self.take(self.number(2))

    def str32(self) -> bytes:
        return self.take(self.number(4))

    def opt16(self) -> bytes | None:
        return self.str16() if self.number(1) else None

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(self.str16(), self.str32()) for _ in range(self.number(2))]

    def verdict(self) -> tuple[int, bytes]:
        said = self.number(1)
        return said, self.str32() if said >= 2 else b""

    def form(self) -> dict[str, Any]:
        kind, action = self.number(1), self.number(1)
        fields: dict[str, Any] = {"kind": kind, "action": action}
        if action == 2 and kind == 3:
            fields |= {"code": self.number(2), "text": self.str16()}
        elif action == 0 and kind == 1:
            fields |= {"status": self.number(2), "reason": self.str16()}
            fields |= {"headers": self.headers(), "patch": self.number(1), "body": self.str32()}
        elif action == 0 and kind == 2:
            fields["content"] = self.str32()
        elif action == 0:
            fields |= {"type": self.number(1), "content": self.str32()}
        return fields


def read_order(op: int, flags: int, ref: int, payload: bytes) -> Order:
    """Take an order apart; nothing may be left over."""
    name = OPS[op]
    f = Fields(payload)
    fields: dict[str, Any] = {}
    if name == "WELCOME":
        fields["settings"] = json.loads(f.take(len(payload)))
    elif name == "RESPOND":
        fields = {"status": f.number(2), "reason": f.str16(), "headers": f.headers()}
        fields |= {"length": f.number(8, signed=True), "body": f.str32()}
    elif name == "SEND":
        fields = {"kind": f.number(1), "content": f.take(len(f.left))}
    elif name == "HOLD":
        fields = {"mode": f.number(1), "timeout_ms": f.number(4), "keep_alive_mode": f.number(1)}
        fields |= {"keep_alive_ms": f.number(4), "keep_alive": f.str32()}
        fields["channels"] = [(f.str16(), f.opt16(), f.str16()) for _ in range(f.number(2))]
        fields |= {"answered": f.number(1), "status": f.number(2), "reason": f.str16()}
        fields |= {"headers": f.headers(), "body": f.str32(), "request_body": f.str32()}
        fields |= {"link_ms": f.number(4), "watched": f.number(1), "context": f.str32()}
        fields["route"] = f.number(2)
    elif name == "PUBLISH":
        fields = {"channel": f.str16(), "id": f.opt16(), "prev_id": f.opt16(), "meta": f.str32()}
        fields["formats"] = [f.form() for _ in range(f.number(2))]
    elif name == "CLOSE":
        fields = {"reason": f.number(2), "code": f.number(2), "text": f.str16()}
    elif name == "GRANT":
        fields = {"count_bytes": f.number(4)}
    elif name == "ACCEPT":
        fields = {"headers": f.headers(), "route": f.number(2)}
    elif name == "SUBSCRIBE":
        fields = {"channel": f.str16(), "traits": f.str16()}
    elif name == "UNSUBSCRIBE":
        fields = {"channel": f.str16()}
    elif name == "VERDICT":
        fields = {"number": f.number(4)}
        fields["verdicts"] = [f.verdict() for _ in range(f.number(2))]
    elif name == "KEEP_ALIVE":
        fields = {"mode": f.number(1), "interval_ms": f.number(4), "kind": f.number(1)}
        fields["content"] = f.str32()
    assert not f.left, f"{len(f.left)} bytes left over in {name}"
    return Order(name, ref, flags == 1, fields)


def str16(run: bytes) -> bytes:
    return struct.pack(">H", len(run)) + run


def str32(run: bytes) -> bytes:
    return struct.pack(">I", len(run)) + run


def id_list(ids: list[tuple[bytes, bytes]]) -> bytes:
    fields = b"".join(str16(channel) + str16(last) for channel, last in ids)
    return struct.pack(">H", len(ids)) + fields


def header_block(headers: list[tuple[bytes, bytes]]) -> bytes:
    fields = b"".join(str16(name) + str32(value) for name, value in headers)
    return struct.pack(">H", len(headers)) + fields


async def eventually(condition: Callable[[], T]) -> T:
    """The first true value of `condition`; lets the loop run until there is one."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (value := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return value


class FakeWorker:
    """One end of a link."""

    def __init__(self, path: str, number: int = 0, pid: int = 1000) -> None:
        self.path, self.number, self.pid = path, number, pid
        self.orders_count = 0

    async def __aenter__(self) -> FakeWorker:
        self.reader, self.writer = await asyncio.open_unix_connection(self.path)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()

    def report(self, op: int, ref: int = 0, payload: bytes = b"", *, more: bool = False) -> None:
        self.writer.write(HEADER.pack(len(payload), op, more, 0, ref) + payload)

    async def greet(self, *, version: int = 1, synced: bool = True) -> Order:
        self.hello(version=version)
        order = await self.order("WELCOME")
        if synced:
            self.report(0x09)
        return order

    def hello(self, *, version: int = 1) -> None:
        self.report(0x01, 0, struct.pack(">4sHIHB", b"FWLK", version, self.pid, self.number, 0))

    def opened(
        self,
        ref: int,
        target: bytes = b"/",
        *,
        method: bytes = b"GET",
        headers: list[tuple[bytes, bytes]] = NO_HEADERS,
        body: bytes = b"",
        length: int | None = None,
        more: bool = False,
        again: bool = False,
        lasts: list[tuple[bytes, bytes]] = NO_HEADERS,
        tls: bool = False,
        ws: bool = False,
    ) -> None:
        payload = struct.pack(">Bq", again, len(body) if length is None else length)
        payload += struct.pack(">H", len(lasts))
        payload += b"".join(str16(channel) + str16(last) for channel, last in lasts)
        payload += str32(body) + bytes((ws, 1, tls)) + str16(b"192.0.2.7") + str16(method)
        payload += str32(target) + header_block(headers or [(b"Host", b"a.test")])
        self.report(0x02, ref, payload, more=more)

    def received(self, ref: int, content: bytes, *, more: bool, kind: int = 0) -> None:
        self.report(0x03, ref, bytes((kind,)) + content, more=more)

    def granted(self, ref: int, count_bytes: int) -> None:
        self.report(0x04, ref, struct.pack(">I", count_bytes))

    def held(self, channel: bytes, modes: int) -> None:
        self.report(0x05, 0, str16(channel) + bytes((modes,)))

    def freed(self, channel: bytes, modes: int, orders_count: int | None = None) -> None:
        seen = self.orders_count if orders_count is None else orders_count
        self.report(0x06, 0, str16(channel) + struct.pack(">BQ", modes, seen))

    def closed(self, ref: int, reason: int = 1, context: bytes = b"") -> None:
        self.report(0x08, ref, struct.pack(">HH", reason, 0) + str32(context))

    def lapsed(self, ref: int, why: int, lasts: list[tuple[bytes, bytes]], context: bytes) -> None:
        self.report(0x0D, ref, bytes((why,)) + id_list(lasts) + str32(context))

    def met(
        self,
        number: int,
        channel: bytes,
        *groups: tuple[int, int, bytes, list[tuple[bytes, bytes]]],
        item_id: bytes | None = None,
        meta: bytes = b"",
        contents: dict[int, bytes] | None = None,
    ) -> None:
        payload = struct.pack(">I", number) + str16(channel)
        payload += b"\0" if item_id is None else b"\1" + str16(item_id)
        payload += str32(meta) + struct.pack(">H", len(contents or {}))
        for mode, content in (contents or {}).items():
            payload += bytes((mode,)) + str32(content)
        payload += struct.pack(">H", len(groups))
        for mode, action, traits, ids in groups:
            payload += bytes((mode, action)) + str16(traits) + id_list(ids)
        self.report(0x0C, 0, payload)

    def signalled(self, ref: int, what: int) -> None:
        self.report(0x07, ref, bytes((what,)))

    def pong(self) -> None:
        self.report(0x0B)

    def tally(self, counts: dict[str, int]) -> None:
        self.report(0x0A, 0, json.dumps(counts).encode())

    async def order(self, name: str | None = None) -> Order:
        """The next order, which must be of that name. PING is answered, unless it is awaited."""
        while True:
            order = await self._read()
            if order.name != "PING" or name == "PING":
                assert name in (None, order.name), order
                return order
            self.pong()

    async def _read(self) -> Order:
        async with asyncio.timeout(DEADLINE_SECONDS):
            size, op, flags, reserved, ref = HEADER.unpack(await self.reader.readexactly(16))
            payload = await self.reader.readexactly(size)
        assert reserved == 0
        self.orders_count += 1
        return read_order(op, flags, ref, payload)

    async def gone(self) -> bool:
        """Whether control has closed the link: waits for it, reads what is left."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        return True
