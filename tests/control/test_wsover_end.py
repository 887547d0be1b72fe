"""How WebSocket-over-HTTP ends: by the client, by the origin, by a failure of either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control import wscalls, wsover
from support.event_origin import (
    CLOSE,
    REF,
    TEXT,
    Scene,
    scene,
)
from support.fake_worker import eventually

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


async def test_154_a_close_of_the_client_is_answered_by_the_origin(here: Scene):
    await here.open()
    here.says(CLOSE, b"\x03\xe9bye")
    asked = await here.origin.asked(b"CLOSE 5\r\n\x03\xe9bye\r\n")
    asked.answer(b"TEXT 4\r\nlast\r\nCLOSE 5\r\n\x03\xe8end\r\nTEXT 1\r\nx\r\n")
    assert (await here.told()).content == b"last"
    order = await here.told("CLOSE")
    assert (order.reason, order.code, order.text) == (0, 1000, b"end")
    here.worker.closed(REF)
    await here.in_order()
    assert here.origin.is_unasked
    assert count(here) == 0


async def test_155_a_close_without_answer_drops_the_client(here: Scene):
    await here.open()
    here.says(CLOSE)
    (await here.origin.asked(b"CLOSE\r\n")).answer(b"TEXT 1\r\na\r\n")
    await here.told()
    assert (await here.told("CLOSE")).reason == ORDERED
    assert count(here) == 0


@pytest.mark.usefixtures("impatient")
async def test_155_with_keep_alive_the_close_is_said_again(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    here.says(CLOSE, b"\x03\xe8")
    first.answer(b"", "Keep-Alive-Interval: 1")
    for _ in range(2):
        (await here.origin.asked(b"CLOSE 2\r\n\x03\xe8\r\n")).answer()
    (await here.origin.asked(b"CLOSE 2\r\n\x03\xe8\r\n")).answer(b"CLOSE\r\n")
    assert (await here.told("CLOSE")).code == 0


@pytest.mark.parametrize(
    ("event", "code", "text"),
    [
        (b"CLOSE\r\n", 0, b""),
        (b"CLOSE 6\r\n\x0f\xa0gone\r\n", 4000, b"gone"),
        (b"CLOSE 2\r\n\x00\x00\r\n", 0, b""),
        (b"CLOSE 2\r\n\x03\xee\r\n", 0, b""),  # 1006 may not stand in a frame
    ],
)
async def test_156_the_origin_closes(here: Scene, event: bytes, code: int, text: bytes):
    await here.open(event + b"TEXT 7\r\nignored\r\n")
    order = await here.told("CLOSE")
    assert (order.reason, order.code, order.text) == (0, code, text)
    here.says(TEXT, b"ignored")
    here.says(CLOSE, b"\x0f\xa0")
    here.worker.closed(REF)
    (await here.origin.asked(b"CLOSE 2\r\n\x0f\xa0\r\n")).answer(b"TEXT 7\r\nignored\r\n")
    await here.in_order()
    assert here.origin.is_unasked


async def test_157_a_client_that_vanishes_makes_one_disconnect(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    here.says(TEXT, b"discarded")
    here.worker.closed(REF)
    await here.in_order()
    assert here.origin.is_unasked  # the request that is out is completed first
    first.answer(b"TEXT 4\r\nlate\r\n")
    asked = await here.origin.asked(b"DISCONNECT\r\n")
    assert asked.header(b"connection-id") == first.header(b"connection-id")
    asked.answer(b"TEXT 7\r\nignored\r\n")
    await here.in_order()
    assert here.origin.is_unasked
    assert count(here) == 0


async def test_157_not_if_the_origin_has_just_closed(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    here.worker.closed(REF)
    await here.in_order()
    first.answer(b"CLOSE\r\n")
    await here.in_order()
    assert here.origin.is_unasked


async def test_157_a_worker_that_is_lost_has_no_clients_any_more(here: Scene):
    await here.open()
    here.worker.writer.close()
    await here.origin.asked(b"DISCONNECT\r\n")
    assert count(here) == 0


@pytest.mark.parametrize("event", [b"DISCONNECT\r\n", b"OPEN\r\n"])
async def test_158_disconnect_drops_the_client(here: Scene, event: bytes):
    await here.open(event)
    order = await here.told("CLOSE")
    assert (order.reason, order.code) == (ORDERED, 0)
    here.worker.closed(REF)
    await here.in_order()
    assert here.origin.is_unasked


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b"", {"status": "500 No"}),
        (b"", {"typed": False}),
        (b"TEXT", {}),
        (b"TEXT zz\r\n", {}),
        (b"TEXT 1\r\n\xff\r\n", {}),
        (b"PING 7e\r\n" + bytes(126) + b"\r\n", {}),
        (b"TEXT f4241\r\n" + b"a" * 1_000_001, {}),
    ],
)
async def test_160_163_a_bad_answer_drops_the_client_without_disconnect(here: Scene, body, more):
    await here.open()
    here.says(TEXT, b"1")
    (await here.origin.asked()).answer(body, **more)
    order = await here.told("CLOSE")
    assert (order.reason, order.code) == (ORIGIN_FAILED, 0)
    here.worker.closed(REF)
    await here.in_order()
    assert here.origin.is_unasked
    assert count(here) == 0


async def test_163_events_that_are_not_known_are_ignored(here: Scene):
    await here.open(b"FOO 1\r\na\r\nBAR\r\nTEXT 1\r\nb\r\n")
    assert (await here.told()).content == b"b"


async def test_160_an_origin_that_hangs_up_drops_the_client(here: Scene):
    await here.open()
    here.says(TEXT, b"1")
    first = await here.origin.asked()
    first.hang_up()
    # The connection had been used before: it may have been dead already.
    second = await here.origin.asked(first.body)
    second.hang_up()
    assert (await here.told("CLOSE")).reason == ORIGIN_FAILED


@pytest.mark.parametrize("accepted", [12, -1])
async def test_162_more_accepted_than_offered_drops_the_client(here: Scene, accepted: int):
    await here.open()
    here.says(TEXT, b"[foo][hello")
    (await here.origin.asked()).answer(b"", f"Content-Bytes-Accepted: {accepted}")
    assert (await here.told("CLOSE")).reason == ORIGIN_FAILED


async def test_176_a_published_close_is_a_bare_close_for_the_origin(here: Scene):
    await here.open()
    here.worker.signalled(REF, 2)
    (await here.origin.asked(b"CLOSE\r\n")).answer(b"TEXT 7\r\nignored\r\n")
    here.says(CLOSE, b"\x03\xe8")
    here.worker.closed(REF, 41)
    await here.in_order()
    assert here.origin.is_unasked
    assert count(here) == 0


@pytest.mark.usefixtures("impatient")
async def test_159_connect_failures_are_retried_with_the_same_body(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.open()
        destinations = here.control.origins.destinations
        connect, failures = destinations.connect, 0

        async def failing(*args, **more):
            nonlocal failures
            if failures < 5:
                failures += 1
                raise ConnectionRefusedError("refused")
            return await connect(*args, **more)

        destinations.connect = failing
        here.says(TEXT, b"1")
        (await here.origin.asked(b"TEXT 1\r\n1\r\n")).answer(b"TEXT 1\r\na\r\n")
        assert (await here.told()).content == b"a"
        assert failures == 5


@pytest.mark.usefixtures("impatient")
async def test_159_after_five_retries_the_client_is_dropped(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.open()
        attempts = 0

        async def failing(*args, **more):
            nonlocal attempts
            attempts += 1
            raise ConnectionRefusedError("refused")

        here.control.origins.destinations.connect = failing
        here.says(TEXT, b"1")
        assert (await here.told("CLOSE")).reason == ORIGIN_FAILED
        assert attempts == 6
        await eventually(lambda: count(here) == 0)


async def test_166_a_target_that_refuses_connections_is_passed_over(tmp_path: Path):
    async with scene(tmp_path, condition="a.test 127.0.0.1:1,over_http") as here:
        await here.open()


async def test_166_without_a_target_that_connects_it_is_502(tmp_path: Path):
    refused = "a.test,debug 127.0.0.1:1,over_http 127.0.0.1:1 127.0.0.1:1"
    async with scene(tmp_path, condition=refused, port=2) as here:
        here.opens()
        order = await here.told("RESPOND")
        assert order.status == 502
        assert order.body.startswith(b"Unable to connect to any targets. Tried: 127.0.0.1:1, ")
