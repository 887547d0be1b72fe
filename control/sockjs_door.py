"""A WebSocket from control to one of Fanway's own listeners: what a SockJS session is inside.

A SockJS session is a WebSocket client of this Fanway, so that everything that holds for a WebSocket
holds for it. Speaks RFC 6455 as a client; knows nothing of SockJS.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Sequence

from control.address import Address, UnixAddress
from control.wsframe import FrameError, FrameReader, Opcode, Piece, encode, read_close

HEAD_MAX_BYTES = 64 * 1024  # of what the listener answers the handshake with
OPEN_SECONDS = 60  # for the origin to accept
MESSAGE_MAX_BYTES = 1_000_000
READ_BYTES = 64 * 1024

Headers = Sequence[tuple[bytes, bytes]]

# Of the client's request these are said anew.
OWN_HEADERS = frozenset(
    {
        b"connection",
        b"upgrade",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-extensions",
        b"expect",
        b"keep-alive",
    }
)


class NotOpened(Exception):
    """The session was refused, or could not be opened."""


class Ended(Exception):
    """The WebSocket is over: its close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


class Door:
    """One WebSocket, open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        self._pieces: list[Piece] = []
        self._message = bytearray()

    @classmethod
    async def open(cls, address: Address, target: bytes, headers: Headers) -> Door:
        """Connect, and be accepted. Raises NotOpened."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                if isinstance(address, UnixAddress):
                    reader, writer = await asyncio.open_unix_connection(
                        address.path, limit=HEAD_MAX_BYTES
                    )
                else:
                    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
                    reader, writer = await asyncio.open_connection(
                        host, address.port, limit=HEAD_MAX_BYTES
                    )
                try:
                    await cls._shake_hands(reader, writer, target, headers)
                except BaseException:
                    writer.close()
                    raise
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError) as error:
            raise NotOpened(str(error) or type(error).__name__) from None
        return cls(reader, writer)

    @staticmethod
    async def _shake_hands(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: bytes, headers: Headers
    ) -> None:
        kept = [h for h in headers if h[0].lower() not in OWN_HEADERS]
        own = [
            (b"Connection", b"Upgrade"),
            (b"Upgrade", b"websocket"),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Key", base64.b64encode(os.urandom(16))),
        ]
        lines = [b"GET %b HTTP/1.1" % target, *(b"%b: %b" % h for h in (*kept, *own))]
        writer.write(b"\r\n".join([*lines, b"", b""]))
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"101"]:
            raise NotOpened(f"status {b''.join(status).decode('latin-1')}")

    async def send(self, messages: Sequence[str]) -> None:
        """Send messages, no faster than they are taken."""
        for message in messages:
            content = message.encode("utf-8", "replace")
            self._writer.write(encode(Opcode.TEXT, content, os.urandom(4)))
        try:
            await self._writer.drain()
        except OSError:
            raise Ended(1006, "") from None

    async def receive(self) -> str:
        """Give the next message; binary ones as text. Raises Ended."""
        while True:
            while self._pieces:
                message = self._take(self._pieces.pop(0))
                if message is not None:
                    return message
            try:
                run = await self._reader.read(READ_BYTES)
                self._pieces = list(self._frames.feed(run))
            except (OSError, FrameError):
                run = b""
            if not run:
                self.close()
                raise Ended(1006, "")

    def _take(self, piece: Piece) -> str | None:
        if piece.opcode is Opcode.CLOSE:
            try:
                code, reason = read_close(piece.content)
            except FrameError:
                code, reason = 0, b""
            self._write_last(piece.content)
            raise Ended(code, reason.decode("utf-8", "replace"))
        if piece.opcode is Opcode.PING:
            self._writer.write(encode(Opcode.PONG, piece.content, os.urandom(4)))
        if piece.opcode in (Opcode.PING, Opcode.PONG):
            return None
        self._message += piece.content
        if len(self._message) > MESSAGE_MAX_BYTES:
            self.close()
            raise Ended(1009, "message too large")
        if not piece.is_last:
            return None
        message, self._message = self._message.decode("utf-8", "replace"), bytearray()
        return message

    def _write_last(self, content: bytes) -> None:
        self._writer.write(encode(Opcode.CLOSE, content, os.urandom(4)))
        self._writer.close()

    def leave(self, code: int = 1000) -> None:
        """Close in order, as a client that goes."""
        if not self._writer.is_closing():
            self._write_last(code.to_bytes(2, "big"))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
