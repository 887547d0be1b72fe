"""What a worker reports beyond control's needs, if it is asked to (LINK.md, Accounts)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from control.link import codec
from control.link.packets import (
    Action,
    Counted,
    Delivered,
    FormatKind,
    Freed,
    Kind,
    Left,
    Mode,
    Opened,
)
from support.linked_stage import SETTINGS, LinkedStage
from support.stage import Client, Stage, request
from support.ws_stage import HANDSHAKE


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> LinkedStage:
    stage = make_stage(kind=LinkedStage)
    stage.connect_link()
    stage.orders(codec.welcome({**SETTINGS, "accounts": True}))
    stage.reports()
    return stage


def held(stage: LinkedStage, mode: Mode, *channels: bytes) -> Client:
    """A client in a hold; what was reported of it until then is dropped."""
    client = stage.asks()
    stage.orders(
        codec.hold(
            client.ref,
            mode=mode,
            channels=[(channel, None, b"") for channel in channels],
            timeout_ms=10_000,
            status=200,
            reason=b"OK",
        )
    )
    return client


def socket(stage: LinkedStage, *channels: bytes) -> tuple[Client, int]:
    """A WebSocket that is subscribed, and its ref."""
    client = stage.connect().says(request("/ws", *HANDSHAKE))
    [opened] = reported(stage, Opened)
    stage.orders(
        codec.accept(opened.ref, []),
        *(codec.subscribe(opened.ref, channel) for channel in channels),
    )
    return client, opened.ref


def reported(stage: LinkedStage, *kinds: type) -> list[Any]:
    return [report for report in stage.reports() if isinstance(report, kinds)]


def publish(stage: LinkedStage, *formats: bytes, item_id: bytes | None = None) -> None:
    stage.orders(codec.publish(b"a", item_id, None, list(formats)))


ANSWER = codec.response_format(status=200, reason=b"OK", headers=[], body=b"x")


# -- how many hold a channel


def test_a_hold_is_counted_in_its_mode(stage: LinkedStage) -> None:
    held(stage, Mode.STREAM, b"a")
    assert reported(stage, Counted) == [Counted(b"a", 0, 1, 0)]
    held(stage, Mode.RESPONSE, b"a")
    assert reported(stage, Counted) == [Counted(b"a", 1, 1, 0)]
    socket(stage, b"a")
    assert reported(stage, Counted) == [Counted(b"a", 1, 1, 1)]


def test_a_channel_is_counted_once_a_turn(stage: LinkedStage) -> None:
    clients = [stage.asks() for _ in range(3)]
    hold = {"mode": Mode.STREAM, "channels": [(b"a", None, b"")], "status": 200, "reason": b"OK"}
    stage.orders(*(codec.hold(client.ref, **hold) for client in clients))
    assert reported(stage, Counted) == [Counted(b"a", 0, 3, 0)]


def test_every_channel_of_a_hold_is_counted(stage: LinkedStage) -> None:
    held(stage, Mode.STREAM, b"a", b"b")
    counted = reported(stage, Counted)
    assert sorted(counted, key=repr) == [Counted(b"a", 0, 1, 0), Counted(b"b", 0, 1, 0)]


def test_who_leaves_is_counted_no_more(stage: LinkedStage) -> None:
    first, second = held(stage, Mode.STREAM, b"a"), held(stage, Mode.STREAM, b"a")
    stage.reports()
    first.hangs_up()
    assert reported(stage, Counted, Freed) == [Counted(b"a", 0, 1, 0)]
    second.hangs_up()
    freed, counted = sorted(reported(stage, Counted, Freed), key=lambda r: isinstance(r, Counted))
    assert isinstance(freed, Freed)
    assert counted == Counted(b"a", 0, 0, 0)


def test_an_answered_hold_is_counted_no_more(stage: LinkedStage) -> None:
    held(stage, Mode.RESPONSE, b"a")
    stage.reports()
    publish(stage, ANSWER)
    assert reported(stage, Counted) == [Counted(b"a", 0, 0, 0)]


def test_subscriptions_of_a_websocket_come_and_go(stage: LinkedStage) -> None:
    _, ref = socket(stage, b"a")
    assert reported(stage, Counted) == [Counted(b"a", 0, 0, 1)]
    stage.orders(codec.unsubscribe(ref, b"a"))
    assert reported(stage, Counted) == [Counted(b"a", 0, 0, 0)]


def test_after_a_new_link_every_channel_is_counted(stage: LinkedStage) -> None:
    held(stage, Mode.STREAM, b"a")
    stage.reports()
    stage.lose_link()
    stage.connect_link()
    stage.orders(codec.welcome({**SETTINGS, "accounts": True}))
    assert reported(stage, Counted) == [Counted(b"a", 0, 1, 0)]


# -- how many an item has reached


def test_an_item_is_accounted_for_by_mode(stage: LinkedStage) -> None:
    for mode in (Mode.RESPONSE, Mode.STREAM, Mode.STREAM):
        held(stage, mode, b"a")
    socket(stage, b"a")
    stage.reports()
    formats = (ANSWER, codec.stream_format(b"x"), codec.ws_format(Kind.TEXT, b"x"))
    publish(stage, *formats, item_id=b"7")
    assert reported(stage, Delivered) == [Delivered(b"a", b"7", 1, 2, 1)]
    publish(stage, *formats)
    assert reported(stage, Delivered) == [Delivered(b"a", None, 0, 2, 1)]


def test_an_item_that_reaches_nobody_is_not(stage: LinkedStage) -> None:
    held(stage, Mode.STREAM, b"a")
    publish(stage, ANSWER)
    publish(stage, codec.bare_format(FormatKind.HTTP_STREAM, Action.HINT))
    assert reported(stage, Delivered) == []


# -- who leaves


def test_every_client_that_was_there_leaves_once(stage: LinkedStage) -> None:
    websocket, ref = socket(stage, b"a")
    clients = [held(stage, mode, b"a") for mode in (Mode.STREAM, Mode.RESPONSE)]
    refs = [ref, *(client.ref for client in clients)]
    stage.reports()
    for client in (websocket, *clients):
        client.hangs_up()
    assert sorted(report.ref for report in reported(stage, Left)) == sorted(refs)


# -- by default


def test_nothing_of_this_is_reported_unless_it_is_asked_for(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(kind=LinkedStage)
    stage.connect_link()
    stage.orders(codec.welcome(SETTINGS))
    client = held(stage, Mode.STREAM, b"a")
    publish(stage, codec.stream_format(b"x"))
    client.hangs_up()
    assert reported(stage, Counted, Delivered, Left) == []
