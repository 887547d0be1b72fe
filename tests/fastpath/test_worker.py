"""A worker as the supervisor starts it: a real process on uvloop; the test plays control."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from control.link import codec
from control.link.packets import (
    Freed,
    Granted,
    Held,
    Hello,
    Kind,
    Mode,
    Opened,
    Received,
    Synced,
    Tally,
)
from control.link.reports import PacketReader, decode
from support.stage import LIMITS, request

DEADLINE_SECONDS = 10.0
SETTINGS = {**LIMITS, "stop_timeout_ms": 5000}
WINDOW = 256 * 1024

R = TypeVar("R")


class Control:
    """Control's end of one link."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE_SECONDS)
        self._sock = sock
        self._reader = PacketReader()
        self._reports: deque[Any] = deque()

    def order(self, *packets: bytes) -> None:
        self._sock.sendall(b"".join(packets))

    def expect(self, kind: type[R]) -> R:
        """The next report, which is of this kind; tallies and bodies come when they like."""
        while True:
            while not self._reports:
                run = self._sock.recv(65536)
                assert run, "the worker closed the link"
                self._reports.extend(map(decode, self._reader.feed(run)))
            report = self._reports.popleft()
            if isinstance(report, kind):
                return report
            assert isinstance(report, (Tally, Received)), report

    def wait(self, seconds: float, otherwise: Callable[[], object]) -> None:
        """Until a report is there; after each so many seconds without one, do something else."""
        while not self._reports and not select.select([self._sock], [], [], seconds)[0]:
            otherwise()

    def greet(self) -> Hello:
        hello = self.expect(Hello)
        self.order(codec.welcome(SETTINGS))
        return hello

    def close(self) -> None:
        self._sock.close()


class Worker:
    """The process, its listening socket, and where it finds the link."""

    def __init__(self, folder: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.bind(str(folder / "link"))
        self._link.listen()
        self._link.settimeout(DEADLINE_SECONDS)
        self._listener = socket.create_server(("127.0.0.1", 0))
        fd = self._listener.fileno()
        arguments = ["--worker", "3", "--listen-fd", str(fd), "--link", str(folder / "link")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastpath", *arguments],
            cwd=folder,  # so that `-m` finds the build under test, whichever it is
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._open: list[socket.socket | Control] = [self._link, self._listener]

    def accept_link(self) -> Control:
        control = Control(self._link.accept()[0])
        self._open.append(control)
        return control

    def connect(self, run: bytes = b"") -> socket.socket:
        client = socket.create_connection(self._listener.getsockname(), DEADLINE_SECONDS)
        self._open.append(client)
        client.sendall(run)
        return client

    def lose_supervisor(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.stdin = None

    def ends(self) -> bytes:
        """Wait for its end, which must be an orderly one; what it logged."""
        _, log = self.process.communicate(timeout=DEADLINE_SECONDS)
        assert self.process.returncode == 0, log.decode()
        assert b"Traceback" not in log, log.decode()
        return log

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for end in self._open:
            end.close()


def heard(client: socket.socket, end: bytes) -> bytes:
    """What the client hears until it ends so; b"": until the connection ends."""
    run = b""
    while not end or not run.endswith(end):
        piece = client.recv(65536)
        if not piece:
            assert not end, run
            break
        run += piece
    return run


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Control]]:
    """One worker for all tests that do not end it."""
    worker = Worker(tmp_path_factory.mktemp("worker"))
    control = worker.accept_link()
    control.greet()
    control.expect(Synced)
    yield worker, control
    worker.close()


Ask = Callable[..., tuple[socket.socket, Opened]]


@pytest.fixture
def ask(running: tuple[Worker, Control]) -> Ask:
    """A client, and what control heard of its request."""
    worker, control = running
    return lambda run: (worker.connect(run), control.expect(Opened))


def stream_on(ref: int, channel: bytes) -> bytes:
    return codec.hold(
        ref, mode=Mode.STREAM, channels=[(channel, None, b"")], status=200, reason=b"OK"
    )


def answer(ref: int, body: bytes, *, length: int | None = None, more: bool = False) -> bytes:
    return codec.respond(
        ref,
        status=200,
        reason=b"OK",
        headers=[],
        length=len(body) if length is None else length,
        body=body,
        more=more,
    )


# -- a request's life, on the real loop


def test_a_client_is_asked_answered_and_asked_again(
    running: tuple[Worker, Control], ask: Ask
) -> None:
    _, control = running
    client, opened = ask(request("/1"))
    assert (opened.target, opened.peer) == (b"/1", b"127.0.0.1")
    control.order(answer(opened.ref, b"one"))
    assert heard(client, b"one").startswith(b"HTTP/1.1 200 OK\r\n")
    client.sendall(request("/2"))
    again = control.expect(Opened)
    assert (again.ref, again.target) == (opened.ref, b"/2")


def test_a_published_message_reaches_a_stream(running: tuple[Worker, Control], ask: Ask) -> None:
    _, control = running
    client, opened = ask(request())
    control.order(stream_on(opened.ref, b"a"))
    heard(client, b"\r\n\r\n")
    control.order(codec.publish(b"a", None, None, [codec.stream_format(b"news")]))
    heard(client, b"4\r\nnews\r\n")
    client.close()
    assert control.expect(Freed).channel == b"a"


def test_a_body_much_larger_than_every_buffer_arrives_whole_and_paced(
    running: tuple[Worker, Control], ask: Ask
) -> None:
    _, control = running
    client, opened = ask(request(method="GET"))
    size, piece = 40 * WINDOW, b"0123456789abcdef" * (WINDOW // 16)
    control.order(answer(opened.ref, piece, length=size, more=True))
    sent, granted, took = WINDOW, 0, bytearray()
    client.setblocking(False)
    while sent < size:
        granted += control_grant(control, client, took)
        if sent - granted < WINDOW:
            control.order(codec.send(opened.ref, Kind.BODY, piece, more=sent + WINDOW < size))
            sent += WINDOW
    client.settimeout(DEADLINE_SECONDS)
    while not took.endswith(piece) or len(took) < size:
        took += client.recv(1 << 20)
    assert bytes(took).partition(b"\r\n\r\n")[2] == piece * 40


def control_grant(control: Control, client: socket.socket, took: bytearray) -> int:
    """The next grant; the client reads only when none comes by itself."""
    control.wait(0.02, lambda: took.extend(client.recv(1 << 20)))
    return control.expect(Granted).count_bytes


def test_a_client_that_still_sends_hears_the_whole_of_an_early_answer(
    running: tuple[Worker, Control], ask: Ask
) -> None:
    _, control = running
    client, opened = ask(request("/", "Content-Length: 1000000", method="POST"))
    control.order(answer(opened.ref, b"no"))
    for _ in range(10):
        client.sendall(b"x" * 10_000)
    assert heard(client, b"").endswith(b"\r\n\r\nno")


def test_a_half_closed_client_hears_its_answer(running: tuple[Worker, Control], ask: Ask) -> None:
    _, control = running
    client, opened = ask(request())
    client.shutdown(socket.SHUT_WR)
    control.order(answer(opened.ref, b"x" * WINDOW))
    assert heard(client, b"").count(b"x") == WINDOW


# -- its beginning


def test_clients_wait_until_control_has_greeted_the_worker(worker: Worker) -> None:
    client = worker.connect(request("/early"))
    control = worker.accept_link()
    hello = control.greet()
    assert (hello.worker, hello.pid, hello.resumed) == (3, worker.process.pid, False)
    control.expect(Synced)
    opened = control.expect(Opened)
    assert opened.target == b"/early"
    control.order(answer(opened.ref, b"hi"))
    heard(client, b"hi")


def test_a_lost_link_is_found_again_and_told_what_is_held(worker: Worker) -> None:
    control = worker.accept_link()
    control.greet()
    control.expect(Synced)
    client = worker.connect(request())
    control.order(stream_on(control.expect(Opened).ref, b"a"))
    heard(client, b"\r\n\r\n")
    control.close()
    control = worker.accept_link()
    assert control.greet().resumed
    assert control.expect(Held) == Held(b"a", 2)
    control.expect(Synced)
    control.order(codec.publish(b"a", None, None, [codec.stream_format(b"news")]))
    heard(client, b"4\r\nnews\r\n")


# -- its end


@pytest.mark.parametrize(
    "tell",
    [
        lambda worker, control: control.order(codec.drain()),
        lambda worker, control: worker.process.send_signal(signal.SIGTERM),
        lambda worker, control: worker.process.send_signal(signal.SIGINT),
        lambda worker, control: worker.lose_supervisor(),
    ],
    ids=["DRAIN", "SIGTERM", "SIGINT", "end of stdin"],
)
def test_told_to_end_it_lets_requests_finish_and_closes_streams(
    worker: Worker, tell: Callable[[Worker, Control], None]
) -> None:
    control = worker.accept_link()
    control.greet()
    control.expect(Synced)
    streaming = worker.connect(request())
    control.order(stream_on(control.expect(Opened).ref, b"a"))
    heard(streaming, b"\r\n\r\n")
    asking = worker.connect(request())
    ref = control.expect(Opened).ref
    tell(worker, control)
    assert heard(streaming, b"") == b"0\r\n\r\n"
    control.order(answer(ref, b"hi"))
    assert heard(asking, b"").endswith(b"Connection: close\r\n\r\nhi")
    worker.ends()


def test_a_request_that_is_never_answered_does_not_keep_it(worker: Worker) -> None:
    control = worker.accept_link()
    hello = control.expect(Hello)
    assert hello.worker == 3
    control.order(codec.welcome({**SETTINGS, "stop_timeout_ms": 100}))
    control.expect(Synced)
    worker.connect(request())
    control.expect(Opened)
    control.order(codec.drain())
    worker.ends()


def test_a_second_call_to_end_ends_it_at_once(worker: Worker) -> None:
    control = worker.accept_link()
    control.greet()
    control.expect(Synced)
    client = worker.connect(request())
    ref = control.expect(Opened).ref
    control.order(stream_on(ref, b"a"), codec.drain())
    assert control.expect(Freed).channel == b"a"
    worker.connect(request())
    worker.process.send_signal(signal.SIGTERM)
    worker.ends()
    client.close()


def test_it_counts_for_control(worker: Worker) -> None:
    control = worker.accept_link()
    control.greet()
    control.expect(Synced)
    worker.connect(request())
    control.expect(Opened)
    counts = control.expect(Tally).counts
    assert (counts["accepted"], counts["requests"], counts["channels"]) == (1, 1, 0)


ONE_WRITE = """
import io, sys
from fastpath.worker import _log

class Stderr(io.StringIO):
    def write(self, text):
        print(repr(text[-1]))
        return len(text)

sys.stderr = Stderr()
_log("info", True, 0).info("linked")
"""


def test_a_line_of_its_log_is_one_write() -> None:
    """Other processes write to the same pipe, and an unbuffered write goes out by itself."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_WRITE], capture_output=True, text=True, check=True
    )
    assert done.stdout == "'\\n'\n"
