"""The hold table against a dictionary: after any sequence of operations the two agree."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastpath import probe_floor2 as probe
from fastpath.table import HoldTable

CHANNELS = st.sampled_from([b"a", b"b", b"c", b"d"])
VARIANTS = st.sampled_from([probe.RESPONSE, probe.CHUNKED, probe.PLAIN])
SLOTS = st.integers(0, 90)
IDS = st.sampled_from([None, b"1", b"2", b"3", b""])


class TableMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.table = HoldTable()
        self.model = {}  # (channel, slot) -> (variant, prev_id)

    def modes(self):
        return {(c, 1 if v == probe.RESPONSE else 2) for (c, _), (v, _) in self.model.items()}

    @rule(channel=CHANNELS, variant=VARIANTS, slot=SLOTS, prev_id=IDS)
    def hold(self, channel, variant, slot, prev_id):
        probe.hold(self.table, channel, variant, slot, prev_id)
        self.model[channel, slot] = variant, prev_id

    @rule(slot=SLOTS)
    def release(self, slot):
        before = self.modes()
        self.model = {k: v for k, v in self.model.items() if k[1] != slot}
        assert set(probe.release(self.table, slot)) == before - self.modes()

    @rule(slot=SLOTS, channel=CHANNELS)
    def release_channel(self, slot, channel):
        before = self.modes()
        self.model.pop((channel, slot), None)
        assert set(probe.release_channel(self.table, slot, channel)) == before - self.modes()

    @rule(channel=CHANNELS, variant=VARIANTS, prev_id=IDS, new_id=IDS)
    def advance(self, channel, variant, prev_id, new_id):
        members = [k for k, v in self.model.items() if k[0] == channel and v == (variant, prev_id)]
        assert probe.advance(self.table, channel, variant, prev_id, new_id) == bool(members)
        for key in members:
            self.model[key] = variant, new_id

    @invariant()
    def spools_are_the_models(self):
        for channel in (b"a", b"b", b"c", b"d"):
            expected = {}
            for (name, slot), key in self.model.items():
                if name == channel:
                    expected.setdefault(key, []).append(slot)
            assert sorted(probe.spools(self.table, channel), key=str) == sorted(
                ((v, p, sorted(slots)) for (v, p), slots in expected.items()), key=str
            )

    @invariant()
    def counts_agree(self):
        assert self.table.subscription_count == len(self.model)
        assert self.table.channel_count == len({channel for channel, _ in self.model})


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
