"""Clients that are gone, at any byte: everything of theirs is freed, and nothing is logged."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Origin, Wire
from support.origin import Request as OriginRequest
from support.spelling import answer, chunked, request
from support.waiting import until

Connect = Callable[..., Client]

LEAVE = {"politely": Client.close, "rudely": Client.reset}


@contextlib.contextmanager
def all_are_gone_after(fanway: Fanway, client_count: int) -> Iterator[None]:
    """So many clients come, and nothing of them is left; what is counted lags a second behind."""
    until(lambda: fanway.metric("fanway_connections") == 0, "nobody before")
    before = fanway.metric("fanway_connections_accepted_total")
    yield

    def gone() -> bool:
        came = fanway.metric("fanway_connections_accepted_total") - before
        return came >= client_count and fanway.metric("fanway_connections") == 0

    until(gone, f"{client_count} have come and gone")
    assert fanway.metric("fanway_holds") == 0


@pytest.mark.parametrize("how", LEAVE)
def test_in_a_request(connect: Connect, fanway: Fanway, origin: Origin, how: str) -> None:
    said = request(origin.host, "/path", "Transfer-Encoding: chunked", method="POST")
    said += chunked(b"hello", b"world") + request(origin.host, "/next")
    with all_are_gone_after(fanway, len(said)):
        for size in range(len(said)):
            LEAVE[how](connect().send(said[:size]))
    assert connect().send(request(origin.host)).response().status == 200


@pytest.mark.parametrize("how", LEAVE)
def test_in_a_response(connect: Connect, fanway: Fanway, origin: Origin, how: str) -> None:
    origin.answers(answer(body=bytes(3_000_000)))
    sizes = (1, 50, 1000, 100_000, 1_000_000)
    with all_are_gone_after(fanway, len(sizes)):
        for size in sizes:
            client = connect().send(request(origin.host))
            client.drain(size)
            LEAVE[how](client)


@pytest.mark.parametrize("how", LEAVE)
def test_in_a_hold(
    stream: Callable[..., Reply],
    poll: Callable[..., Client],
    fanway: Fanway,
    channel: str,
    how: str,
) -> None:
    replies = [stream(channel, body=b"open") for _ in range(10)]
    clients = [poll(channel) for _ in range(10)]
    for client in (*clients[::2], *(reply.client for reply in replies[::2])):
        LEAVE[how](client)
    modes = ("stream", "response")
    until(
        lambda: [fanway.metric("fanway_holds", mode=mode) for mode in modes] == [5, 5],
        "half of the holds are left",
    )
    formats = {"http-stream": {"content": "more"}, "http-response": {"body": "more"}}
    fanway.publish(channel, formats)
    for reply in replies[1::2]:
        reply.expect(b"more")
    assert [client.response().body for client in clients[1::2]] == [b"more"] * 5


@pytest.mark.parametrize("mode", ["stream", "response"])
def test_before_a_hold_begins(
    ask: Connect, fanway: Fanway, origin: Origin, channel: str, mode: str
) -> None:
    """A client that has half-closed by then gets no hold, and its channel is nobody's."""
    go_on = threading.Event()

    def late(wire: Wire, _: OriginRequest) -> None:
        assert go_on.wait(10)
        wire.send(answer(f"Grip-Hold: {mode}", f"Grip-Channel: {channel}"))

    until(lambda: fanway.metric("fanway_channels") == 0, "nobody holds anything")
    origin.answers(late)
    client = ask()
    origin.wait_for_requests()
    client.finish_sending()
    go_on.set()
    assert client.rest() == b""
    until(lambda: fanway.metric("fanway_channels") == 0, "its channel is free again")


def test_a_stream_for_a_head_request_holds_nothing(
    ask: Connect, fanway: Fanway, origin: Origin, channel: str
) -> None:
    until(lambda: fanway.metric("fanway_channels") == 0, "nobody holds anything")
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    assert ask(method="HEAD").response("HEAD").body == b""
    until(lambda: fanway.metric("fanway_channels") == 0, "its channel is free again")


@pytest.mark.parametrize("how", LEAVE)
def test_while_a_publish_is_on_its_way(
    stream: Callable[..., Reply], fanway: Fanway, channel: str, how: str
) -> None:
    replies = [stream(channel, body=b"open") for _ in range(30)]
    for number, reply in enumerate(replies[:-1]):
        fanway.publish_stream(channel, f"{number:02d}" * 20_000)
        LEAVE[how](reply.client)
    last = replies[-1]
    for number in range(len(replies) - 1):
        last.expect(f"{number:02d}".encode() * 20_000)


@pytest.mark.parametrize("how", LEAVE)
def test_a_publisher_in_its_body(connect: Connect, fanway: Fanway, how: str) -> None:
    head = (
        b"POST /publish/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n"
    )
    since = len(fanway.lines)
    client = connect(fanway.control_addresses[0]).send(head)
    assert client.receive().startswith(b"HTTP/1.1 100 ")
    LEAVE[how](client.send(b'{"items": ['))
    assert fanway.is_healthy()
    fanway.publish_stream("nobody", "x")
    assert fanway.events("internal_error", since) == []


def test_a_client_that_leaves_with_a_request_pipelined_behind_a_hold(
    poll: Callable[..., Client], fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = poll(channel)
    client.send(request(origin.host) * 5)
    client.reset()
    until(lambda: fanway.metric("fanway_holds", mode="response") == 0, "the hold has ended")
    assert len(origin.requests) == 1


def test_a_flood_during_a_hold_ends_the_connection_and_costs_no_memory(
    poll: Callable[..., Client], fanway: Fanway, channel: str
) -> None:
    client = poll(channel)
    before = max(fanway.resident_bytes().values())
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send_until_blocked(b"x" * 65_536, bytes_max=64 * 1024 * 1024)
    assert max(fanway.resident_bytes().values()) - before < 16 * 1024 * 1024
