"""Which origin a request goes to, as far as host and path choose (GRIP.md section 7)."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub
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


def test_202_a_target_may_be_an_ipv6_literal(connect: Connect, hub_v6: Hub) -> None:
    origin = hub_v6.origin("v6.test")
    origin.answers(answer(body=b"six"))
    assert connect().send(request("v6.test")).response().body == b"six"


def test_a_target_may_be_a_name(connect: Connect, hub: Hub) -> None:
    origin = hub.origin("by-name.test")
    assert connect().send(request(origin.host)).response().status == 200
    assert origin.requests[0].one("Host") == origin.host
