"""`application/websocket-events`: what WebSocket-over-HTTP sends and reads (GRIP.md 4.1).

Bodies in, events out, and back. Never knows a conversation: whether an event fits where it stands
is not decided here.
"""

# body  = *event
# event = TYPE CRLF                          ; no content
#       / TYPE SP hexsize CRLF content CRLF

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

CONTENT_TYPE = b"application/websocket-events"
CLOSE_REASON_MAX_BYTES = 123  # what a control frame holds beside the code, RFC 6455 5.5

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class EventType(Enum):
    """The kinds of events."""

    OPEN = b"OPEN"
    TEXT = b"TEXT"
    BINARY = b"BINARY"
    PING = b"PING"
    PONG = b"PONG"
    CLOSE = b"CLOSE"
    DISCONNECT = b"DISCONNECT"


_TYPES = {kind.value: kind for kind in EventType}
_WITHOUT_CONTENT = (EventType.OPEN, EventType.DISCONNECT)
_ALWAYS_WITH_CONTENT = (EventType.TEXT, EventType.BINARY)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. The content of a CLOSE is empty, or a code of two bytes and a reason in UTF-8."""

    type: EventType
    content: bytes = b""

    @classmethod
    def close(cls, code: int | None = None, reason: bytes = b"") -> Event:
        """A CLOSE; without a code it has no reason either."""
        return cls(EventType.CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)

    @property
    def close_code(self) -> int | None:
        """The code of a CLOSE; None if it has none. Some libraries write that as 0 (11, 24)."""
        return int.from_bytes(self.content[:2], "big") or None if len(self.content) >= 2 else None

    @property
    def close_reason(self) -> bytes:
        """The reason of a CLOSE, cut where a close frame ends; may be empty."""
        reason = self.content[2:]
        if len(reason) <= CLOSE_REASON_MAX_BYTES:
            return reason
        return reason[:CLOSE_REASON_MAX_BYTES].decode("utf-8", "ignore").encode()


def encode(events: Iterable[Event]) -> bytes:
    """Make a body."""
    return b"".join(map(_encode, events))


def decode(body: bytes) -> list[Event]:
    """Read a body. Raises ValueError saying what is wrong.

    As lenient as GRIP.md 4.1: the two bytes after a content may be any, the last content may be
    cut short, and types that are not known are left out.
    """
    events: list[Event] = []
    at = 0
    while at < len(body):
        end = body.find(b"\r\n", at)
        if end == -1:
            raise ValueError(f"a line without end after {len(events)} events")
        name, has_content, size = body[at:end].partition(b" ")
        at = end + 2
        content = b""
        if has_content:
            if not _SIZE.fullmatch(size):
                raise ValueError(f"a size that is not hexadecimal after {len(events)} events")
            content = body[at : at + int(size, 16)]
            at += int(size, 16) + 2
        kind = _TYPES.get(name)
        if kind is not None:
            events.append(Event(kind, b"" if kind in _WITHOUT_CONTENT else content))
    return events


def _encode(event: Event) -> bytes:
    name, content = event.type.value, event.content
    if content or event.type in _ALWAYS_WITH_CONTENT:
        return b"%b %x\r\n%b\r\n" % (name, len(content), content)
    return name + b"\r\n"
