"""How a WebSocket ends: who closes, one released, a stop, a lost link, a client that stalls."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.link.packets import Closed, Freed, Kind, Received
from fastpath import probe_session as probe
from support.stage import LIMITS, Stage
from support.ws_stage import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    Frame,
    WsClient,
    close,
    frame,
)

WS = 4

# -- closing


def test_a_close_frame_of_the_client_is_reported_and_answered_by_control(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a").says(close(1001, b"bye"), frame(TEXT, b"not heard"))
    assert stage.reports() == [
        Received(client.ref, Kind.CLOSE, b"\x03\xe9bye", False),
        Freed(b"a", WS, 0),
    ]
    assert client.state == "CLOSING"
    probe.ws_send(client.session, 1, b"last")
    probe.close(client.session, 0, 1001, b"bye bye")
    assert client.hears() == [Frame(TEXT, b"last"), Frame(CLOSE, b"\x03\xe9bye bye")]
    assert client.ended
    assert stage.reports() == [Closed(client.ref, 1, 1001)]


def test_a_client_that_closes_and_shuts_its_side_still_gets_the_answer(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket().says(close())
    client.client.shuts_its_side()
    probe.close(client.session, 0)
    assert client.hears() == [Frame(CLOSE, b"\x03\xe8")]
    assert stage.reports()[-1] == Closed(client.ref, 1, 0)


def test_a_close_ordered_is_answered_by_the_client_and_reported(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.close(client.session, 0, 4000, b"why")
    assert client.hears() == [Frame(CLOSE, b"\x0f\xa0why")]
    assert client.state == "CLOSING"
    probe.ws_send(client.session, 1, b"too late")
    probe.close(client.session, 0, 4001)
    client.says(frame(TEXT, b"too late too"), frame(PING), close(4000, b"why"))
    assert stage.reports() == [
        Freed(b"a", WS, 0),
        Received(client.ref, Kind.CLOSE, b"\x0f\xa0why", False),
        Closed(client.ref, 40, 4000),
    ]
    assert client.hears() == []
    assert client.ended


def test_156_a_close_without_a_code_is_1000_for_the_client(
    socket: Callable[..., WsClient],
) -> None:
    client = socket()
    probe.close(client.session, 0)
    assert client.hears() == [Frame(CLOSE, b"\x03\xe8")]


def test_a_client_that_does_not_answer_a_close_is_waited_for_10_seconds(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.close(client.session, 0, 1000)
    stage.advance(9_900)
    assert client.state == "CLOSING"
    stage.advance(120)
    assert client.state == "GONE"
    assert stage.reports() == [Closed(client.ref, 40, 0)]


def test_158_a_close_with_a_reason_drops_the_client_after_what_is_queued(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.ws_send(client.session, 1, b"last")
    probe.close(client.session, 50)
    assert client.hears() == [Frame(TEXT, b"last")]
    assert client.ended
    client.hangs_up()
    assert stage.reports() == [Closed(client.ref, 50, 0)]


def test_a_client_that_vanishes_is_reported(stage: Stage, socket: Callable[..., WsClient]) -> None:
    client = socket(b"a")
    client.hangs_up()
    assert client.state == "GONE"
    assert stage.reports() == [Freed(b"a", WS, 0), Closed(client.ref, 1, 0)]


def test_a_close_frame_behind_what_waits_for_credit_ends_the_handshake(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    client.says(frame(BINARY, bytes(probe.WINDOW)))
    client.says(frame(TEXT, b"abc"), close(1000))
    stage.reports()
    probe.close(client.session, 0, 1000)
    assert client.hears() == [Frame(CLOSE, b"\x03\xe8")]
    assert client.ended
    assert stage.reports() == [
        Received(client.ref, Kind.CLOSE, b"\x03\xe8", False),
        Closed(client.ref, 40, 1000),
    ]


# -- released


def test_177_a_released_session_answers_pings_and_discards_messages(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.release(client.session)
    client.says(frame(TEXT, b"x" * 1000), frame(PING, b"?"), frame(PONG))
    for _ in range(3):
        client.says(frame(BINARY, bytes(200_000)))
    assert client.hears() == [Frame(PONG, b"?")]
    assert stage.reports() == []
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"news"))
    assert client.hears() == [Frame(TEXT, b"news")]
    client.says(close(1001, b"bye"))
    assert client.hears() == [Frame(CLOSE, b"\x03\xe9bye")]
    assert stage.reports() == [Freed(b"a", WS, 0), Closed(client.ref, 1, 1001)]


def test_a_session_released_while_it_waits_for_credit_is_read_again(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    client.says(frame(BINARY, bytes(probe.WINDOW)))
    client.says(frame(TEXT, b"abc"), frame(PING, b"?"))
    stage.reports()
    probe.release(client.session)
    assert client.hears() == [Frame(PONG, b"?")]


def test_a_message_that_was_begun_before_the_release_is_ended_by_it(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.ws_send(client.session, 1, b"begun", more=True)
    probe.release(client.session)
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"news"))
    assert client.hears() == [
        *(Frame(TEXT, b"begun", fin=False), Frame(CONTINUATION, b""), Frame(TEXT, b"news")),
    ]


def test_a_session_released_after_its_clients_close_answers_it(
    socket: Callable[..., WsClient],
) -> None:
    client = socket().says(close(1001))
    probe.release(client.session)
    assert client.hears() == [Frame(CLOSE, b"\x03\xe9")]
    assert client.ended


# -- the end of the worker, and of the link


def test_draining_closes_with_1001(stage: Stage, socket: Callable[..., WsClient]) -> None:
    client = socket()
    stage.roster.drain()
    assert client.hears() == [Frame(CLOSE, b"\x03\xe9")]
    client.says(close(1001))
    assert client.ended or client.hears() == []
    assert stage.reports()[-1] == Closed(client.ref, 60, 1001)


def test_a_handshake_accepted_while_draining_closes_at_once(
    stage: Stage,
) -> None:
    client = stage.asks("/ws", *HANDSHAKE)
    stage.roster.drain()
    probe.accept(client.session)
    assert client.hears().endswith(b"\r\n\r\n\x88\x02\x03\xe9")


def test_while_the_link_is_lost_nothing_is_read_and_1012_follows(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.link_lost(client.session)
    client.client.tries_to_say(frame(TEXT, b"lost"))
    assert client.client.transport.paused
    assert client.hears() == []
    probe.link_resumed(client.session)
    assert client.hears() == [Frame(CLOSE, b"\x03\xf4")]
    client.says(close(1012))
    assert client.ended or client.hears() == []
    assert client.state == "GONE"
    assert stage.reports() == [Freed(b"a", WS, 0)]


def test_a_released_session_outlives_a_lost_link(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.release(client.session)
    probe.link_lost(client.session)
    client.says(frame(PING))
    assert client.hears() == [Frame(PONG, b"")]
    probe.link_resumed(client.session)
    assert client.hears() == []
    assert client.state == "OPEN"


def test_a_close_frame_that_control_cannot_answer_any_more_is_answered(
    socket: Callable[..., WsClient],
) -> None:
    client = socket().says(close(1001))
    probe.link_lost(client.session)
    assert client.hears() == [Frame(CLOSE, b"\x03\xe9")]
    assert client.ended


# -- a client that does not read


@pytest.fixture
def stalled(stage: Stage) -> WsClient:
    """A WebSocket whose kernel buffers are full."""
    client = WsClient(stage, b"a", client=stage.connect_narrow())
    while not probe.is_blocked(client.session):
        probe.publish(stage.fanout, b"a", ws=(0, 2, b"x" * 4096))
        stage.loop.run_ready()
    return client


def test_a_stalled_client_ends_as_slow(stage: Stage, stalled: WsClient) -> None:
    stage.loop.fire(stage.loop.now_ms + LIMITS["stall_timeout_ms"] + 20)
    stage.loop.run_ready()
    assert stalled.state == "GONE"
    assert stage.reports() == [Freed(b"a", WS, 0), Closed(stalled.ref, 30, 1013)]
    assert stage.count("ended_slow") == 1


def test_184_publishes_to_a_stalled_client_are_dropped(stage: Stage, stalled: WsClient) -> None:
    for number in range(probe.QUEUE + 5):
        probe.publish(stage.fanout, b"a", ws=(0, 1, b"<%d>" % number))
    assert stage.count("dropped_queue") == 5
    heard = [one.payload for one in stalled.hears()]
    assert heard[-1] == b"<%d>" % (probe.QUEUE - 1)
    stage.advance(10 * LIMITS["stall_timeout_ms"])
    assert stalled.state == "OPEN"


def test_pings_of_a_stalled_client_that_is_released_are_not_answered_without_bound(
    stage: Stage, stalled: WsClient
) -> None:
    probe.release(stalled.session)
    stalled.says(frame(PING, b"?") * 1000)
    assert probe.waiting_count(stage.roster) == probe.QUEUE
