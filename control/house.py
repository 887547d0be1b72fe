"""What every request needs: the rooms that they share, and the way to an origin on their behalf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from control.bodies import NO_BODY, Whole
from control.collapse import Collapse
from control.gone import GoneLinks
from control.grip.sequence import Sequencer
from control.interest import Interest
from control.link.packets import Opened
from control.link.server import Link
from control.links import Ask, Home
from control.origin import Headers, Origins, Response
from control.pages import Pages
from control.rewrite import Rewriter
from control.route_numbers import RouteNumbers
from control.routes import Route
from control.sockjs_sessions import Sessions
from control.traffic import Traffic


@dataclass(slots=True, eq=False)
class House:
    """What every exchange needs. Must be made in a running loop."""

    rewriter: Rewriter  # another one when the routes have been read again
    origins: Origins
    sequencer: Sequencer
    interest: Interest
    channels_max: int  # of one hold
    is_debug: bool
    is_cross_origin: bool  # on every route
    shares_all: bool  # answers, on every route
    sockjs: Sessions
    routed: Callable[[Link, Opened, Route], None]  # told whenever a request's route is known
    route_numbers: RouteNumbers = field(init=False, default_factory=RouteNumbers)
    collapse: Collapse = field(init=False, default_factory=Collapse)
    pages: Pages = field(init=False)
    gone: GoneLinks = field(init=False)
    traffic: Traffic | None = field(init=False, default=None)  # if what goes to and fro is summed

    def __post_init__(self) -> None:
        """Furnish the rooms that ask origins on behalf of those who are held."""
        self.pages = Pages(self._ask)
        self.gone = GoneLinks(lambda home, uri: self.subrequest(home, uri, b"POST"))

    def stop(self) -> None:
        """Ask nothing more on behalf of anybody."""
        self.collapse.stop()
        self.pages.stop()
        self.gone.stop()

    async def subrequest(
        self,
        home: Home,
        uri: str,
        method: bytes,
        *,
        lasts: Sequence[tuple[str, str]] = (),
        headers: Headers = (),
        body: Whole = NO_BODY,
    ) -> Response:
        """Make a request of our own for a session (GRIP.md 1.9.2). OriginError: no answer."""
        targets, ask = self.rewriter.subrequests(home, uri, method, lasts, headers)
        return await self.origins.call(targets, ask, body)

    async def _ask(self, ask: Ask) -> Response:
        return await self.subrequest(ask.home, ask.uri, b"GET", lasts=ask.ordered)
