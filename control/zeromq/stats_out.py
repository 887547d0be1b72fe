"""The stats socket: what happens, published over ZeroMQ as it happens (GRIP.md 9.1).

What is told is `account`'s and `pushpin_metrics`'; how it is written and when, is decided here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import zmq

from control.account import Account
from control.config import Settings
from control.grip.payload import write
from control.link.packets import AnyReport, Opened
from control.pushpin_metrics import Summing
from control.zeromq.sockets import Sockets

TICK_SECONDS = 1.0  # how exact times to live are
ACTIVITY_SECONDS = 0.1  # requests are told of in batches


class StatsSocket:
    """Writes to whoever subscribes; nothing is written that nobody has subscribed to."""

    def __init__(self, sockets: Sockets, spec: str, *, instance: str, as_json: bool) -> None:
        """Listen. CannotOpen."""
        self._instance = instance
        self._as_json = as_json
        self._topics: set[bytes] = set()
        # XPUB, since PUB does not tell whether anybody is there.
        self._socket = sockets.open(zmq.XPUB, [spec], name="stats_spec")
        self._reading = sockets.read(self._socket, self._subscribed, _at_once)

    def _subscribed(self, parts: list[bytes]) -> None:
        change, topic = parts[0][:1], parts[0][1:]
        if change == b"\x01":
            self._topics.add(topic)
        else:
            self._topics.discard(topic)

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        """Publish; who does not read fast enough loses it."""
        head = kind.encode() + b" "
        if not any(head.startswith(topic) or topic.startswith(head) for topic in self._topics):
            return
        payload = write({"from": self._instance, **fields}, as_json=self._as_json)
        self._socket.send(head + payload, zmq.NOBLOCK)
        self._reading.look()


async def _at_once() -> None:
    """Let messages be read whenever there are any."""


class Telling:
    """Tells of everything: takes reports of workers, and keeps the time."""

    def __init__(
        self, sockets: Sockets, settings: Settings, *, instance: str, summing: Summing
    ) -> None:
        """Listen. Must be made in a running loop. CannotOpen."""
        self._loop = asyncio.get_running_loop()
        self._socket = StatsSocket(
            sockets,
            settings.stats_spec,
            instance=instance,
            as_json=settings.stats_format == "json",
        )
        self.account = Account(
            self._socket.tell,
            instance=instance,
            tells_connections=settings.stats_connection_send,
            connection_ttl=settings.stats_connection_ttl,
            subscription_ttl=settings.stats_subscription_ttl,
            linger_seconds=settings.subscription_linger,
        )
        self._summing = summing
        self._interval_seconds = settings.stats_report_interval
        self._told = summing.look(self._loop.time())
        self._told_at = self._loop.time()
        self._connections_max = 0
        self._requests = 0  # not told of yet
        self._activity: asyncio.TimerHandle | None = None
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    def close(self) -> None:
        """Tell nothing more."""
        self._ticking.cancel()
        if self._activity is not None:
            self._activity.cancel()

    def reported(self, worker: int, pid: int, report: AnyReport) -> None:
        """Take what a worker reports."""
        if isinstance(report, Opened):
            self._requests += 1
            if self._activity is None:
                self._activity = self._loop.call_later(ACTIVITY_SECONDS, self._tell_activity)
        self.account.reported(worker, pid, report, self._loop.time())

    def lost(self, worker: int) -> None:
        """Forget what a worker has reported."""
        self.account.lost(worker, self._loop.time())

    def _tell_activity(self) -> None:
        self._activity = None
        requests, self._requests = self._requests, 0
        self._socket.tell("activity", {"count": requests})

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)
        now = self._loop.time()
        self.account.tick(now)
        self._connections_max = max(self._connections_max, self._summing.look(now).connected)
        if now - self._told_at >= self._interval_seconds:
            self._tell_report(now)

    def _tell_report(self, now: float) -> None:
        sums, told = self._summing.look(now), self._told
        self._socket.tell(
            "report",
            {
                "connections": self._connections_max,
                "minutes": int(sums.connection_minutes) - int(told.connection_minutes),
                "received": sums.received - told.received,
                "sent": sums.sent - told.sent,
                "http-response-sent": sums.responses_sent - told.responses_sent,
                "duration": round((now - self._told_at) * 1000),
            },
        )
        self._told, self._told_at, self._connections_max = sums, now, sums.connected
