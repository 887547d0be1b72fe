"""The rules of GRIP on control's side: items that are published, instructs that are answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from control.grip.instruct import HoldMode, Instruct
from control.grip.item import items_from_json

ITEM = {
    "channel": "news",
    "id": "7",
    "prev-id": "6",
    "formats": {
        "http-stream": {"content": "data: " + "x" * 64 + "\n\n"},
        "http-response": {"body": "x" * 64, "headers": {"Content-Type": "text/plain"}},
    },
}
HEADERS = [
    (b"Content-Type", b"text/event-stream"),
    (b"Grip-Hold", b"stream"),
    (b"Grip-Channel", b"news; prev-id=6, weather"),
    (b"Grip-Keep-Alive", rb":\n\n; format=cstring; timeout=20"),
    (b"Content-Length", b"0"),
]
DOCUMENT = orjson.dumps(
    {
        "hold": {
            "mode": "stream",
            "channels": [{"name": "news", "prev-id": "6"}, {"name": "weather"}],
        },
        "response": {"headers": {"Content-Type": "text/event-stream"}},
    }
)


@pytest.mark.parametrize("count", [1, 100])
def test_items(measure: Callable[..., Any], count: int) -> None:
    body = orjson.dumps({"items": [ITEM] * count})
    assert len(measure(items_from_json, body, calls=1000 // count)) == count


def test_instruct_in_headers(measure: Callable[..., Any]) -> None:
    instruct = measure(Instruct.from_response, 200, b"OK", HEADERS, b"")
    assert instruct.mode is HoldMode.STREAM
    assert len(instruct.channels) == 2


def test_instruct_in_json(measure: Callable[..., Any]) -> None:
    headers = [(b"Content-Type", b"application/grip-instruct")]
    instruct = measure(Instruct.from_response, 200, b"OK", headers, DOCUMENT)
    assert instruct.mode is HoldMode.STREAM
    assert len(instruct.channels) == 2
