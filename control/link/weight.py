"""How much of an order is for a client: read from its bytes (fastpath/LINK.md).

For who counts what clients are given; every order goes by one door, and says all there is to say.
Never touches a socket, and decides nothing.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from control.link.packets import FLAG_MORE, LINK_HEADER_SIZE, Kind, Mode, Order

_HEADER = struct.Struct(">IBBHQ")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_HOLD_SIZE = struct.calcsize(">BIBI")  # mode, timeout, keep-alive mode and interval
ACCEPTED = b"101Switching Protocols"  # the words of the first line, which is the worker's
_LENGTH_SIZE = struct.calcsize(">q")


class Weight(NamedTuple):
    """What a client is given by one order."""

    ref: int
    head_bytes: int = 0  # status and reason, names and values
    content_bytes: int = 0
    ends_message: bool = False  # of a WebSocket


def weigh(packet: bytes) -> Weight | None:
    """Weigh a whole order. None: it gives a client nothing, or not before the hold ends."""
    _, op, flags, _, ref = _HEADER.unpack_from(packet)
    at = LINK_HEADER_SIZE
    if op == Order.SEND:
        ends_message = packet[at] != Kind.BODY and not flags & FLAG_MORE
        return Weight(ref, 0, len(packet) - at - 1, ends_message)
    if op == Order.RESPOND:
        head_bytes, at = _answer_head(packet, at)
        body_bytes, at = _skip(_U32, packet, at + _LENGTH_SIZE)
        return Weight(ref, head_bytes, body_bytes)
    if op == Order.ACCEPT:
        return Weight(ref, len(ACCEPTED) + _headers(packet, at)[0])
    if op == Order.HOLD and packet[at] == Mode.STREAM:
        return _stream(ref, packet, at)
    return None


def _stream(ref: int, packet: bytes, at: int) -> Weight | None:
    """Weigh what a stream begins with, unless it has begun already."""
    _, at = _skip(_U32, packet, at + _HOLD_SIZE)
    (channels_count,) = _U16.unpack_from(packet, at)
    at += _U16.size
    for _ in range(channels_count):
        _, at = _skip(_U16, packet, at)
        _, at = _skip(_U16, packet, at + 1) if packet[at] else (0, at + 1)
        _, at = _skip(_U16, packet, at)
    if packet[at]:
        return None
    head_bytes, at = _answer_head(packet, at + 1)
    body_bytes, at = _skip(_U32, packet, at)
    return Weight(ref, head_bytes, body_bytes)


def _answer_head(packet: bytes, at: int) -> tuple[int, int]:
    """Weigh status, reason and headers; gives also where they end."""
    (status,) = _U16.unpack_from(packet, at)
    reason_bytes, at = _skip(_U16, packet, at + _U16.size)
    headers_bytes, at = _headers(packet, at)
    return len(str(status)) + reason_bytes + headers_bytes, at


def _headers(packet: bytes, at: int) -> tuple[int, int]:
    (count,) = _U16.unpack_from(packet, at)
    at += _U16.size
    total = 0
    for _ in range(count):
        name_bytes, at = _skip(_U16, packet, at)
        value_bytes, at = _skip(_U32, packet, at)
        total += name_bytes + value_bytes
    return total, at


def _skip(size: struct.Struct, packet: bytes, at: int) -> tuple[int, int]:
    """Give the length of a string, and where it ends."""
    (length,) = size.unpack_from(packet, at)
    return length, at + size.size + length
