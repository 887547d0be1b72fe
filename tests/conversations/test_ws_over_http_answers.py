"""What an origin's answers do to its WebSocket clients (GRIP.md 4.3, 4.6, 4.7, 4.9)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.origin import Origin, Request, Wire
from support.spelling import answer
from support.waiting import DEADLINE_SECONDS
from support.wsspelling import event, events, opened

Ws = Callable[..., Any]
Settle = Callable[[], None]

MARK = event("TEXT", "m:mark")


def accepts(count_bytes: int, *some: bytes) -> bytes:
    """The answer that takes so many bytes of what it was offered."""
    return events(*some, headers=(f"Content-Bytes-Accepted: {count_bytes}",))


def assert_dropped(client: Any) -> None:
    """The client is cut off without a close frame."""
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd is None


# -- what is an answer


@pytest.mark.parametrize("status", ["200 OK", "500 Oh"])
def test_146_a_content_type_with_parameters_is_an_ordinary_answer(
    ws: Ws, origin: Origin, status: str
) -> None:
    media_type = "Content-Type: application/websocket-events; charset=utf-8"
    origin.answers(answer(media_type, body=b"OPEN\r\n", status=status))
    with pytest.raises(InvalidStatus) as refused:
        ws()
    response = refused.value.response
    assert (response.status_code, response.body) == (int(status[:3]), b"OPEN\r\n")


def test_146_later_it_drops_the_client(ws: Ws, origin: Origin) -> None:
    media_type = "Content-Type: application/websocket-events; charset=utf-8"
    origin.answers(opened(), answer(media_type, body=MARK))
    client = ws()
    client.send("x")
    assert_dropped(client)


@pytest.mark.parametrize(
    "malformed",
    [b"TEXT 6\nm:mark\r\n", b"TEXT x\r\nm:mark\r\n", MARK + b"OPEN", b"TEXT -1\r\n\r\n"],
)
def test_163_a_malformed_body_drops_the_client(
    ws: Ws, origin: Origin, ws_settle: Settle, malformed: bytes
) -> None:
    origin.answers(opened(), events(malformed))
    client = ws()
    client.send("x")
    assert_dropped(client)
    ws_settle()
    assert len(origin.requests) == 2


def test_163_unknown_events_are_ignored(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(event("NEWS", "m:x"), event("text", "m:x"), event("NEWS"), MARK))
    assert ws().recv(5) == "mark"


def test_163_reading_is_lenient(ws: Ws, origin: Origin) -> None:
    lenient = b"TEXT 00A\r\nm:any ends.?BINARY ff\r\nm:cut short"
    origin.answers(opened(lenient))
    client = ws()
    assert client.recv(5) == "any ends"
    assert client.recv(5) == b"cut short"


def test_160_a_bad_status_is_neither_repeated_nor_followed_by_a_disconnect(
    ws: Ws, origin: Origin, ws_settle: Settle
) -> None:
    origin.answers(opened(), answer(status="500 No"), events())
    client = ws()
    client.send("x")
    assert_dropped(client)
    ws_settle()
    assert [one.body for one in origin.requests] == [b"OPEN\r\n", event("TEXT", "x")]


def test_160_nor_is_an_answer_that_never_came(ws: Ws, origin: Origin, ws_settle: Settle) -> None:
    last = opened(headers=("Sec-WebSocket-Extensions: grip", "Connection: close"))
    origin.answers(last, lambda wire, _: wire.reset())
    client = ws()
    client.send("x")
    assert_dropped(client)
    ws_settle()
    assert len(origin.requests) == 2


def test_158_what_is_behind_a_disconnect_is_ignored(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(MARK, event("DISCONNECT"), event("TEXT", "m:never")), events())
    client = ws()
    assert client.recv(5) == "mark"
    assert_dropped(client)


def test_158_a_second_open_is_like_a_disconnect(ws: Ws, origin: Origin, ws_settle: Settle) -> None:
    origin.answers(opened(), events(MARK, event("OPEN"), event("TEXT", "m:never")))
    client = ws()
    client.send("x")
    assert client.recv(5) == "mark"
    assert_dropped(client)
    ws_settle()
    assert len(origin.requests) == 2


# -- headers


def test_152_set_meta_is_echoed_until_it_is_emptied(ws: Ws, origin: Origin) -> None:
    def sets(*headers: str) -> bytes:
        return events(MARK, headers=headers)

    first = ("Sec-WebSocket-Extensions: grip", "Set-Meta-User: dana", "set-meta-room: 1")
    origin.answers(
        opened(headers=first),
        sets("Set-Meta-User: eve", "Set-Meta-: nothing"),
        sets("Set-Meta-User:"),
        sets(),
    )
    client = ws()
    assert [name for name in client.response.headers if name.lower().startswith("set-meta")] == []
    for _ in range(3):
        client.send("x")
        assert client.recv(5) == "mark"

    def meta(name: str) -> list[list[str]]:
        return [one.all(f"Meta-{name}") for one in origin.requests]

    assert meta("User") == [[], ["dana"], ["eve"], []]
    assert meta("Room") == [[], ["1"], ["1"], ["1"]]
    assert meta("") == [[]] * 4


# -- partial acceptance


def test_161_what_was_not_accepted_is_offered_again_and_said_to_be(ws: Ws, origin: Origin) -> None:
    origin.answers(opened(), accepts(5, MARK), events(MARK), events(MARK))
    client = ws()
    for said in ("[foo][hello", " world]", "all taken"):
        client.send(said)
        assert client.recv(5) == "mark"
    _, first, second, third = origin.requests
    assert first.body == b"TEXT b\r\n[foo][hello\r\n"
    assert second.body == b"TEXT 6\r\n[hello\r\nTEXT 7\r\n world]\r\n"
    assert third.body == event("TEXT", "all taken")
    replayed = [one.all("Content-Bytes-Replayed") for one in (first, second, third)]
    assert replayed == [[], ["6"], []]


def test_161_nothing_accepted_waits_for_more(ws: Ws, origin: Origin, ws_settle: Settle) -> None:
    origin.answers(opened(), accepts(0, MARK), events(MARK))
    client = ws()
    client.send("a")
    assert client.recv(5) == "mark"
    ws_settle()
    assert len(origin.requests) == 2  # nothing new: it is not offered at once
    client.send("b")
    assert client.recv(5) == "mark"
    assert origin.requests[2].body == event("TEXT", "a") + event("TEXT", "b")
    assert origin.requests[2].one("Content-Bytes-Replayed") == "1"


@pytest.mark.parametrize("count", ["nonsense", ""])
def test_161_a_count_that_is_none_means_all(ws: Ws, origin: Origin, count: str) -> None:
    origin.answers(opened(), events(MARK, headers=(f"Content-Bytes-Accepted: {count}",)))
    client = ws()
    for said in ("a", "b"):
        client.send(said)
        assert client.recv(5) == "mark"
    assert [one.body for one in origin.requests[1:]] == [event("TEXT", "a"), event("TEXT", "b")]


@pytest.mark.parametrize("count", [2, 1_000_000])
def test_162_more_accepted_than_offered_drops_the_client(
    ws: Ws, origin: Origin, ws_settle: Settle, count: int
) -> None:
    origin.answers(opened(), accepts(count))
    client = ws()
    client.send("x")
    assert_dropped(client)
    ws_settle()
    assert len(origin.requests) == 2


# -- the end


def test_155_a_close_answered_without_close_drops_the_client(
    ws: Ws, origin: Origin, ws_settle: Settle
) -> None:
    origin.answers(opened(), events(MARK))
    client = ws(close_timeout=DEADLINE_SECONDS)
    began = time.monotonic()
    client.close(4000, "bye")
    assert client.protocol.close_rcvd is None
    assert time.monotonic() - began < DEADLINE_SECONDS / 2  # it was cut off, it did not give up
    ws_settle()
    assert [one.body for one in origin.requests[1:]] == [event("CLOSE", b"\x0f\xa0bye")]


def test_157_a_request_that_is_out_is_completed_before_the_disconnect(
    ws: Ws, origin: Origin, ws_settle: Settle
) -> None:
    """What the client has said since, and what the origin answers, is for nobody."""
    has_left = threading.Event()

    def answers_late(wire: Wire, _: Request) -> None:
        assert has_left.wait(10)
        wire.send(events(MARK))

    origin.answers(opened(), answers_late, events(MARK))
    client = ws()
    client.send("a")
    origin.wait_for_requests(2)
    client.send("b")
    ws_settle()
    client.socket.shutdown(socket.SHUT_RDWR)
    ws_settle()
    assert len(origin.requests) == 2
    has_left.set()
    assert origin.wait_for_requests(3).body == b"DISCONNECT\r\n"
    origin.wait_until_answered(3)
    ws_settle()
    assert len(origin.requests) == 3


def test_157_after_a_clean_close_there_is_no_disconnect(
    ws: Ws, origin: Origin, ws_settle: Settle
) -> None:
    origin.answers(opened(), events(event("CLOSE", b"\x03\xe8")))
    ws().close()
    ws_settle()
    assert len(origin.requests) == 2
