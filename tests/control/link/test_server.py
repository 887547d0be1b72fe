"""The link server with workers that are real sockets: greeting, order, loss, backlog."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from control.link import codec
from control.link.packets import AnyReport, Granted, Kind, Synced
from control.link.server import SILENT_ROUNDS_MAX, Link, LinkServer
from support.fake_worker import FakeWorker, eventually

BACKLOG_MAX_BYTES = 100_000


@dataclass
class Recorder:
    """Everything that the link server tells."""

    told: list[tuple] = field(default_factory=list)

    def greeted(self, link: Link) -> None:
        self._note("greeted", link.worker, link.pid)

    def reported(self, link: Link, report: AnyReport) -> None:
        self._note("reported", link.worker, report)

    def lost(self, link: Link) -> None:
        self._note("lost", link.worker, link.pid)

    def _note(self, *what: object) -> None:
        self.told.append(what)

    async def until(self, *what: object) -> None:
        await eventually(lambda: what in self.told)


@dataclass
class Scene:
    server: LinkServer
    recorder: Recorder
    path: str

    def worker(self, number: int = 0, pid: int = 1000) -> FakeWorker:
        return FakeWorker(self.path, number, pid)

    async def link(self, worker: int = 0) -> Link:
        return await eventually(lambda: self.server.links.get(worker))

    async def answered(self, worker: int) -> None:
        link = self.server.links[worker]
        await eventually(lambda: not link._silent_rounds)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    recorder = Recorder()
    server = LinkServer(
        recorder,
        worker_count=2,
        backlog_max_bytes=BACKLOG_MAX_BYTES,
        welcome=lambda: {"head_bytes_max": 8192},
    )
    path = str(tmp_path / "link")
    await server.start(path)
    yield Scene(server, recorder, path)
    await server.stop()


async def test_hello_is_answered_with_the_settings(scene: Scene):
    async with scene.worker() as worker:
        welcome = await worker.greet(synced=False)
        assert welcome.settings == {"head_bytes_max": 8192}
    assert scene.recorder.told[0] == ("greeted", 0, 1000)


async def test_reports_arrive_in_whatever_pieces(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        report = b"\0\0\0\4\x04\0\0\0\0\0\0\0\0\0\0\7" + (300).to_bytes(4, "big")
        for byte in report:
            worker.writer.write(bytes((byte,)))
            await worker.writer.drain()
            await asyncio.sleep(0)
        worker.report(0x09)
        await scene.recorder.until("reported", 0, Synced())
    assert scene.recorder.told[1:3] == [
        ("reported", 0, Granted(7, 300)),
        ("reported", 0, Synced()),
    ]


async def test_another_version_is_refused(scene: Scene):
    async with scene.worker() as worker:
        worker.hello(version=2)
        assert await worker.gone()
    assert scene.recorder.told == []


async def test_a_worker_number_that_is_none_is_refused(scene: Scene):
    async with scene.worker(number=2) as worker:
        worker.hello()
        assert await worker.gone()
    assert scene.recorder.told == []


async def test_a_report_before_hello_is_refused(scene: Scene):
    async with scene.worker() as worker:
        worker.report(0x09)
        assert await worker.gone()
    assert scene.recorder.told == []


async def test_a_second_hello_ends_the_link(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        worker.hello()
        assert await worker.gone()
    await scene.recorder.until("lost", 0, 1000)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0\x09\0\0\1" + bytes(8),  # a reserved bit
        b"\xff\xff\xff\xff\x09\0\0\0" + bytes(8),  # a length over the limit
        b"\0\0\0\1\x09\0\0\0" + bytes(9),  # SYNCED with a payload
    ],
)
async def test_a_malformed_packet_ends_the_link(scene: Scene, garbage: bytes):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        worker.writer.write(garbage)
        assert await worker.gone()
    await scene.recorder.until("lost", 0, 1000)


async def test_a_lost_link_is_told(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
    await scene.recorder.until("lost", 0, 1000)
    assert scene.server.links == {}


async def test_the_newer_of_two_workers_with_one_number_counts(scene: Scene):
    async with scene.worker(pid=1) as older, scene.worker(pid=2) as newer:
        await older.greet(synced=False)
        await newer.greet(synced=False)
        assert await older.gone()
        assert scene.recorder.told == [("greeted", 0, 1), ("lost", 0, 1), ("greeted", 0, 2)]
        assert scene.server.links[0].pid == 2
    await scene.recorder.until("lost", 0, 2)


async def test_orders_are_numbered_from_welcome_and_arrive_in_order(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
        assert link.orders_count == 1
        assert [link.order(codec.finish(ref)) for ref in (5, 6, 7)] == [2, 3, 4]
        assert [(await worker.order("FINISH")).ref for _ in range(3)] == [5, 6, 7]


async def test_the_orders_of_one_turn_are_one_write(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            real, link._fd = link._fd, ours.fileno()  # where one write is one packet
            for ref in range(1, 101):
                link.order(codec.finish(ref))
            await asyncio.sleep(0)
            link._fd = real
            theirs.setblocking(False)
            assert len(theirs.recv(100_000)) == 100 * 16
            with pytest.raises(BlockingIOError):
                theirs.recv(1)


async def test_what_the_kernel_does_not_take_the_transport_keeps(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
        many = 200_000  # more than any socket buffer of a link
        for ref in range(1, many + 1):
            link.order(codec.finish(ref))
        link.write()
        assert link.backlog_bytes > 0
        link.order(codec.finish(many + 1))
        for ref in range(1, many + 2):
            assert (await worker.order("FINISH")).ref == ref


async def test_orders_to_a_lost_link_go_nowhere(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
    await scene.recorder.until("lost", 0, 1000)
    link.order(codec.finish(5))
    await asyncio.sleep(0)
    assert link.backlog_bytes == 0


async def test_a_backlog_over_its_limit_makes_publishers_wait(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
        await asyncio.wait_for(scene.server.uncongested(), 5)
        order = codec.send(7, Kind.BODY, bytes(1_000_000))
        count = 8
        for _ in range(count):
            link.order(order)
        await asyncio.sleep(0)
        assert link.backlog_bytes > BACKLOG_MAX_BYTES
        waiting = asyncio.create_task(scene.server.uncongested())
        await asyncio.sleep(0)
        assert not waiting.done()
        for _ in range(count):
            await worker.order("SEND")
        await asyncio.wait_for(waiting, 5)


async def test_a_worker_that_dies_congested_lets_publishers_go_on(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
        link.order(codec.send(7, Kind.BODY, bytes(4_000_000)))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(scene.server.uncongested())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 5)


async def test_a_worker_that_does_not_answer_is_silent_until_it_does(scene: Scene):
    async with scene.worker(0) as frozen, scene.worker(1) as other:
        await frozen.greet(synced=False)
        await other.greet(synced=False)
        with structlog.testing.capture_logs() as lines:
            for _ in range(3 * SILENT_ROUNDS_MAX):
                scene.server.ping()
                await other.order("PING")
                other.pong()
                await scene.answered(1)
            assert scene.server.silent_workers == [0]
            frozen.pong()
            await eventually(lambda: not scene.server.silent_workers)
        assert [(line["event"], line["worker"]) for line in lines] == [
            ("worker_silent", 0),
            ("worker_answers", 0),
        ]
        scene.server.ping()  # once more, and it can be silent again
        await frozen.order("PING")
        await frozen.order("PING")
        for _ in range(SILENT_ROUNDS_MAX):
            assert scene.server.silent_workers == []
            scene.server.ping()
        assert 0 in scene.server.silent_workers


async def test_one_ping_is_out_at_a_time(scene: Scene):
    async with scene.worker() as worker:
        await worker.greet(synced=False)
        link = await scene.link()
        for _ in range(100):
            scene.server.ping()
        link.order(codec.finish(5))
        await worker.order("PING")
        await worker.order("FINISH")


async def test_stopping_cuts_every_link(scene: Scene):
    async with scene.worker(0) as first, scene.worker(1) as second:
        await first.greet(synced=False)
        await second.greet(synced=False)
        await scene.server.stop()
        assert await first.gone()
        assert await second.gone()
    with pytest.raises(OSError):
        await scene.worker().__aenter__()
