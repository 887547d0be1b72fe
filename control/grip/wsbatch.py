"""What a request of WebSocket-over-HTTP carries, and what of it was accepted (GRIP.md 4.4, 4.6).

Events in, a number or events out. Never makes a request and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from control.grip.wsevents import Event, EventType

REQUEST_MAX_BYTES = 200_000  # of content in one request, GRIP.md 4.4


def size_of(events: Sequence[Event]) -> int:
    """Count the bytes of content."""
    return sum(len(event.content) for event in events)


def batch_count(events: Sequence[Event], *, one_event: bool) -> int:
    """Say how many events go into the next request; one at least, if there is one."""
    if one_event:
        return min(len(events), 1)
    size = 0
    for count, event in enumerate(events):
        size += len(event.content)
        if size > REQUEST_MAX_BYTES and count:
            return count
    return len(events)


def unaccepted(offered: Sequence[Event], accepted_bytes: int | None) -> list[Event]:
    """Say what is to be offered again. `accepted_bytes` None: all was accepted.

    ValueError if the origin cannot have accepted so many: more than it was offered, or a part of
    a close.
    """
    total = size_of(offered)
    if accepted_bytes is None or accepted_bytes == total:
        return []
    closing_bytes = size_of([event for event in offered if event.type is EventType.CLOSE])
    if not 0 <= accepted_bytes < total - closing_bytes:
        raise ValueError(f"{accepted_bytes} bytes accepted of {total}")
    left = accepted_bytes
    for at, event in enumerate(offered):
        if left < len(event.content):
            return [Event(event.type, event.content[left:]), *offered[at + 1 :]]
        left -= len(event.content)
    return []
