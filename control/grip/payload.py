"""What ZeroMQ carries: one value a message, as a tnetstring or as JSON (GRIP.md 2.3, 9.1, 9.2).

    payload = "J" JSON | "T" tnetstring | tnetstring

A tnetstring's map gets the shape of a JSON object, and is then checked by the same rules. Imports
`tnetstring`, which is part of the extra `fanway[zmq]`: nothing but ZeroMQ's rooms imports this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
import tnetstring  # type: ignore[import-untyped]

from control.errors import ItemError
from control.grip.fields import to_text
from control.grip.item import Item
from control.grip.values import BadValue, JsonObject

TNETSTRING = b"T"
JSON = b"J"

# What holds the content of each format. In a tnetstring it is bytes, and needs no base64: of the
# members that JSON has for that only ws-message's is recognised (GRIP.md 2.5).
_CONTENTS = {
    "http-response": ("body", "body-bin"),
    "http-stream": ("content", "content-bin"),
    "ws-message": ("content", "content-bin"),
}
_NOTHING: Mapping[str, tuple[str, ...]] = {}
_SET_BY_BINARY = "ws-message"


def read_item(payload: bytes, channel: str | None = None) -> Item:
    """Read a published item. Raises ItemError.

    `channel`, where it is known otherwise, replaces whatever the item says of it.
    """
    try:
        if payload.startswith(JSON):
            value = _json(payload[1:])
        else:
            value = item_shape(read_tnetstring(payload.removeprefix(TNETSTRING)))
        if channel is not None and isinstance(value, dict):
            value["channel"] = channel
    except BadValue as error:
        raise ItemError(str(error)) from None
    return Item.from_json(value)


def read_tnetstring(text: bytes) -> object:
    """Read one tnetstring and nothing behind it. Raises BadValue."""
    try:
        value, rest = tnetstring.pop(text)
    except (ValueError, OverflowError, RecursionError):
        raise BadValue("not a tnetstring") from None
    if rest:
        raise BadValue(f"{len(rest)} bytes behind the tnetstring")
    return value


def write_tnetstring(value: object) -> bytes:
    """Write a value; text is written as UTF-8, and what was no UTF-8 when read as it was."""
    written: bytes = tnetstring.dumps(_raw(value))
    return written


def write(value: JsonObject, *, as_json: bool) -> bytes:
    """Write a payload with the letter that says how it is written."""
    if as_json:
        return JSON + orjson.dumps(_printable(value))
    return TNETSTRING + write_tnetstring(value)


def item_shape(value: object) -> object:
    """Give an item that came in a tnetstring the shape of JSON. Raises BadValue."""
    shaped = shape(value, kept=_CONTENTS)
    if isinstance(shaped, dict):
        formats = shaped.get("formats")
        _settle_contents(formats if isinstance(formats, dict) else shaped)
    return shaped


def shape(value: object, *, kept: Mapping[str, tuple[str, ...]] = _NOTHING) -> object:
    """Decode the text in a tnetstring's value. Raises BadValue.

    The content of the formats named in `kept` stays as it is.
    """
    try:
        return _shape(value, kept, ())
    except RecursionError:
        raise BadValue("nested too deep") from None


def _shape(value: object, kept: Mapping[str, tuple[str, ...]], contents: tuple[str, ...]) -> object:
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, list):
        return [_shape(element, _NOTHING, ()) for element in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue("a number that is none")
    if not isinstance(value, dict):
        return value
    shaped: JsonObject = {}
    for raw, element in value.items():
        if not isinstance(raw, bytes):
            raise BadValue("a map with a key that is not a string")
        key = to_text(raw)
        if key in contents and isinstance(element, bytes):
            shaped[key] = element
        else:
            shaped[key] = _shape(element, kept, kept.get(key, ()))
    return shaped


def _settle_contents(formats: JsonObject) -> None:
    """Put each format's content where the rules for JSON look for it."""
    for name, (plain, binary) in _CONTENTS.items():
        form = formats.get(name)
        if not isinstance(form, dict):
            continue
        raw = form.pop(binary, None)
        if name == _SET_BY_BINARY and raw is not None:
            form[plain] = raw
            form.setdefault("type", "binary")
        if "body-patch" in form:
            _check_json(form["body-patch"])


def _check_json(patch: object) -> None:
    try:
        orjson.dumps(patch)
    except TypeError:  # text that is no UTF-8, or a number of more than 64 bits
        raise BadValue("'http-response' contains 'body-patch' with wrong type") from None


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadValue("not JSON") from None


def _raw(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_raw(element) for element in value]
    if isinstance(value, dict):
        # The library writes a map from its end.
        return {_raw(key): _raw(element) for key, element in reversed(value.items())}
    return value


def _printable(value: JsonObject) -> JsonObject:
    # What is no UTF-8 cannot stand in JSON.
    return {
        key: element.encode("utf-8", "replace").decode() if isinstance(element, str) else element
        for key, element in value.items()
    }
