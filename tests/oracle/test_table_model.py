"""The hold table against a model that keeps one fact a session and channel, in a dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastpath import probe_floor2 as probe
from fastpath.table import HoldTable

CHANNELS = st.sampled_from([b"", b"a", b"b", b"c"])
SLOTS = st.integers(0, 9) | st.integers(0, 200)  # beyond the columns as they are at first
VARIANTS = st.sampled_from(list(probe.MODES))
IDS = st.sampled_from([None, b"", b"1", b"2"]).map(lambda prev_id: prev_id and prev_id + b"")

Key = tuple[int, bytes | None]  # what the members of a spool have in common


class Model:
    """Who holds what: all that the table may say follows from it."""

    def __init__(self) -> None:
        self.holds: dict[bytes, dict[int, Key]] = {}  # channel -> slot -> variant, expected id

    def hold(self, channel: bytes, slot: int, key: Key) -> None:
        self.holds.setdefault(channel, {})[slot] = key

    def release(self, slot: int, channels: Iterable[bytes]) -> set[tuple[bytes, int]]:
        before = self.modes()
        for channel in channels:
            self.holds.get(channel, {}).pop(slot, None)
        self.holds = {channel: members for channel, members in self.holds.items() if members}
        after = self.modes()
        return {
            (channel, mode)
            for channel, modes in before.items()
            for mode in set(probe.MODES.values())
            if modes & ~after.get(channel, 0) & mode
        }

    def modes(self) -> dict[bytes, int]:
        return {
            channel: reduce(or_, {probe.MODES[variant] for variant, _ in set(members.values())})
            for channel, members in self.holds.items()
        }

    def spools(self, channel: bytes) -> dict[Key, set[int]]:
        found: dict[Key, set[int]] = {}
        for slot, key in self.holds.get(channel, {}).items():
            found.setdefault(key, set()).add(slot)
        return found


class TableAgainstModel(RuleBasedStateMachine):
    """Whatever is held and released in whatever order, both say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.table = HoldTable()
        self.model = Model()

    @rule(channel=CHANNELS, variant=VARIANTS, slot=SLOTS, prev_id=IDS)
    def hold(self, channel: bytes, variant: int, slot: int, prev_id: bytes | None) -> None:
        probe.hold(self.table, channel, variant, slot, prev_id)
        self.model.hold(channel, slot, (variant, prev_id))

    @rule(channel=CHANNELS, key=st.tuples(VARIANTS, IDS), count=st.integers(50, 150))
    def hold_many(self, channel: bytes, key: Key, count: int) -> None:
        for slot in range(count):
            self.hold(channel, key[0], slot, key[1])

    @rule(slot=SLOTS)
    def release(self, slot: int) -> None:
        freed = probe.release(self.table, slot)
        assert len(freed) == len(set(freed))
        assert set(freed) == self.model.release(slot, list(self.model.holds))

    @rule(slot=SLOTS, channel=CHANNELS)
    def release_channel(self, slot: int, channel: bytes) -> None:
        freed = probe.release_channel(self.table, slot, channel)
        assert set(freed) == self.model.release(slot, [channel])

    @rule()
    def release_all(self) -> None:
        for slot in {slot for members in self.model.holds.values() for slot in members}:
            self.release(slot)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), prev_id=IDS)
    def advance(self, data: st.DataObject, prev_id: bytes | None) -> None:
        channel = data.draw(st.sampled_from(sorted(self.model.holds)))
        walked = probe.walk(self.table, channel)
        number, variant, _, slots = data.draw(st.sampled_from(walked))
        probe.advance(self.table, number, prev_id)
        for slot in slots:
            self.model.hold(channel, slot, (variant, prev_id))

    @invariant()
    def the_columns_agree_with_each_other(self) -> None:
        probe.check_table(self.table)

    @invariant()
    def the_table_agrees_with_the_model(self) -> None:
        assert dict(probe.channels(self.table)) == self.model.modes()
        assert self.table.channel_count == len(self.model.holds)
        assert self.table.subscription_count == sum(map(len, self.model.holds.values()))
        for channel in (b"", b"a", b"b", b"c"):
            walked = probe.walk(self.table, channel)
            assert {(v, i): set(slots) for _, v, i, slots in walked} == self.model.spools(channel)

    @invariant()
    def sessions_agree_with_the_model(self) -> None:
        for slot in range(10):
            mine = {c: members[slot] for c, members in self.model.holds.items() if slot in members}
            assert sorted(probe.held(self.table, slot)) == sorted(mine)
            tracked = {channel: i for channel, (_, i) in mine.items() if i is not None}
            assert dict(probe.lasts(self.table, slot)) == tracked


TestTableAgainstModel = TableAgainstModel.TestCase
TestTableAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
