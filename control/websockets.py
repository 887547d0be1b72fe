"""All WebSockets that have been accepted, by session, and who is told what of them.

Knows who is there, and nothing of what they say: that is `wsover`, `wspass` and `wsgrip`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import lru_cache
from operator import methodcaller

from control.alarms import Alarms
from control.house import House
from control.link.packets import Closed, Granted, Received, Signal, Signalled
from control.link.server import Link
from control.rewrite import Rewriter
from control.routes import Route, Target
from control.wsgrip import Conversation, Way
from control.wsover import OverHttp

WAYS_MAX = 1024  # targets whose conversations share what they have in common
# Requests for clients that are gone: all those of a worker may go at once.
FAREWELLS_MAX = 100


class WebSockets:
    """The conversations of all workers."""

    def __init__(self, house: House) -> None:
        """Must be made in a running loop."""
        self._house = house
        self._delays: Alarms[Conversation] = Alarms(methodcaller("ring_delayed"))
        self._deadlines: Alarms[Conversation] = Alarms(methodcaller("ring_deadline"))
        self._farewells = asyncio.Semaphore(FAREWELLS_MAX)
        # At most as many as there are client connections.
        self._open: dict[Link, dict[int, Conversation]] = {}
        self._talking: set[Conversation] = set()
        self.way = lru_cache(WAYS_MAX)(self._way)

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def stop(self) -> None:
        """Let go of everything; no client and no origin is told."""
        self._delays.stop()
        self._deadlines.stop()
        open_ones = [one for of_link in self._open.values() for one in of_link.values()]
        self._open.clear()
        for conversation in {*open_ones, *self._talking}:
            conversation.stop()

    def _way(
        self,
        rewriter: Rewriter,
        route: Route,
        target: Target,
        *,
        is_tls: bool,
        is_trusted: bool,
        offers_grip: bool,
    ) -> Way:
        return Way(
            house=self._house,
            rewriter=rewriter,
            route=route,
            target=target,
            is_tls=is_tls,
            is_trusted=is_trusted,
            offers_grip=offers_grip,
            delays=self._delays,
            deadlines=self._deadlines,
            farewells=self._farewells,
            talking=self._talking,
            forget=self._forget,
        )

    def add(self, conversation: Conversation) -> None:
        """Tell it from now on what its session does."""
        self._open.setdefault(conversation.link, {})[conversation.ref] = conversation

    def _forget(self, conversation: Conversation) -> None:
        of_link = self._open.get(conversation.link, {})
        if of_link.get(conversation.ref) is conversation:
            del of_link[conversation.ref]

    # -- commands; each looks at all conversations, so that none has to be found otherwise

    def _over_http(self) -> Iterator[OverHttp]:
        for of_link in self._open.values():
            for conversation in of_link.values():
                if isinstance(conversation, OverHttp):
                    yield conversation

    def refresh(self, connection_id: bytes) -> bool:
        """Make one conversation ask its origin (GRIP.md 9.2). False: there is none of that id."""
        for conversation in self._over_http():
            if conversation.connection_id == connection_id:
                conversation.refreshed()
                return True
        return False

    def ids(self) -> set[str]:
        """The ids that origins know the conversations by."""
        return {conversation.connection_id.decode() for conversation in self._over_http()}

    # -- what the workers report

    def told(self, link: Link, report: Received | Granted | Signalled | Closed) -> bool:
        """Tell the conversation of a session. False: there is none."""
        conversation = self._open.get(link, {}).get(report.ref)
        if conversation is None:
            return False
        match report:
            case Received():
                conversation.received(report.kind, report.content, report.more)
            case Granted():
                conversation.granted(report.count_bytes)
            case Signalled(what=Signal.REFRESH):
                conversation.refreshed()
            case Signalled():
                conversation.closed_by_publish()
            case Closed():
                conversation.closed()
        return True

    def lost(self, link: Link) -> None:
        """End all conversations of a link: its clients are gone, or will be told to go."""
        for conversation in self._open.pop(link, {}).values():
            conversation.closed()
