"""Processes of a run: started on one core, read in /proc, ended by pid. Nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from benchmarks.macro.errors import BenchError

STOP_SECONDS = 15.0
LOOK_SECONDS = 0.05  # between two looks at something that is waited for
REST_SECONDS = 10.0
REST_SHARE = 0.1  # of a core: less than this, twice in a row, is rest

Process = subprocess.Popen[str]


@contextlib.contextmanager
def started(
    argv: Sequence[str],
    *,
    core: int,
    log: IO[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run a program on one core, and end it with its descendants on leaving.

    Its input is a pipe. What it writes goes to the log, or without one, its output to a pipe.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=log or subprocess.PIPE,
        stderr=log,
        env=env,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads here
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: Process) -> None:
    """Ask the process to end; then end what is left of its tree."""
    with contextlib.ExitStack() as stack:
        family = []
        for pid in tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                family.append(os.pidfd_open(pid))  # stays this process, whoever gets its number
                stack.callback(os.close, family[-1])
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        for descriptor in family:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        process.wait(STOP_SECONDS)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def read_line(process: Process, seconds: float) -> str:
    """One line of a program's output, which writes a line at a time. Raises BenchError."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    text = process.stdout.readline() if ready else ""
    if not text:
        why = "ended" if ready else f"said nothing for {seconds:g} s"
        raise BenchError(f"{Path(str(process.args[0])).name} {why}")  # type: ignore[index]
    return text


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    pids = [root]
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def words_of(pid: int) -> list[str]:
    """The command line of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def cpu_seconds(pids: Sequence[int]) -> float:
    """Time that all threads of these processes have spent on a CPU, to the nanosecond."""
    spent_ns = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                spent_ns += int((task / "schedstat").read_text().split()[0])
    return spent_ns / 1e9


def pss_bytes(pids: Sequence[int]) -> int:
    """Memory of these processes, shared pages counted once among those who share them."""
    kilobytes = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kilobytes += next(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")
    return kilobytes * 1024


def wait_for_rest(pids: Sequence[int]) -> None:
    """Wait until these processes have no more work. Raises BenchError at the deadline."""
    deadline = time.monotonic() + REST_SECONDS
    looks_at_rest = 0
    while looks_at_rest < 2:
        if time.monotonic() > deadline:
            raise BenchError(f"the server did not come to rest in {REST_SECONDS:g} s")
        began, spent = time.monotonic(), cpu_seconds(pids)
        time.sleep(LOOK_SECONDS)
        share = (cpu_seconds(pids) - spent) / (time.monotonic() - began)
        looks_at_rest = looks_at_rest + 1 if share < REST_SHARE else 0
