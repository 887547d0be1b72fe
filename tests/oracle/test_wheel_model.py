"""The timer wheel against a dictionary of deadlines."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastpath import probe_floor2 as probe
from fastpath.wheel import Wheel

TICK_MS = 16
SLOTS = st.integers(0, 200)
SPANS = st.one_of(st.integers(0, 200), st.integers(0, 300_000))


class WheelMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.wheel = Wheel()
        self.now = 1_000_000
        self.model = {}  # slot -> deadline
        probe.due(self.wheel, self.now)

    @rule(slot=SLOTS, after=SPANS)
    def arm(self, slot, after):
        probe.arm(self.wheel, slot, self.now + after)
        self.model[slot] = self.now + after

    @rule(slot=SLOTS)
    def disarm(self, slot):
        probe.disarm(self.wheel, slot)
        self.model.pop(slot, None)

    @rule(span=SPANS)
    def time_passes(self, span):
        self.now += span
        due = probe.due(self.wheel, self.now)
        assert len(due) == len(set(due))
        for slot in due:
            assert self.model.pop(slot) <= self.now, "early"
        assert all(deadline > self.now - TICK_MS for deadline in self.model.values()), "forgotten"

    @rule()
    def sleep_until_next(self):
        at = probe.next_ms(self.wheel)
        if at:
            assert at > self.now - TICK_MS
            assert at <= min(self.model.values()) + 2 * TICK_MS
            self.now = max(self.now, at)
            for slot in probe.due(self.wheel, self.now):
                assert self.model.pop(slot) <= self.now

    @invariant()
    def lists_and_counts_agree(self):
        probe.check_wheel(self.wheel)
        assert self.wheel.armed_count == len(self.model)


TestWheel = WheelMachine.TestCase
TestWheel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
