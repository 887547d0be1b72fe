"""A worker's sessions on a stage: real sockets, real rooms, and a loop whose clock the test moves.

Nothing happens by itself: bytes are read and callbacks run when the test calls `turn`, deadlines
pass when it calls `advance`.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from control.link.reports import PacketReader, decode
from control.reasons import worker_table
from fastpath import probe_session as probe
from fastpath.fanout import Fanout
from fastpath.http_session import HttpSession
from fastpath.session import Roster
from fastpath.settings import Limits
from fastpath.table import HoldTable
from fastpath.tally import Tally
from fastpath.wheel import Wheel
from fastpath.ws_session import WsSession

START_MS = 1_000_000
HOLDS = ("holds_response", "holds_stream", "holds_ws")
TURNS_MAX = 10_000  # more is a loop that never rests

LIMITS = {
    "head_bytes_max": 8192,
    "head_timeout_ms": 10_000,
    "idle_timeout_ms": 60_000,
    "stall_timeout_ms": 30_000,
    "request_body_max_bytes": 0,
    "client_max": 1000,
    "ws_message_max_bytes": 0,
    "allow_compression": False,
    "message_rate": 0,
    "message_hwm": 1,
    "message_block_size": 0,
    "worker_count": 1,
    "reasons": worker_table(head_bytes_max=8192),
}


class Timer:
    """What call_later gives."""

    def __init__(self, at_ms: float, callback: Callable[..., object]) -> None:
        self.at_ms = at_ms
        self.callback: Callable[..., object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """As much of an event loop as the data plane asks for; its clock stands still."""

    def __init__(self) -> None:
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self.now_ms = START_MS
        probe.set_clock(self.now_ms)

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._ready.append(lambda: callback(*args))

    def call_later(self, seconds: float, callback: Callable[..., object]) -> Timer:
        timer = Timer(self.now_ms + seconds * 1000, callback)
        heapq.heappush(self._timers, (timer.at_ms, next(self._numbers), timer))
        return timer

    def run_ready(self) -> bool:
        """Run what is ready now, not what becomes ready meanwhile. False: nothing was."""
        now = len(self._ready)
        for _ in range(now):
            self._ready.popleft()()
        return now > 0

    def next_timer_ms(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def fire(self, at_ms: float) -> None:
        """Move the clock to `at_ms` and run one timer that is due, if there is one."""
        self.now_ms = max(self.now_ms, int(at_ms))
        probe.set_clock(self.now_ms)
        due = self.next_timer_ms()
        if due is not None and due <= at_ms:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback:
                callback()


class Transport:
    """The loop's side of one connection, on a real socket."""

    def __init__(self, loop: Loop, sock: socket.socket, protocol: Any) -> None:
        self.sock = sock
        self.paused = False
        self.closing = False
        self.ended = False  # the client's end has been seen
        self._loop = loop
        self._protocol = protocol
        self._unsent = b""
        self._writing_paused = False
        self._eof_written = False
        sock.setblocking(False)
        protocol.connection_made(self)

    # -- the protocol calls

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.sock

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def write(self, run: bytes | memoryview) -> None:
        assert not self._eof_written
        if self.closing:
            return
        self._unsent += bytes(run)
        self._send()
        if self._unsent and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def write_eof(self) -> None:
        self._eof_written = True
        if not self._unsent:
            self._shut_down()

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def abort(self) -> None:
        self._lose(None)

    # -- the loop calls

    def read(self) -> bool:
        """One read from the client, if there is anything and reading is not paused."""
        if self.paused or self.closing or self.ended:
            return False
        buffer = self._protocol.get_buffer(-1)
        try:
            count = self.sock.recv_into(buffer)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error)
            return True
        if count:
            self._protocol.buffer_updated(count)
            return True
        self.ended = True
        if not self._protocol.eof_received():
            self._lose(None)
        return True

    def send_rest(self) -> bool:
        """Send what the kernel did not take before. False: nothing moved."""
        if not self._unsent or self.closing:
            return False
        before = len(self._unsent)
        self._send()
        if not self._unsent and not self.closing:
            self._writing_paused = False
            self._protocol.resume_writing()
            if self._eof_written:
                self._shut_down()
        return len(self._unsent) < before

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                try:
                    sent = self.sock.send(self._unsent)
                except BlockingIOError:
                    raise
                except OSError as error:
                    self._lose(error)
                    return
                self._unsent = self._unsent[sent:]

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def _lose(self, error: OSError | None) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self._lost, error)

    def _lost(self, error: OSError | None) -> None:
        self._protocol.connection_lost(error)
        self.sock.close()


class Client:
    """The far end of one connection, with the session that answers it."""

    def __init__(self, stage: Stage, sock: socket.socket, transport: Transport, session: Any):
        self._stage = stage
        self.sock = sock
        self.transport = transport
        self.session = session
        self.ended = False  # the connection's end has been heard
        sock.setblocking(False)

    @property
    def state(self) -> str:
        return probe.state(self.session)

    @property
    def ref(self) -> int:
        return self.session.ref

    def says(self, run: bytes) -> Client:
        """Send, and let the session read it. Fails if the session does not take it all."""
        left = self.tries_to_say(run)
        assert not left, f"{len(left)} bytes were not read"
        return self

    def tries_to_say(self, run: bytes) -> bytes:
        """Send as much as is taken; what is left."""
        view = memoryview(run)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                if not self._stage.turn():
                    break
        self._stage.turn()
        return bytes(view)

    def hears(self) -> bytes:
        """What has arrived since the last time, after the loop has come to rest."""
        self._stage.turn()
        heard = bytearray()
        while piece := self._receive():
            heard += piece
            self._stage.turn()
        return bytes(heard)

    def packet(self) -> bytes:
        """What one system call of the session sent, on a connection of packets."""
        return self._receive()

    def _receive(self) -> bytes:
        try:
            piece = self.sock.recv(1 << 20)
        except BlockingIOError:
            return b""
        self.ended = self.ended or not piece
        return piece

    def hangs_up(self) -> None:
        self.sock.close()
        self._stage.turn()

    def shuts_its_side(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)
        self._stage.turn()


class Stage:
    """One worker without its link: loop, roster, fan-out, and whoever connects."""

    def __init__(self, **limits: object) -> None:
        self.loop = Loop()
        self.upstream = probe.RecordingUpstream()
        self.faults: list[tuple[str, int, object]] = []  # what was reported as our own fault
        self.roster = Roster(self.loop, HoldTable(), Wheel(), Tally(), Limits(LIMITS | limits))
        self.roster.upstream = self.upstream
        self.roster.make_websocket = WsSession
        self.roster.report = lambda *fault: self.faults.append(fault)
        self.fanout = Fanout(self.roster)
        self.clients: list[Client] = []

    # -- clients

    def connect(self, ends: tuple[socket.socket, socket.socket] | None = None) -> Client:
        near, far = ends or socket.socketpair()
        session = HttpSession(self.roster)
        client = Client(self, far, Transport(self.loop, near, session), session)
        self.clients.append(client)
        return client

    def connect_packets(self) -> Client:
        """A connection on which each system call of the session arrives as one packet."""
        return self.connect(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))

    def connect_narrow(self) -> Client:
        """A connection whose kernel buffers take a few kilobytes."""
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return self.connect((near, far))

    def connect_tcp(self, host: str = "127.0.0.1") -> Client:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as listener:
            far = socket.create_connection(listener.getsockname()[:2])
            near, _ = listener.accept()
        return self.connect((near, far))

    def asks(
        self,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        minor: int = 1,
        body: bytes = b"",
        client: Client | None = None,
    ) -> Client:
        """A client (a new one unless given) whose request is in control's hands."""
        client = client or self.connect()
        client.says(request(target, *headers, method=method, minor=minor) + body)
        assert client.state == "ASKED"
        self.reports()
        return client

    # -- time

    def turn(self) -> bool:
        """Read, run and send until nothing more happens. False: nothing did."""
        for turns in range(TURNS_MAX):
            moved = [c.transport.read() or c.transport.send_rest() for c in list(self.clients)]
            if not self.loop.run_ready() and not any(moved):
                return turns > 0
        raise AssertionError("the loop does not come to rest")

    def advance(self, milliseconds: int) -> None:
        """Let time pass, timer by timer."""
        end = self.loop.now_ms + milliseconds
        self.turn()
        for _ in range(TURNS_MAX):
            at = self.loop.next_timer_ms()
            if at is None or at > end:
                self.loop.fire(end)
                return
            self.loop.fire(at)
            self.turn()
        raise AssertionError("timers fire again and again")

    # -- what control sees

    def reports(self) -> list[Any]:
        """What was reported since the last time, as control reads it."""
        reader = PacketReader()
        packets, self.upstream.packets[:] = list(self.upstream.packets), []
        return [decode(packet) for run in packets for packet in reader.feed(run)]

    # -- the end

    def count(self, counter: str) -> int:
        return self.roster.tally.snapshot()[counter]

    def close(self) -> None:
        """Everybody hangs up; then the books must balance."""
        for client in self.clients:
            client.sock.close()
        self.turn()
        for client in self.clients:  # those that do not read do not see the end
            if not client.transport.closing:
                client.transport.abort()
        self.turn()
        probe.check(self.roster)
        assert self.roster.live_count == 0
        assert probe.waiting_count(self.roster) == 0
        assert self.roster.table.subscription_count == 0
        assert self.roster.table.channel_count == 0
        assert self.roster.wheel.armed_count == 0
        gauges = self.roster.tally.snapshot()
        assert [gauges[name] for name in ("sessions", *HOLDS)] == [0] * 4
        probe.set_clock(0)
        for client in self.clients:
            client.session = client.transport = None
        self.clients.clear()
        self.loop = self.roster = self.fanout = self.upstream = None


def request(
    target: str = "/", *headers: str, method: str = "GET", minor: int = 1, host: str = "a.test"
) -> bytes:
    """A request head, with a Host."""
    lines = [f"{method} {target} HTTP/1.{minor}", f"Host: {host}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def live_objects(*, collect: bool = True) -> dict[str, int]:
    """How many objects of the data plane live, by type; those before gc.freeze() aside."""
    if collect:
        gc.collect()
    counts: dict[str, int] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if kind.__module__.startswith("fastpath."):
            counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
    return counts
