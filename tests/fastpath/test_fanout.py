"""A publish reaches whom it should, in the form that each can take; ids, gaps, hints; the walk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.link.packets import Opened
from fastpath import probe_session as probe
from support.stage import Client, Stage

SEND, HINT, CLOSE, REFRESH = range(4)
NEWS = (SEND, 200, b"OK", [], False, b"news")


def opened_again(stage: Stage) -> list[int]:
    return [report.ref for report in stage.reports() if isinstance(report, Opened) and report.again]


def test_a_message_reaches_every_session_of_its_channel_and_no_other(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stream("a"), stream("b"), stream("a", "b"), stream("c")]
    probe.publish(stage.fanout, b"a", stream=(SEND, b"x"))
    probe.publish(stage.fanout, b"b", stream=(SEND, b"y"))
    x, y = b"1\r\nx\r\n", b"1\r\ny\r\n"
    assert [client.hears() for client in clients] == [x, y, x + y, b""]
    assert stage.count("messages") == 2
    assert stage.count("delivered_stream") == 4


def test_a_message_for_a_channel_that_nobody_holds_is_no_fault(stage: Stage) -> None:
    probe.publish(stage.fanout, b"nobody", stream=(SEND, b"x"), response=NEWS)
    assert stage.count("messages") == 1


def test_each_session_gets_the_format_of_its_kind(
    stage: Stage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    chunked, plain, polling = stream("a"), stream("a", minor=0), poll("a")
    probe.publish(stage.fanout, b"a", stream=(SEND, b"xyz"), response=NEWS)
    assert chunked.hears() == b"3\r\nxyz\r\n"
    assert plain.hears() == b"xyz"
    assert polling.hears() == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews"


def test_a_session_is_passed_over_when_the_item_has_no_format_for_it(
    stage: Stage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    streaming, polling = stream("a"), poll("a")
    probe.publish(stage.fanout, b"a", response=NEWS)
    assert streaming.hears() == b""
    polling = poll("a")
    probe.publish(stage.fanout, b"a", stream=(SEND, b"x"))
    assert polling.state == "HELD_RESPONSE"


def test_empty_stream_content_sends_nothing_and_ends_nothing(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    probe.publish(stage.fanout, b"a", stream=(SEND, b""))
    assert client.hears() == b""
    assert client.state == "HELD_STREAM"


def test_a_session_that_holds_two_channels_is_answered_once(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a", "b")
    probe.publish(stage.fanout, b"a", response=NEWS)
    probe.publish(stage.fanout, b"b", response=NEWS)
    assert client.hears().count(b"HTTP/1.1 200") == 1
    assert stage.count("delivered_response") == 1


def test_a_message_is_merged_with_what_each_hold_was_given(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    one = poll("a", headers=[(b"X-Hold", b"1")])
    two = poll("a", headers=[(b"X-Hold", b"2")])
    probe.publish(stage.fanout, b"a", response=NEWS)
    assert b"\r\nX-Hold: 1\r\n" in one.hears()
    assert b"\r\nX-Hold: 2\r\n" in two.hears()


@pytest.mark.parametrize("action", [CLOSE, REFRESH])
def test_close_and_refresh_mean_nothing_to_a_held_response(
    stage: Stage, poll: Callable[..., Client], action: int
) -> None:
    client = poll("a")
    probe.publish(stage.fanout, b"a", response=(action,))
    assert client.state == "HELD_RESPONSE"


@pytest.mark.parametrize("action", [HINT, REFRESH])
def test_hint_and_refresh_mean_nothing_to_a_stream(
    stage: Stage, stream: Callable[..., Client], action: int
) -> None:
    client = stream("a")
    probe.publish(stage.fanout, b"a", stream=(action,))
    assert client.state == "HELD_STREAM"
    assert client.hears() == b""


def test_a_close_ends_a_stream_after_what_was_published_before(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    probe.publish(stage.fanout, b"a", stream=(SEND, b"x"))
    probe.publish(stage.fanout, b"a", stream=(CLOSE,))
    probe.publish(stage.fanout, b"a", stream=(SEND, b"y"))
    assert client.hears() == b"1\r\nx\r\n0\r\n\r\n"


# -- ids


def test_a_hold_without_prev_id_is_given_any_item(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a")
    probe.publish(stage.fanout, b"a", id=b"2", prev_id=b"1", response=NEWS)
    assert client.state == "READING"


def test_a_hold_is_given_the_item_that_follows_its_own(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll(("a", "1"))
    probe.publish(stage.fanout, b"a", id=b"2", prev_id=b"1", response=NEWS)
    assert client.state == "READING"


@pytest.mark.parametrize("prev_id", [b"2", None], ids=["another", "none"])
def test_a_hold_asks_again_when_the_item_does_not_follow_its_own(
    stage: Stage, poll: Callable[..., Client], prev_id: bytes | None
) -> None:
    # GRIP.md 1.8: an item without prev-id is a gap as well.
    behind, fine = poll(("a", "1")), poll("a")
    probe.publish(stage.fanout, b"a", id=b"3", prev_id=prev_id, response=NEWS)
    assert opened_again(stage) == [behind.ref]
    assert fine.hears().endswith(b"news")
    assert stage.count("asked_again") == 1


def test_a_hint_asks_all_whatever_their_ids(stage: Stage, poll: Callable[..., Client]) -> None:
    clients = [poll("a"), poll(("a", "1")), poll(("a", "7"))]
    probe.publish(stage.fanout, b"a", id=b"2", prev_id=b"1", response=(HINT,))
    assert sorted(opened_again(stage)) == sorted(client.ref for client in clients)


def test_a_stream_follows_the_ids_of_the_items_it_is_given(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream(("a", "1"))
    for item, prev in ((b"2", b"1"), (b"3", b"2"), (b"4", b"3")):
        probe.publish(stage.fanout, b"a", id=item, prev_id=prev, stream=(SEND, item))
    assert client.hears() == b"1\r\n2\r\n1\r\n3\r\n1\r\n4\r\n"


def test_a_stream_is_not_given_an_item_that_does_not_follow_its_last(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream(("a", "1"))
    probe.publish(stage.fanout, b"a", id=b"3", prev_id=b"2", stream=(SEND, b"3"))
    assert client.hears() == b""
    probe.publish(stage.fanout, b"a", id=b"2", prev_id=b"1", stream=(SEND, b"2"))
    assert client.hears() == b"1\r\n2\r\n"


def test_an_item_without_id_ends_the_tracking_of_ids(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    # GRIP.md 1.8, 3.
    client = stream(("a", "1"))
    probe.publish(stage.fanout, b"a", prev_id=b"1", stream=(SEND, b"x"))
    probe.publish(stage.fanout, b"a", id=b"9", prev_id=b"8", stream=(SEND, b"y"))
    assert client.hears() == b"1\r\nx\r\n1\r\ny\r\n"


def test_streams_that_come_to_the_same_id_go_on_together(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    ahead, behind = stream(("a", "2")), stream(("a", "1"))
    probe.publish(stage.fanout, b"a", id=b"2", prev_id=b"1", stream=(SEND, b"2"))
    probe.publish(stage.fanout, b"a", id=b"3", prev_id=b"2", stream=(SEND, b"3"))
    assert behind.hears() == b"1\r\n2\r\n1\r\n3\r\n"
    assert ahead.hears() == b"1\r\n3\r\n"


# -- the walk


def test_the_hold_table_does_not_change_while_it_is_walked(stage: Stage) -> None:
    client = stage.asks()
    probe.set_walking(stage.roster, True)
    with pytest.raises(RuntimeError, match="walked"):
        probe.hold(client.session, mode=2, channels=[(b"a", None)])
    probe.set_walking(stage.roster, False)


def test_many_sessions_are_answered_after_the_walk(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    clients = [poll("a", ("b", "1") if number % 2 else "b") for number in range(300)]
    probe.publish(stage.fanout, b"b", id=b"3", prev_id=b"2", response=NEWS)
    states = [client.state for client in clients]
    assert states == ["READING", "ASKED"] * 150
    probe.check(stage.roster)


def test_a_request_behind_a_hold_is_held_in_the_turn_of_the_publish(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    client = poll("a")
    client.says(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    probe.publish(stage.fanout, b"a", response=NEWS)
    probe.hold(client.session, mode=1, channels=[(b"a", None)])
    probe.publish(stage.fanout, b"a", response=(SEND, 200, b"OK", [], False, b"more"))
    first, _, second = client.hears().partition(b"\r\n\r\nnews")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert second.endswith(b"\r\n\r\nmore")


def test_a_message_that_cannot_be_rendered_ends_its_session_and_not_the_publish(
    stage: Stage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    polling, streaming = poll("a"), stream("a")
    bad = (SEND, 200, b"OK", [(b"X", b"a\nb")], False, b"")
    probe.publish(stage.fanout, b"a", response=bad, stream=(SEND, b"x"))
    assert streaming.hears() == b"1\r\nx\r\n"
    assert probe.reason(polling.session) == 91
    [(event, ref, error)] = stage.faults
    assert (event, ref) == ("publish_failed", polling.ref)
    assert "CR, LF or NUL" in str(error)
    stage.faults.clear()
