"""Identical requests that wait for an origin at the same time: the route option `aggregate`.

The setting `share_all` is Pushpin's own name for it, on every route (GRIP.md 9.4).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import Client, CutShort
from support.fanway import Fanway
from support.origin import Act, Hub, Origin, Request, Wire
from support.pushpin import PORTS, SHIPPED, free_ports
from support.spelling import answer, chunked, request
from support.waiting import DEADLINE_SECONDS, until

COUNT = 10

Ask = Callable[..., Client]


@pytest.fixture(scope="module")
def sharing(hub: Hub) -> Iterator[Fanway]:
    """A Fanway that shares calls below /shared/, with two workers."""
    routes = [f"* {hub.target}", f"*,path_beg=/shared/,aggregate {hub.target}"]
    with Fanway("--log-level", "debug", "--workers", "2", routes=routes) as fanway:
        yield fanway
        fanway.assert_no_error()


@pytest.fixture
def ask(sharing: Fanway, origin: Origin, connect: Callable[..., Client]) -> Ask:
    """A new client asks for something that is shared."""

    def ask(target: str = "/shared/", *headers: str, **more: str) -> Client:
        return connect(sharing.address).send(request(origin.host, target, *headers, **more))

    return ask


class Gate:
    """Holds an origin's answers back."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def then(self, *pieces: bytes) -> Act:
        """Say these once it is open."""

        def act(wire: Wire, _request: Request) -> None:
            assert self._open.wait(DEADLINE_SECONDS)
            wire.send(*pieces)

        return act


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def crowd(sharing: Fanway, ask: Ask) -> Callable[..., list[Client]]:
    """Clients that all wait for one call."""

    def crowd(count: int = COUNT, target: str = "/shared/", *headers: str) -> list[Client]:
        before = shared_count(sharing)
        clients = [ask(target, *headers) for _ in range(count)]
        until(lambda: shared_count(sharing) == before + count - 1, f"{count} wait for one call")
        return clients

    return crowd


def shared_count(fanway: Fanway) -> int:
    """How many requests have joined the call of another."""
    return sum('"event": "shared"' in line for line in list(fanway.lines))


def test_a_crowd_costs_the_origin_one_request(
    origin: Origin, gate: Gate, crowd: Callable[..., list[Client]]
) -> None:
    origin.answers(gate.then(answer("X-One: 1", body=b"hello")), answer(body=b"later"))
    clients = crowd()
    gate.open()
    replies = [client.response() for client in clients]
    said = [(reply.status, reply.one("X-One"), reply.body) for reply in replies]
    assert said == [(200, "1", b"hello")] * COUNT
    assert len(origin.requests) == 1
    assert clients[0].send(request(origin.host, "/shared/")).response().body == b"later"


def test_each_of_a_crowd_is_held_and_is_sent_what_is_published(
    sharing: Fanway, origin: Origin, gate: Gate, crowd: Callable[..., list[Client]], channel: str
) -> None:
    grip = "Grip-Hold: stream", f"Grip-Channel: {channel}"
    origin.answers(gate.then(answer(*grip, body=b"first\n")))
    clients = crowd()
    gate.open()
    replies = [client.reply() for client in clients]
    for reply in replies:
        reply.expect(b"first\n")
    sharing.publish_stream(channel, "second\n")
    for reply in replies:
        reply.expect(b"second\n")
    assert len(origin.requests) == 1


def test_each_of_a_crowd_that_polls_is_answered_by_one_publish(
    sharing: Fanway, origin: Origin, gate: Gate, crowd: Callable[..., list[Client]], channel: str
) -> None:
    grip = "Grip-Hold: response", f"Grip-Channel: {channel}"
    origin.answers(gate.then(answer(*grip)))
    clients = crowd()
    gate.open()
    until(lambda: sharing.metric("fanway_holds", mode="response") == COUNT, "all are held")
    sharing.publish_response(channel, "news")
    assert [client.response().body for client in clients] == [b"news"] * COUNT


def test_a_long_answer_reaches_all_of_a_crowd(
    origin: Origin, gate: Gate, crowd: Callable[..., list[Client]]
) -> None:
    body = bytes(range(256)) * 4096
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.answers(gate.then(head, chunked(body[: 1 << 19], body[1 << 19 :])))
    clients = crowd(3)
    gate.open()
    results: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda n=n, c=c: results.update({n: c.response().body}))
        for n, c in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert [results[n] == body for n in range(3)] == [True] * 3
    assert len(origin.requests) == 1


def test_the_first_of_a_crowd_may_leave(
    sharing: Fanway, origin: Origin, gate: Gate, crowd: Callable[..., list[Client]]
) -> None:
    origin.answers(gate.then(answer(body=b"hello")))
    first, *others = crowd()
    first.reset()
    until(lambda: sharing.metric("fanway_connections") == COUNT - 1, "it has left")
    gate.open()
    assert [client.response().body for client in others] == [b"hello"] * (COUNT - 1)
    assert len(origin.requests) == 1


def test_an_origin_that_fails_fails_all_of_a_crowd(
    origin: Origin, gate: Gate, crowd: Callable[..., list[Client]]
) -> None:
    origin.answers(gate.then(), gate.then())
    clients = crowd()
    gate.open()
    assert {client.response().status for client in clients} == {502}
    assert len(origin.requests) == 1


def test_an_answer_that_breaks_off_breaks_off_for_all_of_a_crowd(
    origin: Origin, gate: Gate, crowd: Callable[..., list[Client]]
) -> None:
    origin.answers(gate.then(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    clients = crowd()
    gate.open()
    for client in clients:
        with pytest.raises(CutShort):
            client.response()


def test_who_differs_in_a_cookie_or_asks_elsewhere_makes_a_call_of_its_own(
    origin: Origin, gate: Gate, ask: Ask
) -> None:
    origin.answers(*[gate.then(answer(body=b"%d" % number)) for number in range(6)])
    asked = [
        ("/shared/",),
        ("/shared/", "Cookie: a=1"),
        ("/shared/", "Cookie: a=2"),
        ("/shared/", "Authorization: Bearer x"),
        ("/shared/?a",),
        ("/elsewhere/",),
    ]
    clients = []
    for number, (target, *headers) in enumerate(asked, start=1):
        clients.append(ask(target, *headers))
        origin.wait_for_requests(number)
    gate.open()
    assert [client.response().body for client in clients] == [b"%d" % n for n in range(6)]


def test_posts_are_never_shared(origin: Origin, gate: Gate, ask: Ask) -> None:
    origin.answers(gate.then(answer()), gate.then(answer()))
    clients = [ask(method="POST", body=b"buy") for _ in range(2)]
    assert origin.wait_for_requests(2).body == b"buy"
    gate.open()
    assert [client.response().status for client in clients] == [200, 200]


def test_share_all_of_a_pushpin_conf_shares_on_every_route(
    hub: Hub, origin: Origin, gate: Gate, connect: Callable[..., Client], tmp_path: Path
) -> None:
    (tmp_path / "routes").write_text(f"* {hub.target}\n")
    text = SHIPPED.replace("[handler]", "[handler]\nshare_all=true")
    for shipped, ours in zip(PORTS, free_ports(len(PORTS)), strict=True):
        text = text.replace(shipped, str(ours))
    config = tmp_path / "pushpin.conf"
    config.write_text(text)
    origin.answers(gate.then(answer(body=b"hello")))
    with Fanway("--log-level", "debug", config=config) as fanway:
        clients = [connect(fanway.address).send(request(origin.host)) for _ in range(3)]
        until(lambda: shared_count(fanway) == 2, "all wait for one call")
        gate.open()
        assert [client.response().body for client in clients] == [b"hello"] * 3
    assert len(origin.requests) == 1
