"""Automatic CORS: the headers that let pages of any site read an answer (GRIP.md 8.1).

Header blocks in, headers out. Answers no preflight: those go to the origin, and are decorated.
"""

from __future__ import annotations

from control.grip.fields import Headers, first

MAX_AGE_SECONDS = 3600
EXPOSE = b"Access-Control-Expose-Headers"
MARK = (b":expose", b"")  # before the headers of a hold: the worker adds EXPOSE (LINK.md, HOLD)
METHODS = b"OPTIONS, HEAD, GET, POST, PUT, DELETE"
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


def cross_origin(request: Headers, response: Headers) -> list[tuple[bytes, bytes]]:
    """Make the headers that the response to a request lacks."""
    there = {name.lower() for name, _ in response}
    wanted: list[tuple[bytes, bytes | None]] = [
        (
            b"Access-Control-Allow-Methods",
            first(request, b"access-control-request-method") or METHODS,
        ),
        (b"Access-Control-Allow-Headers", first(request, b"access-control-request-headers")),
        (EXPOSE, _exposed(response)),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Access-Control-Allow-Origin", first(request, b"origin") or b"*"),
        (b"Access-Control-Max-Age", b"%d" % MAX_AGE_SECONDS),
    ]
    return [(name, value) for name, value in wanted if value and name.lower() not in there]


def cross_origin_later(request: Headers, response: Headers) -> list[tuple[bytes, bytes]]:
    """Mark the response of a hold, and add the headers that it lacks.

    Which headers are to be exposed is known when a publish answers it, with headers of its own.
    """
    added = [header for header in cross_origin(request, response) if header[0] != EXPOSE]
    return [MARK, *response, *added]


def _exposed(response: Headers) -> bytes:
    names = {name.lower(): name for name, _ in response}
    return b", ".join(
        name
        for lower, name in names.items()
        if lower not in SIMPLE_HEADERS and not lower.startswith(HIDDEN_PREFIXES)
    )
