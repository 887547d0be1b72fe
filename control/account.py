"""Who is connected, how many subscribe to what, and whom items have reached (GRIP.md 9.1).

Kept only where statistics are published: it is made of what workers report beyond control's needs
(fastpath/LINK.md, Accounts), and knows no socket. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from control.connection_id import connection_id
from control.grip.fields import to_text
from control.link.packets import AnyReport, Counted, Delivered, Left, Mode, Opened
from control.traffic import blocks_of

MODE_NAMES = {Mode.RESPONSE: "response", Mode.STREAM: "stream", Mode.WS: "ws"}
TRANSPORTS = {
    Mode.RESPONSE: "http-response",
    Mode.STREAM: "http-stream",
    Mode.WS: "ws-message",
}
REPEAT_SHARE = 0.75  # of a ttl: when what was told is told again

Key = TypeVar("Key")
Tell = Callable[[str, dict[str, Any]], None]
Client = tuple[int, int]  # worker, ref
Subscribers = tuple[str, Mode]


@dataclass(slots=True)
class _Connection:
    """One client connection, as it is told of."""

    id: str
    is_websocket: bool
    peer: str
    is_tls: bool
    route: str  # of its last request; empty: that has no id


class Account:
    """What is told of connections, subscriptions and deliveries, as it happens.

    As large as there are client connections, and channels that are held.
    """

    def __init__(
        self,
        tell: Tell,
        *,
        instance: str,
        tells_connections: bool,
        connection_ttl: int,
        subscription_ttl: int,
        linger_seconds: float,
        block_bytes: int,
    ) -> None:
        """Call `tell` with a type and its fields. The ttl of both kinds is in seconds.

        `block_bytes` is what a block of an item is; 0: blocks are not told.
        """
        self._tell = tell
        self._instance = instance
        self._tells_connections = tells_connections
        self._connection_ttl = connection_ttl
        self._subscription_ttl = subscription_ttl
        self._linger_seconds = linger_seconds
        self._block_bytes = block_bytes
        self._connections: dict[Client, _Connection] = {}
        self._ids: set[str] = set()
        self._counts: dict[Subscribers, dict[int, int]] = {}  # by worker, none of them 0
        self._lingering: OrderedDict[Subscribers, float] = OrderedDict()  # until when
        # What is to be told again, and when; the next is first, since all wait equally long.
        self._connections_due: OrderedDict[Client, float] = OrderedDict()
        self._subscribers_due: OrderedDict[Subscribers, float] = OrderedDict()

    def is_alive(self, connection_id: str) -> bool:
        """Whether a connection of this id has been told of, and is there."""
        return connection_id in self._ids

    # -- what workers report

    def reported(self, worker: int, report: AnyReport, now: float) -> None:
        """Take what concerns it of a report."""
        match report:
            case Left():
                self._left((worker, report.ref))
            case Counted():
                channel = to_text(report.channel)
                counts = (report.responses, report.streams, report.websockets)
                for mode, count in zip(MODE_NAMES, counts, strict=True):
                    self._counted((channel, mode), worker, count, now)
            case Delivered():
                self._delivered(report)

    def lost(self, worker: int, now: float) -> None:
        """Forget what a worker has reported."""
        for client in [one for one in self._connections if one[0] == worker]:
            self._left(client)
        for subscribers in [one for one, counts in self._counts.items() if worker in counts]:
            self._counted(subscribers, worker, 0, now)

    # -- connections

    def routed(self, worker: int, pid: int, opened: Opened, route: str, now: float) -> None:
        """Take note of a request, and of the id of its route; `pid` is the worker's process."""
        client = worker, opened.ref
        known = self._connections.get(client)
        if known is not None and known.is_websocket != opened.websocket:
            self._left(client)  # an HTTP client that becomes a WebSocket is another connection
        elif known is not None and known.route == route:
            return
        own_id = f"{self._instance}:{worker}-{opened.ref:x}"
        connection = _Connection(
            id=connection_id(pid, opened.ref) if opened.websocket else own_id,
            is_websocket=opened.websocket,
            peer=opened.peer.decode("ascii", "replace"),
            is_tls=opened.tls,
            route=route,
        )
        self._connections[client] = connection
        self._ids.add(connection.id)
        self._tell_connection(client, now)

    def _left(self, client: Client) -> None:
        connection = self._connections.pop(client, None)
        if connection is None:
            return
        self._ids.discard(connection.id)
        self._connections_due.pop(client, None)
        if self._tells_connections:
            self._tell(
                "conn", {"id": connection.id, **of_route(connection.route), "unavailable": True}
            )

    def _tell_connection(self, client: Client, now: float) -> None:
        if not self._tells_connections:
            return
        connection = self._connections[client]
        fields: dict[str, Any] = {
            "id": connection.id,
            **of_route(connection.route),
            "type": "ws" if connection.is_websocket else "http",
            "peer-address": connection.peer,
        }
        if connection.is_tls:
            fields["ssl"] = True
        self._tell("conn", fields | {"ttl": self._connection_ttl})
        self._connections_due[client] = now + self._connection_ttl * REPEAT_SHARE
        self._connections_due.move_to_end(client)

    # -- subscriptions

    def _counted(self, subscribers: Subscribers, worker: int, count: int, now: float) -> None:
        counts = self._counts.get(subscribers, {})
        if counts.get(worker, 0) == count:
            return
        if count:
            self._counts.setdefault(subscribers, counts)[worker] = count
        else:
            del counts[worker]
        if counts:
            self._lingering.pop(subscribers, None)
            self._tell_subscribers(subscribers, now)
            return
        del self._counts[subscribers]
        if subscribers[1] is Mode.RESPONSE and self._linger_seconds:
            self._lingering[subscribers] = now + self._linger_seconds
            self._tell_subscribers(subscribers, now)
        else:
            self._tell_end(subscribers)

    def _tell_subscribers(self, subscribers: Subscribers, now: float) -> None:
        channel, mode = subscribers
        fields = {
            "mode": MODE_NAMES[mode],
            "channel": channel,
            "ttl": self._subscription_ttl,
            "subscribers": sum(self._counts.get(subscribers, {}).values()),
        }
        self._tell("sub", fields)
        self._subscribers_due[subscribers] = now + self._subscription_ttl * REPEAT_SHARE
        self._subscribers_due.move_to_end(subscribers)

    def _tell_end(self, subscribers: Subscribers) -> None:
        channel, mode = subscribers
        self._subscribers_due.pop(subscribers, None)
        self._tell("sub", {"mode": MODE_NAMES[mode], "channel": channel, "unavailable": True})

    # -- deliveries

    def _delivered(self, delivered: Delivered) -> None:
        fields: dict[str, Any] = {"channel": to_text(delivered.channel)}
        if delivered.id is not None:
            fields["item-id"] = to_text(delivered.id)
        reached = delivered.reached
        counts = [
            sum(one.responses for one in reached),
            sum(one.streams for one in reached),
            sum(one.websockets for one in reached),
        ]
        for mode, count, size in zip(MODE_NAMES, counts, delivered.sizes, strict=True):
            if count:
                told = {**fields, "count": count, "transport": TRANSPORTS[mode]}
                if self._block_bytes:
                    told["blocks"] = count * blocks_of(size, self._block_bytes)
                self._tell("message", told)

    # -- time

    def tick(self, now: float) -> None:
        """End what has lingered long enough, and tell again what is due."""
        for subscribers in _due(self._lingering, now):
            del self._lingering[subscribers]
            self._tell_end(subscribers)
        for client in _due(self._connections_due, now):
            self._tell_connection(client, now)
        for subscribers in _due(self._subscribers_due, now):
            self._tell_subscribers(subscribers, now)


def of_route(route: str) -> dict[str, str]:
    """Name a route, if it has an id."""
    return {"route": route} if route else {}


def _due(times: OrderedDict[Key, float], now: float) -> list[Key]:
    """The keys whose time has come; the earliest is first."""
    due = []
    for key, time in times.items():
        if time > now:
            break
        due.append(key)
    return due
