"""What an origin instructs: the header form and the JSON form (GRIP.md 1.1, 1.3 to 1.5, 1.9.1).

Understands a complete response head, and a body where the instruct is in it. Never holds, routes
or answers anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import orjson

from control.errors import InstructError
from control.grip import values
from control.grip.fields import (
    Headers,
    Piece,
    first,
    parse_int,
    parse_params,
    parse_piece,
    split_all,
    to_text,
)
from control.grip.headers import to_client
from control.grip.values import BadValue, JsonObject

GRIP_BODY_MAX_BYTES = 100_000  # of a request or response that is kept whole, GRIP.md 1.11
FILTERS_MAX = 5  # of one channel, GRIP.md 3.1: each runs once for each item
HOLD_TIMEOUT_SECONDS = 55  # below the 60 s after which clients and balancers like to give up
HOLD_TIMEOUT_MIN_SECONDS = 5  # so that a mistake does not become a busy loop of polls
KEEP_ALIVE_TIMEOUT_SECONDS = 55
NEXT_LINK_TIMEOUT_SECONDS = 120
TIMEOUT_MAX_SECONDS = 4_000_000  # 46 days; the link carries milliseconds in a u32

JSON_INSTRUCT = b"application/grip-instruct"

_URI = re.compile(r"[^\x00-\x20\x7f<>\"]+")
_CSTRING = re.compile(rb"(?:[^\\]|\\x[0-9A-Fa-f]{2}|\\[^x])+", re.DOTALL)
_CSTRING_ESCAPE = re.compile(rb"\\(x..|.)", re.DOTALL)
_CSTRING_MEANING = {b"\\": b"\\", b"r": b"\r", b"n": b"\n"}


class HoldMode(Enum):
    """What a hold waits for: one response, or pieces of a stream."""

    RESPONSE = "response"
    STREAM = "stream"


class KeepAliveMode(Enum):
    """When keep-alives are sent: after a quiet time, or whatever else is sent."""

    IDLE = "idle"
    INTERVAL = "interval"


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel to subscribe to, and the last id that the origin knew when it answered."""

    name: str
    prev_id: str | None = None
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Bytes to write into a stream that has been quiet, never empty."""

    content: bytes
    timeout_seconds: int = KEEP_ALIVE_TIMEOUT_SECONDS
    mode: KeepAliveMode = KeepAliveMode.IDLE


@dataclass(frozen=True, slots=True)
class NextLink:
    """Where a stream continues. The URI may be relative."""

    uri: str
    timeout_seconds: int = NEXT_LINK_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Response:
    """What the client gets: at the timeout of a response hold, else at once.

    Headers are final but for those that frame the message.
    """

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Instruct:
    """Everything an origin's response instructs. `mode` is None where nothing is held."""

    response: Response
    mode: HoldMode | None = None
    channels: tuple[Channel, ...] = ()
    timeout_seconds: int = HOLD_TIMEOUT_SECONDS
    keep_alive: KeepAlive | None = None
    meta: dict[str, str] = field(default_factory=dict)
    next_link: NextLink | None = None
    gone_link: str | None = None

    @classmethod
    def from_head(cls, status: int, reason: bytes, headers: Headers) -> Instruct:
        """The header form, before or without a body. Raises InstructError."""
        try:
            return _from_head(status, reason, headers)
        except BadValue as error:
            raise InstructError(str(error)) from None

    @classmethod
    def from_response(cls, status: int, reason: bytes, headers: Headers, body: bytes) -> Instruct:
        """Either form, from a complete response. Raises InstructError.

        The body is at most GRIP_BODY_MAX_BYTES long; the caller sees to that while reading it.
        """
        instruct = cls.from_head(status, reason, headers)
        if not is_json(headers):
            return replace(instruct, response=replace(instruct.response, body=body))
        try:
            return _with_json(instruct, status, reason, body)
        except BadValue as error:
            raise InstructError(str(error)) from None

    @property
    def streams_body(self) -> bool:
        """Whether a body in header form may be passed on as it comes, at any length (1.11)."""
        if self.mode is None and self.next_link is None:
            return False
        return self.mode is not HoldMode.RESPONSE and not any(
            "build-id" in channel.filters for channel in self.channels
        )


def is_grip(headers: Headers) -> bool:
    """Whether a response is GRIP's business at all (GRIP.md 1.1)."""
    return is_json(headers) or any(name[:5].lower() == b"grip-" for name, _ in headers)


def is_json(headers: Headers) -> bool:
    """Whether the instruct is the body of the response."""
    media_type, _, _ = (first(headers, b"content-type") or b"").partition(b";")
    return media_type.strip() == JSON_INSTRUCT


# -- the header form


def _from_head(status: int, reason: bytes, headers: Headers) -> Instruct:
    mode = _mode(headers)
    channels = _distinct(map(_channel, _pieces(headers, b"grip-channel")))
    timeout = _timeout(first(headers, b"grip-timeout"), HOLD_TIMEOUT_SECONDS, "Grip-Timeout")
    keep_alive = _keep_alive(headers)
    meta = _meta(headers)
    status, reason = _status(first(headers, b"grip-status"), status, reason)
    next_link, gone_link = _links(headers)
    return Instruct(
        response=Response(status, reason, _surviving(headers)),
        mode=mode,
        channels=channels,
        timeout_seconds=max(timeout, HOLD_TIMEOUT_MIN_SECONDS),
        keep_alive=keep_alive,
        meta=meta,
        next_link=next_link,
        gone_link=gone_link,
    )


def _pieces(headers: Headers, name: bytes) -> list[Piece]:
    """The elements of a list header; those that cannot be parsed are dropped (GRIP.md 1.3)."""
    parsed = map(parse_piece, split_all(headers, name))
    return [piece for piece in parsed if piece is not None]


def _mode(headers: Headers) -> HoldMode | None:
    value = first(headers, b"grip-hold")
    if value is None:
        return None
    try:
        return HoldMode(to_text(value))
    except ValueError:
        raise BadValue("Grip-Hold must be set to either 'response' or 'stream'") from None


def _channel(piece: Piece) -> Channel:
    name = to_text(piece.value)
    filters = tuple(to_text(f) for key, f in piece.params if key == b"filter" and f is not None)
    prev_id = piece.get(b"prev-id")
    _check_filters(name, filters)
    if len(piece.value) > values.CHANNEL_MAX_BYTES or len(prev_id or b"") > values.STRING_MAX_BYTES:
        raise BadValue("failed to parse Grip-Channel")
    return Channel(name, None if prev_id is None else to_text(prev_id), filters)


def _distinct(channels: Iterable[Channel]) -> tuple[Channel, ...]:
    """One of each name, the last: a hold is subscribed to a channel once, or not at all."""
    return tuple({channel.name: channel for channel in channels}.values())


def _check_filters(channel: str, filters: tuple[str, ...]) -> None:
    if len(filters) > FILTERS_MAX:
        raise BadValue(f"too many filters for channel '{channel}'")


def _timeout(value: bytes | None, default: int, what: str, noun: str = "") -> int:
    """Seconds. The texts of GRIP.md 1.13 say `value` in one place of a parameter's."""
    if value is None:
        return default
    number = parse_int(value)
    if number is None:
        raise BadValue(f"failed to parse {what}{noun}")
    if number < 0:
        raise BadValue(f"{what} has invalid value")
    return min(number, TIMEOUT_MAX_SECONDS)


def _keep_alive(headers: Headers) -> KeepAlive | None:
    value = first(headers, b"grip-keep-alive")
    piece = parse_piece(value) if value else None
    if piece is None:
        return None
    if not piece.value:
        raise BadValue("Grip-Keep-Alive cannot be empty")
    mode = to_text(piece.get(b"mode") or b"idle")
    if mode not in ("idle", "interval"):
        raise BadValue(f"no such Grip-Keep-Alive mode '{mode}'")
    timeout = _timeout(
        piece.get(b"timeout"),
        KEEP_ALIVE_TIMEOUT_SECONDS,
        "Grip-Keep-Alive timeout",
        " value",
    )
    form = to_text(piece.get(b"format") or b"raw")
    if form == "raw":
        content = piece.value
    elif form == "cstring":
        content = _cstring(piece.value)
    elif form == "base64":
        content = values.decode_base64(piece.value)
    else:
        raise BadValue(f"no such Grip-Keep-Alive format '{form}'")
    return _keep_alive_of(content, timeout, KeepAliveMode(mode))


def _keep_alive_of(content: bytes, timeout_seconds: int, mode: KeepAliveMode) -> KeepAlive | None:
    """A keep-alive, unless it is empty: writing nothing now and then is doing nothing."""
    return KeepAlive(content, max(timeout_seconds, 1), mode) if content else None


def _cstring(text: bytes) -> bytes:
    r"""Resolve \\, \r, \n and \xHH; any other escaped byte goes with its backslash (1.4)."""
    content = _CSTRING_ESCAPE.sub(_cstring_meaning, text) if _CSTRING.fullmatch(text) else b""
    if not content:
        raise BadValue("failed to parse Grip-Keep-Alive cstring format")
    return content


def _cstring_meaning(escape: re.Match[bytes]) -> bytes:
    code = escape.group(1)
    return bytes.fromhex(code[1:].decode()) if len(code) > 1 else _CSTRING_MEANING.get(code, b"")


def _meta(headers: Headers) -> dict[str, str]:
    """`Grip-Set-Meta`: of each element only the first name=value counts (GRIP.md 1.4)."""
    found: dict[str, str] = {}
    for element in split_all(headers, b"grip-set-meta"):
        params = parse_params(element)
        if params is None:
            continue
        if not params or not params[0][0]:
            raise BadValue("Grip-Set-Meta cannot be empty")
        name, value = params[0]
        found[to_text(name)] = to_text(value or b"")
    return found


def _status(value: bytes | None, status: int, reason: bytes) -> tuple[int, bytes]:
    """The status and reason for the client: `Grip-Status`, else the origin's own."""
    if not value:
        return status, reason
    code, _, phrase = value.partition(b" ")
    number = parse_int(code)
    if number is None or not 0 <= number <= values.CODE_MAX:
        raise BadValue("Grip-Status contains invalid status code")
    status = values.status_of(number)
    return status, phrase.strip() or values.standard_reason(status)


def _links(headers: Headers) -> tuple[NextLink | None, str | None]:
    """The last next link and the last gone link (GRIP.md 1.9.1)."""
    next_link: NextLink | None = None
    gone_link: str | None = None
    for piece in _pieces(headers, b"grip-link"):
        if not piece.params:
            continue
        uri = _uri(to_text(piece.value))
        rel = piece.get(b"rel")
        if rel == b"next":
            timeout = piece.get(b"timeout")
            seconds = _timeout(timeout, NEXT_LINK_TIMEOUT_SECONDS, "Grip-Link timeout", " value")
            next_link = NextLink(uri, seconds)
        elif rel == b"gone":
            gone_link = uri
    return next_link, gone_link


def _uri(bracketed: str) -> str:
    if len(bracketed) < 3 or bracketed[0] != "<" or bracketed[-1] != ">":
        raise BadValue("failed to parse Grip-Link value")
    uri = bracketed[1:-1]
    try:
        _ = urlsplit(uri).port  # both steps refuse what they cannot read
    except ValueError:
        raise BadValue("Grip-Link contains invalid link") from None
    if not _URI.fullmatch(uri):
        raise BadValue("Grip-Link contains invalid link")
    return uri


def _surviving(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The origin's headers that reach the client (GRIP.md 1.12, `Grip-Expose-Headers`)."""
    exposed = {name.lower() for name in split_all(headers, b"grip-expose-headers") if name}
    kept = [header for header in to_client(headers) if values.reaches_client(header[0].lower())]
    if not exposed:
        return kept
    return [header for header in kept if header[0].lower() in exposed]


# -- the JSON form


def _with_json(instruct: Instruct, status: int, reason: bytes, body: bytes) -> Instruct:
    """The instruct of the body, over that of the headers (GRIP.md 1.5)."""
    if status != 200:
        raise BadValue("response code for application/grip-instruct content must be 200")
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict | list):
        raise BadValue("failed to parse application/grip-instruct content as JSON")
    if not isinstance(document, dict):
        raise BadValue("instruct must be an object")
    hold = values.member(document, "hold", "instruct")
    if hold is not None:
        instruct = _with_hold(instruct, hold)
    response = values.member(document, "response", "instruct") or {}
    return replace(instruct, response=_json_response(instruct.response, response))


def _with_hold(instruct: Instruct, hold: JsonObject) -> Instruct:
    mode = values.text(hold, "mode", "hold")
    if mode not in (None, "response", "stream"):
        raise BadValue("hold contains 'mode' with unknown value")
    listed = values.array(hold, "channels", "hold")
    if listed is None:
        raise BadValue("hold does not contain 'channels'")
    timeout = values.integer(hold, "timeout", "hold")
    if timeout is None:
        timeout = instruct.timeout_seconds
    keep_alive = values.member(hold, "keep-alive", "hold")
    return replace(
        instruct,
        mode=HoldMode(mode or "response"),
        channels=_distinct([*instruct.channels, *map(_json_channel, listed)]),
        timeout_seconds=min(max(timeout, HOLD_TIMEOUT_MIN_SECONDS), TIMEOUT_MAX_SECONDS),
        keep_alive=instruct.keep_alive if keep_alive is None else _json_keep_alive(keep_alive),
        meta=instruct.meta | values.meta(hold, "hold"),
    )


def _json_channel(channel: object) -> Channel:
    if not isinstance(channel, dict):
        raise BadValue("channels contains value with wrong type")
    name = values.channel_name(channel, "name", "channel")
    filters = values.texts(channel, "filters", "channel") or ()
    _check_filters(name, filters)
    return Channel(name, values.item_id(channel, "prev-id", "channel"), filters)


def _json_keep_alive(keep_alive: JsonObject) -> KeepAlive | None:
    """The JSON form has no mode, and acts as interval (GRIP.md 11, 1)."""
    timeout = values.integer(keep_alive, "timeout", "keep-alive")
    if timeout is None:
        timeout = KEEP_ALIVE_TIMEOUT_SECONDS
    content = values.content(keep_alive, "content", "keep-alive") or b""
    return _keep_alive_of(content, min(timeout, TIMEOUT_MAX_SECONDS), KeepAliveMode.INTERVAL)


def _json_response(head: Response, response: JsonObject) -> Response:
    """The client's response. Of the origin's own head only status and reason are left."""
    status = values.status_code(response, "response")
    reason = values.reason_phrase(response, "response")
    if reason is None:
        reason = head.reason if status is None else values.standard_reason(status)
    return Response(
        status=head.status if status is None else status,
        reason=reason,
        headers=values.headers(response, "response"),
        body=values.content(response, "body", "response") or b"",
    )
