"""A first GRIP origin: an ordinary web application that pushes, and keeps no connection.

Each of `/sse`, `/stream` and `/poll` answers at once, like any other page. The `Grip-*` headers of
the answer tell Fanway what to do with the client: keep it, and on which channel. Fanway takes them
out; clients never see them. What a WebSocket client says comes to `/ws` as an ordinary request.
To push, the application posts one batch of items to Fanway.

    fanway run --route "* 127.0.0.1:8000,over_http"     # in one terminal
    python examples/origin.py           # in another; then open http://localhost:7999/
"""

import argparse
import json
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from aiohttp import ClientError, ClientSession, web

CHANNEL = "demo"  # subscribers of it get SSE events, JSON responses, WebSocket messages
LINES = "demo-lines"  # a stream takes bytes as they are: other bytes, another channel
PAGE = Path(__file__).with_name("page.html")
TEXT_MAX = 2000  # characters
RECENT_MAX = 100  # messages

routes = web.RouteTableDef()
FANWAY = web.AppKey("fanway", ClientSession)
RECENT = web.AppKey("recent", deque)  # stands in for the table of messages in your database


@routes.get("/")
async def page(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE, headers={"Cache-Control": "no-cache"})


@routes.get("/sse")
async def sse(request: web.Request) -> web.Response:
    hold = {
        "Grip-Hold": "stream",
        "Grip-Channel": CHANNEL,
        "Grip-Keep-Alive": r":\n\n; format=cstring; timeout=20",
    }
    text = ":\n\n" + "".join(event(message) for message in missed(request))
    return web.Response(text=text, content_type="text/event-stream", headers=hold)


@routes.get("/stream")
async def stream(request: web.Request) -> web.Response:
    hold = {
        "Grip-Hold": "stream",
        "Grip-Channel": LINES,
        "Grip-Keep-Alive": r"\n; format=cstring; timeout=20",
    }
    text = "\n" + "".join(line(message) for message in missed(request))
    return web.Response(text=text, content_type="text/plain", headers=hold)


@routes.get("/poll")
async def poll(request: web.Request) -> web.Response:
    if messages := missed(request):
        return web.json_response(messages)
    recent = request.app[RECENT]
    # prev-id: if something else is published first, Fanway does not hold but asks here again.
    last = f"; prev-id={recent[-1]['id']}" if recent else ""
    hold = {"Grip-Hold": "response", "Grip-Channel": CHANNEL + last, "Grip-Timeout": "25"}
    return web.json_response([], headers=hold)  # what the client gets when the time is over


@routes.post("/ws")
async def ws(request: web.Request) -> web.Response:
    """What WebSocket clients do comes as events, and each answer says what they get."""
    answer = b""
    for kind, content in events_of(await request.read()):
        if kind == "OPEN":  # as an answer it accepts; c: is for Fanway, m: for the client
            subscribe = json.dumps({"type": "subscribe", "channel": CHANNEL})
            answer += ws_event("OPEN") + ws_event("TEXT", f"c:{subscribe}")
            for message in missed(request):
                answer += ws_event("TEXT", f"m:{json.dumps(message)}")
        elif kind == "TEXT" and 0 < len(text := content.decode().strip()) <= TEXT_MAX:
            await say(request.app, text, who=request.headers["Connection-Id"][:4])
        elif kind in ("PING", "CLOSE"):
            answer += ws_event("PONG" if kind == "PING" else kind, content)
    grip = {"Sec-WebSocket-Extensions": "grip"}
    return web.Response(body=answer, content_type="application/websocket-events", headers=grip)


@routes.post("/publish")
async def publish(request: web.Request) -> web.Response:
    text = (await request.read()).decode(errors="replace").strip()
    if not 0 < len(text) <= TEXT_MAX:
        return web.Response(status=400, text=f"Send a text of 1 to {TEXT_MAX} characters.\n")
    try:
        return web.json_response(await say(request.app, text))
    except ClientError as error:
        return web.Response(status=502, text=f"Fanway's publish API did not take it: {error}\n")


async def say(app: web.Application, text: str, who: str = "") -> dict[str, str]:
    """Publish a text to everybody. The message that became of it."""
    recent = app[RECENT]
    message = {"id": uuid.uuid4().hex[:12], "text": text} | ({"from": who} if who else {})
    ids = {"id": message["id"]} | ({"prev-id": recent[-1]["id"]} if recent else {})
    recent.append(message)
    as_json = {"Content-Type": "application/json"}
    formats = {  # one item, a rendition for each kind of client
        "http-stream": {"content": event(message)},
        "http-response": {"body": json.dumps([message]), "headers": as_json},
        "ws-message": {"content": json.dumps(message)},
    }
    lines = {"http-stream": {"content": line(message)}}
    items = [{"channel": CHANNEL, "formats": formats}, {"channel": LINES, "formats": lines}]
    batch = {"items": [item | ids for item in items]}
    async with app[FANWAY].post("/publish/", json=batch, raise_for_status=True):
        return message


def event(message: dict[str, str]) -> str:
    return f"id: {message['id']}\ndata: {json.dumps(message)}\n\n"


def line(message: dict[str, str]) -> str:
    return json.dumps(message) + "\n"


def ws_event(kind: str, content: str | bytes = b"") -> bytes:
    """An event as Fanway reads it: its kind, and what it contains with the size in hexadecimal."""
    if not content:
        return f"{kind}\r\n".encode()
    content = content.encode() if isinstance(content, str) else content
    return f"{kind} {len(content):x}\r\n".encode() + content + b"\r\n"


def events_of(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The events of a request, each its kind and content."""
    while body:
        head, _, body = body.partition(b"\r\n")
        kind, _, size = head.decode().partition(" ")
        yield kind, body[: int(size or "0", 16)]
        body = body[int(size, 16) + 2 :] if size else body


def missed(request: web.Request) -> list[dict[str, str]]:
    """What was published since the message that a client, connecting again, has seen last."""
    last_id = request.headers.get("Last-Event-ID") or request.query.get("after")
    messages = list(request.app[RECENT])
    known = [message["id"] for message in messages]
    return messages[known.index(last_id) + 1 :] if last_id in known else []


def create_app(fanway_url: str) -> web.Application:
    """The application; `fanway_url` is where Fanway's publish API listens."""
    app = web.Application()
    app.add_routes(routes)
    app[RECENT] = deque(maxlen=RECENT_MAX)

    async def session(app: web.Application):
        async with ClientSession(fanway_url) as app[FANWAY]:
            yield

    app.cleanup_ctx.append(session)
    return app


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="A first GRIP origin.")
    options.add_argument("--port", type=int, default=8000)
    options.add_argument("--fanway", default="http://127.0.0.1:5561", help="its publish API")
    given = options.parse_args()
    web.run_app(create_app(given.fanway), host="127.0.0.1", port=given.port)
