"""Interest, watched: whoever watches sees each channel come once, and go once it is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from control.interest import MODES
from control.link.packets import Mode
from control.watched_interest import WatchedInterest

LINGER_SECONDS = 60


class Seen:
    """An interest, and what its watcher has seen."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.interest = WatchedInterest(
            LINGER_SECONDS,
            gained=lambda channel: self.changes.append(f"+{channel}"),
            forgotten=lambda channel: self.changes.append(f"-{channel}"),
        )
        for worker in (0, 1):
            self.interest.greeted(worker)
            self.interest.synced(worker)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_114_the_first_of_all_workers_and_modes_is_told(seen: Seen) -> None:
    seen.interest.mark(0, "a", Mode.STREAM, 1)
    seen.interest.mark(1, "a", Mode.WS, 1)
    assert seen.changes == ["+a"]


def test_114_the_last_of_all_workers_and_modes_is_told(seen: Seen) -> None:
    seen.interest.mark(0, "a", Mode.STREAM, 1)
    seen.interest.mark(1, "a", Mode.WS, 1)
    seen.interest.freed(0, "a", Mode.STREAM, 1, now=0)
    assert seen.changes == ["+a"]
    seen.interest.freed(1, "a", Mode.WS, 1, now=0)
    assert seen.changes == ["+a", "-a"]


def test_114_a_long_poll_is_forgotten_after_it_has_lingered(seen: Seen) -> None:
    seen.interest.mark(0, "a", Mode.RESPONSE, 1)
    seen.interest.freed(0, "a", Mode.RESPONSE, 1, now=0)
    seen.interest.expire(LINGER_SECONDS - 1)
    assert seen.changes == ["+a"]
    seen.interest.expire(LINGER_SECONDS)
    assert seen.changes == ["+a", "-a"]


def test_a_stale_freed_is_no_change(seen: Seen) -> None:
    seen.interest.mark(0, "a", Mode.STREAM, 5)
    seen.interest.freed(0, "a", Mode.STREAM, 4, now=0)
    assert seen.changes == ["+a"]


def test_what_a_worker_held_before_is_told(seen: Seen) -> None:
    seen.interest.held(0, "a", Mode.STREAM)
    assert seen.changes == ["+a"]


class WatchedMachine(RuleBasedStateMachine):
    """Whatever happens, the watcher knows exactly what is subscribed."""

    @initialize()
    def begin(self) -> None:
        self.seen = Seen()
        self.now = 0.0
        self.number = 0

    @rule(worker=st.integers(0, 1), channel=st.sampled_from("ab"), mode=st.sampled_from(MODES))
    def mark(self, worker: int, channel: str, mode: Mode) -> None:
        self.number += 1
        self.seen.interest.mark(worker, channel, mode, self.number)

    @rule(worker=st.integers(0, 1), channel=st.sampled_from("ab"), modes=st.integers(1, 7))
    def free(self, worker: int, channel: str, modes: int) -> None:
        self.seen.interest.freed(worker, channel, modes, self.number, self.now)

    @rule(worker=st.integers(0, 1))
    def lose(self, worker: int) -> None:
        self.seen.interest.lost(worker, self.now)
        self.seen.interest.greeted(worker)
        self.seen.interest.synced(worker)

    @rule(seconds=st.sampled_from([1, LINGER_SECONDS]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.seen.interest.expire(self.now)

    @invariant()
    def the_watcher_knows(self) -> None:
        for channel in "ab":
            changes = [change for change in self.seen.changes if change[1] == channel]
            assert changes == [f"{'+-'[n % 2]}{channel}" for n in range(len(changes))]
            assert (len(changes) % 2 == 1) == self.seen.interest.subscribed(channel)


TestWatched = WatchedMachine.TestCase
