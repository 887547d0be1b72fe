"""Streams that control brings up to date: lapse, wait, hold again; holds whose end is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from control.link.packets import Closed, Lapsed
from fastpath import probe_session as probe
from support.stage import Client, Stage

SEND, HINT = 0, 1
GAP, HINTED, TIMEOUT, ASKED = 1, 2, 3, 4
LEADS_ON = b"\x01home"  # a context with a link to follow
STREAM = 2


@pytest.fixture
def stage(stage: Stage) -> Iterator[Stage]:
    """A stage on which what has waited is given back, as the link does it."""
    stage.upstream.fanout = stage.fanout
    yield stage
    stage.upstream.fanout = None


def item(stage: Stage, channel: bytes, content: bytes, **ids: bytes) -> None:
    probe.publish(stage.fanout, channel, stream=(SEND, content), **ids)


def lapses(stage: Stage) -> list[Lapsed]:
    return [report for report in stage.reports() if isinstance(report, Lapsed)]


def test_84_a_gap_lapses_the_stream_and_its_item_is_not_delivered(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream(("a", "1"), context=LEADS_ON)
    item(stage, b"a", b"three", id=b"3", prev_id=b"2")
    [lapsed] = lapses(stage)
    assert (lapsed.why, lapsed.lasts, lapsed.context) == (GAP, [(b"a", b"1")], LEADS_ON)
    assert client.hears() == b""
    assert client.state == "HELD_STREAM"


def test_85_after_the_page_what_is_older_is_dropped_and_the_rest_delivered(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream(("a", "1"), context=LEADS_ON)
    for number in (3, 4, 5):
        item(stage, b"a", b"<%d>" % number, id=b"%d" % number, prev_id=b"%d" % (number - 1))
    probe.send(client.session, b"<2><3><4>")
    probe.hold(
        client.session, mode=STREAM, channels=[(b"a", b"4")], answered=True, context=LEADS_ON
    )
    assert client.hears() == b"9\r\n<2><3><4>\r\n3\r\n<5>\r\n"
    item(stage, b"a", b"<6>", id=b"6", prev_id=b"5")
    assert client.hears() == b"3\r\n<6>\r\n"


def test_89_a_page_replaces_the_channels_of_the_hold(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", "b", context=LEADS_ON)
    probe.release(client.session)
    assert [lapsed.why for lapsed in lapses(stage)] == [ASKED]
    probe.hold(client.session, mode=STREAM, channels=[(b"b",), (b"c",)], answered=True)
    for channel in (b"a", b"b", b"c"):
        item(stage, channel, channel)
    assert client.hears() == b"1\r\nb\r\n1\r\nc\r\n"


def test_at_most_a_hundred_messages_wait(stage: Stage, stream: Callable[..., Client]) -> None:
    client = stream("a", context=LEADS_ON)
    probe.release(client.session)
    for number in range(probe.QUEUE + 20):
        item(stage, b"a", b"%03d" % number)
    probe.hold(client.session, mode=STREAM, channels=[(b"a",)], answered=True)
    assert client.hears().count(b"\r\n") == 2 * probe.QUEUE


def test_88_a_hint_lapses_a_stream_with_a_link_and_no_other(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    stream("a", context=LEADS_ON)
    stream("a")
    probe.publish(stage.fanout, b"a", stream=(HINT, b""))
    assert [lapsed.why for lapsed in lapses(stage)] == [HINTED]


def test_82_a_link_is_followed_when_its_time_is_over(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    stream("a", context=LEADS_ON, link_ms=60_000)
    stage.advance(59_900)
    assert lapses(stage) == []
    stage.advance(200)
    assert [lapsed.why for lapsed in lapses(stage)] == [TIMEOUT]


def test_83_activity_on_all_channels_postpones_the_link_and_on_some_does_not(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    stream("a", "b", context=LEADS_ON, link_ms=60_000)
    stream("c", "d", context=LEADS_ON + b"2", link_ms=60_000)
    stage.advance(1000)
    for channel in (b"a", b"b", b"c"):
        item(stage, channel, b"x")
    stage.advance(59_200)
    assert [lapsed.context for lapsed in lapses(stage)] == [LEADS_ON + b"2"]
    stage.advance(60_200)
    assert [lapsed.context for lapsed in lapses(stage)] == [LEADS_ON]


def test_a_last_page_ends_the_stream(stage: Stage, stream: Callable[..., Client]) -> None:
    client = stream("a", context=LEADS_ON)
    probe.release(client.session)
    probe.send(client.session, b"bye", more=False)
    assert client.hears() == b"3\r\nbye\r\n0\r\n\r\n"
    assert client.state == "READING"


def test_98_the_end_of_a_watched_hold_is_reported_with_its_context(
    stage: Stage, stream: Callable[..., Client], poll: Callable[..., Client]
) -> None:
    stream("a", context=b"\x00gone", watched=True)
    poll("b", context=b"\x00left", watched=True)
    probe.publish(stage.fanout, b"a", stream=(2, b""))
    probe.publish(stage.fanout, b"b", response=(SEND, 200, b"OK", [], False, b"x"))
    closed = [report.context for report in stage.reports() if isinstance(report, Closed)]
    assert closed == [b"\x00gone", b"\x00left"]
