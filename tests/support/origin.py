"""A scripted origin: real sockets, one script a host name.

All scripts stand behind one port, so that one Fanway with one route serves many tests. A request
is read by h11, the judge of what Fanway forwards; whatever h11 refuses, and whatever nobody has
asked for, is written down and fails the test.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import h11

from support.spelling import answer
from support.waiting import DEADLINE_SECONDS, until

RECEIVE_BYTES = 256 * 1024
HEAD_BYTES_MAX = 256 * 1024  # generous: the origin's limits are not under test
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Request:
    """A request as it reached the origin."""

    method: str
    target: str
    version: str
    headers: list[Header]  # as written, in order
    body: bytes = b""
    arrived_seconds: float = field(default_factory=time.monotonic)

    def all(self, name: str) -> list[str]:
        """The values of a header, in order."""
        wanted = name.lower().encode()
        return [v.decode("latin-1") for n, v in self.headers if n.lower() == wanted]

    def one(self, name: str) -> str | None:
        """The value of a header that occurs at most once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None


class Wire:
    """The origin's end of one connection from Fanway, in the hands of a script."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE_SECONDS * 3)
        self.socket = sock
        self._judge = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)

    def next_head(self) -> Request | None:
        """The head of the next request; None if Fanway has closed the connection."""
        event = self._next_event()
        if isinstance(event, h11.ConnectionClosed):
            return None
        assert isinstance(event, h11.Request)
        return Request(
            event.method.decode(),
            event.target.decode("latin-1"),
            event.http_version.decode(),
            event.headers.raw_items(),
        )

    def body_piece(self) -> bytes:
        """What comes next of the request's body; empty at its end."""
        event = self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def drain_body(self, size_bytes: int) -> int:
        """Throw away a sized body without a look at it; how many bytes came. For large ones."""
        taken = len(self._judge.trailing_data[0])
        buffer = bytearray(RECEIVE_BYTES)
        while taken < size_bytes and (count := self.socket.recv_into(buffer)):
            taken += count
        return taken

    def send(self, *pieces: bytes) -> None:
        """Say these bytes."""
        for piece in pieces:
            self.socket.sendall(piece)

    def send_until_blocked(self, piece: bytes, *, bytes_max: int) -> int:
        """Say as much as is taken without a second's rest. How many bytes that was."""
        self.socket.settimeout(1.0)
        sent = 0
        with suppress(TimeoutError):
            while sent < bytes_max:
                sent += self.socket.send(piece)
        self.socket.settimeout(DEADLINE_SECONDS * 3)
        return sent

    def wait_for_close(self) -> None:
        """Stay, saying nothing, until Fanway leaves."""
        with suppress(OSError):
            while self.socket.recv(RECEIVE_BYTES):
                pass

    def reset(self) -> None:
        """Leave rudely."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.socket.close()

    def start_next(self) -> None:
        """Forget the finished exchange."""
        # h11 wants to have seen the answer it did not write.
        unread, _ = self._judge.trailing_data
        self._judge = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        if unread:
            self._judge.receive_data(unread)

    def _next_event(self) -> h11.Event:
        while (event := self._judge.next_event()) is h11.NEED_DATA:
            received = self.socket.recv(RECEIVE_BYTES)
            if not received and not self._is_between_requests():
                raise ConnectionResetError("a request was left unfinished")
            self._judge.receive_data(received)
        return event

    def _is_between_requests(self) -> bool:
        return self._judge.their_state is h11.IDLE and not self._judge.trailing_data[0]


# What a script says to one request: bytes, after which the connection stays; or a function that
# does as it likes, after which it is closed.
Act = Callable[[Wire, Request], None]
Answer = bytes | Act


def says(*pieces: bytes) -> Act:
    """Send these pieces, then close."""
    return lambda wire, _request: wire.send(*pieces)


@dataclass(slots=True)
class Origin:
    """The script of one host: what it answers, and what it was asked."""

    host: str
    requests: list[Request] = field(default_factory=list)
    answered: int = 0  # answers that have been said completely
    _answers: list[Answer] = field(default_factory=lambda: [answer()])
    at_head: bool = False  # the answers are acts that read the body themselves

    def answers(self, *answers: Answer) -> None:
        """One answer a request; the last one again and again."""
        self._answers = list(answers)

    def answers_at_head(self, act: Act) -> None:
        """Act when the head has come; the body is still to be read."""
        self._answers = [act]
        self.at_head = True

    def wait_for_requests(self, count: int = 1) -> Request:
        """The last of the first `count` requests, once they have come."""
        until(lambda: len(self.requests) >= count, f"{count} requests for {self.host}")
        return self.requests[count - 1]

    def wait_until_answered(self, count: int = 1) -> None:
        """Until `count` answers have been said."""
        until(lambda: self.answered >= count, f"{count} answers of {self.host}")

    def play(self, wire: Wire, request: Request) -> bool:
        """Answer one request. Whether the connection stays open."""
        if not self.at_head:
            while piece := wire.body_piece():
                request.body += piece
        self.requests.append(request)
        chosen = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(chosen, bytes):
            wire.send(chosen)
            self.answered += 1
            return True
        chosen(wire, request)
        self.answered += 1
        return False


class Hub:
    """One listening port behind which all scripts stand."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.target = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.faults: list[str] = []  # what should never have reached an origin
        self.connections = 0
        self._origins: dict[str, Origin] = {}
        self._wires: set[Wire] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, name="hub", daemon=True).start()

    def origin(self, host: str) -> Origin:
        """A script for a host; it replaces one that the host had."""
        origin = self._origins[host] = Origin(host)
        return origin

    def close(self) -> None:
        """Stop listening, and hang up on everybody."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for wire in self._wires:
                with suppress(OSError):
                    wire.socket.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(sock)
            with self._lock:
                self._wires.add(wire)
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: Wire) -> None:
        """One connection: request after request, until an act or Fanway ends it."""
        try:
            with suppress(OSError):
                while request := wire.next_head():
                    host = (request.one("Host") or "").partition(":")[0].lower()
                    if host not in self._origins:
                        self.faults.append(f"{request.method} {request.target} for {host!r}")
                        return
                    if not self._origins[host].play(wire, request):
                        return
                    wire.start_next()
        except (h11.RemoteProtocolError, AssertionError) as error:
            self.faults.append(str(error))
        finally:
            with self._lock:
                self._wires.discard(wire)
            wire.socket.close()
