"""Publishing to WebSockets, and what origins tell the proxy about them (GRIP.md 2.6.3, 5.4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from support.fanway import Fanway
from support.origin import Origin
from support.wsspelling import control, event, events, opened

Ws = Callable[..., Any]
MARK = event("TEXT", "m:mark")


@pytest.fixture
def subscribed(ws: Ws, origin: Origin, channel: str) -> Callable[..., Any]:
    """A client that is subscribed to the channel of the test."""

    def subscribed(*more: bytes, then: bytes = b"") -> Any:
        origin.answers(opened(control("subscribe", channel=channel), *more, MARK), then or events())
        client = ws()
        assert client.recv(5) == "mark"
        return client

    return subscribed


def test_175_messages_of_every_kind_arrive(
    subscribed: Ws, ws_fanway: Fanway, channel: str, origin: Origin
) -> None:
    client = subscribed()
    ws_fanway.publish(channel, {"ws-message": {"content": "hello"}})
    assert client.recv(5) == "hello"
    ws_fanway.publish(channel, {"ws-message": {"content-bin": "AAH/"}})
    assert client.recv(5) == b"\x00\x01\xff"
    ws_fanway.publish(channel, {"ws-message": {"content-bin": "aGk=", "type": "text"}})
    assert client.recv(5) == "hi"
    ws_fanway.publish(channel, {"ws-message": {"type": "ping", "content": "ka"}})
    ws_fanway.publish(channel, {"ws-message": {"content": "last"}})
    assert client.recv(5) == "last"
    origin.wait_for_requests(2)  # the client's pong
    assert origin.requests[1].body == event("PONG", "ka")


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [({}, 1000, ""), ({"code": 4000, "reason": "go"}, 4000, "go")],
)
def test_176_a_published_close(
    subscribed: Ws, ws_fanway: Fanway, channel: str, origin: Origin, fields, code, reason
) -> None:
    client = subscribed()
    ws_fanway.publish(channel, {"ws-message": {"action": "close", **fields}})
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
    origin.wait_for_requests(2)
    assert origin.requests[1].body == b"CLOSE\r\n"


def test_165_a_published_refresh_asks_the_origin(
    subscribed: Ws, ws_fanway: Fanway, channel: str, origin: Origin
) -> None:
    client = subscribed(then=events(event("TEXT", "m:fresh")))
    ws_fanway.publish(channel, {"ws-message": {"action": "refresh"}})
    assert client.recv(5) == "fresh"
    assert origin.requests[1].body == b""


def test_172_unsubscribed_means_unreached(subscribed: Ws, ws_fanway: Fanway, channel: str) -> None:
    then = events(control("unsubscribe", channel=channel), event("TEXT", "m:done"))
    client = subscribed(then=then)
    client.send("x")
    assert client.recv(5) == "done"
    ws_fanway.publish(channel, {"ws-message": {"content": "no"}})
    client.send("y")
    assert client.recv(5) == "done"


def test_174_six_filters_close_with_1011(ws: Ws, origin: Origin, channel: str) -> None:
    subscribe = control("subscribe", channel=channel, filters=["skip-self"] * 6)
    origin.answers(opened(subscribe), events())
    with pytest.raises(ConnectionClosed) as closed:
        ws().recv(5)
    assert closed.value.rcvd.code == 1011


def test_177_a_detached_client_still_gets_publishes(
    subscribed: Ws, ws_fanway: Fanway, channel: str, origin: Origin
) -> None:
    client = subscribed(then=events(control("detach")))
    client.send("x")
    assert origin.wait_for_requests(3).body == b"CLOSE\r\n"
    client.send("discarded")
    assert client.ping("ka").wait(5)  # the proxy answers it now
    ws_fanway.publish(channel, {"ws-message": {"content": "still"}})
    assert client.recv(5) == "still"
    client.close(4000, "bye")
    assert len(origin.requests) == 3


def test_178_a_keep_alive_comes_by_itself(subscribed: Ws, origin: Origin) -> None:
    client = subscribed(control("keep-alive", content="ka", timeout=1, mode="interval"))
    assert client.recv(5) == "ka"
    assert client.recv(5) == "ka"
    assert len(origin.requests) == 1


def test_179_a_delayed_message_comes_after_a_second(subscribed: Ws) -> None:
    began = time.monotonic()
    client = subscribed(control("send-delayed", content="late"))
    assert client.recv(5) == "late"
    assert 0.9 < time.monotonic() - began < 3
