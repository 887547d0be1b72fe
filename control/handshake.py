"""A WebSocket's handshake: a client's request, until an origin accepts or refuses it.

Tries the targets of a route in their order, over HTTP or passed through as each says (GRIP.md 4.3,
5.1). An answer that is no acceptance is passed on as the ordinary answer that it is. Ends where
the conversation begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from control.bodies import NO_BODY
from control.connection_id import connection_id
from control.errors import OriginError
from control.exchange import Exchange
from control.grip.extension import EXTENSION, HEADER, as_written, message_prefix
from control.grip.fields import Headers
from control.grip.headers import to_client
from control.grip.wsevents import Event, EventType
from control.house import House
from control.link import codec
from control.link.packets import Opened
from control.link.server import Link
from control.origin import Request, Response
from control.rewrite import Matched, uri_of
from control.routes import Target
from control.sockjs import is_framed, rest_of
from control.sockjs_door import NotOpened
from control.sockjs_framed import Framed
from control.websockets import WebSockets
from control.wscalls import (
    BadAnswer,
    accepted_headers,
    is_events,
    pack_handshake,
    read_events,
)
from control.wsgrip import Conversation, Way
from control.wsover import OverHttp
from control.wspass import Passthrough, accept_fault, new_key

T = TypeVar("T")

OPEN = Event(EventType.OPEN)
# Of a handshake, these are said anew on each side (RFC 6455 4).
OF_EACH_SIDE = frozenset(
    {
        b"upgrade",
        b"content-length",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-accept",
        HEADER.lower(),
    }
)


# -- decisions


def decide_offer(matched: Matched, headers: Headers) -> bool:
    """Whether an origin is offered the extension; a trusted proxy offers it itself, or nobody."""
    speaks_grip = not matched.is_trusted or as_written(headers) is not None
    return speaks_grip and not matched.route.no_grip


def decide_acceptance(
    headers: Headers, *, is_trusted: bool, offers_grip: bool
) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    """Choose what a client is told of its origin's acceptance, and the prefix of its messages.

    The prefix is None if their GRIP is not for us: the origin speaks none, or a trusted proxy is
    given the extension as the origin has agreed to it (GRIP.md 5.2).
    """
    told = _of_both_sides(to_client(accepted_headers(headers)))
    agreed = as_written(headers) if offers_grip else None
    if agreed is None:
        return told, None
    if is_trusted:
        return [*told, (HEADER, agreed)], None
    return told, message_prefix(headers)


def upgrade_request(request: Request, key: bytes, *, offers_grip: bool) -> Request:
    """Make a client's request for a WebSocket our own (GRIP.md 5.1)."""
    own = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", key),
    ]
    if offers_grip:
        own.append((HEADER, EXTENSION))
    return replace(request, headers=[*_of_both_sides(request.headers), *own], upgrades=True)


async def first_of(targets: Sequence[Target], shake_hands: Callable[[Target], Awaitable[T]]) -> T:
    """Shake hands with the first target that can be connected to (GRIP.md 7.7).

    OriginError if there is none, or if it fails.
    """
    tried: list[str] = []
    why: list[str] = []
    for target in targets:
        try:
            return await shake_hands(target)
        except OriginError as error:
            if not error.tried:
                raise
            tried += error.tried
            why.append(str(error))
    raise OriginError("; ".join(why), tried=tried)


# -- the life of one handshake


class Handshake(Exchange):
    """One handshake."""

    def __init__(self, house: House, websockets: WebSockets, link: Link, opened: Opened) -> None:
        super().__init__(house, link, opened)
        self._websockets = websockets

    async def _converse(self, slots: asyncio.Semaphore | None) -> None:
        """Try one target after another until one can be connected to."""
        matched = self._match()
        rest = rest_of(matched.path, matched.route.sockjs)
        if rest is not None:
            if is_framed(rest):
                await self._open_framed(matched)
                return
            matched = replace(matched, path=matched.route.sockjs_as_path or matched.path)

        async def shake_hands(target: Target) -> None:
            if target.over_http:
                await self._open_over_http(matched, target)
            else:
                await self._open_passthrough(matched, target)

        await first_of(matched.route.targets, shake_hands)

    async def _open_over_http(self, matched: Matched, target: Target) -> None:
        """Ask a target by OPEN, again and again if it has a keep-alive interval and no answer."""
        way = self._way(matched, target)
        # What is ours is said anew in each request.
        request = way.rewriter.requests_with(matched, self._opened, [])(target)
        packed = pack_handshake(request, connection_id(self._link.pid, self._ref))
        conversation = OverHttp(way, self._link, self._ref, packed)
        while True:
            response = await conversation.call([OPEN])
            try:
                if not is_events(response):
                    await self._pass_on(response)
                    return
                events = await read_events(response)
            finally:
                response.close()
            conversation.take_headers(response.headers)
            if events and events[0] == OPEN:
                break
            if events or not conversation.keep_alive_seconds:
                raise BadAnswer(f"{target}: no OPEN")
            await asyncio.sleep(conversation.keep_alive_seconds)
        prefix = self._accept(conversation, way, response)
        conversation.open(prefix, events[1:])

    async def _open_passthrough(self, matched: Matched, target: Target) -> None:
        """Ask a target to upgrade."""
        way = self._way(matched, target)
        key = new_key()
        made = way.rewriter.requests(matched, self._opened, [])(target)
        request = upgrade_request(made, key, offers_grip=way.offers_grip)
        response = await self._house.origins.call([target], _always(request), NO_BODY)
        try:
            if response.status != 101:
                await self._pass_on(response)
                return
            fault = accept_fault(response, key)
            if fault is not None:
                raise OriginError(f"{target}: {fault}")
            conversation = Passthrough(way, self._link, self._ref, uri_of(matched))
            prefix = self._accept(conversation, way, response)
            conversation.open(prefix, response)
        finally:
            response.close()

    async def _open_framed(self, matched: Matched) -> None:
        """Open the WebSocket without frames that is inside one of SockJS."""
        try:
            door = await self._house.sockjs.open_door(matched, self._opened.headers)
        except NotOpened as error:
            raise OriginError(f"SockJS: {error}") from None
        target = matched.route.targets[0]
        way = self._way(matched, target)
        conversation = Framed(way, self._link, self._ref, door)
        self._has_begun = True
        self._websockets.add(conversation)
        number = self._house.route_numbers.of(matched.route)
        self._link.order(codec.accept(self._ref, [], route=number))
        conversation.open()

    def _way(self, matched: Matched, target: Target) -> Way:
        return self._websockets.way(
            self._house.rewriter,
            matched.route,
            target,
            is_tls=matched.is_tls,
            is_trusted=matched.is_trusted,
            offers_grip=decide_offer(matched, self._opened.headers),
        )

    def _accept(self, conversation: Conversation, way: Way, response: Response) -> bytes | None:
        """Accept the client. Gives the prefix of messages, None if their GRIP is not for us."""
        headers, prefix = decide_acceptance(
            response.headers, is_trusted=way.is_trusted, offers_grip=way.offers_grip
        )
        self._has_begun = True
        self._websockets.add(conversation)
        number = self._house.route_numbers.of(way.route)
        self._link.order(codec.accept(self._ref, headers, route=number))
        return prefix


def _of_both_sides(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [header for header in headers if header[0].lower() not in OF_EACH_SIDE]


def _always(request: Request) -> Callable[[Target], Request]:
    return lambda _target: request
