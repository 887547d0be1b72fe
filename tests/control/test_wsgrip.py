"""GRIP mode of a WebSocket: prefixes, control messages, and what they make of the client.

Told to an origin over HTTP where both kinds of origin do the same, which is nearly everywhere.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from control.grip import wscontrol
from control.grip.traits import Traits
from support import frame_origin
from support.event_origin import BINARY, PING, REF, TEXT, Scene, scene
from support.fake_worker import Order
from support.frame_origin import CONTINUATION, GRIP

ORIGIN_FAILED = 50
IDLE, INTERVAL = 1, 2


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


@pytest.fixture
async def passed(tmp_path: Path) -> AsyncIterator[frame_origin.Scene]:
    async with frame_origin.scene(tmp_path) as made:
        yield made


def text(content: bytes | str) -> bytes:
    run = content.encode() if isinstance(content, str) else content
    return b"TEXT %x\r\n%b\r\n" % (len(run), run)


def control(kind: str, **fields: Any) -> bytes:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return text("c:" + json.dumps({"type": kind, **named}))


MARK = text("m:mark")


async def until_mark(here: Scene) -> list[Order]:
    """The orders up to the message `mark`."""
    orders = []
    while (order := await here.worker.order()).name != "SEND" or order.content != b"mark":
        orders.append(order)
    return orders


# -- prefixes


async def test_169_the_prefix_is_stripped_and_what_has_none_is_dropped(here: Scene):
    events = text("m:one") + text("two") + text("m:") + text("M:three")
    await here.open(events + b"BINARY 3\r\nm:\xff\r\n" + MARK, grip=True)
    got = [(order.kind, order.content) for order in await until_mark(here)]
    assert got == [(TEXT, b"one"), (TEXT, b""), (BINARY, b"\xff")]


async def test_171_binary_messages_need_the_prefix_and_are_never_control(here: Scene):
    events = b"BINARY 3\r\n\x00\x01\x02\r\nBINARY 14\r\n" + b'c:{"type":"detach"}\n' + b"\r\n"
    await here.open(events + MARK, grip=True)
    assert await until_mark(here) == []


async def test_170_an_empty_prefix_passes_everything_but_control(here: Scene):
    events = text("one") + text("c:nonsense") + b"BINARY 2\r\nc:\r\n" + text("mark")
    await here.open(events, 'Sec-WebSocket-Extensions: grip; message-prefix=""')
    assert [order.content for order in await until_mark(here)] == [b"one", b"c:"]


async def test_170_a_prefix_of_ones_own(here: Scene):
    await here.open(
        text("m:one") + text(">mark"), "Sec-WebSocket-Extensions: grip; message-prefix=>"
    )
    assert await until_mark(here) == []


async def test_168_without_the_extension_nothing_is_control(here: Scene):
    await here.open(control("detach") + text("mark"))
    (order,) = await until_mark(here)
    assert order.content == b'c:{"type": "detach"}'


async def test_169_a_message_in_frames_is_judged_by_its_first(passed: frame_origin.Scene):
    peer = await passed.open(GRIP)
    peer.says(TEXT, b"m:one", final=False)
    peer.says(CONTINUATION, b" m:two")
    peer.says(TEXT, b"no", final=False)
    peer.says(CONTINUATION, b"m:no")
    peer.says(TEXT, b"m", final=False)
    peer.says(CONTINUATION, b":no")
    peer.says(TEXT, b'c:{"type":"subscribe",', final=False)
    peer.says(CONTINUATION, b'"channel":"no"}')
    peer.says(TEXT, b"m:last")
    got = [await passed.told() for _ in range(3)]
    assert [(o.content, o.more) for o in got] == [
        (b"one", True),
        (b" m:two", False),
        (b"last", False),
    ]


async def test_172_control_messages_work_in_passthrough(passed: frame_origin.Scene):
    peer = await passed.open(GRIP)
    peer.says(TEXT, b'c:{"type":"subscribe","channel":"a"}')
    assert (await passed.told("SUBSCRIBE")).channel == b"a"


# -- subscriptions


async def test_172_subscribe_and_unsubscribe_with_the_prefix_of_the_route(tmp_path: Path):
    async with scene(tmp_path, condition="a.test,prefix=p-") as here:
        events = control("subscribe", channel="a") + control("subscribe", channel="ü")
        events += control("subscribe", channel="a") + control("unsubscribe", channel="a")
        events += control("unsubscribe", channel="a") + control("unsubscribe", channel="b")
        await here.open(events + MARK, grip=True)
        got = [(order.name, order.channel) for order in await until_mark(here)]
        assert got == [
            ("SUBSCRIBE", b"p-a"),
            ("SUBSCRIBE", "p-ü".encode()),
            ("UNSUBSCRIBE", b"p-a"),
        ]


async def test_a_subscription_is_marked_with_its_order(here: Scene):
    await here.open(control("subscribe", channel="a") + MARK, grip=True)
    await until_mark(here)
    interest = here.control._interest
    assert interest.workers_for("a") == [0]
    here.worker.freed(b"a", 4, orders_count=2)  # seen before the SUBSCRIBE: it does not count
    await here.in_order()
    assert interest.workers_for("a") == [0]
    here.worker.freed(b"a", 4)
    await here.in_order()
    assert interest.workers_for("a") == []


@pytest.mark.parametrize(
    "message",
    [
        "c:",
        "c:[]",
        "c:{",
        'c:{"type":"fly"}',
        'c:{"type":"subscribe"}',
        'c:{"type":"subscribe","channel":""}',
        'c:{"type":"subscribe","channel":1}',
        'c:{"type":"keep-alive","content":"a","message-type":"smoke"}',
        'c:{"type":"send-delayed"}',
        'c:{"type":"keep-alive","message-type":"ping","content":"' + "x" * 126 + '"}',
        'c:{"type":"send-delayed","message-type":"pong","content":"' + "x" * 126 + '"}',
    ],
)
async def test_172_a_malformed_control_message_is_ignored(here: Scene, message: str):
    await here.open(text(message) + control("subscribe", channel="a") + MARK, grip=True)
    assert [order.name for order in await until_mark(here)] == ["SUBSCRIBE"]


async def test_173_the_21st_subscription_is_ignored(here: Scene):
    events = b"".join(control("subscribe", channel=str(number)) for number in range(25))
    events += control("unsubscribe", channel="0") + control("subscribe", channel="again")
    await here.open(events + MARK, grip=True)
    got = [(order.name, order.channel) for order in await until_mark(here)]
    assert got == [
        *(("SUBSCRIBE", str(number).encode()) for number in range(20)),
        ("UNSUBSCRIBE", b"0"),
        ("SUBSCRIBE", b"again"),
    ]


async def test_174_a_subscription_with_six_filters_closes_with_1011(here: Scene):
    filters = ["skip-self"] * 6
    await here.open(control("subscribe", channel="a", filters=filters) + MARK, grip=True)
    order = await here.told("CLOSE")
    assert (order.reason, order.code) == (0, 1011)
    await here.origin.asked(b"DISCONNECT\r\n")
    assert len(here.control.websockets) == 0


async def test_181_the_channels_of_a_target_need_no_extension_and_stay(tmp_path: Path):
    options = ",over_http,sub=news,sub=more"
    async with scene(tmp_path, condition="a.test,prefix=p-", options=options) as here:
        await here.open(text("mark"))
        assert [order.channel for order in await until_mark(here)] == [b"news", b"more"]


async def test_181_they_cannot_be_unsubscribed_and_count(tmp_path: Path):
    settings = {"connection_subscription_max": 2}
    async with scene(tmp_path, options=",over_http,sub=news", **settings) as here:
        events = control("unsubscribe", channel="news")
        events += control("subscribe", channel="a") + control("subscribe", channel="b")
        await here.open(events + MARK, grip=True)
        assert [(o.name, o.channel) for o in await until_mark(here)] == [
            ("SUBSCRIBE", b"news"),
            ("SUBSCRIBE", b"a"),
        ]


# -- what filters go by


def only(here: Scene) -> Any:
    return here.control.websockets._open[here.control.links.links[0]][REF]


async def test_180_metadata_and_filters_are_kept_and_removed(here: Scene):
    events = control("set-meta", name="user", value="dana") + control(
        "set-meta", name="a", value=""
    )
    events += control("subscribe", channel="a", filters=["skip-self"])
    events += control("subscribe", channel="b")
    await here.open(events + MARK, grip=True)
    await until_mark(here)
    assert only(here)._meta == {"user": "dana", "a": ""}
    assert only(here)._filters == {"a": ("skip-self",)}
    here.says(TEXT)
    events = control("set-meta", name="user", value=None) + control("set-meta", name="a")
    events += control("subscribe", channel="a", filters=[])
    (await here.origin.asked()).answer(events + MARK)
    await until_mark(here)
    assert (only(here)._meta, only(here)._filters) == (None, None)


def traits_of(order: Order) -> tuple[bytes, Traits]:
    return order.channel, Traits.decode(order.traits) if order.traits else Traits()


async def test_180_traits_are_ordered_anew_when_what_they_read_changes(here: Scene):
    events = control("set-meta", name="user", value="dana")
    events += control("subscribe", channel="a", filters=["skip-self", "no-such"])
    events += control("subscribe", channel="b")
    events += control("set-meta", name="other", value="x")
    events += control("set-meta", name="user", value="eve")
    events += control("subscribe", channel="a", filters=["var-subst"])
    events += control("subscribe", channel="a")
    await here.open(events + MARK, grip=True)
    assert [traits_of(order) for order in await until_mark(here)] == [
        (b"a", Traits(("skip-self",), {"user": "dana"})),
        (b"b", Traits()),
        (b"a", Traits(("skip-self",), {"user": "eve"})),
        (b"a", Traits(("var-subst",), {"user": "eve", "other": "x"})),
        (b"a", Traits()),
    ]


async def test_126_require_sub_knows_the_channels_that_it_is_on_now(here: Scene):
    events = control("subscribe", channel="a", filters=["require-sub"])
    events += control("subscribe", channel="b") + control("unsubscribe", channel="b")
    await here.open(events + MARK, grip=True)
    ordered = [o for o in await until_mark(here) if o.name == "SUBSCRIBE"]
    assert [traits_of(order) for order in ordered] == [
        (b"a", Traits(("require-sub",), channels=("a",))),
        (b"b", Traits()),
        (b"a", Traits(("require-sub",), channels=("a", "b"))),
        (b"a", Traits(("require-sub",), channels=("a",))),
    ]


async def test_too_much_metadata_for_filters_closes_with_1011(here: Scene):
    events = control("set-meta", name="a", value="x" * 70_000)
    await here.open(events + control("subscribe", channel="a", filters=["var-subst"]), grip=True)
    assert (await here.told("CLOSE")).code == 1011


async def test_network_filters_are_asked_beside_the_handshake(here: Scene):
    events = control("set-meta", name="url", value="check")
    events += control("subscribe", channel="a", filters=["http-check"])
    await here.open(events + MARK, grip=True)
    [order] = await until_mark(here)
    assert traits_of(order)[1].origin[-1] == "http://a.test/check"


# -- keep-alive


@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({"content": "a"}, (IDLE, 55_000, TEXT, b"a")),
        ({"content": "a", "timeout": 0}, (IDLE, 55_000, TEXT, b"a")),
        ({"content": "", "message_type": "ping"}, (0, 55_000, TEXT, b"")),
        ({"content": "ka", "message_type": "ping", "timeout": 20}, (IDLE, 20_000, PING, b"ka")),
        ({"content_bin": "AAE=", "mode": "interval"}, (INTERVAL, 55_000, TEXT, b"\x00\x01")),
        ({"content": "a", "message_type": "binary", "mode": "x"}, (IDLE, 55_000, BINARY, b"a")),
        ({}, (0, 55_000, TEXT, b"")),
    ],
)
async def test_178_a_keep_alive_is_the_workers(here: Scene, fields: dict[str, Any], order):
    await here.open(control("keep-alive", **fields) + MARK, grip=True)
    (got,) = await until_mark(here)
    assert got.name == "KEEP_ALIVE"
    assert (got.mode, got.interval_ms, got.kind, got.content) == order


# -- send-delayed


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setattr(wscontrol, "DELAY_SECONDS", seconds)


async def test_179_a_delayed_message_is_sent_after_its_time(here: Scene, soon):
    soon(0.01)
    events = control("send-delayed", content="late", message_type="binary")
    await here.open(events + text("m:first"), grip=True)
    assert (await here.told()).content == b"first"
    assert ((order := await here.told()).kind, order.content) == (BINARY, b"late")


async def test_179_flush_delayed_sends_it_now_and_once(here: Scene):
    events = control("flush-delayed") + control("send-delayed", content="late")
    events += control("flush-delayed") + control("flush-delayed")
    await here.open(events + MARK, grip=True)
    assert [order.content for order in await until_mark(here)] == [b"late"]


async def test_179_a_second_one_flushes_the_first(here: Scene):
    events = control("send-delayed", content="1") + control("send-delayed", content="2")
    await here.open(events + MARK + control("flush-delayed"), grip=True)
    assert [order.content for order in await until_mark(here)] == [b"1"]
    assert (await here.told()).content == b"2"


async def test_179_none_is_sent_into_another_message(passed: frame_origin.Scene, soon):
    soon(0.01)
    peer = await passed.open(GRIP)
    peer.says(TEXT, b'c:{"type":"send-delayed","content":"late"}')
    peer.says(TEXT, b"m:one ", final=False)
    assert (await passed.told()).content == b"one "
    conversation = passed.control.websockets._open[passed.control.links.links[0]][REF]
    conversation.ring_delayed()  # its time has come, and it is not the time
    peer.says(CONTINUATION, b"two")
    assert (await passed.told()).content == b"two"
    assert (await passed.told()).content == b"late"


async def test_a_closed_session_sends_nothing_delayed(here: Scene):
    await here.open(control("send-delayed", content="late") + b"CLOSE\r\n", grip=True)
    await here.told("CLOSE")
    assert only(here)._delayed is None


# -- detach


async def test_177_detach_closes_the_origin_and_leaves_the_client_to_the_worker(here: Scene):
    events = control("subscribe", channel="a") + control("send-delayed", content="last")
    await here.open(events + control("detach") + text("m:ignored"), grip=True)
    assert (await here.told("SUBSCRIBE")).channel == b"a"
    assert (await here.told()).content == b"last"
    await here.told("RELEASE")
    (await here.origin.asked(b"CLOSE\r\n")).answer(text("m:ignored"))
    here.worker.closed(REF)
    await here.in_order()
    assert here.origin.is_unasked
    assert len(here.control.websockets) == 0


async def test_177_detach_in_passthrough(passed: frame_origin.Scene):
    peer = await passed.open(GRIP)
    peer.says(TEXT, b'c:{"type":"detach"}')
    peer.says(TEXT, b"m:ignored")
    await passed.told("RELEASE")
    assert await peer.hears() == (8, b"", True)
    peer.says(8)
    assert await peer.is_left()
    await passed.in_order()
    assert len(passed.control.websockets) == 0


async def test_177_what_waits_for_credit_goes_before_the_release(here: Scene):
    content = bytes(300_000)
    events = b"BINARY %x\r\nm:%b\r\n" % (len(content) + 2, content)
    await here.open(events + control("detach"), grip=True)
    await here.origin.asked(b"CLOSE\r\n")
    got = b""
    while len(got) < len(content):
        order = await here.told()
        got += order.content
        here.worker.granted(REF, len(order.content))
    await here.told("RELEASE")
    await here.in_order()
    assert len(here.control.websockets) == 0
