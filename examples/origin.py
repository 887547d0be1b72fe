"""A first GRIP origin: an ordinary web application that pushes, and keeps no connection.

Each of `/sse`, `/stream` and `/poll` answers at once, like any other page. The `Grip-*` headers of
the answer tell Fanway what to do with the client: keep it, and on which channel. Fanway takes them
out; clients never see them. To push, the application posts one batch of items to Fanway.

    fanway run --route "* 127.0.0.1:8000"       # in one terminal
    python examples/origin.py                   # in another; then open http://localhost:7999/
"""

import argparse
import json
import uuid
from collections import deque
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


@routes.post("/publish")
async def publish(request: web.Request) -> web.Response:
    text = (await request.read()).decode(errors="replace").strip()
    if not 0 < len(text) <= TEXT_MAX:
        return web.Response(status=400, text=f"Send a text of 1 to {TEXT_MAX} characters.\n")
    recent = request.app[RECENT]
    message = {"id": uuid.uuid4().hex[:12], "text": text}
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
    try:
        async with request.app[FANWAY].post("/publish/", json=batch, raise_for_status=True):
            return web.json_response(message)
    except ClientError as error:
        return web.Response(status=502, text=f"Fanway's publish API did not take it: {error}\n")


def event(message: dict[str, str]) -> str:
    return f"id: {message['id']}\ndata: {json.dumps(message)}\n\n"


def line(message: dict[str, str]) -> str:
    return json.dumps(message) + "\n"


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
