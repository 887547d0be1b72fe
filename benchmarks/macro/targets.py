"""What is measured: Fanway, the floor, and Pushpin where it is installed. Starts and stops them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from benchmarks.macro.build import BIN
from benchmarks.macro.errors import BenchError
from benchmarks.macro.processes import (
    LOOK_SECONDS,
    Process,
    cpu_seconds,
    pss_bytes,
    read_line,
    started,
    tree,
    wait_for_rest,
    words_of,
)

Found = TypeVar("Found")

START_SECONDS = 20.0
GRIP_BODY = (
    '{"items":[{"channel":"bench","formats":{"http-stream":{"content":"data: ',
    '\\n\\n"}}}]}',
)
WS_GRIP_BODY = (
    '{"items":[{"channel":"bench","formats":{"ws-message":{"content":"',
    '"}}}]}',
)
FLOOR_BODY = ("data: ", "\n\n")  # the very bytes that GRIP_BODY makes Fanway send
WS_FLOOR_BODY = ("", "")


@dataclass(frozen=True)
class Cores:
    """Where things run, so that server and load never compete for a core."""

    server: int
    load: int  # the load client, and the origin

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores that this process may use; one core serves for both."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(server=usable[0], load=usable[1 % len(usable)])


@dataclass(frozen=True)
class Target:
    """A running server."""

    root_pids: tuple[int, ...]
    port: int
    publish_port: int
    publish_path: str
    publish_body: tuple[str, str]  # what surrounds a payload for SSE
    ws_publish_body: tuple[str, str]  # and for WebSockets
    worker_module: str | None = None  # what marks, in its command line, the process that fans out

    @property
    def pids(self) -> list[int]:
        """All processes of the server."""
        return [pid for root in self.root_pids for pid in tree(root)]

    @property
    def worker_pids(self) -> list[int]:
        """The processes that carry client connections."""
        module = self.worker_module
        return [pid for pid in self.pids if module is None or module in words_of(pid)]

    @property
    def other_pids(self) -> list[int]:
        """The processes that do not."""
        return [pid for pid in self.pids if pid not in self.worker_pids]

    def cpu_seconds(self) -> float:
        """CPU time of all processes."""
        return cpu_seconds(self.pids)

    def worker_cpu_seconds(self) -> float:
        """CPU time of the processes that carry client connections."""
        return cpu_seconds(self.worker_pids)

    def pss_bytes(self) -> int:
        """Memory of all processes."""
        return pss_bytes(self.pids)

    def worker_pss_bytes(self) -> int:
        """Memory of the processes that carry client connections."""
        return pss_bytes(self.worker_pids)

    def other_pss_bytes(self) -> int:
        """Memory of the processes that do not."""
        return pss_bytes(self.other_pids)

    def wait_for_rest(self) -> None:
        """Wait until the server has no more work."""
        wait_for_rest(self.pids)


Start = Callable[[Cores], AbstractContextManager[Target]]


@contextlib.contextmanager
def floor(cores: Cores) -> Iterator[Target]:
    """The bare C loop."""
    with started([str(BIN / "floor")], core=cores.server) as process:
        port = int(read_line(process, START_SECONDS))
        yield Target((process.pid,), port, port, "/publish", FLOOR_BODY, WS_FLOOR_BODY)


@contextlib.contextmanager
def _origin(cores: Cores) -> Iterator[list[str]]:
    """The origins. The routes to them, which Fanway and Pushpin write alike."""
    ws_origin = [sys.executable, "-m", "benchmarks.macro.ws_origin"]
    with (
        started([str(BIN / "origin")], core=cores.load) as process,
        started(ws_origin, core=cores.load) as ws_process,
    ):
        port, ws_port = (int(read_line(one, START_SECONDS)) for one in (process, ws_process))
        yield [f"* 127.0.0.1:{port},over_http", f"*,path_beg=/pass 127.0.0.1:{ws_port}"]


def fanway(cores: Cores) -> AbstractContextManager[Target]:
    """This checkout's Fanway, with one worker, in front of the origin."""
    return _fanway(cores, "--allow-compression")


def uncompressed(cores: Cores) -> AbstractContextManager[Target]:
    """The same without compression, whatever clients offer."""
    return _fanway(cores)


@contextlib.contextmanager
def _fanway(cores: Cores, *switches: str) -> Iterator[Target]:
    with (
        tempfile.TemporaryDirectory(prefix="fanway-bench-") as folder,
        _origin(cores) as routes,
        Path(folder, "log").open("w+") as log,
    ):
        flags = {
            "--workers": "1",
            "--listen": "127.0.0.1:0",
            "--control-listen": "127.0.0.1:0",
            "--log-format": "json",
        }
        argv = [sys.executable, "-m", "control.cli", "run", *switches]
        argv += [word for pair in flags.items() for word in pair]
        argv += [word for route in routes for word in ("--route", route)]
        with started(argv, core=cores.server, log=log, env=_bare_environment()) as process:
            ports = _until(lambda: _ports_in(Path(log.name)), process, Path(log.name))
            target = _grip_target((process.pid,), *ports, "fastpath")
            _until(lambda: _answers(target.port), process, Path(log.name))
            yield target


def _grip_target(pids: tuple[int, ...], port: int, publish_port: int, worker: str) -> Target:
    return Target(pids, port, publish_port, "/publish/", GRIP_BODY, WS_GRIP_BODY, worker)


def _bare_environment() -> dict[str, str]:
    """The environment without settings of Fanway: a result must not depend on them."""
    return {n: v for n, v in os.environ.items() if not n.startswith(("FANWAY_", "GRIP_"))}


def _ports_in(log: Path) -> tuple[int, int] | None:
    """The ports that Fanway says it listens on."""
    for line in log.read_text().splitlines():
        fields = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
        if fields.get("event") == "started":
            client, control = (fields[name] for name in ("listen", "control_listen"))
            return int(client.rpartition(":")[2]), int(control.rpartition(":")[2])
    return None


@contextlib.contextmanager
def pushpin(cores: Cores) -> Iterator[Target]:
    """Debian's Pushpin with its own zurl, as installed but for ports, folders and its throttle."""
    with tempfile.TemporaryDirectory(prefix="pushpin-bench-") as name, _origin(cores) as routes:
        folder = Path(name)
        port, publish_port = _write_pushpin_settings(folder, routes)
        with (
            (folder / "zurl.log").open("w") as zurl_log,
            (folder / "pushpin.log").open("w") as log,
            _started("zurl", folder, cores, zurl_log) as zurl,
            _started("pushpin", folder, cores, log) as process,
        ):
            pids = (process.pid, zurl.pid)
            _until(lambda: _answers(port), process, folder / "pushpin.log")
            yield _grip_target(pids, port, publish_port, "/usr/bin/condure")


def _started(
    program: str, folder: Path, cores: Cores, log: IO[str]
) -> AbstractContextManager[Process]:
    return started([program, f"--config={folder}/{program}.conf"], core=cores.server, log=log)


def _write_pushpin_settings(folder: Path, routes: list[str]) -> tuple[int, int]:
    """Debian's files, moved into a folder. Returns the ports for clients and for publishing."""
    port, publish_port, *others = _free_ports(5)
    zurl = Path("/etc/zurl.conf").read_text().replace("/var/run/zurl/", f"{folder}/")
    # its default forbids loopback, where this origin is
    (folder / "zurl.conf").write_text(zurl.replace("deny=127.*,", "deny="))
    internal = Path("/usr/lib/pushpin/internal.conf").read_text()
    (folder / "internal.conf").write_text(internal.replace("/var/run/zurl/", f"{folder}/"))
    (folder / "routes").write_text("\n".join(routes) + "\n")
    changed = {
        "include": f"{folder}/internal.conf",
        "rundir": folder,
        "logdir": folder,
        "http_port": f"127.0.0.1:{port}",
        "push_in_http_port": publish_port,
        "push_in_spec": f"tcp://127.0.0.1:{others[0]}",
        "push_in_sub_specs": f"tcp://127.0.0.1:{others[1]}",
        "command_spec": f"tcp://127.0.0.1:{others[2]}",
        "message_rate": 0,  # as shipped, it holds a message back while others follow closely
    }
    lines = []
    for line in Path("/etc/pushpin/pushpin.conf").read_text().splitlines():
        key = line.partition("=")[0]
        lines.append(f"{key}={changed[key]}" if key in changed else line)
    (folder / "pushpin.conf").write_text("\n".join(lines) + "\n")
    return port, publish_port


def pushpin_is_installed() -> bool:
    """Whether Debian's `pushpin` and its `zurl` are here."""
    return all(map(shutil.which, ("pushpin", "zurl"))) and Path("/etc/zurl.conf").exists()


TARGETS: dict[str, Start] = {
    "fanway": fanway,
    "floor": floor,
    "uncompressed": uncompressed,
    "pushpin": pushpin,
}


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, for programs that cannot choose their own."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _answers(port: int) -> bool:
    """Whether a client is held: all processes are up, and the origin is reached."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/sse")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _until(look: Callable[[], Found | None], process: Process, log: Path) -> Found:
    """What `look` finds, once it finds something. Raises BenchError with the end of the log."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := look()):
        if (ended := process.poll() is not None) or time.monotonic() > deadline:
            why = "it has ended" if ended else f"no answer in {START_SECONDS:g} s"
            tail = "\n".join(log.read_text().splitlines()[-5:])
            raise BenchError(f"{why}; its log ends with\n{tail}")
        time.sleep(LOOK_SECONDS)
    return found
