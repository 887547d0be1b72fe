"""A page in a browser: one WebSocket and one EventSource, and a publish that reaches both."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from support.chat import Room
from support.programs import CLIENTS, found

START_SECONDS = 60.0  # a browser's first start on a slow machine
FLAGS = (  # those after the third keep it from calling home
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def page(room: Room) -> Iterator[None]:
    """The page, open in Chromium."""
    chromium = found("chromium", "chromium-browser", "google-chrome")
    room.chat.page = (CLIENTS / "page.html").read_text()
    # What it leaves behind goes with the folder. Its path is short: a socket will be in it.
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as folder:
        browser = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={folder}/profile", room.url("", "http")],
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield
        browser.terminate()
        browser.wait(10)


def _heard(room: Room, count: int, seconds: float = 10.0) -> list[list[Any]]:
    """What the page tells next; its two clients take their turns in any order."""
    return sorted(json.loads(room.chat.told.get(timeout=seconds)) for _ in range(count))


def test_a_page_receives_a_publish_on_both(room: Room, page: None) -> None:
    assert _heard(room, 2, START_SECONDS) == [["EventSource", "open"], ["WebSocket", "welcome"]]
    room.publish("to all")
    assert _heard(room, 2) == [["EventSource", "to all"], ["WebSocket", "to all"]]
    room.fanway.publish("room", {"ws-message": {"action": "close", "code": 1000, "reason": "over"}})
    assert _heard(room, 1) == [["WebSocket closed", 1000, "over"]]
