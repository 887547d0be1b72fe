"""The orders of the link, written as its bytes (fastpath/LINK.md, normative).

The twin of what `fastpath/link_orders` reads, held to the same golden packets; `reports` reads what
comes the other way. Channels, ids and header blocks are the raw bytes of the wire. A value that
does not fit its field is the caller's `ValueError`. Never touches a socket, an event loop or a
clock, and decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import orjson

from control.link.packets import (
    LINK_PAYLOAD_MAX,
    Action,
    FormatKind,
    KeepAlive,
    Kind,
    Mode,
    Order,
    Verdict,
)

Headers = Sequence[tuple[bytes, bytes]]

_HEADER = struct.Struct(">IBBHQ")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


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


def accept(ref: int, headers: Headers, *, route: int = 0) -> bytes:
    """Accept a WebSocket; the headers go with the 101. `route` is a number of `RouteNumbers`."""
    return _packet(Order.ACCEPT, ref, _p_headers(headers), _pack(_U16, "route", route))


def hold(
    ref: int,
    *,
    mode: Mode,
    channels: Sequence[tuple[bytes, bytes | None, bytes]],
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
    link_ms: int = 0,
    watched: bool = False,
    context: bytes = b"",
    route: int = 0,
) -> bytes:
    """Hold a session on channels, each with the id it has seen last or None, and its traits.

    The response is what a response hold is given at its timeout, and a stream hold at once;
    `answered`: the stream has its head already, and the response is left out. `link_ms` is the
    timeout of a next link; `watched`: the end of the hold is reported; `route` is a number of
    `RouteNumbers`.
    """
    return _packet(
        Order.HOLD,
        ref,
        _pack(_HOLD, "timeout or keep-alive", mode, timeout_ms, keep_alive_mode, keep_alive_ms),
        _p32(keep_alive),
        _pack(_U16, "number of channels", len(channels)),
        *[
            _p16(channel, "channel") + _p_opt16(prev_id, "prev-id") + _p16(traits, "traits")
            for channel, prev_id, traits in channels
        ],
        _U8[answered],
        _pack(_U16, "status", status),
        _p16(reason, "reason"),
        _p_headers(headers),
        _p32(body),
        _p32(request_body),
        _pack(_LINK, "link timeout", link_ms, watched),
        _p32(context),
        _pack(_U16, "route", route),
    )


def subscribe(ref: int, channel: bytes, traits: bytes = b"") -> bytes:
    """Add a channel to what a WebSocket holds, or replace its traits."""
    return _packet(Order.SUBSCRIBE, ref, _p16(channel, "channel"), _p16(traits, "traits"))


def unsubscribe(ref: int, channel: bytes) -> bytes:
    """Take a channel from what a WebSocket holds."""
    return _packet(Order.UNSUBSCRIBE, ref, _p16(channel, "channel"))


def publish(
    channel: bytes,
    item_id: bytes | None,
    prev_id: bytes | None,
    formats: Sequence[bytes],
    meta: bytes = b"",
) -> bytes:
    """Deliver an item to the holds of a channel; formats are made by the functions below.

    `meta` comes back with MET, for filters.
    """
    return _packet(
        Order.PUBLISH,
        0,
        _p16(channel, "channel"),
        _p_opt16(item_id, "id"),
        _p_opt16(prev_id, "prev-id"),
        _p32(meta),
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


def verdict(number: int, verdicts: Sequence[tuple[Verdict, bytes]]) -> bytes:
    """Say what becomes of an item for each group of its MET; content only for the last two."""
    return _packet(
        Order.VERDICT,
        0,
        _pack(_U32, "number", number),
        _pack(_U16, "number of verdicts", len(verdicts)),
        *[
            _U8[said] + (_p32(content) if said >= Verdict.INSTEAD else b"")
            for said, content in verdicts
        ],
    )


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
_LINK = struct.Struct(">IB")


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
