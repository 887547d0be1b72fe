"""The control API as publishers see it: raw bytes over TCP and a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from control.app import Control, started
from control.config import Settings
from control.ingest import _negotiate
from control.link.server import SILENT_ROUNDS_MAX
from support.fake_worker import FakeWorker, eventually

ITEM = {"channel": "a", "http-stream": {"content": "x"}}
BODY = json.dumps({"items": [ITEM]})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Publisher:
    """One connection to the control API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, request: bytes | str) -> Answer:
        self.writer.write(request.encode() if isinstance(request, str) else request)
        return await self.answer(has_body=request[:4] not in ("HEAD", b"HEAD"))

    async def answer(self, *, has_body: bool = True) -> Answer:
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = int(headers.get("Content-Length", 0)) if has_body else 0
            return Answer(int(status.split()[1]), headers, await self.reader.readexactly(size))


@dataclass
class Scene:
    control: Control
    address: tuple[str, int]
    unix_path: str
    worker: FakeWorker

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Publisher]:
        reader, writer = await asyncio.open_connection(*self.address)
        yield Publisher(reader, writer)
        writer.close()

    async def say(self, request: bytes | str) -> Answer:
        async with self.connected() as publisher:
            return await publisher.say(request)


@contextlib.asynccontextmanager
async def scene(tmp_path: Path, **settings) -> AsyncIterator[Scene]:
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix_path = str(tmp_path / "control")
    unix.bind(unix_path)
    unix.listen()
    link_path = str(tmp_path / "link")
    chosen = Settings(route=["* 127.0.0.1:1"], workers=2, **settings)
    address = tcp.getsockname()
    async with started(chosen, link_path, [tcp, unix], 2) as control:
        async with FakeWorker(link_path) as worker:
            await worker.greet(synced=False)
            yield Scene(control, address, unix_path, worker)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


def post(target: str = "/publish/", body: str = BODY, *headers: str) -> str:
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", body])


def get(target: str, *headers: str, method: str = "GET") -> str:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""])


@pytest.mark.parametrize("target", ["/publish/", "/publish"])
async def test_101_publishing(api: Scene, target: str):
    answer = await api.say(post(target))
    assert (answer.status, answer.body) == (200, b"Published\n")
    assert answer.headers["Content-Type"] == "text/plain"
    order = await api.worker.order("PUBLISH")
    assert order.formats == [{"kind": 2, "action": 0, "content": b"x"}]


async def test_publishing_over_a_unix_socket(api: Scene):
    reader, writer = await asyncio.open_unix_connection(api.unix_path)
    assert (await Publisher(reader, writer).say(post())).status == 200
    writer.close()
    await api.worker.order("PUBLISH")


async def test_many_requests_on_one_connection(api: Scene):
    async with api.connected() as publisher:
        for _ in range(3):
            assert (await publisher.say(post())).status == 200
        publisher.writer.write((post() + post()).encode())  # and pipelined
        assert (await publisher.answer()).status == 200
        assert (await publisher.answer()).status == 200
    for _ in range(5):
        await api.worker.order("PUBLISH")


async def test_102_the_answer_is_json_for_who_accepts_it(api: Scene):
    answer = await api.say(post("/publish/", BODY, "Accept: application/json"))
    assert (answer.status, answer.body) == (200, b'{"message":"Published"}\n')
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], "text/plain"),
        (["*/*"], "text/plain"),
        (["text/plain, application/json"], "application/json"),
        (["application/json, text/*"], "text/plain"),
        (["application/json", "image/png"], "application/json"),
        (["application/*;q=0.1"], "application/json"),
        (["image/png"], None),
    ],
)
def test_the_last_acceptable_type_wins(accept: list[str], chosen: str | None):
    assert _negotiate(accept) == chosen


async def test_103_what_nobody_accepts_is_406(api: Scene):
    answer = await api.say(post("/publish/", BODY, "Accept: image/png"))
    assert answer.status == 406
    assert answer.body == (
        b"Not Acceptable. Supported formats are text/plain and application/json.\n"
    )


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_101_another_method_is_405(api: Scene, method: str):
    answer = await api.say(get("/publish", method=method))
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.body == f"Method not allowed: {method}.\n".encode()


@pytest.mark.parametrize("target", ["/publish/?x=1", "/publish//", "/nothing", "/Publish"])
async def test_another_target_is_404(api: Scene, target: str):
    answer = await api.say(post(target))
    assert (answer.status, answer.body) == (404, b"Not Found\n")


async def test_the_root_says_what_this_is(api: Scene):
    assert (await api.say(get("/"))).status == 200


async def test_head_has_no_body(api: Scene):
    async with api.connected() as publisher:
        assert (await publisher.say(get("/", method="HEAD"))).status == 200
        assert (await publisher.say(post())).status == 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "Body is not valid JSON."),
        ("[]", "Invalid format."),
        ("{}", "Invalid format: object does not contain 'items'"),
        ('{"items": {}}', "Invalid format: object contains 'items' with wrong type"),
        ('{"items": [{"channel": "a"}]}', "Invalid format: no formats specified"),
        (
            '{"items": [{"http-stream": {"content": "x"}}]}',
            "Invalid format: publish item object does not contain 'channel'",
        ),
    ],
)
async def test_104_what_is_wrong_is_said_as_text(api: Scene, body: str, why: str):
    answer = await api.say(post("/publish/", body, "Accept: application/json"))
    assert (answer.status, answer.body) == (400, f"{why}\n".encode())
    assert answer.headers["Content-Type"] == "text/plain"


async def test_105_one_bad_item_publishes_none(api: Scene):
    bad = json.dumps({"items": [ITEM, {"channel": "a"}]})
    assert (await api.say(post("/publish/", bad))).status == 400
    await api.say(post("/publish/", json.dumps({"items": [ITEM | {"channel": "next"}]})))
    assert (await api.worker.order("PUBLISH")).channel == b"next"


async def test_no_items_are_accepted(api: Scene):
    assert (await api.say(post("/publish/", '{"items": []}'))).status == 200


@pytest.mark.parametrize("more", [[], ["Transfer-Encoding: chunked"]])
async def test_107_a_post_needs_a_content_length(api: Scene, more: list[str]):
    body = "" if not more else "0\r\n\r\n"
    answer = await api.say(get("/publish/", *more, method="POST") + body)
    assert (answer.status, answer.body) == (411, b"Request requires Content-Length.\n")


async def test_107_a_body_over_the_limit_is_refused_unread(tmp_path: Path):
    async with scene(tmp_path, push_in_http_max_body_size=2000) as api:
        request = post("/publish/", "x" * 2001)
        answer = await api.say(request[: request.index("\r\n\r\n") + 4])
        assert (answer.status, answer.body) == (400, b"Request body too large.\n")


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1\r\nX: " + "a" * 20_000 + "\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n" + ("X: " + "a" * 3000 + "\r\n") * 4 + "\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n" + "X: a\r\n" * 1000 + "\r\n",
        "GET /" + "a" * 20_000 + " HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_head_over_the_limit_is_refused(api: Scene, request_head: str):
    answer = await api.say(request_head)
    assert (answer.status, answer.body) == (400, b"Request header too large.\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_refused(api: Scene, garbage: bytes):
    answer = await api.say(garbage)
    assert (answer.status, answer.body) == (400, b"Failed to parse request header.\n")


@pytest.mark.parametrize("length", ["x", "-1", "1x"])
async def test_a_length_that_is_none_is_refused(api: Scene, length: str):
    answer = await api.say(f"POST /publish HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")
    assert (answer.status, answer.body) == (400, b"Bad Content-Length.\n")


async def test_expect_100_continue_is_answered(api: Scene):
    head, _, body = post("/publish/", BODY, "Expect: 100-continue").partition("\r\n\r\n")
    async with api.connected() as publisher:
        publisher.writer.write(f"{head}\r\n\r\n".encode())
        go_on = await publisher.reader.readuntil(b"\r\n\r\n")
        assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await publisher.say(body)).status == 200


async def test_97_recover(api: Scene):
    answer = await api.say(post("/recover/", ""))
    assert (answer.status, answer.body) == (200, b"Updated\n")
    answer = await api.say(post("/recover", "", "Accept: application/json"))
    assert answer.body == b'{"message":"Updated"}\n'
    assert (await api.say(get("/recover"))).status == 405


async def test_a_congested_link_makes_publishers_wait(tmp_path: Path):
    async with scene(tmp_path, link_backlog_max_bytes=1024 * 1024) as api:
        big = json.dumps({"items": [ITEM | {"http-stream": {"content": "x" * 900_000}}]})
        async with api.connected() as publisher:
            answered = 0
            with contextlib.suppress(TimeoutError):
                while answered < 20:
                    publisher.writer.write(post("/publish/", big).encode())
                    async with asyncio.timeout(0.2):
                        await publisher.reader.readuntil(b"Published\n")
                    answered += 1
            assert 1 <= answered < 20
            for _ in range(answered + 1):  # the worker reads, the last request is answered
                await api.worker.order("PUBLISH")
            async with asyncio.timeout(5):
                await publisher.reader.readuntil(b"Published\n")


async def test_health_names_the_workers_that_are_missing(api: Scene):
    answer = await api.say(get("/healthz"))
    assert answer.status == 503
    said = json.loads(answer.body)
    assert (said["status"], said["workers"], said["missing_workers"]) == ("degraded", 2, [1])
    async with FakeWorker(api.worker.path, 1) as other:
        await other.greet()
        answer = await api.say(get("/healthz"))
        assert (answer.status, json.loads(answer.body)["status"]) == (200, "ok")


async def test_health_names_the_workers_that_do_not_answer(api: Scene):
    async with FakeWorker(api.worker.path, 1) as other:
        await other.greet()
        for _ in range(SILENT_ROUNDS_MAX + 1):
            api.control.links.ping()
        assert api.control.links.silent_workers == [0, 1]
        api.worker.pong()
        await eventually(lambda: api.control.links.silent_workers == [1])
        answer = await api.say(get("/healthz"))
        said = json.loads(answer.body)
        assert (answer.status, said["status"]) == (503, "degraded")
        assert (said["missing_workers"], said["silent_workers"]) == ([], [1])


async def test_metrics_are_for_prometheus(api: Scene):
    await api.say(post())
    api.worker.tally({"sessions": 3, "holds_stream": 2, "bytes_out": 1000, "messages": 1})
    await eventually(lambda: api.control._stats.merged()["sessions"] == 3)
    text = (await api.say(get("/metrics"))).body
    for line in (
        'fanway_holds{mode="stream"} 2.0',
        'fanway_bytes_total{direction="out"} 1000.0',
        "fanway_items_total 1.0",
        "fanway_workers_linked 1.0",
        'fanway_origin_calls_total{outcome="answered"} 0.0',
    ):
        assert line.encode() in text, line


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
    ],
)
async def test_metrics_are_in_the_format_that_is_asked_for(api: Scene, accept, content_type):
    answer = await api.say(get("/metrics", f"Accept: {accept}"))
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)
