"""From a published item to the workers that hold its channel.

item -> Sequencer -> one PUBLISH packet -> each worker that is interested. A packet is encoded once
an item, and the items of a batch leave in one write a worker. Never waits: whoever publishes asks
first whether a link is congested.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping

import orjson

from control.grip.fields import to_bytes
from control.grip.item import Action, Format, HttpResponse, HttpStream, Item, WsMessage, WsType
from control.grip.published import Published
from control.grip.sequence import Sequencer
from control.interest import Interest
from control.link import codec
from control.link.packets import Action as LinkAction
from control.link.packets import FormatKind, Kind, Mode
from control.link.server import Link
from control.log import log
from control.stats import Stats

ACTIONS = {
    Action.HINT: LinkAction.HINT,
    Action.CLOSE: LinkAction.CLOSE,
    Action.REFRESH: LinkAction.REFRESH,
}
WS_KINDS = {
    WsType.TEXT: Kind.TEXT,
    WsType.BINARY: Kind.BINARY,
    WsType.PING: Kind.PING,
    WsType.PONG: Kind.PONG,
}


class Publisher:
    """The way of every item through control."""

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        interest: Interest,
        links: Mapping[int, Link],
        stats: Stats,
    ) -> None:
        """Must be made in a running loop. `links` are the greeted ones, by worker."""
        self._sequencer = sequencer
        self._interest = interest
        self._links = links
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # for the oldest item that waits
        self.received: Callable[[Item], None] | None = None  # told of each item, if anybody is

    def publish(self, items: Iterable[Item]) -> None:
        """Send each item to its subscribers, or let it wait for the one before it."""
        now = self._loop.time()
        for item in items:
            self._stats.items_count += 1
            if self.received is not None:
                self.received(item)
            subscribed = self._interest.subscribed(item.channel)
            for released in self._sequencer.push(item, now, subscribed):
                self._send(released)
        self._arm()
        for link in self._links.values():
            link.write()
        # On a core that they share, a worker goes first: who waits for the item waits longer than
        # who has published it.
        os.sched_yield()

    def recover(self) -> None:
        """Forget all last ids, and update every HTTP session (GRIP.md 9.2)."""
        self._sequencer.recover()
        for channel in self._interest.channels([Mode.RESPONSE, Mode.STREAM]):
            self.update(channel)

    def update(self, channel: str) -> None:
        """Make the long-polls of a channel ask again, and its streams follow their links."""
        kinds = FormatKind.HTTP_RESPONSE, FormatKind.HTTP_STREAM
        hints = [codec.bare_format(kind, LinkAction.HINT) for kind in kinds]
        packet = codec.publish(to_bytes(channel), None, None, hints)
        self._order(self._interest.workers_for(channel), packet)

    def refresh(self, channel: str) -> None:
        """Make the WebSockets of a channel ask their origins, if they do so over HTTP (4.8)."""
        form = [codec.bare_format(FormatKind.WS_MESSAGE, LinkAction.REFRESH)]
        packet = codec.publish(to_bytes(channel), None, None, form)
        self._order(self._interest.workers_for(channel), packet)

    def stop(self) -> None:
        """Leave what waits where it is."""
        if self._timer is not None:
            self._timer.cancel()

    def _send(self, item: Item) -> None:
        workers = self._interest.workers_for(item.channel)
        if not workers:
            self._stats.dropped["no_subscriber"] += 1
            return
        try:
            self._order(workers, encode_item(item))
        except ValueError as error:  # it does not fit a packet of the link
            log.warning("item_dropped", channel=item.channel, reason=str(error))
            self._stats.dropped["too_large"] += 1

    def _order(self, workers: Iterable[int], packet: bytes) -> None:
        for worker in workers:
            self._links[worker].order(packet)

    def _arm(self) -> None:
        """Keep one timer, for the oldest item that waits; nothing waits longer than it."""
        due = self._sequencer.next_due()
        if due is not None and self._timer is None:
            self._timer = self._loop.call_at(due, self._release_due)

    def _release_due(self) -> None:
        self._timer = None
        for item in self._sequencer.due(self._loop.time(), self._interest.subscribed):
            self._send(item)
        self._arm()


def encode_item(item: Item) -> bytes:
    """Make the PUBLISH packet of an item. ValueError if it does not fit one."""
    return codec.publish(
        to_bytes(item.channel),
        None if item.id is None else to_bytes(item.id),
        None if item.prev_id is None else to_bytes(item.prev_id),
        [encode_format(form) for form in item.formats],
        Published.of(item).encode(),
    )


def encode_format(form: Format) -> bytes:
    """Make the bytes of one format, for PUBLISH (fastpath/LINK.md)."""
    if isinstance(form, HttpStream):
        if form.action is Action.SEND:
            return codec.stream_format(form.content)
        return codec.bare_format(FormatKind.HTTP_STREAM, ACTIONS[form.action])
    if isinstance(form, HttpResponse):
        return _http_response(form)
    return _ws_message(form)


def _http_response(form: HttpResponse) -> bytes:
    if form.action is not Action.SEND:
        return codec.bare_format(FormatKind.HTTP_RESPONSE, ACTIONS[form.action])
    is_patch = form.body is None
    return codec.response_format(
        status=form.status,
        reason=form.reason,
        headers=form.headers,
        body=orjson.dumps(form.body_patch) if form.body is None else form.body,
        patch=is_patch,
    )


def _ws_message(form: WsMessage) -> bytes:
    if form.action is Action.SEND:
        return codec.ws_format(WS_KINDS[form.type], form.content)
    if form.action is Action.CLOSE:
        return codec.ws_close_format(form.code or 0, form.reason)
    return codec.bare_format(FormatKind.WS_MESSAGE, ACTIONS[form.action])
