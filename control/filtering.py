"""Filters at work: what an item becomes for each group of sessions that it meets (GRIP.md 3).

A MET asks, a VERDICT answers: once a group, however many clients are in it. Most filters are
values and rules (`grip/filters`); two ask an origin, and what comes after them on the same channel
waits for its answer. Never knows a session.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import lru_cache

from control.errors import FilterError
from control.filter_calls import FilterCalls
from control.grip.fields import to_text
from control.grip.filters import NETWORK_FILTERS, Subscriber, apply, content_filters
from control.grip.published import Published
from control.grip.traits import Traits
from control.house import House
from control.link import codec
from control.link.packets import Action, Group, Met, Mode, Verdict
from control.link.server import Link
from control.log import log

TRAITS_KEPT_MAX = 4096  # read traits that are remembered; each as long as its metadata
WAITING_MAX = 1000  # items of one channel and worker that wait behind one that asks an origin

KINDS = {Mode.RESPONSE: "http-response", Mode.STREAM: "http-stream", Mode.WS: "ws-message"}
FAULT_TEXTS = {
    Mode.RESPONSE: "{why}\n",
    Mode.STREAM: "\n\n{why}\n",
    Mode.WS: "{why}",
}
CLOSE_REASON_MAX_BYTES = 123  # RFC 6455 5.5

_read_traits = lru_cache(TRAITS_KEPT_MAX)(Traits.decode)
_NO_TRAITS = Traits()


class Mismatch(Exception):
    """An item is meant for sessions with other content filters (GRIP.md 3.8)."""


class Filtering:
    """The items that have met filters."""

    def __init__(self, house: House) -> None:
        """Must be made in a running loop."""
        self._calls = FilterCalls(house)
        # Channels of a worker where an origin is being asked, and what waits behind that.
        self._lines: dict[tuple[Link, bytes], deque[Met]] = {}
        self._tasks: dict[tuple[Link, bytes], asyncio.Task[None]] = {}

    def met(self, link: Link, met: Met) -> None:
        """Answer for each group, at once if nothing has to be waited for."""
        key = link, met.channel
        line = self._lines.get(key)
        if line is not None:
            if len(line) >= WAITING_MAX:
                log.warning("filter_overflow", channel=to_text(met.channel))
                met.contents.clear()
                met.groups[:] = [_hopeless(group) for group in met.groups]
            line.append(met)
        elif any(_asks(group) for group in met.groups):
            self._lines[key] = deque((met,))
            self._tasks[key] = asyncio.create_task(self._work(key))
        else:
            self._answer(link, met, [self._judge(met, group) for group in met.groups])

    def lost(self, link: Link) -> None:
        """Forget a worker."""
        for key in [key for key in self._tasks if key[0] is link]:
            self._tasks.pop(key).cancel()
            del self._lines[key]

    def stop(self) -> None:
        """Answer nobody any more."""
        for task in self._tasks.values():
            task.cancel()

    async def _work(self, key: tuple[Link, bytes]) -> None:
        """Answer one item after another, for as long as any waits."""
        line = self._lines[key]
        while line:
            met = line[0]
            verdicts = await asyncio.gather(*(self._ask(met, group) for group in met.groups))
            self._answer(key[0], met, list(verdicts))
            line.popleft()
        del self._lines[key], self._tasks[key]

    def _answer(self, link: Link, met: Met, verdicts: list[tuple[Verdict, bytes]]) -> None:
        try:
            packet = codec.verdict(met.number, verdicts)
        except ValueError as error:  # all of them together do not fit a packet
            log.warning("item_dropped", channel=to_text(met.channel), reason=str(error))
            packet = codec.verdict(met.number, [(Verdict.FAULT, b"")] * len(verdicts))
        link.order(packet)

    # -- one group

    def _judge(self, met: Met, group: Group) -> tuple[Verdict, bytes]:
        """Filter for a group whose filters ask nobody."""
        traits = _NO_TRAITS
        try:
            traits = _traits_of(group)
            published, subscriber = _read(met, group, traits)
            content = met.contents.get(group.mode, b"")
            made = apply(traits.filters, content, published.meta, subscriber)
        except (FilterError, Mismatch) as error:
            return _fault(traits, group.mode, error)
        return _verdict(group, content, made)

    async def _ask(self, met: Met, group: Group) -> tuple[Verdict, bytes]:
        """Filter for a group, some of whose filters may ask an origin."""
        traits = _NO_TRAITS
        try:
            traits = _traits_of(group)
            published, subscriber = _read(met, group, traits)
            content = met.contents.get(group.mode, b"")
            made: bytes | None = content
            for name in traits.filters:
                if made is None:
                    break
                if name in NETWORK_FILTERS:
                    lasts = _lasts_before(met, group, published, traits.prefix)
                    made = await self._calls.ask(name, made, published, traits, lasts)
                else:
                    made = apply((name,), made, published.meta, subscriber)
        except (FilterError, Mismatch) as error:
            return _fault(traits, group.mode, error)
        except Exception:
            log.exception("internal_error", where="filtering")
            return Verdict.FAULT, b""
        return _verdict(group, content, made)


def _asks(group: Group) -> bool:
    try:
        return not NETWORK_FILTERS.isdisjoint(_traits_of(group).filters)
    except FilterError:
        return False


def _traits_of(group: Group) -> Traits:
    try:
        return _read_traits(group.traits) if group.traits else _NO_TRAITS
    except ValueError as error:  # a control of another version made them
        raise FilterError(f"traits that cannot be read: {error}") from None


def _hopeless(group: Group) -> Group:
    """Give a group whose verdict is a fault, without anything to compute."""
    return Group(group.mode, group.action, b"\x00", [])


def _read(met: Met, group: Group, traits: Traits) -> tuple[Published, Subscriber]:
    """Take apart what came back from the worker. Mismatch if the item is not for the group."""
    published = Published.decode(met.meta)
    wanted = published.content_filters.get(KINDS[group.mode])
    if wanted is not None and group.action is Action.SEND:
        there = content_filters(traits.filters)
        if there != wanted:
            names = f"subscription={','.join(there)} message={','.join(wanted)}"
            raise Mismatch(f"content filter mismatch: {names}")
    ids: dict[str, str | None] = dict.fromkeys(traits.channels)
    ids |= {to_text(name).removeprefix(traits.prefix): to_text(last) for name, last in group.ids}
    return published, Subscriber(traits.meta, ids)


def _lasts_before(
    met: Met, group: Group, published: Published, prefix: str
) -> list[tuple[str, str]]:
    """Give the last ids of a group as they were before the item."""
    lasts: list[tuple[str, str]] = []
    for name, last in group.ids:
        before = published.prev_id if name == met.channel else to_text(last)
        if before is not None:
            lasts.append((to_text(name).removeprefix(prefix), before))
    return lasts


def _verdict(group: Group, content: bytes, made: bytes | None) -> tuple[Verdict, bytes]:
    if made is None:
        return Verdict.DROP, b""
    if made == content or group.action is not Action.SEND:
        return Verdict.AS_PUBLISHED, b""
    return Verdict.INSTEAD, made


def _fault(traits: Traits, mode: Mode, error: Exception) -> tuple[Verdict, bytes]:
    """Keep an item from a group; in debug mode its sessions end with the reason (GRIP.md 3.3)."""
    why = str(error) if isinstance(error, Mismatch) else f"filter error: {error}"
    log.debug("filter_error", reason=why)
    if not traits.is_debug:
        return Verdict.FAULT, b""
    text = FAULT_TEXTS[mode].format(why=why).encode("utf-8", "surrogateescape")
    if mode is Mode.WS:
        text = text[:CLOSE_REASON_MAX_BYTES].decode("utf-8", "ignore").encode()
    return Verdict.FAULT, text
