"""What origins are told of the way to them: scheme, marks, loops (GRIP.md 8.4 to 8.6)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from websockets.sync.client import connect

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub, Origin, Request
from support.spelling import request
from support.wsspelling import event, opened

TLS = "X-Forwarded-Proto: https"
Asked = Callable[..., Request]


@pytest.fixture(scope="module")
def telling(hub: Hub) -> Iterator[Fanway]:
    """A Fanway that tells origins all there is, and believes clients that claim TLS."""
    flags = ("--accept-x-forwarded-protocol", "--set-x-forwarded-protocol", "true")
    more = ("--cdn-loop", "fanway.test", "--orig-headers-need-mark", "X-Needs,X-Has")
    routes = [
        f"* {hub.target}",
        f"*,proto=ws {hub.target},over_http",
        f"*,path_beg=/marked/,orig_headers,header=X-Added:1 {hub.target}",
    ]
    with Fanway(*flags, *more, routes=routes) as fanway:
        yield fanway
        fanway.assert_no_bug()


@pytest.fixture
def asked(telling: Fanway, origin: Origin) -> Asked:
    """What the origin gets of a request."""

    def asked(target: str, *headers: str) -> Request:
        with closing(Client(telling.address)) as client:
            client.send(request(origin.host, target, *headers)).response()
        return origin.requests[-1]

    return asked


def test_207_the_scheme_is_told_of_tls_clients_only(asked: Asked) -> None:
    sent = asked("/", TLS, "X-Forwarded-Protocol: nonsense")
    assert (sent.one("X-Forwarded-Proto"), sent.one("X-Forwarded-Protocol")) == ("https", "https")
    sent = asked("/", "X-Forwarded-Proto: http", "X-Forwarded-Protocol: https")
    assert sent.all("X-Forwarded-Proto") == sent.all("X-Forwarded-Protocol") == []


def test_207_of_a_websocket_it_is_wss(telling: Fanway, origin: Origin) -> None:
    origin.answers(opened(event("TEXT", "m:hello"), event("CLOSE")))
    said = dict([TLS.split(": ")])
    with (
        socket.create_connection(telling.addresses[0]) as sock,
        connect(f"ws://{origin.host}/", sock=sock, additional_headers=said) as client,
    ):
        assert client.recv(5) == "hello"
    assert origin.requests[0].one("X-Forwarded-Proto") == "wss"


@pytest.mark.parametrize(("setting", "told"), [("proto-only", ["https"]), ("false", [])])
def test_207_what_is_told_is_a_setting(
    hub: Hub, origin: Origin, setting: str, told: list[str]
) -> None:
    flags = ("--accept-x-forwarded-protocol", "--set-x-forwarded-protocol", setting)
    with Fanway(*flags, routes=[f"* {hub.target}"]) as fanway:
        with closing(Client(fanway.address)) as client:
            client.send(request(origin.host, "/", TLS)).response()
    (sent,) = origin.requests
    assert sent.all("X-Forwarded-Proto") == told
    assert sent.all("X-Forwarded-Protocol") == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((), "fanway.test"),
        (("CDN-Loop: a; v=1",), "a; v=1, fanway.test"),
        (("CDN-Loop: a, b", "cdn-loop: c"), "a, b, c, fanway.test"),
        (("CDN-Loop: fanway.test",), "fanway.test, fanway.test"),  # no loop is looked for
    ],
)
def test_210_the_token_is_appended(asked: Asked, said: tuple[str, ...], told: str) -> None:
    assert asked("/", *said).one("CDN-Loop") == told


def test_211_what_the_client_said_is_marked(asked: Asked) -> None:
    said = ("X-A: 1", "X-Needs: 2", "X-Has: 3", "eb9bf0f5-X-Has: 4", "eb9bf0f5-X-B: 5")
    sent = asked("/marked/", *said)
    marked = {name: sent.all(f"eb9bf0f5-{name}") for name in ("X-A", "X-Needs", "X-Has", "X-B")}
    assert marked == {"X-A": ["1"], "X-Needs": [], "X-Has": ["4"], "X-B": ["5"]}
    assert sent.all("eb9bf0f5-X-Added") == []
    assert (sent.one("X-A"), sent.one("X-Needs"), sent.one("X-Added")) == ("1", "2", "1")


def test_211_other_routes_take_the_marks_away(asked: Asked) -> None:
    sent = asked("/", "X-A: 1", "eb9bf0f5-X-A: 2", "EB9BF0F5-X-B: 3")
    assert [name for name, _ in sent.headers if name.lower().startswith(b"eb9bf0f5")] == []
    assert sent.one("X-A") == "1"
