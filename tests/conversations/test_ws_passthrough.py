"""WebSocket clients of a WebSocket origin (GRIP.md 5), from end to end."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.server import ServerConnection

from support.fanway import Fanway
from support.origin import Hub
from support.spelling import answer
from support.waiting import until

PASSED_HOST = "passed.test"
GRIP_HOST = "grip.test"
BIG_BYTES = 16 * 1024 * 1024

Connect = Callable[..., Any]

_paths = itertools.count(1)


@pytest.fixture
def at(ws_origin: Any) -> Callable[..., str]:
    """The path at which the origin does this."""

    def at(handler: Callable[[ServerConnection], None], folder: str = "/") -> str:
        return ws_origin.at(f"{folder}{next(_paths)}", handler)

    return at


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def test_168_messages_pass_unchanged_both_ways(ws_connect: Connect, at: Any) -> None:
    client = ws_connect(PASSED_HOST, at(echo))
    for message in ("hello", "", "c:{}", "m:x", "ü" * 40_000, b"", b"\x00\xff" * 100):
        client.send(message)
        assert client.recv(5) == message


def test_fragments_stay_fragments(ws_connect: Connect, at: Any) -> None:
    def pieces(connection: ServerConnection) -> None:
        heard = list(connection.recv_streaming())
        connection.send(iter([*heard, "!"]))
        connection.recv()

    client = ws_connect(PASSED_HOST, at(pieces))
    client.send(iter(["one ", "two ", "three"]))
    assert "".join(client.recv_streaming()) == "one two three!"


def test_a_message_of_16_mib_passes_both_ways(ws_connect: Connect, at: Any) -> None:
    client = ws_connect(PASSED_HOST, at(echo))
    content = os.urandom(BIG_BYTES)
    client.send(content)
    assert client.recv(20) == content


def test_a_message_of_16_mib_passes_in_constant_memory(
    ws_connect: Connect, ws_fanway: Fanway, at: Any
) -> None:
    """While nobody reads, nobody keeps what does not fit."""
    went = threading.Event()

    def floods(connection: ServerConnection) -> None:
        connection.send(bytes(4 * BIG_BYTES))
        went.set()
        connection.recv()

    client = ws_connect(PASSED_HOST, at(floods))
    before = sum(ws_fanway.resident_bytes().values())
    got = sum(len(piece) for piece in client.recv_streaming(decode=False))
    assert got == 4 * BIG_BYTES
    assert went.wait(10)
    assert sum(ws_fanway.resident_bytes().values()) - before < BIG_BYTES


def test_pings_pass_end_to_end_with_their_content(ws_connect: Connect, at: Any) -> None:
    def pings(connection: ServerConnection) -> None:
        assert connection.ping("from the origin").wait(5)
        connection.send("ponged")
        connection.recv()

    client = ws_connect(PASSED_HOST, at(pings))
    assert client.recv(5) == "ponged"
    assert client.ping("from the client").wait(5)


def test_182_the_subprotocol_of_the_origin_is_returned(ws_connect: Connect, at: Any) -> None:
    client = ws_connect(PASSED_HOST, at(echo), subprotocols=["a", "chat"])
    assert client.subprotocol == "chat"


def test_167_the_origin_is_offered_the_extension_and_no_other(
    ws_connect: Connect, at: Any, ws_origin: Any
) -> None:
    path = at(echo)
    said = {"Grip-Foo": "1", "X-Kept": "1"}
    client = ws_connect(PASSED_HOST, path, compression="deflate", additional_headers=said)
    assert "Sec-WebSocket-Extensions" not in client.response.headers
    (asked,) = [one for one in ws_origin.requests if one.path == path]
    assert asked.headers.get_all("Sec-WebSocket-Extensions") == ["grip"]
    assert asked.headers["Grip-Sig"]
    assert "link:next" in asked.headers["Grip-Feature"]
    assert "Grip-Foo" not in asked.headers
    assert asked.headers["X-Kept"] == "1"
    assert asked.headers["Sec-WebSocket-Key"] != client.request.headers["Sec-WebSocket-Key"]


def test_189_a_no_grip_route_offers_no_extension(
    ws_connect: Connect, at: Any, ws_origin: Any
) -> None:
    path = at(echo, "/plain/")
    client = ws_connect(PASSED_HOST, path)
    client.send("m:as it is")
    assert client.recv(5) == "m:as it is"
    (asked,) = [one for one in ws_origin.requests if one.path == path]
    for name in ("Sec-WebSocket-Extensions", "Grip-Sig", "Grip-Feature"):
        assert name not in asked.headers


def test_183_a_close_of_the_client_is_relayed(ws_connect: Connect, at: Any) -> None:
    heard: list[Any] = []

    def waits(connection: ServerConnection) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
        heard.append(closed.value.rcvd)

    ws_connect(PASSED_HOST, at(waits)).close(4000, "bye")
    until(lambda: heard, "a close at the origin")
    assert (heard[0].code, heard[0].reason) == (4000, "bye")


def test_183_a_close_of_the_origin_is_relayed(ws_connect: Connect, at: Any) -> None:
    client = ws_connect(PASSED_HOST, at(lambda connection: connection.close(4001, "end")))
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "end")


def test_an_origin_that_breaks_off_drops_the_client(ws_connect: Connect, at: Any) -> None:
    client = ws_connect(PASSED_HOST, at(lambda connection: connection.socket.shutdown(2)))
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd is None


def test_a_client_that_vanishes_takes_its_origin_along(ws_connect: Connect, at: Any) -> None:
    gone = threading.Event()

    def waits(connection: ServerConnection) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
        assert closed.value.rcvd is None
        gone.set()

    ws_connect(PASSED_HOST, at(waits)).socket.shutdown(2)
    assert gone.wait(10)


def test_a_target_that_refuses_is_passed_over(ws_connect: Connect, at: Any) -> None:
    client = ws_connect(PASSED_HOST, at(echo, "/failover/"))
    client.send("hello")
    assert client.recv(5) == "hello"


def test_a_refusal_of_the_origin_is_relayed(ws_connect: Connect, hub: Hub) -> None:
    hub.origin(PASSED_HOST).answers(
        answer("WWW-Authenticate: Basic", body=b"who?", status="401 Unauthorized")
    )
    with pytest.raises(InvalidStatus) as refused:
        ws_connect(PASSED_HOST, "/http/")
    response = refused.value.response
    assert (response.status_code, response.body) == (401, b"who?")
    assert response.headers["WWW-Authenticate"] == "Basic"


# -- with the extension


def grip(*messages: str) -> Callable[[ServerConnection], None]:
    """Say these messages, then echo with a prefix."""

    def handler(connection: ServerConnection) -> None:
        for message in messages:
            connection.send(message)
        for heard in connection:
            connection.send(f"m:{heard}")

    return handler


def test_167_169_prefixes_are_stripped_and_the_client_sees_no_extension(
    ws_connect: Connect, at: Any
) -> None:
    client = ws_connect(GRIP_HOST, at(grip("dropped", "m:first")))
    assert "Sec-WebSocket-Extensions" not in client.response.headers
    assert client.recv(5) == "first"
    client.send("hello")
    assert client.recv(5) == "hello"


def test_169_what_comes_in_frames_is_judged_as_a_whole(
    ws_connect: Connect, at: Any, ws_fanway: Fanway, channel: str
) -> None:
    """GRIP.md 5.3, and section 11, 11: no frame of a dropped message is passed on."""
    subscribe = f'c:{{"type":"subscribe","channel":"{channel}"}}'

    def pieces(connection: ServerConnection) -> None:
        connection.send(iter(["dropped", "m:dropped too"]))
        connection.send(iter([subscribe[:9], subscribe[9:]]))  # must be one frame
        connection.send(iter(["m:one ", "two"]))
        connection.recv()
        connection.send("m:mark")
        connection.recv()

    client = ws_connect(GRIP_HOST, at(pieces))
    assert "".join(client.recv_streaming()) == "one two"
    ws_fanway.publish(f"p-{channel}", {"ws-message": {"content": "not on it"}})
    client.send("x")
    assert client.recv(5) == "mark"


def test_181_the_channels_of_a_target_need_no_extension(
    ws_connect: Connect, ws_fanway: Fanway, at: Any
) -> None:
    client = ws_connect(PASSED_HOST, at(echo, "/sub/"))
    client.send("m:mark")
    assert client.recv(5) == "m:mark"
    ws_fanway.publish("always-passed", {"ws-message": {"content": "hello"}})
    assert client.recv(5) == "hello"


def test_172_175_an_origin_subscribes_its_clients(
    ws_connect: Connect, ws_fanway: Fanway, at: Any, channel: str
) -> None:
    subscribe = f'c:{{"type":"subscribe","channel":"{channel}"}}'
    client = ws_connect(GRIP_HOST, at(grip(subscribe, "m:mark")))
    assert client.recv(5) == "mark"
    ws_fanway.publish(f"p-{channel}", {"ws-message": {"content": "hello"}})
    assert client.recv(5) == "hello"


def test_176_a_published_close_closes_the_origin_too(
    ws_connect: Connect, ws_fanway: Fanway, at: Any, channel: str
) -> None:
    ended: list[Any] = []

    def subscribes(connection: ServerConnection) -> None:
        connection.send(f'c:{{"type":"subscribe","channel":"{channel}"}}')
        connection.send("m:mark")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
        ended.append(closed.value.rcvd)

    client = ws_connect(GRIP_HOST, at(subscribes))
    assert client.recv(5) == "mark"
    ws_fanway.publish(f"p-{channel}", {"ws-message": {"action": "close", "code": 4000}})
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd.code == 4000
    until(lambda: ended, "a close at the origin")
    assert ended[0].code == 1005


def test_177_detach_leaves_the_client(
    ws_connect: Connect, ws_fanway: Fanway, at: Any, channel: str
) -> None:
    left = threading.Event()

    def detaches(connection: ServerConnection) -> None:
        connection.send(f'c:{{"type":"subscribe","channel":"{channel}"}}')
        connection.send("m:mark")
        connection.send('c:{"type":"detach"}')
        with pytest.raises(ConnectionClosed):
            connection.recv()
        left.set()

    client = ws_connect(GRIP_HOST, at(detaches))
    assert client.recv(5) == "mark"
    assert left.wait(10)
    client.send("discarded")
    ws_fanway.publish(f"p-{channel}", {"ws-message": {"content": "still"}})
    assert client.recv(5) == "still"
