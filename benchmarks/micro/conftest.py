"""What the micro benchmarks share: fixed amounts of work, and held sessions without a worker."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from control.reasons import worker_table
from fastpath import probe_session as probe
from fastpath.fanout import Fanout
from fastpath.http_session import HttpSession
from fastpath.session import Limits, Roster
from fastpath.table import HoldTable
from fastpath.tally import Tally
from fastpath.wheel import Wheel

ROUNDS = 50
CALLS_PER_ROUND = 1000
HEAD_MAX_BYTES = 8192
DRAIN_BYTES = 65536
MODE_STREAM = 2

LIMITS = {
    "head_bytes_max": HEAD_MAX_BYTES,
    "head_timeout_ms": 60_000,
    "idle_timeout_ms": 60_000,
    "stall_timeout_ms": 60_000,
    "request_body_max_bytes": 0,
    "client_max": 10_000,
    "ws_message_max_bytes": 0,
    "allow_compression": False,
    "reasons": worker_table(head_bytes_max=HEAD_MAX_BYTES),
}

REQUEST = (
    b"GET /events?topic=news HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; "
    b"Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/event-stream\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nCache-Control: no-cache\r\nCookie: session=0123456789"
    b"\r\n\r\n"
)


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Callable[..., Any]:
    """Time one call, over a fixed number of calls: `measure(function, *arguments)`."""

    def measure(function: Callable[..., Any], *arguments: Any, calls: int = CALLS_PER_ROUND) -> Any:
        return benchmark.pedantic(
            function, args=arguments, rounds=ROUNDS, iterations=calls, warmup_rounds=1
        )

    return measure


class Loop:
    """As much of an event loop as sessions ask for; no deadline of theirs ever passes."""

    def __init__(self) -> None:
        self._ready: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        self._ready.append((callback, arguments))

    def call_later(self, _seconds: float, _callback: Callable[..., object]) -> Loop:
        return self

    def cancel(self) -> None:
        """Forget a timer, of which there is none."""

    def turn(self) -> None:
        """Run what is ready."""
        ready, self._ready = self._ready, []
        for callback, arguments in ready:
            callback(*arguments)


class Transport:
    """A connection that a session writes to by itself."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def get_extra_info(self, _name: str) -> socket.socket:
        return self._sock

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is ever written through here."""

    def abort(self) -> None:
        """The stage closes."""


class Stage:
    """Sessions of one worker, held as streams, and the far ends of their connections."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.roster = Roster(self.loop, HoldTable(), Wheel(), Tally(), Limits(LIMITS))
        self.roster.upstream = probe.RecordingUpstream()
        self.fanout = Fanout(self.roster)
        self._sessions: list[tuple[HttpSession, socket.socket, socket.socket]] = []

    def connect(self) -> HttpSession:
        """A new session that has read a request."""
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setblocking(False)
        session = HttpSession(self.roster)
        session.connection_made(Transport(near))
        session.get_buffer(-1)[: len(REQUEST)] = REQUEST
        session.buffer_updated(len(REQUEST))
        self._sessions.append((session, near, far))
        return session

    def hold(self, channel: bytes) -> HttpSession:
        """A new session that is held on a channel."""
        session = self.connect()
        probe.hold(session, mode=MODE_STREAM, channels=[(channel, None)])
        return session

    def rest(self) -> None:
        """Flush everything, and let the far ends read it."""
        self.loop.turn()
        for _, _, far in self._sessions:
            far.recv(DRAIN_BYTES)

    def close(self) -> None:
        """Everybody is gone."""
        for session, near, far in self._sessions:
            session.connection_lost(None)
            near.close()
            far.close()
        self._sessions.clear()
        self.loop.turn()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage; its connections are closed after the benchmark."""
    stage = Stage()
    yield stage
    stage.close()
