"""A small chat behind Fanway, twice: as a web application, and as a WebSocket server.

Both put every client on the channel `room`, greet it, and send back what it says. The one answers
WebSocket-over-HTTP with gripcontrol's functions, the other speaks the `grip` extension.
"""

from __future__ import annotations

import json
import queue
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web
from gripcontrol import (
    WebSocketEvent,
    decode_websocket_events,
    encode_websocket_events,
    websocket_control_message,
)
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from support.fanway import Fanway

EVENTS = "application/websocket-events"
SUBPROTOCOL = "chat.example"
SUBSCRIBE = "c:" + websocket_control_message("subscribe", {"channel": "room"})
GREETING = "m:welcome"
BODY_MAX_BYTES = 4 << 20


def _events(request_events: list[WebSocketEvent]) -> Iterator[WebSocketEvent]:
    """What the web application answers to the events of one request."""
    for event in request_events:
        if event.type == "OPEN":
            yield WebSocketEvent("OPEN")
            yield WebSocketEvent("TEXT", SUBSCRIBE)
            yield WebSocketEvent("TEXT", GREETING)
        elif event.type in ("TEXT", "BINARY"):
            yield WebSocketEvent(event.type, b"m:" + event.content)
        elif event.type == "PING":
            yield WebSocketEvent("PONG", event.content)
        elif event.type == "CLOSE":
            yield event


@dataclass
class Chat:
    """The web application, and what pages have told it."""

    told: queue.Queue[str] = field(default_factory=queue.Queue)
    page: str = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Serve it. Its port."""
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_post("/over-http", self._websocket)
        app.router.add_get("/sse", self._sse)
        app.router.add_get("/", self._page)
        app.router.add_post("/told", self._told)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
        await runner.cleanup()

    async def _websocket(self, request: web.Request) -> web.Response:
        events = decode_websocket_events(await request.read())
        headers = {"Content-Type": EVENTS}
        if events and events[0].type == "OPEN":
            headers["Sec-WebSocket-Extensions"] = "grip"
            if SUBPROTOCOL in request.headers.get("Sec-WebSocket-Protocol", ""):
                headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        return web.Response(body=encode_websocket_events(_events(events)), headers=headers)

    async def _sse(self, _request: web.Request) -> web.Response:
        hold = {"Grip-Hold": "stream", "Grip-Channel": "room"}
        return web.Response(text=":\n\n", content_type="text/event-stream", headers=hold)

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.page, content_type="text/html")

    async def _told(self, request: web.Request) -> web.Response:
        self.told.put(await request.text())
        return web.Response(status=204)


@asynccontextmanager
async def chat_server() -> AsyncIterator[int]:
    """The WebSocket server. Its port."""

    async def chat(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await client.send(SUBSCRIBE)
            await client.send(GREETING)
            async for message in client:
                await client.send("m:" + message if isinstance(message, str) else b"m:" + message)

    def accept(_client: ServerConnection, _request: Request, response: Response) -> None:
        response.headers["Sec-WebSocket-Extensions"] = "grip"

    options = {"max_size": None, "compression": None, "subprotocols": [SUBPROTOCOL]}
    async with serve(
        chat, "127.0.0.1", 0, process_response=accept, select_subprotocol=_select, **options
    ) as server:
        yield server.sockets[0].getsockname()[1]


def _select(_client: ServerConnection, offered: list[str]) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


@dataclass
class Room:
    """Fanway with the chat behind it."""

    fanway: Fanway
    chat: Chat

    def url(self, path: str, scheme: str = "ws") -> str:
        """Where a client connects: `over-http`, `through`, `sse` …"""
        host, port = self.fanway.address
        return f"{scheme}://{host}:{port}/{path}"

    def publish(self, content: str | bytes) -> None:
        """Publish to everybody: a message for WebSockets, and an event for streams."""
        if isinstance(content, bytes):
            message = {"content-bin": b64encode(content).decode()}
        else:
            message = {"content": content}
        formats = {"ws-message": message}
        if isinstance(content, str):
            formats["http-stream"] = {"content": f"data: {json.dumps(content)}\n\n"}
        self.fanway.publish("room", formats)
