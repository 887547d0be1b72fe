"""WebSocket-over-HTTP: one WebSocket's conversation with an origin that answers requests (GRIP.md 4).

What to say next, and what of it was accepted, is decided by the pure `decide_…` functions. There
is a task only while a request is out: a conversation that is idle is one small object, with the
headers of its handshake in one run of bytes. Never frames a message and never finds a target.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import uuid4

from control.errors import OriginError
from control.grip import wsevents
from control.grip.extension import EXTENSION, HEADER, message_prefix
from control.grip.fields import Headers, first, parse_int
from control.grip.wsevents import Event, EventType
from control.link.packets import Kind
from control.link.server import Link
from control.log import log
from control.origin import Request, Response
from control.reasons import Reason
from control.rewrite import host_of
from control.wsframe import CONTROL_MAX_BYTES, is_close_code
from control.wsgrip import Conversation, Way

ANSWER_MAX_BYTES = 1_000_000  # of one response, GRIP.md 8.7
BUFFER_MAX_BYTES = 200_000  # of one message, and of one request, GRIP.md 4.4
# Messages that wait for the origin. They are bounded by credit, unless they are empty.
EVENTS_MAX = 20_000
KEEP_ALIVE_MIN_SECONDS = 20  # GRIP.md 4.3
KEEP_ALIVE_MAX_SECONDS = 4_000_000  # as of any interval: 46 days
RETRIES_MAX = 5  # GRIP.md 4.9
RETRY_SECONDS = 1.0  # doubled each time
RETRY_JITTER_SECONDS = 1.0
FAREWELLS_MAX = 100  # requests for clients that are gone; all of a worker's may go at once

KINDS = {
    EventType.TEXT: Kind.TEXT,
    EventType.BINARY: Kind.BINARY,
    EventType.PING: Kind.PING,
    EventType.PONG: Kind.PONG,
}
EVENT_TYPES = {kind: event for event, kind in KINDS.items()}
DISCONNECT = Event(EventType.DISCONNECT)
# Of the client's handshake, these are of its hop or are ours to say (GRIP.md 4.2).
NOT_REPLAYED = frozenset(
    {b"accept", b"connection-id", b"content-type", b"content-bytes-replayed", HEADER.lower()}
)
META = b"meta-"
SET_META = b"set-meta-"
# Of the origin's first answer, these are not for the client (GRIP.md 4.3).
NOT_IN_HANDSHAKE = frozenset(
    {b"content-length", b"content-type", b"keep-alive-interval", b"content-bytes-accepted"}
)


# -- decisions


class BadAnswer(OriginError):
    """An origin's answer is no answer to WebSocket events."""


def decide_batch(events: Sequence[Event], *, one_event: bool) -> int:
    """Say how many events go into the next request: at least one, if there is one."""
    if one_event:
        return min(len(events), 1)
    size = 0
    for count, event in enumerate(events):
        size += len(event.content)
        if size > BUFFER_MAX_BYTES and count:
            return count
    return len(events)


def decide_rest(offered: Sequence[Event], accepted_bytes: int | None) -> list[Event]:
    """Say what is to be offered again (GRIP.md 4.6). None: all was accepted.

    BadAnswer if the origin cannot have accepted so many.
    """
    total = size_of(offered)
    if accepted_bytes is None or accepted_bytes == total:
        return []
    last = offered[-1]
    before_close = total - len(last.content) if last.type is EventType.CLOSE else total
    if not 0 <= accepted_bytes < before_close:
        raise BadAnswer(f"{accepted_bytes} bytes accepted of {total}")
    left = accepted_bytes
    for at, event in enumerate(offered):
        if left < len(event.content):
            return [Event(event.type, event.content[left:]), *offered[at + 1 :]]
        left -= len(event.content)
    return []


def size_of(events: Sequence[Event]) -> int:
    """Count the bytes of content."""
    return sum(len(event.content) for event in events)


# -- what is kept of a handshake


def pack_handshake(request: Request) -> bytes:
    """Put what every request repeats into one run of bytes: its target, then its headers."""
    kept = [
        b"%b: %b" % (name, value)
        for name, value in request.headers
        if not ((lower := name.lower()) in NOT_REPLAYED or lower.startswith(META))
    ]
    return b"\r\n".join([request.target, *kept, b"Connection-Id: %b" % str(uuid4()).encode()])


def unpack_handshake(packed: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Take apart what `pack_handshake` made: target and headers."""
    target, *lines = packed.split(b"\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        headers.append((name, value))
    return target, headers


def handshake_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Choose the headers of an origin's first answer that go with the 101."""
    return [
        (name, value)
        for name, value in headers
        if not ((lower := name.lower()) in NOT_IN_HANDSHAKE or lower.startswith(SET_META))
    ]


@dataclass(frozen=True, slots=True)
class Whole:
    """A body that is all there."""

    content: bytes

    @property
    def length(self) -> int:
        """Its bytes."""
        return len(self.content)

    def whole(self) -> bytes:
        """Give it."""
        return self.content

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give it."""
        yield self.content


# -- the conversation


class State(Enum):
    """How far a conversation is."""

    OPEN = 1
    CLIENT_CLOSED = 2  # the client has sent its close frame; the origin's answer is awaited
    ORIGIN_CLOSED = 3  # the client has been told to close; its close frame is awaited
    OVER = 4  # there is nothing more to be heard; perhaps the origin is still to be told


class OverHttp(Conversation):
    """One client's WebSocket, from its handshake to the end."""

    __slots__ = (
        "_alarm",
        "_echo",
        "_events",
        "_farewell",
        "_handshake",
        "_is_due",
        "_keep_alive_seconds",
        "_partial",
        "_replayed_bytes",
        "_state",
        "_task",
    )

    def __init__(self, way: Way, link: Link, ref: int, handshake: bytes) -> None:
        super().__init__(way, link, ref)
        self._state = State.OPEN
        self._handshake = handshake
        self._echo: dict[bytes, bytes] | None = None  # what Set-Meta-* has set
        self._keep_alive_seconds = 0  # 0: none
        self._alarm: set[Conversation] | None = None  # for the next keep-alive
        self._events: list[Event] | None = None  # for the origin; at most a window's, and EVENTS_MAX
        self._partial: bytearray | None = None  # a message whose end has not come
        self._replayed_bytes = 0  # of the events: they have been offered before
        self._is_due = False  # a request is to be made, with whatever there is
        self._farewell: Event | None = None  # the last thing to tell the origin
        self._task: asyncio.Task[None] | None = None  # while a request is out

    # -- opening

    async def offer(self) -> Response | None:
        """Ask the origin to open. Gives what it says instead; None: it is an answer to events.

        The events behind OPEN, if it came, are then in `opened`.
        """
        raise NotImplementedError
