"""Calls to origins: real sockets on both sides, the origin's bytes written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.address import TcpAddress, UnixAddress
from control.errors import OriginError
from control.origin import Origins, render_head
from control.routes import Target
from support.scripted_origin import (
    OK,
    FakeBody,
    ScriptedOrigin,
    call,
    closed_port,
    inside,
    listening,
    read_all,
    request,
    self_signed,
)


@pytest.fixture
async def origins() -> AsyncIterator[Origins]:
    made = Origins(
        connect_timeout_seconds=5,
        silence_timeout_seconds=5,
        called=lambda outcome, seconds: None,
        built_in=inside,
    )
    yield made
    await made.close()


async def test_target_and_header_values_reach_the_origin_byte_for_byte(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    asked = request(
        b"GET",
        b"/%2e%2E//a/../b?x=%zz&y=\xe9?#c",
        (b"x-LATIN", b"caf\xe9"),
        (b"X-Twice", b"1"),
        (b"X-Twice", b"2"),
    )
    async with listening(origin) as target:
        response = await call(origins, target, ask=asked)
        assert await read_all(response) == b"ok"
    assert origin.heads == [
        b"GET /%2e%2E//a/../b?x=%zz&y=\xe9?#c HTTP/1.1\r\nHost: a.test\r\n"
        b"x-LATIN: caf\xe9\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"
    ]


async def test_the_head_of_the_answer_comes_raw(origins):
    origin = ScriptedOrigin()
    head = b"HTTP/1.1 299 Fa\xc3\xa7on \xe9\r\nx-ODD: \xe9\r\nX-ODD: 2\r\nContent-Length: 0\r\n\r\n"
    origin.scripts = [origin.answers(head)]
    async with listening(origin) as target:
        response = await call(origins, target)
        assert response.status == 299
        assert response.reason == b"Fa\xc3\xa7on \xe9"
        assert list(response.headers) == [
            (b"x-ODD", b"\xe9"),
            (b"X-ODD", b"2"),
            (b"Content-Length", b"0"),
        ]
        assert response.length == 0
        assert await read_all(response) == b""


async def test_a_compressed_answer_is_not_decoded(origins):
    origin = ScriptedOrigin()
    origin.scripts = [
        origin.answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
    ]
    async with listening(origin) as target:
        assert await read_all(await call(origins, target)) == b"abc"


async def test_pieces_of_a_chunked_answer_come_one_by_one(origins):
    more = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with listening(ScriptedOrigin(script)) as target:
        response = await call(origins, target)
        assert response.length == -1
        assert await response.read() == b"one"
        more.set()
        assert await read_all(response) == b"two"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    ],
)
async def test_answers_that_have_no_body_end_at_once(origins, method, answer):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(answer, answer)]
    async with listening(origin) as target:
        for _ in range(2):  # the connection stays usable
            response = await call(origins, target, ask=request(method))
            assert response.all_here() == b""
    assert origin.connections_count == 1


async def test_informational_answers_are_skipped(origins):
    origin = ScriptedOrigin()
    origin.scripts = [
        origin.answers(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    ]
    async with listening(origin) as target:
        response = await call(origins, target)
        assert response.status == 200
        assert await read_all(response) == b"ok"


async def test_an_answer_without_length_ends_with_the_connection(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(b"HTTP/1.0 200 OK\r\n\r\nall of it")]
    async with listening(origin) as target:
        response = await call(origins, target)
        assert response.length == -1
        assert await read_all(response) == b"all of it"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_14_a_body_that_breaks_off_is_an_error(origins, answer):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(answer)]
    async with listening(origin) as target:
        with pytest.raises(OriginError):
            await read_all(await call(origins, target))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_an_error(origins, answer):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(answer)]
    async with listening(origin) as target:
        with pytest.raises(OriginError) as caught:
            await call(origins, target)
    assert not caught.value.tried
    assert origin.connections_count == 1


async def test_an_origin_that_is_silent_for_too_long_is_an_error():
    origins = Origins(
        connect_timeout_seconds=5,
        silence_timeout_seconds=0.05,
        called=lambda *call: None,
        built_in=inside,
    )
    left = asyncio.Event()

    async def script(reader, writer):
        await reader.read()  # until Fanway gives up
        left.set()

    async with listening(ScriptedOrigin(script)) as target:
        with pytest.raises(OriginError, match="timed out"):
            await call(origins, target)
        await asyncio.wait_for(left.wait(), 5)
    await origins.close()


async def test_connections_are_kept_and_used_again(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK, OK, OK)]
    async with listening(origin) as target:
        for _ in range(3):
            assert await read_all(await call(origins, target)) == b"ok"
    assert origin.connections_count == 1


async def test_a_kept_connection_that_dies_unanswered_is_replaced_if_that_is_safe(origins):
    origin = ScriptedOrigin()

    async def answers_once(reader, writer):
        await origin.answers(OK)(reader, writer)
        await origin.head(reader)  # and closes instead of answering

    origin.scripts = [answers_once, origin.answers(OK)]
    async with listening(origin) as target:
        assert await read_all(await call(origins, target)) == b"ok"
        assert await read_all(await call(origins, target)) == b"ok"
    assert origin.connections_count == 2


async def test_a_post_is_not_sent_twice(origins):
    origin = ScriptedOrigin()

    async def answers_once(reader, writer):
        await origin.answers(OK)(reader, writer)
        await origin.head(reader)

    origin.scripts = [answers_once, origin.answers(OK)]
    async with listening(origin) as target:
        assert await read_all(await call(origins, target)) == b"ok"
        with pytest.raises(OriginError):
            await call(origins, target, ask=request(b"POST"))
    assert origin.connections_count == 1


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        (b"GET", FakeBody(), b""),
        (b"POST", FakeBody(), b"Content-Length: 0\r\n"),
        (b"POST", FakeBody(b"abc"), b"Content-Length: 3\r\n"),
        (b"GET", FakeBody(b"abc"), b"Content-Length: 3\r\n"),
    ],
)
async def test_a_body_that_is_here_is_sized(origins, method, body, framing):
    origin = ScriptedOrigin()

    async def script(reader, writer):
        head = await origin.head(reader)
        assert head.endswith(b"Host: a.test\r\n" + framing + b"\r\n")
        assert await reader.readexactly(len(body.content)) == body.content
        writer.write(OK)

    origin.scripts = [script]
    async with listening(origin) as target:
        response = await call(origins, target, ask=request(method), body=body)
        assert await read_all(response) == b"ok"


async def test_a_body_of_unknown_length_is_chunked(origins):
    async def script(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in head
        assert await reader.readexactly(20) == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        writer.write(OK)

    async with listening(ScriptedOrigin(script)) as target:
        body = FakeBody(parts=[b"abc", b"de"], length=-1)
        response = await call(origins, target, ask=request(b"POST"), body=body)
        assert await read_all(response) == b"ok"


async def test_an_origin_that_does_not_read_paces_the_body(origins):
    read_on = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await read_on.wait()
        for _ in range(400):
            await reader.readexactly(64 * 1024)
        writer.write(OK)

    async with listening(ScriptedOrigin(script)) as target:
        body = FakeBody(parts=[b"x" * 64 * 1024] * 400, length=400 * 64 * 1024)
        asking = asyncio.create_task(call(origins, target, ask=request(b"PUT"), body=body))
        before = -1
        while len(body.taken) > before:  # until nothing moves any more
            before = len(body.taken)
            await asyncio.wait([asking], timeout=0.1)
        assert before < 400
        read_on.set()
        assert await read_all(await asking) == b"ok"
        assert len(body.taken) == 400


async def test_an_answer_before_the_end_of_the_request_costs_the_connection(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    never = asyncio.Event()

    class Endless(FakeBody):
        def whole(self):
            return None

        async def pieces(self):
            yield b"begin"
            await never.wait()

    async with listening(origin) as target:
        for _ in range(2):
            response = await call(origins, target, ask=request(b"POST"), body=Endless(length=1000))
            assert await read_all(response) == b"ok"
    assert origin.connections_count == 2


async def test_196_the_next_target_is_asked_when_one_refuses(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    async with listening(origin) as target:
        response = await call(origins, closed_port(), target)
        assert await read_all(response) == b"ok"


async def test_196_the_next_target_is_not_asked_after_an_answer(origins):
    busy, idle = ScriptedOrigin(), ScriptedOrigin()
    busy.scripts = [busy.answers(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")]
    async with listening(busy) as first, listening(idle) as second:
        response = await call(origins, first, second)
        assert response.status == 503
        assert await read_all(response) == b""
    assert idle.connections_count == 0


async def test_a_name_that_does_not_resolve_is_a_failed_target(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    async with listening(origin) as target:
        nowhere = Target(TcpAddress("no-such-host.invalid", 80))
        assert await read_all(await call(origins, nowhere, target)) == b"ok"


async def test_a_target_that_does_not_speak_tls_is_a_failed_target(origins):
    async def script(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    async with listening(ScriptedOrigin(script)) as first, listening(origin) as second:
        tls_first = Target(first.address, ssl=True)
        assert await read_all(await call(origins, tls_first, second)) == b"ok"


async def test_a_certificate_is_verified_unless_the_target_is_insecure(origins, tmp_path):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    async with listening(origin, self_signed(tmp_path)) as target:
        with pytest.raises(OriginError) as caught:
            await call(origins, target)
        assert caught.value.tried == (str(target),)
        insecure = Target(target.address, ssl=True, insecure=True)
        assert await read_all(await call(origins, insecure)) == b"ok"


async def test_13_the_targets_that_were_tried_are_named(origins):
    first, second = closed_port(), closed_port()
    with pytest.raises(OriginError) as caught:
        await call(origins, first, second)
    assert caught.value.tried == (str(first), str(second))


async def test_202_ipv6_targets_work(origins):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK)]
    server = await asyncio.start_server(origin.play, "::1", 0)
    async with server:
        target = Target(TcpAddress("::1", server.sockets[0].getsockname()[1]))
        assert await read_all(await call(origins, target)) == b"ok"


async def test_unix_targets_work(origins, tmp_path: Path):
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK, OK)]
    path = str(tmp_path / "origin")
    server = await asyncio.start_unix_server(origin.play, path)
    async with server:
        for _ in range(2):
            response = await call(origins, Target(UnixAddress(path)))
            assert await read_all(response) == b"ok"
    assert origin.connections_count == 1
    with pytest.raises(OriginError) as caught:
        await call(origins, Target(UnixAddress(str(tmp_path / "nothing"))))
    assert caught.value.tried


@pytest.mark.parametrize("bad", [b"a\r\nInjected: 1", b"a\nb", b"a\rb", b"a\0b"])
def test_a_line_end_never_gets_into_a_header(bad: bytes):
    with pytest.raises(OriginError):
        render_head(request(b"GET", b"/", (b"Grip-Last", bad)), 0)


async def test_each_call_is_reported_with_its_outcome():
    outcomes: list[str] = []
    origins = Origins(
        connect_timeout_seconds=5,
        silence_timeout_seconds=5,
        called=lambda outcome, seconds: outcomes.append(outcome),
        built_in=inside,
    )
    origin = ScriptedOrigin()
    origin.scripts = [origin.answers(OK), origin.answers(b"")]
    async with listening(origin) as target:
        await read_all(await call(origins, target))
        with pytest.raises(OriginError):
            await call(origins, closed_port())
        with pytest.raises(OriginError):
            await call(origins, target, ask=request(b"POST"))
    assert outcomes == ["answered", "unreachable", "failed"]
    await origins.close()
