"""Items in the order of their ids (GRIP.md 2.8)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.waiting import SOON_SECONDS, until

Stream = Callable[..., Reply]

LINGER_SECONDS = 1
WAIT_SECONDS = 1
TTL_SECONDS = 1
TTL = ("--id-cache-ttl", str(TTL_SECONDS))


def test_116_items_that_come_in_reverse_are_delivered_in_order(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    fanway.publish_stream(channel, "a", id="a")
    for item, before in ("ed", "dc", "cb", "ba"):
        fanway.publish_stream(channel, item, id=item, prev_id=before)
    reply.expect(b"abcde")


def test_116_in_one_batch_too(stream: Stream, fanway: Fanway, channel: str) -> None:
    reply = stream(channel)
    items = [
        {"channel": channel, "id": n, "formats": {"http-stream": {"content": n}}, **before}
        for n, before in (
            ("a", {}),
            ("c", {"prev-id": "b"}),
            ("d", {"prev-id": "c"}),
            ("b", {"prev-id": "a"}),
        )
    ]
    fanway.publish_items(*items)
    reply.expect(b"abcd")


def test_118_the_first_item_of_a_fresh_channel_is_delivered_whatever_its_prev_id(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    fanway.publish_stream(channel, "first", id="7", prev_id="6")
    reply.expect(b"first", seconds=SOON_SECONDS)


def test_118_what_nobody_heard_is_not_remembered(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    fanway.publish_stream(channel, "to nobody", id="1")
    reply = stream(channel)
    fanway.publish_stream(channel, "first", id="7", prev_id="6")
    reply.expect(b"first", seconds=SOON_SECONDS)


def test_118_and_one_that_follows_an_item_without_id(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    fanway.publish_stream(channel, "1", id="1")
    fanway.publish_stream(channel, "2")
    fanway.publish_stream(channel, "3", id="9", prev_id="8")
    reply.expect(b"123", seconds=SOON_SECONDS)


def test_119_no_seq_bypasses_the_order(stream: Stream, fanway: Fanway, channel: str) -> None:
    reply = stream(channel)
    fanway.publish_stream(channel, "a", id="a")
    fanway.publish_stream(channel, "z", id="z", prev_id="y", no_seq=True)
    fanway.publish_stream(channel, "b", id="b", prev_id="a")
    reply.expect(b"azb", seconds=SOON_SECONDS)


@pytest.fixture(scope="module")
def impatient(hub: Hub) -> Iterator[Fanway]:
    """Waits a second for what is missing, and forgets the last id of a channel soon."""
    linger = ("--subscription-linger", str(LINGER_SECONDS))
    wait = ("--message-wait", str(WAIT_SECONDS * 1000))
    with Fanway(*linger, *wait, *TTL, routes=[f"* {hub.target}"]) as fanway:
        yield fanway


def test_115_an_id_counts_again_when_its_time_is_over(
    impatient: Fanway, connect: Callable[..., Client], origin: Origin, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}"))
    reply = connect(impatient.address).send(request(origin.host)).reply()
    began = time.monotonic()
    impatient.publish_stream(channel, "a", id="a")
    reply.expect(b"a")

    def comes_again() -> bool:
        impatient.publish_stream(channel, "b", id="a")
        return not reply.client.is_silent()

    until(comes_again, "the same id again")
    assert time.monotonic() - began >= TTL_SECONDS
    reply.expect(b"b")


def test_117_an_item_whose_predecessor_never_comes_is_delivered_after_its_wait(
    impatient: Fanway, origin: Origin, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}"))
    client = Client(impatient.address).send(request(origin.host))
    reply = client.reply()
    impatient.publish_stream(channel, "a", id="a")
    reply.expect(b"a")
    began = time.monotonic()
    impatient.publish_stream(channel, "d", id="d", prev_id="c")
    impatient.publish_stream(channel, "c", id="c", prev_id="b")
    reply.expect(b"dc")
    assert WAIT_SECONDS <= time.monotonic() - began <= WAIT_SECONDS + 1.5
    client.close()


def test_120_the_last_id_is_forgotten_when_nobody_listens(
    impatient: Fanway, origin: Origin, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}"))
    client = Client(impatient.address).send(request(origin.host))
    reply = client.reply()
    impatient.publish_stream(channel, "a", id="a")
    reply.expect(b"a")
    client.close()
    until(lambda: impatient.metric("fanway_channels") == 0, "no channel is held")
    client = Client(impatient.address).send(request(origin.host))
    reply = client.reply()
    impatient.publish_stream(channel, "later", id="z", prev_id="y")
    reply.expect(b"later", seconds=LINGER_SECONDS + 1)
    client.close()


def test_120_after_a_response_hold_it_lingers(
    impatient: Fanway, origin: Origin, channel: str
) -> None:
    """A poll that returns within the linger finds that it has missed something."""
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}; prev-id=0")
    origin.answers(answer(*grip), answer(*grip), answer(body=b"asked again"))
    client = Client(impatient.address).send(request(origin.host))
    origin.wait_until_answered(1)
    until(lambda: impatient.metric("fanway_holds", mode="response") == 1, "held")
    impatient.publish_response(channel, "one", id="1", prev_id="0")
    assert client.response().body == b"one"
    assert client.send(request(origin.host)).response().body == b"asked again"
    client.close()
