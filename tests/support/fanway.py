"""A real Fanway: started as a user starts it, watched through its log, stopped by a signal."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.client import Address
from support.waiting import DEADLINE_SECONDS, until

LOGFMT_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
STOP_SECONDS = 20.0
BUGS = ("Traceback", "Exception ignored", "AddressSanitizer", "Assertion")


def command(*arguments: str) -> list[str]:
    """The command line of `fanway`, installed or not."""
    script = shutil.which("fanway", path=str(Path(sys.executable).parent))
    return [*([script] if script else [sys.executable, "-m", "control.cli"]), *arguments]


def environment(**more: str) -> dict[str, str]:
    """The environment without any setting that the machine has of its own."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("FANWAY_", "GRIP_"))}
    return {**inherited, **more}


def run_command(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `fanway` to its end; `more` goes into its environment."""
    return subprocess.run(
        command(*arguments),
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=STOP_SECONDS,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class ControlResponse:
    """What the control port said."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: str


class Fanway:
    """One running instance. Use as a context manager: leaving it asserts a clean end."""

    def __init__(
        self,
        *flags: str,
        routes: Iterable[str] = (),
        routes_file: Path | None = None,
        config: Path | None = None,
    ):
        """Start with these flags. Routes are given one by one, or in a file that may change.

        The listeners are those of the settings file `config`, if there is one.
        """
        wanted = [word for line in routes for word in ("--route", line)]
        if routes_file:
            wanted += ["--routes", str(routes_file)]
        given = set(flags)
        defaults = {"--workers": "1", "--log-format": "json"}
        if config:
            wanted += ["--config", str(config)]
        else:
            defaults |= {"--listen": "127.0.0.1:0", "--control-listen": "127.0.0.1:0"}
        filled = [w for n, v in defaults.items() if n not in given for w in (n, v)]
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            command("run", *wanted, *filled, *flags),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            started = self.wait_for_log("started")
            self.addresses = [_address(text) for text in started["listen"].split(",")]
            self.control_addresses = [_address(t) for t in started["control_listen"].split(",")]
            until(self.is_healthy, "healthy after the start")
        except BaseException:
            self.abandon()
            raise

    def __enter__(self) -> Fanway:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if not kind:
                self.stop()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End it if it runs, whatever the state it is in."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr
        self._process.stderr.close()

    @property
    def address(self) -> Address:
        """Where clients connect."""
        return self.addresses[0]

    @property
    def publish_url(self) -> str:
        """Where publishers publish, for those who want a URL."""
        host, port = self.control_addresses[0]
        return f"http://{host}:{port}"

    # -- the log

    def _read_log(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))

    def events(self, event: str, since: int = 0) -> list[dict[str, Any]]:
        """The lines of the log about an event, from line `since` on."""
        found = [_parse(line) for line in self.lines[since:]]
        return [line for line in found if line.get("event") == event]

    def wait_for_log(self, event: str, since: int = 0) -> dict[str, Any]:
        """The first line about an event, once it has come."""

        def found() -> dict[str, Any] | None:
            if self._process.poll() is not None and not self._reader.is_alive():
                raise AssertionError("fanway ended:\n" + "\n".join(self.lines))
            return next(iter(self.events(event, since)), None)

        return until(found, f"{event!r} in the log")

    def assert_no_bug(self) -> None:
        """Nothing in the log is a bug of ours."""
        bugs = [n for n, line in enumerate(self.lines) if any(mark in line for mark in BUGS)]
        assert not bugs, "\n".join(self.lines[bugs[0] : bugs[0] + 40])

    def assert_no_error(self) -> None:
        """Nothing in the log is an error at all. What strangers do wrong is none."""
        self.assert_no_bug()
        errors = [line for line in self.lines if _parse(line).get("level") == "error"]
        assert not errors

    # -- the processes

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self._process.pid

    def pids(self, module: str) -> list[int]:
        """The children that run `-m module`: `control` or `fastpath`."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        found = []
        for pid in map(int, listed.split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if module.encode() in words:
                found.append(pid)
        return found

    def resident_bytes(self) -> dict[str, int]:
        """The resident size of every process, by name and pid."""
        pids = [("supervisor", self.pid)]
        pids += [(module, pid) for module in ("control", "fastpath") for pid in self.pids(module)]
        sizes = {}
        for name, pid in pids:
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            sizes[f"{name} {pid}"] = int(kilobytes.split()[1]) * 1024
        return sizes

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self._process.send_signal(number)

    def wait_for_exit(self) -> int:
        """The exit code, once there is one."""
        return self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Stop in order; the end must be clean and the log free of bugs."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait_for_exit()
        self._reader.join(DEADLINE_SECONDS)
        self.assert_no_bug()
        assert code == 0, "\n".join(self.lines[-20:])

    # -- the control port

    def control(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> ControlResponse:
        """One request to the control port. Underscores in header names stand for dashes."""
        host, port = self.control_addresses[0]
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_SECONDS)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            got = {name.lower(): value for name, value in response.getheaders()}
            return ControlResponse(response.status, got, response.read().decode())
        finally:
            connection.close()

    def publish_items(self, *items: dict[str, Any]) -> None:
        """Publish a batch of items, which must be accepted."""
        response = self.control("POST", "/publish/", json.dumps({"items": items}))
        assert (response.status, response.body) == (200, "Published\n")

    def publish(self, channel: str, formats: dict[str, Any], **fields: Any) -> None:
        """Publish one item. Underscores in field names stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        self.publish_items({"channel": channel, "formats": formats, **named})

    def publish_stream(self, channel: str, content: str, **fields: Any) -> None:
        """Publish one `http-stream` item."""
        self.publish(channel, {"http-stream": {"content": content}}, **fields)

    def publish_response(self, channel: str, body: str, **fields: Any) -> None:
        """Publish one `http-response` item."""
        self.publish(channel, {"http-response": {"body": body}}, **fields)

    def is_healthy(self) -> bool:
        """What /healthz says; not healthy while nobody answers."""
        try:
            return self.control("GET", "/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric that have these labels."""
        text = self.control("GET", "/metrics").body
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def _parse(line: str) -> dict[str, Any]:
    """A line of the log, in either of its formats."""
    if line.startswith("{"):
        parsed: dict[str, Any] = json.loads(line)
        return parsed
    return {name: value.strip('"') for name, value in LOGFMT_PAIR.findall(line)}


def _address(text: str) -> Address:
    """An address as the log writes it."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:")
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def closed_port(host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    """A port that refuses connections as long as the socket is kept: bound, never listening."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.bind((host, 0))
    return sock, sock.getsockname()[1]
