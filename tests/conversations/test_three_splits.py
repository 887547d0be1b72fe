"""Whole conversations in all three splits: it never matters how the bytes arrive (STYLE.md 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from support.client import SPLITS, Client, Split
from support.fanway import Fanway
from support.origin import Origin, Request, Wire
from support.spelling import answer, chunked, request

HOST = "%HOST%"  # stands for the host of the test's origin


@dataclass(frozen=True)
class Conversation:
    """What a client says on one connection; method, target and body of each request seen."""

    said: bytes
    seen: list[tuple[str, str, bytes]]
    statuses: list[int]


CONVERSATIONS = {
    "get": Conversation(
        request(HOST, "/a/b?c=d", "X-Long: " + "x" * 300), [("GET", "/a/b?c=d", b"")], [200]
    ),
    "sized body": Conversation(
        request(HOST, "/", method="POST", body=bytes(range(256))),
        [("POST", "/", bytes(range(256)))],
        [200],
    ),
    "chunked body with extensions and trailers": Conversation(
        request(HOST, "/", "Transfer-Encoding: chunked", method="PUT")
        + b'5;a=b;c="d"\r\nhello\r\n00a\r\n, chunked!\r\n0\r\nX-Trailer: 1\r\n\r\n',
        [("PUT", "/", b"hello, chunked!")],
        [200],
    ),
    "pipeline of everything": Conversation(
        request(HOST, "/1")
        + request(HOST, "/2", method="POST", body=b"two")
        + b"\r\n"
        + request(HOST, "/3", "Transfer-Encoding: chunked", method="POST")
        + chunked(b"th", b"ree")
        + request(HOST, "/4", "Connection: close"),
        [("GET", "/1", b""), ("POST", "/2", b"two"), ("POST", "/3", b"three"), ("GET", "/4", b"")],
        [200, 200, 200, 200],
    ),
    "upgrade that is declined, with a body": Conversation(
        request(HOST, "/1", "Connection: Upgrade", "Upgrade: h2c", method="POST", body=b"body")
        + request(HOST, "/2", "Connection: close"),
        [("POST", "/1", b"body"), ("GET", "/2", b"")],
        [200, 200],
    ),
    "http/1.0": Conversation(request(HOST, "/old", version="1.0"), [("GET", "/old", b"")], [200]),
    "bad behind good": Conversation(
        request(HOST, "/good") + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        [("GET", "/good", b"")],
        [200, 400],
    ),
    "conflicting lengths": Conversation(
        b"POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [],
        [400],
    ),
    "bad chunk size": Conversation(
        request(HOST, "/", "Transfer-Encoding: chunked", method="POST") + b"xyz\r\n", [], [400]
    ),
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_in_pieces(
    connect: Callable[..., Client], origin: Origin, name: str, split: Split
) -> None:
    talk = CONVERSATIONS[name]
    origin.answers(answer(body=b"answered"))
    client = connect()
    try:
        client.send(talk.said.replace(HOST.encode(), origin.host.encode()), split)
    except (BrokenPipeError, ConnectionResetError):
        assert talk.statuses[-1] >= 400, "only a refused client may be cut off while it speaks"
    assert [client.response().status for _ in talk.statuses] == talk.statuses
    complete = [(sent.method, sent.target, sent.body) for sent in origin.requests]
    assert complete == talk.seen


@pytest.mark.parametrize("split", SPLITS)
def test_a_held_request_in_pieces(
    connect: Callable[..., Client],
    settle: Callable[[], None],
    fanway: Fanway,
    origin: Origin,
    channel: str,
    split: Split,
) -> None:
    origin.answers(
        answer("Grip-Hold: response", f"Grip-Channel: {channel}"), answer(body=b"the next")
    )
    client = connect().send(request(origin.host, "/", method="POST", body=b"body"), split)
    origin.wait_until_answered(1)
    settle()
    client.send(request(origin.host, "/next"), split)
    fanway.publish_response(channel, "published")
    assert client.response("POST").body == b"published"
    assert client.response().body == b"the next"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("hold", ["none", "response", "stream"])
def test_an_origin_that_answers_in_pieces(
    connect: Callable[..., Client],
    settle: Callable[[], None],
    fanway: Fanway,
    origin: Origin,
    channel: str,
    split: Split,
    hold: str,
) -> None:
    grip = () if hold == "none" else (f"Grip-Hold: {hold}", f"Grip-Channel: {channel}")
    said = answer(*grip, "Content-Type: text/plain", body=b"initial")

    def in_pieces(wire: Wire, _: Request) -> None:
        wire.send(*split(said))

    origin.answers(in_pieces)
    client = connect().send(request(origin.host))
    origin.wait_until_answered(1)
    if hold == "response":
        settle()
        fanway.publish_response(channel, "published")
        assert client.response().body == b"published"
    else:
        reply = client.reply()
        reply.expect(b"initial")
        if hold == "stream":
            fanway.publish_stream(channel, " and more")
            reply.expect(b" and more")
