"""Spelling of `application/websocket-events`, so that tests say only what matters to them."""

from __future__ import annotations

import json
from typing import Any

from support.spelling import answer

GRIP = "Sec-WebSocket-Extensions: grip"


def event(kind: str, content: bytes | str | None = None) -> bytes:
    """One event."""
    if content is None:
        return f"{kind}\r\n".encode()
    run = content.encode() if isinstance(content, str) else content
    return b"%b %x\r\n%b\r\n" % (kind.encode(), len(run), run)


def control(kind: str, **fields: Any) -> bytes:
    """A control message, as an event. Underscores in field names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return event("TEXT", "c:" + json.dumps({"type": kind, **named}))


def events(*some: bytes, headers: tuple[str, ...] = ()) -> bytes:
    """An answer that consists of events."""
    return answer("Content-Type: application/websocket-events", *headers, body=b"".join(some))


def opened(*some: bytes, headers: tuple[str, ...] = (GRIP,)) -> bytes:
    """The answer that accepts a WebSocket, in GRIP mode unless told otherwise."""
    return events(event("OPEN"), *some, headers=headers)
