"""Which origin a request goes to, as far as host and path choose (GRIP.md section 7)."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import connect as connect_websocket

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin, Wire
from support.origin import Request as OriginRequest
from support.spelling import answer, request
from support.waiting import until

Connect = Callable[..., Client]


@dataclass
class Routed:
    """A Fanway whose routes stand in a file, and two origins that say their names."""

    fanway: Fanway
    file: Path
    hubs: tuple[Hub, Hub]

    def reload(self, text: str) -> None:
        """Write the routes anew and say so by SIGHUP."""
        since = len(self.fanway.lines)
        self.file.write_text(text.format(*(hub.target for hub in self.hubs)))
        self.fanway.signal(signal.SIGHUP)
        self.fanway.wait_for_log("routes_loaded", since)


HOSTS = ("a.test", "b.test", "c.test", "localhost")

ROUTES = """
* {0}
a.test {1}
b.test,path_beg=/x/ {0}
b.test,path_beg=/x/y {1}
c.test,path_beg=/only/ {1}  # nothing else of this host
this line is "broken
"""


def named_hub(name: str) -> Hub:
    """An origin that answers every host with its own name."""
    hub = Hub()
    for host in HOSTS:
        hub.origin(host).answers(answer(body=name.encode()))
    return hub


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    hubs = named_hub("first"), named_hub("second")
    file = tmp_path_factory.mktemp("routes") / "routes"
    file.write_text(ROUTES.format(*(hub.target for hub in hubs)))
    with Fanway(routes_file=file) as fanway:
        yield Routed(fanway, file, hubs)
    for hub in hubs:
        hub.close()


def body_for(routed: Routed, host: str, target: str = "/") -> bytes:
    """The name of the origin that answers; or the error."""
    client = Client(routed.fanway.address)
    try:
        return bytes(client.send(request(host, target)).response().body)
    finally:
        client.close()


@pytest.mark.parametrize(
    ("host", "target", "name"),
    [
        ("localhost", "/", b"first"),
        ("a.test", "/", b"second"),
        ("A.Test", "/", b"second"),
        ("a.test:7999", "/", b"second"),
        ("c.test", "/", b"Route not found\n"),
        ("c.test", "/only/this", b"second"),
        ("c.test", "/only", b"Route not found\n"),
    ],
)
def test_190_an_exact_host_beats_the_star(
    routed: Routed, host: str, target: str, name: bytes
) -> None:
    assert body_for(routed, host, target) == name


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/x/", b"first"),
        ("/x/y", b"second"),
        ("/x/yz?q", b"second"),
        ("/x/%79", b"first"),
        ("/z", b"Route not found\n"),
    ],
)
def test_191_the_longest_path_wins(routed: Routed, target: str, name: bytes) -> None:
    assert body_for(routed, "b.test", target) == name


def test_192_a_broken_line_is_logged_and_the_others_count(routed: Routed) -> None:
    assert any("unterminated" in line for line in routed.fanway.lines)


def test_198_sighup_reads_the_file_again_without_touching_a_connection(routed: Routed) -> None:
    client = Client(routed.fanway.address)
    assert client.send(request("localhost")).response().body == b"first"
    routed.reload("* {1}")
    assert client.send(request("localhost")).response().body == b"second"
    routed.reload(ROUTES)
    assert client.send(request("localhost")).response().body == b"first"
    client.close()


def test_198_a_change_of_the_file_is_seen_without_being_told(routed: Routed) -> None:
    since = len(routed.fanway.lines)
    routed.file.write_text(f"* {routed.hubs[1].target}  # written\n")
    routed.fanway.wait_for_log("routes_loaded", since)
    assert body_for(routed, "localhost") == b"second"
    routed.reload(ROUTES)


def test_198_a_change_that_leaves_nothing_usable_keeps_the_old_routes(routed: Routed) -> None:
    since = len(routed.fanway.lines)
    routed.file.write_text("* nowhere\n\nlocalhost zhttp/ipc://x\n")
    why = routed.fanway.wait_for_log("routes_kept", since)["why"]
    assert f"{routed.file}:1: target 'nowhere' has no port" in why
    assert f"{routed.file}:3: target 'zhttp/ipc://x'" in why
    assert body_for(routed, "a.test") == b"second"
    routed.reload(ROUTES)


def test_198_a_request_that_is_under_way_keeps_its_route(routed: Routed) -> None:
    reloaded = threading.Event()

    def slow(wire: Wire, _: OriginRequest) -> None:
        assert reloaded.wait(10)
        wire.send(answer(body=b"slow"))

    origin = routed.hubs[0].origin("slow.test")
    origin.answers(slow)
    client = Client(routed.fanway.address)
    client.send(request("slow.test"))
    origin.wait_for_requests()
    routed.reload("other.test {1}")
    reloaded.set()
    assert client.response().body == b"slow"
    client.close()
    routed.reload(ROUTES)


def test_198_a_hold_outlives_a_reload(routed: Routed, channel: str) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}")
    routed.hubs[0].origin("held.test").answers(answer(*grip, body=b"open"))
    client = Client(routed.fanway.address)
    reply = client.send(request("held.test")).reply()
    reply.expect(b"open")
    routed.reload("other.test {1}")
    routed.fanway.publish_stream(channel, "still here")
    reply.expect(b"still here")
    client.close()
    routed.reload(ROUTES)


def test_198_a_reload_that_cannot_be_read_keeps_the_old_routes(routed: Routed) -> None:
    since = len(routed.fanway.lines)
    text = routed.file.read_text()
    routed.file.unlink()
    routed.fanway.signal(signal.SIGHUP)
    until(lambda: len(routed.fanway.lines) > since, "a line about the file")
    assert body_for(routed, "a.test") == b"second"
    routed.file.write_text(text)


def test_196_the_next_target_is_tried_when_one_refuses(connect: Connect, hub: Hub) -> None:
    origin = hub.origin("failover.test")
    origin.answers(answer(body=b"from the second"))
    assert connect().send(request("failover.test")).response().body == b"from the second"
    assert len(origin.requests) == 1


def test_196_not_when_one_answers_503(connect: Connect, hub: Hub) -> None:
    origin = hub.origin("twice.test")
    origin.answers(answer(body=b"busy", status="503 Busy"), answer(body=b"not asked"))
    reply = connect().send(request(origin.host)).response()
    assert (reply.status, reply.body) == (503, b"busy")
    assert len(origin.requests) == 1


def test_196_nor_when_one_hangs_up(connect: Connect, hub: Hub) -> None:
    origin = hub.origin("twice.test")
    origin.answers(lambda wire, _: wire.reset())
    client = connect().send(request(origin.host, method="POST", body=b"once"))
    assert client.response("POST").status == 502
    assert len(origin.requests) == 1


@pytest.mark.parametrize("size_bytes", [10, 90_000, 1_000_000])
def test_197_the_request_body_is_sent_to_the_second_target(
    connect: Connect, hub: Hub, size_bytes: int
) -> None:
    origin = hub.origin("failover.test")
    body = bytes(n % 251 for n in range(size_bytes))
    said = request("failover.test", method="POST", body=body)
    assert connect().send(said).response("POST").status == 200
    assert origin.requests[0].body == body


@pytest.fixture(scope="module")
def various(hub: Hub, refused: tuple[str, str]) -> Iterator[Fanway]:
    """A Fanway with the rarer kinds of routes."""
    routes = [
        f"* {hub.target}",
        f"id=chosen,path_beg=/ {hub.target},host=chosen.test",
        f"untrusted.test {hub.target},untrusted",
        f"untrusted.test,path_beg=/debug/,debug {hub.target},untrusted",
        f"untrusted.test,path_beg=/name/ localhost:{hub.port},untrusted",
        f"untrusted.test,path_beg=/second/ {hub.target},untrusted {hub.target}",
        f"quiet.test,log_level=0 {refused[0]}",
        f"loud.test,id=loud {refused[0]}",
        "test.test test",
        "test.test,path_beg=/sub/ test",
        f"implicit.test,prefix=p- {hub.target},sub=always,sub=more",
        f"rewritten.test,path_beg=/v1/,replace_beg=/new/ {hub.target},host=api.test:81",
        f"rewritten.test,path_beg=/v2/,path_rem=3,as_host=other.test {hub.target}",
        f"rewritten.test,header=X-A:set,header=X-B:,header=X-C:added {hub.target}",
    ]
    with Fanway("--accept-pushpin-route", routes=routes) as fanway:
        yield fanway


@pytest.fixture
def get(various: Fanway, connect: Connect) -> Callable[..., Reply]:
    def get(host: str, target: str = "/", *headers: str, **more: object) -> Reply:
        said = request(host, target, *headers, **more)
        return connect(various.address).send(said).response(more.get("method", "GET"))

    return get


def test_10_194_the_origin_sees_another_path_and_another_host(
    get: Callable[..., Reply], hub: Hub
) -> None:
    replaced, removed = hub.origin("api.test"), hub.origin("other.test")
    get("rewritten.test", "/v1/a%2Fb?c=/v1/")
    get("rewritten.test", "/v2/a?b")
    assert (replaced.requests[0].target, replaced.requests[0].one("Host")) == (
        "/new/a%2Fb?c=/v1/",
        "api.test:81",
    )
    assert (removed.requests[0].target, removed.requests[0].one("Host")) == ("/a?b", "other.test")


def test_195_header_sets_replaces_and_deletes(get: Callable[..., Reply], hub: Hub) -> None:
    origin = hub.origin("rewritten.test")
    get("rewritten.test", "/", "x-a: 1", "X-A: 2", "x-b: 3")
    (sent,) = origin.requests
    assert (sent.all("X-A"), sent.all("X-B"), sent.all("X-C")) == (["set"], [], ["added"])


def test_199_pushpin_route_chooses_a_route_by_its_id(get: Callable[..., Reply], hub: Hub) -> None:
    chosen = hub.origin("chosen.test")
    assert get("any.test", "/", "Pushpin-Route: chosen").status == 200
    assert chosen.requests[0].all("Pushpin-Route") == []
    reply = get("any.test", "/", "Pushpin-Route: nobody")
    assert (reply.status, reply.body) == (502, b"Route not found\n")


def test_199_pushpin_route_is_a_header_like_others_unless_enabled(
    connect: Connect, origin: Origin
) -> None:
    connect().send(request(origin.host, "/", "Pushpin-Route: chosen")).response()
    assert origin.requests[0].one("Pushpin-Route") == "chosen"


@pytest.mark.parametrize("path", ["/", "/name/", "/second/"])
def test_200_an_untrusted_target_on_a_private_address_is_refused(
    get: Callable[..., Reply], hub: Hub, path: str
) -> None:
    origin = hub.origin("untrusted.test")
    reply = get("untrusted.test", path)
    assert (reply.status, reply.body) == (502, b"Error while proxying to origin.\n")
    assert origin.requests == []


def test_200_with_debug_the_client_is_told_why(get: Callable[..., Reply]) -> None:
    reply = get("untrusted.test", "/debug/")
    assert (reply.status, reply.body) == (502, b"Error: Origin host/IP blocked.\n")


def test_201_the_test_target_says_hello(get: Callable[..., Reply]) -> None:
    reply = get("test.test")
    assert (reply.status, reply.one("Content-Type")) == (200, "text/plain")
    assert b"test target" in reply.body
    assert get("test.test", "/nothing").status == 404
    assert get("test.test", "/", method="POST", body=bytes(100_001)).body == b"request too large\n"


@pytest.mark.parametrize("path", ["/response", "/response/", "/sub/response"])
def test_201_the_test_target_holds_a_poll(
    various: Fanway, connect: Connect, get: Callable[..., Reply], channel: str, path: str
) -> None:
    client = connect(various.address)
    client.send(request("test.test", f"{path}?channel=other&channel={channel}"))
    until(lambda: various.metric("fanway_channels") >= 2, "the hold")
    various.publish_response(channel, "published")
    various.publish_response("other", "not heard any more")
    assert client.response().body == b"published"


def test_201_the_test_target_holds_a_stream(various: Fanway, connect: Connect) -> None:
    reply = connect(various.address).send(request("test.test", "/stream")).reply()
    reply.expect(b"[stream opened]\n")
    various.publish_stream("test", "published")
    reply.expect(b"published")


def test_201_the_test_target_echoes_and_subscribes_a_websocket(various: Fanway) -> None:
    sock = socket.create_connection(various.addresses[0])
    with connect_websocket("ws://test.test/ws?channel=socket", sock=sock) as client:
        client.send("hello")
        assert client.recv(10) == "hello"
        client.send(b"bytes")
        assert client.recv(10) == b"bytes"
        various.publish("socket", {"ws-message": {"content": "published"}})
        assert client.recv(10) == "published"


def test_log_level_keeps_what_is_less_important_out_of_the_log(
    get: Callable[..., Reply], various: Fanway
) -> None:
    since = len(various.lines)
    for host in ("quiet.test", "loud.test"):
        assert get(host).status == 502
    various.wait_for_log("origin_failed", since)
    logged = [line["route"] for line in various.events("origin_failed", since)]
    assert logged == ["loud"]


def test_sub_subscribes_in_addition_and_without_the_prefix(
    various: Fanway, connect: Connect, hub: Hub, channel: str
) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}")
    hub.origin("implicit.test").answers(answer(*grip, body=b"open"))
    reply = connect(various.address).send(request("implicit.test")).reply()
    reply.expect(b"open")
    for name in ("always", "more", f"p-{channel}"):
        various.publish_stream(name, name)
        reply.expect(name.encode())


def test_202_a_target_may_be_an_ipv6_literal(connect: Connect, hub_v6: Hub) -> None:
    origin = hub_v6.origin("v6.test")
    origin.answers(answer(body=b"six"))
    assert connect().send(request("v6.test")).response().body == b"six"


def test_a_target_may_be_a_name(connect: Connect, hub: Hub) -> None:
    origin = hub.origin("by-name.test")
    assert connect().send(request(origin.host)).response().status == 200
    assert origin.requests[0].one("Host") == origin.host


def test_pushpin_check_is_a_header_like_others(connect: Connect, origin: Origin) -> None:
    origin.answers(answer(body=b"the origin's"))
    reply = connect().send(request(origin.host, "/", "Pushpin-Check: 1")).response()
    assert reply.body == b"the origin's"
    assert origin.requests[0].one("Pushpin-Check") == "1"
