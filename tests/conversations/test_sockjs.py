"""SockJS, as sockjs-client speaks it (GRIP.md 8.3); the origin is a WebSocket that echoes."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

from support.client import Client, Reply
from support.fanway import Fanway
from support.spelling import request
from support.waiting import until

HOST = "sock.test"

Get = Callable[..., Reply]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def echoing() -> Iterator[Fanway]:
    """A Fanway with SockJS in front of the built-in origin."""
    routes = [
        f"{HOST},path_beg=/echo,sockjs=/echo,sockjs_as_path=/echo/ws test",
        f"{HOST},path_beg=/refused,sockjs=/refused,sockjs_as_path=/nothing test",
    ]
    with Fanway("--sockjs-url", "https://cdn.test/sockjs.js", routes=routes) as fanway:
        yield fanway


@pytest.fixture
def session() -> str:
    return f"/echo/000/session{next(_numbers)}"


@pytest.fixture
def post(echoing: Fanway, connect: Callable[..., Client]) -> Get:
    def post(path: str, body: bytes = b"", *headers: str) -> Reply:
        said = request(HOST, path, *headers, method="POST", body=body)
        return connect(echoing.address).send(said).response("POST")

    return post


@pytest.fixture
def get(echoing: Fanway, connect: Callable[..., Client]) -> Get:
    def get(path: str, *headers: str, method: str = "GET") -> Reply:
        said = request(HOST, path, *headers, method=method)
        return connect(echoing.address).send(said).response(method)

    return get


def test_213_info_says_what_there_is(get: Get) -> None:
    reply = get("/echo/info", "Origin: https://page.test")
    told: dict[str, Any] = json.loads(reply.body)
    assert (told["websocket"], told["origins"], told["cookie_needed"]) == (True, ["*:*"], False)
    assert 0 <= told["entropy"] < 2**32
    assert told["entropy"] != json.loads(get("/echo/info").body)["entropy"]
    assert reply.one("Access-Control-Allow-Origin") == "https://page.test"
    assert reply.one("Cache-Control") == "no-store, no-cache, must-revalidate, max-age=0"


def test_213_options_is_answered(get: Get) -> None:
    reply = get("/echo/000/x/xhr", method="OPTIONS")
    assert (reply.status, reply.one("Access-Control-Allow-Credentials")) == (204, "true")


def test_213_the_iframe_loads_the_script_and_is_cached(get: Get) -> None:
    reply = get("/echo/iframe-0.3.html")
    assert b'src="https://cdn.test/sockjs.js"' in reply.body
    again = get("/echo/iframe.html", f"If-None-Match: {reply.one('ETag')}")
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/echo", "/echo/", "/echo/000/x/htmlfile", "/echo/a/b"])
def test_213_there_is_nothing_else(get: Get, path: str) -> None:
    assert get(path).status == 404


def test_a_path_that_only_begins_alike_is_for_the_origin(get: Get) -> None:
    assert get("/echoes").body == b"no such test resource\n"


def test_213_xhr_polls_and_sends(post: Get, session: str) -> None:
    opened = post(f"{session}/xhr")
    assert (opened.body, opened.one("Content-Type")) == (
        b"o\n",
        "application/javascript; charset=UTF-8",
    )
    sent = post(f"{session}/xhr_send", '["a", "ü"]'.encode())
    assert (sent.status, sent.body) == (200, b"ok")
    assert frames(post, session, 2) == ["a", "ü"]


def frames(post: Get, session: str, count: int) -> list[str]:
    """The next messages of a session, however they are put together."""
    messages: list[str] = []
    while len(messages) < count:
        frame = post(f"{session}/xhr").body
        assert frame[:1] == b"a", frame
        messages += json.loads(frame[1:])
    return messages


def test_213_what_is_published_reaches_a_session(
    echoing: Fanway, post: Get, connect: Callable[..., Client], session: str
) -> None:
    assert post(f"{session}/xhr?channel=news").body == b"o\n"
    client = connect(echoing.address)
    client.send(request(HOST, f"{session}/xhr", method="POST", body=b""))
    until(lambda: echoing.metric("fanway_channels") >= 1, "the subscription")
    echoing.publish("news", {"ws-message": {"content": "published"}})
    assert client.response("POST").body == b'a["published"]\n'


def test_213_a_second_poll_is_turned_away(
    echoing: Fanway, post: Get, connect: Callable[..., Client], session: str
) -> None:
    post(f"{session}/xhr")
    first = connect(echoing.address)
    first.send(request(HOST, f"{session}/xhr", method="POST", body=b""))
    until(lambda: post(f"{session}/xhr").body.startswith(b"c[2010"), "the other poll")
    post(f"{session}/xhr_send", b'["x"]')
    assert first.response("POST").body == b'a["x"]\n'


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", b"Payload expected\n"),
        (b"[1]", b"Payload expected\n"),
        (b"{", b"Payload expected\n"),
        (b'["' + b"x" * 100_000 + b'"]', b"Request too large.\n"),
    ],
)
def test_213_what_is_no_list_of_messages_is_refused(
    post: Get, session: str, payload: bytes, text: bytes
) -> None:
    post(f"{session}/xhr")
    reply = post(f"{session}/xhr_send", payload)
    assert (reply.status, reply.body) == (400, text)


def test_213_a_session_that_is_not_there_takes_nothing(post: Get, session: str) -> None:
    assert post(f"{session}/xhr_send", b'["a"]').status == 404


def test_213_a_session_that_the_origin_refuses_is_closed(post: Get) -> None:
    assert post("/refused/0/x/xhr").body == b'c[0,"Connection closed"]\n'
    assert post("/refused/0/x/xhr").body == b'c[0,"Connection closed"]\n'


def test_213_jsonp_polls_and_sends(get: Get, post: Get, session: str) -> None:
    assert get(f"{session}/jsonp?c=cb.x").body == b'/**/cb.x("o");\r\n'
    form = "Content-Type: application/x-www-form-urlencoded"
    assert post(f"{session}/jsonp_send", b"d=%5B%22a%22%5D", form).body == b"ok"
    assert get(f"{session}/jsonp?callback=cb").body == b'/**/cb("a[\\"a\\"]");\r\n'
    assert get(f"{session}/jsonp").status == 400
    assert get(f"{session}/jsonp?c=a(b").status == 400


def test_213_xhr_streaming_goes_on(
    echoing: Fanway, post: Get, connect: Callable[..., Client], session: str
) -> None:
    client = connect(echoing.address)
    client.send(request(HOST, f"{session}/xhr_streaming", method="POST", body=b""))
    reply = client.reply("POST")
    reply.expect(b"h" * 2048 + b"\no\n")
    for message in (b'a["x"]\n', b'a["y"]\n'):
        post(f"{session}/xhr_send", message[1:])
        reply.expect(message)


def test_213_event_source_goes_on(
    echoing: Fanway, post: Get, connect: Callable[..., Client], session: str
) -> None:
    reply = connect(echoing.address).send(request(HOST, f"{session}/eventsource")).reply()
    assert reply.one("Content-Type") == "text/event-stream; charset=UTF-8"
    reply.expect(b"\r\ndata: o\r\n\r\n")
    post(f"{session}/xhr_send", b'["x"]')
    reply.expect(b'data: a["x"]\r\n\r\n')


# -- WebSockets ------------------------------------------------------------------------------------


@pytest.fixture
def websocket(echoing: Fanway) -> Iterator[Callable[[str], ClientConnection]]:
    with ExitStack() as stack:

        def websocket(path: str) -> ClientConnection:
            sock = socket.create_connection(echoing.addresses[0])
            opening = connect_websocket(f"ws://{HOST}{path}", sock=sock, compression=None)
            return stack.enter_context(opening)

        yield websocket


def test_213_a_raw_websocket_has_no_frames(
    websocket: Callable[[str], ClientConnection],
) -> None:
    client = websocket("/echo/websocket")
    client.send("plain")
    assert client.recv(10) == "plain"


def test_213_a_framed_websocket_has_them(
    echoing: Fanway, websocket: Callable[[str], ClientConnection], session: str
) -> None:
    client = websocket(f"{session}/websocket?channel=framed")
    assert client.recv(10) == "o"
    client.send('["a"]')
    assert client.recv(10) == 'a["a"]'
    client.send('"b"')
    assert client.recv(10) == 'a["b"]'
    echoing.publish("framed", {"ws-message": {"content": "published"}})
    assert client.recv(10) == 'a["published"]'
    echoing.publish("framed", {"ws-message": {"action": "close", "code": 3001, "reason": "bye"}})
    assert client.recv(10) == 'c[3001,"bye"]'


def test_213_a_framed_websocket_that_is_refused_is_an_error(
    echoing: Fanway, connect: Callable[..., Client]
) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    said = request(HOST, "/refused/0/x/websocket", *upgrade)
    assert connect(echoing.address).send(said).response().status == 502
