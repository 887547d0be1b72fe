"""The stats socket: what happens, published over ZeroMQ as it happens (GRIP.md 9.1).

What is told is `account`'s and `pushpin_metrics`'; how it is written and when, is decided here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import zmq

from control.account import Account, of_route
from control.config import Settings
from control.grip.payload import write
from control.link.packets import AnyReport, Delivered, Left, Opened, Received, Served
from control.link.weight import weigh
from control.pushpin_metrics import Summing
from control.routes import Route
from control.traffic import ITEMS_IN, Client, RouteOf, Traffic
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
    """Tells of everything: takes reports of workers and orders to them, and keeps the time."""

    def __init__(
        self,
        sockets: Sockets,
        settings: Settings,
        *,
        instance: str,
        summing: Summing,
        route_of: RouteOf,
    ) -> None:
        """Listen. Must be made in a running loop. CannotOpen."""
        self._loop = asyncio.get_running_loop()
        self._socket = StatsSocket(
            sockets,
            settings.stats_spec,
            instance=instance,
            as_json=settings.stats_format == "json",
        )
        block_bytes = settings.message_block_size
        self.account = Account(
            self._socket.tell,
            instance=instance,
            tells_connections=settings.stats_connection_send,
            connection_ttl=settings.stats_connection_ttl,
            subscription_ttl=settings.stats_subscription_ttl,
            linger_seconds=settings.subscription_linger,
            block_bytes=block_bytes,
        )
        self.traffic = Traffic(route_of, block_bytes=block_bytes)
        self._route_of = route_of
        self._summing = summing
        self._interval_seconds = settings.stats_report_interval
        self._items_told = summing.look(self._loop.time()).received
        self._told_at = self._loop.time()
        self._activities: Counter[str] = Counter()  # by route; not told of yet
        self._activity: asyncio.TimerHandle | None = None
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    def close(self) -> None:
        """Tell nothing more."""
        self._ticking.cancel()
        if self._activity is not None:
            self._activity.cancel()

    def reported(self, worker: int, report: AnyReport) -> None:
        """Take what a worker reports."""
        match report:
            case Opened():
                self.traffic.opened((worker, report.ref), report)
            case Received():
                self.traffic.received((worker, report.ref), report)
            case Left():
                self.traffic.left((worker, report.ref), self._loop.time())
            case Delivered():
                self.traffic.delivered(report)
            case Served():
                self.traffic.served(report)
                for share in report.shares:
                    count = share.stream_keep_alives + share.ws_keep_alives
                    self._act(self._route_of(share.route), count)
        self.account.reported(worker, report, self._loop.time())

    def routed(self, worker: int, pid: int, opened: Opened, route: Route) -> None:
        """Take note of a request whose route is known; `pid` is the worker's process."""
        now = self._loop.time()
        client: Client = worker, opened.ref
        self.traffic.routed(client, route.given_id, now)
        self.account.routed(worker, pid, opened, route.given_id, now)
        self._act(route.given_id, 1)

    def ordered(self, worker: int, order: bytes) -> None:
        """Take note of what a worker is told to give a client."""
        weight = weigh(order)
        if weight is not None:
            self.traffic.ordered(worker, weight)

    def lost(self, worker: int) -> None:
        """Forget what a worker has reported."""
        now = self._loop.time()
        self.account.lost(worker, now)
        self.traffic.lost(worker, now)

    def _act(self, route: str, count: int) -> None:
        if not count:
            return
        self._activities[route] += count
        if self._activity is None:
            self._activity = self._loop.call_later(ACTIVITY_SECONDS, self._tell_activity)

    def _tell_activity(self) -> None:
        self._activity = None
        activities, self._activities = self._activities, Counter()
        for route, count in activities.items():
            self._socket.tell("activity", {**of_route(route), "count": count})

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)
        now = self._loop.time()
        self.account.tick(now)
        if now - self._told_at >= self._interval_seconds:
            self._tell_reports(now)

    def _tell_reports(self, now: float) -> None:
        """Tell of each route. What is published is of none."""
        duration = round((now - self._told_at) * 1000)
        items = self._summing.look(now).received
        self.traffic.add("", ITEMS_IN, items - self._items_told)
        self._items_told, self._told_at = items, now
        for route, sums in self.traffic.take(now):
            self._socket.tell("report", {**of_route(route), **sums, "duration": duration})
