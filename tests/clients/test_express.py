"""An Express application with Fanout's npm packages, unmodified, behind Fanway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from websockets.sync.client import connect

from support.client import Client
from support.fanway import Fanway
from support.keys import SIG_KEY
from support.programs import Program, node, reserved_port
from support.spelling import request
from support.waiting import until

Ask = Callable[..., Client]

STREAM_OPEN = b"event: stream-open\ndata: \n\n"


@pytest.fixture(scope="module")
def application() -> Iterator[tuple[Fanway, int]]:
    """Fanway before the application, and the application's own port."""
    argv = node("express_app.mjs")
    with reserved_port() as port:
        routes = [f"*,path_beg=/ws 127.0.0.1:{port},over_http", f"* 127.0.0.1:{port}"]
        with Fanway("--sig-key", SIG_KEY, "--sig-iss", "fanway", routes=routes) as fanway:
            grip_url = f"{fanway.publish_url}?verify-iss=fanway&verify-key={SIG_KEY}"
            with Program(argv, GRIP_URL=grip_url, PORT=str(port)) as program:
                assert program.line() == "listening"
                yield fanway, port


@pytest.fixture
def ask(application: tuple[Fanway, int]) -> Iterator[Ask]:
    clients: list[Client] = []

    def ask(target: str, *headers: str, **spelling: object) -> Client:
        clients.append(Client(application[0].address))
        return clients[-1].send(request("a.test", target, *headers, **spelling))

    yield ask
    for client in clients:
        client.close()


def _say(ask: Ask, text: str) -> None:
    said = ask("/say", "Content-Type: text/plain", method="POST", body=text.encode())
    assert said.response("POST").status == 204


def test_it_refuses_what_the_proxy_has_not_signed(application: tuple[Fanway, int]) -> None:
    client = Client(("127.0.0.1", application[1]))
    unsigned = client.send(request("a.test", "/events")).response()
    client.close()
    assert unsigned.status == 501


def test_an_event_reaches_an_event_stream(ask: Ask) -> None:
    reply = ask("/events", "Accept: text/event-stream").reply()
    reply.expect(STREAM_OPEN)
    for text in ("first", "second"):
        _say(ask, text)
        event = f"event: message\ndata: {json.dumps({'text': text}, separators=(',', ':'))}\n\n"
        reply.expect(event.encode())


def test_a_poll_is_answered(ask: Ask, application: tuple[Fanway, int]) -> None:
    waiting = ask("/poll")
    held = partial(application[0].metric, "fanway_holds", mode="response")
    until(lambda: held() == 1, "a poll is held")
    _say(ask, "hello")
    assert waiting.response().body == b"hello\n"


def test_a_websocket_talks_and_hears(ask: Ask, application: tuple[Fanway, int]) -> None:
    host, port = application[0].address
    with connect(f"ws://{host}:{port}/ws") as client:
        client.send("hello")
        assert client.recv(timeout=10) == "you said hello"
        _say(ask, "to all")
        assert client.recv(timeout=10) == "to all"
