"""The near end of the load client: tells it what to do, line by line, and reads what it saw."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from benchmarks.macro.build import BIN
from benchmarks.macro.errors import BenchError
from benchmarks.macro.processes import Process, read_line, started
from benchmarks.macro.targets import Target

IN_FLIGHT_MAX = 256  # new holds that wait for their response at once
SPARE_SECONDS = 5.0  # the client keeps its own deadline; this is for one that does not
FAULTS = ("failed", "closed", "garbled", "lost", "doubled", "disordered", "refused")

Account = dict[str, Any]
"""What the client counted for one line; the names of FAULTS are those that must be 0."""


class Load:
    """A load client that is connected to one target."""

    def __init__(self, process: Process):
        self._process = process

    def _say(self, order: str, seconds: float) -> Account:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{order} {seconds}\n")
            self._process.stdin.flush()
        account: Account = json.loads(read_line(self._process, seconds + SPARE_SECONDS))
        return account

    def subscribe(self, count: int, path: str = "/sse", *, seconds: float = 60.0) -> Account:
        """Open subscribers until all of them are held. Raises BenchError if some are not.

        Those of a path other than /sse are WebSockets; those of /ws-deflate offer compression.
        """
        account = self._say(f"subscribe {path} {IN_FLIGHT_MAX} {count}", seconds)
        if account["up"] < count:
            raise BenchError(f"{account['up']} of {count} subscribers are held: {account}")
        return account

    def publish(
        self, count: int, *, size_bytes: int, per_second: float = 0.0, seconds: float = 60.0
    ) -> Account:
        """Publish, and wait for every delivery. A rate of 0: each when the last is complete."""
        return self._say(f"publish {count} {size_bytes} {per_second}", seconds)

    def echo(self, count: int, *, size_bytes: int, seconds: float = 60.0) -> Account:
        """Make round trips: every subscriber, a WebSocket, has one message on its way."""
        return self._say(f"echo {count} {size_bytes}", seconds)

    def request(self, count: int, *, connections: int, seconds: float = 60.0) -> Account:
        """Make plain requests over connections that are kept."""
        return self._say(f"request {count} {connections}", seconds)


@contextlib.contextmanager
def load(target: Target, *, core: int, websockets: bool) -> Iterator[Load]:
    """A load client of a target, ended on leaving. It publishes for SSE or for WebSockets."""
    argv = [
        str(BIN / "load"),
        str(target.port),
        str(target.publish_port),
        target.publish_path,
        *(target.ws_publish_body if websockets else target.publish_body),
    ]
    with started(argv, core=core) as process:
        yield Load(process)
