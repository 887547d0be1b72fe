"""Assembly of one worker: sockets, signals, the link, drain. Knows every room, decides nothing.

A worker has no configuration file. It is told where to listen and where the link is, learns the
rest from WELCOME, and listens only once control has greeted it: until then, clients wait in the
accept queue. It ends when it is told to (SIGTERM, SIGINT, DRAIN, or the end of stdin, which the
supervisor holds) and every session is gone, or the deadline has passed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys

import structlog
import uvloop

from fastpath.fanout import Fanout
from fastpath.http_session import HttpSession
from fastpath.link import Link
from fastpath.session import Roster
from fastpath.settings import Limits
from fastpath.table import HoldTable
from fastpath.tally import Tally
from fastpath.wheel import Wheel
from fastpath.ws_session import WsSession

ACCEPT_BACKLOG = 4096
RECONNECT_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # then the last, again and again
TALLY_SECONDS = 1.0  # as fresh as a scrape needs
LOG_KEYS = ["time", "level", "role", "worker", "event"]


def _log(level: str, as_json: bool, worker: int) -> structlog.typing.FilteringBoundLogger:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.processors.LogfmtRenderer(key_order=LOG_KEYS),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    return structlog.get_logger(role="worker", worker=worker)


class Worker:
    """One data-plane process: an event loop, its sessions, its link."""

    def __init__(self, loop, options, log):
        self._loop = loop
        self._options = options
        self._log = log
        self._roster = None
        self._fanout = None
        self._link = None
        self._servers = []
        self._attempt = 0
        self._dropped = 0  # deliveries of which it has been warned
        self._stop_seconds = 0.0
        self._stopped = loop.create_future()

    async def run(self):
        """Work until told to stop."""
        loop = self._loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        loop.add_reader(sys.stdin.fileno(), self._supervisor_gone)
        self._connect_soon()
        await self._stopped

    # -- the link -----------------------------------------------------------------------------

    def _connect_soon(self):
        if self._stopped.done():
            return
        delay = RECONNECT_SECONDS[min(self._attempt, len(RECONNECT_SECONDS) - 1)]
        self._attempt += 1
        self._loop.call_later(delay, lambda: self._loop.create_task(self._connect()))

    async def _connect(self):
        try:
            await self._loop.create_unix_connection(self._new_link, self._options.link)
        except OSError as wrong:
            self._log.debug("no_link", error=str(wrong))
            self._connect_soon()

    def _new_link(self):
        if self._link is None:
            tally = Tally()
            limits = Limits(LIMITS_BEFORE_WELCOME)
            self._roster = Roster(self._loop, HoldTable(), Wheel(), tally, limits)
            self._roster.report = self._report
            if self._options.log_level == "debug":
                self._roster.refused = self._refused
            self._roster.make_websocket = WsSession
            self._fanout = Fanout(self._roster)
            self._link = Link(
                self._roster,
                self._fanout,
                self._loop,
                self._options.worker,
                on_welcome=self._welcome,
                on_lost=self._link_lost,
                on_drain=self.drain,
            )
            self._roster.upstream = self._link
        return self._link

    def _welcome(self, settings):
        self._attempt = 0
        self._roster.set_limits(Limits(settings))
        self._fanout.limit(
            settings["message_rate"],
            settings["worker_count"],
            settings["message_hwm"],
            settings["message_block_size"],
        )
        self._stop_seconds = settings["stop_timeout_ms"] / 1000
        self._log.debug("link_up")
        if not self._servers and not self._roster.draining:
            self._loop.create_task(self._listen())
            self._loop.call_later(TALLY_SECONDS, self._send_tally)

    def _link_lost(self):
        if not self._stopped.done():
            self._log.warning("link_lost")
            self._connect_soon()

    def _send_tally(self):
        if self._stopped.done():
            return
        self._loop.call_later(TALLY_SECONDS, self._send_tally)
        counters = self._roster.tally.snapshot()
        counters["channels"] = self._roster.table.channel_count
        self._link.report_tally(counters)
        self._link.report_served()
        self._warn_of_dropped(counters["dropped_hwm"])

    def _warn_of_dropped(self, count):
        if count > self._dropped:
            self._log.warning("message_hwm_exceeded", dropped=count - self._dropped)
        self._dropped = count

    def _report(self, event, ref, wrong):
        self._log.error(event, ref=f"{ref:016x}", error=repr(wrong))

    def _refused(self, ref, status, text):
        self._log.debug("refused", ref=f"{ref:016x}", status=status, reason=text.decode().strip())

    # -- listening, and the end -----------------------------------------------------------------

    async def _listen(self):
        for fd in self._options.listen_fd:
            listener = socket.socket(fileno=fd)
            make = self._loop.create_server
            if listener.family == socket.AF_UNIX:
                make = self._loop.create_unix_server
            self._servers.append(
                await make(lambda: HttpSession(self._roster), sock=listener, backlog=ACCEPT_BACKLOG)
            )
        gc.collect()
        gc.freeze()
        self._log.debug("listening")

    def _supervisor_gone(self):
        if not os.read(sys.stdin.fileno(), 4096):
            self._loop.remove_reader(sys.stdin.fileno())
            self.drain()

    def drain(self):
        """Stop accepting, finish ordinary requests, close holds, end. A second call ends now."""
        if self._roster is None or self._roster.draining:
            self._finish()
            return
        for server in self._servers:
            server.close()
        self._roster.drain()
        self._log.debug("draining", sessions=self._roster.live_count)
        self._loop.call_later(self._stop_seconds, self._finish)
        self._watch_end()

    def _watch_end(self):
        if self._roster.live_count == 0:
            self._loop.call_soon(self._finish)  # reports of this turn leave first
        elif not self._stopped.done():
            self._loop.call_later(0.02, self._watch_end)

    def _finish(self):
        if not self._stopped.done():
            self._stopped.set_result(None)


# What holds until WELCOME has come; nothing is accepted before.
LIMITS_BEFORE_WELCOME = {
    "head_bytes_max": 0,
    "head_timeout_ms": 0,
    "idle_timeout_ms": 0,
    "stall_timeout_ms": 0,
    "request_body_max_bytes": 0,
    "client_max": 0,
    "ws_message_max_bytes": 0,
    "allow_compression": False,
    "reasons": {},
}


def main(argv: list[str] | None = None) -> None:
    """Run one worker; `python -m fastpath`, started by the supervisor."""
    parser = argparse.ArgumentParser(prog="python -m fastpath", description=main.__doc__)
    parser.add_argument("--worker", type=int, required=True, help="number of this worker")
    parser.add_argument("--link", required=True, help="path of control's link socket")
    parser.add_argument(
        "--listen-fd", type=int, action="append", required=True, help="inherited listening socket"
    )
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", choices=["logfmt", "json"], default="logfmt")
    options = parser.parse_args(argv)
    log = _log(options.log_level, options.log_format == "json", options.worker)

    async def work():
        await Worker(asyncio.get_running_loop(), options, log).run()

    uvloop.run(work())
