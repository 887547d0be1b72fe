"""Items that publishers send over ZeroMQ: PULL, and SUB for the channels that are subscribed to.

Understands messages; what an item means is `grip.item`, where it goes is `publish`. There is no
way to answer: what cannot be used is logged and dropped (GRIP.md 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from control.errors import ItemError
from control.grip.fields import to_bytes, to_text
from control.grip.payload import read_item
from control.link.server import LinkServer
from control.log import log
from control.publish import Publisher
from control.zeromq.sockets import Sockets, endpoint

NO_LIMIT = 0


class PullIngest:
    """The PULL socket: each message is an item, which names its channel."""

    def __init__(
        self, sockets: Sockets, spec: str, *, publisher: Publisher, links: LinkServer
    ) -> None:
        """Listen. CannotOpen."""
        self._publisher = publisher
        socket = sockets.open(zmq.PULL, [spec], name="push_in_spec")
        sockets.read(socket, self._take, links.uncongested)
        self.address = endpoint(socket)

    def _take(self, parts: list[bytes]) -> None:
        if len(parts) != 1:
            _drop("push_in_spec", f"a message of {len(parts)} parts")
            return
        try:
            item = read_item(parts[0])
        except ItemError as error:
            _drop("push_in_spec", str(error))
        else:
            self._publisher.publish([item])


class SubIngest:
    """The SUB socket: a message is a channel's name and an item.

    Publishers see its subscriptions, so that they send, and make, nothing that nobody reads.
    """

    def __init__(
        self,
        sockets: Sockets,
        specs: Sequence[str],
        *,
        connect: bool,
        publisher: Publisher,
        links: LinkServer,
    ) -> None:
        """Listen or connect. CannotOpen."""
        self._publisher = publisher
        self._topics: set[bytes] = set()  # as many as there are channels
        # A subscription that does not fit the queue would be lost without a word.
        self._socket = sockets.open(
            zmq.SUB, specs, name="push_in_sub_specs", connect=connect, send_max=NO_LIMIT
        )
        self._reading = sockets.read(self._socket, self._take, links.uncongested)
        self.address = None if connect else endpoint(self._socket)

    def subscribe(self, channel: str) -> None:
        """Ask publishers for a channel: it has its first subscriber."""
        topic = to_bytes(channel)
        self._topics.add(topic)
        self._socket.subscribe(topic)
        self._reading.look()

    def unsubscribe(self, channel: str) -> None:
        """Ask publishers for a channel no longer: it has been forgotten."""
        topic = to_bytes(channel)
        self._topics.remove(topic)
        self._socket.unsubscribe(topic)
        self._reading.look()

    def _take(self, parts: list[bytes]) -> None:
        if len(parts) != 2:
            _drop("push_in_sub_specs", f"a message of {len(parts)} parts")
            return
        topic, payload = parts
        if topic not in self._topics:  # it only begins like one that is
            return
        try:
            item = read_item(payload, to_text(topic))
        except ItemError as error:
            _drop("push_in_sub_specs", str(error))
        else:
            self._publisher.publish([item])


def _drop(where: str, why: str) -> None:
    log.warning("item_refused", where=where, reason=why)
