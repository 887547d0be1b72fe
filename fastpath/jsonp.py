"""JSON-P of a response hold (floor 1): a response in, the call of a callback out (GRIP.md 8.2).

What control does to answers that it passes on itself (control/jsonp.py), for those that a worker
gives by itself.
"""

from __future__ import annotations

import json

MARK = b":jsonp"  # before the headers of a hold's response: no header that was received has a colon
EXTENDED = b"e"

NOT_UTF8 = b"Upstream response could not be JSON-P encoded.\n"

Headers = list[tuple[bytes, bytes]]


def wrapped(
    form: bytes, status: int, reason: bytes, headers: Headers, body: bytes
) -> tuple[int, bytes, Headers, bytes]:
    """Wrap a response. `form` is e (with status and headers) or b (the body), then the callback.

    Never raises: a body that cannot be told in JSON becomes a 500.
    """
    kept = [h for h in headers if h[0].lower() != b"content-type"]
    callback = form[1:]
    if form[:1] != EXTENDED:
        body = b"/**/%b(%b);\n" % (callback, body.removesuffix(b"\n"))
        return 200, b"OK", [*kept, (b"Content-Type", b"application/javascript")], body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return 500, b"Internal Server Error", [(b"Content-Type", b"text/plain")], NOT_UTF8
    told = {
        "code": status,
        "reason": reason.decode("utf-8", "replace"),
        "headers": _joined(headers),
        "body": text,
    }
    body = b"/**/%b(%b);\n" % (callback, json.dumps(told).encode())
    return 200, b"OK", [*kept, (b"Content-Type", b"application/javascript")], body


def _joined(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    names: dict[bytes, str] = {}
    for raw, value in headers:
        name = names.setdefault(raw.lower(), raw.decode("utf-8", "replace"))
        text = value.decode("utf-8", "replace")
        joined[name] = f"{joined[name]}, {text}" if name in joined else text
    return joined
