"""Spelling: requests and responses as bytes, so that tests say only what matters to them."""

from __future__ import annotations

import json
from typing import Any


def request(
    host: str,
    target: str = "/",
    *headers: str,
    method: str = "GET",
    body: bytes | None = None,
    version: str = "1.1",
) -> bytes:
    """A request; with a body, a sized one."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(*pieces: bytes) -> bytes:
    """A chunked body of these pieces."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def answer(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    """A complete, sized response."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def instruct(document: Any, *headers: str, status: str = "200 OK") -> bytes:
    """A response whose body is a JSON instruct; text is sent as it is."""
    text = document if isinstance(document, str) else json.dumps(document)
    media_type = "Content-Type: application/grip-instruct"
    return answer(media_type, *headers, body=text.encode(), status=status)
