"""SockJS: what is asked for, and the sessions between two polls (GRIP.md 8.3)."""

from __future__ import annotations

import asyncio

import pytest

from control import sockjs, sockjs_sessions
from control.sockjs import Ask, BadPayload, Transport
from control.sockjs_door import Ended, NotOpened
from control.sockjs_sessions import Session


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/echo", ""),
        ("/echo/", "/"),
        ("/echo/info", "/info"),
        ("/echoes", None),
        ("/other", None),
    ],
)
def test_what_is_below_the_base(path: str, rest: str | None) -> None:
    assert sockjs.rest_of(path, "/echo") == rest


def test_without_a_base_nothing_is_below_it() -> None:
    assert sockjs.rest_of("/", "") is None


@pytest.mark.parametrize(
    ("rest", "is_framed"),
    [
        ("", False),
        ("/websocket", False),
        ("/0/x/websocket", True),
        ("/0/x/any", True),
        ("//x/any", False),
    ],
)
def test_which_websockets_speak_in_frames(rest: str, is_framed: bool) -> None:
    assert sockjs.is_framed(rest) is is_framed


@pytest.mark.parametrize("path", ["/a.b/x/xhr", "/0/x.y/xhr", "/0/x/xhr/", "/0/x/other", "/xhr"])
def test_213_what_is_no_session_is_not_found(path: str) -> None:
    answer = sockjs.read_request(b"POST", path, b"", [], script_url="")
    assert isinstance(answer, sockjs.Answer)
    assert answer.status == 404


def test_213_a_method_that_a_transport_does_not_have_is_not_found() -> None:
    answer = sockjs.read_request(b"GET", "/0/x/xhr", b"", [], script_url="")
    assert isinstance(answer, sockjs.Answer)
    assert answer.status == 404


def test_213_frames_of_each_transport() -> None:
    frame = sockjs.messages_frame(['"', "\u2028"])
    assert frame == r'a["\"","\u2028"]'
    assert sockjs.rendered(frame, Ask("x", Transport.XHR)) == frame.encode() + b"\n"
    assert sockjs.rendered("o", Ask("x", Transport.EVENT_SOURCE)) == b"data: o\r\n\r\n"
    assert sockjs.rendered("o", Ask("x", Transport.JSONP, "f")) == b'/**/f("o");\r\n'
    assert sockjs.close_frame(3000, "bye") == 'c[3000,"bye"]'


@pytest.mark.parametrize(("payload", "messages"), [(b'["a"]', ["a"]), (b'"a"', ["a"]), (b"[]", [])])
def test_213_messages_are_a_list_of_texts_or_one(payload: bytes, messages: list[str]) -> None:
    assert sockjs.read_messages(payload) == messages


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b"[[]]", b"nonsense", b"\xff"])
def test_213_nothing_else_is_one(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        sockjs.read_messages(payload)


@pytest.mark.parametrize(
    ("media_type", "query", "body"),
    [
        (b"application/x-www-form-urlencoded", b"", b"d=%5B%22%C3%BC%22%5D"),
        (b"text/plain", b"d=%5B%22%C3%BC%22%5D", b""),
        (b"text/plain", b"", '["ü"]'.encode()),
    ],
)
def test_213_jsonp_sends_by_form_query_or_body(
    media_type: bytes, query: bytes, body: bytes
) -> None:
    headers = [(b"Content-Type", media_type)]
    payload = sockjs.payload_of(Transport.JSONP_SEND, headers, query, body)
    assert sockjs.read_messages(payload) == ["ü"]


# -- sessions --------------------------------------------------------------------------------------


class FakeDoor:
    """A door whose messages the test puts there."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str | Ended] = asyncio.Queue()
        self.has_left = False

    async def receive(self) -> str:
        message = await self.messages.get()
        if isinstance(message, Ended):
            raise message
        return message

    def leave(self) -> None:
        self.has_left = True


async def opened(door: FakeDoor) -> FakeDoor:
    return door


async def test_213_a_session_opens_speaks_and_closes_and_says_so_again() -> None:
    door = FakeDoor()
    session = Session(opened(door))
    assert await session.next_frame() == "o"
    door.messages.put_nowait("a")
    assert await session.next_frame() == 'a["a"]'
    door.messages.put_nowait("b")
    door.messages.put_nowait(Ended(3001, "bye"))
    assert await session.next_frame() == 'a["b"]'
    for _ in range(2):
        assert await session.next_frame() == 'c[3001,"bye"]'
    assert not session.is_open


async def test_213_a_session_that_is_quiet_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockjs_sessions, "HEARTBEAT_SECONDS", 0.001)
    session = Session(opened(FakeDoor()))
    assert await session.next_frame() == "o"
    assert await session.next_frame() == "h"
    session.close()


async def test_213_a_session_that_is_not_opened_is_closed() -> None:
    async def refused() -> FakeDoor:
        raise NotOpened("status 404")

    assert await Session(refused()).next_frame() == 'c[0,"Connection closed"]'


async def test_213_an_origin_waits_for_a_client_that_takes_nothing() -> None:
    door = FakeDoor()
    session = Session(opened(door))
    assert await session.next_frame() == "o"
    for _ in range(3):
        door.messages.put_nowait("x" * 150_000)
    frames = [await session.next_frame() for _ in range(2)]
    assert [frame.count("x") for frame in frames] == [300_000, 150_000]
    session.close()
    assert door.has_left
