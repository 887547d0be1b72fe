"""The two echo origins: a WebSocket server, and a web application that answers WebSocket events.

Neither knows GRIP beyond its content type, and neither is Fanway's: the one is the `websockets`
library, the other aiohttp with gripcontrol's encoding.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from gripcontrol import WebSocketEvent, decode_websocket_events, encode_websocket_events
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

EVENTS = "application/websocket-events"
BODY_MAX_BYTES = 4 << 20  # generous: the origin's limits are not under test
ANSWERS = {"TEXT": "TEXT", "BINARY": "BINARY", "PING": "PONG", "OPEN": "OPEN", "CLOSE": "CLOSE"}


@asynccontextmanager
async def websocket_echo() -> AsyncIterator[int]:
    """A WebSocket server that sends back what it receives. Its port."""

    async def echo(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in client:
                await client.send(message)

    async with serve(echo, "127.0.0.1", 0, max_size=None, compression=None) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def events_echo() -> AsyncIterator[int]:
    """A web application that answers each event with its like. Its port."""

    async def echo(request: web.Request) -> web.Response:
        events = decode_websocket_events(await request.read())
        answers = [
            WebSocketEvent(ANSWERS[event.type], event.content)
            for event in events
            if event.type in ANSWERS
        ]
        return web.Response(body=encode_websocket_events(answers), content_type=EVENTS)

    app = web.Application(client_max_size=BODY_MAX_BYTES)
    app.router.add_post("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()
