"""The WebSocket origin of the benchmarks: sends back every message, and does nothing else.

`python -m benchmarks.macro.ws_origin` prints its port and serves until its standard input ends. It
reads whole unfragmented frames of up to 64 KiB, which is what the load client's become.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys

import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
KEY = re.compile(rb"\r\nSec-WebSocket-Key: *(\S+)", re.IGNORECASE)
CLOSE = 0x8


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._unread = b""
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._is_open:
            head, blank, rest = self._unread.partition(b"\r\n\r\n")
            if not blank:
                return
            self._accept(head)
            self._is_open, self._unread = True, rest
        answers = []
        while frame := self._next_frame():
            answers.append(frame)
        self._transport.write(b"".join(answers))
        if answers and answers[-1][0] & 15 == CLOSE:
            self._transport.close()

    def _accept(self, head: bytes) -> None:
        key = KEY.search(head)
        assert key
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )

    def _next_frame(self) -> bytes:
        """The answer to the next frame: the same, unmasked. Empty if it is not whole."""
        unread = self._unread
        if len(unread) < 8:
            return b""
        length, at = unread[1] & 127, 2
        if length == 126:
            length, at = int.from_bytes(unread[2:4], "big"), 4
        end = at + 4 + length
        if len(unread) < end:
            return b""
        mask = (unread[at : at + 4] * (length // 4 + 1))[:length]
        content = int.from_bytes(unread[at + 4 : end], "big") ^ int.from_bytes(mask, "big")
        self._unread = unread[end:]
        head = bytes((unread[0], length)) if at == 2 else bytes((unread[0], 126)) + unread[2:4]
        return head + content.to_bytes(length, "big")


async def serve() -> None:
    """Print the port, and serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
