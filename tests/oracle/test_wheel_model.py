"""The timer wheel against a dictionary of deadlines that is searched from end to end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastpath import probe_floor2 as probe
from fastpath.probe_floor2 import TICK_MS
from fastpath.wheel import Wheel

REVOLUTION_MS = 4096 * TICK_MS

SLOTS = st.integers(0, 20) | st.integers(0, 200)  # beyond the columns as they are at first
SPANS_MS = (
    st.integers(0, 3 * TICK_MS)
    | st.integers(0, 60_000)
    | st.integers(REVOLUTION_MS - TICK_MS, REVOLUTION_MS + TICK_MS)
    | st.integers(0, 5 * REVOLUTION_MS)
)


class WheelAgainstModel(RuleBasedStateMachine):
    """Whatever is armed, disarmed and swept, nobody is early, late or forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.wheel = Wheel()
        self.deadlines: dict[int, int] = {}
        self.now_ms = 0

    @initialize(now_ms=st.integers(0, 10**10))
    def start(self, now_ms: int) -> None:
        self.now_ms = now_ms
        assert probe.due(self.wheel, now_ms) == []

    @rule(slot=SLOTS, after_ms=SPANS_MS)
    def arm(self, slot: int, after_ms: int) -> None:
        probe.arm(self.wheel, slot, self.now_ms + after_ms)
        self.deadlines[slot] = self.now_ms + after_ms

    @rule(slot=SLOTS, ago_ms=SPANS_MS)
    def arm_in_the_past(self, slot: int, ago_ms: int) -> None:
        probe.arm(self.wheel, slot, max(0, self.now_ms - ago_ms))
        self.deadlines[slot] = self.now_ms  # as good as now

    @rule(slot=SLOTS)
    def disarm(self, slot: int) -> None:
        probe.disarm(self.wheel, slot)
        self.deadlines.pop(slot, None)

    @rule(span_ms=SPANS_MS)
    def sweep(self, span_ms: int) -> None:
        self.now_ms += span_ms
        due = probe.due(self.wheel, self.now_ms)
        assert len(due) == len(set(due))
        for slot in due:
            assert self.deadlines.pop(slot) <= self.now_ms, "early"
        assert all(self.now_ms - at < TICK_MS for at in self.deadlines.values()), "late"

    @rule()
    def sleep_until_next(self) -> None:
        if not self.deadlines:
            assert probe.next_ms(self.wheel) == 0
            return
        at_ms = probe.next_ms(self.wheel)
        assert at_ms > self.now_ms, "no progress"
        assert at_ms < max(self.now_ms + 1, min(self.deadlines.values())) + TICK_MS, "too late"
        self.sweep(at_ms - self.now_ms)

    @invariant()
    def the_columns_agree_with_each_other(self) -> None:
        probe.check_wheel(self.wheel)

    @invariant()
    def the_wheel_agrees_with_the_model(self) -> None:
        assert self.wheel.armed_count == len(self.deadlines)
        assert {slot for slot in range(201) if probe.armed(self.wheel, slot)} == set(self.deadlines)


TestWheelAgainstModel = WheelAgainstModel.TestCase
TestWheelAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
