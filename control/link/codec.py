"""The bytes of the link: reports read, orders written (fastpath/LINK.md, normative).

The twin of `fastpath/link_wire`, held to the same golden packets. Channels, ids and header
blocks are the raw bytes of the wire; who decodes them to text is above. What a worker sends wrong
is a `LinkError`; a value that does not fit its field is the caller's `ValueError`. This module
never touches a socket, an event loop or a clock, and decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

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
    FormatKind,
    Freed,
    Granted,
    Held,
    Hello,
    KeepAlive,
    Kind,
    Left,
    Mode,
    Opened,
    Order,
    Packet,
    Pong,
    Received,
    Report,
    Signal,
    Signalled,
    Synced,
    Tally,
)

Headers = Sequence[tuple[bytes, bytes]]

_REPORTS = frozenset(Report)
_HEADER = struct.Struct(">IBBHQ")
_U16 = struct.Struct(">H")
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
    except (struct.error, IndexError, ValueError) as error:
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


def _end(payload: bytes, at: int) -> None:
    if at != len(payload):
        raise ValueError(f"{len(payload)} bytes of payload where {at} are due")


def _flag(number: int, field: str) -> bool:
    if number > 1:
        raise ValueError(f"{field} is {number}")
    return number == 1


def _modes(number: int) -> int:
    if not 1 <= number <= _MODES_MAX:
        raise ValueError(f"modes is {number}")
    return number


_MAGIC = b"FWLK"
_GREETING = struct.Struct(">4sH")
_HELLO = struct.Struct(">4sHIHB")
_OPENED = struct.Struct(">BqH")
_FREED = struct.Struct(">BQ")
_CLOSED = struct.Struct(">HHQQ")
_COUNTS = struct.Struct(">III")


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
    again, length, lasts_count = _OPENED.unpack_from(payload)
    if length < -1:
        raise ValueError(f"length is {length}")
    at = _OPENED.size
    lasts = []
    for _ in range(lasts_count):
        channel, at = _str16(payload, at)
        last, at = _str16(payload, at)
        lasts.append((channel, last))
    body, at = _str32(payload, at)
    kind, minor, tls = payload[at], payload[at + 1], payload[at + 2]
    peer, at = _str16(payload, at + 3)
    method, at = _str16(payload, at)
    target, at = _str32(payload, at)
    headers_count = payload[at] << 8 | payload[at + 1]
    at += 2
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
    return Closed(packet.ref, *_CLOSED.unpack(packet.payload))


def _synced(packet: Packet) -> Synced:
    _end(packet.payload, 0)
    return Synced()


def _tally(packet: Packet) -> Tally:
    counts = orjson.loads(packet.payload)
    if not isinstance(counts, dict) or not all(type(x) is int for x in counts.values()):
        raise ValueError("not an object of numbers")
    return Tally(counts)


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
    counts = _COUNTS.unpack_from(packet.payload, at)
    _end(packet.payload, at + _COUNTS.size)
    return Delivered(channel, item_id, *counts)


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
    Report.COUNTED: _counted,
    Report.DELIVERED: _delivered,
    Report.LEFT: _left,
}


# -- orders: each function gives one whole packet


def welcome(settings: Mapping[str, object]) -> bytes:
    """Greet a worker and give it its settings."""
    return _packet(Order.WELCOME, 0, orjson.dumps(settings))


def respond(
    ref: int,
    *,
    status: int,
    reason: bytes,
    headers: Headers,
    length: int,
    body: bytes = b"",
    more: bool = False,
) -> bytes:
    """Answer a request. `length` is of the whole body, -1 when unknown; `more`: SEND follows."""
    return _packet(
        Order.RESPOND,
        ref,
        _pack(_U16, "status", status),
        _p16(reason, "reason"),
        _p_headers(headers),
        _pack(_I64, "length", length),
        _p32(body),
        more=more,
    )


def send(ref: int, kind: Kind, content: bytes, *, more: bool = False) -> bytes:
    """Send a part of a body, or a WebSocket message."""
    return _packet(Order.SEND, ref, _U8[kind], content, more=more)


def finish(ref: int) -> bytes:
    """End a body."""
    return _packet(Order.FINISH, ref)


def accept(ref: int, headers: Headers) -> bytes:
    """Accept a WebSocket; the headers go with the 101."""
    return _packet(Order.ACCEPT, ref, _p_headers(headers))


def hold(
    ref: int,
    *,
    mode: Mode,
    channels: Sequence[tuple[bytes, bytes | None]],
    timeout_ms: int = 0,
    keep_alive_mode: KeepAlive = KeepAlive.NONE,
    keep_alive_ms: int = 0,
    keep_alive: bytes = b"",
    answered: bool = False,
    status: int = 0,
    reason: bytes = b"",
    headers: Headers = (),
    body: bytes = b"",
    request_body: bytes = b"",
) -> bytes:
    """Hold a session on channels, each with the id it has seen last or None.

    The response is what a response hold is given at its timeout, and a stream hold at once;
    `answered`: the stream has its head already, and the response is left out.
    """
    return _packet(
        Order.HOLD,
        ref,
        _pack(_HOLD, "timeout or keep-alive", mode, timeout_ms, keep_alive_mode, keep_alive_ms),
        _p32(keep_alive),
        _pack(_U16, "number of channels", len(channels)),
        *[_p16(channel, "channel") + _p_opt16(prev_id, "prev-id") for channel, prev_id in channels],
        _U8[answered],
        _pack(_U16, "status", status),
        _p16(reason, "reason"),
        _p_headers(headers),
        _p32(body),
        _p32(request_body),
    )


def subscribe(ref: int, channel: bytes) -> bytes:
    """Add a channel to what a WebSocket holds."""
    return _packet(Order.SUBSCRIBE, ref, _p16(channel, "channel"))


def unsubscribe(ref: int, channel: bytes) -> bytes:
    """Take a channel from what a WebSocket holds."""
    return _packet(Order.UNSUBSCRIBE, ref, _p16(channel, "channel"))


def publish(
    channel: bytes, item_id: bytes | None, prev_id: bytes | None, formats: Sequence[bytes]
) -> bytes:
    """Deliver an item to the holds of a channel; formats are made by the functions below."""
    return _packet(
        Order.PUBLISH,
        0,
        _p16(channel, "channel"),
        _p_opt16(item_id, "id"),
        _p_opt16(prev_id, "prev-id"),
        _pack(_U16, "number of formats", len(formats)),
        *formats,
    )


def response_format(
    *, status: int, reason: bytes, headers: Headers, body: bytes, patch: bool = False
) -> bytes:
    """Give an http-response; `patch`: the body is a JSON patch of the hold's body."""
    return b"".join(
        (
            b"\x01\x00",
            _pack(_U16, "status", status),
            _p16(reason, "reason"),
            _p_headers(headers),
            _U8[patch],
            _p32(body),
        )
    )


def stream_format(content: bytes) -> bytes:
    """Give an http-stream."""
    return b"\x02\x00" + _p32(content)


def ws_format(kind: Kind, content: bytes) -> bytes:
    """Give a ws-message: TEXT, BINARY, PING or PONG."""
    if not Kind.TEXT <= kind <= Kind.PONG:
        raise ValueError(f"a {kind.name} is not a ws-message")
    return b"\x03\x00" + _U8[kind] + _p32(content)


def ws_close_format(code: int, text: bytes) -> bytes:
    """Give a ws-message that closes; code 0: none."""
    return b"\x03\x02" + _pack(_U16, "close code", code) + _p16(text, "close text")


def bare_format(kind: FormatKind, action: Action) -> bytes:
    """Give a format of an action that carries nothing: HINT, REFRESH, and CLOSE but for WS."""
    if action == Action.SEND or (kind == FormatKind.WS_MESSAGE and action == Action.CLOSE):
        raise ValueError(f"a {kind.name} with {action.name} is not bare")
    return _U8[kind] + _U8[action]


def close(ref: int, reason: int, code: int = 0, text: bytes = b"") -> bytes:
    """End a session; reason 0 is an orderly end; `code` 0 closes a WebSocket with 1000."""
    return _packet(
        Order.CLOSE, ref, _pack(_CLOSE, "reason or close code", reason, code), _p16(text, "text")
    )


def grant(ref: int, count_bytes: int) -> bytes:
    """Let so many more bytes of RECEIVED follow."""
    return _packet(Order.GRANT, ref, _pack(_U32, "bytes", count_bytes))


def release(ref: int) -> bytes:
    """End a hold and keep its session; of a WebSocket: leave it to the worker and its channels."""
    return _packet(Order.RELEASE, ref)


def keep_alive(
    ref: int, *, mode: KeepAlive, interval_ms: int = 0, kind: Kind = Kind.TEXT, content: bytes = b""
) -> bytes:
    """Let the worker send a WebSocket this message itself; mode NONE: no longer."""
    if not Kind.TEXT <= kind <= Kind.PONG:
        raise ValueError(f"a {kind.name} is not a keep-alive")
    return _packet(
        Order.KEEP_ALIVE,
        ref,
        _pack(_KEEP_ALIVE, "milliseconds", mode, interval_ms, kind),
        _p32(content),
    )


def drain() -> bytes:
    """Ask a worker to come to its end."""
    return _packet(Order.DRAIN, 0)


def ping() -> bytes:
    """Ask a worker for a PONG."""
    return _packet(Order.PING, 0)


_U8 = tuple(bytes((number,)) for number in range(8))  # every small number that is written
_I64 = struct.Struct(">q")
_HOLD = struct.Struct(">BIBI")
_CLOSE = struct.Struct(">HH")
_KEEP_ALIVE = struct.Struct(">BIB")


def _packet(order: Order, ref: int, *parts: bytes, more: bool = False) -> bytes:
    size = sum(map(len, parts))
    if size > LINK_PAYLOAD_MAX:
        raise ValueError(f"{order.name} of {size} bytes is over LINK_PAYLOAD_MAX")
    return b"".join((_HEADER.pack(size, order, more, 0, ref), *parts))


def _pack(layout: struct.Struct, field: str, *numbers: int) -> bytes:
    try:
        return layout.pack(*numbers)
    except struct.error as error:
        raise ValueError(f"{field}: {error}") from None


def _p16(run: bytes, field: str) -> bytes:
    try:
        return _U16.pack(len(run)) + run
    except struct.error:
        raise ValueError(f"{field} is {len(run)} bytes, more than a u16") from None


def _p_opt16(run: bytes | None, field: str) -> bytes:
    return b"\x00" if run is None else b"\x01" + _p16(run, field)


def _p32(run: bytes) -> bytes:
    return _U32.pack(len(run)) + run


def _p_headers(headers: Headers) -> bytes:
    parts = [_pack(_U16, "number of headers", len(headers))]
    for name, value in headers:
        parts += (_p16(name, "header name"), _U32.pack(len(value)), value)
    return b"".join(parts)
