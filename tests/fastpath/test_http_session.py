"""An HTTP client's session: its states, asking, credit, deadlines, holds, and its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from control.link.packets import Closed, Freed, Opened, Received
from fastpath import probe_session as probe
from support.stage import LIMITS, Client, Stage, request

STREAM, RESPONSE = 2, 1

# -- the gate: every legal move, and what makes it

MOVES = [
    ("READING", ["ASKED"], "a request is complete"),
    ("READING", ["DRAINING"], "a head that takes too long; the worker stops"),
    ("ASKED", ["ANSWERING"], "RESPOND"),
    ("ASKED", ["HELD_RESPONSE", "HELD_STREAM"], "HOLD"),
    ("ASKED", ["DRAINING"], "the request is refused"),
    ("ANSWERING", ["READING"], "the answer is complete, and the connection is kept"),
    ("ANSWERING", ["HELD_STREAM"], "HOLD after RESPOND and SEND"),
    ("ANSWERING", ["DRAINING"], "the answer is complete, or cannot be completed"),
    ("HELD_RESPONSE", ["READING", "DRAINING"], "a message, or the timeout"),
    ("HELD_RESPONSE", ["ASKED"], "RELEASE, a hint, or a gap in the ids"),
    ("HELD_STREAM", ["READING", "DRAINING"], "a published close, CLOSE, or the worker stops"),
    ("DRAINING", ["GONE"], "nothing is left to send"),
    ("any", ["GONE"], "the connection is lost, or the session is ended"),
    ("GONE", ["READING"], "once, when the transport is there"),
]


def diagram() -> str:
    """The table of moves as fastpath/README.md shows it."""
    lines = ["| from | to | by |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {old} | {', '.join(new)} | {by} |" for old, new, by in MOVES)])


def test_the_gate_lets_exactly_the_listed_moves_pass() -> None:
    listed = {(old, new) for old, news, _ in MOVES for new in news if old != "any"}
    listed |= {(state, "GONE") for state in probe.STATES if state != "GONE"}
    assert probe.moves() == listed


def test_the_readme_shows_the_table_of_moves() -> None:
    readme = Path(__file__).parents[2] / "fastpath/README.md"
    assert diagram() in readme.read_text(encoding="utf-8"), diagram()


# -- asking


@pytest.mark.parametrize("split", ["whole", "bytes"])
def test_a_request_is_reported_once_its_head_is_complete(stage: Stage, split: str) -> None:
    client = stage.connect()
    run = request("/a?b", "X-One: 1")
    for piece in [run] if split == "whole" else [run[i : i + 1] for i in range(len(run))]:
        assert stage.reports() == []
        client.says(piece)
    assert stage.reports() == [
        Opened(
            client.ref,
            again=False,
            length=0,
            lasts=[],
            body=b"",
            websocket=False,
            minor=1,
            tls=False,
            peer=b"",
            method=b"GET",
            target=b"/a?b",
            headers=[(b"Host", b"a.test"), (b"X-One", b"1")],
            more=False,
        )
    ]
    assert client.state == "ASKED"


@pytest.mark.parametrize(("host", "peer"), [("127.0.0.1", b"127.0.0.1"), ("::1", b"::1")])
def test_a_request_names_the_address_of_its_client(stage: Stage, host: str, peer: bytes) -> None:
    client = stage.connect_tcp(host)
    client.sock.sendall(request())
    while client.state == "READING":
        stage.turn()
    [opened] = stage.reports()
    assert opened.peer == peer


def test_pipelined_requests_are_asked_one_after_the_other(stage: Stage) -> None:
    client = stage.connect().says(request("/1") + request("/2") + request("/3"))
    for target in (b"/1", b"/2", b"/3"):
        [opened] = stage.reports()
        assert opened.target == target
        probe.respond(client.session, length=2, body=target)
    assert client.hears().count(b"HTTP/1.1 200 OK\r\n") == 3
    assert client.state == "READING"


def test_a_request_in_pieces_behind_another_is_asked_in_its_turn(stage: Stage) -> None:
    client = stage.asks("/1")
    client.says(b"GET /2 HTTP/1.1\r\nHo")
    probe.respond(client.session, length=0)
    assert client.state == "READING"
    client.says(b"st: a\r\n\r\n")
    assert [opened.target for opened in stage.reports()] == [b"/2"]


def test_reading_pauses_while_too_many_requests_wait(stage: Stage) -> None:
    client = stage.asks()
    client.says(request() * (probe.PIPELINE - 1))
    assert not client.transport.paused
    client.says(request())
    assert client.transport.paused
    probe.respond(client.session, length=0)
    assert not client.transport.paused


def test_a_malformed_request_is_answered_with_what_is_wrong_and_the_connection_ends(
    stage: Stage,
) -> None:
    client = stage.connect().says(b"GET / HTTP/1.1\r\n\r\n")
    heard = client.hears()
    assert heard.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in heard
    assert client.ended
    assert stage.reports() == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 8192, b"431 Request Header Fields Too Large"),
        (request("/", "Content-Length: 11", method="POST"), b"413"),
        (request("/", "Expect: 100-continue", "Content-Length: 11", method="POST"), b"413"),
    ],
)
def test_what_is_too_big_is_refused_before_control_hears_of_it(
    make_stage: Callable[..., Stage], head: bytes, status: bytes
) -> None:
    stage = make_stage(request_body_max_bytes=10)
    assert stage.connect().says(head).hears().startswith(b"HTTP/1.1 " + status)
    assert stage.reports() == []
    assert stage.count("refused_requests") == 1


def test_a_chunked_body_that_grows_too_big_is_refused_and_control_told(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(request_body_max_bytes=10)
    client = stage.asks("/", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nhello\r\n")
    client.says(b"6\r\n world\r\n")
    assert client.hears().startswith(b"HTTP/1.1 413 ")
    assert stage.reports() == [Closed(client.ref, 12, 0, 0, 0)]


def test_a_fault_behind_a_good_request_is_answered_in_its_turn(stage: Stage) -> None:
    client = stage.connect().says(request() + b"\x00\r\n\r\n")
    [opened] = stage.reports()
    assert opened.target == b"/"
    probe.respond(client.session, length=2, body=b"hi")
    good, _, bad = client.hears().partition(b"\r\n\r\nhi")
    assert good.startswith(b"HTTP/1.1 200 OK\r\n")
    assert bad.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_refused_client_that_goes_on_sending_can_read_the_answer(stage: Stage) -> None:
    client = stage.connect().says(b"GET / HTTP/1.1\r\n\r\n")
    client.says(b"x" * 100_000)
    assert client.hears().startswith(b"HTTP/1.1 400 ")
    assert client.state == "DRAINING"
    stage.advance(2100)
    assert client.state == "GONE"


def test_without_a_link_a_request_gets_503(stage: Stage) -> None:
    stage.upstream.linked = False
    client = stage.connect().says(request())
    assert client.hears().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert client.ended


# -- the body of a request, and its credit


def test_a_body_that_comes_with_its_head_is_reported_with_it(stage: Stage) -> None:
    stage.connect().says(request("/", "Content-Length: 5", method="POST") + b"hello")
    [opened] = stage.reports()
    assert (opened.length, opened.body, opened.more) == (5, b"hello", False)


def test_a_body_that_comes_later_is_reported_as_it_comes(stage: Stage) -> None:
    client = stage.connect().says(request("/", "Content-Length: 5", method="POST"))
    client.says(b"he").says(b"llo")
    opened, first, last = stage.reports()
    assert (opened.length, opened.body, opened.more) == (5, b"", True)
    assert (first.content, first.more) == (b"he", True)
    assert (last.content, last.more) == (b"llo", False)


def test_the_length_of_a_chunked_body_is_unknown_and_its_end_is_reported(stage: Stage) -> None:
    client = stage.connect().says(request("/", "Transfer-Encoding: chunked", method="POST"))
    client.says(b"3\r\nabc\r\n").says(b"0\r\n").says(b"\r\n")
    opened, piece, end = stage.reports()
    assert (opened.length, opened.more) == (-1, True)
    assert (piece.content, piece.more, end.content, end.more) == (b"abc", True, b"", False)


def test_100_continue_is_sent_when_the_request_is_in_controls_hands(stage: Stage) -> None:
    client = stage.connect()
    client.says(request("/", "Expect: 100-continue", "Content-Length: 1", method="POST"))
    assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.says(b"x")
    assert [type(report) for report in stage.reports()] == [Opened, Received]


def test_100_continue_is_not_sent_when_the_body_has_begun_to_come(stage: Stage) -> None:
    head = request("/", "Expect: 100-continue", "Content-Length: 2", method="POST")
    assert stage.connect().says(head + b"x").hears() == b""


def test_a_client_of_http_1_0_gets_no_100_continue(stage: Stage) -> None:
    # RFC 9110, 10.1.1.
    head = request("/", "Expect: 100-continue", "Content-Length: 2", method="POST", minor=0)
    assert stage.connect().says(head).hears() == b""


def upload(stage: Stage, size: int) -> Client:
    client = stage.connect()
    client.says(request("/", f"Content-Length: {size}", method="POST"))
    stage.reports()
    return client


def received(stage: Stage) -> int:
    return sum(len(report.content) for report in stage.reports())


def test_without_credit_the_client_is_not_read(stage: Stage) -> None:
    client = upload(stage, 3 * probe.WINDOW)
    unread = client.tries_to_say(b"x" * 3 * probe.WINDOW)
    assert received(stage) == probe.WINDOW
    assert client.transport.paused
    assert unread


def test_a_grant_lets_so_much_more_come(stage: Stage) -> None:
    client = upload(stage, 3 * probe.WINDOW)
    unread = client.tries_to_say(b"x" * 3 * probe.WINDOW)
    assert received(stage) == probe.WINDOW
    for _ in range(4):
        probe.grant(client.session, probe.WINDOW // 2)
        unread = client.tries_to_say(unread)
        assert received(stage) == probe.WINDOW // 2
    assert unread == b""
    assert [r.more for r in stage.reports()] == []
    assert not client.transport.paused


def test_credit_starts_anew_with_each_request(stage: Stage) -> None:
    client = upload(stage, probe.WINDOW)
    client.says(b"x" * probe.WINDOW)
    assert received(stage) == probe.WINDOW
    probe.respond(client.session, length=0)
    client.says(request("/", f"Content-Length: {probe.WINDOW}", method="POST"))
    stage.reports()
    client.says(b"x" * probe.WINDOW)
    assert received(stage) == probe.WINDOW


def test_a_grant_after_the_body_changes_nothing(stage: Stage) -> None:
    client = stage.asks()
    probe.grant(client.session, 100)
    assert stage.reports() == []
    assert client.state == "ASKED"


# -- deadlines


def test_a_connection_on_which_nothing_is_asked_ends(stage: Stage) -> None:
    client = stage.connect()
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    assert client.state == "READING"
    stage.advance(20)
    assert client.state == "GONE"
    assert client.hears() == b""
    assert client.ended


def test_a_slow_head_is_answered_with_408(stage: Stage) -> None:
    client = stage.connect().says(b"GET / HT")
    stage.advance(LIMITS["head_timeout_ms"] - 1)
    assert client.state == "READING"
    stage.advance(20)
    assert client.hears().startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_more_bytes_of_a_head_do_not_prolong_its_time(stage: Stage) -> None:
    client = stage.connect()
    for letter in b"GET / HTTP":
        client.says(bytes([letter]))
        stage.advance(LIMITS["head_timeout_ms"] // 9)
    assert b" 408 " in client.hears()


def test_a_body_that_stops_coming_is_answered_with_408_and_control_told(stage: Stage) -> None:
    client = stage.asks("/", "Content-Length: 5", method="POST")
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    client.says(b"h")
    stage.reports()
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    assert client.state == "ASKED"
    stage.advance(20)
    assert client.hears().startswith(b"HTTP/1.1 408 ")
    assert stage.reports() == [Closed(client.ref, 13, 0, 0, 0)]


def test_a_body_that_waits_for_credit_is_not_late(stage: Stage) -> None:
    client = upload(stage, 2 * probe.WINDOW)
    client.tries_to_say(b"x" * probe.WINDOW)
    stage.advance(10 * LIMITS["idle_timeout_ms"])
    assert client.state == "ASKED"


def test_a_body_with_credit_again_has_its_deadline_again(stage: Stage) -> None:
    client = upload(stage, 2 * probe.WINDOW)
    client.tries_to_say(b"x" * probe.WINDOW)
    probe.grant(client.session, 100)
    stage.advance(LIMITS["idle_timeout_ms"] + 20)
    assert client.hears().startswith(b"HTTP/1.1 408 ")


def test_a_request_that_is_whole_waits_for_its_answer_without_a_deadline(stage: Stage) -> None:
    client = stage.asks()
    assert not probe.is_armed(client.session)
    stage.advance(10 * LIMITS["idle_timeout_ms"])
    assert client.state == "ASKED"


def test_a_kept_connection_is_idle_from_its_last_answer_on(stage: Stage) -> None:
    client = stage.asks()
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    probe.respond(client.session, length=0)
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    assert client.state == "READING"
    stage.advance(20)
    assert client.state == "GONE"


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
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None)], answered=answered)
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
    assert stage.reports() == [Closed(client.ref, 2, 0, 0, 0)]


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
    assert stage.reports() == [Closed(client.ref, 1, 0, 0, 0)]


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


def test_100_messages_wait_for_a_blocked_client_and_the_rest_is_dropped(
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
