"""Origins that refuse, hang, break off, or lie: the client learns it, and nothing else breaks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from support.client import Client, CutShort
from support.fanway import Fanway
from support.origin import Act, Hub, Origin, Request, Wire, says
from support.spelling import answer, chunked, instruct, request

Ask = Callable[..., Client]

FAILED = b"Error while proxying to origin.\n"
HEAD = b"HTTP/1.1 200 OK\r\n"

BROKEN_HEADS: dict[str, Act] = {
    "closes at once": says(),
    "resets at once": lambda wire, _: wire.reset(),
    "closes in the status line": says(b"HTTP/1.1 2"),
    "closes in the head": says(HEAD + b"X-A: b\r\n"),
    "is not HTTP": says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "speaks zeros": says(bytes(1000)),
    "status is no number": says(b"HTTP/1.1 abc OK\r\n\r\n"),
    "header without colon": says(HEAD + b"X-A\r\nContent-Length: 0\r\n\r\n"),
    "NUL in a header": says(HEAD + b"X-A: b\0c\r\nContent-Length: 0\r\n\r\n"),
    "two lengths": says(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "negative length": says(HEAD + b"Content-Length: -1\r\n\r\n"),
    "length and chunked": says(
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abc")
    ),
    "endless head": says(HEAD, *[b"X-A: " + b"x" * 8000 + b"\r\n"] * 200),
}


@pytest.mark.parametrize("name", BROKEN_HEADS)
def test_a_broken_head_gives_502(ask: Ask, origin: Origin, name: str) -> None:
    origin.answers(BROKEN_HEADS[name], answer(body=b"better"))
    client = ask(method="POST")  # which is never repeated by itself
    reply = client.response("POST")
    assert (reply.status, reply.body) == (502, FAILED)
    assert client.send(request(origin.host)).response().body == b"better"


def test_the_log_says_why(ask: Ask, origin: Origin, fanway: Fanway) -> None:
    since = len(fanway.lines)
    origin.answers(answer("Grip-Hold: bogus"))
    ask().response()
    line = fanway.wait_for_log("bad_instruct", since)
    assert "Grip-Hold must be set" in str(line)


COOKIE = b"Set-Cookie: sid=secret\r\n"
CLOSED = "the connection was closed before the head of the answer was complete"
WHY: dict[str, tuple[Act, str]] = {
    "closes at once": (says(), CLOSED),
    "closes in the head": (says(HEAD + COOKIE), CLOSED),
    "resets": (lambda wire, _: wire.reset(), "Connection reset by peer"),
    "two lengths": (
        says(HEAD + COOKIE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        "malformed: Duplicate Content-Length",
    ),
    "NUL in a header": (
        says(HEAD + COOKIE[:-2] + b"\0\r\nContent-Length: 0\r\n\r\n"),
        "malformed: Invalid HTTP header",
    ),
    "more than its length": (
        says(HEAD + b"Content-Length: 2\r\n\r\nok secret"),
        "malformed: Bad status line",
    ),
    "less than its length": (
        says(HEAD + b"Content-Length: 9\r\n\r\nsecret"),
        "the body broke off: shorter than its Content-Length",
    ),
    "no last chunk": (
        says(HEAD + b"Transfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n"),
        "the body broke off: ended without its last chunk",
    ),
    "bad chunk": (
        says(HEAD + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n"),
        "malformed: Invalid character in chunk size",
    ),
}


@pytest.mark.parametrize("name", WHY)
def test_the_log_says_in_words_what_an_origin_did_and_shows_nothing_it_said(
    ask: Ask, origin: Origin, fanway: Fanway, name: str
) -> None:
    since = len(fanway.lines)
    act, why = WHY[name]
    origin.answers(act)
    ask("/", "Connection: close", method="POST").rest()
    line = fanway.wait_for_log("origin_failed", since)
    assert f": {why}" in line["reason"]
    assert "secret" not in str(line)


def test_the_log_says_that_a_target_refuses(connect: Ask, fanway: Fanway) -> None:
    since = len(fanway.lines)
    connect().send(request("refused.test")).response()
    line = fanway.wait_for_log("origin_failed", since)
    assert "(Connection refused)" in line["reason"]


# The head with the first half of a body, and what follows when the client has seen that.
BROKEN_BODIES: dict[str, tuple[bytes, bytes]] = {
    "sized, too short": (HEAD + b"Content-Length: 100\r\n\r\nhalf", b""),
    "chunked, no end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b""),
    "chunked, in a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n8\r\nhalf", b""),
    "chunked, bad size": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"xyz\r\n",
    ),
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_a_broken_body_cuts_the_client_off(ask: Ask, origin: Origin, name: str) -> None:
    seen = threading.Event()

    def break_off(wire: Wire, _: Request) -> None:
        begun, rest = BROKEN_BODIES[name]
        wire.send(begun)
        assert seen.wait(10)
        wire.send(rest)

    origin.answers(break_off)
    reply = ask().reply()
    reply.expect(b"half")
    seen.set()
    with pytest.raises(CutShort):
        reply.read_to_end()
    assert reply.body == b"half"


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_a_broken_body_of_a_grip_response_gives_502(ask: Ask, origin: Origin, name: str) -> None:
    grip = HEAD + b"Grip-Hold: response\r\nGrip-Channel: c\r\n"
    begun, rest = BROKEN_BODIES[name]
    origin.answers(says(begun.replace(HEAD, grip), rest))
    reply = ask().response()
    assert (reply.status, reply.body) == (502, FAILED)


def test_bytes_beyond_the_length_are_nobodys(ask: Ask, origin: Origin) -> None:
    """A lie about the length must not become the answer to somebody else's request."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    origin.answers(answer(body=b"good") + poison, answer(body=b"good"))
    client = ask()
    for _ in range(5):
        assert client.response().body == b"good"
        client.send(request(origin.host))
    assert client.response().body == b"good"


def test_an_idle_connection_that_the_origin_closed_is_not_used(ask: Ask, origin: Origin) -> None:
    origin.answers(says(answer(body=b"and goodbye")))
    client = ask()
    for _ in range(20):
        assert client.response().body == b"and goodbye"
        client.send(request(origin.host))
    client.response()


def test_an_instruct_that_is_no_json_gives_502_and_no_traceback(ask: Ask, origin: Origin) -> None:
    for text in ("\x00", "{" * 50_000, '{"hold": {"channels": [{"name": "\\ud800"}]}}'):
        origin.answers(instruct(text))
        assert ask().reply().status in {200, 502}


# -- origins that take their time ------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(hub: Hub, deaf: str) -> Iterator[Fanway]:
    """A Fanway that waits a second for origins."""
    routes = [f"* {hub.target}", f"deaf.test {deaf}", f"half-deaf.test {deaf} {hub.target}"]
    flags = ("--origin-timeout-seconds", "1", "--origin-connect-timeout-seconds", "1")
    with Fanway(*flags, routes=routes) as fanway:
        yield fanway


@pytest.fixture(scope="module")
def deaf() -> Iterator[str]:
    """A target whose queue of connections is full: connecting to it never ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        waiting.append(sock)
    yield f"127.0.0.1:{port}"
    for sock in (*waiting, listener):
        sock.close()


def hang(wire: Wire, _: Request) -> None:
    """Take the request, and say nothing."""
    wire.wait_for_close()


def test_an_origin_that_says_nothing_gives_502_in_time(
    connect: Ask, impatient: Fanway, origin: Origin
) -> None:
    origin.answers(hang)
    began = time.monotonic()
    reply = connect(impatient.address).send(request(origin.host)).response()
    assert (reply.status, reply.body) == (502, FAILED)
    assert 0.9 <= time.monotonic() - began <= 3


def test_an_origin_that_stops_in_a_body_cuts_the_client_off(
    connect: Ask, impatient: Fanway, origin: Origin
) -> None:
    def stop(wire: Wire, _: Request) -> None:
        wire.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        wire.wait_for_close()

    origin.answers(stop)
    with pytest.raises(CutShort):
        connect(impatient.address).send(request(origin.host)).response()


def test_a_target_that_does_not_connect_gives_502_in_time(connect: Ask, impatient: Fanway) -> None:
    began = time.monotonic()
    reply = connect(impatient.address).send(request("deaf.test")).response()
    assert (reply.status, reply.body) == (502, FAILED)
    assert 0.9 <= time.monotonic() - began <= 3


def test_196_a_target_that_does_not_connect_in_time_is_passed_over(
    connect: Ask, impatient: Fanway, hub: Hub
) -> None:
    hub.origin("half-deaf.test").answers(answer(body=b"from the second"))
    client = connect(impatient.address).send(request("half-deaf.test"))
    assert client.response().body == b"from the second"


def test_an_origin_hears_when_the_client_has_left(ask: Ask, origin: Origin) -> None:
    origin.answers(hang)
    client = ask()
    origin.wait_for_requests()
    client.reset()
    origin.wait_until_answered()  # `hang` ends when Fanway has closed the connection


def test_an_origin_hears_when_the_client_leaves_in_a_response(ask: Ask, origin: Origin) -> None:
    def begin(wire: Wire, _: Request) -> None:
        wire.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        wire.wait_for_close()

    origin.answers(begin)
    client = ask()
    client.reply().expect(b"half")
    client.reset()
    origin.wait_until_answered()
