"""One request's life in control: from OPENED to the order that answers or holds it.

What to do is decided by the pure `decide_…` functions; what has to be waited for is awaited in
`Exchange`, one task a request. After HOLD nothing of the request is left here: holds live in the
worker (fastpath/LINK.md, invariant 1). Never touches a client's socket, and frames nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from control import reasons
from control.answering import Answering
from control.bodies import Upload
from control.errors import InstructError, OriginError
from control.grip import wsevents
from control.grip.fields import first, to_bytes, to_text
from control.grip.instruct import (
    GRIP_BODY_MAX_BYTES,
    HoldMode,
    Instruct,
    KeepAliveMode,
    is_grip,
    is_json,
)
from control.grip.sequence import Sequencer
from control.interest import Interest
from control.jsonp import BadQuery, Wrapping, read_query
from control.link import codec
from control.link.packets import (
    Closed,
    Granted,
    KeepAlive,
    Mode,
    Opened,
    Received,
)
from control.link.server import Link
from control.log import log
from control.origin import Origins, Response
from control.reasons import Reason, Refusal
from control.rewrite import Lasts, Matched, Refused, Rewriter
from control.routes import Route, Target
from control.sockjs import rest_of
from control.sockjs_sessions import Reply, Sessions

# Holds that ask again because of one item are as many as its subscribers: so many at once.
ASKING_AGAIN_MAX = 100
# After a first conflict of ids the origin is asked at once, then at this pace (GRIP.md 1.10).
CONFLICT_PAUSE_SECONDS = 0.1

INTERNAL_ERROR = Refusal(500, Reason.INTERNAL.text)
HOLD_MODES = {HoldMode.RESPONSE: Mode.RESPONSE, HoldMode.STREAM: Mode.STREAM}
KEEP_ALIVE_MODES = {KeepAliveMode.IDLE: KeepAlive.IDLE, KeepAliveMode.INTERVAL: KeepAlive.INTERVAL}

Channels = Sequence[tuple[str, str | None]]  # (full name, prev-id)


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


def decide_channels(
    instruct: Instruct, prefix: str, channels_max: int, implicit: Sequence[str] = ()
) -> Channels:
    """Name the channels to hold; what is over the limit is cut off the end (GRIP.md 8.7).

    `implicit` are those of the target, which have no prefix (7.5).
    """
    channels = [(name, None) for name in implicit]
    return [*channels, *((prefix + c.name, c.prev_id) for c in instruct.channels)][:channels_max]


def decide_conflicts(channels: Channels, last_id: Callable[[str], str | None]) -> list[str]:
    """Find the channels on which something has been published since the origin looked (1.8)."""
    return [
        name
        for name, prev_id in channels
        if prev_id is not None and last_id(name) not in (None, prev_id)
    ]


def decide_end(instruct: Instruct, channels: Channels) -> str | None:
    """Say why a stream ends after its body: a gap could not be closed (GRIP.md 1.7)."""
    if instruct.mode is HoldMode.STREAM and instruct.next_link is None:
        for name, prev_id in channels:
            if prev_id is not None:
                return f"channel '{name}' specifies prev-id, but no next link found"
    return None


def decide_hold(
    ref: int, instruct: Instruct, channels: Channels, *, request_body: bytes, is_answered: bool
) -> bytes:
    """Make the HOLD order of an instruct that holds."""
    assert instruct.mode is not None
    is_stream = instruct.mode is HoldMode.STREAM
    alive = instruct.keep_alive if is_stream else None
    response = instruct.response
    return codec.hold(
        ref,
        mode=HOLD_MODES[instruct.mode],
        # The ids of a stream are for following next links, which is not done yet.
        channels=[
            (to_bytes(name), None if is_stream or last is None else to_bytes(last))
            for name, last in channels
        ],
        timeout_ms=0 if is_stream else instruct.timeout_seconds * 1000,
        keep_alive_mode=KEEP_ALIVE_MODES[alive.mode] if alive else KeepAlive.NONE,
        keep_alive_ms=alive.timeout_seconds * 1000 if alive else 0,
        keep_alive=alive.content if alive else b"",
        answered=is_answered,
        status=0 if is_answered else response.status,
        reason=b"" if is_answered else response.reason,
        headers=() if is_answered else response.headers,
        body=b"" if is_answered else response.body,
        request_body=b"" if is_stream else request_body,
    )


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


@dataclass(slots=True)
class House:
    """What every exchange needs."""

    rewriter: Rewriter  # another one when the routes have been read again
    origins: Origins
    sequencer: Sequencer
    interest: Interest
    channels_max: int  # of one hold
    is_debug: bool
    is_cross_origin: bool  # on every route
    sockjs: Sessions


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
            self._wrapping = None
            self._refuse(reasons.JSONP_NOT_UTF8)
        except (OriginError, InstructError) as error:
            kind = "bad_instruct" if isinstance(error, InstructError) else "origin_failed"
            self._log("warning", kind, reason=str(error))
            self._refuse(decide_refusal(error, is_debug=self._is_debug))
        except Exception:
            log.exception("internal_error", where="exchange", path=self._path)
            self._refuse(INTERNAL_ERROR, cut=Reason.INTERNAL)

    async def _converse(self, slots: asyncio.Semaphore | None) -> None:
        rewriter = self._house.rewriter
        matched = self._match()
        if rest_of(matched.path, matched.route.sockjs) is not None:
            reply = Reply(self._respond, self._send, self._end)
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
            ask = rewriter.requests(matched, self._opened, lasts)
            async with slots or contextlib.nullcontext():
                response = await self._house.origins.call(route.targets, ask, self.upload)
            try:
                conflicting = await self._follow(matched, response)
            finally:
                response.close()
            if conflicting is None:
                return
            lasts = conflicting

    def _match(self) -> Matched:
        """Find the route, and take over what it says about answers of our own."""
        matched = self._house.rewriter.match(self._opened)
        self._route = matched.route
        self._is_debug |= matched.route.debug
        self._is_cross_origin |= matched.route.aco
        return matched

    def _translate(self, matched: Matched) -> Matched:
        """Turn a request by JSON-P into the one that it means."""
        meant = read_query(matched.route, self._opened) if self._is_cross_origin else None
        if meant is None:
            return matched
        callback, self._opened = meant
        self._wrapping = Wrapping(callback)
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
            return self._settle(route, response.target, instruct, request_body)
        instruct = Instruct.from_head(status, reason, headers)
        if is_json(headers) or not instruct.streams_body:
            raise InstructTooLarge(str(response.target))
        await self._stream(response, instruct.response.headers, body, instruct)
        return self._settle(route, response.target, instruct, request_body)

    def _settle(
        self, route: Route, target: Target, instruct: Instruct, request_body: bytes
    ) -> Lasts | None:
        """Hold, or answer. One step: nothing can be published between check, mark and HOLD."""
        house = self._house
        channels = decide_channels(instruct, route.prefix, house.channels_max, target.sub)
        if instruct.mode is HoldMode.RESPONSE:
            conflicts = decide_conflicts(channels, house.sequencer.last_id)
            if conflicts:
                for name in conflicts:
                    house.sequencer.forget(name)
                cut = len(route.prefix)
                return [(name[cut:], last) for name, last in channels if last is not None]
        why_end = decide_end(instruct, channels)
        if instruct.mode is None or why_end:
            told = f"\n\n{why_end}\n" if why_end and self._is_debug else ""
            self._answer(instruct, told.encode())
            return None
        headers = [*self._readable(instruct.response.headers)]
        if self._wrapping is not None:
            request_body = b""  # it is in the query, and is found there again
            if instruct.mode is HoldMode.RESPONSE:
                headers.insert(0, self._wrapping.callback.mark)
        hold = decide_hold(
            self._ref,
            replace(instruct, response=replace(instruct.response, headers=headers)),
            channels,
            request_body=request_body,
            is_answered=self._has_begun,
        )
        number = self._link.order(hold)
        for name, _ in channels:
            house.interest.mark(self._link.worker, name, HOLD_MODES[instruct.mode], number)
        return None


def _grant(link: Link, ref: int, count_bytes: int) -> None:
    link.order(codec.grant(ref, count_bytes))


# -- all of them


class Exchanges:
    """The requests of all workers that are neither answered nor held yet."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._slots = asyncio.Semaphore(ASKING_AGAIN_MAX)
        # At most as many as there are client connections.
        self._open: dict[Link, dict[int, tuple[Exchange, asyncio.Task[None]]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def opened(self, link: Link, opened: Opened) -> None:
        """Begin an exchange."""
        self.begin(link, opened, Exchange(self.house, link, opened))

    def begin(self, link: Link, opened: Opened, exchange: Exchange) -> None:
        """Run an exchange that has been made."""
        task = asyncio.create_task(exchange.run(self._slots if opened.again else None))
        of_link = self._open.setdefault(link, {})
        of_link[opened.ref] = exchange, task

        def ended(task: asyncio.Task[None]) -> None:
            if of_link.get(opened.ref, (None, None))[1] is task:
                del of_link[opened.ref]

        task.add_done_callback(ended)

    def received(self, link: Link, received: Received) -> None:
        """Take a part of a request's body."""
        found = self._open.get(link, {}).get(received.ref)
        if found is not None:
            found[0].upload.received(received.content, received.more)

    def granted(self, link: Link, granted: Granted) -> None:
        """Take note that a client has taken bytes of its answer."""
        found = self._open.get(link, {}).get(granted.ref)
        if found is not None:
            found[0].credit.granted(granted.count_bytes)

    def closed(self, link: Link, closed: Closed) -> None:
        """End the exchange of a client that has left."""
        found = self._open.get(link, {}).get(closed.ref)
        if found is not None:
            found[1].cancel()

    def lost(self, link: Link) -> None:
        """End all exchanges of a link."""
        for _, task in self._open.pop(link, {}).values():
            task.cancel()
