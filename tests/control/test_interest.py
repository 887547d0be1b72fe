"""Who holds what, as control believes it: invariants 4 and 5 of the link, and lingering."""

from __future__ import annotations

import pytest

from control.interest import Interest
from control.link.packets import Mode

BOTH = Mode.RESPONSE | Mode.STREAM


@pytest.fixture
def interest() -> Interest:
    """Two workers, synced; long-polls linger for 60 s."""
    interest = Interest(linger_seconds=60)
    for worker in (0, 1):
        interest.greeted(worker)
        interest.synced(worker)
    return interest


def test_a_channel_nobody_holds_has_no_workers(interest: Interest):
    assert interest.workers_for("a") == []
    assert not interest.subscribed("a")


def test_a_mark_makes_a_worker_hold_a_channel(interest: Interest):
    interest.mark(1, "a", Mode.STREAM, 5)
    assert interest.workers_for("a") == [1]
    assert interest.subscribed("a")
    assert interest.workers_for("b") == []


def test_freed_clears_what_it_has_seen(interest: Interest):
    interest.mark(0, "a", Mode.STREAM, 5)
    assert interest.freed(0, "a", Mode.STREAM, 5, now=0)
    assert interest.workers_for("a") == []
    assert not interest.subscribed("a")


def test_freed_does_not_clear_what_it_has_not_seen(interest: Interest):
    interest.mark(0, "a", Mode.STREAM, 5)
    interest.mark(0, "a", Mode.STREAM, 9)
    assert not interest.freed(0, "a", Mode.STREAM, 8, now=0)
    assert interest.workers_for("a") == [0]
    assert interest.freed(0, "a", Mode.STREAM, 9, now=0)


def test_a_newer_hold_of_another_mode_does_not_hide_a_freed(interest: Interest):
    interest.mark(0, "a", Mode.RESPONSE, 5)
    interest.mark(0, "a", Mode.STREAM, 9)
    interest.freed(0, "a", Mode.RESPONSE, 5, now=0)
    assert interest.channels([Mode.RESPONSE]) == set()
    assert interest.channels([Mode.STREAM]) == {"a"}


def test_freed_of_several_modes_at_once(interest: Interest):
    interest.mark(0, "a", Mode.RESPONSE, 5)
    interest.mark(0, "a", Mode.STREAM, 6)
    interest.freed(0, "a", BOTH, 6, now=0)
    assert interest.workers_for("a") == []


def test_a_channel_is_subscribed_while_one_of_two_workers_holds_it(interest: Interest):
    interest.mark(0, "a", Mode.STREAM, 2)
    interest.mark(1, "a", Mode.STREAM, 2)
    assert not interest.freed(0, "a", Mode.STREAM, 2, now=0)
    assert interest.workers_for("a") == [1]


def test_freed_of_a_channel_that_is_not_held_is_nothing(interest: Interest):
    assert not interest.freed(0, "a", Mode.STREAM, 2, now=0)


def test_120_a_response_channel_lingers(interest: Interest):
    interest.mark(0, "a", Mode.RESPONSE, 2)
    assert not interest.freed(0, "a", Mode.RESPONSE, 2, now=100)
    assert interest.subscribed("a")
    assert interest.workers_for("a") == []  # remembered, but nothing is sent
    assert interest.expire(159.9) == []
    assert interest.expire(160) == ["a"]
    assert not interest.subscribed("a")


def test_polling_again_renews_the_lingering(interest: Interest):
    interest.mark(0, "a", Mode.RESPONSE, 2)
    interest.freed(0, "a", Mode.RESPONSE, 2, now=0)
    interest.mark(0, "a", Mode.RESPONSE, 3)
    assert interest.expire(60) == []  # it is held
    interest.freed(0, "a", Mode.RESPONSE, 3, now=70)
    assert interest.expire(100) == []
    assert interest.expire(130) == ["a"]


def test_lingering_ends_in_the_order_it_began(interest: Interest):
    for number, channel in enumerate("abc"):
        interest.mark(0, channel, Mode.RESPONSE, 2)
        interest.freed(0, channel, Mode.RESPONSE, 2, now=number)
    assert interest.expire(61) == ["a", "b"]


def test_without_linger_a_response_channel_is_forgotten_at_once():
    interest = Interest(linger_seconds=0)
    interest.greeted(0)
    interest.mark(0, "a", Mode.RESPONSE, 2)
    assert interest.freed(0, "a", Mode.RESPONSE, 2, now=0)


def test_until_synced_a_worker_holds_everything(interest: Interest):
    interest.greeted(2)
    assert interest.workers_for("anything") == [2]
    interest.held(2, "a", BOTH)
    interest.synced(2)
    assert interest.workers_for("anything") == []
    assert interest.workers_for("a") == [2]


def test_held_does_not_undo_a_newer_mark(interest: Interest):
    interest.greeted(2)
    interest.mark(2, "a", Mode.STREAM, 4)
    interest.held(2, "a", Mode.STREAM)
    assert not interest.freed(2, "a", Mode.STREAM, 3, now=0)


def test_what_was_held_before_the_greeting_is_freed_by_any_number(interest: Interest):
    interest.held(0, "a", Mode.STREAM)
    assert interest.freed(0, "a", Mode.STREAM, 1, now=0)


def test_the_channels_of_a_lost_worker_linger(interest: Interest):
    interest.mark(0, "a", Mode.STREAM, 2)
    interest.mark(1, "b", Mode.STREAM, 2)
    interest.lost(0, now=0)
    assert interest.workers_for("a") == []
    assert interest.subscribed("a")
    assert interest.expire(60) == ["a"]
    assert interest.channels() == {"b"}
