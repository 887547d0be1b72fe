"""Holds: what they are given, keep-alives, asking again, and what a client sends meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.link.packets import Freed, Opened
from fastpath import probe_session as probe
from support.stage import LIMITS, Client, Stage, request

STREAM, RESPONSE = 2, 1

# -- response holds


def published(body: bytes = b"news", action: int = 0) -> tuple[int, int, bytes, list, bool, bytes]:
    return (action, 200, b"OK", [], False, body)


HINT = 1


def test_a_held_response_is_given_the_message_and_the_channel_is_free(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a")
    probe.publish(stage.fanout, b"a", response=published())
    assert client.hears() == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews"
    assert stage.reports() == [Freed(b"a", RESPONSE, 0)]
    assert client.state == "READING"


def test_a_held_response_is_given_what_it_was_held_with_when_its_time_is_over(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a", timeout_ms=5000, status=201, reason=b"Yes", body=b"nothing")
    stage.advance(4999)
    assert client.state == "HELD_RESPONSE"
    stage.advance(20)
    assert client.hears() == b"HTTP/1.1 201 Yes\r\nContent-Length: 7\r\n\r\nnothing"
    assert client.state == "READING"


def test_an_answer_to_a_hold_of_http_1_0_ends_the_connection(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a", minor=0)
    probe.publish(stage.fanout, b"a", response=published())
    assert client.hears() == (
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnews"
    )
    assert client.ended


def test_an_answer_to_a_held_head_request_has_no_body(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a", method="HEAD")
    probe.publish(stage.fanout, b"a", response=published())
    assert client.hears() == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


def test_a_hint_makes_a_held_request_ask_again_as_it_asked_first(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll(("a", "1"), "b", request_headers=["X-One: 1"], request_body=b"posted")
    probe.publish(stage.fanout, b"a", response=(HINT,))
    freed, other, opened = sorted(stage.reports(), key=lambda r: type(r).__name__)
    assert {freed.channel, other.channel} == {b"a", b"b"}
    assert (opened.again, opened.target, opened.body) == (True, b"/poll", b"posted")
    assert (opened.length, opened.more) == (6, False)
    assert opened.headers == [(b"Host", b"a.test"), (b"X-One", b"1")]
    assert opened.lasts == [(b"a", b"1")]
    assert client.state == "ASKED"
    assert client.hears() == b""


def test_a_request_that_asks_again_can_be_held_and_answered_again(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a", request_body=b"posted")
    for _ in range(3):
        probe.release(client.session)
        probe.hold(client.session, mode=RESPONSE, channels=[(b"a", None)], request_body=b"posted")
    assert [r.body for r in stage.reports() if isinstance(r, Opened)] == [b"posted"] * 3
    probe.publish(stage.fanout, b"a", response=published())
    assert client.hears().endswith(b"\r\n\r\nnews")


def test_a_hold_that_asks_again_without_a_link_gets_503(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a")
    stage.upstream.linked = False
    probe.publish(stage.fanout, b"a", response=(HINT,))
    assert client.hears().startswith(b"HTTP/1.1 503 ")
    assert client.ended


def test_a_gap_makes_a_held_request_ask_again_with_the_last_id_it_has(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll(("a", "1"))
    probe.publish(stage.fanout, b"a", id=b"3", prev_id=b"2", response=published())
    [opened] = [report for report in stage.reports() if isinstance(report, Opened)]
    assert (opened.again, opened.lasts) == (True, [(b"a", b"1")])
    assert client.hears() == b""


# -- stream holds


def test_a_stream_begins_with_its_head_and_its_first_content(stage: Stage) -> None:
    client = stage.asks()
    probe.hold(
        client.session,
        mode=STREAM,
        channels=[(b"a", None)],
        headers=[(b"Content-Type", b"text/plain")],
        body=b"hello",
    )
    assert client.hears() == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n"
    )


def test_each_message_is_a_chunk_of_the_stream(stage: Stage, stream: Callable[..., Client]) -> None:
    client = stream("a")
    probe.publish(stage.fanout, b"a", stream=(0, b"one"))
    assert client.hears() == b"3\r\none\r\n"
    probe.publish(stage.fanout, b"a", stream=(0, b"two"))
    assert client.hears() == b"3\r\ntwo\r\n"
    assert client.state == "HELD_STREAM"


def test_a_stream_of_http_1_0_is_plain_and_ends_with_the_connection(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", minor=0)
    probe.publish(stage.fanout, b"a", stream=(0, b"one"))
    assert client.hears() == b"one"
    probe.publish(stage.fanout, b"a", stream=(2,))
    assert client.hears() == b""
    assert client.ended


def test_a_close_action_ends_the_body_and_keeps_the_connection(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    probe.publish(stage.fanout, b"a", stream=(2,))
    assert client.hears() == b"0\r\n\r\n"
    assert client.state == "READING"
    assert stage.reports() == [Freed(b"a", STREAM, 0)]
    assert stage.asks(client=client).state == "ASKED"


def test_an_order_to_close_ends_a_stream_in_the_same_way(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    probe.close(client.session, 0)
    assert client.hears() == b"0\r\n\r\n"
    assert client.state == "READING"


def test_a_stream_can_follow_what_was_answered_before(stage: Stage) -> None:
    client = stage.asks()
    probe.respond(client.session, body=b"long ", more=True)
    probe.send(client.session, b"body ")
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None)], answered=True)
    probe.publish(stage.fanout, b"a", stream=(0, b"news"))
    assert client.hears().partition(b"\r\n\r\n")[2] == (
        b"5\r\nlong \r\n5\r\nbody \r\n4\r\nnews\r\n"
    )


@pytest.mark.parametrize("answered", [False, True])
def test_a_stream_for_a_head_request_is_a_head(stage: Stage, answered: bool) -> None:
    client = stage.asks(method="HEAD")
    if answered:
        probe.respond(client.session, more=True)
    stage.reports()
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None)], answered=answered)
    assert stage.reports() == [Freed(b"a", STREAM, 0)]
    assert client.hears() == b"HTTP/1.1 200 OK\r\n\r\n"
    assert client.state == "READING"


def test_a_resting_hold_keeps_no_parser(
    poll: Callable[..., Client], stream: Callable[..., Client]
) -> None:
    assert not probe.has_parser(poll("a").session)
    assert not probe.has_parser(stream("a").session)


# -- keep-alives of a stream

KEEP_ALIVE = (b":\n\n", 20_000)


def test_an_idle_keep_alive_is_sent_after_silence(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", keep_alive=(*KEEP_ALIVE, True))
    stage.advance(19_999)
    assert client.hears() == b""
    stage.advance(20)
    assert client.hears() == b"3\r\n:\n\n\r\n"
    stage.advance(20_020)
    assert client.hears() == b"3\r\n:\n\n\r\n"


def test_64_idle_keep_alive_is_postponed_by_publishes(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", keep_alive=(*KEEP_ALIVE, True))
    stage.advance(15_000)
    probe.publish(stage.fanout, b"a", stream=(0, b"x"))
    stage.advance(19_000)
    assert client.hears() == b"1\r\nx\r\n"
    stage.advance(1_020)
    assert client.hears() == b"3\r\n:\n\n\r\n"


def test_65_interval_keep_alive_is_not_postponed_by_publishes(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", keep_alive=(*KEEP_ALIVE, False))
    stage.advance(15_000)
    probe.publish(stage.fanout, b"a", stream=(0, b"x"))
    stage.advance(5_020)
    assert client.hears() == b"1\r\nx\r\n3\r\n:\n\n\r\n"


def test_a_keep_alive_of_http_1_0_is_plain(stage: Stage, stream: Callable[..., Client]) -> None:
    client = stream("a", minor=0, keep_alive=(*KEEP_ALIVE, False))
    stage.advance(20_020)
    assert client.hears() == b":\n\n"


def test_an_empty_keep_alive_sends_nothing_and_ends_nothing(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    # GRIP.md 1.5: with no content the keep-alive fires but writes zero bytes.
    client = stream("a", keep_alive=(b"", 1000, False))
    stage.advance(5_100)
    assert client.hears() == b""
    assert stage.count("keep_alives") == 5


# -- what a client sends during a hold


def test_a_request_behind_a_held_one_waits_for_its_turn(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a")
    client.says(request("/next"))
    assert stage.reports() == []
    probe.publish(stage.fanout, b"a", response=published())
    assert [r.target for r in stage.reports() if isinstance(r, Opened)] == [b"/next"]
    assert client.state == "ASKED"


def test_a_request_pipelined_with_a_held_one_waits_for_its_turn(stage: Stage) -> None:
    client = stage.connect().says(request("/1") + request("/2")[:20])
    probe.hold(client.session, mode=RESPONSE, channels=[(b"a", None)])
    client.says(request("/2")[20:] + request("/3"))
    stage.reports()
    probe.publish(stage.fanout, b"a", response=published())
    assert [r.target for r in stage.reports() if isinstance(r, Opened)] == [b"/2"]
    probe.respond(client.session, length=0)
    assert [r.target for r in stage.reports()] == [b"/3"]


def test_a_request_in_pieces_across_a_hold_that_asks_again_is_read_in_order(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a")
    client.says(b"GET /next HT")
    probe.publish(stage.fanout, b"a", response=(HINT,))
    client.says(b"TP/1.1\r\nHost: a\r\n\r\n")
    stage.reports()
    probe.respond(client.session, length=0)
    assert [report.target for report in stage.reports()] == [b"/next"]


def test_what_a_client_may_send_during_a_hold_is_bounded(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    client.says(b"x" * LIMITS["head_bytes_max"])
    assert client.state == "HELD_STREAM"
    client.says(b"x")
    assert client.state == "GONE"
    assert stage.reports() == [Freed(b"a", STREAM, 0)]
