"""Instructs as tests write them down: a header a line, or a JSON document."""

from __future__ import annotations

import json
from typing import Any

from control.grip.instruct import Instruct

Header = tuple[bytes, bytes]


def headers(text: str) -> list[Header]:
    """The header block of a text with one header a line."""
    lines = (line.strip().partition(":") for line in text.splitlines() if line.strip())
    return [(name.encode(), value.strip().encode("utf-8")) for name, _, value in lines]


def from_headers(text: str, *, status: int = 200, body: bytes = b"") -> Instruct:
    """The instruct of a response with these headers."""
    return Instruct.from_response(status, b"Fine", headers(text), body)


def from_json(document: object, *, status: int = 200, extra: str = "") -> Instruct:
    """The instruct of a JSON document, or of bytes in its place; `extra` are more headers."""
    block = headers("Content-Type: application/grip-instruct\n" + extra)
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Instruct.from_response(status, b"Fine", block, body)


def hold(**fields: Any) -> dict[str, Any]:
    """A JSON instruct with a hold of one channel; fields replace those of the hold."""
    return {"hold": {"channels": [{"name": "a"}]} | fields}
