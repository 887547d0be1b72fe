"""Items lost, doubled and late between a publisher and Fanway: real processes, real clients.

The long version is the model in tests/oracle/test_reliable_model.py.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub, Request, Wire
from support.spelling import answer, request

_numbers = itertools.count()


@pytest.fixture(scope="module")
def impatient(hub: Hub) -> Iterator[Fanway]:
    """A Fanway that does not wait long for what is late."""
    with Fanway("--message-wait", "20", routes=[f"* {hub.target}"]) as fanway:
        yield fanway


class Feed:
    """A channel of numbers, and its origin, which knows all of them."""

    def __init__(self, hub: Hub, fanway: Fanway) -> None:
        self.channel = f"feed-{next(_numbers)}"
        self.origin = hub.origin(f"{self.channel}.test")
        self.origin.answers(self._answer)
        self._fanway = fanway
        self._lock = threading.Lock()
        self.last = 0

    def _answer(self, wire: Wire, asked: Request) -> None:
        last_id = (asked.one("Grip-Last") or "last-id=0").rpartition("last-id=")[2]
        with self._lock:
            last = self.last
        numbers = range(int(last_id) + 1, last + 1)
        grip = (
            "Grip-Hold: stream",
            f"Grip-Channel: {self.channel}; prev-id={last}",
            "Grip-Link: </p>; rel=next; timeout=1",
        )
        wire.send(answer(*grip, body="".join(f"{number}\n" for number in numbers).encode()))

    def store(self) -> dict[str, object]:
        """Make the next item."""
        with self._lock:
            self.last += 1
            number = self.last
        return {
            "channel": self.channel,
            "id": str(number),
            "prev-id": str(number - 1),
            "formats": {"http-stream": {"content": f"{number}\n"}},
        }

    def expected(self) -> bytes:
        """What each client is to see in the end."""
        return "".join(f"{number}\n" for number in range(1, self.last + 1)).encode()


FATES = st.sampled_from(["sent", "sent", "lost", "twice", "late"])


@settings(max_examples=15, deadline=None)
@given(st.lists(FATES, min_size=1, max_size=12), st.lists(st.integers(0, 12), max_size=2))
def test_each_client_sees_each_item_once_and_in_order(
    hub: Hub, impatient: Fanway, fates: list[str], connecting: list[int]
) -> None:
    feed = Feed(hub, impatient)
    clients = [Client(impatient.address).send(request(feed.origin.host))]
    replies = [clients[0].reply()]
    late: list[dict[str, object]] = []
    for number, fate in enumerate(fates):
        for _ in range(connecting.count(number)):
            clients.append(Client(impatient.address).send(request(feed.origin.host)))
            replies.append(clients[-1].reply())
        item = feed.store()
        if fate == "late":
            late.append(item)
        elif fate != "lost":
            impatient.publish_items(*[item] * (2 if fate == "twice" else 1))
    impatient.publish_items(*reversed(late))
    for reply in replies:
        reply.expect(feed.expected())
    for client in clients:
        client.close()
