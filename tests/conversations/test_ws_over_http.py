"""WebSocket clients of an origin that answers requests (GRIP.md 4), from end to end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.client import Client
from support.fanway import Fanway
from support.keys import SIG_KEY, read_token, secret
from support.origin import Origin, Request, Wire
from support.spelling import answer, request
from support.waiting import until
from support.wsspelling import event, events, opened

Ws = Callable[..., Any]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SIG_SECONDS = 3600  # how long a signature is good for


def bodies(origin: Origin, count: int) -> list[bytes]:
    """The bodies of the first requests, once there are so many."""
    origin.wait_for_requests(count)
    return [one.body for one in origin.requests[:count]]


def test_138_139_open_and_later_requests(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events())
    client = ws("/ws?room=1", additional_headers={"Cookie": "a=1"}, origin="https://a.test")
    client.send("hello")
    assert bodies(origin, 2) == [b"OPEN\r\n", event("TEXT", "hello")]
    first, second = origin.requests[:2]
    for asked in (first, second):
        assert (asked.method, asked.target) == ("POST", "/ws?room=1")
        assert asked.one("Content-Type") == asked.one("Accept") == "application/websocket-events"
        assert asked.one("Sec-WebSocket-Extensions") == "grip"
        assert asked.one("Cookie") == "a=1"
        assert asked.one("Grip-Sig")
    assert UUID.fullmatch(first.one("Connection-Id") or "")
    assert first.one("Connection-Id") == second.one("Connection-Id")


def test_140_each_request_is_signed_anew(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events())
    client = ws()

    def expiries() -> list[int]:
        tokens = [one.one("Grip-Sig") or "" for one in list(origin.requests)]
        return [read_token(token, secret(SIG_KEY)).claims["exp"] for token in tokens]

    def is_later() -> bool:  # the second turns while the client goes on talking
        client.send("x")
        return expiries()[-1] > expiries()[0]

    until(is_later, "a signature of another second")
    assert 0 <= time.time() + SIG_SECONDS - expiries()[-1] < 3


def test_141_what_a_client_says_of_meta_and_id_stays_out(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events())
    said = {"Meta-User": "eve", "Connection-Id": "forged", "Accept": "x/y", "Grip-Foo": "1"}
    ws(additional_headers=said).send("hello")
    origin.wait_for_requests(2)
    for asked in origin.requests[:2]:
        assert asked.all("Meta-User") == asked.all("Grip-Foo") == []
        assert UUID.fullmatch(asked.one("Connection-Id") or "")
        assert asked.one("Accept") == "application/websocket-events"


def test_142_182_open_accepts_with_a_subprotocol_and_events(ws: Ws, origin: Origin) -> None:
    more = (event("TEXT", "m:welcome"), event("BINARY", b"m:\x00\xff"))
    headers = ("Sec-WebSocket-Extensions: grip", "Sec-WebSocket-Protocol: chat", "X-One: 1")
    origin.answers(opened(*more, headers=headers))
    client = ws(subprotocols=["other", "chat"])
    assert client.subprotocol == "chat"
    assert client.response.headers["X-One"] == "1"
    assert "Sec-WebSocket-Extensions" not in client.response.headers
    assert client.recv(5) == "welcome"
    assert client.recv(5) == b"\x00\xff"


def test_143_a_refusal_is_an_ordinary_answer(ws: Ws, origin: Origin) -> None:
    origin.answers(answer("X-Why: 1", body=b"not you", status="403 Forbidden"))
    with pytest.raises(InvalidStatus) as refused:
        ws()
    response = refused.value.response
    assert (response.status_code, response.body) == (403, b"not you")
    assert response.headers["X-Why"] == "1"


def test_144_an_answer_without_open_is_502(ws: Ws, origin: Origin) -> None:
    origin.answers(events())
    with pytest.raises(InvalidStatus) as refused:
        ws()
    assert refused.value.response.status_code == 502
    assert refused.value.response.body == b"Error while proxying to origin.\n"
    assert "Content-Type" not in refused.value.response.headers


def test_147_messages_of_every_kind(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events())
    client = ws()
    client.send("x" * 300)
    client.send(b"")
    client.send(iter(["one ", "two ", "three"]))
    sent = event("TEXT", "x" * 300) + event("BINARY", b"") + event("TEXT", "one two three")
    until(lambda: b"".join(one.body for one in origin.requests[1:]) == sent, "all of it")


@pytest.fixture
def talk_while_asked(ws: Ws, origin: Origin, ws_settle: Callable[[], None]) -> Callable[..., Any]:
    """A client that says one thing, and the others while the request with it is out."""

    def talk_while_asked(path: str, *messages: str | bytes) -> Any:
        is_said = threading.Event()

        def answers_late(wire: Wire, _: Request) -> None:
            assert is_said.wait(10)
            wire.send(events())

        origin.answers(opened(), answers_late, events())
        client = ws(path)
        client.send("first")
        origin.wait_for_requests(2)
        for message in messages:
            client.send(message)
        ws_settle()
        assert len(origin.requests) == 2
        is_said.set()
        return client

    return talk_while_asked


def test_148_what_is_said_while_a_request_is_out_goes_into_the_next(
    talk_while_asked: Callable[..., Any], origin: Origin, ws_settle: Callable[[], None]
) -> None:
    client = talk_while_asked("/ws", "a", b"b", "c")
    batch = event("TEXT", "a") + event("BINARY", b"b") + event("TEXT", "c")
    assert bodies(origin, 3)[1:] == [event("TEXT", "first"), batch]
    client.send("last")
    assert bodies(origin, 4)[3] == event("TEXT", "last")


def test_149_with_one_event_each_message_has_a_request(
    talk_while_asked: Callable[..., Any], origin: Origin
) -> None:
    client = talk_while_asked("/one/", "a", "", b"b")
    client.close(4000)
    each = [event("TEXT", "a"), event("TEXT", ""), event("BINARY", b"b")]
    assert bodies(origin, 6)[2:] == [*each, event("CLOSE", b"\x0f\xa0")]


def test_150_151_the_origin_answers_pings(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events(event("PONG", "ka")))
    pong = ws().ping("ka")
    assert pong.wait(5)
    assert bodies(origin, 2)[1] == event("PING", "ka")


def test_150_nobody_else_does(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events(), events(event("TEXT", "m:behind")))
    client = ws()
    pong = client.ping("ka")
    assert bodies(origin, 2)[1] == event("PING", "ka")
    client.send("x")
    assert client.recv(5) == "behind"
    assert not pong.is_set()


def test_151_pings_of_the_origin_reach_the_client(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(event("PING", "are you there")), events())
    client = ws()
    assert bodies(origin, 2)[1] == event("PONG", "are you there")
    client.send("still here")
    assert bodies(origin, 3)[2] == event("TEXT", "still here")


def test_154_a_close_of_the_client_is_answered_by_the_origin(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events(event("CLOSE", b"\x0f\xa1end")))
    client = ws()
    client.close(1001, "bye")
    assert (client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason) == (4001, "end")
    assert bodies(origin, 2)[1] == b"CLOSE 5\r\n\x03\xe9bye\r\n"


@pytest.mark.parametrize(
    ("content", "seen"),
    [(None, b"\x03\xe8"), (b"\x0f\xa0later", b"\x0f\xa0later"), (b"\x00\x00", b"\x03\xe8")],
)
def test_156_a_close_of_the_origin(
    ws: Ws, origin: Origin, content: bytes | None, seen: bytes
) -> None:
    origin.answers(opened(event("CLOSE", content)), events())
    client = ws()
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd.serialize() == seen
    assert bodies(origin, 2)[1] == event("CLOSE", seen)  # the client says the same


def test_157_a_client_that_vanishes_is_a_disconnect(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events())
    ws().socket.shutdown(2)
    assert bodies(origin, 2)[1] == b"DISCONNECT\r\n"


@pytest.mark.parametrize("bad", [events(event("DISCONNECT")), answer(status="500 No")])
def test_158_160_the_client_is_dropped_without_a_close_frame(
    ws: Ws, origin: Origin, bad: bytes
) -> None:
    origin.answers(opened(), bad)
    client = ws()
    client.send("x")
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd is None
    assert len(origin.requests) == 2


def test_164_a_client_may_not_send_events_itself(
    ws_fanway: Fanway, connect: Callable[..., Client], origin: Origin
) -> None:
    client = connect(ws_fanway.address)
    headers = "Content-Type: application/websocket-events"
    client.send(request(origin.host, "/", headers, method="POST", body=b"OPEN\r\n"))
    reply = client.response("POST")
    assert reply.status == 403
    assert bytes(reply.body) == b"Client not allowed to send WebSocket events directly.\n"
    assert not origin.requests


def test_166_a_target_that_refuses_is_passed_over(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(event("TEXT", "m:here")))
    assert ws("/failover/").recv(5) == "here"


def test_a_message_of_the_origin_may_have_a_megabyte(ws: Ws, origin: Origin) -> None:
    content = "x" * 900_000
    origin.answers(opened(event("TEXT", "m:" + content)))
    assert ws().recv(5) == content


def test_a_message_of_more_than_200_000_bytes_closes_with_1009(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), events())
    client = ws()
    client.send(bytes(240_000))
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd.code == 1009
    assert bodies(origin, 2)[1] == b"DISCONNECT\r\n"
