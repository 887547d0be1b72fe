"""Control messages of a WebSocket in GRIP mode (GRIP.md 5.4): what an origin tells the proxy.

Reads the JSON object after `c:`. Never decides what a session does with it, or whether it may.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from control.grip import values
from control.grip.instruct import TIMEOUT_MAX_SECONDS, KeepAliveMode
from control.grip.item import WsType
from control.grip.values import BadValue, JsonObject

KEEP_ALIVE_TIMEOUT_SECONDS = 55
DELAY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to a channel, or replace its filters. More than FILTERS_MAX end the session."""

    channel: str
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Leave a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class Detach:
    """Close the origin's side and keep the client's."""


@dataclass(frozen=True, slots=True)
class SetMeta:
    """Set a value that filters read; None removes it."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Start or replace the keep-alive; without content, stop it."""

    content: bytes = b""
    type: WsType = WsType.TEXT
    timeout_seconds: int = KEEP_ALIVE_TIMEOUT_SECONDS
    mode: KeepAliveMode = KeepAliveMode.IDLE


@dataclass(frozen=True, slots=True)
class SendDelayed:
    """Send a message after some time; one that is waiting goes out first."""

    content: bytes
    type: WsType = WsType.TEXT
    timeout_seconds: int = DELAY_SECONDS


@dataclass(frozen=True, slots=True)
class FlushDelayed:
    """Send the waiting message now."""


Control = Subscribe | Unsubscribe | Detach | SetMeta | KeepAlive | SendDelayed | FlushDelayed

_WHERE = "control message"


def parse_control(text: bytes) -> Control:
    """Read what follows `c:`. Raises ValueError saying why the message is to be ignored."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadValue(f"{_WHERE} is not valid JSON") from None
    if not isinstance(message, dict):
        raise BadValue(f"{_WHERE} is not an object")
    kind = values.required_text(message, "type", _WHERE)
    reader = _READERS.get(kind)
    if reader is None:
        raise BadValue(f"{_WHERE} contains 'type' with unknown value")
    return reader(message)


def _subscribe(message: JsonObject) -> Subscribe:
    return Subscribe(_channel(message), values.texts(message, "filters", _WHERE) or ())


def _unsubscribe(message: JsonObject) -> Unsubscribe:
    return Unsubscribe(_channel(message))


def _detach(message: JsonObject) -> Detach:
    return Detach()


def _set_meta(message: JsonObject) -> SetMeta:
    name = values.required_text(message, "name", _WHERE)
    if not name:
        raise BadValue(f"{_WHERE} contains 'name' with invalid value")
    value = None if message.get("value") is None else values.text(message, "value", _WHERE)
    return SetMeta(name, value)


def _keep_alive(message: JsonObject) -> KeepAlive:
    content = values.content(message, "content", _WHERE)
    if not content:
        return KeepAlive()
    interval = values.text(message, "mode", _WHERE) == "interval"
    return KeepAlive(
        content,
        _message_type(message),
        _seconds(message, KEEP_ALIVE_TIMEOUT_SECONDS),
        KeepAliveMode.INTERVAL if interval else KeepAliveMode.IDLE,
    )


def _send_delayed(message: JsonObject) -> SendDelayed:
    content = values.content(message, "content", _WHERE)
    if content is None:
        raise BadValue(f"{_WHERE} does not contain 'content' or 'content-bin'")
    return SendDelayed(content, _message_type(message), _seconds(message, DELAY_SECONDS))


def _flush_delayed(message: JsonObject) -> FlushDelayed:
    return FlushDelayed()


def _channel(message: JsonObject) -> str:
    channel = values.channel_name(message, "channel", _WHERE)
    if not channel:
        raise BadValue(f"{_WHERE} contains 'channel' with invalid value")
    return channel


def _message_type(message: JsonObject) -> WsType:
    """The kind of message to send; text even for `content-bin` (GRIP.md 5.4)."""
    name = values.text(message, "message-type", _WHERE)
    try:
        return WsType(name or "text")
    except ValueError:
        raise BadValue(f"{_WHERE} contains 'message-type' with unknown value") from None


def _seconds(message: JsonObject, default: int) -> int:
    """The `timeout`; absent or 0 it is the default."""
    return min(values.integer(message, "timeout", _WHERE) or default, TIMEOUT_MAX_SECONDS)


_READERS: dict[str, Callable[[JsonObject], Control]] = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "detach": _detach,
    "set-meta": _set_meta,
    "keep-alive": _keep_alive,
    "send-delayed": _send_delayed,
    "flush-delayed": _flush_delayed,
}
