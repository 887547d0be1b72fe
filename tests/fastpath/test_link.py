"""The worker's end of the link: greeting, orders in any pieces, reports, and its loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.link import codec
from control.link.packets import (
    Action,
    Closed,
    FormatKind,
    Freed,
    Granted,
    Held,
    Hello,
    KeepAlive,
    Kind,
    Mode,
    Opened,
    Pong,
    Received,
    Synced,
    Tally,
)
from fastpath import probe_session as probe
from support.linked_stage import SETTINGS, WORKER, LinkedStage
from support.stage import Client, Stage, request


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> LinkedStage:
    stage = make_stage(kind=LinkedStage)
    stage.connect_link()
    stage.orders(codec.welcome(SETTINGS))
    stage.reports()
    return stage


@pytest.fixture(params=["whole", "bytes", "random"])
def split(request: pytest.FixtureRequest) -> str:
    return request.param


def ok(ref: int, body: bytes = b"hi") -> bytes:
    return codec.respond(ref, status=200, reason=b"OK", headers=[], length=len(body), body=body)


def stream_on(ref: int, *channels: bytes) -> bytes:
    return codec.hold(
        ref,
        mode=Mode.STREAM,
        channels=[(channel, None, b"") for channel in channels],
        status=200,
        reason=b"OK",
    )


def news(channel: bytes = b"a", content: bytes = b"news") -> bytes:
    return codec.publish(channel, None, None, [codec.stream_format(content)])


# -- greeting


@pytest.fixture
def fresh(make_stage: Callable[..., Stage]) -> LinkedStage:
    """A worker that control has not greeted."""
    stage = make_stage(kind=LinkedStage)
    stage.connect_link()
    return stage


def test_the_worker_speaks_first_and_says_who_it_is(fresh: LinkedStage) -> None:
    [hello] = fresh.reports()
    assert isinstance(hello, Hello)
    assert (hello.worker, hello.resumed) == (WORKER, False)


def test_welcome_brings_the_settings_and_is_answered_with_synced(fresh: LinkedStage) -> None:
    fresh.reports()
    fresh.orders(codec.welcome({"head_bytes_max": 1}))
    assert fresh.welcomes == [{"head_bytes_max": 1}]
    assert fresh.reports() == [Synced()]


def test_until_control_has_greeted_a_request_gets_503(fresh: LinkedStage) -> None:
    assert b" 503 " in fresh.connect().says(request()).hears()


def test_after_a_reconnect_all_holds_are_repeated_and_then_synced(
    stage: LinkedStage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    stream("a", "b"), poll("b")
    stage.lose_link()
    stage.connect_link()
    [hello] = stage.reports()
    assert hello.resumed
    stage.orders(codec.welcome(SETTINGS))
    *held, last = stage.reports()
    assert sorted(held, key=lambda h: h.channel) == [Held(b"a", 2), Held(b"b", 3)]
    assert last == Synced()


# -- orders, in any pieces


def test_a_request_is_asked_and_answered_over_the_link(stage: LinkedStage, split: str) -> None:
    client = stage.connect().says(request("/a"))
    [opened] = stage.reports()
    assert (opened.ref, opened.target) == (client.ref, b"/a")
    stage.orders(ok(client.ref), split=split)
    assert client.hears() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_body_travels_up_and_down_in_parts(stage: LinkedStage, split: str) -> None:
    client = stage.connect().says(request("/", "Content-Length: 4", method="POST") + b"up")
    client.says(b"up")
    opened, received = stage.reports()
    assert (opened.body, received.content, received.more) == (b"up", b"up", False)
    head = codec.respond(client.ref, status=200, reason=b"OK", headers=[], length=-1, more=True)
    stage.orders(
        head,
        codec.send(client.ref, Kind.BODY, b"down", more=True),
        codec.finish(client.ref),
        split=split,
    )
    assert client.hears().endswith(b"\r\n\r\n4\r\ndown\r\n0\r\n\r\n")
    assert stage.reports() == []


def test_what_left_is_granted(stage: LinkedStage) -> None:
    client = stage.asks()
    stage.orders(
        codec.respond(
            client.ref, status=200, reason=b"OK", headers=[], length=-1, body=b"xyz", more=True
        )
    )
    assert stage.reports() == [Granted(client.ref, 3)]


def test_a_grant_lets_more_of_a_body_come(stage: LinkedStage) -> None:
    client = stage.asks("/", f"Content-Length: {probe.WINDOW + 1}", method="POST")
    client.tries_to_say(b"x" * (probe.WINDOW + 1))
    assert all(report.more for report in stage.reports())
    stage.orders(codec.grant(client.ref, 1))
    assert stage.reports() == [Received(client.ref, Kind.BODY, b"x", False)]


def test_holds_and_publishes_in_any_pieces(stage: LinkedStage, split: str) -> None:
    client = stage.asks()
    stage.orders(stream_on(client.ref, b"a"), news(), news(content=b"more"), split=split)
    assert client.hears().endswith(b"\r\n\r\n4\r\nnews\r\n4\r\nmore\r\n")


def test_every_format_and_action_of_an_item_is_understood(stage: LinkedStage) -> None:
    polling, streaming = stage.asks(), stage.asks()
    stage.orders(
        codec.hold(polling.ref, mode=Mode.RESPONSE, channels=[(b"a", None, b"")], timeout_ms=9000),
        stream_on(streaming.ref, b"a"),
    )
    response = codec.response_format(status=200, reason=b"OK", headers=[], body=b"poll")
    stage.orders(
        codec.publish(b"a", b"2", b"1", [codec.stream_format(b"str"), response]),
        codec.publish(b"a", b"3", b"2", [codec.ws_format(Kind.TEXT, b"not for these")]),
        codec.publish(b"a", None, None, [codec.bare_format(FormatKind.HTTP_STREAM, Action.CLOSE)]),
    )
    assert polling.hears().endswith(b"\r\n\r\npoll")
    assert streaming.hears().endswith(b"\r\n\r\n3\r\nstr\r\n0\r\n\r\n")


def test_a_hint_and_a_release_make_a_hold_ask_again(stage: LinkedStage) -> None:
    client = stage.asks()
    hint = codec.bare_format(FormatKind.HTTP_RESPONSE, Action.HINT)
    for again in (codec.publish(b"a", None, None, [hint]), codec.release(client.ref)):
        stage.orders(
            codec.hold(
                client.ref, mode=Mode.RESPONSE, channels=[(b"a", b"1", b"")], timeout_ms=9000
            )
        )
        stage.orders(again)
        [opened] = [report for report in stage.reports() if isinstance(report, Opened)]
        assert (opened.again, opened.lasts) == (True, [(b"a", b"1")])


def test_a_hold_brings_its_keep_alive(stage: LinkedStage) -> None:
    client = stage.asks()
    stage.orders(
        codec.hold(
            client.ref,
            mode=Mode.STREAM,
            channels=[(b"a", None, b"")],
            keep_alive_mode=KeepAlive.INTERVAL,
            keep_alive_ms=1000,
            keep_alive=b"\n",
            status=200,
            reason=b"OK",
        )
    )
    client.hears()
    stage.advance(1020)
    assert client.hears() == b"1\r\n\n\r\n"


def test_ping_is_answered_and_drain_is_passed_on(stage: LinkedStage, split: str) -> None:
    stage.orders(codec.ping(), codec.drain(), split=split)
    assert stage.reports() == [Pong()]
    assert stage.drains == 1


def test_an_order_to_close_cuts_a_request_that_waits(stage: LinkedStage) -> None:
    client = stage.asks()
    stage.orders(codec.close(client.ref, 50))
    assert client.hears() == b""
    assert client.ended


# -- reports


def test_the_reports_of_a_turn_leave_in_one_write(stage: LinkedStage) -> None:
    for client in [stage.connect() for _ in range(5)]:
        client.sock.send(request())
    stage.turn()
    assert len(stage.control.writes) == 1
    assert len(stage.reports()) == 5


def test_freed_carries_the_number_of_orders_read_so_far(stage: LinkedStage) -> None:
    # LINK.md, invariant 4: WELCOME is number 1.
    client = stage.asks()
    stage.orders(stream_on(client.ref, b"a"), codec.ping(), codec.ping())
    stage.reports()
    client.hangs_up()
    assert stage.reports() == [Freed(b"a", 2, 4)]


def test_orders_are_counted_anew_on_a_new_link(stage: LinkedStage) -> None:
    client = stage.asks()
    stage.orders(stream_on(client.ref, b"a"), codec.ping())
    stage.lose_link()
    stage.connect_link()
    stage.orders(codec.welcome(SETTINGS))
    stage.reports()
    client.hangs_up()
    assert stage.reports() == [Freed(b"a", 2, 1)]


def test_a_tally_is_reported_only_when_a_number_changed(stage: LinkedStage) -> None:
    stage.link.report_tally({"accepted": 1})
    stage.link.report_tally({"accepted": 1})
    stage.link.report_tally({"accepted": 2})
    assert stage.reports() == [Tally({"accepted": 1}), Tally({"accepted": 2})]


def test_a_new_control_is_told_the_tally_again(stage: LinkedStage) -> None:
    stage.link.report_tally({"accepted": 1})
    stage.lose_link()
    stage.connect_link()
    stage.link.report_tally({"accepted": 1})
    assert [type(report) for report in stage.reports()] == [Hello], "nothing before the greeting"
    stage.orders(codec.welcome(SETTINGS))
    stage.link.report_tally({"accepted": 1})
    assert stage.reports() == [Synced(), Tally({"accepted": 1})]


def test_a_hold_that_comes_too_late_is_freed_again(stage: LinkedStage) -> None:
    client = stage.asks()
    client.shuts_its_side()
    stage.reports()
    stage.orders(stream_on(client.ref, b"a", b"b"))
    assert stage.reports() == [
        Freed(b"a", 2, 2),
        Freed(b"b", 2, 2),
        Closed(client.ref, 1, 0),
    ]


def test_a_hold_that_comes_too_late_frees_nothing_that_others_hold(stage: LinkedStage) -> None:
    other, client = stage.asks(), stage.asks()
    stage.orders(stream_on(other.ref, b"a"))
    client.shuts_its_side()
    stage.reports()
    stage.orders(stream_on(client.ref, b"a"))
    assert stage.reports() == [Closed(client.ref, 1, 0)]


# -- ghosts, and orders that are not legal


def test_an_order_to_a_session_that_is_gone_is_counted_and_ignored(stage: LinkedStage) -> None:
    client = stage.connect()
    ref = client.ref
    client.hangs_up()
    assert stage.asks().session.slot == ref & 0xFFFFFFFF
    stage.reports()
    stage.orders(ok(ref), codec.close(ref, 0), codec.grant(ref, 1))
    assert stage.count("dropped_ghost") == 3
    assert stage.reports() == []


def test_an_order_that_the_state_does_not_allow_ends_the_session_and_is_logged(
    stage: LinkedStage,
) -> None:
    client, other = stage.connect(), stage.asks()
    stage.orders(ok(client.ref), ok(other.ref))
    assert probe.reason(client.session) == 90
    [(event, ref, what)] = stage.faults
    assert (event, ref, what) == ("order_refused", client.ref, "op 42 in state 0")
    assert other.hears().endswith(b"hi"), "the link goes on"
    stage.faults.clear()


def test_an_order_for_another_kind_of_session_ends_the_session_and_is_logged(
    stage: LinkedStage,
) -> None:
    for order in (codec.accept, codec.subscribe, codec.unsubscribe):
        client = stage.asks()
        stage.orders(order(client.ref, [] if order is codec.accept else b"a"))
        assert stage.reports() == [Closed(client.ref, 90, 0)]
    assert [event for event, _, _ in stage.faults] == ["order_refused"] * 3
    assert not stage.control.aborted
    stage.faults.clear()


def test_an_order_that_cannot_be_carried_out_ends_its_session_and_not_the_link(
    stage: LinkedStage,
) -> None:
    client, other = stage.asks(), stage.asks()
    bad = codec.respond(client.ref, status=200, reason=b"OK", headers=[(b"X", b"a\nb")], length=0)
    stage.orders(bad, ok(other.ref))
    assert probe.reason(client.session) == 91
    assert other.hears().endswith(b"hi")
    assert [event for event, _, _ in stage.faults] == ["order_failed"]
    stage.faults.clear()


def test_an_item_that_cannot_be_carried_out_does_not_end_the_link(
    stage: LinkedStage, poll: Callable[..., Client]
) -> None:
    poll("a")
    bad = codec.response_format(status=200, reason=b"OK", headers=[(b"X", b"a\nb")], body=b"")
    stage.orders(codec.publish(b"a", None, None, [bad]), codec.ping())
    assert Pong() in stage.reports()
    assert not stage.control.aborted
    assert [event for event, _, _ in stage.faults] == ["publish_failed"]
    stage.faults.clear()


# -- malformed packets

PING = codec.ping()
HEADERS = {
    "an unknown op": PING[:4] + b"\x4f" + PING[5:],
    "a report": PING[:4] + b"\x01" + PING[5:],
    "a set flag": PING[:5] + b"\x02" + PING[6:],
    "reserved bits": PING[:7] + b"\x01" + PING[8:],
    "a length over the limit": b"\xff\xff\xff\xff" + PING[4:],
}
PAYLOADS = {
    "bytes left over": b"\0\0\0\x01" + PING[4:] + b"x",
    "too short": b"\0\0\0\x01" + codec.publish(b"a", None, None, [])[4:16] + b"x",
    "no session": codec.finish(0),
    "a session": PING[:15] + b"\x01",
    "no JSON": b"\0\0\0\x01" + codec.welcome({})[4:16] + b"{",
}


MALFORMED = HEADERS | PAYLOADS


@pytest.mark.parametrize("packet", list(MALFORMED.values()), ids=list(MALFORMED))
def test_a_malformed_packet_is_logged_with_sixteen_bytes_and_closes_the_link(
    stage: LinkedStage, split: str, packet: bytes
) -> None:
    if packet[8:16] != bytes(8):
        client = stage.asks()
        packet = packet[:8] + client.ref.to_bytes(8, "big") + packet[16:]
    stage.orders(PING, packet, split=split)
    assert stage.control.aborted
    [(event, _, what)] = stage.faults
    assert event == "malformed_order"
    assert str(what).endswith(": " + packet[:16].hex())
    assert stage.reports() == [Pong()], "what stood before it was obeyed"
    stage.faults.clear()


def test_nothing_behind_a_malformed_packet_is_obeyed(stage: LinkedStage) -> None:
    stage.orders(HEADERS["reserved bits"], codec.drain())
    assert stage.drains == 0
    stage.faults.clear()


# -- the link is lost


def test_when_the_link_is_lost_waiting_requests_end_and_holds_stay(
    stage: LinkedStage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    asked, answering, streaming, polling = stage.asks(), stage.asks(), stream("a"), poll("a")
    stage.orders(
        codec.respond(
            answering.ref, status=200, reason=b"OK", headers=[], length=9, body=b"x", more=True
        )
    )
    stage.turn()
    stage.lose_link()
    assert stage.losses == 1
    assert asked.hears().startswith(b"HTTP/1.1 503 ")
    assert answering.hears().endswith(b"\r\n\r\nx")
    assert answering.ended
    assert (streaming.state, polling.state) == ("HELD_STREAM", "HELD_RESPONSE")


def test_without_a_link_a_hold_times_out_and_a_new_request_gets_503(
    stage: LinkedStage, poll: Callable[..., Client]
) -> None:
    client = poll("a", timeout_ms=5000, body=b"nothing")
    stage.lose_link()
    stage.advance(5020)
    assert client.hears().endswith(b"\r\n\r\nnothing")
    client.says(request())
    assert client.hears().startswith(b"HTTP/1.1 503 ")


def test_half_a_packet_of_a_lost_link_is_forgotten(stage: LinkedStage) -> None:
    stage.orders(news()[:20])
    stage.lose_link()
    stage.connect_link()
    stage.orders(codec.welcome(SETTINGS))
    assert stage.reports()[-1] == Synced()


def test_reports_of_a_lost_link_do_not_reach_the_next(stage: LinkedStage) -> None:
    stage.connect().says(request())
    stage.lose_link()
    stage.connect_link()
    assert [type(report) for report in stage.reports()] == [Hello]


# -- what holds share


def test_equal_holds_share_one_rendered_answer(stage: LinkedStage) -> None:
    clients = [stage.asks() for _ in range(3)]
    for client in clients:
        stage.orders(
            codec.hold(
                client.ref,
                mode=Mode.RESPONSE,
                channels=[(b"a", None, b"")],
                timeout_ms=9000,
                status=200,
                reason=b"OK",
                headers=[(b"X", b"1")],
                body=b"none",
            )
        )
    held = [probe.held_response(client.session) for client in clients]
    assert held[0] is held[1] is held[2]
