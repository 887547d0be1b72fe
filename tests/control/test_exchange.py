"""One request's life: pure decisions, and whole exchanges between a worker and an origin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.errors import InstructError, OriginError
from control.exchange import (
    InstructTooLarge,
    decide_refusal,
)
from control.grip.instruct import Channel, HoldMode, Instruct, NextLink, Response
from control.holds import decide_channels, decide_conflicts, decide_end
from support.fake_worker import eventually
from support.scene import REF, WINDOW, Scene, answer, header, scene


def instruct(mode: HoldMode | None = HoldMode.RESPONSE, *channels: Channel, **more) -> Instruct:
    return Instruct(Response(200, b"OK", []), mode, channels, **more)


# -- decisions


def test_channels_have_the_prefix_of_the_route():
    channels = (Channel("a", "1"), Channel("b"))
    assert decide_channels(instruct(HoldMode.STREAM, *channels), "p-", 20) == [
        ("p-a", "1"),
        ("p-b", None),
    ]


def test_181_the_channels_of_a_target_come_first_and_have_no_prefix():
    decided = decide_channels(instruct(HoldMode.STREAM, Channel("a")), "p-", 2, ["news"])
    assert decided == [("news", None), ("p-a", None)]


def test_channels_over_the_limit_are_cut_off_the_end():
    channels = [Channel(str(number)) for number in range(25)]
    decided = decide_channels(instruct(HoldMode.STREAM, *channels), "", 20)
    assert [name for name, _ in decided] == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    ("prev_id", "last_id", "conflicts"),
    [("1", "1", []), ("1", "2", ["a"]), ("1", None, []), (None, "2", [])],
)
def test_90_a_conflict_is_a_known_last_id_other_than_the_prev_id(prev_id, last_id, conflicts):
    assert decide_conflicts([("a", prev_id)], {"a": last_id}.get) == conflicts


def test_69_a_stream_with_prev_id_and_no_next_link_ends():
    channels = [("a", "1")]
    assert decide_end(instruct(HoldMode.STREAM), channels) == (
        "channel 'a' specifies prev-id, but no next link found"
    )
    assert decide_end(instruct(HoldMode.STREAM, next_link=NextLink("/n")), channels) is None
    assert decide_end(instruct(HoldMode.STREAM), [("a", None)]) is None
    assert decide_end(instruct(HoldMode.RESPONSE), channels) is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OriginError("x", tried=["a:80", "b:81"]),
            "Unable to connect to any targets. Tried: a:80, b:81",
        ),
        (OriginError("x"), "Error while proxying to origin."),
        (InstructError("why"), "Failed to parse accept instructions: why"),
        (InstructTooLarge("a:80"), "GRIP instruct response too large from a:80"),
    ],
)
def test_13_reasons_are_told_in_debug_mode_only(error, text):
    told = decide_refusal(error, is_debug=True)
    assert (told.status, told.text) == (502, text + "\n")
    kept = decide_refusal(error, is_debug=False)
    assert (kept.status, kept.text) == (502, "Error while proxying to origin.\n")


# -- conversations


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


async def test_1_an_answer_that_is_not_grip_is_passed_on(plain: Scene):
    order = await plain.ask(
        answer("X-One: 1", "Connection: keep-alive", body=b"hello", status="201 Made"),
        target=b"/a?b",
    )
    assert order.name == "RESPOND"
    assert not order.more
    assert (order.ref, order.status, order.reason) == (REF, 201, b"Made")
    assert order.headers == [(b"X-One", b"1")]
    assert (order.length, order.body) == (5, b"hello")
    assert plain.origin.heads[0].startswith(b"GET /a?b HTTP/1.1\r\nHost: a.test\r\n")


async def test_the_answer_to_head_has_a_length_and_no_body(plain: Scene):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    order = await plain.ask(head, method=b"HEAD")
    assert (order.name, order.length, order.body, order.more) == ("RESPOND", 9, b"", False)


async def test_an_answer_without_length_ends_when_the_origin_hangs_up(plain: Scene):
    plain.origin.hangs_up = True
    order = await plain.ask(b"HTTP/1.1 200 OK\r\n\r\nall")
    assert (order.name, order.more, order.length) == ("RESPOND", True, -1)
    assert (await plain.worker.order("SEND")).content == b"all"
    assert (await plain.worker.order("FINISH")).ref == REF


async def test_an_answer_waits_for_credit(plain: Scene):
    body = bytes(1_000_000)
    order = await plain.ask(answer(body=body))
    assert (order.length, order.body, order.more) == (len(body), b"", True)
    sent = 0
    while sent < WINDOW:
        sent += len((await plain.worker.order("SEND")).content)
    assert sent == WINDOW
    plain.worker.granted(REF, 1000)
    assert len((await plain.worker.order("SEND")).content) == 1000
    plain.worker.granted(REF, len(body))
    sent += 1000
    while (order := await plain.worker.order()).name == "SEND":
        sent += len(order.content)
    assert order.name == "FINISH"
    assert sent == len(body)


async def test_14_an_answer_that_breaks_off_is_cut(plain: Scene):
    plain.origin.hangs_up = True
    order = await plain.ask(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    assert (order.name, order.more, order.length) == ("RESPOND", True, 10)
    assert (await plain.worker.order("SEND")).content == b"hello"
    assert (await plain.worker.order("CLOSE")).reason == 50


async def test_a_request_body_is_passed_on_and_credit_is_granted(plain: Scene):
    plain.origin.answers.append(answer())
    size = 600_000
    plain.worker.opened(REF, method=b"PUT", body=bytes(1000), length=size, more=True)
    left, credit = size - 1000, WINDOW - 1000
    while left:
        piece = min(left, credit, 50_000)
        if piece == 0:
            credit += (await plain.worker.order("GRANT")).count_bytes
            continue
        left, credit = left - piece, credit - piece
        plain.worker.received(REF, bytes(piece), more=left > 0)
    while (order := await plain.worker.order()).name == "GRANT":
        pass
    assert order.name == "RESPOND"
    assert len(plain.origin.bodies[0]) == size


async def test_12_without_a_route_the_answer_is_502(tmp_path: Path):
    async with scene(tmp_path, "b.test") as here:
        order = await here.ask()
        assert (order.status, order.body) == (502, b"Route not found\n")


@pytest.mark.parametrize("target", [b"ftp://a.test/", b"a.test:443", b"http://u@a.test/", b""])
async def test_a_target_that_is_none_is_refused(plain: Scene, target: bytes):
    assert (await plain.ask(target=target)).status == 400


async def test_an_absolute_target_names_the_host(tmp_path: Path):
    async with scene(tmp_path, "b.test") as here:
        await here.ask(answer(), target=b"HTTP://B.test:81/x?y")
        assert here.origin.heads[0].startswith(b"GET /x?y HTTP/1.1\r\nHost: B.test:81\r\n")


async def test_a_uri_that_is_too_long_is_refused(plain: Scene):
    order = await plain.ask(target=b"/" + b"a" * 5000)
    assert (order.status, order.body) == (500, b"Failed to process request.\n")


async def test_44_a_response_hold_is_ordered(plain: Scene):
    order = await plain.ask(
        answer(
            "Grip-Hold: response",
            "Grip-Channel: a, b; prev-id=7",
            "Grip-Timeout: 20",
            "Content-Type: text/x",
            body=b"nothing",
        ),
        method=b"POST",
        body=b"asked",
    )
    assert order.name == "HOLD"
    assert (order.mode, order.timeout_ms, order.answered) == (1, 20_000, 0)
    assert order.channels == [(b"a", None, b""), (b"b", b"7", b"")]
    assert (order.status, order.reason, order.body) == (200, b"OK", b"nothing")
    assert order.headers == [(b"Content-Type", b"text/x")]
    assert order.request_body == b"asked"


async def test_43_a_stream_hold_is_ordered_with_its_keep_alive(plain: Scene):
    order = await plain.ask(
        answer(
            "Grip-Hold: stream",
            "Grip-Channel: a",
            r"Grip-Keep-Alive: :\n; format=cstring; timeout=20; mode=interval",
            body=b"open",
        )
    )
    assert (order.name, order.mode) == ("HOLD", 2)
    assert (order.keep_alive, order.keep_alive_mode, order.keep_alive_ms) == (b":\n", 2, 20_000)
    assert order.body == b"open"


async def test_42_a_large_stream_body_goes_first_and_then_holds(plain: Scene):
    body = bytes(200_000)
    order = await plain.ask(answer("Grip-Hold: stream", "Grip-Channel: a", "X: 1", body=body))
    assert (order.name, order.more, order.length) == ("RESPOND", True, -1)
    assert order.headers == [(b"X", b"1")]
    sent = 0
    while (order := await plain.worker.order()).name == "SEND":
        assert order.more
        sent += len(order.content)
    assert sent == len(body)
    assert (order.name, order.answered, order.body) == ("HOLD", 1, b"")


@pytest.mark.parametrize("hold", ["Grip-Hold: response", "Grip-Foo: bar"])
async def test_41_other_large_bodies_are_refused(plain: Scene, hold: str):
    order = await plain.ask(answer(hold, body=bytes(100_001)))
    assert (order.status, order.body) == (502, b"Error while proxying to origin.\n")


async def test_a_body_of_just_the_limit_is_not_too_large(plain: Scene):
    order = await plain.ask(answer("Grip-Hold: response", body=bytes(100_000)))
    assert (order.name, len(order.body)) == ("HOLD", 100_000)


async def test_40_a_large_request_is_refused_when_the_answer_is_grip(plain: Scene):
    order = await plain.ask(answer("Grip-Foo: x"), method=b"POST", body=bytes(100_001))
    assert order.status == 400
    assert order.body == b"Request too large to accept GRIP instruct.\n"


async def test_15_an_unknown_grip_header_is_stripped(plain: Scene):
    order = await plain.ask(answer("Grip-Foo: x", "X: 1", body=b"rest"))
    assert (order.name, order.headers, order.body) == ("RESPOND", [(b"X", b"1")], b"rest")


async def test_17_a_bad_instruct_is_told_in_debug_mode(tmp_path: Path):
    async with scene(tmp_path, "*,debug") as here:
        order = await here.ask(answer("Grip-Hold: bogus"))
        assert order.status == 502
        assert order.body == (
            b"Failed to parse accept instructions: "
            b"Grip-Hold must be set to either 'response' or 'stream'\n"
        )


async def test_189_a_route_without_grip_passes_everything_on(tmp_path: Path):
    async with scene(tmp_path, "*,no_grip", sig_key="changeme") as here:
        order = await here.ask(answer("Grip-Hold: stream", body=b"x"))
        assert (order.name, order.headers) == ("RESPOND", [(b"Grip-Hold", b"stream")])
        assert b"Grip-" not in here.origin.heads[0]


async def test_2_requests_are_signed(tmp_path: Path):
    async with scene(tmp_path, sig_key="changeme") as here:
        await here.ask(answer(), headers=[(b"Host", b"a.test"), (b"Grip-Sig", b"forged")])
        token = header(here.origin.heads[0], b"grip-sig")
        assert token is not None
        assert token.count(b".") == 2
        assert b"forged" not in here.origin.heads[0]


async def test_121_channels_have_the_prefix_and_origins_do_not_see_it(tmp_path: Path):
    async with scene(tmp_path, "*,prefix=p-") as here:
        held = answer("Grip-Hold: response", "Grip-Channel: a; prev-id=1")
        order = await here.ask(held)
        assert order.channels == [(b"p-a", b"1", b"")]
        await here.ask(held, again=True, lasts=[(b"p-a", b"1")])
        assert header(here.origin.heads[1], b"grip-last") == b"a; last-id=1"


async def test_90_a_conflicting_hold_is_asked_for_again(plain: Scene):
    await plain.ask(answer("Grip-Hold: response", "Grip-Channel: a"))
    plain.publish({"channel": "a", "id": "2", "http-response": {"body": "x"}})
    await plain.worker.order("PUBLISH")
    order = await plain.ask(
        answer("Grip-Hold: response", "Grip-Channel: a; prev-id=1, b; prev-id=5"),
        answer(body=b"fresh"),
        ref=REF + 1,
    )
    assert (order.name, order.body) == ("RESPOND", b"fresh")
    lasts = [line for line in plain.origin.heads[2].split(b"\r\n") if b"Grip-Last" in line]
    assert lasts == [b"Grip-Last: a; last-id=1", b"Grip-Last: b; last-id=5"]


async def test_58_a_request_that_is_asked_again_has_its_body(plain: Scene):
    order = await plain.ask(
        answer(body=b"second"), method=b"POST", body=b"asked", again=True, length=-1
    )
    assert order.body == b"second"
    assert plain.origin.bodies == [b"asked"]


async def test_a_client_that_leaves_ends_the_exchange(plain: Scene):
    plain.origin.before_answer = asyncio.Event()
    plain.worker.opened(REF)
    plain.worker.opened(REF + 1)
    await eventually(lambda: len(plain.origin.heads) == 2)
    plain.worker.closed(REF)
    plain.origin.answers += [answer(body=b"one"), answer(body=b"two")]
    plain.origin.before_answer.set()
    order = await plain.worker.order()
    assert order.ref == REF + 1


async def test_an_origin_that_hangs_up_unanswered_gives_502(plain: Scene):
    plain.origin.hangs_up = True
    order = await plain.ask(b"")
    assert (order.status, order.body) == (502, b"Error while proxying to origin.\n")
