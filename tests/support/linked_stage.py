"""A stage with the worker's end of the link on it; the test plays control."""

from __future__ import annotations

import random
from typing import Any

from control.link.reports import PacketReader, decode
from fastpath.link import Link
from support.stage import LIMITS, Stage

WORKER = 3
SETTINGS = {**LIMITS, "stop_timeout_ms": 1000}


class Control:
    """Control's side of the link, without its socket."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, run: bytes) -> None:
        self.writes.append(run)

    def abort(self) -> None:
        self.aborted = True


class LinkedStage(Stage):
    """A worker with its link."""

    def __init__(self) -> None:
        super().__init__()
        self.welcomes: list[dict[str, Any]] = []
        self.losses = 0
        self.drains = 0
        self.link = Link(
            self.roster,
            self.fanout,
            self.loop,
            WORKER,
            on_welcome=self.welcomes.append,
            on_lost=self._lost,
            on_drain=self._drain,
        )
        self.roster.upstream = self.link

    def _lost(self) -> None:
        self.losses += 1

    def _drain(self) -> None:
        self.drains += 1

    def connect_link(self) -> None:
        self.control = Control()
        self.link.connection_made(self.control)

    def lose_link(self) -> None:
        self.link.connection_lost(None)

    def orders(self, *packets: bytes, split: str = "whole") -> None:
        run = b"".join(packets)
        chance = random.Random(len(run))
        while run:
            size = {"whole": len(run), "bytes": 1, "random": chance.randint(1, 60)}[split]
            self.link.data_received(run[:size])
            run = run[size:]

    def reports(self) -> list[Any]:
        self.turn()
        writes, self.control.writes = self.control.writes, []
        return [decode(p) for run in writes for p in PacketReader().feed(run)]

    def close(self) -> None:
        super().close()
        self.link = None
