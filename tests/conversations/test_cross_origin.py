"""Pages of other sites: CORS headers (GRIP.md 8.1) and JSON-P (8.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from support.client import Client, CutShort, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin, says
from support.spelling import answer, request

CORS = "Access-Control-"

Get = Callable[..., Reply]


@pytest.fixture(scope="module")
def open_house(hub: Hub, refused: tuple[str, str]) -> Iterator[Fanway]:
    """A Fanway with routes for pages of other sites."""
    routes = [
        f"*,aco {hub.target}",
        f"*,aco,path_beg=/refused {refused[0]}",
        f"*,aco,path_beg=/basic/,jsonp_mode=basic {hub.target}",
        f"*,aco,path_beg=/body/,jsonp_body=b,jsonp_defcb=go,jsonp_defmethod=PUT {hub.target}",
        f"*,path_beg=/closed/ {hub.target}",
    ]
    with Fanway(routes=routes) as fanway:
        yield fanway


@pytest.fixture
def ask(open_house: Fanway, connect: Callable[..., Client], origin: Origin):
    def ask(target: str = "/", *headers: str, method: str = "GET") -> Client:
        return connect(open_house.address).send(
            request(origin.host, target, *headers, method=method)
        )

    return ask


@pytest.fixture
def get(ask: Callable[..., Client]) -> Get:
    return lambda *said, **more: ask(*said, **more).response(more.get("method", "GET"))


def cors(reply: Reply) -> dict[str, str]:
    """The CORS headers of an answer, by what follows Access-Control-."""
    return {n.removeprefix(CORS): v for n, v in reply.headers if n.startswith(CORS)}


DEFAULTS = {
    "Allow-Methods": "OPTIONS, HEAD, GET, POST, PUT, DELETE",
    "Allow-Credentials": "true",
    "Allow-Origin": "*",
    "Max-Age": "3600",
}


def test_203_cors_headers_are_added(get: Get) -> None:
    assert cors(get()) == DEFAULTS


def test_203_they_answer_what_the_page_asks_for(get: Get, origin: Origin) -> None:
    asked = (
        "Origin: https://page.test",
        "Access-Control-Request-Method: PATCH",
        "Access-Control-Request-Headers: X-A, X-B",
    )
    found = cors(get("/", *asked, method="OPTIONS"))
    assert found["Allow-Origin"] == "https://page.test"
    assert found["Allow-Methods"] == "PATCH"
    assert found["Allow-Headers"] == "X-A, X-B"


def test_203_only_those_that_are_missing_are_added(get: Get, origin: Origin) -> None:
    origin.answers(answer("access-control-allow-origin: https://only.test", f"{CORS}Max-Age: 1"))
    reply = get("/", "Origin: https://page.test")
    assert reply.all(f"{CORS}Allow-Origin") == ["https://only.test"]
    assert reply.all(f"{CORS}Max-Age") == ["1"]
    assert reply.all(f"{CORS}Allow-Credentials") == ["true"]


def test_203_grip_headers_are_never_exposed(get: Get, origin: Origin) -> None:
    origin.answers(answer("Grip-Foo: 1", "X-A: 1", "Cache-Control: no-store", "X-B: 2"))
    assert cors(get())["Expose-Headers"] == "X-A, X-B"


def test_203_errors_of_the_proxy_have_them_too(get: Get) -> None:
    reply = get("/refused")
    assert reply.status == 502
    assert cors(reply) == DEFAULTS


def test_203_other_routes_have_none(get: Get) -> None:
    assert cors(get("/closed/")) == {}


def test_203_auto_cross_origin_is_for_every_route(
    hub: Hub, origin: Origin, connect: Callable[..., Client]
) -> None:
    with Fanway("--auto-cross-origin", routes=[f"{origin.host} {hub.target}"]) as fanway:
        client = connect(fanway.address)
        assert cors(client.send(request(origin.host)).response()) == DEFAULTS
        reply = client.send(request("elsewhere.test")).response()
        assert (reply.status, cors(reply)) == (502, DEFAULTS)


def test_203_streams_and_polls_have_them(
    ask: Callable[..., Client], open_house: Fanway, origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}", "X-A: 1")
    origin.answers(answer(*grip, body=b"open"))
    reply = ask("/", "Origin: https://page.test").reply()
    reply.expect(b"open")
    assert cors(reply)["Allow-Origin"] == "https://page.test"
    assert cors(reply)["Expose-Headers"] == "X-A"

    origin.answers(answer("Grip-Hold: response", f"Grip-Channel: {channel}", "X-B: 1"))
    poll = ask("/", "Origin: https://page.test")
    origin.wait_until_answered(2)
    origin.answers(answer())
    for _ in range(2):  # whole exchanges that make their way behind the hold
        ask("/closed/").response()
    open_house.publish(channel, {"http-response": {"body": "x"}, "http-stream": {"content": "y"}})
    reply = poll.response()
    assert reply.body == b"x"
    assert cors(reply)["Allow-Origin"] == "https://page.test"


def test_203_headers_that_only_a_publish_has_are_exposed(
    ask: Callable[..., Client], open_house: Fanway, origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}", "X-Held: 1", "X-Both: 1")
    origin.answers(answer(*grip), answer())
    poll = ask("/", "Origin: https://page.test")
    origin.wait_until_answered()
    for _ in range(2):  # whole exchanges that make their way behind the hold
        ask("/closed/").response()
    published = {"X-Both": "2", "ETag": "3", "Expires": "0", "Grip-Foo": "4"}
    open_house.publish(channel, {"http-response": {"body": "x", "headers": published}})
    reply = poll.response()
    assert cors(reply)["Expose-Headers"] == "X-Held, X-Both, ETag"
    assert cors(reply)["Allow-Origin"] == "https://page.test"
    assert ":expose" not in dict(reply.headers)


def test_204_options_is_for_the_origin(get: Get, origin: Origin) -> None:
    origin.answers(answer("Allow: GET", body=b"mine", status="405 No"))
    reply = get("/", method="OPTIONS")
    assert (reply.status, reply.body, origin.requests[0].method) == (405, b"mine", "OPTIONS")


# -- JSON-P ----------------------------------------------------------------------------------------


def called(reply: Reply, name: str = "cb") -> dict[str, Any]:
    """What the callback would be given."""
    assert (reply.status, reply.reason) == (200, "OK")
    assert reply.one("Content-Type") == "application/javascript"
    match = re.fullmatch(rb"/\*\*/([^(]+)\((.*)\);\n", reply.body, re.DOTALL)
    assert match, reply.body
    assert match[1].decode() == name
    parsed: dict[str, Any] = json.loads(match[2])
    return parsed


def test_205_an_extended_answer_has_status_headers_and_body(get: Get, origin: Origin) -> None:
    origin.answers(
        answer(
            *("X-A: 1", "X-a: 2", "Cache-Control: no-cache"),
            body='say "é"\n'.encode(),
            status="404 Nowhere",
        )
    )
    reply = get("/?a=1&callback=cb&b=%20+")
    told = called(reply)
    assert (told["code"], told["reason"], told["body"]) == (404, "Nowhere", 'say "é"\n')
    assert told["headers"]["X-A"] == "1, 2"
    assert reply.one("Cache-Control") == "no-cache"
    assert reply.all("X-A") == []
    (sent,) = origin.requests
    assert (sent.method, sent.target) == ("GET", "/?a=1&b=%20+")


def test_205_a_basic_answer_is_the_bare_body(get: Get, origin: Origin) -> None:
    origin.answers(answer(body=b'{"a": 1}\n'))
    reply = get("/basic/?callback=cb")
    assert reply.body == b'/**/cb({"a": 1});\n'
    assert (origin.requests[0].method, origin.requests[0].target) == ("POST", "/basic/")


def test_205_method_headers_and_body_come_from_the_query(get: Get, origin: Origin) -> None:
    headers = quote(json.dumps({"X-A": "é", "Host": "evil.test", "Accept": "x/y"}))
    target = f"/?callback=cb&_method=PATCH&_headers={headers}&_body=a%26b&c=d"
    called(get(target, "X-Kept: 1", "Accept: a/b", "x-a: old"))
    (sent,) = origin.requests
    assert (sent.method, sent.target, sent.body) == ("PATCH", "/?c=d", b"a&b")
    assert (sent.one("Host"), sent.one("Accept")) == (origin.host, "*/*")
    assert sent.all("X-A") == ["é".encode().decode("latin-1")]
    assert sent.one("X-Kept") == "1"


def test_205_a_route_may_name_body_callback_and_method(get: Get, origin: Origin) -> None:
    called(get("/body/?b=%7B%7D", "Content-Type: text/plain"), "go")
    (sent,) = origin.requests
    assert (sent.method, sent.body, sent.target) == ("PUT", b"{}", "/body/")
    assert sent.one("Content-Type") == "application/json"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("callback=a(b", "callback"),
        ("callback=", "callback"),
        ("callback=cb&_method=a%20b", "_method"),
        ("callback=cb&_headers=%5B%5D", "_headers"),
        ("callback=cb&_headers=%7B%22a%22%3A1%7D", "_headers"),
        ("callback=cb&_headers=%7B%22a%22%3A%22b%5Cn%22%7D", "_headers"),
        ("callback=cb&_body=%ff", "_body"),
    ],
)
def test_205_bad_parameters_are_refused(get: Get, origin: Origin, query: str, text: str) -> None:
    reply = get(f"/?{query}")
    assert (reply.status, reply.body.decode()) == (400, f"Invalid {text} parameter.\n")
    assert origin.requests == []


def test_205_a_bad_body_parameter_is_refused(get: Get) -> None:
    assert get("/body/?b=%ff").body == b"Invalid body parameter.\n"


def test_205_errors_of_the_proxy_are_wrapped(get: Get) -> None:
    told = called(get("/refused?callback=a.b[0]"), "a.b[0]")
    assert (told["code"], told["body"]) == (502, "Error while proxying to origin.\n")


def test_205_an_answer_of_any_length_is_wrapped_piece_by_piece(get: Get, origin: Origin) -> None:
    body = "ü".encode() * 200_000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    origin.answers(says(head, body[:100_001], body[100_001:]))
    assert called(get("/?callback=cb"))["body"] == body.decode()


def test_205_what_is_not_text_cannot_be_wrapped(get: Get, origin: Origin) -> None:
    origin.answers(answer(body=b"\xff"))
    reply = get("/?callback=cb")
    assert reply.status == 500
    assert reply.body == b"Upstream response could not be JSON-P encoded.\n"


def test_205_nor_what_turns_out_not_to_be(ask: Callable[..., Client], origin: Origin) -> None:
    body = b"a" * 400_000 + b"\xff"
    origin.answers(says(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body))
    with pytest.raises(CutShort):
        ask("/?callback=cb").response()


def test_205_other_routes_know_no_callback(get: Get, origin: Origin) -> None:
    origin.answers(answer(body=b"plain"))
    assert get("/closed/?callback=cb").body == b"plain"
    assert origin.requests[0].target == "/closed/?callback=cb"


@pytest.mark.parametrize("path", ["/", "/basic/"])
def test_206_the_publish_that_answers_a_poll_is_wrapped(
    ask: Callable[..., Client], open_house: Fanway, origin: Origin, channel: str, path: str
) -> None:
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}", "X-Held: 1")
    origin.answers(answer(*grip, body=b"nothing"), answer())
    client = ask(f"{path}?callback=cb")
    origin.wait_until_answered()
    for _ in range(2):  # whole exchanges that make their way behind the hold
        ask("/closed/").response()
    open_house.publish(channel, {"http-response": {"code": 201, "body": '{"a": "b"}'}})
    reply = client.response()
    if path == "/basic/":
        assert reply.body == b'/**/cb({"a": "b"});\n'
    else:
        told = called(reply)
        assert (told["code"], told["body"]) == (201, '{"a": "b"}')
        assert told["headers"]["X-Held"] == "1"
    assert reply.one("X-Held") == "1"
    assert cors(reply)["Allow-Origin"] == "*"


def test_206_a_poll_that_asks_again_asks_the_same(
    ask: Callable[..., Client], open_house: Fanway, origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}")
    origin.answers(answer(*grip), answer(), answer(), answer(body=b"again"))
    client = ask("/?callback=cb&_method=PUT&_body=x")
    origin.wait_until_answered()
    for _ in range(2):  # whole exchanges that make their way behind the hold
        ask("/closed/").response()
    open_house.publish(channel, {"http-response": {"action": "hint"}})
    assert called(client.response())["body"] == "again"
    first, *_, last = origin.requests
    assert (last.method, last.body) == (first.method, first.body) == ("PUT", b"x")


def test_206_streams_are_not_wrapped(
    ask: Callable[..., Client], origin: Origin, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    ask("/?callback=cb").reply().expect(b"open")
