"""HTTP/1.1 and 1.0 as clients speak it: connections, bodies, expectations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub, Origin, Request, Wire, says
from support.spelling import answer, chunked, request

Ask = Callable[..., Client]
Hold = Callable[..., Client]


def echo(wire: Wire, sent: Request) -> None:
    """Answers with the method, the target and the body."""
    wire.send(
        answer("Connection: close", body=f"{sent.method} {sent.target} ".encode() + sent.body)
    )


# -- one connection, many requests -----------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_request(ask: Ask, origin: Origin) -> None:
    origin.answers(*(answer(body=b"%d" % n) for n in range(5)))
    client = ask()
    assert client.response().body == b"0"
    for number in range(1, 5):
        assert client.send(request(origin.host)).response().body == b"%d" % number


def test_a_client_that_says_close_is_closed(ask: Ask) -> None:
    client = ask("/", "Connection: close")
    reply = client.response()
    assert reply.one("Connection") == "close"
    assert client.rest() == b""


def test_http_1_0_closes_after_the_response(ask: Ask, origin: Origin) -> None:
    origin.answers(answer(body=b"old"))
    client = ask(version="1.0")
    assert client.response().body == b"old"
    assert client.rest() == b""


def test_http_1_0_is_kept_when_it_asks_to_be(ask: Ask, origin: Origin) -> None:
    origin.answers(answer(body=b"first"), answer(body=b"second"))
    client = ask("/", "Connection: keep-alive", version="1.0")
    reply = client.response()
    assert (reply.body, (reply.one("Connection") or "").lower()) == (b"first", "keep-alive")
    client.send(request(origin.host, version="1.0"))
    assert client.response().body == b"second"
    assert client.rest() == b""


def test_http_1_0_never_gets_chunks(ask: Ask, origin: Origin) -> None:
    seen = threading.Event()

    def in_two_chunks(wire: Wire, _: Request) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert seen.wait(10)
        wire.send(chunked(b"def"))

    origin.answers(in_two_chunks)
    client = ask("/", "Connection: keep-alive", version="1.0")
    reply = client.reply()
    reply.expect(b"abc")
    seen.set()
    assert reply.read_to_end() == b"abcdef"
    assert reply.all("Transfer-Encoding") == []
    assert client.rest() == b""


def test_a_chunked_body_that_ends_while_the_origin_is_being_asked_arrives_whole(
    ask: Ask, origin: Origin
) -> None:
    """Head and body race each other through Fanway: whoever wins, the framing is right."""
    origin.answers(echo)
    client = ask()
    client.response()
    head = request(origin.host, "/", "Transfer-Encoding: chunked", method="POST")
    for _ in range(200):
        client.send(head).send(chunked(b"more"))
        assert client.response("POST").body == b"POST / more"


def test_http_1_0_needs_no_host(connect: Ask, hub: Hub) -> None:
    origin = hub.origin("localhost")  # for which a missing one counts, GRIP.md 8.7
    assert connect().send(b"GET / HTTP/1.0\r\n\r\n").response().status == 200
    assert len(origin.requests) == 1


def test_blank_lines_before_a_request_are_ignored(connect: Ask, origin: Origin) -> None:
    client = connect().send(b"\r\n\r\n" + request(origin.host))
    assert client.response().status == 200
    assert client.send(b"\r\n" + request(origin.host)).response().status == 200


def test_an_absolute_target_names_the_host(connect: Ask, origin: Origin) -> None:
    said = f"GET http://{origin.host}/a?b HTTP/1.1\r\nHost: {origin.host}\r\n\r\n"
    assert connect().send(said.encode()).response().status == 200
    assert origin.requests[0].target == "/a?b"
    assert origin.requests[0].one("Host") == origin.host


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_is_forwarded(ask: Ask, origin: Origin, method: str) -> None:
    assert ask("/x", method=method).response(method).status == 200
    assert origin.requests[0].method == method
    assert origin.requests[0].body == b""


# -- pipelining ------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order(connect: Ask, origin: Origin) -> None:
    origin.answers(echo)
    client = connect()
    targets = [f"/{n}" for n in range(10)]
    client.send(b"".join(request(origin.host, target) for target in targets))
    assert [client.response().body for _ in targets] == [f"GET {t} ".encode() for t in targets]


def test_many_pipelined_requests_with_bodies_keep_their_bodies_apart(
    connect: Ask, origin: Origin
) -> None:
    origin.answers(echo)
    client = connect()
    bodies = [bytes([n]) * (n * 400) for n in range(40)]
    said = b"".join(request(origin.host, "/", method="POST", body=body) for body in bodies)
    sender = threading.Thread(target=client.send, args=(said,))
    sender.start()
    assert [client.response("POST").body for _ in bodies] == [b"POST / " + body for body in bodies]
    sender.join()


def test_a_held_request_blocks_those_behind_it(
    connect: Ask, fanway: Fanway, origin: Origin, channel: str, settle: Callable[[], None]
) -> None:
    origin.answers(
        answer("Grip-Hold: response", f"Grip-Channel: {channel}"), answer(body=b"the one behind")
    )
    client = connect().send(request(origin.host, "/held") + request(origin.host, "/behind"))
    origin.wait_until_answered(1)
    settle()
    assert client.is_silent()
    assert [sent.target for sent in origin.requests] == ["/held"]
    fanway.publish_response(channel, "released")
    assert client.response().body == b"released"
    assert client.response().body == b"the one behind"


def test_a_request_sent_during_a_hold_waits_for_its_end(
    poll: Hold, fanway: Fanway, origin: Origin, channel: str, settle: Callable[[], None]
) -> None:
    client = poll(channel)
    origin.answers(answer(body=b"the one behind"))
    client.send(request(origin.host, "/behind"))
    settle()
    assert len(origin.requests) == 1
    fanway.publish_response(channel, "released")
    assert client.response().body == b"released"
    assert client.response().body == b"the one behind"


def test_a_pipeline_ends_where_a_request_says_close(connect: Ask, origin: Origin) -> None:
    said = request(origin.host, "/1", "Connection: close") + request(origin.host, "/2")
    client = connect().send(said)
    assert client.response().status == 200
    assert client.rest() == b""
    assert [sent.target for sent in origin.requests] == ["/1"]


def test_an_error_in_a_pipeline_comes_behind_the_answers_before_it(
    connect: Ask, origin: Origin
) -> None:
    origin.answers(answer(body=b"good"))
    client = connect().send(request(origin.host) + b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    assert client.response().body == b"good"
    assert client.response().status == 400
    assert client.rest() == b""


# -- HEAD, 204, 304 --------------------------------------------------------------------------------


def test_head_has_the_length_and_no_body(ask: Ask, origin: Origin) -> None:
    origin.answers(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"), answer(body=b"next"))
    client = ask(method="HEAD")
    reply = client.response("HEAD")
    assert (reply.one("Content-Length"), reply.body) == ("1234", b"")
    assert client.send(request(origin.host)).response().body == b"next"


def test_head_of_a_chunked_resource_has_no_body(ask: Ask, origin: Origin) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.answers(says(head), answer(body=b"next"))
    client = ask(method="HEAD")
    assert client.response("HEAD").body == b""
    assert client.send(request(origin.host)).response().body == b"next"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_body_have_none(ask: Ask, origin: Origin, status: str) -> None:
    said = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    origin.answers(says(said), answer(body=b"next"))
    client = ask()
    reply = client.response()
    assert (f"{reply.status} {reply.reason}", reply.body) == (status, b"")
    assert reply.all("Transfer-Encoding") == []
    assert reply.one("ETag") == "x"
    assert client.send(request(origin.host)).response().body == b"next"


def test_interim_responses_of_the_origin_are_not_the_answer(ask: Ask, origin: Origin) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    origin.answers(says(interim, answer(body=b"the answer")))
    reply = ask().response()
    assert (reply.status, reply.body) == (200, b"the answer")


def test_a_response_without_length_ends_with_the_origins_connection(
    ask: Ask, origin: Origin
) -> None:
    origin.answers(says(b"HTTP/1.0 200 OK\r\n\r\n", b"until ", b"the end"), answer(body=b"next"))
    client = ask()
    reply = client.response()
    assert reply.body == b"until the end"
    assert reply.one("Transfer-Encoding") == "chunked"
    assert client.send(request(origin.host)).response().body == b"next"


# -- request bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 1_000_000])
def test_a_sized_body_arrives_whole_and_sized(ask: Ask, origin: Origin, size_bytes: int) -> None:
    body = bytes(n % 251 for n in range(size_bytes))
    assert ask(method="POST", body=body).response("POST").status == 200
    assert origin.requests[0].body == body
    assert origin.requests[0].one("Content-Length") == str(size_bytes)


def test_a_chunked_body_arrives_whole(ask: Ask, origin: Origin) -> None:
    pieces = [bytes([n]) * (n * n * 50) for n in range(1, 40)]
    client = ask("/", "Transfer-Encoding: chunked", method="POST")
    assert client.send(chunked(*pieces)).response("POST").status == 200
    assert origin.requests[0].body == b"".join(pieces)


def test_an_empty_chunked_body_arrives_empty(ask: Ask, origin: Origin) -> None:
    client = ask("/", "Transfer-Encoding: chunked", method="POST")
    assert client.send(b"0\r\n\r\n").response("POST").status == 200
    assert origin.requests[0].body == b""


def test_a_body_is_streamed_before_it_is_complete(ask: Ask, origin: Origin) -> None:
    seen = threading.Event()

    def wait_for_the_first_half(wire: Wire, _: Request) -> None:
        first = wire.body_piece()
        seen.set()
        rest = b"".join(iter(wire.body_piece, b""))
        wire.send(answer(body=first + rest))

    origin.answers_at_head(wait_for_the_first_half)
    client = ask("/", "Content-Length: 8", method="POST").send(b"half")
    assert seen.wait(10)
    assert client.send(b"more").response("POST").body == b"halfmore"


def test_a_response_may_come_before_the_body_is_complete(ask: Ask, origin: Origin) -> None:
    origin.answers_at_head(says(answer("Connection: close", body=b"too big", status="413 No")))
    client = ask("/", "Content-Length: 1000000", method="POST")
    reply = client.response("POST")
    assert (reply.status, reply.body) == (413, b"too big")


def test_expect_100_continue_is_answered_by_the_proxy(ask: Ask, origin: Origin) -> None:
    client = ask("/", "Expect: 100-continue", "Content-Length: 4", method="POST")
    assert client.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.send(b"body").response("POST").status == 200
    assert origin.requests[0].body == b"body"


def test_a_client_that_does_not_wait_for_100_continue_is_served_all_the_same(
    ask: Ask, origin: Origin
) -> None:
    client = ask("/", "Expect: 100-continue", method="POST", body=b"body")
    assert client.response("POST").status == 200
    assert origin.requests[0].body == b"body"


def test_http_1_0_is_never_told_to_continue(ask: Ask, origin: Origin) -> None:
    client = ask("/", "Expect: 100-continue", method="POST", body=b"body", version="1.0")
    assert client.response("POST").interim == []


def test_a_client_may_stop_sending_after_its_request(ask: Ask, origin: Origin) -> None:
    go_on = threading.Event()

    def late(wire: Wire, _: Request) -> None:
        assert go_on.wait(10)
        wire.send(answer(body=b"late"))

    origin.answers(late)
    client = ask("/")
    client.finish_sending()
    origin.wait_for_requests()
    go_on.set()
    assert client.response().body == b"late"


def test_a_get_may_have_a_body(ask: Ask, origin: Origin) -> None:
    assert ask(body=b"unusual").response().status == 200
    assert origin.requests[0].body == b"unusual"


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"


@pytest.mark.parametrize(
    ("headers", "spelling"),
    [
        ((), {}),
        ((KEY,), {}),
        ((KEY, "Sec-WebSocket-Version: 8"), {}),
        ((VERSION,), {}),
        ((VERSION, "Sec-WebSocket-Key: short"), {}),
        ((VERSION, KEY, KEY), {}),
        ((VERSION, KEY), {"method": "POST"}),
        ((VERSION, KEY), {"body": b"body"}),
        ((VERSION, KEY), {"version": "1.0"}),
    ],
)
def test_212_an_upgrade_to_websocket_that_is_none_is_refused(
    ask: Ask, origin: Origin, headers: tuple[str, ...], spelling: dict[str, Any]
) -> None:
    client = ask("/", "Connection: Upgrade", "Upgrade: WebSocket", *headers, **spelling)
    reply = client.response(spelling.get("method", "GET"))
    assert (reply.status, reply.body.decode()) == (
        400,
        'Request contained an Upgrade header with value "websocket" but the request was not a '
        "valid WebSocket request.\n",
    )
    assert origin.requests == []


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.0", "anything"])
def test_an_upgrade_is_passed_as_an_ordinary_request_without_it(
    ask: Ask, origin: Origin, protocol: str
) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AA")
    client = ask("/", *upgrade)
    reply = client.response()
    assert reply.status == 200
    (sent,) = origin.requests
    assert sent.all("Upgrade") == sent.all("HTTP2-Settings") == []
    assert client.send(request(origin.host)).response().status == 200


def test_an_upgrade_with_a_body_keeps_its_body(ask: Ask, origin: Origin) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: h2c")
    client = ask("/", *upgrade, method="POST", body=b"body")
    assert client.response("POST").status == 200
    assert origin.requests[0].body == b"body"
    client.send(request(origin.host, "/2", *upgrade, "Transfer-Encoding: chunked", method="POST"))
    assert client.send(chunked(b"more")).response("POST").status == 200
    assert origin.requests[1].body == b"more"
