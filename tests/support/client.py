"""A raw client: it says the bytes it is told to, and h11 judges the bytes that come back.

It knows no HTTP of its own: what h11 refuses, it refuses.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

import h11

from support.waiting import DEADLINE_SECONDS

Address = tuple[str, int] | str  # host and port, or the path of a Unix socket
Split = Callable[[bytes], Iterator[bytes]]

RECEIVE_BYTES = 256 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, no time


class CutShort(AssertionError):
    """The connection ended before the response was complete."""


# -- the three splits ------------------------------------------------------------------------------


def whole(request: bytes) -> Iterator[bytes]:
    """All at once."""
    yield request


def byte_by_byte(request: bytes) -> Iterator[bytes]:
    """One byte a piece."""
    for at in range(len(request)):
        yield request[at : at + 1]


def random_pieces(request: bytes) -> Iterator[bytes]:
    """Pieces of random sizes; the same ones for the same bytes."""
    dice = random.Random(request)
    at = 0
    while at < len(request):
        size = dice.randint(1, max(2, len(request) // 4))
        yield request[at : at + size]
        at += size


SPLITS: tuple[Split, ...] = (whole, byte_by_byte, random_pieces)


class Silence(AssertionError):
    """Nothing came within the time."""


class Client:
    """One connection to Fanway."""

    def __init__(self, address: Address, *, receive_buffer_bytes: int | None = None) -> None:
        """Connect. A small receive buffer makes a client that is slow for its size."""
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(DEADLINE_SECONDS)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        if family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""  # received, not yet part of a response
        self.ended = False  # the other side has closed

    # -- saying

    def send(self, request: bytes, split: Split = whole) -> Client:
        """Say these bytes, in these pieces."""
        for piece in split(request):
            self._socket.sendall(piece)
        return self

    def send_until_blocked(self, piece: bytes, *, bytes_max: int) -> int:
        """Say as much as is taken without a second's rest. How many bytes that was."""
        self._socket.settimeout(1.0)
        sent = 0
        try:
            while sent < bytes_max:
                sent += self._socket.send(piece)
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(DEADLINE_SECONDS)
        return sent

    def finish_sending(self) -> None:
        """Half-close: nothing more will be said, but the answer is awaited."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave politely."""
        self._socket.close()

    def reset(self) -> None:
        """Leave rudely: the far end sees a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._socket.close()

    # -- hearing

    def receive(self, seconds: float = DEADLINE_SECONDS) -> bytes:
        """Whatever comes next; empty at the end of the connection."""
        if self._unread:
            received, self._unread = self._unread, b""
            return received
        if self.ended:
            return b""
        self._socket.settimeout(seconds)
        try:
            received = self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            received = b""
        except TimeoutError:
            raise Silence(f"nothing came within {seconds} s") from None
        self.ended = not received
        return received

    def put_back(self, received: bytes) -> None:
        """Hear these bytes again: they belong to the next response."""
        self._unread = received + self._unread

    def is_silent(self) -> bool:
        """Whether nothing has come, not even the end of the connection."""
        self._socket.setblocking(False)
        try:
            return not self._unread and self._socket.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return not self._unread
        finally:
            self._socket.settimeout(DEADLINE_SECONDS)

    def rest(self) -> bytes:
        """Everything up to the end of the connection, uninterpreted."""
        received = bytearray()
        while piece := self.receive():
            received += piece
        return bytes(received)

    def drain(self, size_bytes: int) -> int:
        """Take `size_bytes` and throw them away; how many really came. For very large bodies."""
        buffer = bytearray(RECEIVE_BYTES)
        taken = len(self._unread)
        self._unread = b""
        while taken < size_bytes:
            count = self._socket.recv_into(buffer)
            if not count:
                self.ended = True
                break
            taken += count
        return taken

    def reply(self, method: str = "GET", seconds: float = DEADLINE_SECONDS) -> Reply:
        """The next response, as far as its head."""
        return Reply(self, method, seconds)

    def response(self, method: str = "GET", seconds: float = DEADLINE_SECONDS) -> Reply:
        """The next response, complete. Raises CutShort."""
        reply = self.reply(method, seconds)
        reply.read_to_end(seconds)
        return reply


class Reply:
    """One response as it arrives."""

    def __init__(self, client: Client, method: str, seconds: float) -> None:
        self.client = client
        self._seen = 0  # bytes of the body that a test has taken
        self._judge = h11.Connection(h11.CLIENT)
        # h11 reads an answer in the light of its question.
        self._judge.send(h11.Request(method=method, target="/", headers=[("Host", "any")]))
        self._judge.send(h11.EndOfMessage())
        self.interim: list[int] = []  # statuses of 1xx responses that came before
        self.body = bytearray()
        self.complete = False
        while not isinstance(event := self._next(seconds), h11.Response):
            assert isinstance(event, h11.InformationalResponse)
            self.interim.append(event.status_code)
        self.arrived_seconds = time.monotonic()  # of the head
        self.status = event.status_code
        self.reason = event.reason.decode("latin-1")
        self.version = event.http_version.decode()
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in event.headers.raw_items()
        ]

    def _next(self, seconds: float) -> h11.Event:
        """The next thing h11 understands."""
        while (event := self._judge.next_event()) is h11.NEED_DATA:
            received = self.client.receive(seconds)
            try:
                self._judge.receive_data(received)
                if not received:
                    event = self._judge.next_event()
                    if isinstance(event, h11.ConnectionClosed):
                        raise CutShort("the connection ended before a response")
                    break
            except h11.RemoteProtocolError as error:
                if received:
                    raise
                raise CutShort(str(error)) from None
        if isinstance(event, h11.Data):
            self.body += event.data
        if isinstance(event, h11.EndOfMessage):
            self.complete = True
            left_over, _ = self._judge.trailing_data
            self.client.put_back(left_over)
        return event

    def all(self, name: str) -> list[str]:
        """The values of a header, in order."""
        return [value for header, value in self.headers if header.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a header that occurs at most once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None

    def read_to_end(self, seconds: float = DEADLINE_SECONDS) -> bytes:
        """The whole body. Raises CutShort if the connection ends before it does."""
        while not self.complete:
            self._next(seconds)
        return bytes(self.body)

    def take(self, size_bytes: int, seconds: float = DEADLINE_SECONDS) -> bytes:
        """The next `size_bytes` of the body, or fewer if it ends."""
        while len(self.body) < self._seen + size_bytes and not self.complete:
            self._next(seconds)
        taken = bytes(self.body[self._seen : self._seen + size_bytes])
        self._seen += len(taken)
        return taken

    def piece(self, seconds: float = DEADLINE_SECONDS) -> bytes:
        """What the body has next, as it comes: of a chunked one, at most a chunk."""
        while len(self.body) == self._seen and not self.complete:
            self._next(seconds)
        return self.take(len(self.body) - self._seen)

    def expect(self, expected: bytes, seconds: float = DEADLINE_SECONDS) -> None:
        """These bytes come next in the body, and no others."""
        taken = self.take(len(expected), seconds)
        assert taken == expected

    def expect_end(self, seconds: float = DEADLINE_SECONDS) -> None:
        """The body ends here, as a body should."""
        self.read_to_end(seconds)
        assert bytes(self.body[self._seen :]) == b""
