"""Messages about which control is asked first: whoever moves on meanwhile has not had them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from control.link.packets import Lapsed, Met, Opened
from fastpath import probe_session as probe
from support.stage import Client, Stage

SEND, HINT = 0, 1
DROP, AS_IT_IS, INSTEAD, FAILED = range(4)
RESPONSE, STREAM = 1, 2
ASKED_MAX = 10_000  # of fanout.pyx
LEADS_ON = b"\x01home"  # a context with a link to follow


@pytest.fixture
def stage(stage: Stage) -> Iterator[Stage]:
    """A stage whose sessions reach the fan-out, as by the link."""
    stage.upstream.fanout = stage.fanout
    yield stage
    stage.upstream.fanout = None


def meets(stage: Stage) -> list[Met]:
    return [report for report in stage.reports() if isinstance(report, Met)]


def followed(stage: Stage, last: bytes = b"1") -> Client:
    """A client in a stream that is filtered, and has a link."""
    client = stage.asks()
    channels = [(b"a", last, b"\x00t")]
    probe.hold(client.session, mode=STREAM, channels=channels, context=LEADS_ON)
    client.hears()
    return client


def polling(stage: Stage, client: Client | None = None, last: bytes = b"1") -> Client:
    """A client in a response hold that is filtered."""
    client = stage.asks(client=client)
    probe.hold(client.session, mode=RESPONSE, channels=[(b"a", last, b"\x00t"), (b"b",)])
    return client


def follow_up(client: Client, last: bytes) -> None:
    """Control has followed the link, and holds again."""
    channels = [(b"a", last, b"\x00t")]
    probe.hold(client.session, mode=STREAM, channels=channels, answered=True, context=LEADS_ON)


def item(stage: Stage, number: int, channel: bytes = b"a") -> None:
    content = b"<%d>" % number
    ids = {"id": b"%d" % number, "prev_id": b"%d" % (number - 1)}
    response = (SEND, 200, b"OK", [], False, content)
    probe.publish(stage.fanout, channel, stream=(SEND, content), response=response, **ids)


def test_a_group_is_asked_for_once_and_told_once(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stage.asks() for _ in range(3)]
    for client in clients:
        probe.hold(client.session, mode=STREAM, channels=[(b"a", None, b"\x00traits")])
        client.hears()
    plain = stream("a")
    probe.publish(stage.fanout, b"a", stream=(SEND, b"raw"), meta=b"\x00m")
    [met] = meets(stage)
    assert [group.traits for group in met.groups] == [b"\x00traits"]
    assert plain.hears() == b"3\r\nraw\r\n"
    assert [client.hears() for client in clients] == [b"", b"", b""]
    probe.judge(stage.fanout, met.number, [(2, b"changed")])
    assert [client.hears() for client in clients] == [b"7\r\nchanged\r\n"] * 3


@pytest.mark.parametrize(("verdict", "heard"), [(0, b""), (1, b"3\r\nraw\r\n"), (3, b"")])
def test_a_verdict_drops_or_delivers(stage: Stage, verdict: int, heard: bytes) -> None:
    client = stage.asks()
    probe.hold(client.session, mode=STREAM, channels=[(b"a", None, b"\x00t")])
    client.hears()
    probe.publish(stage.fanout, b"a", stream=(SEND, b"raw"))
    [met] = meets(stage)
    probe.judge(stage.fanout, met.number, [(verdict, b"")])
    assert client.hears() == heard


def test_what_awaits_a_verdict_when_the_stream_lapses_waits_and_is_asked_about_again(
    stage: Stage,
) -> None:
    client = followed(stage)
    item(stage, 2)
    [met] = meets(stage)
    probe.publish(stage.fanout, b"a", stream=(HINT, b""))
    [lapsed] = [report for report in stage.reports() if isinstance(report, Lapsed)]
    assert lapsed.lasts == [(b"a", b"1")], "it has not had the second"
    probe.judge(stage.fanout, met.number, [(AS_IT_IS, None)])
    assert client.hears() == b""
    follow_up(client, b"1")
    [again] = meets(stage)
    probe.judge(stage.fanout, again.number, [(INSTEAD, b"changed once")])
    assert client.hears() == b"c\r\nchanged once\r\n"


def test_what_the_page_has_brought_is_not_asked_about_again(stage: Stage) -> None:
    client = followed(stage)
    item(stage, 2)
    probe.publish(stage.fanout, b"a", stream=(HINT, b""))
    stage.reports()
    follow_up(client, b"2")
    assert meets(stage) == []
    item(stage, 3)
    [met] = meets(stage)
    probe.judge(stage.fanout, met.number, [(AS_IT_IS, None)])
    assert client.hears() == b"3\r\n<3>\r\n"


@pytest.mark.parametrize("third", [AS_IT_IS, FAILED])
def test_what_fails_is_a_gap_that_later_verdicts_do_not_close(stage: Stage, third: int) -> None:
    client = followed(stage)
    item(stage, 2)
    item(stage, 3)
    second_met, third_met = meets(stage)
    probe.judge(stage.fanout, second_met.number, [(FAILED, b"")])
    probe.judge(stage.fanout, third_met.number, [(third, b"")])
    [lapsed] = [report for report in stage.reports() if isinstance(report, Lapsed)]
    assert lapsed.lasts == [(b"a", b"1")]
    assert client.hears() == b""


def test_a_long_poll_that_asks_again_has_not_had_what_awaits_a_verdict(stage: Stage) -> None:
    client = polling(stage)
    item(stage, 2)
    [met] = meets(stage)
    probe.publish(stage.fanout, b"b", response=(HINT,))
    [opened] = [r for r in stage.reports() if isinstance(r, Opened) and r.again]
    assert opened.lasts == [(b"a", b"1")]
    probe.hold(client.session, mode=RESPONSE, channels=[(b"a", b"2", b"\x00t")])
    probe.judge(stage.fanout, met.number, [(AS_IT_IS, None)])
    assert client.hears() == b"", "the origin knew of it"


def test_a_verdict_that_comes_late_is_not_for_the_next_hold_of_the_connection(
    stage: Stage,
) -> None:
    client = polling(stage)
    item(stage, 2)
    [met] = meets(stage)
    item(stage, 9, channel=b"b")
    assert client.hears().endswith(b"<9>")
    polling(stage, client, b"2")
    probe.judge(stage.fanout, met.number, [(AS_IT_IS, None)])
    assert client.hears() == b""
    assert client.state == "HELD_RESPONSE"


def test_what_nobody_can_be_asked_about_is_a_gap(stage: Stage) -> None:
    client = followed(stage)
    stage.upstream.linked = False
    item(stage, 2)
    stage.upstream.linked = True
    item(stage, 3)
    [lapsed] = [report for report in stage.reports() if isinstance(report, Lapsed)]
    assert lapsed.lasts == [(b"a", b"1")]
    assert client.hears() == b""
    assert stage.count("dropped_unjudged") == 1


def test_what_is_too_much_to_ask_about_is_a_gap(stage: Stage) -> None:
    followed(stage)
    for number in range(2, ASKED_MAX + 3):
        item(stage, number)
    stage.reports()
    item(stage, ASKED_MAX + 3)
    [lapsed] = [report for report in stage.reports() if isinstance(report, Lapsed)]
    assert lapsed.lasts == [(b"a", b"1")], "and all that awaits a verdict waits"
    assert stage.count("dropped_unjudged") == 1
