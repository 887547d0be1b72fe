"""SockJS, as sockjs-client speaks it: URLs, frames and payloads (GRIP.md 8.3).

Pure: understands requests, makes answers. What a session is, and who asks for it, is elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs

import orjson

from control.grip.fields import Headers, first

REQUEST_MAX_BYTES = 100_000
# After so much of a streamed answer the client makes another request: its memory grows until then.
STREAMED_MAX_BYTES = 128 * 1024

NO_STORE = (b"Cache-Control", b"no-store, no-cache, must-revalidate, max-age=0")
OPEN = "o"
HEARTBEAT = "h"
CLOSED = (0, "Connection closed")
STILL_OPEN = (2010, "Another connection still open")

_SESSION = re.compile(r"/[^/.]+/([^/.]+)/([a-z_]+)")
_IFRAME = re.compile(r"/iframe[0-9A-Za-z.-]*\.html")
_CALLBACK = re.compile(r"[A-Za-z0-9_.$]{1,100}")


class Transport(Enum):
    """How frames reach the client."""

    XHR = "xhr"
    XHR_STREAMING = "xhr_streaming"
    EVENT_SOURCE = "eventsource"
    JSONP = "jsonp"
    XHR_SEND = "xhr_send"
    JSONP_SEND = "jsonp_send"


METHODS = {
    Transport.XHR: (b"POST",),
    Transport.XHR_STREAMING: (b"POST",),
    Transport.EVENT_SOURCE: (b"GET",),
    Transport.JSONP: (b"GET", b"POST"),
    Transport.XHR_SEND: (b"POST",),
    Transport.JSONP_SEND: (b"POST",),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is ready."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a session: by which transport, and for JSON-P the callback."""

    session: str
    transport: Transport
    callback: str = ""


class BadPayload(Exception):
    """What a client sent is no list of messages. The text is the body of the answer."""


def answer(status: int, reason: bytes, media_type: bytes, body: bytes, request: Headers) -> Answer:
    """Make an answer with the headers that all of them carry."""
    headers = [(b"Content-Type", media_type), *common_headers(request)]
    return Answer(status, reason, headers, body)


def common_headers(request: Headers) -> list[tuple[bytes, bytes]]:
    """Make the headers that all answers carry: pages of any site may read them."""
    origin = first(request, b"origin")
    return [
        NO_STORE,
        (b"Access-Control-Allow-Origin", origin or b"*"),
        (b"Access-Control-Allow-Credentials", b"true"),
    ]


def text(status: int, reason: bytes, body: str, request: Headers) -> Answer:
    """Make an answer in words."""
    return answer(status, reason, b"text/plain; charset=UTF-8", body.encode(), request)


def read_request(
    method: bytes, path: str, query: bytes, request: Headers, *, script_url: str
) -> Answer | Ask:
    """Read a request; `path` is what follows the base. Gives what it asks for, or the answer."""
    if method == b"OPTIONS":
        wanted = first(request, b"access-control-request-headers")
        headers = [
            *common_headers(request),
            (b"Access-Control-Allow-Methods", b"OPTIONS, GET, POST"),
            (b"Access-Control-Max-Age", b"31536000"),
        ]
        if wanted:
            headers.append((b"Access-Control-Allow-Headers", wanted))
        return Answer(204, b"No Content", headers)
    if path == "/info" and method == b"GET":
        return _info(request)
    if _IFRAME.fullmatch(path) and method == b"GET":
        return _iframe(request, script_url)
    found = _SESSION.fullmatch(path)
    try:
        transport = Transport(found[2]) if found else None
    except ValueError:
        transport = None
    if found is None or transport is None or method not in METHODS[transport]:
        return text(404, b"Not Found", "Not Found\n", request)
    if transport is not Transport.JSONP:
        return Ask(found[1], transport)
    named = parse_qs(query.decode("latin-1"))
    callback = (named.get("c") or named.get("callback") or [""])[0]
    if not _CALLBACK.fullmatch(callback):
        return text(400, b"Bad Request", '"callback" parameter required\n', request)
    return Ask(found[1], transport, callback)


def rest_of(path: str, base: str) -> str | None:
    """What follows the base of SockJS; None: the path is not below it."""
    rest = path[len(base) :] if base and path.startswith(base) else None
    return rest if rest == "" or (rest and rest.startswith("/")) else None


def is_framed(rest: str) -> bool:
    """Whether a WebSocket speaks in frames: those of `/websocket`, and of sessions, do not."""
    parts = rest.split("/")
    return len(parts) == 4 and all(parts[1:3])


# -- frames


def messages_frame(messages: Sequence[str]) -> str:
    """Make the frame that carries messages."""
    return "a" + json.dumps(list(messages), separators=(",", ":"))


def close_frame(code: int, reason: str) -> str:
    """Make the frame that ends a session."""
    return "c" + json.dumps([code, reason], separators=(",", ":"))


def rendered(frame: str, ask: Ask) -> bytes:
    """Make of a frame what its transport carries."""
    if ask.transport is Transport.EVENT_SOURCE:
        return f"data: {frame}\r\n\r\n".encode()
    if ask.transport is Transport.JSONP:
        return f"/**/{ask.callback}({json.dumps(frame)});\r\n".encode()
    return f"{frame}\n".encode()


def preamble(transport: Transport) -> bytes:
    """What a streamed answer begins with: enough for browsers to hand it on."""
    return b"h" * 2048 + b"\n" if transport is Transport.XHR_STREAMING else b"\r\n"


def media_type(transport: Transport) -> bytes:
    """What the frames of a transport are."""
    if transport is Transport.EVENT_SOURCE:
        return b"text/event-stream; charset=UTF-8"
    return b"application/javascript; charset=UTF-8"


def read_messages(payload: bytes) -> list[str]:
    """Read what a client sends: a JSON list of texts, or one. BadPayload if it is neither."""
    if not payload:
        raise BadPayload("Payload expected")
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise BadPayload("Payload expected") from None
    messages = [parsed] if isinstance(parsed, str) else parsed
    if not isinstance(messages, list) or not all(isinstance(one, str) for one in messages):
        raise BadPayload("Payload expected")
    return messages


def payload_of(transport: Transport, request: Headers, query: bytes, body: bytes) -> bytes:
    """Find what is sent: the body, or for JSON-P the parameter `d` of a form or of the query."""
    if transport is not Transport.JSONP_SEND:
        return body
    kind = (first(request, b"content-type") or b"").partition(b";")[0].strip().lower()
    form = body if kind == b"application/x-www-form-urlencoded" else query
    sent = parse_qs(form.decode("latin-1"), encoding="utf-8").get("d", [""])[0]
    return sent.encode("utf-8", "surrogateescape") or (b"" if form is body else body)


# -- what is no session


def _info(request: Headers) -> Answer:
    told = {
        "websocket": True,
        "origins": ["*:*"],
        "cookie_needed": False,
        "entropy": random.getrandbits(32),
    }
    body = json.dumps(told).encode()
    return answer(200, b"OK", b"application/json; charset=UTF-8", body, request)


def _iframe(request: Headers, script_url: str) -> Answer:
    body = IFRAME.replace("{script}", script_url).encode()
    tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
    if first(request, b"if-none-match") == tag:
        return Answer(304, b"Not Modified", [(b"ETag", tag)])
    headers = [
        (b"Content-Type", b"text/html; charset=UTF-8"),
        (b"Cache-Control", b"public, max-age=31536000"),
        (b"ETag", tag),
    ]
    return Answer(200, b"OK", headers, body)


IFRAME = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="UTF-8">
<script src="{script}"></script>
<script>document.domain = document.domain; SockJS.bootstrap_iframe();</script>
</head>
<body></body>
</html>
"""
