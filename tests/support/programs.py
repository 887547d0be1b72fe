"""Programs of other languages in tests: found or missed out loud, talked to line by line."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import DEADLINE_SECONDS

CLIENTS = Path(__file__).parent.parent / "clients"
NODE_MODULES = CLIENTS / "node_modules"


def found(*names: str) -> str:
    """The path of the first of these programs that is installed.

    A developer without any of them skips the test; in CI (the variable CI) it fails.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    missing(f"{names[0]} is not installed")


def node(script: str) -> list[str]:
    """The command that runs a script of tests/clients with the npm packages that lie there."""
    if not NODE_MODULES.is_dir():
        missing("the npm packages are not installed: `npm ci` in tests/clients, or `make test`")
    return [found("node"), str(CLIENTS / script)]


def missing(what: str) -> None:
    """Say that something is missing: a failure in CI, elsewhere a skip."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


class Program:
    """A running program that says and hears lines. Use as a context manager."""

    def __init__(self, argv: Sequence[str], **environment: str) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=CLIENTS,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, seconds: float = DEADLINE_SECONDS) -> str:
        """What it says next."""
        try:
            said = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"it said nothing within {seconds} s") from None
        assert said is not None, "it ended"
        return said

    def say(self, line: str) -> None:
        """Tell it something."""
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else gets, for a program that says SO_REUSEADDR as servers do."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
