"""What goes to and fro between clients, Fanway and origins, summed by route (GRIP.md 9.1).

Kept only where statistics are published. A route is the id that the routes file gives it; what has
none is summed under the empty id. Heads are counted as their names and values, without what
separates them; contents without what frames them. Knows no socket; time is an argument, in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from control.grip.item import Format, HttpResponse, Item
from control.link.packets import Delivered, Kind, Opened, Received, Served
from control.link.weight import Weight

MINUTE_SECONDS = 60

CLIENT_HEADERS_IN = "client-header-bytes-received"
CLIENT_HEADERS_OUT = "client-header-bytes-sent"
CLIENT_CONTENT_IN = "client-content-bytes-received"
CLIENT_CONTENT_OUT = "client-content-bytes-sent"
CLIENT_MESSAGES_IN = "client-messages-received"
CLIENT_MESSAGES_OUT = "client-messages-sent"
SERVER_HEADERS_IN = "server-header-bytes-received"
SERVER_HEADERS_OUT = "server-header-bytes-sent"
SERVER_CONTENT_IN = "server-content-bytes-received"
SERVER_CONTENT_OUT = "server-content-bytes-sent"
SERVER_MESSAGES_IN = "server-messages-received"
SERVER_MESSAGES_OUT = "server-messages-sent"
ITEMS_IN = "received"
ITEMS_OUT = "sent"
RESPONSES_OUT = "http-response-sent"
BLOCKS_IN = "blocks-received"
BLOCKS_OUT = "blocks-sent"
FIELDS = (
    ITEMS_IN,
    ITEMS_OUT,
    RESPONSES_OUT,
    CLIENT_HEADERS_IN,
    CLIENT_HEADERS_OUT,
    CLIENT_CONTENT_IN,
    CLIENT_CONTENT_OUT,
    CLIENT_MESSAGES_IN,
    CLIENT_MESSAGES_OUT,
    SERVER_HEADERS_IN,
    SERVER_HEADERS_OUT,
    SERVER_CONTENT_IN,
    SERVER_CONTENT_OUT,
    SERVER_MESSAGES_IN,
    SERVER_MESSAGES_OUT,
)
MESSAGES = frozenset({Kind.TEXT, Kind.BINARY, Kind.PING, Kind.PONG})

Client = tuple[int, int]  # worker, ref
RouteOf = Callable[[int], str]  # the id of a route, by the number that workers know it by


def blocks_of(size_bytes: int, block_bytes: int) -> int:
    """How many blocks a content is; 0 if there is no block size."""
    return -(-size_bytes // block_bytes) if block_bytes else 0


def head_bytes(start: Iterable[bytes], headers: Iterable[tuple[bytes, bytes]]) -> int:
    """How large a head is: the words of its first line, names and values."""
    return sum(map(len, start)) + sum(len(name) + len(value) for name, value in headers)


@dataclass(slots=True)
class _Sum:
    """What is told of one route, since it was told last."""

    counts: Counter[str] = field(default_factory=Counter)
    connected: int = 0
    connected_max: int = 0
    minutes: float = 0.0  # that clients were connected, less what has been told of them
    since: float = 0.0  # the minutes are counted up to then
    is_told: bool = False  # a last time, when there is nothing more to tell

    def change(self, number: int, now: float) -> None:
        """Let so many clients come or go."""
        self.minutes += self.connected * (now - self.since) / MINUTE_SECONDS
        self.since = now
        self.connected += number
        self.connected_max = max(self.connected_max, self.connected)


@dataclass(slots=True)
class _Flow:
    """One client connection."""

    route: str | None = None  # of its last request, once that is known
    unrouted: Counter[str] = field(default_factory=Counter)  # of a request without a route yet


class Traffic:
    """The sums. As large as there are client connections, and routes with an id."""

    def __init__(self, route_of: RouteOf, *, block_bytes: int) -> None:
        """`block_bytes` is what a block of an item is, 0 if blocks are not told."""
        self._route_of = route_of
        self._block_bytes = block_bytes
        self._sums: dict[str, _Sum] = {"": _Sum()}
        self._flows: dict[Client, _Flow] = {}

    def add(self, route: str, name: str, number: int = 1) -> None:
        """Count something of a route, under the name of its field."""
        self._sum(route).counts[name] += number

    # -- clients, as control sees them

    def opened(self, client: Client, opened: Opened) -> None:
        """A request has begun; its route is not known yet."""
        if opened.again:
            return
        flow = self._flows.setdefault(client, _Flow())
        start = opened.method, opened.target
        flow.unrouted = Counter(
            {
                CLIENT_HEADERS_IN: head_bytes(start, opened.headers),
                CLIENT_CONTENT_IN: len(opened.body),
            }
        )

    def routed(self, client: Client, route: str, now: float) -> None:
        """The request that has begun is one of this route."""
        flow = self._flows.setdefault(client, _Flow())
        self._sum(route).counts.update(flow.unrouted)
        flow.unrouted.clear()
        if flow.route != route:
            self._move(flow, route, now)

    def received(self, client: Client, received: Received) -> None:
        """A client has sent a part of a body, or of a message."""
        flow = self._flows.get(client)
        if flow is None or received.kind is Kind.CLOSE:
            return
        counts = flow.unrouted
        if flow.route is not None and not flow.unrouted:
            counts = self._sum(flow.route).counts
        counts[CLIENT_CONTENT_IN] += len(received.content)
        if received.kind in MESSAGES and not received.more:
            counts[CLIENT_MESSAGES_IN] += 1

    def ordered(self, worker: int, weight: Weight) -> None:
        """A client is given something by control."""
        flow = self._flows.get((worker, weight.ref))
        if flow is None or flow.route is None or flow.unrouted:
            return
        counts = self._sum(flow.route).counts
        counts[CLIENT_HEADERS_OUT] += weight.head_bytes
        counts[CLIENT_CONTENT_OUT] += weight.content_bytes
        counts[CLIENT_MESSAGES_OUT] += weight.ends_message

    def left(self, client: Client, now: float) -> None:
        """A client's connection is over."""
        flow = self._flows.pop(client, None)
        if flow is not None:
            self._move(flow, None, now)

    def lost(self, worker: int, now: float) -> None:
        """A worker's clients are known no longer."""
        for client in [one for one in self._flows if one[0] == worker]:
            self.left(client, now)

    def _move(self, flow: _Flow, route: str | None, now: float) -> None:
        if flow.route is not None:
            self._sum(flow.route).change(-1, now)
        flow.route = route
        if route is not None:
            self._sum(route).change(1, now)

    # -- the origins of WebSockets; what else origins are asked, who calls them counts

    def said(self, route: str, content_bytes: int, ends_message: bool) -> None:
        """An origin has been sent a part of a message."""
        counts = self._sum(route).counts
        counts[SERVER_CONTENT_OUT] += content_bytes
        counts[SERVER_MESSAGES_OUT] += ends_message

    def heard(self, route: str, content_bytes: int, ends_message: bool) -> None:
        """An origin has sent a part of a message."""
        counts = self._sum(route).counts
        counts[SERVER_CONTENT_IN] += content_bytes
        counts[SERVER_MESSAGES_IN] += ends_message

    # -- items, and what workers say on their own

    def published(self, item: Item) -> None:
        """An item has come; it is of no route. Its blocks are those of its largest format."""
        if self._block_bytes:
            size = item.size
            if size is None:
                size = max(map(_size_of, item.formats), default=0)
            self.add("", BLOCKS_IN, blocks_of(size, self._block_bytes))

    def delivered(self, delivered: Delivered) -> None:
        """An item has reached clients of a worker."""
        blocks = [blocks_of(size, self._block_bytes) for size in delivered.sizes]
        for reached in delivered.reached:
            counts = self._sum(self._route_of(reached.route)).counts
            numbers = reached.responses, reached.streams, reached.websockets
            _, stream_bytes, ws_bytes = delivered.sizes
            counts[ITEMS_OUT] += sum(numbers)
            counts[RESPONSES_OUT] += reached.responses
            counts[CLIENT_MESSAGES_OUT] += reached.websockets
            counts[CLIENT_HEADERS_OUT] += reached.head_bytes
            counts[CLIENT_CONTENT_OUT] += (
                reached.body_bytes + reached.streams * stream_bytes + reached.websockets * ws_bytes
            )
            counts[BLOCKS_OUT] += sum(n * b for n, b in zip(numbers, blocks, strict=True))

    def served(self, served: Served) -> None:
        """A worker has sent keep-alives, or what it had been given for the end of a hold."""
        for share in served.shares:
            counts = self._sum(self._route_of(share.route)).counts
            counts[CLIENT_MESSAGES_OUT] += share.ws_keep_alives
            counts[CLIENT_HEADERS_OUT] += share.head_bytes
            counts[CLIENT_CONTENT_OUT] += share.content_bytes

    # -- telling

    def take(self, now: float) -> Iterator[tuple[str, dict[str, int]]]:
        """Give each route and its sums, and begin anew.

        The empty id is always there; a route of which there is nothing to tell is told once more.
        """
        for route, one in self._sums.items():
            one.change(0, now)
            has_more = bool(one.counts or one.connected_max)
            if route and not has_more and not one.is_told:
                continue
            one.is_told = has_more
            minutes = int(one.minutes)
            names = (*FIELDS, BLOCKS_IN, BLOCKS_OUT) if self._block_bytes else FIELDS
            sums = {name: one.counts[name] for name in names}
            yield route, {"connections": one.connected_max, "minutes": minutes, **sums}
            one.minutes -= minutes
            one.connected_max = one.connected
            one.counts.clear()

    def _sum(self, route: str) -> _Sum:
        one = self._sums.get(route)
        if one is None:
            one = self._sums[route] = _Sum()
        return one


def _size_of(form: Format) -> int:
    content = form.body if isinstance(form, HttpResponse) else form.content
    return 0 if content is None else len(content)  # a patch has no size of its own
