"""How sessions end: by their clients, by clients that do not read, with the worker or the link."""

from __future__ import annotations

from collections.abc import Callable

from control.link.packets import Closed, Freed
from fastpath import probe_session as probe
from support.stage import LIMITS, Client, Stage, request

STREAM, RESPONSE = 2, 1

# -- the client's end


def test_a_client_that_goes_away_is_reported_while_it_waits(stage: Stage) -> None:
    client = stage.connect_tcp()
    client.sock.sendall(request())
    while client.state == "READING":
        stage.turn()
    stage.reports()
    client.sock.setsockopt(*LINGER_NOT)
    client.sock.close()
    while client.state == "ASKED":
        stage.turn()
    assert stage.reports() == [Closed(client.ref, 2, 0)]


def test_a_client_that_goes_away_frees_the_channels_it_held(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a", "b")
    client.hangs_up()
    assert client.state == "GONE"
    assert sorted(report.channel for report in stage.reports()) == [b"a", b"b"]


def test_a_half_closed_client_gets_the_answer_it_waits_for_and_then_the_end(stage: Stage) -> None:
    client = stage.asks()
    client.shuts_its_side()
    assert client.state == "ASKED"
    probe.respond(client.session, length=2, body=b"hi")
    assert client.hears() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    assert client.ended


def test_a_half_closed_client_is_not_held(stage: Stage) -> None:
    client = stage.asks()
    client.shuts_its_side()
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None)])
    assert client.state == "GONE"
    assert stage.reports() == [Freed(b"a", STREAM, 0), Closed(client.ref, 1, 0)]


def test_98_the_end_of_a_watched_hold_that_did_not_begin_is_reported_with_its_context(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    stream("b")
    client = stage.asks()
    client.shuts_its_side()
    stage.reports()
    asked = {"watched": True, "context": b"\x00gone"}
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None), (b"b", None)], **asked)
    told, freed, closed = stage.reports()
    assert told == Closed(client.ref, 0, 0, b"\x00gone")
    assert freed == Freed(b"a", STREAM, 0)  # somebody else holds the other one
    assert closed == Closed(client.ref, 1, 0)


def test_a_half_closed_client_that_is_slow_still_gets_all_of_its_answer(stage: Stage) -> None:
    client = stage.connect_narrow()
    stage.asks(client=client)
    probe.respond(client.session, length=500_000, body=b"x" * 500_000)
    stage.turn()
    assert probe.is_blocked(client.session)
    client.shuts_its_side()
    assert client.state == "DRAINING"
    assert client.hears().count(b"x") == 500_000
    assert client.ended


LINGER_NOT = (1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: reset when closed


# -- a client that does not read


def blocked(stage: Stage, client: Client) -> Client:
    """A stream whose kernel buffers are full."""
    while not probe.is_blocked(client.session):
        probe.publish(stage.fanout, b"a", stream=(0, b"x" * 4096))
        stage.loop.run_ready()
    return client


def test_a_stalled_stream_ends_as_slow(stage: Stage, stream: Callable[..., Client]) -> None:
    client = blocked(stage, stream("a", client=stage.connect_narrow()))
    stage.loop.fire(stage.loop.now_ms + LIMITS["stall_timeout_ms"] - 1)
    assert client.state == "HELD_STREAM"
    stage.loop.fire(stage.loop.now_ms + 20)
    stage.loop.run_ready()
    assert client.state == "GONE"
    assert probe.reason(client.session) == 30
    assert stage.count("ended_slow") == 1


def test_no_keep_alive_is_sent_to_a_stalled_stream(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = blocked(
        stage, stream("a", client=stage.connect_narrow(), keep_alive=(b"!", 1000, False))
    )
    stage.advance(5000)
    assert client.state == "HELD_STREAM"
    assert stage.count("keep_alives") == 0
    client.hears()
    stage.advance(1020)
    assert client.hears() == b"1\r\n!\r\n"


def test_a_stream_that_is_read_again_gets_what_waited_and_goes_on(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = blocked(stage, stream("a", client=stage.connect_narrow()))
    probe.publish(stage.fanout, b"a", stream=(0, b"last"))
    assert client.hears().endswith(b"\r\n4\r\nlast\r\n")
    assert not probe.is_blocked(client.session)
    stage.advance(10 * LIMITS["stall_timeout_ms"])
    assert client.state == "HELD_STREAM"


def test_a_hundred_messages_wait_for_a_blocked_client_and_the_rest_is_dropped(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = blocked(stage, stream("a", client=stage.connect_narrow()))
    for number in range(probe.QUEUE + 5):
        probe.publish(stage.fanout, b"a", stream=(0, b"<%d>" % number))
    assert stage.count("dropped_queue") == 5
    heard = client.hears()
    assert b"<99>" in heard
    assert b"<100>" not in heard


def test_a_stream_whose_first_content_is_not_read_ends_as_slow(stage: Stage) -> None:
    client = stage.asks(client=stage.connect_narrow())
    probe.respond(client.session, body=b"x" * 100_000, more=True)
    stage.turn()
    assert probe.is_blocked(client.session)
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None)], answered=True)
    stage.advance(LIMITS["stall_timeout_ms"] + 20)
    assert probe.reason(client.session) == 30


def test_a_client_that_takes_no_answers_is_asked_for_no_more_of_them(stage: Stage) -> None:
    client = stage.connect_narrow()
    stage.asks(client=client)
    probe.respond(client.session, length=100_000, body=b"x" * 100_000)
    stage.turn()
    client.says(request("/2"))
    assert stage.reports() == []
    assert client.hears().count(b"x") == 100_000
    assert [report.target for report in stage.reports()] == [b"/2"]


def test_a_client_that_takes_no_answers_ends_as_slow(stage: Stage) -> None:
    client = stage.connect_narrow()
    stage.asks(client=client)
    probe.respond(client.session, length=100_000, body=b"x" * 100_000)
    stage.turn()
    client.says(request("/2"))
    stage.advance(LIMITS["stall_timeout_ms"] + 20)
    assert probe.reason(client.session) == 30


# -- the end of the worker, and of the link


def test_draining_ends_streams_and_polls_as_their_own_time_would(
    stage: Stage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    streaming, polling = stream("a"), poll("a", body=b"nothing")
    stage.roster.drain()
    assert streaming.hears() == b"0\r\n\r\n"
    assert polling.hears().endswith(b"Connection: close\r\n\r\nnothing")
    assert streaming.ended
    assert polling.ended


def test_draining_lets_a_request_be_answered_and_then_closes(stage: Stage) -> None:
    client = stage.asks()
    stage.roster.drain()
    assert client.state == "ASKED"
    probe.respond(client.session, length=2, body=b"hi")
    assert client.hears().endswith(b"Connection: close\r\n\r\nhi")
    assert client.ended


def test_draining_closes_an_idle_connection_at_once(stage: Stage) -> None:
    client = stage.connect()
    stage.roster.drain()
    assert client.hears() == b""
    assert client.ended


def test_draining_cuts_no_answer_that_is_still_leaving(stage: Stage) -> None:
    client = stage.connect_narrow()
    stage.asks(client=client)
    probe.respond(client.session, length=500_000, body=b"x" * 500_000)
    stage.roster.drain()
    assert client.hears().count(b"x") == 500_000
    assert client.ended


def test_whoever_comes_while_draining_is_turned_away(stage: Stage) -> None:
    stage.roster.drain()
    client = stage.connect()
    assert client.hears() == b""
    assert client.ended


def test_whoever_comes_when_the_worker_is_full_is_turned_away(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(client_max=1)
    first, second = stage.connect(), stage.connect()
    second.hears()
    assert second.ended
    assert first.state == "READING"
    first.hangs_up()
    assert stage.connect().state == "READING"


def test_a_lost_link_ends_what_waits_for_an_answer_and_leaves_holds(
    stage: Stage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    asked, streaming, polling = stage.asks(), stream("a"), poll("b")
    for client in (asked, streaming, polling):
        probe.link_lost(client.session)
    assert asked.hears().startswith(b"HTTP/1.1 503 ")
    assert (streaming.state, polling.state) == ("HELD_STREAM", "HELD_RESPONSE")
    probe.publish(stage.fanout, b"a", stream=(0, b"x"))
    assert streaming.hears() == b"1\r\nx\r\n"
