"""Control's end of the links: accepts workers, greets them, reads reports, writes orders.

Knows packets and nothing of what they mean above the greeting: whoever stands above is told of
each report through `Reports`. It never waits: what a worker does not take at once is its link's
backlog, and `LinkServer.uncongested` is how publishers wait for it (fastpath/LINK.md, 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from control.errors import LinkError
from control.link import codec, reports
from control.link.packets import AnyReport, Hello, Packet, Pong
from control.log import log

PING_SECONDS = 0.5  # between two rounds of PING: sixteen bytes for each worker
SILENT_ROUNDS_MAX = 4  # two seconds; a worker is busy for tens of milliseconds, not for so long


class Reports(Protocol):
    """Who is told what the workers report."""

    def greeted(self, link: Link) -> None:
        """A worker is linked, and can be given orders."""

    def reported(self, link: Link, report: AnyReport) -> None:
        """A greeted worker has reported something. HELLO and PONG are the link's own."""

    def lost(self, link: Link) -> None:
        """A greeted worker's link is gone; orders to it go nowhere."""


class Link(asyncio.Protocol):
    """The link of one worker, from its connection to its end."""

    def __init__(self, server: LinkServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._reader = reports.PacketReader()
        self._transport: asyncio.Transport | None = None
        self._unwritten: list[bytes] = []  # the orders of this turn of the loop
        self._fd = -1  # of the transport
        self.worker = -1  # until greeted
        self.pid = 0
        self.orders_count = 0
        self._silent_rounds = 0  # of PING, since one went out that has no answer yet

    # -- orders

    def order(self, packet: bytes) -> int:
        """Write one order; give its number, WELCOME being 1.

        The orders of one turn of the loop leave in one write.
        """
        if not self._unwritten:
            self._loop.call_soon(self.write)
        self._unwritten.append(packet)
        self.orders_count += 1
        return self.orders_count

    def write(self) -> None:
        """Write what has been ordered now, rather than at the end of the turn."""
        packets, self._unwritten = self._unwritten, []
        transport = self._transport
        if transport is None or not packets:
            return
        run = packets[0] if len(packets) == 1 else b"".join(packets)
        if transport.get_write_buffer_size() == 0 and not transport.is_closing():
            # The loop would write at the end of the turn, after the publisher has been answered:
            # its subscribers come first.
            with contextlib.suppress(OSError):  # full, or gone: the transport finds out
                run = run[os.write(self._fd, run) :]
        if run:
            transport.write(run)

    @property
    def backlog_bytes(self) -> int:
        """What has been ordered and not yet taken by the kernel."""
        written = self._transport.get_write_buffer_size() if self._transport else 0
        return written + sum(map(len, self._unwritten))

    @property
    def is_silent(self) -> bool:
        """Whether the worker is linked and does not answer: it is frozen, or much too busy."""
        return self._silent_rounds > SILENT_ROUNDS_MAX

    def ping(self) -> None:
        """Ask whether somebody is there; while no answer has come, take note of another round.

        Rounds are counted, not seconds: when it is control that was away, the answers have come
        meanwhile, and no round has gone by. One PING is out at a time, so that they do not pile
        up in front of a frozen worker.
        """
        if not self._silent_rounds:
            self.order(codec.ping())
        self._silent_rounds += 1
        if self._silent_rounds == SILENT_ROUNDS_MAX + 1:
            log.warning("worker_silent", worker=self.worker, pid=self.pid)

    def close(self) -> None:
        """Cut the link."""
        if self._transport is not None:
            self._transport.abort()

    # -- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for HELLO."""
        # uvloop's transports are no subclasses of asyncio's.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        self._fd = transport.get_extra_info("socket").fileno()
        transport.set_write_buffer_limits(high=self._server.backlog_max_bytes)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        """Take the packets that are complete, until one is malformed."""
        try:
            for packet in self._reader.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                self._take(packet)
        except LinkError as error:
            log.error("link_refused", worker=self.worker, pid=self.pid, reason=str(error))
            self.close()

    def _take(self, packet: Packet) -> None:
        report = reports.decode(packet)
        if isinstance(report, Hello):
            self._greet(report)
        elif self.worker < 0:
            raise LinkError(f"{type(report).__name__} before HELLO")
        elif isinstance(report, Pong):
            if self.is_silent:
                log.info("worker_answers", worker=self.worker, pid=self.pid)
            self._silent_rounds = 0
        else:
            self._server.reports.reported(self, report)

    def _greet(self, hello: Hello) -> None:
        if self.worker >= 0:
            raise LinkError("a second HELLO")
        if hello.worker >= self._server.worker_count:
            raise LinkError(f"worker {hello.worker} of {self._server.worker_count}, counted from 0")
        self.worker, self.pid = hello.worker, hello.pid
        self._server.greet(self)

    def eof_received(self) -> None:
        """Close: a worker that writes no more is gone."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the server."""
        self._transport = None
        self._server.disconnected(self)

    def pause_writing(self) -> None:
        """Take note that the backlog is over its limit."""
        self._server.congested(self, True)

    def resume_writing(self) -> None:
        """Take note that the backlog has shrunk."""
        self._server.congested(self, False)


class LinkServer:
    """All links."""

    def __init__(
        self,
        reports: Reports,
        *,
        worker_count: int,
        backlog_max_bytes: int,
        welcome: Callable[[], Mapping[str, object]],
        make_link: Callable[[LinkServer], Link] = Link,
    ) -> None:
        self.reports = reports
        self.worker_count = worker_count
        self.backlog_max_bytes = backlog_max_bytes
        self.links: dict[int, Link] = {}  # the greeted ones, by worker number
        self._welcome = welcome
        self._make_link = make_link
        self._connected: set[Link] = set()
        self._congested: set[Link] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.AbstractServer | None = None

    async def start(self, path: str) -> None:
        """Listen on a Unix socket. OSError if that cannot be."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(lambda: self._make_link(self), path)

    async def stop(self) -> None:
        """Stop listening and cut every link."""
        if self._listener is not None:
            self._listener.close()
        for link in list(self._connected):
            link.close()
        if self._listener is not None:
            await self._listener.wait_closed()

    async def keep_pinging(self) -> None:
        """Ask every worker at a fixed pace whether it is there, until cancelled."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            self.ping()

    def ping(self) -> None:
        """Ask every worker once (`Link.ping`)."""
        for link in self.links.values():
            link.ping()

    @property
    def silent_workers(self) -> list[int]:
        """The workers that are linked and do not answer."""
        return sorted(worker for worker, link in self.links.items() if link.is_silent)

    @property
    def is_congested(self) -> bool:
        """Whether the backlog of a link is over `backlog_max_bytes`."""
        return bool(self._congested)

    async def uncongested(self) -> None:
        """Wait until no link's backlog is over `backlog_max_bytes`."""
        await self._flowing.wait()

    # -- told by the links

    def connected(self, link: Link) -> None:
        """Note a link that has yet to say who it is."""
        self._connected.add(link)

    def greet(self, link: Link) -> None:
        """Welcome a worker. An older link with its number is dead or dying: the newer counts."""
        older = self.links.pop(link.worker, None)
        if older is not None:
            log.warning("link_replaced", worker=link.worker, pid=older.pid, by_pid=link.pid)
            self.reports.lost(older)
            older.close()
        self.links[link.worker] = link
        link.order(codec.welcome(self._welcome()))
        log.info("worker_linked", worker=link.worker, pid=link.pid)
        self.reports.greeted(link)

    def disconnected(self, link: Link) -> None:
        """Forget a link."""
        self._connected.discard(link)
        self.congested(link, False)
        if self.links.get(link.worker) is link:
            del self.links[link.worker]
            log.info("link_lost", worker=link.worker, pid=link.pid)
            self.reports.lost(link)

    def congested(self, link: Link, is_congested: bool) -> None:
        """Note that a link's backlog is over its limit, or no longer."""
        if is_congested:
            self._congested.add(link)
        else:
            self._congested.discard(link)
        if self._congested:
            self._flowing.clear()
        else:
            self._flowing.set()
