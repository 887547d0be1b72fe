"""Clients that are GRIP proxies themselves (GRIP.md 6.4), and routes that leave GRIP alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key

from support.client import Client, Reply
from support.fanway import Fanway
from support.keys import SIG_KEY, secret, write_keys
from support.origin import Hub, Origin
from support.spelling import answer, instruct, request

UPSTREAM_KEY = "the secret between the edge and this proxy, in text"
EVENTS = "Content-Type: application/websocket-events"

Say = Callable[..., Reply]


@pytest.fixture(scope="module")
def trusting(hub: Hub) -> Iterator[Fanway]:
    """A Fanway that trusts whoever signs with UPSTREAM_KEY, and signs with another key itself."""
    flags = ("--upstream-key", UPSTREAM_KEY, "--sig-key", SIG_KEY)
    rules = ("--x-forwarded-for", "truncate:0", "--x-forwarded-for-trusted", "append")
    routes = [f"* {hub.target}", f"*,path_beg=/over/ {hub.target},over_http"]
    with Fanway(*flags, *rules, routes=routes) as fanway:
        yield fanway


def sig(key: Key | None = None, *, seconds: float | None = 3600, algorithm: str = "HS256") -> str:
    """A Grip-Sig header."""
    claims = {"iss": "edge"} | ({} if seconds is None else {"exp": int(time.time() + seconds)})
    token = jwt.encode({"alg": algorithm}, claims, key or secret(UPSTREAM_KEY))
    return f"Grip-Sig: {token}"


@pytest.fixture
def say(trusting: Fanway, connect: Callable[..., Client], origin: Origin) -> Say:
    def say(target: str = "/", *headers: str, method: str = "GET", body: bytes | None = None):
        said = request(origin.host, target, *headers, method=method, body=body)
        return connect(trusting.address).send(said).response(method)

    return say


def test_185_grip_headers_pass_both_ways_and_nothing_is_held(say: Say, origin: Origin) -> None:
    grip = ("Grip-Hold: stream", "Grip-Channel: news", "Grip-Foo: 1")
    origin.answers(answer(*grip, body=b"open"))
    theirs = (sig(), "Grip-Feature: status", "Grip-Last: news; last-id=4")
    reply = say("/", *theirs)
    assert reply.body == b"open"
    assert [h for h in map(": ".join, reply.headers) if h.startswith("Grip-")] == list(grip)
    (sent,) = origin.requests
    assert [f"Grip-Sig: {sent.one('Grip-Sig')}", sent.one("Grip-Feature")] == [theirs[0], "status"]
    assert sent.one("Grip-Last") == "news; last-id=4"


def test_185_a_json_instruct_is_passed_on_as_it_is(say: Say, origin: Origin) -> None:
    document = {"hold": {"channels": [{"name": "news"}]}}
    origin.answers(instruct(document))
    reply = say("/", sig())
    assert json.loads(reply.body) == document
    assert reply.one("Content-Type") == "application/grip-instruct"


def test_185_the_private_half_signs_and_the_public_half_trusts(
    hub: Hub, origin: Origin, tmp_path: Path, connect: Callable[..., Client]
) -> None:
    write_keys(tmp_path)
    pair = ECKey.import_key((tmp_path / "ec.pem").read_bytes())
    (tmp_path / "public.pem").write_bytes(pair.as_pem(private=False))
    origin.answers(answer("Grip-Channel: c"))
    flags = ("--upstream-key", f"file:{tmp_path}/public.pem")
    with Fanway(*flags, routes=[f"* {hub.target}"]) as fanway:
        client = connect(fanway.address)
        client.send(request(origin.host, "/", sig(pair, algorithm="ES256")))
        assert client.response().one("Grip-Channel") == "c"


@pytest.mark.parametrize(
    "header",
    [
        sig(seconds=-1),
        sig(seconds=None),
        sig(secret("another secret, also longer than 32 bytes")),
        "Grip-Sig: x.y.z",
    ],
    ids=["expired", "without an end", "another key", "nonsense"],
)
def test_186_a_token_that_is_not_valid_makes_an_ordinary_client(
    say: Say, origin: Origin, header: str
) -> None:
    origin.answers(answer("Grip-Foo: 1", body=b"x"))
    reply = say("/", header)
    assert reply.all("Grip-Foo") == []
    sent = origin.requests[0].one("Grip-Sig")
    assert sent is not None
    assert f"Grip-Sig: {sent}" != header


def test_187_a_trusted_client_may_post_websocket_events(say: Say, origin: Origin) -> None:
    origin.answers(answer(EVENTS, body=b"OPEN\r\n"))
    reply = say("/over/", sig(), EVENTS, method="POST", body=b"OPEN\r\n")
    assert (reply.status, reply.body) == (200, b"OPEN\r\n")
    assert origin.requests[0].body == b"OPEN\r\n"


def test_187_an_ordinary_client_may_not(say: Say, origin: Origin) -> None:
    assert say("/over/", EVENTS, method="POST", body=b"OPEN\r\n").status == 403
    assert origin.requests == []


def test_188_trusted_requests_use_x_forwarded_for_trusted(say: Say, origin: Origin) -> None:
    say("/", sig(), "X-Forwarded-For: 10.0.0.1")
    say("/", "X-Forwarded-For: 10.0.0.1")
    trusted, ordinary = origin.requests
    assert trusted.one("X-Forwarded-For") == "10.0.0.1, 127.0.0.1"
    assert ordinary.all("X-Forwarded-For") == []


def test_two_proxies_in_a_row_hold_at_the_edge(
    trusting: Fanway, connect: Callable[..., Client], origin: Origin, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    host, port = trusting.addresses[0]
    with Fanway("--sig-key", UPSTREAM_KEY, routes=[f"* {host}:{port}"]) as edge:
        client = connect(edge.address)
        reply = client.send(request(origin.host)).reply()
        reply.expect(b"open")
        edge.publish_stream(channel, "from the edge")
        reply.expect(b"from the edge")
        client.close()


def test_189_a_no_grip_route_passes_grip_headers_and_sends_none(
    hub: Hub, origin: Origin, connect: Callable[..., Client]
) -> None:
    origin.answers(answer("Grip-Hold: response", "Grip-Channel: c", body=b"as it is"))
    with Fanway("--sig-key", SIG_KEY, routes=[f"*,no_grip {hub.target}"]) as fanway:
        client = connect(fanway.address)
        reply = client.send(request(origin.host, "/", "Grip-Sig: x")).response()
    assert (reply.one("Grip-Hold"), reply.body) == ("response", b"as it is")
    assert [n for n, _ in origin.requests[0].headers if n.lower().startswith(b"grip-")] == []
