"""The books: what the data plane makes for a session is freed with it, in C as well as in Python.

The fixture `make_stage` balances objects, rows, subscriptions and deadlines after every test. Here
the memory itself is counted, and what is freed without waiting for the collector.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from fastpath import probe_session as probe
from support.stage import Stage, live_objects, request

SLACK_BYTES = 4096  # dictionaries and lists of the stage itself keep room


def a_life(stage: Stage) -> None:
    """Everything that a few sessions can go through."""
    streams = [stage.asks() for _ in range(20)]
    polls = [stage.asks() for _ in range(20)]
    for number, client in enumerate(streams):
        channels = [(b"a", b"1"), (b"own-%d" % number, None)]
        probe.hold(client.session, mode=2, channels=channels, keep_alive=(b"\n", 5000, number % 2))
    for client in polls:
        probe.hold(client.session, mode=1, channels=[(b"b", b"1")], headers=[(b"X", b"1")])
    for item in range(1, 40):
        probe.publish(
            stage.fanout,
            b"a",
            id=b"%d" % (item + 1),
            prev_id=b"%d" % item,
            stream=(0, b"x" * 99),
        )
    stage.turn()
    stage.advance(11_000)
    probe.publish(stage.fanout, b"b", id=b"9", prev_id=b"8", response=(1,))
    for client in polls:
        probe.respond(client.session, body=b"x" * 5000, more=True)
    for client in polls[:10]:
        probe.send(client.session, b"x" * 5000, more=False)
        client.hears()
        client.says(request("/", "Content-Length: 9", method="POST") + b"abc")
    probe.publish(stage.fanout, b"a", stream=(2,))
    stage.turn()
    for client in streams[:10]:
        client.says(b"\0\0\0")
    for client in stage.clients:
        client.sock.close()
    stage.turn()
    for client in stage.clients:
        if not client.transport.closing:
            client.transport.abort()
    stage.turn()
    stage.clients.clear()
    stage.reports()


def test_the_memory_of_a_thousand_sessions_comes_back(stage: Stage) -> None:
    a_life(stage)
    gc.collect()
    tracemalloc.start()
    try:
        a_life(stage)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(25):
            a_life(stage)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < SLACK_BYTES


@pytest.mark.parametrize("held", [True, False], ids=["held", "ended"])
def test_a_parser_is_freed_without_the_collector(
    stage: Stage, stream: Callable[..., object], held: bool
) -> None:
    gc.disable()
    try:
        clients = [stage.asks() for _ in range(5)]
        assert live_objects(collect=False)["HttpReader"] == 5
        for client in clients:
            if held:
                probe.hold(client.session, mode=2, channels=[(b"a", None)])
            else:
                probe.end(client.session, 1)
        assert "HttpReader" not in live_objects(collect=False)
    finally:
        gc.enable()


def test_the_books_would_show_a_session_that_is_kept(make_stage: Callable[..., Stage]) -> None:
    before = live_objects()
    stage = make_stage()
    kept = stage.asks().session
    counts = live_objects()
    assert counts["HttpSession"] == before.get("HttpSession", 0) + 1
    assert counts["Request"] == before.get("Request", 0) + 1
    del kept
