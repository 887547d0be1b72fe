"""The `test` target: an origin that is inside Fanway, to try an installation with (GRIP.md 7.8).

Answers as an origin would, and is read as one: its holds are GRIP instructs, its WebSocket speaks
`application/websocket-events`. Opens nothing, and keeps nothing between two requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs

import orjson

from control.grip.extension import EXTENSION, HEADER
from control.grip.fields import first, to_bytes
from control.grip.wsevents import CONTENT_TYPE, Event, EventType, decode, encode
from control.origin import Body, Request, Response
from control.routes import Target

BODY_MAX_BYTES = 100_000
CHANNEL = "test"  # where the query names none

PLAIN_TEXT = (b"Content-Type", b"text/plain")
HELLO = b"Hello from the Fanway test target!\n"
HELD = b"nothing for now\n"
OPENED = b"[stream opened]\n"
NOT_FOUND = b"no such test resource\n"
TOO_LARGE = b"request too large\n"


async def answer(target: Target, request: Request, body: Body) -> Response:
    """Answer one request."""
    content = await _read(body)
    if content is None:
        return _text(target, 400, b"Bad Request", TOO_LARGE)
    path, _, query = request.target.decode("latin-1").partition("?")
    channels = parse_qs(query, errors="surrogateescape").get("channel", [CHANNEL])
    path = path.rstrip("/") or "/"
    if path == "/":
        return _text(target, 200, b"OK", HELLO)
    if path in ("/response", "/stream"):
        mode = path.removeprefix("/").encode()
        held = HELD if path == "/response" else OPENED
        return _text(target, 200, b"OK", held, (b"Grip-Hold", mode), *_channels(channels))
    if path == "/ws" and first(request.headers, b"content-type") == CONTENT_TYPE:
        return _events(target, channels, content)
    return _text(target, 404, b"Not Found", NOT_FOUND)


async def _read(body: Body) -> bytes | None:
    """The whole body; None if it is too large."""
    content = body.whole()
    if content is None:
        content = b""
        async for piece in body.pieces():
            content += piece
            if len(content) > BODY_MAX_BYTES:
                break
    return content if len(content) <= BODY_MAX_BYTES else None


def _channels(channels: Sequence[str]) -> list[tuple[bytes, bytes]]:
    # The query may hold anything, a header may not: what cannot be named there is left out.
    names = [to_bytes(name) for name in channels]
    return [(b"Grip-Channel", n) for n in names if not any(c in n for c in b",;\r\n\0")]


def _text(
    target: Target, status: int, reason: bytes, body: bytes, *more: tuple[bytes, bytes]
) -> Response:
    headers = [PLAIN_TEXT, *more]
    return Response(target=target, status=status, reason=reason, headers=headers, body=body)


def _events(target: Target, channels: Sequence[str], content: bytes) -> Response:
    try:
        heard = decode(content)
    except ValueError:
        return _text(target, 400, b"Bad Request", b"malformed events\n")
    return Response(
        target=target,
        status=200,
        reason=b"OK",
        headers=[(b"Content-Type", CONTENT_TYPE), (HEADER, EXTENSION)],
        body=encode(event for one in heard for event in _replies(one, channels)),
    )


def _replies(event: Event, channels: Sequence[str]) -> Iterator[Event]:
    match event.type:
        case EventType.OPEN:
            yield event
            for name in channels:
                # A channel whose name is not UTF-8 cannot be named in JSON.
                if name.isprintable():
                    command = {"type": "subscribe", "channel": name}
                    yield Event(EventType.TEXT, b"c:" + orjson.dumps(command))
        case EventType.TEXT | EventType.BINARY:
            yield Event(event.type, b"m:" + event.content)
        case EventType.PING:
            yield Event(EventType.PONG, event.content)
        case EventType.CLOSE:
            yield event
        case _:
            pass
