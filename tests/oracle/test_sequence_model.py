"""The sequencer against a model that keeps lists and searches them (GRIP.md 2.7, 2.8)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from control.grip.item import Item
from control.grip.sequence import WAITING_PER_CHANNEL_MAX, Sequencer

WAIT_SECONDS = 5.0
TTL_SECONDS = 4.0

CHANNELS = st.sampled_from(["a", "b"])
IDS = st.none() | st.integers(0, 6).map(str)


class Model:
    """The rules of GRIP.md, in the order it states them, at any cost."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, float]] = []  # channel, id, when
        self.last: dict[str, str | None] = {}
        self.waiting: list[tuple[float, Item]] = []  # since when; oldest first
        self.subscribed = {"a", "b"}

    def push(self, item: Item, now: float) -> list[Item]:
        if item.id is not None:
            for channel, item_id, when in self.seen:
                if (channel, item_id) == (item.channel, item.id) and now - when < TTL_SECONDS:
                    return []
            self.seen.append((item.channel, item.id, now))
        if item.no_seq or item.channel not in self.subscribed:
            return [item]
        if self.last.get(item.channel) in (None, item.prev_id) or item.prev_id is None:
            return self.release(item)
        mine = [kept for _, kept in self.waiting if kept.channel == item.channel]
        if len(mine) < WAITING_PER_CHANNEL_MAX and all(k.prev_id != item.prev_id for k in mine):
            self.waiting.append((now, item))
        return []

    def release(self, item: Item) -> list[Item]:
        if item.channel not in self.subscribed:
            return [item]
        self.last[item.channel] = item.id
        for entry in self.waiting:
            kept = entry[1]
            if item.id is not None and (kept.channel, kept.prev_id) == (item.channel, item.id):
                self.waiting.remove(entry)
                return [item, *self.release(kept)]
        return [item]

    def due(self, now: float) -> list[Item]:
        released = []
        while self.waiting and self.waiting[0][0] + WAIT_SECONDS <= now:
            _, item = self.waiting.pop(0)
            released += self.release(item)
        return released


class SequencerAgainstModel(RuleBasedStateMachine):
    """Whatever is pushed, in whatever order, both release the same items in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.model = Model()
        self.sequencer = Sequencer(wait_seconds=WAIT_SECONDS, id_ttl_seconds=TTL_SECONDS)

    @rule(channel=CHANNELS, item_id=IDS, prev_id=IDS, no_seq=st.sampled_from([False] * 9 + [True]))
    def push(self, channel: str, item_id: str | None, prev_id: str | None, no_seq: bool) -> None:
        item = Item(channel, (), item_id, prev_id, no_seq=no_seq)
        subscribed = channel in self.model.subscribed
        assert self.sequencer.push(item, self.now, subscribed) == self.model.push(item, self.now)

    @rule(channel=CHANNELS, numbers=st.permutations(range(5)))
    def push_a_chain(self, channel: str, numbers: list[int]) -> None:
        for number in numbers:
            self.push(channel, str(number), str(number - 1), False)

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        is_subscribed = self.model.subscribed.__contains__
        assert self.sequencer.due(self.now, is_subscribed) == self.model.due(self.now)

    @rule(channel=CHANNELS)
    def subscribe(self, channel: str) -> None:
        self.model.subscribed.add(channel)

    @rule(channel=CHANNELS)
    def unsubscribe(self, channel: str) -> None:
        self.model.subscribed.discard(channel)
        self.conflict(channel)

    @rule(channel=CHANNELS)
    def conflict(self, channel: str) -> None:
        self.model.last.pop(channel, None)
        self.sequencer.forget(channel)

    @rule()
    def recover(self) -> None:
        self.model.last.clear()
        self.sequencer.recover()

    @invariant()
    def last_ids_agree(self) -> None:
        for channel in ("a", "b"):
            assert self.sequencer.last_id(channel) == self.model.last.get(channel)

    @invariant()
    def nothing_is_kept_of_what_went_out(self) -> None:
        kept = [list(waiting.values()) for waiting in self.sequencer._waiting.values()]
        assert all(kept)
        assert sum(map(len, kept)) == len(self.sequencer._due) == len(self.model.waiting)

    @invariant()
    def next_due_agrees(self) -> None:
        oldest = self.model.waiting[0][0] + WAIT_SECONDS if self.model.waiting else None
        assert self.sequencer.next_due() == oldest


TestSequencerAgainstModel = SequencerAgainstModel.TestCase
TestSequencerAgainstModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
