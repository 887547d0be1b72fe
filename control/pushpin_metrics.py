"""The sums that Pushpin tells as metrics for Prometheus (GRIP.md 9.1).

They say less than `stats`, from which they come, and are for what already reads them.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from aiohttp import web

from control.stats import Stats

MINUTE_SECONDS = 60
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DELIVERED = ("delivered_response", "delivered_stream", "delivered_ws")


@dataclass(frozen=True, slots=True)
class Sums:
    """What has been counted since the start, but for the connections of now."""

    requests: int
    connected: int
    connection_minutes: float
    received: int  # items published
    sent: int  # items delivered to a client


class Summing:
    """Makes sums of what is counted. Minutes of connections are summed at each look."""

    def __init__(self, stats: Stats, now: float) -> None:
        self._stats = stats
        self._seen = now
        self._connected = 0
        self._minutes = 0.0

    def look(self, now: float) -> Sums:
        """Give the sums of now."""
        counts = self._stats.merged()
        self._minutes += self._connected * (now - self._seen) / MINUTE_SECONDS
        self._seen, self._connected = now, counts["sessions"]
        return Sums(
            requests=counts["requests"],
            connected=self._connected,
            connection_minutes=self._minutes,
            received=self._stats.items_count,
            sent=sum(counts[name] for name in DELIVERED),
        )


def metrics_text(sums: Sums, prefix: str) -> str:
    """Pushpin's five metrics as Prometheus reads them."""
    metrics: tuple[tuple[str, str, str, float], ...] = (
        ("request_received", "counter", "Requests of clients.", sums.requests),
        ("connection_connected", "gauge", "Client connections now.", sums.connected),
        (
            "connection_minute",
            "counter",
            "Minutes that clients were connected.",
            int(sums.connection_minutes),
        ),
        ("message_received", "counter", "Items published.", sums.received),
        ("message_sent", "counter", "Items delivered to a client.", sums.sent),
    )
    return "".join(
        f"# HELP {prefix}{name} {text}\n# TYPE {prefix}{name} {kind}\n{prefix}{name} {value}\n"
        for name, kind, text, value in metrics
    )


class PushpinMetrics:
    """Serves those metrics on a socket of their own: any GET is answered with them."""

    def __init__(self, summing: Summing, prefix: str) -> None:
        self._summing = summing
        self._prefix = prefix
        self._server = web.Server(self._answer)
        self._listener: asyncio.AbstractServer | None = None

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket."""
        loop = asyncio.get_running_loop()
        is_unix = sock.family == socket.AF_UNIX
        create = loop.create_unix_server if is_unix else loop.create_server
        self._listener = await create(self._server, sock=sock)

    async def stop(self) -> None:
        """Serve no more."""
        if self._listener is not None:
            self._listener.close()
        await self._server.shutdown(timeout=0)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return web.Response(status=405, headers={"Allow": "GET"}, text="Method not allowed.\n")
        text = metrics_text(self._summing.look(asyncio.get_running_loop().time()), self._prefix)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
