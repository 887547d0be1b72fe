"""Publishing to WebSockets, and what origins tell the proxy about them (GRIP.md 2.6.3, 5.4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from support.fanway import Fanway
from support.origin import Origin, Request, Wire
from support.waiting import until
from support.wsspelling import GRIP, control, event, events, opened

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
    pong = client.ping("hi")  # no origin answers it
    ws_fanway.publish(channel, {"ws-message": {"type": "pong", "content": "hi"}})
    assert pong.wait(5)


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


def test_165_a_refresh_while_a_request_is_out_makes_another(
    subscribed: Ws, ws_fanway: Fanway, channel: str, origin: Origin, ws_settle: Callable[[], None]
) -> None:
    client = subscribed()
    is_refreshed = threading.Event()

    def answers_late(wire: Wire, _: Request) -> None:
        assert is_refreshed.wait(10)
        wire.send(events())

    origin.answers(answers_late, events(event("TEXT", "m:fresh")))
    client.send("x")
    origin.wait_for_requests(2)
    ws_fanway.publish(channel, {"ws-message": {"action": "refresh"}})
    ws_settle()
    assert len(origin.requests) == 2
    is_refreshed.set()
    assert client.recv(5) == "fresh"
    assert origin.requests[2].body == b""


def test_172_unsubscribed_means_unreached(subscribed: Ws, ws_fanway: Fanway, channel: str) -> None:
    then = events(control("unsubscribe", channel=channel), event("TEXT", "m:done"))
    client = subscribed(then=then)
    client.send("x")
    assert client.recv(5) == "done"
    ws_fanway.publish(channel, {"ws-message": {"content": "no"}})
    client.send("y")
    assert client.recv(5) == "done"


@pytest.mark.parametrize(
    ("extension", "passed"),
    [
        ("grip", ["colon", b"bytes"]),
        ("other; x, grip", ["colon", b"bytes"]),
        ('grip; message-prefix=""', ["m:colon", b"m:bytes", b"c:bytes", "none", b"none", ">own"]),
        ('grip; message-prefix=">"', ["own"]),
        ("grip; message-prefix=>", ["own"]),
        ("grip;message-prefix=", None),  # cannot be read: as if there were no extension
        ("gripe", None),
        ("", None),
    ],
)
def test_170_171_messages_need_the_prefix_and_control_messages_are_texts(
    ws: Ws, origin: Origin, extension: str, passed: list[str | bytes] | None
) -> None:
    said: list[tuple[str, str]] = [
        ("TEXT", "m:colon"),
        ("BINARY", "m:bytes"),
        ("TEXT", "c:{}"),
        ("BINARY", "c:bytes"),
        ("TEXT", "none"),
        ("BINARY", "none"),
        ("TEXT", ">own"),
    ]
    headers = (f"Sec-WebSocket-Extensions: {extension}",) if extension else ()
    end = event("CLOSE", b"\x0f\xa0")
    origin.answers(opened(*(event(*one) for one in said), end, headers=headers), events())
    client = ws()
    assert "Sec-WebSocket-Extensions" not in client.response.headers
    if passed is None:
        passed = [text if kind == "TEXT" else text.encode() for kind, text in said]
    assert [client.recv(5) for _ in passed] == passed
    with pytest.raises(ConnectionClosed):
        client.recv(5)


def test_170_what_a_client_says_gets_no_prefix(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(headers=('Sec-WebSocket-Extensions: grip; message-prefix="x"',)))
    ws().send("c:{}")
    assert origin.wait_for_requests(2).body == event("TEXT", "c:{}")


@pytest.mark.parametrize(
    "malformed",
    [
        "c:",
        "c:nonsense",
        "c:[]",
        "c:{}",
        'c:{"type":"bogus"}',
        'c:{"type":5}',
        'c:{"type":"subscribe"}',
        'c:{"type":"subscribe","channel":""}',
        'c:{"type":"subscribe","channel":5}',
        'c:{"type":"subscribe","channel":"c","filters":"skip-self"}',
        'c:{"type":"subscribe","channel":"c","filters":[5]}',
        'c:{"type":"unsubscribe"}',
        'c:{"type":"unsubscribe","channel":"not on it"}',
        'c:{"type":"set-meta","value":"x"}',
        'c:{"type":"set-meta","name":"n","value":5}',
        'c:{"type":"keep-alive","content":5}',
        'c:{"type":"keep-alive","content":"x","message-type":"bogus"}',
        'c:{"type":"keep-alive","content":"x","timeout":-1}',
        'c:{"type":"send-delayed"}',
        'c:{"type":"send-delayed","content-bin":"x"}',
    ],
)
def test_172_a_malformed_control_message_is_ignored_and_the_next_is_not(
    ws: Ws, ws_fanway: Fanway, origin: Origin, channel: str, malformed: str
) -> None:
    subscribe = control("subscribe", channel=channel)
    origin.answers(opened(event("TEXT", malformed), subscribe, MARK), events(MARK))
    client = ws()
    assert client.recv(5) == "mark"
    ws_fanway.publish(channel, {"ws-message": {"content": "hello"}})
    assert client.recv(5) == "hello"
    client.send("x")
    assert client.recv(5) == "mark"


@pytest.mark.parametrize(("path", "prefix", "own"), [("/ws", "", 0), ("/sub/", "p-", 1)])
def test_173_the_21st_subscription_is_ignored(
    ws: Ws, ws_fanway: Fanway, origin: Origin, channel: str, path: str, prefix: str, own: int
) -> None:
    """Those of the target count."""
    names = [f"{channel}-{n}" for n in range(21 - own)]
    origin.answers(opened(*(control("subscribe", channel=name) for name in names), MARK))
    client = ws(path)
    assert client.recv(5) == "mark"
    for name in reversed(names):
        ws_fanway.publish(prefix + name, {"ws-message": {"content": name}})
    assert [client.recv(5) for _ in names[1:]] == list(reversed(names))[1:]


def test_172_to_subscribe_again_replaces_the_filters(
    ws: Ws, ws_fanway: Fanway, origin: Origin, channel: str
) -> None:
    first = control("subscribe", channel=channel, filters=["var-subst"])
    origin.answers(opened(first, MARK), events(control("subscribe", channel=channel), MARK))
    client = ws()
    assert client.recv(5) == "mark"
    ws_fanway.publish(channel, {"ws-message": {"content": "100%%"}})
    assert client.recv(5) == "100%"
    client.send("x")
    assert client.recv(5) == "mark"
    ws_fanway.publish(channel, {"ws-message": {"content": "100%%"}})
    assert client.recv(5) == "100%%"


@pytest.mark.parametrize("path", ["/ws", "/debug/"])
def test_174_six_filters_close_with_1011(ws: Ws, origin: Origin, channel: str, path: str) -> None:
    subscribe = control("subscribe", channel=channel, filters=["skip-self"] * 6)
    origin.answers(opened(subscribe), events())
    with pytest.raises(ConnectionClosed) as closed:
        ws(path).recv(5)
    reason = f"too many filters for channel '{channel}'" if path == "/debug/" else ""
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, reason)


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


def test_178_a_keep_alive_may_be_a_ping(subscribed: Ws, origin: Origin) -> None:
    subscribed(control("keep-alive", content="ka", timeout=1, message_type="ping"))
    assert origin.wait_for_requests(2).body == event("PONG", "ka")


def test_179_a_delayed_message_comes_after_a_second(subscribed: Ws) -> None:
    began = time.monotonic()
    client = subscribed(control("send-delayed", content="late"))
    assert client.recv(5) == "late"
    assert 0.9 < time.monotonic() - began < 3


def test_179_a_second_delayed_message_flushes_the_first_and_a_flush_the_second(
    ws: Ws, origin: Origin
) -> None:
    delayed = [control("send-delayed", content=name, timeout=600) for name in ("one", "two")]
    flush = events(control("flush-delayed"), MARK)
    origin.answers(opened(*delayed, MARK), flush, flush)
    client = ws()
    assert [client.recv(5), client.recv(5)] == ["one", "mark"]
    client.send("x")
    assert [client.recv(5), client.recv(5)] == ["two", "mark"]
    client.send("x")
    assert client.recv(5) == "mark"  # it is sent once


def test_180_a_value_that_is_null_is_removed(
    ws: Ws, ws_fanway: Fanway, origin: Origin, channel: str
) -> None:
    user = control("set-meta", name="user", value="dana")
    subscribe = control("subscribe", channel=channel, filters=["skip-self"])
    origin.answers(
        opened(user, subscribe, MARK), events(control("set-meta", name="user", value=None), MARK)
    )
    client = ws()

    def say(content: str) -> None:
        ws_fanway.publish(channel, {"ws-message": {"content": content}}, meta={"sender": "dana"})

    assert client.recv(5) == "mark"
    say("by myself")
    client.send("x")
    assert client.recv(5) == "mark"
    say("by another, as far as one knows")
    assert client.recv(5) == "by another, as far as one knows"


@pytest.mark.parametrize("headers", [(), (GRIP,)], ids=["plain", "with the extension"])
def test_181_the_channels_of_a_target_need_no_extension_and_stay(
    ws: Ws, ws_fanway: Fanway, origin: Origin, headers: tuple[str, ...]
) -> None:
    unsubscribe = [control("unsubscribe", channel=name) for name in ("always", "p-always")]
    said = [*(unsubscribe if headers else ()), event("TEXT", "m:mark" if headers else "mark")]
    origin.answers(opened(*said, headers=headers))
    client = ws("/sub/")
    assert client.recv(5) == "mark"
    ws_fanway.publish("p-always", {"ws-message": {"content": "no prefix belongs to it"}})
    ws_fanway.publish("always", {"ws-message": {"content": "hello"}})
    assert client.recv(5) == "hello"


def test_184_publishes_to_a_client_that_does_not_read_are_dropped(
    subscribed: Ws, ws_fanway: Fanway, channel: str
) -> None:
    """What is kept for it is bounded; once it reads again it gets what is published then."""
    client = subscribed()
    content, count = "x" * 100_000, 300
    resident_bytes = sum(ws_fanway.resident_bytes().values())
    for _ in range(count):
        ws_fanway.publish(channel, {"ws-message": {"content": content}})
    until(lambda: ws_fanway.metric("fanway_dropped_total", reason="queue_full"), "a drop")
    grown_bytes = sum(ws_fanway.resident_bytes().values()) - resident_bytes
    assert grown_bytes < count * len(content) / 2
    heard: list[str] = []
    while "awake" not in heard:
        ws_fanway.publish(channel, {"ws-message": {"content": "awake"}})
        heard.append(client.recv(5))
    assert 0 < heard.count(content) < count
