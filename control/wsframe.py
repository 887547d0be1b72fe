"""WebSocket frames between control and an origin, seen from the client's end (RFC 6455 5).

Bytes in, pieces of frames out, and back. A frame is given whole up to PIECE_BYTES and in pieces of
that size above it, so that a message of any size passes in constant memory. Knows no connection,
no GRIP, and does not say what follows from a fault: that is a FrameError with a close code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

# There is no public name for it, and nothing comes near: 64 KiB in 7 µs, in pure Python 370 µs.
from aiohttp._websocket.helpers import websocket_mask

# A message of any length needs no more memory than this. Origins seldom write longer frames, so
# that most reach the client as they were; and it is a fraction of the link's window.
PIECE_BYTES = 64 * 1024
CONTROL_MAX_BYTES = 125  # RFC 6455 5.5

BAD_FRAME_CODE = 1002
BAD_TEXT_CODE = 1007

# RFC 6455 7.4 and IANA's registry: what may stand in a close frame.
CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


def is_close_code(code: int) -> bool:
    """Whether a code may stand in a close frame (RFC 6455 7.4)."""
    return code in CLOSE_CODES or 3000 <= code <= 4999


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FrameError(Exception):
    """The bytes are no WebSocket frames that a server may send. `code` is the close code."""

    def __init__(self, why: str, code: int = BAD_FRAME_CODE) -> None:
        self.code = code
        super().__init__(why)


class Piece(NamedTuple):
    """A frame, or a part of one that is longer than PIECE_BYTES."""

    opcode: Opcode  # of the message: never CONTINUATION
    content: bytes
    is_first: bool  # the message begins here
    is_last: bool  # the message ends here; if it is the first too, the message is one frame


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_FINAL = 0x80
_MASKED = 0x80
_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")


class FrameReader:
    """Cuts what a server sends into pieces, however it arrives.

    It keeps at most one unfinished piece and what was fed last.
    """

    __slots__ = (
        "_buffer",
        "_frame",
        "_is_final",
        "_is_new",
        "_left_bytes",
        "_message",
    )

    def __init__(self) -> None:
        self._buffer = b""  # what has not been given yet
        self._message: Opcode | None = None  # the one that has begun
        self._is_new = False  # nothing of it has been given
        self._frame: Opcode | None = None  # the one whose head has been read
        self._is_final = False  # it is the last of its message
        self._left_bytes = 0  # of it

    def feed(self, run: bytes) -> Iterator[Piece]:
        """Add bytes; iterate over the pieces that are complete now. To be iterated to the end.

        FrameError at the first byte that is wrong, after the pieces in front of it.
        """
        buffer = self._buffer + run if self._buffer else run
        end = len(buffer)
        at = 0
        self._buffer = b""
        while True:
            if self._frame is None:
                start = self._head(buffer, at)
                if not start:
                    break
                at = start
            size = min(self._left_bytes, PIECE_BYTES)
            if end - at < size:
                break
            yield self._piece(buffer[at : at + size])
            at += size
        self._buffer = buffer[at:]

    def _head(self, buffer: bytes, at: int) -> int:
        """Read the head of a frame. Gives where its content begins; 0: it is not complete."""
        left = len(buffer) - at
        if left < 2:
            return 0
        first, size = buffer[at], buffer[at + 1]
        frame = _OPCODES.get(first & 0x0F)
        if frame is None or first & 0x70:
            raise FrameError(f"a frame that begins with {first:#04x}")
        if size & _MASKED:
            raise FrameError("a masked frame from a server")
        is_final = first >= _FINAL
        if frame >= Opcode.CLOSE:
            if not is_final or size > CONTROL_MAX_BYTES:
                raise FrameError(f"a {frame.name} that is too long or has parts")
        elif (frame is Opcode.CONTINUATION) is (self._message is None):
            raise FrameError(f"a {frame.name} out of place")
        start = at + 2
        if size == 126:
            start += 2
            if left < 4:
                return 0
            size = _U16.unpack_from(buffer, at + 2)[0]
        elif size == 127:
            start += 8
            if left < 10:
                return 0
            size = _U64.unpack_from(buffer, at + 2)[0]
        if size >> 63:
            raise FrameError("a length over 63 bits")
        self._frame, self._is_final, self._left_bytes = frame, is_final, size
        if frame in (Opcode.TEXT, Opcode.BINARY):
            self._message, self._is_new = frame, True
        return start

    def _piece(self, content: bytes) -> Piece:
        frame = self._frame
        assert frame is not None
        self._left_bytes -= len(content)
        is_end = not self._left_bytes
        if is_end:
            self._frame = None
        if frame >= Opcode.CLOSE:
            return Piece(frame, content, True, True)
        message, is_first = self._message, self._is_new
        assert message is not None
        self._is_new = False
        is_last = is_end and self._is_final
        if is_last:
            self._message = None
        return Piece(message, content, is_first, is_last)


def encode(opcode: Opcode, content: bytes, key: bytes, *, is_last: bool = True) -> bytes:
    """Make a frame as a client sends it, masked with a key of four bytes (RFC 6455 5.3)."""
    size = len(content)
    first = opcode | _FINAL if is_last else opcode
    if size < 126:
        head = bytes((first, _MASKED | size))
    elif size < 65536:
        head = bytes((first, _MASKED | 126)) + _U16.pack(size)
    else:
        head = bytes((first, _MASKED | 127)) + _U64.pack(size)
    masked = bytearray(content)
    websocket_mask(key, masked)
    return b"".join((head, key, masked))


def read_close(content: bytes) -> tuple[int, bytes]:
    """Read the content of a close frame: its code (0: none) and its reason, UTF-8.

    FrameError if it may not stand there (RFC 6455 5.5.1, 7.4).
    """
    if not content:
        return 0, b""
    if len(content) == 1:
        raise FrameError("half a close code")
    code = _U16.unpack_from(content)[0]
    if not is_close_code(code):
        raise FrameError(f"close code {code}")
    try:
        content[2:].decode()
    except UnicodeDecodeError:
        raise FrameError("a close reason that is not UTF-8", BAD_TEXT_CODE) from None
    return code, content[2:]
