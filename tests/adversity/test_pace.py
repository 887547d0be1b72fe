"""Bodies of any size in constant memory: who is slow paces who is fast."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub, Origin, Request, Wire
from support.spelling import answer, request
from support.waiting import until

MIB = 1024 * 1024
LARGE_BYTES = 1024 * MIB
WARM_UP_BYTES = 64 * MIB
RISE_MAX_BYTES = 16 * MIB
BLOCK = bytes(MIB)
# What the kernel buffers on both connections (up to 6 + 4 MiB each on Linux) and the windows of
# the link; an unpaced side would say all of PACED_BYTES.
BUFFERS_BYTES = 40 * MIB
PACED_BYTES = 256 * MIB
SAMPLE_SECONDS = 0.05


@pytest.fixture(scope="module")
def large(hub: Hub) -> Iterator[Fanway]:
    """A Fanway of its own: its memory is looked at."""
    with Fanway(routes=[f"* {hub.target}"]) as fanway:
        yield fanway


@contextlib.contextmanager
def rises_no_more_than(limit_bytes: int, fanway: Fanway) -> Iterator[None]:
    """No process of Fanway gets larger than this meanwhile; sampled all the time."""
    before = peak = fanway.resident_bytes()
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(SAMPLE_SECONDS):
            peak = {name: max(peak[name], size) for name, size in fanway.resident_bytes().items()}

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield
    finally:
        done.set()
        sampler.join()
    rises = {name: (peak[name] - size) / MIB for name, size in before.items()}
    assert max(rises.values()) <= limit_bytes / MIB, f"MiB: {rises}"


def download(fanway: Fanway, origin: Origin, size_bytes: int) -> None:
    def send(wire: Wire, _: Request) -> None:
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\n\r\n".encode())
        for _ in range(size_bytes // len(BLOCK)):
            wire.send(BLOCK)

    origin.answers(send)
    client = Client(fanway.address).send(request(origin.host, "/", "Connection: close"))
    taken = client.drain(size_bytes) + len(client.rest())
    client.close()
    assert size_bytes < taken < size_bytes + 1000


def upload(fanway: Fanway, origin: Origin, size_bytes: int) -> None:
    taken: list[int] = []

    def take(wire: Wire, _: Request) -> None:
        taken.append(wire.drain_body(size_bytes))
        wire.send(answer("Connection: close", body=b"thanks"))

    origin.answers_at_head(take)
    client = Client(fanway.address)
    client.send(request(origin.host, "/", f"Content-Length: {size_bytes}", method="POST"))
    for _ in range(size_bytes // len(BLOCK)):
        client.send(BLOCK)
    assert client.response("POST").body == b"thanks"
    client.close()
    assert taken == [size_bytes]


@pytest.mark.parametrize("way", [download, upload])
def test_a_gibibyte_passes_in_constant_memory(
    large: Fanway, origin: Origin, way: Callable[[Fanway, Origin, int], None]
) -> None:
    way(large, origin, WARM_UP_BYTES)
    with rises_no_more_than(RISE_MAX_BYTES, large):
        way(large, origin, LARGE_BYTES)


def test_a_slow_client_paces_the_origin(large: Fanway, origin: Origin) -> None:
    sent: list[int] = []

    def send(wire: Wire, _: Request) -> None:
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {PACED_BYTES}\r\n\r\n".encode())
        sent.append(wire.send_until_blocked(BLOCK, bytes_max=PACED_BYTES))
        left = PACED_BYTES - sent[0]
        while left > 0:
            wire.send(BLOCK[:left])
            left -= len(BLOCK)

    origin.answers(send)
    client = Client(large.address, receive_buffer_bytes=65_536)
    client.send(request(origin.host, "/", "Connection: close"))
    with rises_no_more_than(RISE_MAX_BYTES, large):
        until(lambda: sent, "the origin is blocked")
        assert sent[0] < BUFFERS_BYTES
        assert client.drain(PACED_BYTES) + len(client.rest()) > PACED_BYTES
    client.close()


def test_a_slow_origin_paces_the_client(large: Fanway, origin: Origin) -> None:
    go_on = threading.Event()

    def take(wire: Wire, _: Request) -> None:
        assert go_on.wait(30)
        wire.drain_body(PACED_BYTES)
        wire.send(answer("Connection: close", body=b"thanks"))

    origin.answers_at_head(take)
    client = Client(large.address)
    client.send(request(origin.host, "/", f"Content-Length: {PACED_BYTES}", method="POST"))
    with rises_no_more_than(RISE_MAX_BYTES, large):
        sent = client.send_until_blocked(BLOCK, bytes_max=PACED_BYTES)
        assert sent < BUFFERS_BYTES
        go_on.set()
        for at in range(sent, PACED_BYTES, len(BLOCK)):
            client.send(BLOCK[: PACED_BYTES - at])
        assert client.response("POST").body == b"thanks"
    client.close()


def test_a_client_that_takes_nothing_is_let_go(hub: Hub, origin: Origin) -> None:
    origin.answers(answer(body=bytes(32 * MIB)))
    with Fanway("--stall-timeout-seconds", "1", routes=[f"* {hub.target}"]) as fanway:
        client = Client(fanway.address, receive_buffer_bytes=4096).send(request(origin.host))
        reply = client.reply()
        assert reply.status == 200
        until(lambda: fanway.metric("fanway_connections") == 0, "the client has been let go")
        client.close()
