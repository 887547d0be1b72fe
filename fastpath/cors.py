"""What pages of other sites may read of the answer to a hold (floor 1): its headers (GRIP.md 8.1).

What control does for answers that it passes on itself (control/cors.py), for those that a worker
gives by itself: only then is it known what a publish has added.
"""

from __future__ import annotations

MARK = (
    b":expose"  # before the headers of a hold's response: no header that was received has a colon
)
NAME = b"Access-Control-Expose-Headers"
# Any page may read these without being told so.
SIMPLE_HEADERS = frozenset(
    {
        b"cache-control",
        b"content-language",
        b"content-length",
        b"content-type",
        b"expires",
        b"last-modified",
        b"pragma",
    }
)
HIDDEN_PREFIXES = (b"access-control-", b"grip-")

Headers = list[tuple[bytes, bytes]]


def exposing(headers: Headers) -> Headers:
    """Add the header that names the others, unless it is there or there is nothing to name."""
    names = {name.lower(): name for name, _ in headers}
    if NAME.lower() in names:
        return headers
    listed = [
        name
        for lower, name in names.items()
        if lower not in SIMPLE_HEADERS and not lower.startswith(HIDDEN_PREFIXES)
    ]
    return [*headers, (NAME, b", ".join(listed))] if listed else headers
