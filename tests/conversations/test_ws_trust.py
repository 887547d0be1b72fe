"""WebSocket clients that are GRIP proxies themselves (GRIP.md 5.2, 6.4), over either way in."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from joserfc import jwt
from websockets.extensions import ClientExtensionFactory, Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection

from support.fanway import Fanway
from support.keys import SIG_KEY, read_token, secret
from support.origin import Hub
from support.spelling import answer

UPSTREAM_KEY = "the secret between the edge and this proxy, in text"
EVENTS = "Content-Type: application/websocket-events"
EXTENSIONS = "Sec-WebSocket-Extensions"
DEADLINE_SECONDS = 10.0
PASSED_HOST = "passed.test"  # of the origin, where it does without the extension
GRIP_HOST = "grip.test"
OVER_HOST = "over.test"  # over HTTP all the way
MIXED_HOST = "mixed.test"  # by WebSocket to the proxy in the middle, and over HTTP from there

_paths = itertools.count(1)


class _Grip(Extension):
    """The `grip` extension changes no frame."""

    name = "grip"

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame


class OffersGrip(ClientExtensionFactory):
    """What a GRIP proxy offers."""

    name = "grip"

    def get_request_params(self) -> list[tuple[str, str | None]]:
        return []

    def process_response_params(self, params: Any, accepted_extensions: Any) -> Extension:
        return _Grip()


def sig(*, seconds: float = 3600) -> dict[str, str]:
    """The signature of a proxy that is trusted."""
    claims = {"iss": "edge", "exp": int(time.time() + seconds)}
    return {"Grip-Sig": jwt.encode({"alg": "HS256"}, claims, secret(UPSTREAM_KEY))}


@pytest.fixture(scope="module")
def trusting(ws_origin: Any, hub: Hub) -> Iterator[Fanway]:
    """A Fanway that trusts whoever signs with UPSTREAM_KEY."""
    flags = ("--upstream-key", UPSTREAM_KEY, "--sig-key", SIG_KEY, "--allow-compression")
    routes = [f"* {ws_origin.target}", f"{OVER_HOST} {hub.target}"]
    routes += [f"{MIXED_HOST} {hub.target},over_http"]
    with Fanway(*flags, routes=routes) as fanway:
        yield fanway


@pytest.fixture(scope="module")
def edge(trusting: Fanway) -> Iterator[Fanway]:
    """A Fanway before it, which its own clients talk to."""
    host, port = trusting.addresses[0]
    routes = [f"*,prefix=p- {host}:{port}", f"{OVER_HOST},prefix=p- {host}:{port},over_http"]
    with Fanway("--sig-key", UPSTREAM_KEY, routes=routes) as fanway:
        yield fanway


@pytest.fixture
def to() -> Iterator[Callable[..., ClientConnection]]:
    """Connects a WebSocket client by way of a Fanway."""
    with ExitStack() as clients:

        def to(fanway: Fanway, host: str, path: str, **options: Any) -> ClientConnection:
            sock = socket.create_connection(fanway.address, DEADLINE_SECONDS)
            options = {"compression": None, "ping_interval": None, **options}
            client = connect(f"ws://{host}{path}", sock=sock, **options)
            return clients.enter_context(client)

        yield to


@pytest.fixture
def speaks_grip(ws_origin: Any, channel: str) -> str:
    """A path where the origin subscribes its client and greets it, then echoes."""

    def handler(connection: ServerConnection) -> None:
        connection.send(f'c:{{"type":"subscribe","channel":"{channel}"}}')
        connection.send("m:hello")
        for heard in connection:
            connection.send(heard)

    return ws_origin.at(f"/trust/{next(_paths)}", handler)


def asked(ws_origin: Any, path: str) -> Any:
    """What the origin was asked."""
    (request,) = [one for one in ws_origin.requests if one.path == path]
    return request.headers


def test_185_two_proxies_in_a_row_subscribe_at_the_edge(
    to: Any, edge: Fanway, trusting: Fanway, ws_origin: Any, speaks_grip: str, channel: str
) -> None:
    client = to(edge, GRIP_HOST, speaks_grip)
    assert client.recv(5) == "hello"
    assert EXTENSIONS not in client.response.headers  # 167
    for name in (channel, f"p-{channel}"):  # nobody is subscribed here
        trusting.publish(name, {"ws-message": {"content": "from the middle"}})
    edge.publish(f"p-{channel}", {"ws-message": {"content": "from the edge"}})
    assert client.recv(5) == "from the edge"
    for said in ("no prefix", "m:said", b"m:\x00"):
        client.send(said)
    assert [client.recv(5), client.recv(5)] == ["said", b"\x00"]
    client.close(4000, "bye")
    assert client.close_code == 4000
    headers = asked(ws_origin, speaks_grip)
    assert headers[EXTENSIONS] == "grip"
    assert headers.get_all("Grip-Feature") == [headers["Grip-Feature"]]


@pytest.mark.parametrize("host", [OVER_HOST, MIXED_HOST])
def test_185_187_over_http_they_subscribe_at_the_edge_too(
    to: Any, edge: Fanway, trusting: Fanway, hub: Hub, channel: str, host: str
) -> None:
    origin = hub.origin(host)
    control = f'c:{{"type":"subscribe","channel":"{channel}"}}'.encode()
    said = b"OPEN\r\nTEXT %x\r\n%b\r\nTEXT 7\r\nm:hello\r\n" % (len(control), control)
    origin.answers(
        answer(EVENTS, f"{EXTENSIONS}: grip", body=said),
        answer(EVENTS, body=b"TEXT 6\r\nm:said\r\n"),
        answer(EVENTS, body=b"CLOSE\r\n"),
    )
    client = to(edge, host, "/ws")
    assert client.recv(5) == "hello"
    for name in (channel, f"p-{channel}"):  # nobody is subscribed here
        trusting.publish(name, {"ws-message": {"content": "from the middle"}})
    edge.publish(f"p-{channel}", {"ws-message": {"content": "from the edge"}})
    assert client.recv(5) == "from the edge"
    client.send("said")
    assert client.recv(5) == "said"
    client.close()
    assert [request.body[:5] for request in origin.requests] == [b"OPEN\r", b"TEXT ", b"CLOSE"]
    signer = secret(SIG_KEY if host == MIXED_HOST else UPSTREAM_KEY)  # 140
    for request in origin.requests:
        assert read_token(request.one("Grip-Sig") or "", signer)


def test_185_a_trusted_client_gets_the_extension_and_every_message_as_it_is(
    to: Any, trusting: Fanway, ws_origin: Any, speaks_grip: str, channel: str
) -> None:
    signed = sig()
    theirs = {**signed, "Grip-Feature": "status"}
    client = to(
        trusting, GRIP_HOST, speaks_grip, extensions=[OffersGrip()], additional_headers=theirs
    )
    assert client.response.headers.get_all(EXTENSIONS) == ["grip"]
    assert client.recv(5) == f'c:{{"type":"subscribe","channel":"{channel}"}}'
    assert client.recv(5) == "m:hello"
    for said in ('c:{"type":"detach"}', "m:said", "no prefix", b"m:\x00"):
        client.send(said)
        assert client.recv(5) == said
    headers = asked(ws_origin, speaks_grip)
    assert (headers["Grip-Sig"], headers["Grip-Feature"]) == (signed["Grip-Sig"], "status")


def test_185_it_may_have_compression_as_well(to: Any, trusting: Fanway, speaks_grip: str) -> None:
    offers = [ClientPerMessageDeflateFactory(), OffersGrip()]
    client = to(trusting, GRIP_HOST, speaks_grip, extensions=offers, additional_headers=sig())
    (agreed,) = client.response.headers.get_all(EXTENSIONS)
    assert agreed.startswith("grip, permessage-deflate;")
    client.send("m:" + "x" * 1000)
    assert [client.recv(5) for _ in range(3)][2] == "m:" + "x" * 1000


def test_185_an_origin_that_does_not_agree_is_not_spoken_for(
    to: Any, trusting: Fanway, speaks_grip: str
) -> None:
    offers = {"extensions": [OffersGrip()], "additional_headers": sig()}
    client = to(trusting, PASSED_HOST, speaks_grip, **offers)
    assert EXTENSIONS not in client.response.headers


def test_185_a_trusted_client_that_offers_nothing_is_given_nothing(
    to: Any, trusting: Fanway, ws_origin: Any, speaks_grip: str
) -> None:
    client = to(trusting, PASSED_HOST, speaks_grip, additional_headers=sig())
    assert client.recv(5).startswith("c:")
    assert EXTENSIONS not in client.response.headers
    assert EXTENSIONS not in asked(ws_origin, speaks_grip)


def test_186_a_client_whose_token_has_expired_is_an_ordinary_one(
    to: Any, trusting: Fanway, speaks_grip: str, channel: str
) -> None:
    offers = {"extensions": [OffersGrip()], "additional_headers": sig(seconds=-1)}
    client = to(trusting, GRIP_HOST, speaks_grip, **offers)
    assert client.recv(5) == "hello"
    assert EXTENSIONS not in client.response.headers  # 167
    trusting.publish(channel, {"ws-message": {"content": "published"}})
    assert client.recv(5) == "published"
