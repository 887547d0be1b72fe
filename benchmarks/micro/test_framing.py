"""Bytes to and from clients. The door from Python into each C part costs its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.micro.conftest import HEAD_MAX_BYTES, REQUEST
from fastpath import probe_session, probe_wire
from fastpath.http_reader import HttpReader

HEADERS = [
    (b"Content-Type", b"text/event-stream"),
    (b"Cache-Control", b"no-cache"),
    (b"Date", b"Tue, 24 Nov 2026 12:00:00 GMT"),
]


@pytest.mark.parametrize("size", [64, 1024, 65536])
def test_chunk(measure: Callable[..., Any], size: int) -> None:
    content = b"x" * size
    assert measure(probe_wire.chunk, content).endswith(content + b"\r\n")


def test_response_head(measure: Callable[..., Any]) -> None:
    framing = b"Transfer-Encoding: chunked\r\n"
    head = measure(probe_wire.head, 1, 200, b"OK", HEADERS, framing)
    assert head.endswith(framing + b"\r\n")


def test_request_head(measure: Callable[..., Any]) -> None:
    def read() -> list[Any]:
        return probe_session.read_requests(HttpReader(HEAD_MAX_BYTES, 0), REQUEST)

    assert measure(read)[0]["method"] == b"GET"
