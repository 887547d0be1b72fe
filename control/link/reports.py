"""The reports of the link, read from its bytes (fastpath/LINK.md, normative).

The twin of what `fastpath/link_reports` writes, held to the same golden packets. Channels, ids and
header blocks are the raw bytes of the wire; who decodes them to text is above. What a worker sends
wrong is a `LinkError`. Never touches a socket, an event loop or a clock, and decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import orjson

from control.errors import LinkError
from control.link.packets import (
    FLAG_MORE,
    LINK_HEADER_SIZE,
    LINK_PAYLOAD_MAX,
    LINK_VERSION,
    Action,
    AnyReport,
    Closed,
    Counted,
    Delivered,
    Freed,
    Granted,
    Group,
    Held,
    Hello,
    Kind,
    Lapse,
    Lapsed,
    Left,
    Met,
    Mode,
    Opened,
    Packet,
    Pong,
    Reached,
    Received,
    Report,
    Served,
    Share,
    Signal,
    Signalled,
    Synced,
    Tally,
)

_REPORTS = frozenset(Report)
_HEADER = struct.Struct(">IBBHQ")
_U32 = struct.Struct(">I")
_MODES_MAX = int(Mode.RESPONSE | Mode.STREAM | Mode.WS)


# -- packets


class PacketReader:
    """Cuts the stream of a worker into packets, in whatever pieces it arrives.

    It keeps at most one unfinished packet (LINK_PAYLOAD_MAX) and the piece fed last.
    """

    __slots__ = ("_at", "_buffer")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # everything before it has been taken

    def feed(self, piece: bytes) -> Iterator[Packet]:
        """Add a piece; iterate over the packets that are complete now.

        LinkError on a malformed header, after the packets in front of it; the stream is then of
        no more use.
        """
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += piece
        return self._packets()

    def _packets(self) -> Iterator[Packet]:
        buffer = self._buffer
        while len(buffer) - self._at >= LINK_HEADER_SIZE:
            size, op, flags, reserved, ref = _HEADER.unpack_from(buffer, self._at)
            if op not in _REPORTS or flags & ~FLAG_MORE or reserved or size > LINK_PAYLOAD_MAX:
                head = buffer[self._at : self._at + LINK_HEADER_SIZE]
                raise LinkError(f"malformed packet: {head.hex()}")
            start = self._at + LINK_HEADER_SIZE
            if len(buffer) - start < size:
                return
            self._at = start + size
            yield Packet(op, flags, ref, bytes(memoryview(buffer)[start : self._at]))


# -- reports


def decode(packet: Packet) -> AnyReport:
    """Read the payload of a packet. LinkError, with its first sixteen bytes, if malformed."""
    try:
        return _DECODERS[packet.op](packet)
    except (struct.error, IndexError, TypeError, ValueError) as error:
        name = Report(packet.op).name
        head = _HEADER.pack(len(packet.payload), packet.op, packet.flags, 0, packet.ref)
        raise LinkError(f"malformed {name}, {error}: {head.hex()}") from None


# A slice of bytes that ends too early is silently short, and the offset behind it lies outside.
# So no field is checked alone: the next number fails there, or `_end` does.


def _str16(payload: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    end = start + (payload[at] << 8 | payload[at + 1])
    return payload[start:end], end


def _str32(payload: bytes, at: int) -> tuple[bytes, int]:
    start = at + 4
    end = start + _U32.unpack_from(payload, at)[0]
    return payload[start:end], end


def _count(payload: bytes, at: int) -> tuple[int, int]:
    return payload[at] << 8 | payload[at + 1], at + 2


def _ids(payload: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    count, at = _count(payload, at)
    ids: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        channel, at = _str16(payload, at)
        last, at = _str16(payload, at)
        ids.append((channel, last))
    return ids, at


def _end(payload: bytes, at: int) -> None:
    if at != len(payload):
        raise ValueError(f"{len(payload)} bytes of payload where {at} are due")


def _flag(number: int, field: str) -> bool:
    if number > 1:
        raise ValueError(f"{field} is {number}")
    return number == 1


def _mode(number: int) -> Mode:
    if number not in (Mode.RESPONSE, Mode.STREAM, Mode.WS):
        raise ValueError(f"mode is {number}")
    return Mode(number)


def _modes(number: int) -> int:
    if not 1 <= number <= _MODES_MAX:
        raise ValueError(f"modes is {number}")
    return number


_MAGIC = b"FWLK"
_GREETING = struct.Struct(">4sH")
_HELLO = struct.Struct(">4sHIHB")
_OPENED = struct.Struct(">Bq")
_FREED = struct.Struct(">BQ")
_CLOSED = struct.Struct(">HH")
_COUNTS = struct.Struct(">III")
_REACHED = struct.Struct(">HIIIQQ")


def _hello(packet: Packet) -> Hello:
    magic, version = _GREETING.unpack_from(packet.payload)
    if magic != _MAGIC:
        raise ValueError(f"magic is {magic!r}")
    if version != LINK_VERSION:  # what follows may then be anything
        raise ValueError(f"the worker's link version is {version}, control's is {LINK_VERSION}")
    _, _, pid, worker, resumed = _HELLO.unpack(packet.payload)
    return Hello(version, pid, worker, _flag(resumed, "resumed"))


def _opened(packet: Packet) -> Opened:
    payload = packet.payload
    again, length = _OPENED.unpack_from(payload)
    if length < -1:
        raise ValueError(f"length is {length}")
    lasts, at = _ids(payload, _OPENED.size)
    body, at = _str32(payload, at)
    kind, minor, tls = payload[at], payload[at + 1], payload[at + 2]
    peer, at = _str16(payload, at + 3)
    method, at = _str16(payload, at)
    target, at = _str32(payload, at)
    headers_count, at = _count(payload, at)
    headers = []
    for _ in range(headers_count):
        name, at = _str16(payload, at)
        value, at = _str32(payload, at)
        headers.append((name, value))
    _end(payload, at)
    return Opened(
        packet.ref,
        _flag(again, "again"),
        length,
        lasts,
        body,
        _flag(kind, "kind"),
        minor,
        _flag(tls, "tls"),
        peer,
        method,
        target,
        headers,
        packet.flags == FLAG_MORE,
    )


def _received(packet: Packet) -> Received:
    kind = Kind(packet.payload[0])
    return Received(packet.ref, kind, packet.payload[1:], packet.flags == FLAG_MORE)


def _granted(packet: Packet) -> Granted:
    return Granted(packet.ref, *_U32.unpack(packet.payload))


def _held(packet: Packet) -> Held:
    channel, at = _str16(packet.payload, 0)
    modes = packet.payload[at]
    _end(packet.payload, at + 1)
    return Held(channel, _modes(modes))


def _freed(packet: Packet) -> Freed:
    channel, at = _str16(packet.payload, 0)
    modes, orders_count = _FREED.unpack_from(packet.payload, at)
    _end(packet.payload, at + _FREED.size)
    return Freed(channel, _modes(modes), orders_count)


def _signalled(packet: Packet) -> Signalled:
    _end(packet.payload, 1)
    return Signalled(packet.ref, Signal(packet.payload[0]))


def _closed(packet: Packet) -> Closed:
    reason, code = _CLOSED.unpack_from(packet.payload)
    context, at = _str32(packet.payload, _CLOSED.size)
    _end(packet.payload, at)
    return Closed(packet.ref, reason, code, context)


def _synced(packet: Packet) -> Synced:
    _end(packet.payload, 0)
    return Synced()


def _tally(packet: Packet) -> Tally:
    counts = orjson.loads(packet.payload)
    if not isinstance(counts, dict) or not all(type(x) is int for x in counts.values()):
        raise ValueError("not an object of numbers")
    return Tally(counts)


def _met(packet: Packet) -> Met:
    payload = packet.payload
    (number,) = _U32.unpack_from(payload)
    channel, at = _str16(payload, _U32.size)
    has_id = _flag(payload[at], "id")
    item_id, at = _str16(payload, at + 1) if has_id else (None, at + 1)
    meta, at = _str32(payload, at)
    contents: dict[Mode, bytes] = {}
    count, at = _count(payload, at)
    for _ in range(count):
        mode = _mode(payload[at])
        contents[mode], at = _str32(payload, at + 1)
    groups: list[Group] = []
    count, at = _count(payload, at)
    for _ in range(count):
        mode, action = _mode(payload[at]), Action(payload[at + 1])
        traits, at = _str16(payload, at + 2)
        ids, at = _ids(payload, at)
        groups.append(Group(mode, action, traits, ids))
    _end(payload, at)
    return Met(number, channel, item_id, meta, contents, groups)


def _lapsed(packet: Packet) -> Lapsed:
    why = Lapse(packet.payload[0])
    lasts, at = _ids(packet.payload, 1)
    context, at = _str32(packet.payload, at)
    _end(packet.payload, at)
    return Lapsed(packet.ref, why, lasts, context)


def _pong(packet: Packet) -> Pong:
    _end(packet.payload, 0)
    return Pong()


def _counted(packet: Packet) -> Counted:
    channel, at = _str16(packet.payload, 0)
    counts = _COUNTS.unpack_from(packet.payload, at)
    _end(packet.payload, at + _COUNTS.size)
    return Counted(channel, *counts)


def _delivered(packet: Packet) -> Delivered:
    channel, at = _str16(packet.payload, 0)
    item_id = None
    if _flag(packet.payload[at], "presence of id"):
        item_id, at = _str16(packet.payload, at + 1)
    else:
        at += 1
    sizes = _COUNTS.unpack_from(packet.payload, at)
    count, at = _count(packet.payload, at + _COUNTS.size)
    reached = []
    for _ in range(count):
        reached.append(Reached(*_REACHED.unpack_from(packet.payload, at)))
        at += _REACHED.size
    _end(packet.payload, at)
    return Delivered(channel, item_id, sizes, reached)


def _served(packet: Packet) -> Served:
    rows = orjson.loads(packet.payload)
    if not isinstance(rows, list):
        raise ValueError("not a list")
    shares = [Share(*row) for row in rows]
    if not all(type(number) is int for share in shares for number in share):
        raise ValueError("not numbers")
    return Served(shares)


def _left(packet: Packet) -> Left:
    _end(packet.payload, 0)
    return Left(packet.ref)


_DECODERS: dict[int, Callable[[Packet], AnyReport]] = {
    Report.HELLO: _hello,
    Report.OPENED: _opened,
    Report.RECEIVED: _received,
    Report.GRANTED: _granted,
    Report.HELD: _held,
    Report.FREED: _freed,
    Report.SIGNALLED: _signalled,
    Report.CLOSED: _closed,
    Report.SYNCED: _synced,
    Report.TALLY: _tally,
    Report.PONG: _pong,
    Report.MET: _met,
    Report.LAPSED: _lapsed,
    Report.COUNTED: _counted,
    Report.DELIVERED: _delivered,
    Report.LEFT: _left,
    Report.SERVED: _served,
}
