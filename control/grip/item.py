"""What publishers post: items and their formats (GRIP.md 2.2, 2.4, 2.5).

This is the publish path: an item is checked once, here, and is a value from then on. Never
delivers, orders or filters anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from control.errors import ItemError
from control.grip import values
from control.grip.values import BadValue, JsonObject

CLOSE_CODE_MAX = 0xFFFF  # a close code is two bytes, RFC 6455 5.5.1


class Action(Enum):
    """What a format does to those it reaches. Not every action means something to every format."""

    SEND = "send"
    HINT = "hint"
    CLOSE = "close"
    REFRESH = "refresh"


class WsType(Enum):
    """The kind of WebSocket message that a ws-message becomes."""

    TEXT = "text"
    BINARY = "binary"
    PING = "ping"
    PONG = "pong"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """http-response: answers response holds. Of a SEND, exactly one of body and patch is set."""

    action: Action
    status: int = 200
    reason: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None
    body_patch: tuple[Any, ...] | None = None  # JSON values, GRIP.md 2.6.1
    content_filters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HttpStream:
    """http-stream: appends to stream holds."""

    action: Action
    content: bytes = b""
    content_filters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class WsMessage:
    """ws-message: a message to WebSockets. `code` and `reason` are those of a CLOSE."""

    action: Action
    type: WsType = WsType.TEXT
    content: bytes = b""
    content_filters: tuple[str, ...] | None = None
    code: int | None = None
    reason: bytes = b""


Format = HttpResponse | HttpStream | WsMessage


@dataclass(frozen=True, slots=True)
class Item:
    """One published item. At most one format of each kind; none if all were unknown."""

    channel: str
    formats: tuple[Format, ...]
    id: str | None = None
    prev_id: str | None = None
    meta: dict[str, str] | None = None  # for filters; None if not given
    size: int | None = None  # replaces the content's size where rates are counted
    no_seq: bool = False  # bypasses sequencing

    @classmethod
    def from_json(cls, value: object) -> Item:
        """Check one element of `items`. Raises ItemError."""
        try:
            return _item(value)
        except BadValue as error:
            raise ItemError(str(error)) from None


def items_from_json(body: bytes) -> list[Item]:
    """The items of a publish body, all of them or none. Raises ItemError with the answer's text."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ItemError("Body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise ItemError("Invalid format.")
    if "items" not in document:
        raise ItemError("Invalid format: object does not contain 'items'")
    items = document["items"]
    if not isinstance(items, list):
        raise ItemError("Invalid format: object contains 'items' with wrong type")
    try:
        return [_item(item) for item in items]
    except BadValue as error:
        raise ItemError(f"Invalid format: {error}") from None


_ITEM = "publish item object"


def _item(value: object) -> Item:
    if not isinstance(value, dict):
        raise BadValue(f"{_ITEM} is not an object")
    item: JsonObject = value
    return Item(
        channel=values.channel_name(item, "channel", _ITEM),
        formats=_formats(item),
        id=values.item_id(item, "id", _ITEM),
        prev_id=values.item_id(item, "prev-id", _ITEM),
        meta=values.meta(item, _ITEM) if "meta" in item else None,
        size=values.integer(item, "size", _ITEM),
        no_seq=_flag(item, "no-seq"),
    )


def _flag(item: JsonObject, key: str) -> bool:
    value = item.get(key, False)
    if not isinstance(value, bool):
        raise BadValue(f"{_ITEM} contains '{key}' with wrong type")
    return value


def _formats(item: JsonObject) -> tuple[Format, ...]:
    """The formats, from `formats` or, if that is absent, from the item itself (GRIP.md 2.4)."""
    formats = values.member(item, "formats", _ITEM)
    if formats is None:
        formats = {name: item[name] for name in _READERS if name in item}
    if not formats:
        raise BadValue("no formats specified")
    return tuple(_format(name, formats[name]) for name in formats if name in _READERS)


def _format(name: str, value: object) -> Format:
    if not isinstance(value, dict):
        raise BadValue(f"{_ITEM} contains '{name}' with wrong type")
    where = f"'{name}'"
    return _READERS[name](value, where, _action(value, where))


def _action(owner: JsonObject, where: str) -> Action:
    name = values.text(owner, "action", where)
    if name is None:
        return Action.SEND
    action = _ACTIONS.get(name)
    if action is None:
        raise BadValue(f"{where} contains 'action' with unknown value")
    return action


def _http_response(owner: JsonObject, where: str, action: Action) -> HttpResponse:
    if action is not Action.SEND:
        return HttpResponse(action)
    status = values.status_code(owner, where) or 200
    reason = values.reason_phrase(owner, where)
    body = values.content(owner, "body", where)
    patch = values.array(owner, "body-patch", where) if body is None else None
    if body is None and patch is None:
        raise BadValue(f"{where} does not contain 'body', 'body-bin', or 'body-patch'")
    return HttpResponse(
        action,
        status,
        values.standard_reason(status) if reason is None else reason,
        tuple(values.headers(owner, where)),
        body,
        None if patch is None else tuple(patch),
        values.texts(owner, "content-filters", where),
    )


def _http_stream(owner: JsonObject, where: str, action: Action) -> HttpStream:
    if action is not Action.SEND:
        return HttpStream(action)
    content = values.content(owner, "content", where)
    if content is None:
        raise BadValue(f"{where} does not contain 'content' or 'content-bin'")
    return HttpStream(action, content, values.texts(owner, "content-filters", where))


def _ws_message(owner: JsonObject, where: str, action: Action) -> WsMessage:
    if action is Action.CLOSE:
        code = values.integer(owner, "code", where, most=CLOSE_CODE_MAX)
        reason = values.reason_phrase(owner, where)
        return WsMessage(action, code=code, reason=reason or b"")
    if action is not Action.SEND:
        return WsMessage(action)
    content = values.content(owner, "content", where)
    kind = _ws_type(owner, where)
    if content is None and kind not in (WsType.PING, WsType.PONG):
        raise BadValue(f"{where} does not contain 'content' or 'content-bin'")
    filters = values.texts(owner, "content-filters", where)
    return WsMessage(action, kind, content or b"", filters)


def _ws_type(owner: JsonObject, where: str) -> WsType:
    """The type given, else what the content's own form says (GRIP.md 2.5)."""
    name = values.text(owner, "type", where)
    if name is None:
        return WsType.BINARY if "content-bin" in owner else WsType.TEXT
    kind = _WS_TYPES.get(name)
    if kind is None:
        raise BadValue(f"{where} contains 'type' with unknown value")
    return kind


_READERS: dict[str, Callable[[JsonObject, str, Action], Format]] = {
    "http-response": _http_response,
    "http-stream": _http_stream,
    "ws-message": _ws_message,
}
# Plain dictionaries: calling an Enum costs more than all the rest of a format.
_ACTIONS = {action.value: action for action in Action}
_WS_TYPES = {kind.value: kind for kind in WsType}
