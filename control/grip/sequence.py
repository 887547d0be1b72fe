"""The order of items on each channel: duplicates, reordering, last ids (GRIP.md 1.8, 2.7, 2.8).

Decides which items go out now and which wait for the one before them. Never recovers what is
missing, never knows a subscriber; time is an argument, in seconds that never run backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from control.grip.item import Item

CHANNELS_MAX = 1_000_000  # whose last id is remembered, the least recently published go first (2.8)
IDS_MAX = 250_000  # seen ids: about 75 MB; above 4,000 ids a second 60 s of them no longer fit
WAITING_PER_CHANNEL_MAX = 100  # items out of order on one channel (2.8)
WAITING_MAX = 10_000  # items out of order in all: each may be as long as a publish body


class Sequencer:
    """Puts items in order, channel by channel.

    An item without ids costs two dictionary look-ups. `duplicate_count` and `overflow_count` are
    the items dropped so far, as seen before and as too many out of order.
    """

    def __init__(self, *, wait_seconds: float = 5.0, id_ttl_seconds: float = 60.0) -> None:
        self._wait_seconds = wait_seconds
        self._id_ttl_seconds = id_ttl_seconds
        self._last_ids: OrderedDict[str, str] = OrderedDict()  # by channel
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()  # until when
        self._waiting: dict[str, dict[str, Item]] = {}  # by channel and prev-id
        self._due: OrderedDict[tuple[str, str], float] = OrderedDict()  # when; the same items
        self.duplicate_count = 0
        self.overflow_count = 0

    def push(self, item: Item, now: float, subscribed: bool) -> list[Item]:
        """Take one item, and return those that go out now, in order.

        `subscribed` says whether its channel has a subscriber, lingering ones included: for a
        channel without one nothing is remembered and nothing waits.
        """
        if item.id is not None and self._is_duplicate(item.channel, item.id, now):
            self.duplicate_count += 1
            return []
        if item.no_seq or not subscribed:
            return [item]
        last_id = self._last_ids.get(item.channel)
        if last_id is None or item.prev_id is None or item.prev_id == last_id:
            return self._release(item)
        self._keep(item, item.prev_id, now)
        return []

    def due(self, now: float, is_subscribed: Callable[[str], bool]) -> list[Item]:
        """The items that have waited long enough, oldest first, each with those it lets go."""
        released: list[Item] = []
        while self._due:
            channel, prev_id = key = next(iter(self._due))
            if self._due[key] > now:
                break
            item = self._take(channel, prev_id)
            released += self._release(item) if is_subscribed(channel) else [item]
        return released

    def next_due(self) -> float | None:
        """When the oldest waiting item will have waited long enough; None if none waits."""
        return next(iter(self._due.values()), None)

    def last_id(self, channel: str) -> str | None:
        """The id of the item released last; None if it is not known."""
        return self._last_ids.get(channel)

    def forget(self, channel: str) -> None:
        """Forget a channel's last id: it conflicts with an origin's, or nobody subscribes.

        Items that wait stay: they are released when they are due.
        """
        self._last_ids.pop(channel, None)

    def recover(self) -> None:
        """Forget the last ids of all channels."""
        self._last_ids.clear()

    def _is_duplicate(self, channel: str, item_id: str, now: float) -> bool:
        """Whether an id was seen not long ago; it counts as seen from now on."""
        if not self._id_ttl_seconds:
            return False
        seen = self._seen
        while seen and next(iter(seen.values())) <= now:
            seen.popitem(last=False)
        key = (channel, item_id)
        if key in seen:
            return True
        seen[key] = now + self._id_ttl_seconds
        if len(seen) > IDS_MAX:
            seen.popitem(last=False)
        return False

    def _release(self, item: Item) -> list[Item]:
        """Let an item go, and all that waited for it in turn."""
        released = [item]
        channel = item.channel
        waiting = self._waiting.get(channel, ())
        last_id = item.id
        while last_id is not None and last_id in waiting:
            item = self._take(channel, last_id)
            released.append(item)
            last_id = item.id
        self._last_ids.pop(channel, None)
        if last_id is not None:
            self._last_ids[channel] = last_id
            if len(self._last_ids) > CHANNELS_MAX:
                self._last_ids.popitem(last=False)
        return released

    def _keep(self, item: Item, prev_id: str, now: float) -> None:
        """Let an item wait for the one before it. Of two with one predecessor the first stays."""
        waiting = self._waiting.get(item.channel, {})
        if prev_id in waiting:
            self.duplicate_count += 1
        elif len(waiting) >= WAITING_PER_CHANNEL_MAX or len(self._due) >= WAITING_MAX:
            self.overflow_count += 1
        else:
            self._waiting.setdefault(item.channel, waiting)[prev_id] = item
            self._due[item.channel, prev_id] = now + self._wait_seconds

    def _take(self, channel: str, prev_id: str) -> Item:
        """Remove an item that waits."""
        del self._due[channel, prev_id]
        waiting = self._waiting[channel]
        item = waiting.pop(prev_id)
        if not waiting:
            del self._waiting[channel]
        return item
