"""Passthrough between a worker and a WebSocket origin, both played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control import wspass
from control.link.packets import LINK_WINDOW
from support.event_origin import BINARY, CLOSE, PING, PONG, REF, TEXT
from support.fake_worker import eventually
from support.frame_origin import CONTINUATION, GRIP, Scene, frame, scene

ORIGIN_FAILED = 50
OP_CLOSE, OP_PING, OP_PONG = 8, 9, 10


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


def count(here: Scene) -> int:
    return len(here.control.websockets)


async def test_167_the_origin_is_asked_for_a_websocket_of_our_own(here: Scene):
    peer = await here.opens((b"Cookie", b"a=1"), (b"Sec-WebSocket-Extensions", b"x-other"))
    assert peer.head.startswith(b"GET /ws HTTP/1.1\r\nHost: a.test\r\n")
    assert peer.header(b"upgrade") == [b"websocket"]
    assert peer.header(b"connection") == [b"Upgrade"]
    assert peer.header(b"sec-websocket-version") == [b"13"]
    assert peer.header(b"sec-websocket-extensions") == [b"grip"]
    assert peer.header(b"cookie") == [b"a=1"]
    assert len(peer.header(b"grip-feature")) == 1
    (key,) = peer.header(b"sec-websocket-key")
    assert key != b"dGhlIHNhbXBsZSBub25jZQ=="
    peer.accepts(GRIP, "Sec-WebSocket-Protocol: chat", "X-One: 1")
    accepted = await here.worker.order("ACCEPT")
    assert accepted.headers == [(b"Sec-WebSocket-Protocol", b"chat"), (b"X-One", b"1")]


async def test_207_a_tls_client_is_named_wss(here: Scene):
    peer = await here.opens(tls=True)
    assert peer.header(b"x-forwarded-proto") == [b"wss"]


async def test_a_route_without_grip_offers_no_extension(tmp_path: Path):
    async with scene(tmp_path, condition="a.test,no_grip") as here:
        peer = await here.opens()
        assert b"grip" not in peer.head.lower()
        peer.accepts(GRIP)
        await here.worker.order("ACCEPT")
        peer.says(TEXT, b"c:{}")
        assert (await here.told()).content == b"c:{}"


async def test_an_answer_that_is_no_101_is_passed_on(here: Scene):
    peer = await here.opens()
    peer.writer.write(
        b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nno!"
    )
    order = await here.told("RESPOND")
    assert (order.status, order.reason, order.body) == (401, b"Who", b"no!")
    assert order.headers == [(b"WWW-Authenticate", b"Basic")]


@pytest.mark.parametrize(
    ("headers", "accept"),
    [((), "bad"), (("Sec-WebSocket-Extensions: permessage-deflate",), "")],
)
async def test_a_101_that_is_wrong_is_502(here: Scene, headers, accept):
    peer = await here.opens()
    peer.accepts(*headers, accept=accept)
    order = await here.told("RESPOND")
    assert (order.status, order.headers) == (502, [])
    assert await peer.is_left()


async def test_a_101_that_does_not_upgrade_is_502(here: Scene):
    peer = await here.opens()
    peer.writer.write(f"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {peer.accept}\r\n\r\n".encode())
    assert (await here.told("RESPOND")).status == 502


async def test_a_target_that_refuses_connections_is_passed_over(tmp_path: Path):
    async with scene(tmp_path, condition="a.test 127.0.0.1:1") as here:
        await here.open()


async def test_without_an_origin_it_is_502(tmp_path: Path):
    async with scene(tmp_path, condition="b.test") as here:
        here.worker.opened(REF, headers=[(b"Host", b"c.test")], ws=True)
        order = await here.told("RESPOND")
        assert (order.status, order.body, order.headers) == (502, b"Route not found\n", [])


async def test_a_client_that_leaves_while_the_origin_thinks_abandons_it(here: Scene):
    peer = await here.opens()
    here.worker.closed(REF)
    assert await peer.is_left()


async def test_168_without_the_extension_everything_passes(here: Scene):
    peer = await here.open()
    for content in (b"hello", b'c:{"type":"detach"}', b"m:x", b""):
        peer.says(TEXT, content)
        order = await here.told()
        assert (order.kind, order.content, order.more) == (TEXT, content, False)
    peer.says(BINARY, b"\x00\xff")
    assert ((order := await here.told()).kind, order.content) == (BINARY, b"\x00\xff")


async def test_what_comes_with_the_101_is_not_lost(here: Scene):
    peer = await here.opens()
    peer.accepts(behind=frame(TEXT, b"one") + frame(TEXT, b"two")[:3])
    await here.worker.order("ACCEPT")
    assert (await here.told()).content == b"one"
    peer.writer.write(frame(TEXT, b"two")[3:])
    assert (await here.told()).content == b"two"


async def test_messages_of_the_client_reach_the_origin(here: Scene):
    peer = await here.open()
    here.says(TEXT, b"hello")
    assert await peer.hears() == (TEXT, b"hello", True)
    here.says(BINARY, b"")
    assert await peer.hears() == (BINARY, b"", True)
    here.says(TEXT, b"one ", more=True)
    here.says(PING, b"ka")
    here.says(TEXT, b"two ", more=True)
    here.says(TEXT, b"three")
    assert await peer.hears() == (TEXT, b"one ", False)
    assert await peer.hears() == (OP_PING, b"ka", True)
    assert await peer.hears() == (CONTINUATION, b"two ", False)
    assert await peer.hears() == (CONTINUATION, b"three", True)
    here.says(BINARY, b"x" * 300)
    assert await peer.hears() == (BINARY, b"x" * 300, True)


async def test_pings_and_pongs_pass_both_ways_with_their_content(here: Scene):
    peer = await here.open()
    peer.says(OP_PING, b"ka")
    assert ((order := await here.told()).kind, order.content) == (PING, b"ka")
    here.says(PONG, b"ka")
    assert await peer.hears() == (OP_PONG, b"ka", True)
    peer.says(OP_PONG)
    assert (await here.told()).kind == PONG


async def test_a_message_in_frames_stays_in_frames(here: Scene):
    peer = await here.open()
    peer.says(TEXT, "ü".encode()[:1], final=False)
    peer.says(OP_PING, b"between")
    peer.says(CONTINUATION, "ü".encode()[1:])
    got = [await here.told() for _ in range(3)]
    assert [(o.kind, o.content, o.more) for o in got] == [
        (TEXT, b"\xc3", True),
        (PING, b"between", False),
        (TEXT, b"\xbc", False),
    ]


async def test_a_long_message_of_the_origin_passes_as_the_client_takes_it(here: Scene):
    peer = await here.open()
    content = bytes(range(256)) * 8192  # 2 MiB
    peer.says(BINARY, content)
    peer.says(TEXT, b"end")
    got = []
    while sum(len(order.content) for order in got) < LINK_WINDOW:
        got.append(await here.told())
    await here.in_order()  # nothing more without credit
    while (last := got[-1]).more:
        here.worker.granted(REF, len(last.content))
        got.append(await here.told())
    assert b"".join(order.content for order in got) == content
    here.worker.granted(REF, 100)
    assert (await here.told()).content == b"end"


async def test_a_long_message_of_the_client_is_granted_as_the_origin_takes_it(here: Scene):
    peer = await here.open()
    piece = bytes(60_000)
    reading = asyncio.create_task(_hear_all(peer, 40))
    unsent, credit = 40, LINK_WINDOW
    while unsent:
        if credit < len(piece):
            credit += (await here.told("GRANT")).count_bytes
            continue
        unsent, credit = unsent - 1, credit - len(piece)
        here.says(BINARY, piece, more=unsent > 0)
    frames = await reading
    assert [opcode for opcode, _, _ in frames] == [BINARY] + [CONTINUATION] * 39
    assert sum(len(content) for _, content, _ in frames) == 40 * len(piece)
    assert [final for *_, final in frames] == [False] * 39 + [True]


async def _hear_all(peer, count: int):
    return [await peer.hears() for _ in range(count)]


async def test_an_origin_that_does_not_read_makes_the_client_wait(here: Scene):
    peer = await here.open()
    peer.reader._limit = 1  # its stream reader stops reading at twice as much
    granted = sent = 0
    while True:
        while sent - granted + 60_000 <= LINK_WINDOW:
            here.says(BINARY, bytes(60_000))
            sent += 60_000
        try:
            async with asyncio.timeout(0.3):
                granted += (await here.told("GRANT")).count_bytes
        except TimeoutError:
            break
        assert sent < 64 * 1024 * 1024
    assert sent - granted <= LINK_WINDOW


async def test_183_a_close_of_the_client_is_passed_on_and_answered(here: Scene):
    peer = await here.open()
    here.says(CLOSE, b"\x0f\xa0bye")
    assert await peer.hears() == (OP_CLOSE, b"\x0f\xa0bye", True)
    peer.says(TEXT, b"last")
    peer.says(OP_CLOSE, b"\x0f\xa1end")
    assert (await here.told()).content == b"last"
    order = await here.told("CLOSE")
    assert (order.reason, order.code, order.text) == (0, 4001, b"end")
    assert await peer.is_left()
    assert count(here) == 0


async def test_183_a_close_of_the_origin_is_passed_on_and_answered(here: Scene):
    peer = await here.open()
    peer.says(OP_CLOSE, b"\x03\xe9away")
    peer.says(TEXT, b"ignored")
    order = await here.told("CLOSE")
    assert (order.reason, order.code, order.text) == (0, 1001, b"away")
    here.says(TEXT, b"ignored")
    here.says(CLOSE, b"\x03\xe9")
    assert await peer.hears() == (OP_CLOSE, b"\x03\xe9", True)
    assert await peer.is_left()
    here.worker.closed(REF)
    await here.in_order()
    assert count(here) == 0


async def test_an_empty_close_has_no_code(here: Scene):
    peer = await here.open()
    peer.says(OP_CLOSE)
    assert ((order := await here.told("CLOSE")).code, order.text) == (0, b"")


async def test_an_origin_that_does_not_answer_a_close_is_cut_off(
    here: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wspass, "CLOSE_SECONDS", 0.01)
    peer = await here.open()
    here.says(CLOSE)
    assert (await here.told("CLOSE")).reason == ORIGIN_FAILED
    assert await peer.is_left()


async def test_an_origin_that_breaks_off_drops_the_client(here: Scene):
    peer = await here.open()
    peer.says(TEXT, b"last")
    peer.writer.close()
    assert (await here.told()).content == b"last"
    order = await here.told("CLOSE")
    assert (order.reason, order.code) == (ORIGIN_FAILED, 0)
    assert count(here) == 0


@pytest.mark.parametrize("is_lost", [True, False])
async def test_a_client_that_vanishes_cuts_the_origin_off(here: Scene, is_lost: bool):
    peer = await here.open()
    if is_lost:
        here.worker.writer.close()
    else:
        here.worker.closed(REF)
    assert await peer.is_left()
    assert count(here) == 0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(3), 1002),
        (b"\xc1\x00", 1002),
        (b"\x81\x80abcd", 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3", final=False) + frame(CONTINUATION, b"x"), 1007),
        (frame(OP_CLOSE, b"\x03"), 1002),
        (frame(OP_CLOSE, b"\x03\xed"), 1002),
        (frame(OP_PING, bytes(126)), 1002),
    ],
)
async def test_an_origin_that_breaks_the_protocol_is_told_so(here: Scene, wrong: bytes, code: int):
    peer = await here.open()
    peer.writer.write(wrong)
    opcode, content, _ = await peer.hears()
    assert (opcode, int.from_bytes(content, "big")) == (OP_CLOSE, code)
    assert await peer.is_left()
    while (order := await here.worker.order()).name == "SEND":
        pass
    assert (order.name, order.reason) == ("CLOSE", ORIGIN_FAILED)


async def test_176_a_published_close_closes_the_origin_without_a_code(here: Scene):
    peer = await here.open()
    here.worker.signalled(REF, 2)
    assert await peer.hears() == (OP_CLOSE, b"", True)
    here.says(CLOSE, b"\x03\xe8")
    here.worker.closed(REF, 41)
    peer.says(TEXT, b"ignored")
    peer.says(OP_CLOSE)
    assert await peer.is_left()
    await here.in_order()
    assert count(here) == 0


async def test_control_that_stops_hangs_up(here: Scene):
    peer = await here.open()
    here.control.websockets.stop()
    assert await peer.is_left()
    await eventually(lambda: count(here) == 0)
