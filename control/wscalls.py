"""One request of WebSocket-over-HTTP, and what can be read of its answer (GRIP.md 4.2, 4.3).

Knows no conversation: when to ask, and what follows from an answer, is decided by `wsover`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from control.errors import OriginError
from control.grip import wsevents
from control.grip.extension import EXTENSION, HEADER
from control.grip.fields import Headers, first, parse_int
from control.grip.wsevents import CONTENT_TYPE, Event, EventType
from control.origin import Request, Response
from control.rewrite import Rewriter, certified_name
from control.routes import Route, Target
from control.wsframe import CONTROL_MAX_BYTES

ANSWER_MAX_BYTES = 1_000_000  # of one answer, GRIP.md 8.7
KEEP_ALIVE_MIN_SECONDS = 20  # GRIP.md 4.3
KEEP_ALIVE_MAX_SECONDS = 4_000_000  # 46 days, as of every interval

META = b"Meta-"
SET_META = b"set-meta-"
# Of a handshake, these are ours to say in each request, or are not for the origin (GRIP.md 4.2).
NOT_REPLAYED = frozenset({b"accept", b"connection-id", b"content-type", HEADER.lower()})
# Of the origin's first answer, these are not for the client (GRIP.md 4.3).
NOT_ACCEPTED = frozenset(
    {b"content-length", b"content-type", b"content-bytes-accepted", b"keep-alive-interval"}
)


class BadAnswer(OriginError):
    """An origin's answer is none to WebSocket events."""


# -- requests


def pack_handshake(request: Request, connection_id: str) -> bytes:
    """Put what every request repeats into one run of bytes: its target, then its headers."""
    meta = META.lower()
    kept = [
        b"%b: %b" % (name, value)
        for name, value in request.headers
        if not ((lower := name.lower()) in NOT_REPLAYED or lower.startswith(meta))
    ]
    return b"\r\n".join([request.target, *kept, b"Connection-Id: %b" % connection_id.encode()])


def unpack_handshake(packed: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Take apart what `pack_handshake` made: target and headers, Host first."""
    target, *lines = packed.split(b"\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        headers.append((name, value))
    return target, headers


def make_request(
    rewriter: Rewriter,
    route: Route,
    target: Target,
    handshake: bytes,
    *,
    is_trusted: bool,
    offers_grip: bool,
    echo: Iterable[tuple[bytes, bytes]] = (),
    replayed_bytes: int = 0,
) -> Request:
    """Make the request for a target, with the handshake that it repeats; its body are events.

    `echo` are the Meta-* headers; so much of the events has been offered before.
    """
    path, headers = unpack_handshake(handshake)
    tls_name = certified_name(target, headers[0][1])
    # A trusted proxy's own signature is good for its handshake, not for as long as it stays.
    own = rewriter.signature(route) if is_trusted else rewriter.own_headers(route)
    own_names = {name.lower() for name, _ in own}
    headers = [*(h for h in headers if h[0].lower() not in own_names), *own]
    if offers_grip:
        headers.append((HEADER, EXTENSION))
    headers += [(b"Accept", CONTENT_TYPE), (b"Content-Type", CONTENT_TYPE), *echo]
    if replayed_bytes:
        headers.append((b"Content-Bytes-Replayed", b"%d" % replayed_bytes))
    return Request(b"POST", path, headers, tls_name, route=route.given_id, is_repeatable=True)


# -- answers


def is_events(response: Response) -> bool:
    """Whether an answer claims to be one to WebSocket events."""
    content_type = first(response.headers, b"content-type")
    return response.status == 200 and content_type == CONTENT_TYPE


async def read_events(response: Response) -> list[Event]:
    """Read the events of an answer. BadAnswer if it has none to read."""
    if not is_events(response):
        raise BadAnswer(f"{response.target}: status {response.status}, or not events")
    body, is_whole = await response.read_up_to(ANSWER_MAX_BYTES)
    if not is_whole:
        raise BadAnswer(f"{response.target}: events of more than {ANSWER_MAX_BYTES} bytes")
    try:
        return wsevents.decode(body)
    except ValueError as error:
        raise BadAnswer(f"{response.target}: {error}") from None


def fault_of(event: Event) -> str:
    """Say why an event cannot be sent to a client; empty if it can be."""
    if event.type in (EventType.PING, EventType.PONG) and len(event.content) > CONTROL_MAX_BYTES:
        return f"a {event.type.name} of {len(event.content)} bytes"
    if event.type is EventType.TEXT:
        try:
            event.content.decode()
        except UnicodeDecodeError:
            return "a TEXT that is not UTF-8"
    return ""


def accepted_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Choose the headers of an origin's first answer that go with the 101."""
    return [
        (name, value)
        for name, value in headers
        if not ((lower := name.lower()) in NOT_ACCEPTED or lower.startswith(SET_META))
    ]


def keep_alive_seconds(headers: Headers) -> int | None:
    """The interval that an answer asks for, 0 for none; None if it says nothing of it."""
    interval = first(headers, b"keep-alive-interval")
    if interval is None:
        return None
    seconds = parse_int(interval) or 0
    limited = min(max(seconds, KEEP_ALIVE_MIN_SECONDS), KEEP_ALIVE_MAX_SECONDS)
    return limited if seconds > 0 else 0


def metas_set(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    """The Meta-* headers that an answer wants to be repeated; those without a value, no more."""
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(SET_META) and lower != SET_META:
            yield META + name[len(SET_META) :], value
