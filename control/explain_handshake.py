"""A WebSocket client for `fanway explain`: asks an origin as the proxy would, listens, and leaves.

Here is only what is waited for; what is said in words is `explain_ws`, and what the proxy would do
is decided where the proxy does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import cast
from uuid import uuid4

from control.bodies import NO_BODY, Whole
from control.errors import OriginError
from control.explain import Verdict, header_lines, response_lines
from control.explain_ws import (
    Acceptance,
    Said,
    explain_acceptance,
    explain_refusal,
    explain_waiting,
    shown,
)
from control.grip import wsevents
from control.grip.headers import to_client
from control.grip.instruct import GRIP_BODY_MAX_BYTES
from control.grip.wsevents import Event, EventType
from control.handshake import OPEN, decide_offer, first_of, upgrade_request
from control.link.packets import Opened
from control.origin import Origins, Request, Response
from control.rewrite import Matched, Rewriter
from control.routes import Target
from control.wscalls import (
    ANSWER_MAX_BYTES,
    BadAnswer,
    fault_of,
    is_events,
    keep_alive_seconds,
    make_request,
    metas_set,
    pack_handshake,
    read_events,
)
from control.wsframe import FrameError, FrameReader, Opcode, Piece, encode
from control.wspass import accept_fault, new_key

LISTEN_SECONDS = 1.0  # an origin that subscribes its clients does so at once
LEAVE_SECONDS = 2.0  # for it to answer a close frame
SAID_MAX = 100  # messages that are listened to
NORMAL_CLOSE = (1000).to_bytes(2, "big")

EVENT_TYPES = {
    Opcode.TEXT: EventType.TEXT,
    Opcode.BINARY: EventType.BINARY,
    Opcode.CLOSE: EventType.CLOSE,
    Opcode.PING: EventType.PING,
    Opcode.PONG: EventType.PONG,
}

Say = Callable[[str, list[str]], None]


def decide_last_word(events: Sequence[Event]) -> Event | None:
    """Choose what an origin over HTTP is told of a client that leaves; None: nothing (4.7)."""
    for event in events:
        if event.type is EventType.CLOSE:
            return Event(EventType.CLOSE)
        if event.type not in EVENT_TYPES.values() or fault_of(event):
            return None
    return Event(EventType.DISCONNECT)


class Asking:
    """The handshake of one client."""

    def __init__(
        self, origins: Origins, rewriter: Rewriter, matched: Matched, opened: Opened, say: Say
    ) -> None:
        """`say` is told, section by section, what goes to an origin and what comes of it."""
        self._origins = origins
        self._rewriter = rewriter
        self._matched = matched
        self._opened = opened
        self._say = say
        self._offers_grip = decide_offer(matched, opened.headers)

    async def explain(self, *, channels_max: int) -> Verdict:
        """Shake hands with the first target that can be connected to. OriginError: none can be."""
        found = await first_of(self._matched.route.targets, self._ask)
        if isinstance(found, Verdict):
            return found
        self._say("said", [shown(said.event) for said in found.said])
        return explain_acceptance(self._matched, self._opened, found, channels_max=channels_max)

    async def _ask(self, target: Target) -> Acceptance | Verdict:
        if target.over_http:
            return await self._ask_over_http(target)
        return await self._ask_by_websocket(target)

    async def _ask_over_http(self, target: Target) -> Acceptance | Verdict:
        made = self._rewriter.requests_with(self._matched, self._opened, [])(target)
        handshake = pack_handshake(made, str(uuid4()))
        request = self._events_request(target, handshake)
        self._say_asked(target, request, "OPEN")
        response = await self._call_with(target, request, OPEN)
        try:
            self._say_answered(response)
            if not is_events(response):
                return await self._refused(response)
            events = await read_events(response)
        finally:
            response.close()
        seconds = keep_alive_seconds(response.headers) or 0
        if not events and seconds:
            return explain_waiting(seconds)
        if events[:1] != [OPEN]:
            what = f"events that begin with {shown(events[0])}" if events else "no events"
            raise BadAnswer(f"{target}: {what}, not with OPEN")
        await self._leave_over_http(target, handshake, events[1:], response)
        return Acceptance(target, response.headers, [Said(event) for event in events[1:]])

    async def _leave_over_http(
        self, target: Target, handshake: bytes, events: Sequence[Event], response: Response
    ) -> None:
        """Say the last word, if there is one to say."""
        last = decide_last_word(events)
        if last is None:
            return
        echo = [header for header in metas_set(response.headers) if header[1]]
        request = self._events_request(target, handshake, echo)
        with contextlib.suppress(OriginError):  # what it answers is nobody's business
            answer = await self._call_with(target, request, last)
            try:
                await answer.read_up_to(ANSWER_MAX_BYTES)
            finally:
                answer.close()

    def _events_request(
        self, target: Target, handshake: bytes, echo: Sequence[tuple[bytes, bytes]] = ()
    ) -> Request:
        return make_request(
            self._rewriter,
            self._matched.route,
            target,
            handshake,
            is_trusted=self._matched.is_trusted,
            offers_grip=self._offers_grip,
            echo=echo,
        )

    async def _call_with(self, target: Target, request: Request, event: Event) -> Response:
        body = Whole(wsevents.encode([event]))
        return await self._origins.call([target], lambda _target: request, body)

    async def _ask_by_websocket(self, target: Target) -> Acceptance | Verdict:
        key = new_key()
        made = self._rewriter.requests(self._matched, self._opened, [])(target)
        request = upgrade_request(made, key, offers_grip=self._offers_grip)
        self._say_asked(target, request)
        response = await self._origins.call([target], lambda _target: request, NO_BODY)
        try:
            self._say_answered(response)
            if response.status != 101:
                return await self._refused(response)
            fault = accept_fault(response, key)
            if fault is not None:
                raise OriginError(f"{target}: {fault}")
            listener = Listener()
            if not response.take_over(listener):
                listener.connection_lost(None)
            await listener.listen()
        finally:
            response.close()
        return Acceptance(target, response.headers, listener.said, listener.fault)

    async def _refused(self, response: Response) -> Verdict:
        body, _ = await response.read_up_to(GRIP_BODY_MAX_BYTES)
        headers = to_client(response.headers)
        lines = response_lines(response.status, response.reason, headers, body)
        return explain_refusal(response.target, response.status, lines)

    def _say_asked(self, target: Target, request: Request, *body: str) -> None:
        head = f"{request.method.decode()} {request.target.decode('latin-1')} HTTP/1.1"
        more = ["", *body] if body else []
        self._say("asked", [str(target), head, *header_lines(request.headers), *more])

    def _say_answered(self, response: Response) -> None:
        status = f"{response.status} {response.reason.decode('utf-8', 'backslashreplace')}"
        self._say("answered", [status, *header_lines(response.headers)])


class Listener(asyncio.Protocol):
    """The client's end of a WebSocket to an origin: hears how it begins, and closes in order."""

    def __init__(self) -> None:
        self.said: list[Said] = []  # at most SAID_MAX
        self.fault = ""
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._heard = asyncio.Event()  # there is nothing more to listen to
        self._closed = asyncio.Event()  # the origin has closed, or hung up

    async def listen(self) -> None:
        """Listen for a while, and leave."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_SECONDS):
                await self._heard.wait()
        self._heard.set()
        try:
            if not self._closed.is_set():
                self._write(Opcode.CLOSE, NORMAL_CLOSE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LEAVE_SECONDS):
                        await self._closed.wait()
        finally:
            if self._transport is not None:
                self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hear what is complete."""
        try:
            for piece in self._reader.feed(data):
                self._hear(piece)
        except FrameError as error:
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the origin has hung up."""
        self._transport = None
        self._end("it has hung up")

    def _hear(self, piece: Piece) -> None:
        is_close = piece.opcode is Opcode.CLOSE
        if not self._heard.is_set() and piece.is_first:
            self.said.append(Said(Event(EVENT_TYPES[piece.opcode], piece.content), piece.is_last))
            if is_close or len(self.said) == SAID_MAX:
                self._heard.set()
        if is_close:
            self._write(Opcode.CLOSE, piece.content)
            self._closed.set()
        elif piece.opcode is Opcode.PING:
            self._write(Opcode.PONG, piece.content)

    def _end(self, fault: str) -> None:
        if not self._heard.is_set():
            self.fault = fault
            self._heard.set()
        self._closed.set()

    def _write(self, opcode: Opcode, content: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(opcode, content, os.urandom(4)))
