"""The checks that JSON instructs and published items share, with GRIP's texts (GRIP.md 1.5, 2.5).

Each reads one member of a JSON object; `where` names that object in the error. Nothing here knows
what a member means.
"""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from typing import Any

from control.grip.fields import to_bytes

JsonObject = dict[str, Any]
"""A JSON object, or a tnetstring's map in the same shape: text is str, content may be bytes."""

CHANNEL_MAX_BYTES = 4096  # CHANNEL_NAME_MAX of fastpath/limits.pxd
STRING_MAX_BYTES = 0xFFFF  # an id, a reason, a header name: their length is a u16 on the link
HEADERS_MAX = (
    1000  # of one block in JSON; far above the 64 of a head, far below the u16 of the link
)
CODE_MAX = 999  # GRIP.md 1.4: a status has at most three digits
STATUS_MIN = 200  # below is none that ends a response (RFC 9110 15.2)
STATUS_OF_NONE = 500  # what a client makes of a status that is none (RFC 9110 15)

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 5.6.2
_LINE_BREAKER = re.compile(r"[\r\n\0]")  # RFC 9110 5.5: what could end a line of a head early
_REASONS = {int(status): status.phrase.encode() for status in HTTPStatus}

# The worker frames what it sends: no instruct and no publisher may say how.
FRAMING_HEADERS = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"content-length"})


class BadValue(ValueError):
    """A value is missing, or not as required. The text is GRIP's."""


def status_of(code: int) -> int:
    """The status that a client is given for a code of 0 to 999 (GRIP.md 1.4, 1.5, 2.5).

    An HTTP client takes what is below 200 for no answer: it would wait for one behind it.
    """
    return code if code >= STATUS_MIN else STATUS_OF_NONE


def status_code(owner: JsonObject, where: str) -> int | None:
    """The status for the `code` of a response; None if absent."""
    code = integer(owner, "code", where, most=CODE_MAX)
    return None if code is None else status_of(code)


def standard_reason(status: int) -> bytes:
    """The reason phrase of a status; empty if it has none."""
    return _REASONS.get(status, b"")


def decode_base64(text: str | bytes) -> bytes:
    """Decode leniently: bad characters are skipped, padding may be missing (GRIP.md 1.4, 2.5)."""
    raw = text.encode() if isinstance(text, str) else text
    digits = _NOT_BASE64.sub(b"", raw)
    whole = len(digits) - (len(digits) % 4 == 1)  # one digit alone is less than a byte
    return base64.b64decode(digits[:whole] + b"=" * (-whole % 4))


def text(owner: JsonObject, key: str, where: str) -> str | None:
    """A string; None if absent."""
    value = owner.get(key)
    if isinstance(value, str):
        return value
    if key not in owner:
        return None
    raise BadValue(f"{where} contains '{key}' with wrong type")


def required_text(owner: JsonObject, key: str, where: str) -> str:
    """A string that must be there."""
    value = text(owner, key, where)
    if value is None:
        raise BadValue(f"{where} does not contain '{key}'")
    return value


def channel_name(owner: JsonObject, key: str, where: str) -> str:
    """A channel's name, at most CHANNEL_MAX_BYTES long; may be empty."""
    name = required_text(owner, key, where)
    if len(to_bytes(name)) > CHANNEL_MAX_BYTES:
        raise BadValue(f"{where} contains '{key}' with invalid value")
    return name


def item_id(owner: JsonObject, key: str, where: str) -> str | None:
    """The id of an item; None if absent or null."""
    if owner.get(key) is None:
        return None
    value = text(owner, key, where)
    if value is not None and len(to_bytes(value)) > STRING_MAX_BYTES:
        raise BadValue(f"{where} contains '{key}' with invalid value")
    return value


def reason_phrase(owner: JsonObject, where: str) -> bytes | None:
    """The `reason` of a response; None if absent."""
    value = text(owner, "reason", where)
    if value is None:
        return None
    raw = to_bytes(value)
    if _LINE_BREAKER.search(value) or len(raw) > STRING_MAX_BYTES:
        raise BadValue(f"{where} contains 'reason' with invalid value")
    return raw


def integer(owner: JsonObject, key: str, where: str, most: int | None = None) -> int | None:
    """An integer from 0 to `most`; None if absent.

    A real number is rounded and a numeric string is read, as origins in loosely typed languages
    send them (GRIP.md 1.5); what is no number at all is an error.
    """
    if key not in owner:
        return None
    value = owner[key]
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{where} contains '{key}' with wrong type")
    number = round(value)
    if number < 0 or (most is not None and number > most):
        raise BadValue(f"{where} contains '{key}' with invalid value")
    return number


def member(owner: JsonObject, key: str, where: str) -> JsonObject | None:
    """An object; None if absent."""
    if key not in owner:
        return None
    value = owner[key]
    if not isinstance(value, dict):
        raise BadValue(f"{where} contains '{key}' with wrong type")
    return value


def array(owner: JsonObject, key: str, where: str) -> list[Any] | None:
    """A list of anything; None if absent."""
    if key not in owner:
        return None
    value = owner[key]
    if not isinstance(value, list):
        raise BadValue(f"{where} contains '{key}' with wrong type")
    return value


def texts(owner: JsonObject, key: str, where: str) -> tuple[str, ...] | None:
    """A list of strings; None if absent."""
    value = array(owner, key, where)
    if value is None:
        return None
    if not all(isinstance(element, str) for element in value):
        raise BadValue(f"{key} contains value with wrong type")
    return tuple(value)


def meta(owner: JsonObject, where: str) -> dict[str, str]:
    """The `meta` object: strings by name; empty if absent."""
    value = member(owner, "meta", where) or {}
    for key, element in value.items():
        if not isinstance(element, str):
            raise BadValue(f"'meta' contains '{key}' with wrong type")
    return value


def content(owner: JsonObject, key: str, where: str) -> bytes | None:
    """Bytes, from `key`-bin in base64, else from `key` as text; None if neither is there.

    What is bytes already, because it came in a tnetstring, is taken as it is.
    """
    binary = text(owner, f"{key}-bin", where)
    if binary is not None:
        return decode_base64(binary)
    if isinstance(plain := owner.get(key), bytes):
        return plain
    plain = text(owner, key, where)
    return None if plain is None else plain.encode()


def headers(owner: JsonObject, where: str) -> list[tuple[bytes, bytes]]:
    """The `headers` that shall reach the client, from an object or a list of pairs.

    `Grip-*` headers and those that frame a message are left out.
    """
    value = owner.get("headers", [])
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [_pair(element) for element in value]
    else:
        raise BadValue(f"{where} contains 'headers' with wrong type")
    if len(pairs) > HEADERS_MAX:
        raise BadValue("headers contains too many elements")
    block = [_header(name, element) for name, element in pairs]
    return [header for header in block if reaches_client(header[0].lower())]


def reaches_client(name: bytes) -> bool:
    """Whether a header that was meant for the client goes there, by its lower-case name."""
    return name not in FRAMING_HEADERS and not name.startswith(b"grip-")


def _pair(element: object) -> tuple[Any, Any]:
    if not isinstance(element, list):
        raise BadValue("headers contains element with wrong type")
    if len(element) != 2:
        raise BadValue("headers contains list with wrong number of elements")
    return element[0], element[1]


def _header(name: object, value: object) -> tuple[bytes, bytes]:
    if not isinstance(name, str) or not isinstance(value, str):
        raise BadValue(f"headers contains '{name}' with wrong type")
    if not _TOKEN.fullmatch(name) or len(name) > STRING_MAX_BYTES:
        raise BadValue(f"headers contains invalid name '{name}'")
    if _LINE_BREAKER.search(value):
        raise BadValue(f"headers contains '{name}' with invalid value")
    return name.encode(), to_bytes(value.strip())
