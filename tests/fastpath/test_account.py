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
    KeepAlive,
    Kind,
    Left,
    Met,
    Mode,
    Opened,
    Reached,
    Served,
    Share,
    Verdict,
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


def held(stage: LinkedStage, mode: Mode, *channels: bytes, route: int = 0, **more: Any) -> Client:
    """A client in a hold; what was reported of it until then is dropped."""
    client = stage.asks()
    stage.orders(
        codec.hold(
            client.ref,
            mode=mode,
            channels=[(channel, None, more.pop("traits", b"")) for channel in channels],
            timeout_ms=10_000,
            status=200,
            reason=b"OK",
            route=route,
            **more,
        )
    )
    return client


def socket(stage: LinkedStage, *channels: bytes, route: int = 0) -> tuple[Client, int]:
    """A WebSocket that is subscribed, and its ref."""
    client = stage.connect().says(request("/ws", *HANDSHAKE))
    [opened] = reported(stage, Opened)
    stage.orders(
        codec.accept(opened.ref, [], route=route),
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


# -- whom an item has reached

STREAM = codec.stream_format(b"12345")
MESSAGE = codec.ws_format(Kind.TEXT, b"1234567")


def test_an_item_is_accounted_for_by_mode_and_route(stage: LinkedStage) -> None:
    held(stage, Mode.RESPONSE, b"a", route=2)
    held(stage, Mode.STREAM, b"a", route=2)
    held(stage, Mode.STREAM, b"a")
    held(stage, Mode.STREAM, b"a", route=300)
    socket(stage, b"a", route=300)
    stage.reports()
    publish(stage, ANSWER, STREAM, MESSAGE, item_id=b"7")
    [delivered] = reported(stage, Delivered)
    assert (delivered.channel, delivered.id, delivered.sizes) == (b"a", b"7", (1, 5, 7))
    assert sorted(delivered.reached) == [
        Reached(0, 0, 1, 0, 0, 0),
        Reached(2, 1, 1, 0, 5, 1),  # "200", "OK"; "x"
        Reached(300, 0, 1, 1, 0, 0),
    ]
    publish(stage, ANSWER, STREAM)
    [delivered] = reported(stage, Delivered)
    assert (delivered.id, delivered.sizes) == (None, (1, 5, 0))
    assert sorted(delivered.reached) == [Reached(n, 0, 1, 0, 0, 0) for n in (0, 2, 300)]


def test_a_head_is_counted_without_what_frames_its_body(stage: LinkedStage) -> None:
    held(stage, Mode.RESPONSE, b"a", headers=[(b"A-Name", b"value")])
    form = codec.response_format(status=404, reason=b"", headers=[(b"B", b"c")], body=b"body")
    publish(stage, form)
    [delivered] = reported(stage, Delivered)
    head = b"404A-NamevalueBc"
    assert delivered.reached == [Reached(0, 1, 0, 0, len(head), 4)]


def test_a_patch_has_no_size_but_the_bodies_that_it_makes(stage: LinkedStage) -> None:
    held(stage, Mode.RESPONSE, b"a", body=b'{"a":1}')
    patch = b'[{"op":"replace","path":"/a","value":22}]'
    form = codec.response_format(status=200, reason=b"OK", headers=[], body=patch, patch=True)
    publish(stage, form)
    [delivered] = reported(stage, Delivered)
    assert delivered.sizes == (0, 0, 0)
    assert delivered.reached[0].body_bytes == len(b'{"a":22}')


def test_an_item_that_reaches_nobody_is_not(stage: LinkedStage) -> None:
    held(stage, Mode.STREAM, b"a")
    publish(stage, ANSWER)
    publish(stage, codec.bare_format(FormatKind.HTTP_STREAM, Action.HINT))
    assert reported(stage, Delivered) == []


def test_what_a_client_does_not_take_has_not_reached_it(stage: LinkedStage) -> None:
    _, ref = socket(stage, b"a")
    stage.orders(codec.send(ref, Kind.TEXT, b"half", more=True))
    stage.reports()
    publish(stage, MESSAGE)
    assert reported(stage, Delivered) == []


def test_the_verdicts_of_groups_are_accounted_for_with_what_each_was_given(
    stage: LinkedStage,
) -> None:
    held(stage, Mode.STREAM, b"a", traits=b"\x00x")
    held(stage, Mode.STREAM, b"a", traits=b"\x00y", route=1)
    stage.reports()
    publish(stage, STREAM)
    [met] = reported(stage, Met, Delivered)
    contents = {b"\x00x": b"x", b"\x00y": b"four"}
    verdicts = [(Verdict.INSTEAD, contents[group.traits]) for group in met.groups]
    stage.orders(codec.verdict(met.number, verdicts))
    told = {r.reached[0].route: (r.sizes, len(r.reached)) for r in reported(stage, Delivered)}
    assert told == {0: ((0, 1, 0), 1), 1: ((0, 4, 0), 1)}


# -- what a worker sends on its own


def served(stage: LinkedStage) -> list[Share]:
    stage.link.report_served()
    return [share for report in reported(stage, Served) for share in report.shares]


def test_keep_alives_are_counted_by_route(stage: LinkedStage) -> None:
    kept = {"keep_alive_mode": KeepAlive.INTERVAL, "keep_alive_ms": 1000}
    held(stage, Mode.STREAM, b"a", route=2, keep_alive=b"abc", **kept)
    _, ref = socket(stage, b"a", route=1)
    beat = {"mode": KeepAlive.INTERVAL, "interval_ms": 1500, "kind": Kind.TEXT}
    stage.orders(codec.keep_alive(ref, content=b"x" * 126, **beat))
    assert served(stage) == []
    for milliseconds in (1000, 2000):
        stage.advance(milliseconds)
    assert served(stage) == [Share(1, 0, 1, 0, 126), Share(2, 2, 0, 0, 6)]
    assert served(stage) == []
    publish(stage, STREAM)
    [delivered] = reported(stage, Delivered)
    assert delivered.reached == [Reached(2, 0, 1, 0, 0, 0)]  # a keep-alive is no item


def test_the_answer_of_a_hold_that_times_out_is_counted(stage: LinkedStage) -> None:
    held(stage, Mode.RESPONSE, b"a", route=3, headers=[(b"Name", b"v")], body=b"late")
    stage.advance(10_000)
    assert served(stage) == [Share(3, 0, 0, len(b"200OKNamev"), 4)]


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
    stage.link.report_served()
    assert reported(stage, Counted, Delivered, Left, Served) == []
