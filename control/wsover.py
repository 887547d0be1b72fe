"""WebSocket-over-HTTP: a WebSocket's conversation with an origin that answers requests (GRIP.md 4).

There is a task only while a request is out: a conversation that is idle is one small object, with
the headers of its handshake in one run of bytes. Never finds a target and never frames a message;
what one request says, and what can be read of its answer, is `wscalls`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from enum import Enum

from control.bodies import Whole
from control.errors import OriginError
from control.grip import wsevents
from control.grip.fields import Headers, first, parse_int
from control.grip.wsbatch import REQUEST_MAX_BYTES, batch_count, size_of, unaccepted
from control.grip.wsevents import Event, EventType
from control.link.packets import Kind
from control.link.server import Link
from control.links import escaped
from control.log import log
from control.origin import Response
from control.reasons import Reason
from control.wscalls import (
    ANSWER_MAX_BYTES,
    BadAnswer,
    fault_of,
    keep_alive_seconds,
    make_request,
    metas_set,
    read_events,
    unpack_handshake,
)
from control.wsframe import is_close_code
from control.wsgrip import META_MAX, Conversation, Way

# Messages that wait for the origin: credit bounds their bytes, and this those that have none.
EVENTS_MAX = 20_000
RETRIES_MAX = 5  # GRIP.md 4.9
RETRY_SECONDS = 1.0  # doubled each time
RETRY_JITTER_SECONDS = 1.0

KINDS = {
    EventType.TEXT: Kind.TEXT,
    EventType.BINARY: Kind.BINARY,
    EventType.PING: Kind.PING,
    EventType.PONG: Kind.PONG,
}
EVENT_TYPES = {kind: event_type for event_type, kind in KINDS.items()}
ENDS = (EventType.CLOSE, EventType.DISCONNECT)


class State(Enum):
    """How far a conversation is."""

    OPEN = 1
    CLIENT_CLOSED = 2  # the client has sent its close frame; the origin's answer is awaited
    ORIGIN_CLOSED = 3  # the client has been told to close; its close frame is awaited
    OVER = 4  # nobody is to be listened to; perhaps the origin is still to be told


class OverHttp(Conversation):
    """One WebSocket, from its handshake to the end."""

    __slots__ = (
        "_echo",
        "_events",
        "_farewell",
        "_handshake",
        "_is_due",
        "_partial",
        "_replayed_bytes",
        "_state",
        "_task",
        "keep_alive_seconds",
    )

    def __init__(self, way: Way, link: Link, ref: int, handshake: bytes) -> None:
        super().__init__(way, link, ref)
        self.keep_alive_seconds = 0  # 0: none
        self._handshake = handshake
        self._state = State.OPEN
        self._echo: dict[bytes, tuple[bytes, bytes]] | None = None  # Meta-*, by lower-case name
        self._events: list[Event] | None = None  # for the origin; bounded by credit and EVENTS_MAX
        self._partial: bytearray | None = None  # of a message whose end has not come
        self._replayed_bytes = 0  # of the events, at their beginning: offered before
        self._is_due = False  # a request is to be made, with whatever there is
        self._farewell: Event | None = None  # the last thing that the origin is told
        self._task: asyncio.Task[None] | None = None  # while requests are made

    @property
    def connection_id(self) -> bytes:
        """What the origin knows it by (GRIP.md 4.2)."""
        return self._handshake.rpartition(b": ")[2]

    def _uri(self) -> str:
        target, headers = unpack_handshake(self._handshake)
        scheme = "https" if self._way.is_tls else "http"
        return f"{scheme}://{headers[0][1].decode('latin-1')}{escaped(target)}"

    # -- requests

    async def call(self, events: Sequence[Event]) -> Response:
        """Make one request. OriginError if there is no answer."""
        way = self._way
        request = make_request(
            way.rewriter,
            way.route,
            way.target,
            self._handshake,
            is_trusted=way.is_trusted,
            offers_grip=way.offers_grip,
            echo=(self._echo or {}).values(),
            replayed_bytes=min(self._replayed_bytes, size_of(events)),
        )
        body = Whole(wsevents.encode(events))
        return await way.house.origins.call([way.target], lambda _target: request, body)

    async def _call_stubbornly(self, events: Sequence[Event]) -> Response | None:
        """Make a request, again if the origin cannot be reached (GRIP.md 4.9).

        None: the client left between two attempts.
        """
        for times in range(RETRIES_MAX):
            try:
                return await self.call(events)
            except OriginError as error:
                if not error.tried:
                    raise
            await asyncio.sleep(RETRY_SECONDS * 2**times + RETRY_JITTER_SECONDS * random.random())
            if self._farewell is not None:
                return None
        return await self.call(events)

    def take_headers(self, headers: Headers) -> None:
        """Do what the headers of an answer ask for (GRIP.md 4.3)."""
        seconds = keep_alive_seconds(headers)
        if seconds is not None:
            self.keep_alive_seconds = seconds
        for name, value in metas_set(headers):
            self._set_echo(name.lower(), name, value)

    def _set_echo(self, key: bytes, name: bytes, value: bytes) -> None:
        echo = self._echo or {}
        if not value:
            echo.pop(key, None)
        elif key in echo or len(echo) < META_MAX:
            echo[key] = name, value
        self._echo = echo or None

    # -- from the client

    def received(self, kind: Kind, content: bytes, more: bool) -> None:
        """Keep a message, or a part of one, for the next request."""
        if kind is Kind.CLOSE:
            self._client_closes(content)
        elif self._state is not State.OPEN:
            self._take(len(content))
        elif kind in (Kind.PING, Kind.PONG) or (self._partial is None and not more):
            self._add(Event(EVENT_TYPES[kind], content))
        else:
            self._join(kind, content, more)

    def _join(self, kind: Kind, content: bytes, more: bool) -> None:
        """Put the parts of a message together (GRIP.md 4.4: at most 200,000 bytes)."""
        partial = self._partial if self._partial is not None else bytearray()
        partial += content
        if len(partial) > REQUEST_MAX_BYTES:
            self._fail(Reason.MESSAGE_TOO_BIG)
        elif more:
            self._partial = partial
        else:
            self._partial = None
            self._add(Event(EVENT_TYPES[kind], bytes(partial)))

    def _add(self, event: Event) -> None:
        if self._events is None:
            self._events = []
        if len(self._events) >= EVENTS_MAX:
            self._fail(Reason.MESSAGE_TOO_BIG)
            return
        self._events.append(event)
        self._said(0, is_last=True)  # its bytes are those of a body
        self._ask_soon()

    def _client_closes(self, content: bytes) -> None:
        event = Event(EventType.CLOSE, content)
        if self._state is State.OPEN:
            self._state = State.CLIENT_CLOSED
            self._events = [*(self._events or ()), event]
            self._ask_soon()
        elif self._state is State.ORIGIN_CLOSED:
            self._way.forget(self)
            self._say_last(event)

    def closed(self) -> None:
        """Tell the origin that the client has gone, unless it has been told to go."""
        self._way.forget(self)
        if self._state is not State.OVER:
            self._abandon_origin()

    def refreshed(self) -> None:
        """Ask at once, with whatever there is."""
        if self._state is State.OPEN:
            self._ask_soon()

    def closed_by_publish(self) -> None:
        """Tell the origin that its client has been told to leave."""
        if self._state is State.OPEN:
            self._way.forget(self)
            self._end_origin()

    def stop(self) -> None:
        """Do nothing any more."""
        self._state = State.OVER
        if self._task is not None:
            self._task.cancel()

    def ring_deadline(self) -> None:
        """Ask because of the keep-alive interval."""
        self._alarm = None
        self._ask_soon()

    # -- when to ask

    def _ask_soon(self) -> None:
        self._is_due = True
        self._start()

    def _flowing(self) -> None:
        if self._state is State.OVER:
            self._way.forget(self)
        self._start()

    def _start(self) -> None:
        """Begin to make requests, if there is something to say and nothing in the way."""
        if self._task is None and self._has_to_ask():
            self._stop_deadline()
            self._way.talking.add(self)
            self._task = asyncio.create_task(self._talk())

    def _has_to_ask(self) -> bool:
        if self._farewell is not None:
            return True
        return self._is_due and self._queue is None and self._state is not State.OVER

    async def _talk(self) -> None:
        """Make requests for as long as there is something to say."""
        try:
            while self._has_to_ask():
                if self._farewell is not None:
                    await self._take_leave(self._farewell)
                else:
                    await self._turn()
        except OriginError as error:
            log.warning("origin_failed", route=self._way.route.id, reason=str(error))
            self._give_up(Reason.ORIGIN_FAILED)
        except Exception:
            log.exception("internal_error", where="wsover")
            self._give_up(Reason.INTERNAL)
        finally:
            self._task = None
            self._way.talking.discard(self)
            if self.keep_alive_seconds and self._state in (State.OPEN, State.CLIENT_CLOSED):
                self._set_deadline(self.keep_alive_seconds)

    async def _turn(self) -> None:
        """Offer the origin what there is, and do what it answers."""
        self._is_due = False
        batch = self._events or []
        batch = batch[: batch_count(batch, one_event=self._way.target.one_event)]
        response = await self._call_stubbornly(batch)
        if response is None:
            return
        try:
            events = await read_events(response)
        finally:
            response.close()
        if self._state is State.OVER:  # the client has left meanwhile
            if any(event.type in ENDS for event in events):
                self._farewell = None
            return
        self.take_headers(response.headers)
        is_closing = self._settle(batch, response.headers)
        self._deliver(events)
        if is_closing and self._state is State.CLIENT_CLOSED:
            self._close_unanswered(batch[-1])

    async def _take_leave(self, event: Event) -> None:
        self._farewell = None
        self._replayed_bytes = 0
        async with self._way.farewells:
            response = await self._call_stubbornly([event])
            if response is not None:
                try:
                    await response.read_up_to(ANSWER_MAX_BYTES)  # the connection is good for more
                finally:
                    response.close()

    def _settle(self, batch: list[Event], headers: Headers) -> bool:
        """Keep what was not accepted. Gives whether a CLOSE was (GRIP.md 4.6)."""
        accepted_bytes = parse_int(first(headers, b"content-bytes-accepted") or b"")
        try:
            rest = unaccepted(batch, accepted_bytes)
        except ValueError as error:
            raise BadAnswer(str(error)) from None
        events = self._events or []
        events[: len(batch)] = rest
        is_more = len(events) > len(rest)
        if rest and not accepted_bytes and is_more and not self._way.target.one_event:
            raise BadAnswer("nothing accepted, and there is more than fits a request")
        offered_bytes = size_of(batch)
        taken_bytes = offered_bytes - size_of(rest)
        self._replayed_bytes = max(self._replayed_bytes, offered_bytes) - taken_bytes
        self._events = events or None
        self._is_due |= is_more and (not rest or taken_bytes > 0)
        self._take(taken_bytes)
        return not rest and bool(batch) and batch[-1].type is EventType.CLOSE

    def _close_unanswered(self, event: Event) -> None:
        """Say CLOSE again at the next keep-alive, or give up (GRIP.md 4.7)."""
        if self.keep_alive_seconds:
            self._events = [event]
        else:
            self._give_up(Reason.ORDERED)

    # -- from the origin

    def open(self, prefix: bytes | None, events: Sequence[Event]) -> None:
        """Begin, with the events that came behind OPEN."""
        self._begin(prefix)
        try:
            self._deliver(events)
        except BadAnswer as error:
            log.warning("origin_failed", route=self._way.route.id, reason=str(error))
            self._give_up(Reason.ORIGIN_FAILED)
        if self._farewell is not None:
            self._start()
        elif self.keep_alive_seconds and self._state is State.OPEN:
            self._set_deadline(self.keep_alive_seconds)

    def _deliver(self, events: Sequence[Event]) -> None:
        """Do what an origin says, up to its last word. BadAnswer if that cannot be sent."""
        for event in events:
            if self._state is State.OVER:
                return
            if event.type is EventType.CLOSE:
                self._origin_closes(event)
                return
            fault = fault_of(event)
            if fault:
                raise BadAnswer(fault)
            kind = KINDS.get(event.type)
            if kind is None:
                self._give_up(Reason.ORDERED)
                continue
            self._heard(0, is_last=True)
            if kind in (Kind.PING, Kind.PONG):
                self._send(kind, event.content)
            else:
                content = self._judge(kind, event.content, is_whole=True)
                if content is not None:
                    self._send(kind, content)

    def _origin_closes(self, event: Event) -> None:
        code = event.close_code or 0
        self._close(code if is_close_code(code) else 0, event.close_reason)
        self._events = self._partial = None
        if self._state is State.OPEN:
            self._state = State.ORIGIN_CLOSED
            return
        self._state = State.OVER
        if self._queue is None:
            self._way.forget(self)

    def _give_up(self, reason: Reason) -> None:
        """Cut the client off; the origin knows, or has failed."""
        if self._state is not State.OVER:
            self._state = State.OVER
            self._drop(reason)

    # -- the last word

    def _end_origin(self) -> None:
        self._say_last(Event.close())

    def _abandon_origin(self) -> None:
        self._say_last(Event(EventType.DISCONNECT))

    def _say_last(self, event: Event) -> None:
        self._state = State.OVER
        self._stop_deadline()
        self._stop_delayed()
        self._events = self._partial = None
        self._farewell = event
        self._start()
