"""WebSocket-over-HTTP between a worker and an origin, both played by the test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control import wscalls, wsover
from support.event_origin import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    REF,
    TEXT,
    Scene,
    scene,
)

ORIGIN_FAILED, ORDERED = 50, 40


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alives and retries come at once."""
    monkeypatch.setattr(wscalls, "KEEP_ALIVE_MIN_SECONDS", 0.01)
    monkeypatch.setattr(wsover, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(wsover, "RETRY_JITTER_SECONDS", 0.001)


def count(here: Scene) -> int:
    return len(here.control.websockets)


async def test_138_open_is_a_post_of_one_event(here: Scene):
    here.opens(target=b"/ws?room=1")
    asked = await here.origin.asked(b"OPEN\r\n")
    assert asked.head.startswith(b"POST /ws?room=1 HTTP/1.1\r\nHost: a.test\r\n")
    assert asked.header(b"accept") == asked.header(b"content-type") == wscalls.CONTENT_TYPE
    assert asked.header(b"sec-websocket-extensions") == b"grip"
    assert asked.header(b"content-length") == b"6"
    connection_id = (asked.header(b"connection-id") or b"").decode()
    assert str(uuid.UUID(connection_id)) == connection_id


async def test_139_later_requests_repeat_the_handshake_and_the_id(here: Scene):
    here.opens((b"Cookie", b"a=1"), (b"Origin", b"https://a.test"))
    first = await here.origin.asked()
    first.answer(b"OPEN\r\n")
    await here.worker.order("ACCEPT")
    here.says(TEXT, b"hello")
    second = await here.origin.asked(b"TEXT 5\r\nhello\r\n")
    for name in (b"cookie", b"origin", b"connection-id", b"sec-websocket-key", b"grip-feature"):
        assert first.header(name) == second.header(name) is not None


async def test_140_each_request_is_signed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 1_000_000_000.0
    monkeypatch.setattr("control.rewrite.time.time", lambda: now)
    async with scene(tmp_path, sig_key="changeme") as here:
        here.opens()
        first = await here.origin.asked()
        first.answer(b"OPEN\r\n")
        await here.worker.order("ACCEPT")
        now += 1000
        here.says(TEXT, b"hello")
        second = await here.origin.asked()
        assert None not in (signed := {first.header(b"grip-sig"), second.header(b"grip-sig")})
        assert len(signed) == 2


async def test_141_meta_connection_id_and_extensions_of_the_client_stay_out(here: Scene):
    here.opens(
        (b"Meta-User", b"mallory"),
        (b"Connection-Id", b"mine"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
        (b"Grip-Sig", b"forged"),
        (b"Accept", b"text/html"),
    )
    asked = await here.origin.asked()
    assert b"mallory" not in asked.head
    assert b"mine" not in asked.head
    assert b"forged" not in asked.head
    assert b"permessage-deflate" not in asked.head
    assert asked.head.lower().count(b"\r\naccept:") == 1
    assert b"Upgrade" not in asked.head


async def test_142_open_accepts_and_further_events_are_delivered(here: Scene):
    accepted = await here.open(
        b"TEXT 5\r\nhello\r\nBINARY 2\r\n\x00\xff\r\nTEXT 0\r\n\r\n",
        "Sec-WebSocket-Protocol: chat",
        "Keep-Alive-Interval: 60",
        "Set-Meta-User: dana",
        "X-One: 1",
    )
    assert accepted.ref == REF
    assert accepted.headers == [(b"Sec-WebSocket-Protocol", b"chat"), (b"X-One", b"1")]
    told = [await here.told() for _ in range(3)]
    assert [(order.kind, order.content) for order in told] == [
        (TEXT, b"hello"),
        (BINARY, b"\x00\xff"),
        (TEXT, b""),
    ]


async def test_143_a_refusal_is_passed_on_with_headers_and_body(here: Scene):
    here.opens()
    asked = await here.origin.asked()
    asked.answer(b"not you", "X-Why: 1", status="403 No", typed=False)
    order = await here.told("RESPOND")
    assert (order.status, order.reason, order.body) == (403, b"No", b"not you")
    assert order.headers == [(b"X-Why", b"1")]
    assert count(here) == 0


@pytest.mark.parametrize("body", [b"", b"TEXT 1\r\na\r\n", b"OPEN", b"TEXT x\r\n"])
async def test_144_an_answer_without_open_is_502(here: Scene, body: bytes):
    here.opens()
    (await here.origin.asked()).answer(body)
    order = await here.told("RESPOND")
    assert (order.status, order.body) == (502, b"Error while proxying to origin.\n")
    assert order.headers == []  # a refused handshake has no Content-Type


@pytest.mark.usefixtures("impatient")
async def test_145_with_keep_alive_an_empty_answer_leaves_the_handshake_pending(here: Scene):
    here.opens()
    first = await here.origin.asked(b"OPEN\r\n")
    first.answer(b"", "Keep-Alive-Interval: 1")
    second = await here.origin.asked(b"OPEN\r\n")
    assert first.header(b"connection-id") == second.header(b"connection-id")
    second.answer(b"OPEN\r\n", "Keep-Alive-Interval: 0")
    assert (await here.worker.order()).name == "ACCEPT"


async def test_146_a_content_type_with_parameters_is_refused(here: Scene):
    here.opens()
    typed = "Content-Type: application/websocket-events; charset=utf-8"
    (await here.origin.asked()).answer(b"OPEN\r\n", typed, typed=False)
    order = await here.told("RESPOND")
    assert (order.status, order.body) == (200, b"OPEN\r\n")


async def test_147_messages_are_events(here: Scene):
    await here.open()
    here.says(TEXT, b"x" * 26)
    (await here.origin.asked(b"TEXT 1a\r\n" + b"x" * 26 + b"\r\n")).answer()
    here.says(BINARY, b"")
    (await here.origin.asked(b"BINARY 0\r\n\r\n")).answer()
    here.says(TEXT, b"one ", more=True)
    here.says(PING, b"between")
    (await here.origin.asked(b"PING 7\r\nbetween\r\n")).answer()
    here.says(TEXT, b"two ", more=True)
    here.says(TEXT, b"three")
    (await here.origin.asked(b"TEXT d\r\none two three\r\n")).answer()


async def test_148_what_comes_while_a_request_is_out_goes_into_the_next(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked(b"TEXT 1\r\n1\r\n")
    here.says(TEXT, b"2")
    here.says(PING)
    here.says(BINARY, b"3")
    await here.in_order()
    assert here.origin.is_unasked
    first.answer()
    await here.origin.asked(b"TEXT 1\r\n2\r\nPING\r\nBINARY 1\r\n3\r\n")


async def test_148_a_request_has_at_most_200_000_bytes(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    here.says(BINARY, bytes(120_000))
    here.says(BINARY, bytes(120_000))
    await here.in_order()
    first.answer()
    second = await here.origin.asked(b"BINARY 1d4c0\r\n" + bytes(120_000) + b"\r\n")
    second.answer()
    await here.origin.asked(b"BINARY 1d4c0\r\n" + bytes(120_000) + b"\r\n")


async def test_149_one_event_a_request(tmp_path: Path):
    async with scene(tmp_path, options=",over_http,one_event") as here:
        await here.open()
        here.says(TEXT, b"1")
        first = await here.origin.asked(b"TEXT 1\r\n1\r\n")
        for content in (b"2", b""):
            here.says(TEXT, content)
        here.says(CLOSE)
        await here.in_order()
        first.answer()
        (await here.origin.asked(b"TEXT 1\r\n2\r\n")).answer()
        (await here.origin.asked(b"TEXT 0\r\n\r\n")).answer()
        (await here.origin.asked(b"CLOSE\r\n")).answer(b"CLOSE\r\n")
        await here.told("CLOSE")


async def test_150_151_pings_and_pongs_are_events(here: Scene):
    await here.open()
    here.says(PING, b"ka")
    (await here.origin.asked(b"PING 2\r\nka\r\n")).answer(b"PONG 2\r\nka\r\nPING\r\n")
    assert ((order := await here.told()).kind, order.content) == (PONG, b"ka")
    assert ((order := await here.told()).kind, order.content) == (PING, b"")
    here.says(PONG)
    await here.origin.asked(b"PONG\r\n")


async def test_152_set_meta_is_echoed(here: Scene):
    await here.open(b"", "Set-Meta-User: dana", "set-meta-room: 1", "Set-Meta-: nothing")
    here.says(TEXT, b"1")
    asked = await here.origin.asked()
    assert (asked.header(b"meta-user"), asked.header(b"meta-room")) == (b"dana", b"1")
    assert b"nothing" not in asked.head
    asked.answer(b"", "Set-Meta-User: ", "Set-Meta-Room: 2")
    here.says(TEXT, b"2")
    asked = await here.origin.asked()
    assert (asked.header(b"meta-user"), asked.header(b"meta-room")) == (None, b"2")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60", 60), ("19", 20), ("1", 20), ("0", 0), ("-5", 0), ("soon", 0), ("9" * 12, 4_000_000)],
)
async def test_153_an_interval_below_20_acts_as_20_and_0_disables(here: Scene, value, seconds):
    await here.open(b"", "Keep-Alive-Interval: 100")
    here.says(TEXT, b"1")
    (await here.origin.asked()).answer(b"PING\r\n", f"Keep-Alive-Interval: {value}")
    await here.told()
    conversation = here.control.websockets._open[here.control.links.links[0]][REF]
    assert conversation.keep_alive_seconds == seconds


@pytest.mark.usefixtures("impatient")
async def test_153_a_keep_alive_is_an_empty_request(here: Scene):
    await here.open(b"", "Keep-Alive-Interval: 0.01")
    here.says(TEXT, b"1")
    (await here.origin.asked()).answer(b"", "Keep-Alive-Interval: 1")
    asked = await here.origin.asked(b"")
    assert asked.header(b"content-length") == b"0"
    asked.answer(b"TEXT 1\r\na\r\n")
    assert (await here.told()).content == b"a"
    await here.origin.asked(b"")


async def test_161_what_is_not_accepted_is_offered_again(here: Scene):
    await here.open()
    here.says(TEXT, b"[foo][hello")
    (await here.origin.asked()).answer(b"", "Content-Bytes-Accepted: 5")
    await here.in_order()
    assert here.origin.is_unasked  # until there is something new
    here.says(TEXT, b" world]")
    asked = await here.origin.asked(b"TEXT 6\r\n[hello\r\nTEXT 7\r\n world]\r\n")
    assert asked.header(b"content-bytes-replayed") == b"6"
    asked.answer()
    here.says(TEXT, b"!")
    asked = await here.origin.asked(b"TEXT 1\r\n!\r\n")
    assert asked.header(b"content-bytes-replayed") is None


async def test_161_a_close_behind_what_is_not_accepted_is_said_later(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    here.says(TEXT, b"abc")
    here.says(CLOSE, b"\x03\xe8")
    await here.in_order()
    first.answer()
    second = await here.origin.asked(b"TEXT 3\r\nabc\r\nCLOSE 2\r\n\x03\xe8\r\n")
    second.answer(b"", "Content-Bytes-Accepted: 1")
    await here.in_order()
    here.worker.signalled(REF, 1)
    await here.in_order()
    assert here.origin.is_unasked


async def test_165_a_published_refresh_makes_a_request(here: Scene):
    await here.open()
    here.worker.signalled(REF, 1)
    first = await here.origin.asked(b"")
    here.worker.signalled(REF, 1)
    await here.in_order()
    first.answer(b"TEXT 1\r\na\r\n")
    assert (await here.told()).content == b"a"
    (await here.origin.asked(b"")).answer()
    await here.in_order()
    assert here.origin.is_unasked


async def test_164_a_client_may_not_send_events_itself(here: Scene):
    for content_type in (b"application/websocket-events", b"Application/WebSocket-Events; a=b"):
        here.worker.opened(
            REF,
            method=b"POST",
            headers=[(b"Host", b"a.test"), (b"Content-Type", content_type)],
            body=b"OPEN\r\n",
        )
        order = await here.told("RESPOND")
        assert order.status == 403
        assert order.body == b"Client not allowed to send WebSocket events directly.\n"


async def test_a_message_of_more_than_200_000_bytes_closes_with_1009(here: Scene):
    await here.open()
    for _ in range(4):
        here.says(BINARY, bytes(60_000), more=True)
    order = await here.told("CLOSE")
    assert (order.reason, order.code) == (0, 1009)
    await here.origin.asked(b"DISCONNECT\r\n")
    assert count(here) == 0


async def test_too_many_empty_messages_close_the_session(
    here: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wsover, "EVENTS_MAX", 10)
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    for _ in range(12):
        here.says(TEXT, b"")
    assert (await here.told("CLOSE")).code == 1009
    first.answer()
    await here.origin.asked(b"DISCONNECT\r\n")


async def test_what_the_origin_has_taken_is_granted(here: Scene):
    await here.open()
    for _ in range(2):
        here.says(BINARY, bytes(20_000))
        (await here.origin.asked()).answer()
    assert (await here.told("GRANT")).count_bytes == 40_000


async def test_a_long_answer_waits_for_credit_and_then_the_next_request_is_made(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    here.says(TEXT, b"2")
    content = bytes(range(256)) * 2000
    first.answer(b"BINARY %x\r\n%b\r\nTEXT 1\r\na\r\n" % (len(content), content))
    got = [await here.told() for _ in range(4)]
    await here.in_order()
    assert here.origin.is_unasked
    while got[-1].content != b"a":
        here.worker.granted(REF, len(got[-1].content))
        got.append(await here.told())
    assert b"".join(order.content for order in got[:-1]) == content
    assert [order.more for order in got] == [True] * (len(got) - 2) + [False, False]
    await here.origin.asked(b"TEXT 1\r\n2\r\n")


async def test_a_route_without_grip_offers_no_extension(tmp_path: Path):
    async with scene(tmp_path, condition="a.test,no_grip") as here:
        here.opens()
        asked = await here.origin.asked()
        assert b"grip" not in asked.head.lower()
        asked.answer(b"OPEN\r\nTEXT 3\r\nc:x\r\n", "Sec-WebSocket-Extensions: grip")
        await here.worker.order("ACCEPT")
        assert (await here.told()).content == b"c:x"
