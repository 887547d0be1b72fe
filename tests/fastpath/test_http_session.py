"""An HTTP client's session: its states, what it asks, its credit and its deadlines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from control.link.packets import Closed, Opened, Received
from fastpath import probe_session as probe
from support.stage import LIMITS, Client, Stage, live_objects, request

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


def test_thousands_of_requests_in_one_read_cost_what_they_weigh(stage: Stage) -> None:
    heads = [request(f"/{n}", "Content-Length: 2", method="POST") for n in range(1000)]
    client = stage.connect().says(b"".join(head + b"hi" for head in heads))
    for number in range(1000):
        [opened] = stage.reports()
        assert (opened.target, opened.body, opened.more) == (b"/%d" % number, b"hi", False)
        if number % 100 == 0:
            assert live_objects()["Request"] <= probe.PIPELINE + 2
            assert client.transport.paused
        probe.respond(client.session, length=0)
    assert not client.transport.paused
    assert client.hears().count(b"HTTP/1.1 200 OK\r\n") == 1000


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
    assert stage.reports() == [Closed(client.ref, 12, 0)]


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


def test_continue_is_sent_when_the_request_is_in_controls_hands(stage: Stage) -> None:
    client = stage.connect()
    client.says(request("/", "Expect: 100-continue", "Content-Length: 1", method="POST"))
    assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.says(b"x")
    assert [type(report) for report in stage.reports()] == [Opened, Received]


def test_continue_is_not_sent_when_the_body_has_begun_to_come(stage: Stage) -> None:
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
    client = upload(stage, 100)
    client.says(b"x" * 100)
    assert received(stage) == 100
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


def test_a_head_that_came_slowly_leaves_no_deadline_behind(stage: Stage) -> None:
    client = stage.connect().says(request()[:9]).says(request()[9:])
    probe.respond(client.session, length=0)
    client.hears()
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    assert client.state == "READING"
    stage.advance(20)
    assert client.hears() == b"", "idle, not late"
    assert client.ended


def test_a_body_that_stops_coming_is_answered_with_408_and_control_told(stage: Stage) -> None:
    client = stage.asks("/", "Content-Length: 5", method="POST")
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    client.says(b"h")
    stage.reports()
    stage.advance(LIMITS["idle_timeout_ms"] - 1)
    assert client.state == "ASKED"
    stage.advance(20)
    assert client.hears().startswith(b"HTTP/1.1 408 ")
    assert stage.reports() == [Closed(client.ref, 13, 0)]


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
