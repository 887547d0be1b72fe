"""npm's `ws`, the WebSocket client of Node.js programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.chat import Room
from support.programs import CLIENTS, Program, node


class Ws(Program):
    """The client, in the words of its script."""

    def tell(self, *words: Any) -> None:
        self.say(json.dumps(words))

    def heard(self) -> list[Any]:
        said: list[Any] = json.loads(self.line())
        return said


@pytest.fixture
def client(room: Room, way: str) -> Iterator[Ws]:
    with Ws([*node("npm_ws.mjs"), room.url(way)]) as client:
        assert client.heard() == ["open", "chat.example", "permessage-deflate"]
        assert client.heard() == ["text", "welcome"]
        yield client


def test_what_it_says_comes_back(client: Ws) -> None:
    for message in (["text", "hello"], ["binary", "00ff"], ["text", "long " * 10_000]):
        client.tell(*message)
        assert client.heard() == message


def test_it_receives_a_publish(client: Ws, room: Room) -> None:
    room.publish("to all " * 100)
    room.publish(b"\x00\x01")
    assert client.heard() == ["text", "to all " * 100]
    assert client.heard() == ["binary", "0001"]


def test_its_ping_is_answered(client: Ws) -> None:
    client.tell("ping", "payload")
    assert client.heard() == ["pong", "payload"]


def test_its_close_is_answered(client: Ws) -> None:
    client.tell("close", 1001, "bye")
    assert client.heard() == ["close", 1001, "bye"]


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((CLIENTS / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
