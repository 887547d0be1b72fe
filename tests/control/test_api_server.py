"""HTTP for the control API: order, limits of time, and ends; what is answered is in test_ingest."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp.http import RawRequestMessage

from control import api_server
from control.api_server import Answer, ApiServer, text

BODY_MAX_BYTES = 100_000


class Echo:
    """Gives each request its target and its body back; `/wait` waits while `open` is not set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    def refuse(self, head: RawRequestMessage) -> Answer | None:
        return text(400, "refused") if head.path == "/refused" else None

    def has_to_wait(self, head: RawRequestMessage) -> bool:
        return head.path == "/wait" and not self.open.is_set()

    async def uncongested(self) -> None:
        await self.open.wait()

    def answer(self, head: RawRequestMessage, body: bytes) -> Answer:
        if head.path == "/fails":
            raise ValueError("a fault of ours")
        return Answer(200, "text/plain", head.path.encode() + b" " + body)


class Scene:
    def __init__(self, server: ApiServer, api: Echo, address: tuple[str, int]) -> None:
        self.server, self.api, self.address = server, api, address
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        self.writers.append(writer)
        return reader, writer

    async def rest(self, request: bytes) -> bytes:
        """All that comes until the server hangs up."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.read()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    listener = socket.create_server(("127.0.0.1", 0))
    api = Echo()
    server = ApiServer(api, head_max_bytes=1000, body_max_bytes=BODY_MAX_BYTES)
    await server.start([listener])
    made = Scene(server, api, listener.getsockname())
    yield made
    api.open.set()
    for writer in made.writers:
        writer.close()
    await server.stop()
    assert not server.connections


def ask(target: str, body: str = "", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {target} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", body]).encode()


async def answered(reader: asyncio.StreamReader) -> bytes:
    """The body of the next response."""
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        return await reader.readexactly(int(fields["Content-Length"]))


async def test_a_long_pipeline_is_answered_in_order(scene: Scene) -> None:
    count = 5 * api_server.PIPELINE_MAX + 3
    reader, writer = await scene.connect()
    writer.write(b"".join(ask(f"/{n}", str(n)) for n in range(count)))
    assert [await answered(reader) for _ in range(count)] == [
        b"/%d %d" % (n, n) for n in range(count)
    ]


async def test_what_is_behind_a_request_that_waits_waits_too(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(b"".join(ask(f"/{n}" if n else "/wait", "x" * 1000) for n in range(40)))
    other, other_writer = await scene.connect()
    other_writer.write(ask("/other"))
    assert await answered(other) == b"/other "
    scene.api.open.set()
    assert await answered(reader) == b"/wait " + b"x" * 1000
    for n in range(1, 40):
        assert (await answered(reader)).startswith(b"/%d " % n)


async def test_a_body_of_the_largest_size_in_many_pieces(scene: Scene) -> None:
    body = "x" * BODY_MAX_BYTES
    reader, writer = await scene.connect()
    request = ask("/large", body)
    for at in range(0, len(request), 9_999):
        writer.write(request[at : at + 9_999])
        await writer.drain()
    assert await answered(reader) == b"/large " + body.encode()
    writer.write(ask("/next"))
    assert await answered(reader) == b"/next "


@pytest.mark.parametrize(
    ("version", "headers", "says"),
    [
        ("1.1", ("Connection: close",), b"Connection: close\r\n"),
        ("1.0", (), b"Connection: close\r\n"),
    ],
)
async def test_who_wants_one_answer_is_hung_up_on(
    scene: Scene, version: str, headers: tuple[str, ...], says: bytes
) -> None:
    heard = await scene.rest(ask("/x", "", *headers, version=version))
    assert says in heard
    assert heard.endswith(b"\r\n\r\n/x ")


async def test_a_client_of_http_1_0_may_keep_its_connection(scene: Scene) -> None:
    reader, writer = await scene.connect()
    for _ in range(2):
        writer.write(ask("/x", "", "Connection: keep-alive", version="1.0"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: keep-alive\r\n" in head
        assert await reader.readexactly(3) == b"/x "


async def test_a_refused_request_whose_body_has_come_keeps_the_connection(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(ask("/refused", "body") + ask("/next"))
    assert await answered(reader) == b"refused"
    assert await answered(reader) == b"/next "


async def test_who_still_sends_what_is_refused_can_read_the_answer(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(ask("/refused", "x" * 90_000)[:1000])
    assert await answered(reader) == b"refused"
    for _ in range(89):  # a reset would lose the answer of who has not read it yet
        writer.write(b"x" * 1000)
        await writer.drain()
    assert await reader.read() == b""


async def test_who_has_said_all_is_answered(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(ask("/wait", "body"))
    writer.write_eof()
    other, other_writer = await scene.connect()  # by the time it is answered, the end has been seen
    other_writer.write(ask("/other"))
    await answered(other)
    scene.api.open.set()
    assert await answered(reader) == b"/wait body"
    assert await reader.read() == b""


async def test_a_body_that_does_not_come_is_408(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "PROGRESS_SECONDS", 0.05)
    heard = await scene.rest(ask("/slow", "body")[:-1])
    assert heard.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert heard.endswith(b"Request body took too long.\n")


async def test_who_begins_a_head_and_goes_quiet_is_hung_up_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "PROGRESS_SECONDS", 0.05)
    assert await scene.rest(b"POST /publish HTTP/1.1\r\nHo") == b""


async def test_who_asks_nothing_for_long_is_hung_up_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(api_server, "IDLE_SECONDS", 0.05)
    assert (await scene.rest(ask("/x"))).endswith(b"/x ")


async def test_who_waits_for_us_is_not_too_slow(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "PROGRESS_SECONDS", 0.05)
    reader, writer = await scene.connect()
    writer.write(ask("/wait", "body"))
    assert await scene.rest(ask("/slow", "body")[:-1])  # somebody else's time has passed meanwhile
    scene.api.open.set()
    assert await answered(reader) == b"/wait body"


async def test_an_upgrade_is_answered_as_if_it_were_none(scene: Scene) -> None:
    heard = await scene.rest(ask("/x", "", "Connection: Upgrade", "Upgrade: websocket"))
    assert heard.endswith(b"\r\n\r\n/x ")


async def test_our_own_fault_is_500_and_logged(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = await scene.rest(ask("/fails"))
    assert heard.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert "internal_error" in capsys.readouterr().out


async def test_stopping_answers_what_has_been_asked(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(ask("/wait"))
    idle, _ = await scene.connect()
    other, other_writer = await scene.connect()
    other_writer.write(ask("/other"))
    await answered(other)
    stopping = asyncio.create_task(scene.server.stop())
    assert await idle.read() == b""
    scene.api.open.set()
    assert await answered(reader) == b"/wait "
    assert await reader.read() == b""
    await stopping
