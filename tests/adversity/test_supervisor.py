"""Processes that die, and the signals of an operator."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from support.client import Client, CutShort, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin, Request, Wire
from support.spelling import answer, request
from support.waiting import until


@pytest.fixture
def house(hub: Hub) -> Fanway:
    """A Fanway of the test's own; the test ends it."""
    return Fanway("--stop-timeout-seconds", "5", routes=[f"* {hub.target}"])


def streamed(fanway: Fanway, origin: Origin, channel: str, *headers: str) -> Reply:
    """The reply to a client in a stream hold."""
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}")
    origin.answers(answer(*grip, *headers, body=b"open"))
    reply = Client(fanway.address).send(request(origin.host)).reply()
    reply.expect(b"open")
    return reply


def polled(fanway: Fanway, origin: Origin, channel: str) -> Client:
    """A client in a response hold."""
    origin.answers(answer("Grip-Hold: response", f"Grip-Channel: {channel}"))
    client = Client(fanway.address).send(request(origin.host))
    until(lambda: fanway.metric("fanway_holds", mode="response") == 1, "held")
    return client


def is_running(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_worker_is_restarted_and_health_says_so(
    house: Fanway, origin: Origin, channel: str
) -> None:
    with house as fanway:
        (pid,) = fanway.pids("fastpath")
        reply = streamed(fanway, origin, channel)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CutShort):
            reply.read_to_end()
        reply.client.close()
        until(lambda: not fanway.is_healthy(), "not healthy while the worker is gone")
        until(fanway.is_healthy, "healthy again")
        assert fanway.pids("fastpath") != [pid]
        reply = streamed(fanway, origin, channel)
        fanway.publish_stream(channel, " again")
        reply.expect(b" again")
        reply.client.close()
        assert fanway.events("died")


def test_a_frozen_worker_is_unhealthy_until_it_goes_on(
    house: Fanway, origin: Origin, channel: str
) -> None:
    with house as fanway:
        (pid,) = fanway.pids("fastpath")
        reply = streamed(fanway, origin, channel)
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: not fanway.is_healthy(), "not healthy while the worker is frozen")
            body = json.loads(fanway.control("GET", "/healthz").body)
            assert (body["missing_workers"], body["silent_workers"]) == ([], [0])
        finally:
            os.kill(pid, signal.SIGCONT)
        until(fanway.is_healthy, "healthy again")
        fanway.publish_stream(channel, " still here")
        reply.expect(b" still here")
        reply.client.close()
        assert len(fanway.events("worker_silent")) == 1


def test_a_connection_that_waits_to_be_accepted_outlives_the_crash_of_a_worker(
    house: Fanway, origin: Origin
) -> None:
    with house as fanway:
        (pid,) = fanway.pids("fastpath")
        os.kill(pid, signal.SIGSTOP)
        client = Client(fanway.address).send(request(origin.host))
        os.kill(pid, signal.SIGKILL)
        assert client.response().status == 200
        client.close()


def test_a_killed_control_leaves_the_holds_and_they_get_the_next_publish(
    house: Fanway, origin: Origin, hub: Hub, channel: str
) -> None:
    with house as fanway:
        (pid,) = fanway.pids("control")
        poll = polled(fanway, hub.origin(f"other-{origin.host}"), f"{channel}-poll")
        reply = streamed(fanway, origin, channel, "Grip-Keep-Alive: k; timeout=1; mode=interval")
        os.kill(pid, signal.SIGKILL)
        until(lambda: not fanway.is_healthy(), "nobody answers for control")
        reply.expect(b"k")
        until(fanway.is_healthy, "healthy again")
        assert fanway.pids("control") != [pid]
        fanway.publish_stream(channel, "P")
        until(lambda: reply.piece() == b"P", "the publish, between keep-alives")
        fanway.publish_response(f"{channel}-poll", "published")
        assert poll.response().body == b"published"
        reply.client.close()
        poll.close()


def test_a_request_that_control_took_with_it_gets_503_and_later_ones_are_served(
    house: Fanway, origin: Origin
) -> None:
    with house as fanway:
        (pid,) = fanway.pids("control")
        origin.answers(lambda wire, _: wire.wait_for_close(), answer(body=b"later"))
        client = Client(fanway.address).send(request(origin.host))
        origin.wait_for_requests()
        os.kill(pid, signal.SIGKILL)
        reply = client.response()
        assert (reply.status, reply.body) == (503, b"Accept service unavailable.\n")
        client.close()
        until(fanway.is_healthy, "healthy again")
        client = Client(fanway.address).send(request(origin.host))
        assert client.response().body == b"later"
        client.close()


def test_a_response_that_control_took_with_it_is_cut_off(house: Fanway, origin: Origin) -> None:
    def begin(wire: Wire, _: Request) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        wire.wait_for_close()

    with house as fanway:
        (pid,) = fanway.pids("control")
        origin.answers(begin)
        client = Client(fanway.address).send(request(origin.host))
        reply = client.reply()
        reply.expect(b"half")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CutShort):
            reply.read_to_end()
        client.close()
        until(fanway.is_healthy, "healthy again")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_requests_closes_holds_and_exits_0(
    house: Fanway, origin: Origin, hub: Hub, channel: str, number: signal.Signals
) -> None:
    finish = threading.Event()

    def slowly(wire: Wire, _: Request) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        assert finish.wait(10)
        wire.send(b"more")

    with house as fanway:
        reply = streamed(fanway, hub.origin(f"stream-{origin.host}"), channel)
        poll = polled(fanway, hub.origin(f"poll-{origin.host}"), channel)
        idle = Client(fanway.address).send(request(f"poll-{origin.host}", method="HEAD"))
        origin.answers(slowly)
        busy = Client(fanway.address).send(request(origin.host))
        answered = busy.reply()
        answered.expect(b"half")
        fanway.signal(number)
        reply.client.rest()
        poll.rest()
        idle.rest()
        until(lambda: not can_connect(fanway), "new connections are refused")
        finish.set()
        answered.expect(b"more")
        answered.expect_end()
        began = time.monotonic()
        assert fanway.wait_for_exit() == 0
        assert time.monotonic() - began < 3
        for client in (reply.client, poll, idle, busy):
            client.close()


def can_connect(fanway: Fanway) -> bool:
    """Whether a client would be let in."""
    try:
        Client(fanway.address).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_request_that_never_ends_is_cut_off_at_the_deadline(hub: Hub, origin: Origin) -> None:
    origin.answers(lambda wire, _: wire.wait_for_close())
    with Fanway("--stop-timeout-seconds", "1", routes=[f"* {hub.target}"]) as fanway:
        client = Client(fanway.address).send(request(origin.host))
        origin.wait_for_requests()
        began = time.monotonic()
        fanway.signal(signal.SIGTERM)
        client.rest()
        assert fanway.wait_for_exit() == 0
        assert 0.9 <= time.monotonic() - began <= 4
        client.close()


def test_a_killed_supervisor_leaves_no_child_and_no_folder(house: Fanway) -> None:
    (control,), (worker,) = house.pids("control"), house.pids("fastpath")
    children = [control, worker]
    words = Path(f"/proc/{control}/cmdline").read_text().split("\0")
    link = Path(words[words.index("--link") + 1])
    assert link.is_socket()
    house.signal(signal.SIGKILL)
    until(lambda: not any(map(is_running, children)), "the children have ended too")
    assert not link.parent.exists()
    house.assert_no_bug()
    house.abandon()


def test_two_workers_share_the_port_and_either_may_die(hub: Hub, origin: Origin) -> None:
    with Fanway("--workers", "2", routes=[f"* {hub.target}"]) as fanway:
        pids = fanway.pids("fastpath")
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: not fanway.is_healthy(), "one worker is missing")
        until(fanway.is_healthy, "both are there")
        clients = [Client(fanway.address).send(request(origin.host)) for _ in range(20)]
        assert [client.response().status for client in clients] == [200] * 20
        for client in clients:
            client.close()


def test_a_client_that_only_connected_does_not_delay_the_end(house: Fanway) -> None:
    with house as fanway:
        host, port = fanway.addresses[0]
        with socket.create_connection((host, int(port)), timeout=5):
            began = time.monotonic()
            fanway.signal(signal.SIGTERM)
            assert fanway.wait_for_exit() == 0
            assert time.monotonic() - began < 3
