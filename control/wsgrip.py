"""What a WebSocket's origin says that is for the proxy, and the way to the client (GRIP.md 5).

The half that WebSocket-over-HTTP (`wsover`) and passthrough (`wspass`) have in common: prefixes,
control messages, subscriptions, credit, and the order of what the client is sent. Never speaks
to an origin: that is what the two differ in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from control.alarms import Alarms
from control.errors import InstructError
from control.grip import wscontrol
from control.grip.fields import to_bytes
from control.grip.instruct import FILTERS_MAX
from control.grip.item import WsType
from control.grip.traits import make_traits
from control.grip.wscontrol import parse_control
from control.holds import KEEP_ALIVE_MODES, filter_origin
from control.house import House
from control.link import codec
from control.link.packets import LINK_WINDOW, KeepAlive, Kind, Mode
from control.link.server import Link
from control.links import Home, base_of
from control.log import log
from control.publish import WS_KINDS
from control.reasons import Reason
from control.rewrite import Rewriter
from control.routes import Route, Target
from control.wsframe import CONTROL_MAX_BYTES

CONTROL_PREFIX = b"c:"
# One SEND of a longer message is so much of it: a fraction of the window, which is then never full
# of what cannot be sent.
SEND_BYTES = LINK_WINDOW // 4
# One GRANT for so much. What is not granted yet must leave room for a message of the largest size
# that is kept whole (wsbatch.REQUEST_MAX_BYTES).
GRANT_BYTES = LINK_WINDOW // 8
META_MAX = 64  # values that an origin may set: as many as headers fit an answer
# A delayed message that finds another one half sent tries again after this time.
DELAYED_AGAIN_SECONDS = 0.1


def is_control(prefix: bytes | None, kind: Kind, content: bytes) -> bool:
    """Whether an origin's message is for the proxy (GRIP.md 5.3); `prefix` as in `for_client`."""
    return prefix is not None and kind is Kind.TEXT and content.startswith(CONTROL_PREFIX)


def for_client(prefix: bytes | None, content: bytes) -> bytes | None:
    """What of a message that is not for the proxy is the client's (GRIP.md 5.3); None: nothing.

    `prefix` is what such messages begin with; None: not in GRIP mode, it is for the client.
    """
    if prefix is None:
        return content
    return content[len(prefix) :] if content.startswith(prefix) else None


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """What the conversations with one target have in common."""

    house: House
    rewriter: Rewriter  # of the time of the handshake: it has the keys of the route
    route: Route
    target: Target
    is_tls: bool  # clients came by TLS
    is_trusted: bool  # clients are GRIP proxies: what is GRIP's is their business (GRIP.md 6.4)
    offers_grip: bool  # the target is offered the extension
    delays: Alarms[Conversation]  # of delayed messages
    deadlines: Alarms[Conversation]  # of keep-alives over HTTP, and of close handshakes
    farewells: asyncio.Semaphore  # bounds the requests that are made for clients who are gone
    talking: set[Conversation]  # those with a request or a connection out
    forget: Callable[[Conversation], None]  # nothing that its session does concerns it any more


class Conversation:
    """A client's WebSocket and its origin, from the 101 to the end of either.

    Small, since most are idle: what is usually empty is None.
    """

    __slots__ = (
        "_alarm",
        "_channels",
        "_credit_bytes",
        "_delayed",
        "_filters",
        "_is_mid_message",
        "_meta",
        "_prefix",
        "_queue",
        "_taken_bytes",
        "_way",
        "link",
        "ref",
    )

    def __init__(self, way: Way, link: Link, ref: int) -> None:
        self.link = link
        self.ref = ref
        self._way = way
        self._prefix: bytes | None = None  # of messages for the client; None: not in GRIP mode
        self._channels: tuple[str, ...] = ()  # full names; at most channels_max
        # What filters go by, once there are filters for messages: those of each channel that has
        # any, at most FILTERS_MAX, and the values that the origin has set.
        self._filters: dict[str, tuple[str, ...]] | None = None
        self._meta: dict[str, str] | None = None
        self._delayed: tuple[set[Conversation], Kind, bytes] | None = None  # send-delayed
        self._alarm: set[Conversation] | None = None  # the next deadline
        self._credit_bytes = LINK_WINDOW  # may be sent to the client now
        # What waits for credit: orders, and their cost. Who fills it stops when it is there.
        self._queue: deque[tuple[int, bytes]] | None = None
        self._is_mid_message = False  # the last order was a part of a message, not its end
        self._taken_bytes = 0  # from the client, since the last grant

    # -- what the two kinds differ in

    def received(self, kind: Kind, content: bytes, more: bool) -> None:
        """Take a message of the client, or a part of one."""
        raise NotImplementedError

    def closed(self) -> None:
        """Take note that the client has gone."""
        raise NotImplementedError

    def stop(self) -> None:
        """Do nothing any more."""
        raise NotImplementedError

    def _uri(self) -> str:
        """Give the URI that relative ones of the origin start at; empty if it needs none."""
        return ""

    def refreshed(self) -> None:
        """Do what a published refresh asks for."""

    def closed_by_publish(self) -> None:
        """Tell the origin that the client has been told to leave."""
        raise NotImplementedError

    def _end_origin(self) -> None:
        """Close the origin's side, and ignore what it says from now on."""
        raise NotImplementedError

    def _abandon_origin(self) -> None:
        """Tell the origin that its client is lost."""
        raise NotImplementedError

    def _flowing(self) -> None:
        """Take note that nothing waits for credit any more."""
        raise NotImplementedError

    def ring_deadline(self) -> None:
        """Do what is due."""
        raise NotImplementedError

    @property
    def _is_debug(self) -> bool:
        return self._way.house.is_debug or self._way.route.debug

    # -- to the client

    def granted(self, count_bytes: int) -> None:
        """Take note that the client has taken so many bytes."""
        self._credit_bytes += count_bytes
        queue = self._queue
        if queue is None:
            return
        while queue and queue[0][0] <= self._credit_bytes:
            cost, packet = queue.popleft()
            self._credit_bytes -= cost
            self.link.order(packet)
        if not queue:
            self._queue = None
            self._flowing()

    def _order(self, packet: bytes, cost_bytes: int = 0) -> None:
        """Order something that must not overtake what waits for credit."""
        if self._queue is None and cost_bytes <= self._credit_bytes:
            self._credit_bytes -= cost_bytes
            self.link.order(packet)
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append((cost_bytes, packet))

    def _send(self, kind: Kind, content: bytes, *, is_last: bool = True) -> None:
        """Send the client a message, or the next part of one."""
        at = 0
        while len(content) - at > SEND_BYTES:
            piece = content[at : at + SEND_BYTES]
            self._order(codec.send(self.ref, kind, piece, more=True), SEND_BYTES)
            at += SEND_BYTES
        piece = content[at:] if at else content
        self._order(codec.send(self.ref, kind, piece, more=not is_last), len(piece))
        if kind in (Kind.TEXT, Kind.BINARY):
            self._is_mid_message = not is_last

    def _close(self, code: int, reason: bytes) -> None:
        """Close the client's side in order; code 0: none."""
        self._stop_delayed()
        self._order(codec.close(self.ref, 0, code, reason))

    def _drop(self, reason: Reason) -> None:
        """Cut the client off without a close frame, and forget it."""
        self._queue = None
        self._stop_delayed()
        self.link.order(codec.close(self.ref, reason))
        self._way.forget(self)

    def _fail(self, reason: Reason, why: str = "") -> None:
        """Close the client's side at once because of a limit; the session is over.

        In debug mode the client is told why.
        """
        self._queue = None
        self._stop_delayed()
        text = to_bytes(why) if self._is_debug else b""
        self.link.order(codec.close(self.ref, 0, reason.close_code or 0, text))
        self._way.forget(self)
        self._abandon_origin()

    # -- from the client

    def _take(self, count_bytes: int) -> None:
        """Let so many bytes follow those that have been used."""
        self._taken_bytes += count_bytes
        if self._taken_bytes >= GRANT_BYTES:
            self._grant()

    def _grant(self) -> None:
        if self._taken_bytes:
            self.link.order(codec.grant(self.ref, self._taken_bytes))
            self._taken_bytes = 0

    # -- what is counted of the origin

    def _said(self, content_bytes: int, *, is_last: bool) -> None:
        """Take note that the origin is sent a message, or a part of one."""
        traffic = self._way.house.traffic
        if traffic is not None:
            traffic.said(self._way.route.given_id, content_bytes, is_last)

    def _heard(self, content_bytes: int, *, is_last: bool) -> None:
        """Take note that the origin has sent a message, or a part of one."""
        traffic = self._way.house.traffic
        if traffic is not None:
            traffic.heard(self._way.route.given_id, content_bytes, is_last)

    # -- from the origin

    def _begin(self, prefix: bytes | None) -> None:
        """Begin, in GRIP mode if there is a prefix; a target's own channels need no such mode."""
        self._prefix = prefix
        for name in self._way.target.sub:
            self._subscribe(name)

    def _judge(self, kind: Kind, content: bytes, *, is_whole: bool) -> bytes | None:
        """Decide by the first frame of a message what becomes of it (GRIP.md 5.3).

        Gives what of it is for the client. None: nothing; if it was for us, it has been done.
        """
        if not is_control(self._prefix, kind, content):
            return for_client(self._prefix, content)
        if is_whole:
            self._control(content[len(CONTROL_PREFIX) :])
        return None

    def _control(self, text: bytes) -> None:
        """Do what a control message says (GRIP.md 5.4)."""
        try:
            message = parse_control(text)
        except ValueError as error:
            log.debug("control_ignored", route=self._way.route.id, reason=str(error))
            return
        match message:
            case wscontrol.Subscribe() if len(message.filters) > FILTERS_MAX:
                why = f"too many filters for channel '{message.channel}'"
                self._fail(Reason.INTERNAL, why)
            case wscontrol.Subscribe() | wscontrol.Unsubscribe() | wscontrol.SetMeta():
                try:
                    self._change(message)
                except InstructError as error:
                    log.warning("bad_instruct", route=self._way.route.id, reason=str(error))
                    self._fail(Reason.INTERNAL, str(error))
            case wscontrol.Detach():
                self._detach()
            case wscontrol.KeepAlive() | wscontrol.SendDelayed() if not _fits(message):
                log.debug("control_ignored", route=self._way.route.id, reason="ping too long")
            case wscontrol.KeepAlive():
                self._keep_alive(message)
            case wscontrol.SendDelayed():
                self._flush_delayed()
                alarm = self._way.delays.set(self, message.timeout_seconds)
                self._delayed = alarm, WS_KINDS[message.type], message.content
            case wscontrol.FlushDelayed():
                self._flush_delayed()

    def _change(
        self, message: wscontrol.Subscribe | wscontrol.Unsubscribe | wscontrol.SetMeta
    ) -> None:
        """Change what the session is on, and what the filters of any of it read of it."""
        was_on, before = self._channels, self._traits()
        prefix = self._way.route.prefix
        match message:
            case wscontrol.Subscribe():
                self._subscribe(prefix + message.channel, message.filters)
            case wscontrol.Unsubscribe():
                self._unsubscribe(prefix + message.channel)
            case wscontrol.SetMeta():
                self._set_meta(message.name, message.value)
        after = self._traits()
        for name in self._channels:
            traits = after.get(name, b"")
            if name in was_on and traits != before.get(name, b""):
                self.link.order(codec.subscribe(self.ref, to_bytes(name), traits))

    def _traits(self) -> dict[str, bytes]:
        """Say for each channel with filters what they read now. InstructError: it is too much."""
        if self._filters is None:
            return {}
        way, meta = self._way, self._meta or {}
        prefix = way.route.prefix
        uri = self._uri()
        home = Home(way.route.rule, base_of(uri), way.target.untrusted)
        names = [name.removeprefix(prefix) for name in self._channels]
        return {
            name: make_traits(
                filters,
                meta,
                names,
                prefix=prefix,
                origin=filter_origin(home, uri, meta),
                is_debug=self._is_debug,
            )
            for name, filters in self._filters.items()
        }

    def _subscribe(self, name: str, filters: tuple[str, ...] = ()) -> None:
        """Subscribe in one step: nothing can be published between the mark and the order."""
        house = self._way.house
        is_new = name not in self._channels
        if is_new and len(self._channels) >= house.channels_max:
            log.debug("subscribe_ignored", route=self._way.route.id, channel=name)
            return
        if filters or self._filters is not None:
            self._filters = _with(self._filters, name, filters or None)
        if is_new:
            self._channels = _joined(self._channels, name)
            traits = self._traits().get(name, b"")
            number = self.link.order(codec.subscribe(self.ref, to_bytes(name), traits))
            house.interest.mark(self.link.worker, name, Mode.WS, number)

    def _unsubscribe(self, name: str) -> None:
        if name in self._channels and name not in self._way.target.sub:
            self._channels = tuple(channel for channel in self._channels if channel != name)
            self._filters = _with(self._filters, name, None)
            self.link.order(codec.unsubscribe(self.ref, to_bytes(name)))

    def _set_meta(self, name: str, value: str | None) -> None:
        if value is None or len(self._meta or ()) < META_MAX:
            self._meta = _with(self._meta, name, value)

    def _keep_alive(self, message: wscontrol.KeepAlive) -> None:
        mode = KEEP_ALIVE_MODES[message.mode] if message.content else KeepAlive.NONE
        order = codec.keep_alive(
            self.ref,
            mode=mode,
            interval_ms=message.timeout_seconds * 1000,
            kind=WS_KINDS[message.type],
            content=message.content,
        )
        self._order(order)

    def _detach(self) -> None:
        """Leave the client to the worker: it stays, and so do its subscriptions."""
        self._flush_delayed()  # nobody would be left to send it
        self._order(codec.release(self.ref))
        self._end_origin()
        if self._queue is None:
            self._way.forget(self)

    # -- alarms

    def _set_deadline(self, seconds: float) -> None:
        self._stop_deadline()
        self._alarm = self._way.deadlines.set(self, seconds)

    def _stop_deadline(self) -> None:
        if self._alarm is not None:
            self._alarm.discard(self)
            self._alarm = None

    def ring_delayed(self) -> None:
        """Send the delayed message: its time has come."""
        if self._delayed is not None and self._is_mid_message:
            _, kind, content = self._delayed
            self._delayed = self._way.delays.set(self, DELAYED_AGAIN_SECONDS), kind, content
        else:
            self._flush_delayed()

    def _flush_delayed(self) -> None:
        if self._delayed is not None:
            _, kind, content = self._delayed
            self._stop_delayed()
            self._send(kind, content)

    def _stop_delayed(self) -> None:
        if self._delayed is not None:
            self._delayed[0].discard(self)
            self._delayed = None


def _fits(message: wscontrol.KeepAlive | wscontrol.SendDelayed) -> bool:
    is_control_frame = message.type in (WsType.PING, WsType.PONG)
    return not is_control_frame or len(message.content) <= CONTROL_MAX_BYTES


@lru_cache(maxsize=1024)
def _joined(channels: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Add a channel; conversations with the same channels share one tuple, as long as it is new."""
    return (*channels, name)


def _with(values: dict[str, Any] | None, name: str, value: object | None) -> dict[str, Any] | None:
    """Set a value, or take it out; of nothing, None is left."""
    values = values or {}
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value
    return values or None
