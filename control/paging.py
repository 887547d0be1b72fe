"""The pages of one client's stream, one after the other, until it is held or over (GRIP.md 1.9.2).

A stream comes here when its answer has a next link and no hold, or when its hold lapses. What
others can share of it is in `pages`; here is what each session has of its own. Never holds
anything itself, and never asks an origin.
"""

from __future__ import annotations

from collections.abc import Sequence

from control.download import Download
from control.errors import FilterError, InstructError, OriginError
from control.grip.fields import to_text
from control.grip.instruct import HoldMode, Instruct
from control.holds import Channels, decide_channels, decide_end, hold
from control.house import House
from control.link import codec
from control.link.packets import Lapse, Lapsed
from control.link.server import Link
from control.links import Ask, Context, Lasts, lasts_of
from control.log import log
from control.reasons import Reason
from control.routes import Route
from control.sharing import Reader, TooSlow


class Paging:
    """One client's stream while its links are followed."""

    def __init__(
        self, house: House, link: Link, ref: int, download: Download, context: Context
    ) -> None:
        self.download = download
        self._house = house
        self._link = link
        self._ref = ref
        self._context = context
        self._is_mid_page = False  # a part of a page has been sent

    async def follow(
        self, lasts: Lasts, *, followed: frozenset[str] = frozenset(), is_urgent: bool = True
    ) -> bool:
        """Send page after page; whether the stream is held then. Otherwise it has been ended.

        `lasts` are what the session has seen so far; what comes on the channels that are
        `followed` waits for it in its worker.
        """
        try:
            while self._context.next_uri is not None:
                uri = self._context.next_uri
                ask = Ask.to(self._context.home, uri, lasts)
                reader = await self._house.pages.get(ask, is_urgent=is_urgent)
                try:
                    self._context = self._context.linked(reader.instruct, uri)
                    await self._relay(reader)
                finally:
                    reader.close()
                if reader.instruct.mode is HoldMode.STREAM:
                    return self._hold(reader.instruct, uri, followed)
                lasts, is_urgent = lasts_of(reader.instruct), True
            self.download.end()
        except TooSlow:
            self.cut(Reason.SLOW)
        except OriginError as error:
            self._fail("Failed to retrieve next link.", str(error))
        except InstructError as error:
            self._fail(str(error), str(error))
        except FilterError as error:
            self._fail(f"filter error: {error}", str(error))
        return False

    async def _relay(self, reader: Reader) -> None:
        self._is_mid_page = False
        while piece := await reader.read():
            self._is_mid_page = True
            await self.download.send(piece)
        self._is_mid_page = False

    def _hold(self, instruct: Instruct, uri: str, followed: frozenset[str]) -> bool:
        route = self._route()
        if route is None:
            raise OriginError("the route is no more")
        house = self._house
        channels: Channels = decide_channels(instruct, route.prefix, house.channels_max)
        why_end = decide_end(instruct, channels)
        if why_end:
            raise InstructError(why_end)
        hold(
            house,
            self._link,
            self._ref,
            instruct,
            route=route,
            context=self._context,
            current_uri=uri,
            followed=followed,
            is_answered=True,
        )
        return True

    def _fail(self, told: str, why: str) -> None:
        """End the stream; a page that has broken off cannot be made to look complete."""
        log.info("stream_ended", ref=self._ref, reason=why)
        if self._is_mid_page:
            self.cut(Reason.ORIGIN_FAILED)
            return
        route = self._route()
        is_debug = self._house.is_debug or (route is not None and route.debug)
        self.download.end(f"\n\n{told}\n".encode() if is_debug else b"")

    def cut(self, reason: Reason) -> None:
        """Cut the client off."""
        self._link.order(codec.close(self._ref, reason))

    def _route(self) -> Route | None:
        return self._house.rewriter.route_of(self._context.home)


class Continuation:
    """A stream whose hold has lapsed, until it is held again or over."""

    def __init__(self, house: House, link: Link, lapsed: Lapsed) -> None:
        """ValueError if the hold was made by another version."""
        context = Context.decode(lapsed.context)
        self.download = Download(link, lapsed.ref)
        self._is_urgent = lapsed.why is Lapse.HINT
        route = house.rewriter.route_of(context.home)
        prefix = "" if route is None else route.prefix
        self._followed = frozenset(to_text(name) for name, _ in lapsed.lasts)
        self._lasts = _without(prefix, lapsed.lasts)
        self._paging = Paging(house, link, lapsed.ref, self.download, context)

    async def run(self) -> None:
        """Follow the link."""
        try:
            await self._paging.follow(
                self._lasts, followed=self._followed, is_urgent=self._is_urgent
            )
        except Exception:
            log.exception("internal_error", where="paging")
            self._paging.cut(Reason.INTERNAL)


def _without(prefix: str, lasts: Sequence[tuple[bytes, bytes]]) -> Lasts:
    return tuple((to_text(name).removeprefix(prefix), to_text(last)) for name, last in lasts)
