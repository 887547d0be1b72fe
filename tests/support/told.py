"""What a stats socket tells, as those read it who watch Pushpin (GRIP.md 9.1)."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import tnetstring
import zmq

from support.waiting import until
from support.zeromq import peer

NO_SUMS = {"from", "route", "connections", "minutes", "duration"}  # of a report


class Told:
    """Everything that is told on a stats socket."""

    def __init__(self, spec: str) -> None:
        self.raw: list[bytes] = []
        self._spec = spec
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()
        self.wait("report", {})  # the subscription has arrived

    def _hear(self) -> None:
        with peer(zmq.SUB, self._spec) as sub:
            sub.subscribe(b"")
            while not self._is_over.is_set():
                if sub.poll(50):
                    self.raw.append(sub.recv())

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()

    def all(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """What has been told of one type, with these fields. Underscores stand for dashes."""
        wanted = {name.replace("_", "-"): value for name, value in fields.items()}
        read = [_read(raw) for raw in list(self.raw)]
        return [f for k, f in read if k == kind and wanted.items() <= f.items()]

    def sums(self, route: str) -> dict[str, int]:
        """What all reports of a route sum up to; what is 0 is left out."""
        sums: Counter[str] = Counter()
        for report in self.all("report", route=route):
            sums.update({name: n for name, n in report.items() if name not in NO_SUMS})
        return dict(+sums)

    def wait_for_sums(self, route: str, expected: dict[str, int]) -> None:
        """Until the reports of a route sum up to this; nothing more, and nothing less."""
        keys = sorted(expected)
        until(
            lambda: all(self.sums(route).get(name, 0) >= expected[name] for name in keys),
            f"{expected}; there is {self.sums(route)}",
        )
        assert self.sums(route) == expected

    def wait(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The first of one type with these fields, once it has come."""
        return until(lambda: self.all(kind, **fields), f"{kind} with {fields}")[0]


def _read(raw: bytes) -> tuple[str, dict[str, Any]]:
    kind, _, payload = raw.partition(b" ")
    if payload[:1] == b"J":
        return kind.decode(), json.loads(payload[1:])
    assert payload[:1] == b"T"
    fields = tnetstring.loads(payload[1:])
    return kind.decode(), {
        name.decode(): value.decode() if isinstance(value, bytes) else value
        for name, value in fields.items()
    }
