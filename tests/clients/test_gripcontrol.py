"""The libraries that people publish with, unmodified."""

from __future__ import annotations

import queue
from collections.abc import Callable

import pytest
from gripcontrol import GripPubControl, HttpResponseFormat, HttpStreamFormat
from pubcontrol import Item, PubControl, PubControlClient

from support.client import Client, Reply
from support.fanway import Fanway

Stream = Callable[..., Reply]
Poll = Callable[..., Client]


@pytest.fixture
def grip(fanway: Fanway) -> GripPubControl:
    return GripPubControl({"control_uri": fanway.publish_url})


def test_gripcontrol_publishes_to_a_stream(
    grip: GripPubControl, stream: Stream, channel: str
) -> None:
    reply = stream(channel)
    grip.publish_http_stream(channel, "data: text\n\n", id="1")
    grip.publish_http_stream(channel, HttpStreamFormat(b"\x00\xff"), id="2", prev_id="1")
    reply.expect(b"data: text\n\n\x00\xff")


def test_gripcontrol_closes_a_stream(grip: GripPubControl, stream: Stream, channel: str) -> None:
    reply = stream(channel)
    grip.publish_http_stream(channel, HttpStreamFormat(close=True))
    reply.expect_end()


def test_gripcontrol_answers_a_poll(grip: GripPubControl, poll: Poll, channel: str) -> None:
    client = poll(channel)
    form = HttpResponseFormat(code=404, reason="Gone Fishing", headers={"X-One": "1"}, body="text")
    grip.publish_http_response(channel, form, blocking=True)
    reply = client.response()
    assert (reply.status, reply.reason, reply.body) == (404, "Gone Fishing", b"text")
    assert reply.one("X-One") == "1"


def test_gripcontrol_publishes_in_the_background(
    grip: GripPubControl, stream: Stream, channel: str
) -> None:
    reply = stream(channel)
    told: queue.Queue[tuple[bool, str]] = queue.Queue()
    grip.publish_http_stream(
        channel, "later", callback=lambda good, why: told.put((good, why)), blocking=False
    )
    assert told.get(timeout=10)[0]
    reply.expect(b"later")


def test_gripcontrol_hears_of_an_error(grip: GripPubControl, channel: str) -> None:
    form = HttpResponseFormat(code=5000, body="")
    with pytest.raises(ValueError, match="failed to publish"):
        grip.publish_http_response(channel, form, blocking=True)


def test_pubcontrol_publishes_items_of_several_formats(
    fanway: Fanway, stream: Stream, poll: Poll, channel: str
) -> None:
    reply, client = stream(channel), poll(channel)
    publisher = PubControl()
    publisher.add_client(PubControlClient(fanway.publish_url))
    formats = [HttpStreamFormat("streamed"), HttpResponseFormat(body="polled")]
    publisher.publish(channel, Item(formats, id="1"))
    reply.expect(b"streamed")
    assert client.response().body == b"polled"
