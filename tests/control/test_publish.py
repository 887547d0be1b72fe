"""From items to PUBLISH orders: who is sent what, in which order, in which bytes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from control.app import Control, started
from control.config import Settings
from control.grip.item import items_from_json
from control.publish import encode_item
from support.fake_worker import FakeWorker, eventually, read_order

STREAM, RESPONSE = 2, 1


def items(*documents: dict):
    return items_from_json(json.dumps({"items": documents}).encode())


def stream_item(channel: str, content: str, **more) -> dict:
    return {"channel": channel, "http-stream": {"content": content}, **more}


def encoded(document: dict):
    packet = encode_item(items(document)[0])
    return read_order(packet[4], packet[5], 0, packet[16:])


@pytest.mark.parametrize(
    ("document", "form"),
    [
        ({"http-stream": {"content": "é"}}, {"kind": 2, "action": 0, "content": "é".encode()}),
        ({"http-stream": {"action": "close"}}, {"kind": 2, "action": 2}),
        ({"http-response": {"action": "hint"}}, {"kind": 1, "action": 1}),
        ({"ws-message": {"action": "refresh"}}, {"kind": 3, "action": 3}),
        ({"ws-message": {"content": "x"}}, {"kind": 3, "action": 0, "type": 1, "content": b"x"}),
        (
            {"ws-message": {"action": "close", "code": 4000, "reason": "bye"}},
            {"kind": 3, "action": 2, "code": 4000, "text": b"bye"},
        ),
        (
            {"http-response": {"code": 404, "headers": {"X": "1"}, "body": "no"}},
            {
                "kind": 1,
                "action": 0,
                "status": 404,
                "reason": b"Not Found",
                "headers": [(b"X", b"1")],
                "patch": 0,
                "body": b"no",
            },
        ),
        (
            {"http-response": {"body-patch": [{"op": "add", "path": "/a", "value": 1}]}},
            {
                "kind": 1,
                "action": 0,
                "status": 200,
                "reason": b"OK",
                "headers": [],
                "patch": 1,
                "body": b'[{"op":"add","path":"/a","value":1}]',
            },
        ),
    ],
)
def test_a_format_is_encoded(document: dict, form: dict):
    assert encoded({"channel": "a", **document}).formats == [form]


def test_an_item_has_its_ids_if_it_has_any():
    order = encoded(stream_item("ä", "", id="2", **{"prev-id": "1"}))
    assert (order.channel, order.id, order.prev_id) == ("ä".encode(), b"2", b"1")
    order = encoded(stream_item("ä", ""))
    assert (order.id, order.prev_id) == (None, None)


@dataclass
class Scene:
    control: Control
    workers: list[FakeWorker]

    def publish(self, *documents: dict) -> None:
        self.control.publisher.publish(items(*documents))

    async def hold(self, worker: int, channel: str, mode: int) -> None:
        """Make control believe that a worker holds a channel, and wait until it does."""
        self.workers[worker].held(channel.encode(), mode)
        interest = self.control.publisher._interest
        await eventually(lambda: worker in interest.workers_for(channel))

    async def contents(self, worker: int, count: int) -> list[bytes]:
        orders = [await self.workers[worker].order("PUBLISH") for _ in range(count)]
        return [order.formats[0]["content"] for order in orders]


@contextlib.asynccontextmanager
async def scene(tmp_path: Path, **settings) -> AsyncIterator[Scene]:
    link_path = str(tmp_path / "link")
    chosen = Settings(route=["* 127.0.0.1:1"], workers=2, **settings)
    async with started(chosen, link_path, [], 2) as control:
        async with FakeWorker(link_path, 0) as first, FakeWorker(link_path, 1) as second:
            await first.greet()
            await second.greet()
            made = Scene(control, [first, second])
            await eventually(lambda: not control.publisher._interest.workers_for("nothing"))
            yield made


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Scene]:
    """Two synced workers that hold nothing."""
    async with scene(tmp_path) as made:
        yield made


async def test_an_item_goes_to_the_workers_that_hold_its_channel(two: Scene):
    await two.hold(0, "a", STREAM)
    await two.hold(1, "b", STREAM)
    two.publish(stream_item("a", "1"), stream_item("b", "2"), stream_item("a", "3"))
    assert await two.contents(0, 2) == [b"1", b"3"]
    assert await two.contents(1, 1) == [b"2"]


async def test_51_an_item_goes_to_every_worker_that_holds_its_channel(two: Scene):
    await two.hold(0, "a", STREAM)
    await two.hold(1, "a", STREAM)
    two.publish(stream_item("a", "1"))
    assert await two.contents(0, 1) == await two.contents(1, 1) == [b"1"]


async def test_an_item_without_subscriber_is_counted_and_dropped(two: Scene):
    two.publish(stream_item("a", "1"))
    assert two.control.publisher._stats.dropped["no_subscriber"] == 1
    await two.hold(0, "a", STREAM)
    two.publish(stream_item("a", "2"))
    assert await two.contents(0, 1) == [b"2"]


async def test_115_an_id_is_published_once(two: Scene):
    await two.hold(0, "a", STREAM)
    two.publish(stream_item("a", "1", id="x"), stream_item("a", "2", id="x"))
    two.publish(stream_item("a", "3"))
    assert await two.contents(0, 2) == [b"1", b"3"]


async def test_116_items_out_of_order_are_put_in_order(two: Scene):
    await two.hold(0, "a", STREAM)
    chain = [("e", "d"), ("d", "c"), ("c", "b"), ("b", "a")]
    two.publish(stream_item("a", "a", id="a"))
    two.publish(*(stream_item("a", i, id=i, **{"prev-id": p}) for i, p in chain))
    assert await two.contents(0, 5) == [b"a", b"b", b"c", b"d", b"e"]


async def test_117_an_item_whose_predecessor_never_comes_is_published_in_the_end(tmp_path: Path):
    async with scene(tmp_path, message_wait=50) as two:
        await two.hold(0, "a", STREAM)
        two.publish(stream_item("a", "1", id="1"))
        two.publish(stream_item("a", "5", id="5", **{"prev-id": "4"}))
        two.publish(stream_item("a", "3", id="3", **{"prev-id": "2"}))
        assert await two.contents(0, 3) == [b"1", b"5", b"3"]


async def test_97_recover_hints_every_http_hold(two: Scene):
    await two.hold(0, "a", RESPONSE)
    await two.hold(1, "b", STREAM)
    two.control.publisher.recover()
    for worker, channel in zip(two.workers, (b"a", b"b"), strict=True):
        order = await worker.order("PUBLISH")
        hints = [{"kind": 1, "action": 1}, {"kind": 2, "action": 1}]
        assert (order.channel, order.formats) == (channel, hints)


async def test_a_worker_that_is_not_synced_is_sent_everything(tmp_path: Path):
    link_path = str(tmp_path / "link")
    chosen = Settings(route=["* 127.0.0.1:1"], workers=1)
    async with started(chosen, link_path, [], 1) as control, FakeWorker(link_path) as worker:
        await worker.greet(synced=False)
        control.publisher.publish(items(stream_item("anything", "1")))
        assert (await worker.order("PUBLISH")).channel == b"anything"
