"""Answers: how they are framed for a client (RFC 9112, 6), paced, kept apart, and cut."""

from __future__ import annotations

import socket

import pytest

from control.link.packets import Closed, Freed, Granted
from fastpath import probe_session as probe
from support.stage import LIMITS, Client, Stage, request


def answer(client: Client, **spelling: object) -> bytes:
    probe.respond(client.session, **spelling)
    return client.hears()


# -- framing


def test_a_body_of_known_length_is_sized(stage: Stage) -> None:
    assert answer(stage.asks(), length=2, body=b"hi") == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    )


def test_a_body_of_unknown_length_is_chunked(stage: Stage) -> None:
    client = stage.asks()
    assert answer(client, body=b"hel", more=True) == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"
    )
    probe.send(client.session, b"lo")
    assert client.hears() == b"2\r\nlo\r\n"
    probe.send(client.session, b"!", more=False)
    assert client.hears() == b"1\r\n!\r\n0\r\n\r\n"
    assert client.state == "READING"


def test_an_empty_piece_does_not_end_a_chunked_body(stage: Stage) -> None:
    client = stage.asks()
    answer(client, more=True)
    probe.send(client.session, b"")
    assert client.hears() == b""
    assert client.state == "ANSWERING"


def test_for_http_1_0_a_body_of_unknown_length_ends_with_the_connection(stage: Stage) -> None:
    client = stage.asks("/", "Connection: keep-alive", minor=0)
    assert answer(client, body=b"hel", more=True) == (
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhel"
    )
    probe.send(client.session, b"lo", more=False)
    assert client.hears() == b"lo"
    assert client.ended


@pytest.mark.parametrize(
    ("minor", "asked", "said", "keeps"),
    [
        (1, [], b"", True),
        (1, ["Connection: close"], b"Connection: close\r\n", False),
        (0, [], b"Connection: close\r\n", False),
        (0, ["Connection: keep-alive"], b"Connection: keep-alive\r\n", True),
    ],
)
def test_the_connection_is_kept_as_the_client_asked(
    stage: Stage, minor: int, asked: list[str], said: bytes, keeps: bool
) -> None:
    client = stage.asks("/", *asked, minor=minor)
    heard = answer(client, length=0)
    assert heard == b"HTTP/1.%d 200 OK\r\nContent-Length: 0\r\n%b\r\n" % (minor, said)
    assert client.ended is not keeps


@pytest.mark.parametrize(
    ("length", "framing"), [(5, b"Content-Length: 5\r\n"), (-1, b"")], ids=["sized", "unknown"]
)
def test_the_answer_to_head_has_no_body(stage: Stage, length: int, framing: bytes) -> None:
    client = stage.asks(method="HEAD")
    heard = answer(client, length=length, body=b"hello")
    assert heard == b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"
    assert client.state == "READING"


def test_the_pieces_of_an_answer_to_head_are_dropped_but_granted(stage: Stage) -> None:
    client = stage.asks(method="HEAD")
    answer(client, length=7, body=b"hel", more=True)
    assert stage.reports() == [Granted(client.ref, 3)]
    probe.send(client.session, b"lo!!", more=False)
    assert client.hears() == b""
    assert client.state == "READING"


@pytest.mark.parametrize(("status", "framing"), [(204, b""), (304, b"Content-Length: 5\r\n")])
def test_204_and_304_have_no_body(stage: Stage, status: int, framing: bytes) -> None:
    # RFC 9112, 6.3: and a 204 says no length either (RFC 9110, 8.6).
    client = stage.asks()
    heard = answer(client, status=status, reason=b"", length=5, body=b"hello")
    assert heard == b"HTTP/1.1 %d \r\n%b\r\n" % (status, framing)
    assert client.state == "READING"


def test_a_status_without_body_does_not_hide_the_body_of_the_next_answer(stage: Stage) -> None:
    client = stage.asks()
    answer(client, status=304, reason=b"", length=0)
    stage.asks(client=client)
    assert answer(client, length=2, body=b"hi").endswith(b"\r\n\r\nhi")


# -- bodies that do not keep their word


def test_more_than_was_announced_ends_the_connection(stage: Stage) -> None:
    client = stage.asks()
    answer(client, length=3, body=b"hi", more=True)
    probe.send(client.session, b"hi")
    assert client.hears() == b""
    assert client.ended
    assert probe.reason(client.session) == 90


def test_less_than_was_announced_ends_the_connection(stage: Stage) -> None:
    client = stage.asks()
    assert answer(client, length=5, body=b"hi", more=True).endswith(b"\r\n\r\nhi")
    probe.send(client.session, b"", more=False)
    assert client.hears() == b""
    assert client.ended
    assert probe.reason(client.session) == 50


def test_a_chunked_answer_that_is_cut_has_no_last_chunk(stage: Stage) -> None:
    client = stage.asks()
    answer(client, body=b"hi", more=True)
    probe.send(client.session, b"there")
    probe.close(client.session, 50)
    assert client.hears() == b"5\r\nthere\r\n"
    assert client.ended


def test_an_answer_that_ends_with_the_connection_is_cut_by_a_reset(stage: Stage) -> None:
    client = stage.connect_tcp()
    client.sock.sendall(request(minor=0))
    while client.state == "READING":
        stage.turn()
    probe.respond(client.session, body=b"half", more=True)
    stage.turn()
    client.sock.settimeout(5)
    assert client.sock.recv(1000).endswith(b"half")
    probe.close(client.session, 50)
    stage.turn()
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)


def test_a_lost_link_cuts_an_answer_that_is_not_complete(stage: Stage) -> None:
    client = stage.asks()
    answer(client, body=b"hi", more=True)
    probe.link_lost(client.session)
    assert client.hears() == b""
    assert client.ended


# -- credit down


def test_what_the_kernel_took_of_a_body_is_granted_and_nothing_else(stage: Stage) -> None:
    client = stage.asks()
    answer(client, headers=[(b"X", b"y" * 100)], body=b"hello", more=True)
    assert stage.reports() == [Granted(client.ref, 5)]
    probe.send(client.session, b"!")
    probe.send(client.session, b"!!")
    assert stage.reports() == []
    stage.turn()
    assert stage.reports() == [Granted(client.ref, 3)]


def test_nothing_is_granted_until_a_blocked_client_has_taken_it_all(stage: Stage) -> None:
    client = stage.asks(client=stage.connect_narrow())
    probe.respond(client.session, body=b"x" * 100_000, more=True)
    stage.turn()
    assert stage.reports() == []
    assert client.hears().count(b"x") == 100_000
    assert stage.reports() == [Granted(client.ref, 100_000)]


def test_a_client_that_takes_nothing_of_an_answer_ends_as_slow(stage: Stage) -> None:
    client = stage.asks(client=stage.connect_narrow())
    probe.respond(client.session, body=b"x" * 100_000, more=True)
    stage.advance(LIMITS["stall_timeout_ms"] + 20)
    assert probe.reason(client.session) == 30
    assert stage.reports() == [Closed(client.ref, 30, 0)]


# -- answers before the request is whole, and the end of the connection


def test_an_early_answer_ends_the_connection_so_that_the_client_can_read_it(stage: Stage) -> None:
    client = stage.asks("/", "Content-Length: 100000", method="POST", body=b"x")
    heard = answer(client, status=403, reason=b"No", length=2, body=b"no")
    assert heard == b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    assert client.ended, "the client sees the end of what is said to it"
    assert client.state == "DRAINING", "but what it still sends is taken, not answered with a reset"
    client.says(b"x" * 50_000)
    client.hangs_up()
    assert client.state == "GONE"


def test_a_client_that_goes_on_sending_after_an_early_answer_has_two_seconds(stage: Stage) -> None:
    client = stage.asks("/", "Content-Length: 100000", method="POST")
    answer(client, length=0)
    stage.advance(1900)
    client.says(b"x")
    assert client.state == "DRAINING"
    stage.advance(120)
    assert client.state == "GONE"


def test_an_early_answer_takes_what_is_sent_even_when_reading_was_paused(stage: Stage) -> None:
    client = stage.asks("/", f"Content-Length: {3 * probe.WINDOW}", method="POST")
    unread = client.tries_to_say(b"x" * 3 * probe.WINDOW)
    assert unread
    answer(client, length=0)
    assert client.tries_to_say(unread) == b""


def test_an_answer_that_streams_while_the_body_still_comes_takes_the_body(stage: Stage) -> None:
    client = stage.asks("/", "Content-Length: 3", method="POST")
    answer(client, body=b"a", more=True)
    stage.reports()
    client.says(b"xyz")
    assert [report.content for report in stage.reports()] == [b"xyz"]
    probe.send(client.session, b"b", more=False)
    assert client.hears() == b"1\r\nb\r\n0\r\n\r\n"
    assert client.state == "READING"


def test_a_close_in_the_middle_of_a_request_tells_control(stage: Stage) -> None:
    client = stage.asks()
    probe.close(client.session, 40)
    assert client.hears() == b""
    assert client.ended
    assert stage.reports() == [Closed(client.ref, 40, 0)]


# -- orders that the state does not allow


@pytest.mark.parametrize(
    "order",
    [
        lambda s: probe.respond(s, length=0),
        lambda s: probe.send(s, b"x"),
        lambda s: probe.hold(s, mode=2, channels=[]),
    ],
    ids=["respond", "send", "hold"],
)
def test_an_order_between_two_requests_is_refused(stage: Stage, order: object) -> None:
    client = stage.connect()
    order(client.session)  # type: ignore[operator]
    assert client.state == "GONE"
    assert probe.reason(client.session) == 90
    assert client.hears() == b""
    assert client.ended


def test_a_second_answer_is_refused(stage: Stage) -> None:
    client = stage.asks()
    answer(client, more=True)
    probe.respond(client.session, length=0)
    assert probe.reason(client.session) == 90


def test_a_response_hold_behind_an_answer_is_refused(stage: Stage) -> None:
    client = stage.asks()
    answer(client, more=True)
    probe.hold(client.session, mode=1, channels=[(b"a", None)], answered=True)
    assert probe.reason(client.session) == 90


def test_a_stream_behind_a_body_of_known_length_is_refused(stage: Stage) -> None:
    client = stage.asks()
    answer(client, length=2, body=b"h", more=True)
    probe.hold(client.session, mode=2, channels=[(b"a", None)], answered=True)
    assert probe.reason(client.session) == 90


def test_orders_to_a_session_that_has_ended_change_nothing(stage: Stage) -> None:
    client = stage.asks()
    probe.end(client.session, 1)
    stage.reports()
    probe.respond(client.session, length=0)
    probe.send(client.session, b"x")
    probe.hold(client.session, mode=1, channels=[(b"a", None)])
    probe.grant(client.session, 1)
    probe.release(client.session)
    probe.close(client.session, 0)
    assert stage.reports() == [Freed(b"a", 1, 0)]  # control has counted it as held here
    assert probe.reason(client.session) == 1


@pytest.mark.parametrize("bad", [b"a\r\nSet-Cookie: b", b"a\nb", b"a\0"])
def test_a_header_that_would_split_the_answer_never_leaves(stage: Stage, bad: bytes) -> None:
    client = stage.asks()
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        probe.respond(client.session, headers=[(b"X", bad)], length=0)
    assert client.hears() == b""


def test_the_socket_of_a_session_that_ended_is_not_written_to(stage: Stage) -> None:
    client = stage.asks()
    probe.respond(client.session, length=2, body=b"hi", more=False)
    probe.end(client.session, 1)
    stage.turn()
    assert client.hears() == b""
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
