"""A real Pushpin with the face of `support.fanway.Fanway`, so that the conversations can have it.

What Pushpin has no equal for skips the test that asks for it: a setting, a metric, a line of the
log. Nothing here judges what Pushpin does.
"""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from support.client import Client, CutShort, Silence
from support.fanway import ControlResponse, Fanway
from support.spelling import request
from support.waiting import until

PROGRAMS = ("pushpin", "condure", "zurl")
CONF = Path("/usr/share/pushpin/pushpin.conf.condure")  # as shipped, whatever /etc has
INTERNAL_CONF = Path("/usr/lib/pushpin/internal.conf")
ZURL_CONF = Path("/etc/zurl.conf")
ZURL_SOCKETS = "/var/run/zurl/"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
# About a second after the first subscription to a channel, Pushpin asks again for what is held on
# it; a publish that falls into that moment reaches no long-poll (GRIP.md 14).
FIRST_SUBSCRIPTION_SECONDS = 1.6
# Not in Debian's file, but read by this version.
MORE_OPTIONS = ("ipc_file_mode", "prometheus_port", "prometheus_prefix")  # of the handler
# How many workers there are, and how the log looks, makes no difference to a conversation; and
# this version always asks again after a first subscription, with an option or without.
IMMATERIAL = (
    "workers",
    "log_format",
    "log_level",
    "update_on_first_subscription",
    "no_update_on_first_subscription",
)
FANWAYS_OWN = ("/healthz", "/metrics")
LOOPBACK = "127.0.0.1"
READY_HOST = "ready.test"  # an origin that is built into Pushpin holds what is asked of it


def is_installed() -> bool:
    """Whether all of Pushpin is here, with its client for HTTP."""
    return all(map(shutil.which, PROGRAMS))


def versions() -> dict[str, str]:
    """Those of the three programs, as they say them."""
    asked = (
        subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        for program in PROGRAMS
    )
    return {program: said.stdout.split()[-1] for program, said in zip(PROGRAMS, asked, strict=True)}


class Pushpin(Fanway):
    """One running instance, with a zurl of its own. What it lacks of a Fanway skips the test."""

    def __init__(
        self,
        *flags: str,
        routes: Iterable[str] = (),
        routes_file: Path | None = None,
        config: Path | None = None,
    ):
        """Start with the options that have the names of these flags."""
        if config:
            pytest.skip("the test starts Fanway with Pushpin's file")
        self._known_channels: set[str] = set()
        self._children: list[subprocess.Popen[bytes]] = []
        self._folder = Path(tempfile.mkdtemp(prefix="pushpin-"))
        client_port, control_port, *zmq_ports = _free_ports(5)
        self.addresses = [(LOOPBACK, client_port)]
        self.control_addresses = [(LOOPBACK, control_port)]
        try:
            file = routes_file or self._folder / "routes"
            with file.open("a") as written:
                written.writelines(f"{line}\n" for line in (*routes, f"{READY_HOST} test"))
            self._configure(flags, file, client_port, control_port, zmq_ports)
            self._start()
        except BaseException:
            self.abandon()
            raise

    def __getattr__(self, name: str) -> Any:
        """Reached for what this class has not set: the log, the process."""
        if name.startswith("__"):
            raise AttributeError(name)
        pytest.skip(f"the test looks at Fanway's `{name.strip('_')}`")

    def _configure(
        self, flags: tuple[str, ...], routes: Path, client: int, control: int, zmq: list[int]
    ) -> None:
        """Write Debian's files into a folder, with what is asked for in the place of what is not.

        Skips the test if an option is asked for that there is none of.
        """
        sockets = f"{self._folder}/zurl-"
        internal = INTERNAL_CONF.read_text().replace(ZURL_SOCKETS, sockets)
        (self._folder / "internal.conf").write_text(internal)
        zurl = ZURL_CONF.read_text().replace(ZURL_SOCKETS, sockets)
        (self._folder / "zurl.conf").write_text(zurl)
        conf = configparser.RawConfigParser(delimiters=("=",))
        conf.read_string(CONF.read_text())
        sections = {name: section for section in conf.sections() for name in conf[section]}
        sections |= dict.fromkeys(MORE_OPTIONS, "handler")
        conf["global"]["include"] = f"{self._folder}/internal.conf"
        conf["global"]["rundir"] = str(self._folder)
        conf["runner"]["logdir"] = str(self._folder)
        conf["runner"]["http_port"] = f"{LOOPBACK}:{client}"
        conf["proxy"]["routesfile"] = str(routes)
        del conf["proxy"]["sig_key"]  # Fanway has none either, if none is asked for
        conf["handler"]["push_in_http_port"] = str(control)
        names = ("push_in_spec", "push_in_sub_specs", "command_spec")
        for name, port in zip(names, zmq, strict=True):
            conf["handler"][name] = f"tcp://{LOOPBACK}:{port}"
        for name, value in _options(flags):
            if name in IMMATERIAL:
                continue
            if name not in sections:
                pytest.skip(f"Pushpin has no {name}")
            text = value.replace("unix:", "ipc://")  # as Pushpin names them
            # Text with a comma is a list there, unless it is quoted; no list here has blanks.
            conf[sections[name]][name] = f'"{text}"' if " " in text else text
        with (self._folder / "pushpin.conf").open("w") as file:
            conf.write(file, space_around_delimiters=False)

    def _start(self) -> None:
        for program in ("zurl", "pushpin"):
            with (self._folder / f"{program}.out").open("wb") as said:
                child = subprocess.Popen(
                    [program, f"--config={self._folder}/{program}.conf"],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            self._children.append(child)
        until(self._is_ready, "Pushpin holds a request", START_SECONDS)

    def _is_ready(self) -> bool:
        """Whether all of its processes have found each other: it has held a request."""
        try:
            with closing(Client(self.control_addresses[0])) as publisher:
                publisher.send(request("any")).reply(seconds=2.0)
            with closing(Client(self.address)) as client:
                client.send(request(READY_HOST, "/stream?channel=ready"))
                return client.reply(seconds=2.0).status == 200
        except (OSError, Silence, CutShort):
            return False

    def abandon(self) -> None:
        """End it, and all that it has started."""
        for child in reversed(self._children):
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._children.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End it. How clean that end is, is not Fanway's affair."""
        self.abandon()

    def assert_no_bug(self) -> None:
        """What Pushpin writes into its log is not judged."""

    def assert_no_error(self) -> None:
        """Nor is this."""

    def control(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> ControlResponse:
        """One request to the publish API; what else Fanway has at that port skips the test."""
        if path in FANWAYS_OWN:
            pytest.skip(f"the test asks for Fanway's {path}")
        return super().control(method, path, body, **headers)

    def publish_items(self, *items: dict[str, Any]) -> None:
        """Publish, once what follows a first subscription must be over."""
        new = {
            item["channel"] for item in items if "http-response" in item.get("formats", item)
        } - self._known_channels
        if new:
            time.sleep(FIRST_SUBSCRIPTION_SECONDS)
        self._known_channels |= new
        super().publish_items(*items)


def _options(flags: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    """The flags by their names as options, and their values."""
    words = list(flags)
    while words:
        name = words.pop(0).removeprefix("--").replace("-", "_")
        has_value = words and not words[0].startswith("--")
        yield name, words.pop(0) if has_value else "true"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
