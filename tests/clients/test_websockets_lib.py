"""The `websockets` client, as its users use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from support.chat import Room

Join = Callable[..., ClientConnection]

LARGE = "ä" * 40_000


@pytest.fixture
def join(room: Room, way: str) -> Iterator[Join]:
    """Enter the room."""
    with ExitStack() as clients:

        def join(**options: Any) -> ClientConnection:
            client = clients.enter_context(connect(room.url(way), max_size=None, **options))
            assert client.recv(timeout=10) == "welcome"
            return client

        yield join


def test_what_it_says_comes_back(join: Join) -> None:
    client = join()
    for message in ("hello", b"\x00\xff", "", LARGE):
        client.send(message)
        assert client.recv(timeout=10) == message


def test_a_fragmented_message_comes_back_whole(join: Join) -> None:
    client = join()
    client.send(["one ", "two ", "three"])
    assert client.recv(timeout=10) == "one two three"


def test_a_publish_reaches_every_client(join: Join, room: Room) -> None:
    clients = [join(), join(compression=None), join()]
    room.publish("to all")
    room.publish(b"\x00\x01")
    for client in clients:
        assert client.recv(timeout=10) == "to all"
        assert client.recv(timeout=10) == b"\x00\x01"


def test_compression_is_negotiated_and_both_ends_agree(join: Join, room: Room) -> None:
    client = join()
    assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
    client.send(LARGE)
    assert client.recv(timeout=10) == LARGE
    room.publish(LARGE)
    assert client.recv(timeout=10) == LARGE


def test_the_sub_protocol_is_the_origins_choice(join: Join) -> None:
    client = join(subprotocols=["other.example", "chat.example"])
    assert client.subprotocol == "chat.example"


def test_a_ping_is_answered(join: Join) -> None:
    assert join().ping(b"payload").wait(10)


def test_a_close_is_answered_with_its_code_and_reason(join: Join) -> None:
    client = join()
    client.close(CloseCode.GOING_AWAY, "bye")
    assert client.protocol.close_rcvd
    assert (client.protocol.close_code, client.protocol.close_reason) == (1001, "bye")


def test_a_published_close_ends_the_connection(join: Join, room: Room) -> None:
    client = join()
    room.fanway.publish("room", {"ws-message": {"action": "close", "code": 1000, "reason": "over"}})
    with pytest.raises(ConnectionClosedOK) as ended:
        client.recv(timeout=10)
    assert ended.value.rcvd
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1000, "over")
