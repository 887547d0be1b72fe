"""A limited rate of deliveries, and what becomes of the rest (GRIP.md 2.6.4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.waiting import until

RATE = 200
HWM = 50
BURST = RATE * 50 // 1000  # what leaves at once after a rest
NAMED_HOST = "named.test"


@pytest.fixture(scope="module")
def limited(hub: Hub) -> Iterator[Fanway]:
    """An instance whose rate is limited, with a route of its own line."""
    flags = ("--message-rate", str(RATE), "--message-hwm", str(HWM))
    routes = [f"* {hub.target}", f"{NAMED_HOST},id=named {hub.target}"]
    with Fanway(*flags, routes=routes) as fanway:
        yield fanway


@pytest.fixture
def follow(limited: Fanway, connect: Callable[..., Client]) -> Callable[..., Reply]:
    """The reply to a client that follows a channel."""

    def follow(origin: Origin, channel: str) -> Reply:
        origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"-"))
        reply = connect(limited.address).send(request(origin.host)).reply()
        reply.expect(b"-")
        return reply

    return follow


def publish(fanway: Fanway, channel: str, count: int) -> None:
    """Publish so many items, each with its number, in one batch."""
    items = [{"channel": channel, "formats": {"http-stream": {"content": f"{n};"}}}
             for n in range(count)]  # fmt: skip
    fanway.publish_items(*items)


def numbers(count: int) -> bytes:
    return b"".join(b"%d;" % n for n in range(count))


def test_123_the_rate_of_deliveries_is_limited(
    limited: Fanway, follow: Callable[..., Reply], origin: Origin, channel: str
) -> None:
    replies = [follow(origin, channel) for _ in range(4)]
    began = time.monotonic()
    publish(limited, channel, 12)
    for reply in replies:
        reply.expect(numbers(12))
    seconds = time.monotonic() - began
    assert (4 * 12 - BURST) / RATE - 0.05 <= seconds < 1.0


def test_122_deliveries_beyond_message_hwm_are_dropped_and_it_is_said(
    limited: Fanway, follow: Callable[..., Reply], origin: Origin, channel: str
) -> None:
    reply = follow(origin, channel)
    before = len(limited.lines)
    publish(limited, channel, 200)

    def dropped() -> float:
        return limited.metric("fanway_dropped_total", reason="message_hwm")

    until(dropped, "dropped deliveries in the metrics")
    warned = limited.wait_for_log("message_hwm_exceeded", since=before)
    assert warned["level"] == "warning"
    delivered = 200 - int(dropped())
    assert warned["dropped"] == 200 - delivered
    assert HWM <= delivered <= HWM + BURST + 5  # time passes while they are published
    reply.expect(numbers(delivered))


def test_a_route_with_an_id_has_a_line_of_its_own(
    limited: Fanway, follow: Callable[..., Reply], origin: Origin, hub: Hub, channel: str
) -> None:
    busy = follow(origin, channel)
    named = hub.origin(NAMED_HOST)
    quiet = follow(named, f"{channel}-named")
    publish(limited, channel, HWM + BURST)
    began = time.monotonic()
    publish(limited, f"{channel}-named", 1)
    quiet.expect(b"0;")
    assert time.monotonic() - began < HWM / RATE
    busy.expect(numbers(HWM))
