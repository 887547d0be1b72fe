"""What goes to the origin and what comes back, when nothing is held (GRIP.md 1.1, 1.2, 1.12)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, Key, RSAKey

from support.client import Client, CutShort
from support.fanway import Fanway
from support.keys import HEX_SECRET, SIG_KEY, read_token, secret
from support.origin import Hub, Origin, Request, Wire, says
from support.spelling import answer, request
from support.waiting import until

Ask = Callable[..., Client]

FEATURES = (
    "status, session, link:next, link:gone, filter:skip-self, filter:skip-users, "
    "filter:require-sub, filter:build-id, filter:var-subst, filter:http-check, filter:http-modify"
)


def test_1_a_response_without_grip_is_streamed_through_unbuffered(ask: Ask, origin: Origin) -> None:
    first_was_seen = threading.Event()

    def in_two_halves(wire: Wire, _: Request) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert first_was_seen.wait(10)
        wire.send(b"after")

    origin.answers(in_two_halves)
    reply = ask().reply()
    reply.expect(b"first")
    first_was_seen.set()
    reply.expect(b"after")
    reply.expect_end()


def test_1_server_sent_events_of_the_origin_itself_come_event_by_event(
    ask: Ask, origin: Origin
) -> None:
    seen = threading.Semaphore(0)

    def events(wire: Wire, _: Request) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        wire.send(b"Transfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            wire.send(b"9\r\ndata: %d\n\n\r\n" % number)
            assert seen.acquire(timeout=10)
        wire.send(b"0\r\n\r\n")

    origin.answers(events)
    reply = ask().reply()
    assert reply.one("Content-Type") == "text/event-stream"
    for number in range(5):
        reply.expect(b"data: %d\n\n" % number)
        seen.release()
    reply.expect_end()


def test_1_status_reason_headers_and_their_order_come_as_the_origin_wrote_them(
    ask: Ask, origin: Origin
) -> None:
    headers = ("X-b: 2", "x-A: 1", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Latin: caf\xe9")
    origin.answers(answer(*headers, body=b"teapot", status="418 I'm Not A Pot"))
    reply = ask().response()
    assert (reply.status, reply.reason) == (418, "I'm Not A Pot")
    lines = [f"{name}: {value}" for name, value in reply.headers]
    assert [line for line in lines if line in headers] == list(headers)
    assert reply.body == b"teapot"


def test_2_grip_sig_is_on_every_request(ask: Ask, origin: Origin) -> None:
    client = ask()
    client.response()
    client.send(request(origin.host, "/", method="POST", body=b"x")).response()
    for sent in origin.requests:
        read_token(sent.one("Grip-Sig") or "", secret(SIG_KEY))


def test_3_grip_sig_says_who_and_until_when_and_nothing_else(ask: Ask, origin: Origin) -> None:
    ask().response()
    token = read_token(origin.requests[0].one("Grip-Sig") or "", secret(SIG_KEY))
    assert token.claims.keys() == {"iss", "exp"}
    assert token.claims["iss"] == "pushpin"
    assert abs(token.claims["exp"] - (time.time() + 3600)) < 60


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("plain", "HS256"), ("ec", "ES256"), ("rsa", "RS256")]
)
def test_4_the_kind_of_key_chooses_the_algorithm(
    connect: Ask, hub: Hub, keys: Path, kind: str, algorithm: str
) -> None:
    origin = hub.origin(f"{kind}.test")
    connect().send(request(origin.host)).response()
    readers: dict[str, Callable[[], Key]] = {
        "plain": lambda: secret(SIG_KEY),
        "ec": lambda: ECKey.import_key((keys / "ec.pem").read_bytes()),
        "rsa": lambda: RSAKey.import_key((keys / "rsa.pem").read_bytes()),
    }
    token = read_token(origin.requests[0].one("Grip-Sig") or "", readers[kind]())
    assert token.header["alg"] == algorithm


@pytest.mark.parametrize(
    ("host", "key"), [("base64.test", SIG_KEY.encode()), ("hex.test", HEX_SECRET)]
)
def test_5_encoded_keys_are_decoded_before_use(
    connect: Ask, hub: Hub, host: str, key: bytes
) -> None:
    origin = hub.origin(host)
    connect().send(request(host)).response()
    token = origin.requests[0].one("Grip-Sig") or ""
    read_token(token, secret(key))
    with pytest.raises(BadSignatureError):
        read_token(token, secret(b"another secret that is longer than 32 bytes"))


@pytest.fixture(scope="module")
def plain(hub: Hub) -> Iterator[Fanway]:
    """A Fanway with one host, and without a key."""
    with Fanway(routes=[f"plain.test {hub.target}"]) as plain:
        yield plain


def test_6_without_a_key_there_is_no_grip_sig(plain: Fanway, connect: Ask, hub: Hub) -> None:
    origin = hub.origin("plain.test")
    connect(plain.address).send(request(origin.host)).response()
    assert origin.requests[0].all("Grip-Sig") == []
    assert origin.requests[0].all("Grip-Feature") != []


def test_7_grip_headers_of_the_client_never_reach_the_origin(ask: Ask, origin: Origin) -> None:
    ask("/", "Grip-Foo: 1", "gRIP-Last: c; last-id=1", "Grip-Sig: x", "Grip-Feature: y").response()
    (sent,) = origin.requests
    assert sent.all("Grip-Foo") == sent.all("Grip-Last") == []
    assert sent.one("Grip-Feature") != "y"
    assert sent.one("Grip-Sig") != "x"


def test_8_grip_feature_lists_what_works_in_the_documented_order(ask: Ask, origin: Origin) -> None:
    ask().response()
    assert origin.requests[0].one("Grip-Feature") == FEATURES


@pytest.mark.parametrize(
    "header",
    [
        "Accept-Encoding: gzip",
        "Keep-Alive: timeout=5",
        "Expect: 100-continue",
        "TE: trailers",
        "Proxy-Connection: keep-alive",
    ],
)
def test_9_headers_between_client_and_proxy_are_not_forwarded(
    ask: Ask, origin: Origin, header: str
) -> None:
    ask("/", header, "X-Kept: yes", method="POST", body=b"x").response("POST")
    (sent,) = origin.requests
    assert sent.all(header.partition(": ")[0]) == []
    assert sent.one("X-Kept") == "yes"


def test_9_the_encoding_of_an_upload_is_forwarded_with_it(ask: Ask, origin: Origin) -> None:
    """Pushpin removes it, and the origin cannot know what it has; GRIP.md 11, number 20."""
    ask("/", "Content-Encoding: gzip", method="POST", body=b"x").response("POST")
    assert origin.requests[0].one("Content-Encoding") == "gzip"


def test_9_headers_that_connection_names_are_not_forwarded(ask: Ask, origin: Origin) -> None:
    ask("/", "Connection: X-Hop, keep-alive", "X-Hop: 1", "X-Kept: yes").response()
    (sent,) = origin.requests
    assert sent.all("X-Hop") == sent.all("Connection") == []
    assert sent.one("X-Kept") == "yes"


def test_9_transfer_encoding_is_the_proxys_own(ask: Ask, origin: Origin) -> None:
    client = ask("/", "Transfer-Encoding: chunked", method="POST")
    client.send(b"3;name=value\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n").response("POST")
    (sent,) = origin.requests
    assert sent.body == b"abc"
    assert sent.all("X-Trailer") == []
    assert len(sent.all("Transfer-Encoding")) + len(sent.all("Content-Length")) == 1


def test_10_host_is_the_clients(ask: Ask, origin: Origin) -> None:
    ask().response()
    assert origin.requests[0].one("Host") == origin.host


def test_10_the_target_is_the_clients_byte_for_byte(ask: Ask, origin: Origin) -> None:
    for target in ("/a%2e%2F/../b//c", "/?q=%00&&=;a+b", "/~user:1@x/!$&'()*", "/a?b?c"):
        ask(target).response()
        assert origin.requests[-1].target == target


def test_10_other_headers_go_as_the_client_wrote_them(ask: Ask, origin: Origin) -> None:
    headers = ("X-b: 2", "x-A: 1", "Cookie: a=1", "Cookie: b=2", "X-Latin: caf\xe9", "X-Empty: ")
    ask("/", *headers).response()
    sent = [f"{n.decode('latin-1')}: {v.decode('latin-1')}" for n, v in origin.requests[0].headers]
    assert [line for line in sent if line in headers] == list(headers)


@pytest.mark.parametrize("header", ["Connection: close", "Keep-Alive: timeout=9"])
def test_11_headers_between_origin_and_proxy_are_not_relayed(
    ask: Ask, origin: Origin, header: str
) -> None:
    origin.answers(says(answer(header, "X-Kept: yes", body=b"x")))
    reply = ask().response()
    assert header not in [f"{name}: {value}" for name, value in reply.headers]
    assert reply.one("X-Kept") == "yes"


def test_11_content_encoding_is_not_relayed_and_the_body_is_as_sent(
    ask: Ask, origin: Origin
) -> None:
    origin.answers(answer("Content-Encoding: gzip", body=b"\x1f\x8b not really"))
    reply = ask().response()
    assert reply.all("Content-Encoding") == []
    assert reply.body == b"\x1f\x8b not really"


def test_11_chunks_of_the_origin_are_not_the_clients(ask: Ask, origin: Origin) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.answers(says(head, b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nX-Trailer: 1\r\n\r\n"))
    reply = ask().response()
    assert reply.body == b"abc"
    assert reply.all("X-Trailer") == []


def test_12_a_host_without_a_matching_route_gets_502_route_not_found(connect: Ask) -> None:
    reply = connect().send(request("exact.test", "/elsewhere")).response()
    assert (reply.status, reply.body) == (502, b"Route not found\n")
    assert reply.one("Content-Type") == "text/plain"


def test_12_so_does_a_host_that_no_route_names(connect: Ask, plain: Fanway) -> None:
    for host in ("other.test", "sub.plain.test", ""):
        reply = connect(plain.address).send(request(host)).response()
        assert (reply.status, reply.body) == (502, b"Route not found\n")


def test_13_a_target_that_refuses_gives_502(connect: Ask) -> None:
    reply = connect().send(request("refused.test")).response()
    assert (reply.status, reply.reason) == (502, "Bad Gateway")
    assert reply.body == b"Error while proxying to origin.\n"
    assert reply.one("Content-Type") == "text/plain"


def test_13_with_debug_the_targets_tried_are_listed(connect: Ask, refused: tuple[str, str]) -> None:
    reply = connect().send(request("refused.test", "/debug/")).response()
    text = f"Unable to connect to any targets. Tried: {refused[0]}, {refused[1]}\n"
    assert (reply.status, reply.body.decode()) == (502, text)


@pytest.mark.parametrize(
    "framing", ["Content-Length: 100", "Transfer-Encoding: chunked"], ids=["sized", "chunked"]
)
def test_14_an_origin_that_dies_in_a_body_cuts_the_client_off(
    ask: Ask, origin: Origin, framing: str
) -> None:
    origin.answers(says(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\nhalf\r\n".encode()))
    client = ask()
    reply = client.reply()
    with pytest.raises(CutShort):
        reply.read_to_end()
    assert b"half" in reply.body
    assert b"Error" not in reply.body


def test_15_an_unknown_grip_header_is_stripped_and_the_rest_delivered(
    ask: Ask, origin: Origin
) -> None:
    origin.answers(answer("Grip-Foo: bar", "X-Kept: yes", body=b"the rest", status="201 Made"))
    reply = ask().response()
    assert (reply.status, reply.reason, reply.body) == (201, "Made", b"the rest")
    assert reply.all("Grip-Foo") == []
    assert reply.one("X-Kept") == "yes"


def test_15_a_response_with_an_unknown_grip_header_is_buffered_whole(
    ask: Ask, origin: Origin
) -> None:
    head = b"HTTP/1.1 200 OK\r\nGrip-Foo: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.answers(says(head, b"3\r\nabc\r\n", b"0\r\n\r\n"))
    reply = ask().response()
    assert reply.one("Content-Length") == "3"
    assert reply.all("Transfer-Encoding") == []


def test_16_a_channel_without_a_hold_is_stripped_and_subscribes_nothing(
    ask: Ask, origin: Origin, channel: str, fanway: Fanway
) -> None:
    origin.answers(answer(f"Grip-Channel: {channel}", body=b"answered at once"))
    client = ask()
    reply = client.response()
    assert reply.all("Grip-Channel") == []
    assert reply.body == b"answered at once"
    until(lambda: fanway.metric("fanway_channels") == 0, "no channel is held")
    fanway.publish_response(channel, "not for you")
    origin.answers(answer(body=b"next"))
    assert client.send(request(origin.host)).response().body == b"next"


def test_207_a_client_cannot_claim_tls(ask: Ask, origin: Origin) -> None:
    ask("/", "X-Forwarded-Proto: https", "X-Forwarded-Protocol: https").response()
    (sent,) = origin.requests
    assert sent.all("X-Forwarded-Proto") == sent.all("X-Forwarded-Protocol") == []


def test_209_x_forwarded_for_is_left_alone_but_merged(ask: Ask, origin: Origin) -> None:
    ask("/", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2, 10.0.0.3").response()
    assert origin.requests[0].one("X-Forwarded-For") == "10.0.0.1, 10.0.0.2, 10.0.0.3"
    ask().response()
    assert origin.requests[1].all("X-Forwarded-For") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("append", "10.0.0.1, 10.0.0.2, 127.0.0.1"),
        ("truncate:1,append", "10.0.0.2, 127.0.0.1"),
        ("truncate:0", None),
    ],
)
def test_209_x_forwarded_for_is_truncated_and_appended_to(
    hub: Hub, origin: Origin, rule: str, expected: str | None
) -> None:
    with Fanway("--x-forwarded-for", rule, routes=[f"* {hub.target}"]) as fanway:
        client = Client(fanway.address)
        client.send(request(origin.host, "/", "X-Forwarded-For: 10.0.0.1, 10.0.0.2")).response()
        client.close()
    assert origin.requests[0].one("X-Forwarded-For") == expected


def test_the_media_type_alone_makes_no_hold_of_a_similar_name(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Content-Type: application/grip-instruct-not", body=b"{}"))
    reply = ask().response()
    assert reply.body == b"{}"
    assert reply.one("Content-Type") == "application/grip-instruct-not"


def test_the_error_texts_of_the_proxy_name_no_path_and_no_exception(connect: Ask) -> None:
    reply = connect().send(request("refused.test")).response()
    assert not re.search(rb"/|Error:|Exception|errno", reply.body, re.IGNORECASE)
