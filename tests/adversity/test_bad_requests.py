"""Clients that speak badly: a clear answer, the end of the connection, and nothing for the origin.

What reaches an origin is judged by h11 (support/origin.py); here nothing may reach it at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from support.client import SPLITS, Client, Split
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.spelling import chunked, request

Ask = Callable[..., Client]

HEAD_MAX_BYTES = 8192
BODY_MAX_BYTES = 1000

# Heads, without their last empty line; %HOST% is the host of the test's origin.
BAD_HEADS = {
    "no host": "GET / HTTP/1.1",
    "two hosts": "GET / HTTP/1.1\r\nHost: %HOST%\r\nHost: %HOST%",
    "two different hosts": "GET / HTTP/1.1\r\nHost: %HOST%\r\nHost: other.test",
    "host with a blank": "GET / HTTP/1.1\r\nHost: %HOST% other",
    "host with a user": "GET / HTTP/1.1\r\nHost: user@%HOST%",
    "host with a path": "GET / HTTP/1.1\r\nHost: %HOST%/path",
    "host list": "GET / HTTP/1.1\r\nHost: %HOST%, other.test",
    "space before the colon": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A : b",
    "space before the colon of host": "GET / HTTP/1.1\r\nHost : %HOST%",
    "tab before the colon": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A\t: b",
    "space before the first header": "GET / HTTP/1.1\r\n Host: %HOST%",
    "obs-fold": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A: b\r\n c",
    "obs-fold by tab": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A: b\r\n\tc",
    "no colon": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A",
    "no name": "GET / HTTP/1.1\r\nHost: %HOST%\r\n: b",
    "name with a blank": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX A: b",
    "name with a bracket": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX(A): b",
    "NUL in a value": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A: b\0c",
    "NUL in a name": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX\0A: b",
    "control character in a value": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A: b\x01c",
    "bare LF between lines": "GET / HTTP/1.1\nHost: %HOST%",
    "bare LF in a value": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A: b\nX-B: c",
    "bare CR in a value": "GET / HTTP/1.1\r\nHost: %HOST%\r\nX-A: b\rX-B: c",
    "length and chunked": (
        "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 4\r\nTransfer-Encoding: chunked"
    ),
    "chunked and length": (
        "POST / HTTP/1.1\r\nHost: %HOST%\r\nTransfer-Encoding: chunked\r\nContent-Length: 4"
    ),
    "two lengths": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 4\r\nContent-Length: 5",
    "list of lengths": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 4, 5",
    "negative length": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: -1",
    "signed length": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: +4",
    "hexadecimal length": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 0x4",
    "length and more": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 4 4",
    "no length after all": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length:",
    "length beyond numbers": "POST / HTTP/1.1\r\nHost: %HOST%\r\nContent-Length: 1" + 30 * "0",
    "unknown coding": "POST / HTTP/1.1\r\nHost: %HOST%\r\nTransfer-Encoding: xchunked",
    "chunked is not last": "POST / HTTP/1.1\r\nHost: %HOST%\r\nTransfer-Encoding: chunked, gzip",
    "chunked in a vertical tab": (
        "POST / HTTP/1.1\r\nHost: %HOST%\r\nTransfer-Encoding: \x0bchunked"
    ),
    "chunked on 1.0": "POST / HTTP/1.0\r\nHost: %HOST%\r\nTransfer-Encoding: chunked",
    "HTTP/0.9": "GET /",
    "HTTP/2.0": "GET / HTTP/2.0\r\nHost: %HOST%",
    "HTTP/1.10": "GET / HTTP/1.10\r\nHost: %HOST%",
    "no version number": "GET / HTTP/\r\nHost: %HOST%",
    "lower-case protocol": "GET / http/1.1\r\nHost: %HOST%",
    "another protocol": "GET / ICY/1.1\r\nHost: %HOST%",
    "blank in the target": "GET /a b HTTP/1.1\r\nHost: %HOST%",
    "NUL in the target": "GET /a\0b HTTP/1.1\r\nHost: %HOST%",
    "no target": "GET HTTP/1.1\r\nHost: %HOST%",
    "relative target": "GET path HTTP/1.1\r\nHost: %HOST%",
    "absolute target with a user": "GET http://user@%HOST%/ HTTP/1.1\r\nHost: %HOST%",
    "absolute target with two hosts": "GET http://%HOST%,other.test/ HTTP/1.1\r\nHost: %HOST%",
    "absolute target without a host": "GET http:///path HTTP/1.1\r\nHost: %HOST%",
    "method of brackets": "(GET) / HTTP/1.1\r\nHost: %HOST%",
    "tunnel": "CONNECT %HOST%:80 HTTP/1.1\r\nHost: %HOST%:80",
    "more than 64 headers": "GET / HTTP/1.1\r\nHost: %HOST%" + 64 * "\r\nX-A: b",
}

BAD_CHUNKS = {
    "letters": b"xyz\r\n",
    "negative": b"-1\r\n",
    "prefixed": b"0x5\r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n",
    "too large for any number": b"ffffffffffffffffff\r\nhello",
    "longer than it says": b"4\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF after the bytes": b"5\r\nhello\n0\r\n\r\n",
    "blank in the size": b"5 5\r\nhello\r\n0\r\n\r\n",
}

NOT_HTTP = {
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(189)),
    "zeros": bytes(100),
    "high bytes": bytes(range(128, 256)),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "text": b"hello there\r\n\r\n",
}


def assert_refused(client: Client, origin: Origin, status: int = 400) -> bytes:
    """One well-formed answer, then the end; the origin has heard nothing."""
    reply = client.response()
    assert reply.status == status
    assert reply.one("Connection") == "close"
    assert reply.one("Content-Type") == "text/plain"
    assert reply.body.endswith(b"\n")
    assert client.rest() == b""
    assert origin.requests == []
    return bytes(reply.body)


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_gets_400_and_the_end(connect: Ask, origin: Origin, name: str) -> None:
    head = BAD_HEADS[name].replace("%HOST%", origin.host)
    ending = "\n\n" if "\r\n" not in head and "\n" in head else "\r\n\r\n"
    client = connect().send((head + ending).encode("latin-1"))
    # Behind it, what a smuggler would want to be taken for a request.
    body = assert_refused(client, origin)
    assert body.startswith(b"Failed to parse request: ")


@pytest.mark.parametrize("name", BAD_CHUNKS)
@pytest.mark.parametrize("split", SPLITS)
def test_bad_chunks_get_400_and_the_end(ask: Ask, origin: Origin, name: str, split: Split) -> None:
    client = ask("/", "Transfer-Encoding: chunked", method="POST")
    try:
        client.send(BAD_CHUNKS[name], split)
    except (BrokenPipeError, ConnectionResetError):
        assert split is not SPLITS[0]
    body = assert_refused(client, origin)
    assert body.startswith(b"Failed to parse request: ")


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_gets_400_and_the_end(connect: Ask, origin: Origin, name: str) -> None:
    body = assert_refused(connect().send(NOT_HTTP[name]), origin)
    assert body.startswith(b"Failed to parse request: ")


def test_bytes_behind_a_bad_head_are_never_taken_for_a_request(
    connect: Ask, origin: Origin
) -> None:
    bad = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    smuggled = b"0\r\n\r\n" + request(origin.host, "/smuggled")
    assert_refused(connect().send(bad + smuggled), origin)


def test_a_body_that_looks_like_a_request_is_a_body(ask: Ask, origin: Origin) -> None:
    inner = request(origin.host, "/smuggled")
    client = ask("/", method="POST", body=inner)
    assert client.response("POST").status == 200
    client.send(request(origin.host, "/", "Transfer-Encoding: chunked", method="POST"))
    assert client.send(chunked(inner)).response("POST").status == 200
    assert [sent.target for sent in origin.requests] == ["/", "/"]
    assert [sent.body for sent in origin.requests] == [inner, inner]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("long_part", ["target", "value", "name", "many headers"])
def test_212_a_head_over_the_limit_gets_431(
    connect: Ask, origin: Origin, long_part: str, split: Split
) -> None:
    long = "x" * HEAD_MAX_BYTES
    many = [f"X-{n}: {'x' * 300}" for n in range(30)]
    said = {
        "target": request(origin.host, "/" + long),
        "value": request(origin.host, "/", "X-Long: " + long),
        "name": request(origin.host, "/", long + ": x"),
        "many headers": request(origin.host, "/", *many),
    }[long_part]
    client = connect()
    try:
        client.send(said, split)
    except (BrokenPipeError, ConnectionResetError):
        assert split is not SPLITS[0]
    text = f"Request header size exceeded limit of {HEAD_MAX_BYTES} bytes.\n"
    assert assert_refused(client, origin, 431).decode() == text


def test_212_a_head_that_never_ends_gets_431(connect: Ask, origin: Origin) -> None:
    client = connect().send(f"GET / HTTP/1.1\r\nHost: {origin.host}\r\nX: ".encode())
    client.send(b"x" * HEAD_MAX_BYTES)
    assert_refused(client, origin, 431)


@pytest.mark.parametrize("split", SPLITS)
def test_212_a_head_of_the_largest_size_is_read(connect: Ask, origin: Origin, split: Split) -> None:
    spare = HEAD_MAX_BYTES - len(request(origin.host, "/", "X: "))
    said = request(origin.host, "/", "X: " + "x" * spare)
    assert len(said) == HEAD_MAX_BYTES
    assert connect().send(said, split).response().status == 200


@pytest.fixture(scope="module")
def strict(hub: Hub) -> Iterator[Fanway]:
    """A Fanway with narrow limits."""
    limits = {
        "--head-timeout-seconds": "1",
        "--idle-timeout-seconds": "2",
        "--request-body-max-bytes": str(BODY_MAX_BYTES),
        "--client-buffer-size": "2048",
        "--stall-timeout-seconds": "1",
    }
    with Fanway(*(w for pair in limits.items() for w in pair), routes=[f"* {hub.target}"]) as it:
        yield it


def test_a_head_that_takes_too_long_gets_408(connect: Ask, strict: Fanway, origin: Origin) -> None:
    client = connect(strict.address).send(f"GET / HTTP/1.1\r\nHost: {origin.host}\r\n".encode())
    began = time.monotonic()
    assert_refused(client, origin, 408)
    assert 0.9 <= time.monotonic() - began <= 3


def test_a_head_that_drips_gets_408_too(connect: Ask, strict: Fanway, origin: Origin) -> None:
    """Each byte comes soon after the one before it, but the whole takes too long."""
    client = connect(strict.address)
    began = time.monotonic()
    for byte in request(origin.host, "/", "X: " + "x" * 500):
        if not client.is_silent():
            break
        client.send(bytes([byte]))
        time.sleep(0.02)  # this client is slow: that is what is tested
    assert_refused(client, origin, 408)
    assert time.monotonic() - began <= 3


def test_a_connection_that_says_nothing_is_closed_without_a_word(
    connect: Ask, strict: Fanway, origin: Origin
) -> None:
    client = connect(strict.address)
    began = time.monotonic()
    assert client.rest() == b""
    assert time.monotonic() - began <= 5


def test_a_kept_connection_that_says_nothing_more_is_closed(
    connect: Ask, strict: Fanway, origin: Origin
) -> None:
    client = connect(strict.address).send(request(origin.host))
    assert client.response().status == 200
    assert client.rest() == b""


def test_a_held_connection_is_not_idle(
    connect: Ask, strict: Fanway, origin: Origin, channel: str
) -> None:
    from support.spelling import answer

    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    reply = connect(strict.address).send(request(origin.host)).reply()
    reply.expect(b"open")
    other = connect(strict.address)
    assert other.rest() == b"", "this one was idle, and is gone"
    strict.publish_stream(channel, "still here")
    reply.expect(b"still here")


def test_a_sized_body_over_the_limit_gets_413(connect: Ask, strict: Fanway, origin: Origin) -> None:
    head = f"POST / HTTP/1.1\r\nHost: {origin.host}\r\nContent-Length: {BODY_MAX_BYTES + 1}\r\n\r\n"
    client = connect(strict.address).send(head.encode())
    assert assert_refused(client, origin, 413) == b"Request body too large.\n"


@pytest.mark.parametrize("split", SPLITS)
def test_a_chunked_body_over_the_limit_gets_413(
    connect: Ask, strict: Fanway, origin: Origin, split: Split
) -> None:
    client = connect(strict.address)
    client.send(request(origin.host, "/", "Transfer-Encoding: chunked", method="POST"))
    try:
        client.send(chunked(*[b"x" * 100] * 11), split)
    except (BrokenPipeError, ConnectionResetError):
        assert split is not SPLITS[0]
    assert_refused(client, origin, 413)


def test_a_body_of_the_largest_size_is_forwarded(
    connect: Ask, strict: Fanway, origin: Origin
) -> None:
    client = connect(strict.address)
    client.send(request(origin.host, method="POST", body=b"x" * BODY_MAX_BYTES))
    assert client.response("POST").status == 200
    client.send(request(origin.host, "/", "Transfer-Encoding: chunked", method="POST"))
    assert client.send(chunked(b"x" * BODY_MAX_BYTES)).response("POST").status == 200


def test_a_client_that_expects_100_continue_is_refused_before_it_sends(
    connect: Ask, strict: Fanway, origin: Origin
) -> None:
    client = connect(strict.address)
    client.send(
        f"POST / HTTP/1.1\r\nHost: {origin.host}\r\nExpect: 100-continue\r\n"
        f"Content-Length: {BODY_MAX_BYTES + 1}\r\n\r\n".encode()
    )
    assert client.reply("POST").interim == []


def test_an_answer_tells_no_secrets(connect: Ask, origin: Origin) -> None:
    body = assert_refused(connect().send(b"GET / HTTP/1.1\r\nbad\r\n\r\n"), origin)
    assert not re.search(rb"Traceback|\.py|0x[0-9a-f]{6}", body)
