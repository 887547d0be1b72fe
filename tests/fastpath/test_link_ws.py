"""WebSockets over the link: each order and report as control writes and reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.link import codec
from control.link.packets import (
    Action,
    Closed,
    FormatKind,
    Freed,
    Held,
    KeepAlive,
    Kind,
    Mode,
    Opened,
    Received,
    Signal,
    Signalled,
    Synced,
)
from fastpath import probe_session as probe
from support.linked_stage import SETTINGS, LinkedStage
from support.stage import Client, Stage, request
from support.ws_stage import (
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    TEXT,
    Frame,
    close,
    frame,
    frames,
)


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


def opened(stage: LinkedStage) -> tuple[Client, int]:
    """A client whose handshake waits for control, and its ref."""
    client = stage.connect().says(request("/ws", *HANDSHAKE))
    [report] = stage.reports()
    assert isinstance(report, Opened)
    assert report.websocket
    return client, report.ref


def accepted(stage: LinkedStage, *channels: bytes) -> tuple[Client, int]:
    client, ref = opened(stage)
    stage.orders(codec.accept(ref, []), *(codec.subscribe(ref, c) for c in channels))
    assert client.hears().startswith(b"HTTP/1.1 101 ")
    client.session = probe.find(stage.roster, ref)
    return client, ref


def heard(client: Client) -> list[Frame]:
    return frames(client.hears())


def test_a_conversation(stage: LinkedStage, split: str) -> None:
    client, ref = opened(stage)
    stage.orders(
        codec.accept(ref, [(b"X-Origin", b"yes")]),
        codec.send(ref, Kind.TEXT, b"wel", more=True),
        codec.send(ref, Kind.TEXT, b"come"),
        codec.send(ref, Kind.PING, b"?"),
        split=split,
    )
    head, _, rest = client.hears().partition(b"\r\n\r\n")
    assert b"\r\nX-Origin: yes\r\n" in head
    assert frames(rest) == [
        *(Frame(TEXT, b"wel", fin=False), Frame(CONTINUATION, b"come"), Frame(PING, b"?")),
    ]
    client.session = probe.find(stage.roster, ref)
    client.says(frame(TEXT, b"hello") + frame(10, b"?") + close(1000))
    assert stage.reports() == [
        Received(ref, Kind.TEXT, b"hello", False),
        Received(ref, Kind.PONG, b"?", False),
        Received(ref, Kind.CLOSE, b"\x03\xe8", False),
    ]
    stage.orders(codec.close(ref, 0, 1000, b"bye"), split=split)
    assert heard(client) == [Frame(CLOSE, b"\x03\xe8bye")]
    assert stage.reports() == [Closed(ref, 1, 1000)]


def test_a_handshake_is_refused(stage: LinkedStage) -> None:
    client, ref = opened(stage)
    stage.orders(
        codec.respond(ref, status=403, reason=b"Forbidden", headers=[], length=2, body=b"no")
    )
    assert client.hears() == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


def test_what_is_published_reaches_those_who_are_subscribed(stage: LinkedStage, split: str) -> None:
    (one, ref), (two, _) = accepted(stage, b"a", b"b"), accepted(stage, b"a")
    stage.orders(
        codec.publish(b"a", None, None, [codec.ws_format(Kind.TEXT, b"news")]),
        codec.publish(b"b", b"2", b"1", [codec.ws_format(Kind.PING, b"?")]),
        codec.publish(b"a", None, None, [codec.bare_format(FormatKind.WS_MESSAGE, Action.REFRESH)]),
        codec.unsubscribe(ref, b"a"),
        codec.publish(b"a", None, None, [codec.ws_close_format(4000, b"over")]),
        split=split,
    )
    assert heard(one) == [Frame(TEXT, b"news"), Frame(PING, b"?")]
    assert heard(two) == [Frame(TEXT, b"news"), Frame(CLOSE, b"\x0f\xa0over")]
    signals = [report for report in stage.reports() if isinstance(report, Signalled)]
    assert [signal.what for signal in signals] == [Signal.REFRESH] * 2 + [Signal.CLOSED]


def test_a_keep_alive_is_sent_until_there_is_none(stage: LinkedStage) -> None:
    client, ref = accepted(stage)
    stage.orders(
        codec.keep_alive(
            ref, mode=KeepAlive.INTERVAL, interval_ms=1000, kind=Kind.PING, content=b"k"
        )
    )
    stage.advance(2050)
    assert heard(client) == [Frame(PING, b"k")] * 2
    stage.orders(codec.keep_alive(ref, mode=KeepAlive.NONE))
    stage.advance(5000)
    assert heard(client) == []


def test_a_released_websocket_reports_its_end_alone(stage: LinkedStage) -> None:
    client, ref = accepted(stage, b"a")
    stage.orders(codec.release(ref))
    client.says(frame(TEXT, b"unheard") + close(1001))
    assert stage.reports() == [Freed(b"a", Mode.WS, 4), Closed(ref, 1, 1001)]


def test_credit_is_granted(stage: LinkedStage) -> None:
    client, ref = accepted(stage)
    client.tries_to_say(frame(2, bytes(probe.WINDOW)) + frame(TEXT, b"next"))
    stage.reports()
    stage.orders(codec.grant(ref, 100))
    assert stage.reports() == [Received(ref, Kind.TEXT, b"next", False)]


def test_a_subscription_for_a_client_that_has_left_is_freed_again(stage: LinkedStage) -> None:
    client, ref = accepted(stage)
    client.hangs_up()
    stage.reports()
    stage.orders(codec.subscribe(ref, b"a"))
    assert stage.reports() == [Freed(b"a", Mode.WS, 3)]


def test_orders_that_cross_the_end_of_a_websocket_are_ignored(stage: LinkedStage) -> None:
    client, ref = accepted(stage)
    client.says(frame(3))
    assert stage.reports() == [Closed(ref, 20, 1002)]
    stage.orders(
        codec.send(ref, Kind.TEXT, b"late"),
        codec.grant(ref, 5),
        codec.keep_alive(ref, mode=KeepAlive.IDLE, interval_ms=10),
        codec.release(ref),
        codec.close(ref, 0, 1000),
        codec.close(ref, 50),
    )
    assert heard(client) == [Frame(CLOSE, b"\x03\xea")]
    assert stage.reports() == []


def test_an_order_of_another_kind_of_session_ends_it(stage: LinkedStage) -> None:
    client, ref = accepted(stage)
    stage.orders(codec.finish(ref))
    assert stage.reports() == [Closed(ref, 90, 0)]
    [(what, whose, _)] = stage.faults
    assert (what, whose) == ("order_refused", ref)
    stage.faults.clear()
    assert client.hears() == b""


def test_when_the_link_is_back_websockets_close_unless_they_are_released(
    stage: LinkedStage,
) -> None:
    (kept, ref), (dropped, _) = accepted(stage, b"a"), accepted(stage, b"b")
    stage.orders(codec.release(ref))
    stage.lose_link()
    dropped.tries_to_say(frame(TEXT, b"lost"))
    assert heard(dropped) == []
    stage.connect_link()
    stage.orders(codec.welcome(SETTINGS))
    assert heard(dropped) == [Frame(CLOSE, b"\x03\xf4")]
    reports = stage.reports()
    assert Held(b"a", Mode.WS) in reports
    assert reports[-1] == Synced()
    dropped.says(close(1012))
    assert not [r for r in stage.reports() if isinstance(r, Closed | Received)]
    stage.orders(codec.publish(b"a", None, None, [codec.ws_format(Kind.TEXT, b"news")]))
    assert heard(kept) == [Frame(TEXT, b"news")]
