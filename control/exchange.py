"""One request's life in control: from OPENED to the order that answers or holds it.

What to do is decided by the pure `decide_…` functions; what has to be waited for is awaited in
`Exchange`, one task a request. After HOLD nothing of the request is left here: holds live in the
worker (fastpath/LINK.md, invariant 1). Never touches a client's socket, and frames nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from control import reasons
from control.answering import Answering
from control.bodies import Upload
from control.collapse import decide_key
from control.errors import FilterError, InstructError, OriginError
from control.grip import wsevents
from control.grip.fields import first, to_text
from control.grip.filters import response_filter
from control.grip.instruct import GRIP_BODY_MAX_BYTES, HoldMode, Instruct, is_grip, is_json
from control.holds import decide_channels, decide_conflicts, decide_debug, decide_end, hold
from control.house import House
from control.jsonp import BadQuery, Wrapping, read_query
from control.link import codec
from control.link.packets import (
    Closed,
    Granted,
    Lapsed,
    Opened,
    Received,
)
from control.link.server import Link
from control.links import Context, lasts_of
from control.log import log
from control.origin import Response
from control.paging import Continuation, Paging
from control.reasons import Reason, Refusal
from control.rewrite import Lasts, Matched, Refused, home_of, uri_of
from control.routes import Route, Target
from control.sharing import TooSlow
from control.sockjs import rest_of
from control.sockjs_sessions import Reply

# Holds that ask again because of one item are as many as its subscribers: so many at once.
ASKING_AGAIN_MAX = 100
# After a first conflict of ids the origin is asked at once, then at this pace (GRIP.md 1.10).
CONFLICT_PAUSE_SECONDS = 0.1

INTERNAL_ERROR = Refusal(500, Reason.INTERNAL.text)


class InstructTooLarge(InstructError):
    """An instruct's response is too large to be kept, and may not be passed on (GRIP.md 1.11)."""

    def __init__(self, target: str) -> None:
        super().__init__(f"response too large from {target}")
        self.target = target


# -- decisions


def decide_events_refused(route: Route, opened: Opened) -> bool:
    """Whether a client pretends to be a proxy, and sends WebSocket events itself (GRIP.md 4.2)."""
    if not any(target.over_http for target in route.targets):
        return False
    media_type = first(opened.headers, b"content-type") or b""
    return media_type.partition(b";")[0].strip().lower() == wsevents.CONTENT_TYPE


def decide_context(instruct: Instruct, matched: Matched, target: Target) -> Context:
    """Note what a first answer says of links. InstructError: one leads nowhere."""
    uri = uri_of(matched)
    context = Context(home_of(matched, target), implicit=target.sub).going(instruct, uri)
    # A response hold takes no notice of a next link.
    return context if instruct.mode is HoldMode.RESPONSE else context.linked(instruct, uri)


def decide_content(instruct: Instruct) -> tuple[Instruct, str]:
    """Filter the content of a first answer; gives also why a stream ends at once (GRIP.md 3.6).

    InstructError if it cannot be filtered, and nothing is held.
    """
    filters = [name for channel in instruct.channels for name in channel.filters]
    response = instruct.response
    fault = ""
    try:
        expansion = response_filter(filters, instruct.meta) if response.body else None
        if expansion is None:
            return instruct, ""
        body = expansion.feed(response.body)
        expansion.finish()
    except FilterError as error:
        if instruct.mode is None:
            raise InstructError(f"filter error: build-id: {error}") from None
        body, fault = b"", f"filter error: {error}"
    return replace(instruct, response=replace(response, body=body)), fault


def decide_refusal(error: OriginError | InstructError, *, is_debug: bool) -> Refusal:
    """Choose what a client is told when its origin cannot be used (GRIP.md 1.13)."""
    if not is_debug:
        return reasons.ORIGIN_FAILED
    if isinstance(error, InstructTooLarge):
        return reasons.INSTRUCT_TOO_LARGE(target=error.target)
    if isinstance(error, InstructError):
        return reasons.BAD_INSTRUCT(why=str(error))
    if error.is_forbidden:
        return reasons.TARGET_FORBIDDEN
    if error.tried:
        return reasons.NO_TARGET_CONNECTS(targets=", ".join(error.tried))
    return reasons.ORIGIN_FAILED


# -- the life of one request


class Exchange(Answering):
    """One request, until it is answered or held."""

    def __init__(self, house: House, link: Link, opened: Opened) -> None:
        super().__init__(link, opened, is_cross_origin=house.is_cross_origin)
        self._house = house
        self._is_debug = house.is_debug
        # Not a method of this exchange: it would be garbage only the collector finds.
        self._grant = partial(_grant, link, opened.ref)
        self.upload = Upload(opened.length, opened.body, opened.more, self._grant)

    async def run(self, slots: asyncio.Semaphore | None) -> None:
        """Answer or hold the request, whatever happens. `slots` bound how many ask at once."""
        try:
            await self._converse(slots)
        except (Refused, BadQuery) as error:
            self._log("debug", "refused", reason=str(error))
            self._refuse(error.refusal)
        except UnicodeDecodeError:
            self._log("debug", "refused", reason="JSON-P, and the answer is not UTF-8")
            self.download.wrapping = None
            self._refuse(reasons.JSONP_NOT_UTF8)
        except (OriginError, InstructError) as error:
            kind = "bad_instruct" if isinstance(error, InstructError) else "origin_failed"
            self._log("warning", kind, reason=str(error))
            self._refuse(decide_refusal(error, is_debug=self._is_debug))
        except TooSlow as error:
            self._log("info", "cut_off", reason=str(error))
            self._refuse(reasons.ORIGIN_FAILED, cut=Reason.SLOW)
        except Exception:
            log.exception("internal_error", where="exchange", path=self._path)
            self._refuse(INTERNAL_ERROR, cut=Reason.INTERNAL)

    async def _converse(self, slots: asyncio.Semaphore | None) -> None:
        if self._opened.again:
            await self._house.gone.told(self._link, self._ref)
        matched = self._match()
        if rest_of(matched.path, matched.route.sockjs) is not None:
            reply = Reply(self._respond, self.download.send, self.download.end)
            await self._house.sockjs.answer(reply, matched, self._opened, self.upload)
            return
        matched = self._translate(matched)
        route = matched.route
        if not matched.is_trusted and decide_events_refused(route, self._opened):
            raise Refused(reasons.EVENTS_NOT_ALLOWED, "events of a WebSocket that is none")
        cut = len(route.prefix)
        lasts: Lasts = [(to_text(name)[cut:], to_text(last)) for name, last in self._opened.lasts]
        for times in itertools.count():
            if times > 1:
                await asyncio.sleep(CONFLICT_PAUSE_SECONDS)
            response = await self._ask(matched, lasts, slots)
            try:
                conflicting = await self._follow(matched, response)
            finally:
                response.close()
            if conflicting is None:
                return
            lasts = conflicting

    async def _ask(
        self, matched: Matched, lasts: Lasts, slots: asyncio.Semaphore | None
    ) -> Response:
        """Ask the origin; alone, or together with those who wait for the same answer."""
        house, upload = self._house, self.upload
        request = house.rewriter.requests(matched, self._opened, lasts)

        async def call() -> Response:
            async with slots or contextlib.nullcontext():
                return await house.origins.call(matched.route.targets, request, upload)

        has_body = upload.length != 0
        key = decide_key(
            matched, self._opened, lasts, has_body=has_body, shares_all=house.shares_all
        )
        if key is None:
            return await call()
        if house.collapse.is_asked(key):
            self._log("debug", "shared")
        return await house.collapse.get(key, call)

    def _match(self) -> Matched:
        """Find the route, and take over what it says about answers of our own."""
        matched = self._house.rewriter.match(self._opened)
        self._route = matched.route
        self._house.routed(self._link, self._opened, matched.route)
        self._is_debug |= matched.route.debug
        self._is_cross_origin |= matched.route.aco
        return matched

    def _translate(self, matched: Matched) -> Matched:
        """Turn a request by JSON-P into the one that it means."""
        meant = read_query(matched.route, self._opened) if self._is_cross_origin else None
        if meant is None:
            return matched
        callback, self._opened = meant
        self.download.wrapping = Wrapping(callback)
        self.upload = Upload(self._opened.length, self._opened.body, False, self._grant)
        _, mark, query = self._opened.target.partition(b"?")
        return replace(matched, query=mark + query)

    async def _follow(self, matched: Matched, response: Response) -> Lasts | None:
        """Do what the origin's answer says. Not None: ask again, with these last ids."""
        route = matched.route
        if route.no_grip or matched.is_trusted or not is_grip(response.headers):
            await self._pass_on(response)
            return None
        request_body = await self.upload.finish()
        if request_body is None:
            raise Refused(reasons.REQUEST_TOO_LARGE_FOR_GRIP, "request too large for GRIP")
        status, reason, headers = response.status, response.reason, response.headers
        body, is_whole = await response.read_up_to(GRIP_BODY_MAX_BYTES)
        if is_whole:
            instruct = Instruct.from_response(status, reason, headers, body)
        else:
            instruct = Instruct.from_head(status, reason, headers)
            if is_json(headers) or not instruct.streams_body:
                raise InstructTooLarge(str(response.target))
        context = decide_context(instruct, matched, response.target)
        if not is_whole:
            await self._stream(response, instruct.response.headers, body, instruct)
        elif instruct.mode is not HoldMode.RESPONSE:
            instruct, fault = decide_content(instruct)
            if fault:
                self._end_told(instruct, fault)
                return None
        if instruct.mode is None and context.next_uri is not None:
            await self._page(instruct, context)
            return None
        return self._settle(matched, context, instruct, request_body)

    async def _page(self, instruct: Instruct, context: Context) -> None:
        """Answer, and go on at the next link (GRIP.md 1.9.2)."""
        is_held = False
        try:
            response = instruct.response
            if not self._has_begun:
                head = response.status, response.reason, response.headers
                self._respond(*head, -1, b"", more=True)
                await self.download.send(response.body)
            paging = Paging(self._house, self._link, self._ref, self.download, context)
            is_held = await paging.follow(lasts_of(instruct))
        finally:
            if context.gone_uri is not None and not is_held:
                self._house.gone.tell(self._link, self._ref, context.home, context.gone_uri)

    def _settle(
        self, matched: Matched, context: Context, instruct: Instruct, request_body: bytes
    ) -> Lasts | None:
        """Hold, or answer. One step: nothing can be published between check and HOLD."""
        house, route = self._house, matched.route
        channels = decide_channels(instruct, route.prefix, house.channels_max, context.implicit)
        if instruct.mode is HoldMode.RESPONSE:
            conflicts = decide_conflicts(channels, house.sequencer.last_id)
            if conflicts:
                for name in conflicts:
                    house.sequencer.forget(name)
                cut = len(route.prefix)
                return [(name[cut:], last) for name, last in channels if last is not None]
        if self._is_debug:
            instruct = _debugged(instruct, decide_debug(instruct, channels, context.next_uri))
        why_end = decide_end(instruct, channels)
        if instruct.mode is None or why_end:
            self._end_told(instruct, why_end)
            return None
        if self.download.wrapping is not None:
            request_body = b""  # it is in the query, and is found there again
        headers = self._held_headers(instruct)
        hold(
            house,
            self._link,
            self._ref,
            replace(instruct, response=replace(instruct.response, headers=headers)),
            route=route,
            context=context,
            current_uri=uri_of(matched),
            is_answered=self._has_begun,
            request_body=request_body,
        )
        return None

    def _end_told(self, instruct: Instruct, why: str | None) -> None:
        """Answer without a hold; in debug mode the reason follows, if it is a fault."""
        told = f"\n\n{why}\n" if why and self._is_debug else ""
        self._answer(instruct, told.encode())


def _debugged(instruct: Instruct, told: bytes) -> Instruct:
    """Tell the client what is done with its request."""
    response = instruct.response
    headers = [*response.headers, (b"Grip-Debug", told)]
    return replace(instruct, response=replace(response, headers=headers))


def _grant(link: Link, ref: int, count_bytes: int) -> None:
    link.order(codec.grant(ref, count_bytes))


# -- all of them


Talk = Exchange | Continuation


class Exchanges:
    """The requests of all workers that are neither answered nor held yet."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._slots = asyncio.Semaphore(ASKING_AGAIN_MAX)
        # At most as many as there are client connections.
        self._open: dict[Link, dict[int, tuple[Talk, asyncio.Task[None]]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def opened(self, link: Link, opened: Opened) -> None:
        """Begin an exchange."""
        self.begin(link, opened, Exchange(self.house, link, opened))

    def begin(self, link: Link, opened: Opened, exchange: Exchange) -> None:
        """Run an exchange that has been made."""
        run = exchange.run(self._slots if opened.again else None)
        self._begin(link, opened.ref, exchange, run)

    def lapsed(self, link: Link, lapsed: Lapsed) -> None:
        """Go on with a stream whose hold has lapsed."""
        try:
            continuation = Continuation(self.house, link, lapsed)
        except ValueError as error:
            log.error("cannot_continue", ref=lapsed.ref, reason=str(error))
            link.order(codec.finish(lapsed.ref))
            return
        self._begin(link, lapsed.ref, continuation, continuation.run())

    def _begin(self, link: Link, ref: int, talk: Talk, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(run)
        of_link = self._open.setdefault(link, {})
        of_link[ref] = talk, task

        def ended(task: asyncio.Task[None]) -> None:
            if of_link.get(ref, (None, None))[1] is task:
                del of_link[ref]

        task.add_done_callback(ended)

    def received(self, link: Link, received: Received) -> None:
        """Take a part of a request's body."""
        found = self._open.get(link, {}).get(received.ref)
        if found is not None and isinstance(found[0], Exchange):
            found[0].upload.received(received.content, received.more)

    def granted(self, link: Link, granted: Granted) -> None:
        """Take note that a client has taken bytes of its answer."""
        found = self._open.get(link, {}).get(granted.ref)
        if found is not None:
            found[0].download.credit.granted(granted.count_bytes)

    def closed(self, link: Link, closed: Closed) -> None:
        """End the exchange of a client that has left, or tell an origin of the end of a hold."""
        found = self._open.get(link, {}).get(closed.ref)
        if found is not None:
            found[1].cancel()
        if not closed.context:
            return
        try:
            context = Context.decode(closed.context)
        except ValueError as error:
            log.error("cannot_say_gone", ref=closed.ref, reason=str(error))
            return
        if context.gone_uri is not None:
            self.house.gone.tell(link, closed.ref, context.home, context.gone_uri)

    def lost(self, link: Link) -> None:
        """End all exchanges of a link."""
        for _, task in self._open.pop(link, {}).values():
            task.cancel()
