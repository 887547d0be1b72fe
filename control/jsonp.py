"""JSON-P: a request that a `<script>` can make, and an answer that it can read (GRIP.md 8.2).

Understands the query of a request, and wraps the answer piece by piece. Asks nobody anything. The
answers of response holds are wrapped by the workers in the same way (fastpath/jsonp.py).
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

import orjson

from control import reasons
from control.grip.fields import Headers
from control.grip.fields import to_text as text_of
from control.link.packets import Opened
from control.reasons import Refusal
from control.routes import Route

CALLBACK_MAX_BYTES = 1024
METHOD_MAX_BYTES = 64
# A name of JavaScript, or a path of them: whatever else is one is not worth the risk.
_CALLBACK = re.compile(rb"[A-Za-z_$][\w$]*(?:(?:\.[A-Za-z_$][\w$]*)|(?:\[\d{1,9}\]))*", re.ASCII)
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
CONTENT_TYPE = (b"Content-Type", b"application/javascript")


class BadQuery(Exception):
    """A parameter cannot be used; the refusal says which."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.text)


@dataclass(frozen=True, slots=True)
class Callback:
    """What is to be called with an answer, and in which form."""

    name: bytes
    is_extended: bool  # with status and headers, or the bare body

    @property
    def mark(self) -> tuple[bytes, bytes]:
        """What tells a worker to wrap the answer of a hold (fastpath/LINK.md)."""
        return b":jsonp", (b"e" if self.is_extended else b"b") + self.name


def read_query(route: Route, opened: Opened) -> tuple[Callback, Opened] | None:
    """Read a request that may be one by JSON-P: the callback, and the request that it means.

    None for an ordinary request. Raises BadQuery.
    """
    path, _, query = opened.target.partition(b"?")
    if opened.method != b"GET" or not query or opened.length or opened.websocket:
        return None
    wanted = {name.encode() for name in (route.jsonp_cb, "_method", "_headers", "_body")}
    if route.jsonp_body:
        wanted.add(route.jsonp_body.encode())
    values, rest = _take(query, wanted)
    callback = values.get(route.jsonp_cb.encode())
    if callback is None and route.jsonp_defcb and route.jsonp_body.encode() in values:
        callback = route.jsonp_defcb.encode()
    if callback is None:
        return None
    if len(callback) > CALLBACK_MAX_BYTES or not _CALLBACK.fullmatch(callback):
        raise BadQuery(reasons.JSONP_BAD_CALLBACK)
    is_extended = route.jsonp_mode == "extended"
    headers, body = _headers(opened.headers, values.get(b"_headers")), b""
    if route.jsonp_body:
        body = _body(values.get(route.jsonp_body.encode()), reasons.JSONP_BAD_BODY)
        headers = [h for h in headers if h[0].lower() != b"content-type"]
        headers.append((b"Content-Type", b"application/json"))
    elif b"_body" in values:
        body = _body(values[b"_body"], reasons.JSONP_BAD_UNDERSCORE_BODY)
    meant = replace(
        opened,
        method=_method(values.get(b"_method"), route),
        target=path + b"?" + rest if rest else path,
        headers=headers,
        length=len(body),
        body=body,
    )
    return Callback(callback, is_extended), meant


def _take(query: bytes, wanted: set[bytes]) -> tuple[dict[bytes, bytes], bytes]:
    """The values of some parameters, and the query without them, otherwise as it was."""
    values: dict[bytes, bytes] = {}
    rest = []
    for part in query.split(b"&"):
        name, _, text = part.partition(b"=")
        name = _unquoted(name)
        if name in wanted:
            values.setdefault(name, _unquoted(text))
        else:
            rest.append(part)
    return values, b"&".join(rest)


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _method(value: bytes | None, route: Route) -> bytes:
    if value is None:
        return route.jsonp_defmethod or (b"GET" if route.jsonp_mode == "extended" else b"POST")
    if len(value) > METHOD_MAX_BYTES or not _TOKEN.fullmatch(value):
        raise BadQuery(reasons.JSONP_BAD_METHOD)
    return value


def _headers(clients: Headers, value: bytes | None) -> list[tuple[bytes, bytes]]:
    """The client's headers, with those of `_headers` over them."""
    try:
        given = orjson.loads(value) if value is not None else {}
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not all(map(_is_header, given.items())):
        raise BadQuery(reasons.JSONP_BAD_HEADERS)
    more = [(name.encode(), text.encode()) for name, text in given.items()]
    # Host stays that of the request, and Accept would be that of a script.
    more = [h for h in more if h[0].lower() not in (b"host", b"accept", b"content-length")]
    replaced = {b"accept", *(name.lower() for name, _ in more)}
    kept = [header for header in clients if header[0].lower() not in replaced]
    return [*kept, (b"Accept", b"*/*"), *more]


def _is_header(item: tuple[str, object]) -> bool:
    name, text = item
    return (
        isinstance(text, str)
        and _TOKEN.fullmatch(name.encode()) is not None
        and _HEADER_VALUE.fullmatch(text) is not None
    )


def _body(value: bytes | None, refusal: Refusal) -> bytes:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        raise BadQuery(refusal) from None
    return value or b""


class Wrapping:
    """One answer on its way into a call of the callback."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._kept = b""  # basic: a line end that may be the last byte

    def head(
        self, status: int, reason: bytes, headers: Headers
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Give the headers of the wrapped answer, whose status is 200, and what comes first."""
        kept = [h for h in headers if h[0].lower() == b"cache-control"]
        opening = b"/**/%b(" % self.callback.name
        if self.callback.is_extended:
            told = {
                "code": status,
                "reason": reason.decode("utf-8", "replace"),
                "headers": _joined(headers),
            }
            opening += json.dumps(told)[:-1].encode() + b', "body": "'
        return [CONTENT_TYPE, *kept], opening

    def piece(self, content: bytes, *, is_last: bool = False) -> bytes:
        """Wrap the next part of the body. Raises UnicodeDecodeError if it cannot be."""
        if self.callback.is_extended:
            text = json.dumps(self._utf8.decode(content, is_last))[1:-1].encode()
            return text + b'"});\n' if is_last else text
        content = self._kept + content
        self._kept = b"\n" if content.endswith(b"\n") else b""
        content = content.removesuffix(b"\n")
        return content + b");\n" if is_last else content


def _joined(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    names: dict[bytes, str] = {}
    for raw, value in headers:
        name = names.setdefault(raw.lower(), text_of(raw))
        text = value.decode("utf-8", "replace")
        joined[name] = f"{joined[name]}, {text}" if name in joined else text
    return joined
