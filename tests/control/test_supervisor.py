"""The supervisor with real processes and sockets; small programs stand in for its children."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control.supervisor import ECHO_SECONDS, StopRequest
from support import child
from support.waiting import until

# Runs the supervisor as `fanway run` does, with other children and a shorter patience.
PROGRAM = """
import json, sys
from control import log, supervisor
from control.config import Settings
settings = Settings(**json.loads(sys.argv[1]))
log.configure("info", "json", role="supervisor")
supervisor.STOP_GRACE_SECONDS = 0.3
supervisor.CONTROL_STOP_SECONDS = 0.3
supervisor.START_SECONDS = 60.0  # a busy machine is slow to start what fails at once
supervisor.ECHO_SECONDS = 0.0
sys.exit(supervisor.run(settings, python=[sys.executable, sys.argv[2]]))
"""
SETTINGS: dict[str, Any] = {
    "listen": ["127.0.0.1:0"],
    "control_listen": ["127.0.0.1:0"],
    "workers": 2,
    "stop_timeout_seconds": 1,
    "client_maxconn": 100,
}


class Supervised:
    """A running supervisor, and what its children have told."""

    def __init__(self, folder: Path, behaviour: str, **settings: Any) -> None:
        self.told = folder / "told"
        self.told.touch()
        self.errors = folder / "errors"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(SETTINGS | settings), child.__file__],
                env={
                    **os.environ,
                    "TOLD": str(self.told),
                    "BEHAVIOUR": behaviour,
                    "TMPDIR": str(folder),
                },
                stderr=errors,
            )

    def wait_until_ready(self) -> "Supervised":
        until(lambda: len(self.lines("ready")) == 3, "three children are ready")
        return self

    def lines(self, what: str) -> list[tuple[str, int]]:
        """Who told this: names and pids."""
        told = [line.split(" ", 2) for line in self.told.read_text().splitlines()]
        return [(name, int(pid)) for name, pid, said in told if said == what]

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.errors.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def connect(self, key: str = "listen") -> str:
        """Connect to where it says it listens; what the child answers."""
        (started,) = self.events("started")
        host, _, port = started[key].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            return sock.recv(100).decode()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(10)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    running: list[Supervised] = []

    def supervise(behaviour: str = "", **settings: Any) -> Supervised:
        running.append(Supervised(tmp_path, behaviour, **settings))
        return running[-1]

    yield supervise
    for one in running:
        one.process.kill()
        one.process.wait()


def is_gone(pid: int) -> bool:
    """Nobody has this pid, or only its remains do."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


Supervise = Callable[..., Supervised]


def test_it_says_where_it_really_listens(supervise: Supervise) -> None:
    running = supervise().wait_until_ready()
    assert running.connect().startswith("fastpath")
    assert running.connect("control_listen").startswith("control")
    (started,) = running.events("started")
    assert (started["workers"], started["pid"]) == (2, running.process.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_the_workers_first_and_control_last(
    supervise: Supervise, number: signal.Signals
) -> None:
    running = supervise().wait_until_ready()
    running.signal(number)
    assert running.exit_code() == 0
    names = [name for name, _ in running.lines("TERM")]
    assert sorted(names[:2]) == ["fastpath0", "fastpath1"]
    assert names[2:] == ["control"]
    assert [event["code"] for event in running.events("stopped")] == [0]


def test_nobody_listens_while_it_waits_for_a_worker(supervise: Supervise) -> None:
    running = supervise("control stays").wait_until_ready()
    running.signal(signal.SIGTERM)
    until(lambda: len(running.lines("TERM")) == 3, "the workers are gone and control is asked")
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_a_child_that_dies_is_started_again(supervise: Supervise) -> None:
    running = supervise().wait_until_ready()
    (first,) = [pid for name, pid in running.lines("ready") if name == "fastpath1"]
    os.kill(first, signal.SIGKILL)
    until(lambda: len(running.lines("ready")) == 4, "the worker is back")
    name, second = running.lines("ready")[3]
    assert name == "fastpath1"
    assert second != first
    (died,) = running.events("died")
    assert (died["child"], died["how"]) == ("worker 1", "was killed by signal 9")


def test_a_connection_that_waits_outlives_the_worker(supervise: Supervise) -> None:
    running = supervise(workers=1)
    until(lambda: len(running.lines("ready")) == 2, "both children are ready")
    (first,) = [pid for name, pid in running.lines("ready") if name == "fastpath0"]
    os.kill(first, signal.SIGSTOP)
    (started,) = running.events("started")
    host, _, port = started["listen"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        os.kill(first, signal.SIGKILL)
        name, pid = sock.recv(100).decode().split()
    assert name == "fastpath0"
    assert int(pid) != first


def test_control_gets_the_settings_again_when_it_is_started_again(supervise: Supervise) -> None:
    running = supervise(workers=2, sig_key="hush").wait_until_ready()
    (pid,) = [pid for name, pid in running.lines("ready") if name == "control"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(running.lines("ready")) == 4, "control is back")
    told = [line.partition(" settings ")[2] for line in running.told.read_text().splitlines()]
    first, second = [json.loads(text) for text in told if text]
    assert first == second
    assert (first["sig_key"], first["workers"]) == ("hush", 2)


def test_a_hangup_reaches_control_only(supervise: Supervise) -> None:
    running = supervise().wait_until_ready()
    running.signal(signal.SIGHUP)
    until(lambda: running.lines("HUP"), "control is told")
    assert [name for name, _ in running.lines("HUP")] == ["control"]


def test_a_child_that_overstays_is_killed_and_the_exit_code_is_1(supervise: Supervise) -> None:
    running = supervise("fastpath0 stays", stop_timeout_seconds=0).wait_until_ready()
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 1
    assert [event["child"] for event in running.events("killed")] == ["worker 0"]
    assert "control" in [name for name, _ in running.lines("TERM")]
    assert all(is_gone(pid) for _, pid in running.lines("ready"))


def test_a_second_signal_stops_at_once(supervise: Supervise) -> None:
    running = supervise("fastpath0 stays, control stays", stop_timeout_seconds=600)
    running.wait_until_ready().signal(signal.SIGINT)
    until(lambda: running.events("stopping"), "it stops")
    running.signal(signal.SIGINT)
    assert running.exit_code() == 1
    assert all(is_gone(pid) for _, pid in running.lines("ready"))


def test_a_signal_and_its_echo_are_one_request() -> None:
    request = StopRequest()
    request.take(100.0)
    request.take(100.1)
    assert request.asked.is_set()
    assert not request.at_once.is_set()
    request.take(100.0 + ECHO_SECONDS)
    assert request.at_once.is_set()


@pytest.mark.parametrize(
    ("behaviour", "name"), [("control fails", "control"), ("fastpath1 fails", "worker 1")]
)
def test_a_child_that_cannot_start_ends_it_all(
    supervise: Supervise, behaviour: str, name: str
) -> None:
    running = supervise(behaviour)
    assert running.exit_code() == 1
    (failure,) = running.events("cannot_start")
    assert failure["why"] == f"{name} exited with code 3, 3 times in a row"
    assert all(is_gone(pid) for _, pid in running.lines("ready"))


def test_no_child_outlives_a_killed_supervisor(supervise: Supervise) -> None:
    running = supervise().wait_until_ready()
    running.process.kill()
    until(lambda: len(running.lines("EOF")) == 3, "every child has seen the end")
    until(lambda: all(is_gone(pid) for _, pid in running.lines("ready")), "nobody is left")
