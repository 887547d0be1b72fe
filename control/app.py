"""The control process: assembly and lifecycle. The only room that knows every other.

Starts in order and stops in reverse; wires what workers report to who wants to know; decides
nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import uvloop

from control import test_target
from control.api_server import ApiServer
from control.config import Settings, SettingsError
from control.counted_origins import CountedOrigins
from control.errors import EXIT_CANNOT_START
from control.exchange import Exchanges
from control.filtering import Filtering
from control.first_subscriptions import FirstSubscriptions
from control.grip.fields import to_text
from control.grip.sequence import Sequencer
from control.handshake import Handshake
from control.house import House
from control.ingest import Ingest
from control.interest import Interest
from control.link.packets import (
    AnyReport,
    Closed,
    Freed,
    Granted,
    Held,
    Kind,
    Lapsed,
    Met,
    Opened,
    Received,
    Signalled,
    Synced,
    Tally,
)
from control.link.server import Link, LinkServer
from control.link.watched import WatchedLink
from control.listeners import ListenError, open_listeners
from control.log import log
from control.origin import Origins
from control.publish import Publisher
from control.pushpin_metrics import PushpinMetrics, Summing
from control.rewrite import Rewriter
from control.routes import Route
from control.routes_load import load_routes
from control.sockjs_sessions import Sessions
from control.stats import Stats
from control.traffic import Traffic
from control.watched_interest import WatchedInterest
from control.websockets import WebSockets

ROUTES_CHECK_SECONDS = 1.0  # how soon a change of the routes file is seen
if TYPE_CHECKING:
    from control.zeromq.doors import Doors
    from control.zeromq.stats_out import Telling

LINGER_CHECK_SECONDS = 1.0  # how exact subscription_linger is


def run(
    settings: Settings, link_path: str, sockets: Sequence[socket.socket], worker_count: int
) -> None:
    """Run control until SIGTERM or SIGINT.

    Listens for workers on `link_path`, and for publishers on the listening `sockets`.
    """
    try:
        uvloop.run(_run(settings, link_path, sockets, worker_count))
    except (SettingsError, ListenError, OSError) as error:
        log.error("cannot_start", why=str(error))
        sys.exit(EXIT_CANNOT_START)


async def _run(
    settings: Settings, link_path: str, sockets: Sequence[socket.socket], worker_count: int
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with started(settings, link_path, sockets, worker_count) as control:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, control.reload_routes)
        gc.collect()
        gc.freeze()  # what has been made so far stays: no collection needs to look at it again
        log.info("started", link=link_path)
        await stop.wait()
        log.info("stopping")


@contextlib.asynccontextmanager
async def started(
    settings: Settings, link_path: str, sockets: Sequence[socket.socket], worker_count: int
) -> AsyncIterator[Control]:
    """Everything that control is, running."""
    control = Control(settings, worker_count)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(control.origins.close)
        stack.callback(control.publisher.stop)
        stack.push_async_callback(control.links.stop)
        stack.callback(control.close_doors)
        control.open_doors()
        await control.links.start(link_path)
        stack.callback(control.websockets.stop)
        stack.callback(control.stop_asking)
        stack.push_async_callback(control.api.stop)
        await control.api.start(sockets)
        await control.serve_pushpin_metrics(stack)
        watches = (control.end_lingering(), control.watch_routes(), control.links.keep_pinging())
        for watch in watches:
            stack.callback(asyncio.create_task(watch).cancel)
        yield control


class Control:
    """The rooms of the control process, and who is told what."""

    def __init__(self, settings: Settings, worker_count: int) -> None:
        """Must be made in a running loop. SettingsError if there are no routes."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        rewriter = self._load_routes()
        self._doors: Doors | None = None
        self._telling: Telling | None = None
        self._first: FirstSubscriptions | None = None
        self._interest = self._make_interest()
        self._sequencer = Sequencer(
            wait_seconds=settings.message_wait / 1000, id_ttl_seconds=settings.id_cache_ttl
        )
        self.links = LinkServer(
            self,
            worker_count=worker_count,
            backlog_max_bytes=settings.link_backlog_max_bytes,
            welcome=settings.for_worker,
            make_link=self._watched if settings.stats_spec else Link,
        )
        self._stats = Stats(
            channels_count=lambda: len(self._interest.channels()),
            backlogs=lambda: {n: link.backlog_bytes for n, link in self.links.links.items()},
            unsequenced=lambda: {
                "duplicate": self._sequencer.duplicate_count,
                "out_of_order": self._sequencer.overflow_count,
            },
        )
        self._summing = Summing(self._stats, self._loop.time())
        self.origins = (CountedOrigins if settings.stats_spec else Origins)(
            connect_timeout_seconds=settings.origin_connect_timeout_seconds,
            silence_timeout_seconds=settings.origin_timeout_seconds,
            called=self._stats.origin_called,
            built_in=test_target.answer,
        )
        self.publisher = Publisher(
            sequencer=self._sequencer,
            interest=self._interest,
            links=self.links.links,
            stats=self._stats,
        )
        limits = {
            "head_max_bytes": settings.push_in_http_max_headers_size,
            "body_max_bytes": settings.push_in_http_max_body_size,
        }
        ingest = Ingest(self.publisher, self.links, self._stats, **limits)
        self.api = ApiServer(ingest, **limits)
        self._house = House(
            rewriter=rewriter,
            origins=self.origins,
            sequencer=self._sequencer,
            interest=self._interest,
            channels_max=settings.connection_subscription_max,
            is_debug=settings.debug,
            is_cross_origin=settings.auto_cross_origin,
            shares_all=settings.share_all,
            sockjs=Sessions(settings.client_addresses[0], settings.sockjs_url),
            routed=self._routed,
        )
        self._house.route_numbers.learn(rewriter.routes)
        self._exchanges = Exchanges(self._house)
        self._filtering = Filtering(self._house)
        if settings.update_on_first_subscription:
            self._first = FirstSubscriptions(self.publisher.update)
        self.websockets = WebSockets(self._house)

    # -- for those who know Pushpin

    async def serve_pushpin_metrics(self, stack: contextlib.AsyncExitStack) -> None:
        """Serve Pushpin's metrics where they are asked for, until `stack` ends. OSError."""
        address = self._settings.prometheus_address
        if address is None:
            return
        listeners = open_listeners([], [address], worker_count=0)
        stack.callback(listeners.close)
        log.info("metrics_open", listen=",".join(map(str, listeners.control_addresses)))
        for sock in listeners.control:
            metrics = PushpinMetrics(self._summing, self._settings.prometheus_prefix)
            stack.push_async_callback(metrics.stop)
            await metrics.start(sock)

    def _make_interest(self) -> Interest:
        settings = self._settings
        if not settings.push_in_sub_specs and not settings.update_on_first_subscription:
            return Interest(settings.subscription_linger)
        return WatchedInterest(
            settings.subscription_linger, gained=self._gained, forgotten=self._forgotten
        )

    def _gained(self, channel: str) -> None:
        if self._doors is not None:
            self._doors.gained(channel)
        if self._first is not None:
            self._first.gained(channel)

    def _forgotten(self, channel: str) -> None:
        if self._doors is not None:
            self._doors.forgotten(channel)
        if self._first is not None:
            self._first.call_off(channel)

    def open_doors(self) -> None:
        """Open what speaks ZeroMQ, if anything is asked for. OSError if that cannot be."""
        if not self._settings.zeromq_names:
            return
        # Only here is it imported: it is an extra, and costs memory.
        from control.zeromq.doors import Doors  # noqa: PLC0415

        self._doors = Doors(
            self._settings,
            publisher=self.publisher,
            websockets=self.websockets,
            links=self.links,
            summing=self._summing,
            route_of=self._house.route_numbers.id_of,
        )
        self._telling = self._doors.telling
        if self._telling is not None:
            self._sum_up(self._telling.traffic)

    def _sum_up(self, traffic: Traffic) -> None:
        """Let everybody who moves something say so."""
        self._house.traffic = traffic
        self.publisher.received = traffic.published
        if isinstance(self.origins, CountedOrigins):
            self.origins.count = traffic.add

    def _watched(self, server: LinkServer) -> Link:
        return WatchedLink(server, self._ordered)

    def _ordered(self, link: Link, order: bytes) -> None:
        if self._telling is not None:
            self._telling.ordered(link.worker, order)

    def _routed(self, link: Link, opened: Opened, route: Route) -> None:
        if self._telling is not None:
            self._telling.routed(link.worker, link.pid, opened, route)

    def close_doors(self) -> None:
        """Close what speaks ZeroMQ."""
        if self._doors is not None:
            self._doors.close()
            self._doors = self._telling = None

    def stop_asking(self) -> None:
        """End the sessions of SockJS, and ask nothing more on behalf of those who are held."""
        self._house.sockjs.stop()
        self._filtering.stop()
        self._house.stop()
        if self._first is not None:
            self._first.stop()

    # -- routes

    def _load_routes(self) -> Rewriter:
        """Read the routes; what is wrong with them is logged. SettingsError: there are none."""
        self._routes_stamp = self._settings.routes_stamp()  # before: a change meanwhile is seen
        routes, errors = load_routes(self._settings)
        for error in errors:
            log.warning("route_warning" if error.is_warning else "route_skipped", why=str(error))
        rewriter = Rewriter(self._settings, routes)
        for problem in rewriter.problems:
            log.error("key_unusable", why=problem)
        log.info("routes_loaded", count=len(routes))
        return rewriter

    def reload_routes(self) -> None:
        """Read the routes again; if that cannot be, the old ones stay. Touches no connection."""
        try:
            self._house.rewriter = self._load_routes()
            self._house.route_numbers.learn(self._house.rewriter.routes)
        except SettingsError as error:
            log.error("routes_kept", why=str(error))
        else:
            self.origins.destinations.forget()  # the files of a target may have changed too

    async def watch_routes(self) -> None:
        """Read the routes again whenever their file has changed."""
        while True:
            await asyncio.sleep(ROUTES_CHECK_SECONDS)
            if self._settings.routes_stamp() != self._routes_stamp:
                self.reload_routes()

    # -- what the workers report

    def greeted(self, link: Link) -> None:
        """Take up a worker."""
        self._interest.greeted(link.worker)
        self._stats.worker_greeted(link.worker, link.pid)

    def lost(self, link: Link) -> None:
        """Forget a worker."""
        self._exchanges.lost(link)
        self.websockets.lost(link)
        self._filtering.lost(link)
        self._interest.lost(link.worker, self._loop.time())
        self._stats.worker_lost(link.worker)
        if self._telling is not None:
            self._telling.lost(link.worker)

    def reported(self, link: Link, report: AnyReport) -> None:
        """Tell whoever a report concerns."""
        if self._telling is not None:
            self._telling.reported(link.worker, report)
        match report:
            case Opened(websocket=True):
                handshake = Handshake(self._house, self.websockets, link, report)
                self._exchanges.begin(link, report, handshake)
            case Opened():
                self._exchanges.opened(link, report)
            case Received(kind=Kind.BODY):
                self._exchanges.received(link, report)
            case Received() | Signalled():
                self.websockets.told(link, report)
            case Granted():
                if not self.websockets.told(link, report):
                    self._exchanges.granted(link, report)
            case Closed():
                if not self.websockets.told(link, report):
                    self._exchanges.closed(link, report)
            case Lapsed():
                self._exchanges.lapsed(link, report)
            case Met():
                self._filtering.met(link, report)
            case Held():
                self._held(link, report)
            case Freed():
                self._freed(link, report)
            case Synced():
                self._interest.synced(link.worker)
            case Tally():
                self._stats.worker_tallied(link.worker, report.counts)
            case _:
                pass  # what only those who are told all of it want to know

    def _held(self, link: Link, held: Held) -> None:
        channel = to_text(held.channel)
        self._interest.held(link.worker, channel, held.modes)
        if self._first is not None:  # it has been held before this control knew of it
            self._first.call_off(channel)

    def _freed(self, link: Link, freed: Freed) -> None:
        channel = to_text(freed.channel)
        now = self._loop.time()
        if self._interest.freed(link.worker, channel, freed.modes, freed.orders_count, now):
            self._sequencer.forget(channel)

    async def end_lingering(self) -> None:
        """Forget the last ids of channels that have lingered long enough."""
        while True:
            await asyncio.sleep(LINGER_CHECK_SECONDS)
            for channel in self._interest.expire(self._loop.time()):
                self._sequencer.forget(channel)
