"""The supervisor: opens the listening sockets, starts control and the workers, keeps them alive.

It owns the sockets, so that a connection that waits to be accepted outlives a crash. It never
reads a byte from a client and knows no route. No child outlives it: the standard input of each is
the end of a pipe that closes when the supervisor is gone, however it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from control.config import Settings
from control.errors import EXIT_CANNOT_START
from control.listeners import Listeners, open_listeners
from control.log import log

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 10.0  # connections wait in the accept queue meanwhile
STEADY_SECONDS = 10.0  # who has lived so long is started again without much delay
START_SECONDS = 1.0  # who ends sooner has not started
START_FAILURES_MAX = 3  # in a row, before the first start that lasted
STOP_GRACE_SECONDS = 3.0  # beyond the deadline that a worker keeps itself
CONTROL_STOP_SECONDS = 5.0
# timeout(1) signals a process and then the group that it is in: that is one request, heard twice.
ECHO_SECONDS = 0.5
WORKER_FD_SPARE_COUNT = 64  # descriptors of a worker that are not clients

# What runs `-m control` and `-m fastpath`; -P, so that neither is ever looked for in the current
# folder.
PYTHON = (sys.executable, "-P")


class CannotStart(Exception):
    """A child ended at once, again and again, and never ran."""


@dataclass(slots=True)
class Child:
    """One child process: started, started again, and in the end stopped."""

    name: str
    argv: Sequence[str]
    fds: Sequence[int]  # inherited, under the same numbers
    lifeline: int  # read end of the pipe that closes with the supervisor
    running: asyncio.subprocess.Process | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keep it running until it is told to stop. Raises CannotStart."""
        clock = asyncio.get_running_loop().time
        failures_count = 0
        has_run = False
        delay_seconds = BACKOFF_FIRST_SECONDS
        while True:
            started = clock()
            how = await self._run_once()
            if self.stopping.is_set():
                return
            lived_seconds = clock() - started
            failures_count += 1
            gave_up = self.running is not None and self.running.returncode == EXIT_CANNOT_START
            has_run = has_run or (lived_seconds >= START_SECONDS and not gave_up)
            if not has_run and (gave_up or failures_count == START_FAILURES_MAX):
                raise CannotStart(f"{self.name} {how}, {failures_count} times in a row")
            if lived_seconds >= STEADY_SECONDS:
                delay_seconds = BACKOFF_FIRST_SECONDS
            log.error("died", child=self.name, how=how, restart_seconds=delay_seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), delay_seconds)
                return
            delay_seconds = min(delay_seconds * 2, BACKOFF_MAX_SECONDS)

    async def _run_once(self) -> str:
        """Start it and wait for its end; how it ended, in words."""
        try:
            self.running = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=self.lifeline,
                pass_fds=self.fds,
                env=_environment(),
                process_group=0,  # Ctrl-C in a terminal is for the supervisor, which stops in order
            )
        except OSError as error:
            return f"could not be run ({error.strerror})"
        log.debug("child_started", child=self.name, pid=self.running.pid)
        if self.stopping.is_set():
            self.signal(signal.SIGTERM)
        code = await self.running.wait()
        if code < 0:
            return f"was killed by signal {-code}"
        return f"exited with code {code}"

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.running and self.running.returncode is None:
            self.running.send_signal(number)

    def stop(self) -> None:
        """Ask it to end, and do not start it again."""
        self.stopping.set()
        self.signal(signal.SIGTERM)


@dataclass(slots=True)
class StopRequest:
    """What the signals said: the first asks for an orderly end, a later one for an end."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: asyncio.Event = field(default_factory=asyncio.Event)
    _asked_at: float = 0.0

    def take(self, now: float) -> None:
        """Take one SIGTERM or SIGINT, at this time in seconds."""
        if not self.asked.is_set():
            self._asked_at = now
            self.asked.set()
        elif now - self._asked_at >= ECHO_SECONDS:
            self.at_once.set()


def run(settings: Settings, *, python: Sequence[str] = PYTHON) -> int:
    """Run until a signal. The exit code: 0 stopped in order, 1 not. Raises ListenError."""
    # Children are told the number, so that all agree whatever cores each of them may use, and the
    # addresses with the ports that the kernel chose.
    workers_count = settings.worker_count
    limit = _raise_fd_limit()
    listeners = open_listeners(
        settings.client_addresses, settings.control_addresses, worker_count=workers_count
    )
    bound = [str(address) for address in listeners.addresses]
    settings = settings.model_copy(update={"workers": workers_count, "listen": bound})
    needed_count = settings.client_max_per_worker + WORKER_FD_SPARE_COUNT
    if limit != resource.RLIM_INFINITY and limit < needed_count:
        log.warning("few_open_files", limit=limit, needed_for_client_maxconn=needed_count)
    try:
        with _children(settings, listeners, python) as children:
            return asyncio.run(_supervise(settings, listeners, children))
    finally:
        listeners.close()


@contextlib.contextmanager
def _children(
    settings: Settings, listeners: Listeners, python: Sequence[str]
) -> Iterator[list[Child]]:
    """Control and the workers, not yet started, and what they share with the supervisor."""
    lifeline, write_end = os.pipe()
    written = os.memfd_create("fanway-settings")
    os.write(written, settings.model_dump_json().encode())
    try:
        with tempfile.TemporaryDirectory(prefix="fanway-") as folder:
            link = ["--link", str(Path(folder, "link"))]
            logs = ["--log-level", settings.log_level, "--log-format", settings.log_format]
            fds = _fds(listeners.control)
            argv = [*python, "-m", "control", "--settings-fd", str(written), *link]
            children = [Child("control", [*argv, *_listen_flags(fds)], [written, *fds], lifeline)]
            for number, sockets in enumerate(listeners.workers):
                fds = _fds(sockets)
                argv = [*python, "-m", "fastpath", "--worker", str(number), *link, *logs]
                name = f"worker {number}"
                children.append(Child(name, [*argv, *_listen_flags(fds)], fds, lifeline))
            yield children
    finally:
        for fd in (lifeline, write_end, written):
            os.close(fd)


async def _supervise(settings: Settings, listeners: Listeners, children: list[Child]) -> int:
    control, *workers = children
    request = StopRequest()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: request.take(loop.time()))
    loop.add_signal_handler(signal.SIGHUP, control.signal, signal.SIGHUP)

    tasks = {child.name: asyncio.create_task(child.run()) for child in children}
    log.info(
        "started",
        listen=",".join(map(str, listeners.addresses)),
        control_listen=",".join(map(str, listeners.control_addresses)),
        workers=len(workers),
        pid=os.getpid(),
    )
    asked = asyncio.create_task(request.asked.wait())
    await asyncio.wait({asked, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
    failures = [error for task in tasks.values() if task.done() and (error := task.exception())]
    for error in failures:
        log.error("cannot_start", why=str(error))
    asked.cancel()

    log.info("stopping")
    # Once the workers have closed theirs too, nobody listens: new connections are refused.
    listeners.close_clients()
    seconds = settings.stop_timeout_seconds + STOP_GRACE_SECONDS
    in_time = await _stop(workers, tasks, request, deadline_seconds=seconds)
    in_time &= await _stop([control], tasks, request, deadline_seconds=CONTROL_STOP_SECONDS)
    code = 0 if in_time and not failures else 1
    log.info("stopped", code=code)
    return code


async def _stop(
    children: Sequence[Child],
    tasks: dict[str, asyncio.Task[None]],
    request: StopRequest,
    *,
    deadline_seconds: float,
) -> bool:
    """Ask children to end, and kill those that do not in time. Whether none was killed."""
    for child in children:
        child.stop()
    theirs = [tasks[child.name] for child in children]
    all_ended = asyncio.create_task(asyncio.wait(theirs))
    at_once = asyncio.create_task(request.at_once.wait())
    await asyncio.wait(
        [all_ended, at_once], timeout=deadline_seconds, return_when=asyncio.FIRST_COMPLETED
    )
    at_once.cancel()
    if all_ended.done():
        return True
    for child in children:
        if not tasks[child.name].done():
            log.error("killed", child=child.name)
            child.signal(signal.SIGKILL)
    await all_ended
    return False


def _fds(sockets: Sequence[socket.socket]) -> list[int]:
    return [sock.fileno() for sock in sockets]


def _listen_flags(fds: Sequence[int]) -> list[str]:
    return [word for fd in fds for word in ("--listen-fd", str(fd))]


def _environment() -> dict[str, str]:
    """The environment of children: they run the code that this process runs."""
    here = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{inherited}" if inherited else here}


def _raise_fd_limit() -> int:
    """Raise the soft limit of open files to the hard one, and give that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
