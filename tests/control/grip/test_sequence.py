"""The order of items (GRIP.md 1.8, 2.7, 2.8; checklist 115 to 120)."""

from __future__ import annotations

import pytest

from control.grip import sequence
from control.grip.item import Item
from control.grip.sequence import Sequencer


def item(item_id: str | None, prev_id: str | None = None, *, no_seq: bool = False) -> Item:
    return Item("c", (), item_id, prev_id, no_seq=no_seq)


def everybody(channel: str) -> bool:
    return True


def nobody(channel: str) -> bool:
    return False


def ids(items: list[Item]) -> list[str | None]:
    return [released.id for released in items]


@pytest.fixture
def sequencer() -> Sequencer:
    """A sequencer that has released item a."""
    made = Sequencer()
    made.push(item("a"), 0.0, subscribed=True)
    return made


def test_items_without_ids_go_out_at_once() -> None:
    sequencer = Sequencer()
    for _ in range(3):
        assert len(sequencer.push(item(None), 0.0, subscribed=True)) == 1
    assert sequencer.last_id("c") is None


def test_115_a_second_item_with_one_id_is_dropped_for_60_seconds() -> None:
    sequencer = Sequencer()
    assert ids(sequencer.push(item("a"), 0.0, subscribed=True)) == ["a"]
    assert sequencer.push(item("a"), 59.9, subscribed=True) == []
    assert sequencer.duplicate_count == 1
    # The duplicate did not begin another 60 seconds.
    assert ids(sequencer.push(item("a"), 60.0, subscribed=True)) == ["a"]


@pytest.mark.parametrize("no_seq", [True, False])
def test_115_a_duplicate_is_one_with_no_seq_and_without_subscribers_too(no_seq: bool) -> None:
    sequencer = Sequencer()
    sequencer.push(item("a"), 0.0, subscribed=False)
    assert sequencer.push(item("a", no_seq=no_seq), 1.0, subscribed=False) == []


def test_the_same_id_on_another_channel_is_no_duplicate() -> None:
    sequencer = Sequencer()
    sequencer.push(item("a"), 0.0, subscribed=True)
    assert len(sequencer.push(Item("d", (), "a"), 0.0, subscribed=True)) == 1


def test_without_a_ttl_nothing_is_a_duplicate() -> None:
    sequencer = Sequencer(id_ttl_seconds=0)
    for _ in range(2):
        assert len(sequencer.push(item("a"), 0.0, subscribed=True)) == 1


def test_no_more_than_so_many_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "IDS_MAX", 2)
    sequencer = Sequencer()
    for name in ("a", "b", "c"):
        sequencer.push(item(name), 0.0, subscribed=True)
    assert sequencer.push(item("c"), 0.0, subscribed=True) == []
    assert ids(sequencer.push(item("a"), 0.0, subscribed=True)) == ["a"]


def test_116_items_out_of_order_go_out_in_order(sequencer: Sequencer) -> None:
    for name, prev_id in (("e", "d"), ("d", "c"), ("c", "b")):
        assert sequencer.push(item(name, prev_id), 0.0, subscribed=True) == []
    assert ids(sequencer.push(item("b", "a"), 0.0, subscribed=True)) == ["b", "c", "d", "e"]
    assert sequencer.last_id("c") == "e"
    assert sequencer.next_due() is None


def test_117_an_item_whose_predecessor_never_comes_goes_out_after_5_seconds(
    sequencer: Sequencer,
) -> None:
    sequencer.push(item("c", "b"), 1.0, subscribed=True)
    sequencer.push(item("d", "c"), 2.0, subscribed=True)
    assert sequencer.next_due() == 6.0
    assert sequencer.due(5.9, everybody) == []
    assert ids(sequencer.due(6.0, everybody)) == ["c", "d"]
    assert sequencer.last_id("c") == "d"


def test_items_that_waited_long_enough_go_out_in_the_order_they_came(sequencer: Sequencer) -> None:
    sequencer.push(item("x", "w"), 1.0, subscribed=True)
    sequencer.push(item("c", "b"), 2.0, subscribed=True)
    assert ids(sequencer.due(9.0, everybody)) == ["x", "c"]


def test_118_the_first_item_of_a_channel_goes_out_whatever_its_prev_id() -> None:
    sequencer = Sequencer()
    assert ids(sequencer.push(item("b", "a"), 0.0, subscribed=True)) == ["b"]
    assert sequencer.last_id("c") == "b"


def test_an_item_without_prev_id_goes_out_and_becomes_the_last(sequencer: Sequencer) -> None:
    assert ids(sequencer.push(item("z"), 0.0, subscribed=True)) == ["z"]
    assert sequencer.last_id("c") == "z"


def test_an_item_without_id_ends_tracking(sequencer: Sequencer) -> None:
    sequencer.push(item(None, "a"), 0.0, subscribed=True)
    assert sequencer.last_id("c") is None


def test_119_no_seq_bypasses_waiting_and_leaves_the_last_id(sequencer: Sequencer) -> None:
    released = sequencer.push(item("z", "y", no_seq=True), 0.0, subscribed=True)
    assert ids(released) == ["z"]
    assert sequencer.last_id("c") == "a"


def test_120_without_subscribers_items_go_out_and_nothing_is_remembered() -> None:
    sequencer = Sequencer()
    assert ids(sequencer.push(item("b", "a"), 0.0, subscribed=False)) == ["b"]
    assert sequencer.last_id("c") is None


def test_120_a_forgotten_channel_starts_afresh(sequencer: Sequencer) -> None:
    sequencer.forget("c")
    assert sequencer.last_id("c") is None
    assert ids(sequencer.push(item("z", "y"), 0.0, subscribed=True)) == ["z"]


def test_120_an_item_that_outwaits_its_subscribers_is_not_remembered(sequencer: Sequencer) -> None:
    sequencer.push(item("c", "b"), 0.0, subscribed=True)
    sequencer.forget("c")
    assert ids(sequencer.due(5.0, nobody)) == ["c"]
    assert sequencer.last_id("c") is None


def test_items_that_wait_survive_a_conflict(sequencer: Sequencer) -> None:
    sequencer.push(item("c", "b"), 0.0, subscribed=True)
    sequencer.forget("c")
    assert ids(sequencer.push(item("b", "x"), 1.0, subscribed=True)) == ["b", "c"]


def test_recover_forgets_every_last_id(sequencer: Sequencer) -> None:
    sequencer.push(Item("d", (), "1"), 0.0, subscribed=True)
    sequencer.recover()
    assert (sequencer.last_id("c"), sequencer.last_id("d")) == (None, None)


def test_of_two_items_with_one_predecessor_the_first_stays(sequencer: Sequencer) -> None:
    sequencer.push(item("c", "b"), 0.0, subscribed=True)
    sequencer.push(item("x", "b"), 0.0, subscribed=True)
    assert ids(sequencer.push(item("b", "a"), 0.0, subscribed=True)) == ["b", "c"]
    assert sequencer.duplicate_count == 1


def test_no_more_than_100_items_of_a_channel_wait(sequencer: Sequencer) -> None:
    for number in range(101):
        sequencer.push(item(f"{number}", f"before {number}"), 0.0, subscribed=True)
    assert sequencer.overflow_count == 1
    assert len(sequencer.due(5.0, everybody)) == 100


def test_no_more_than_so_many_items_wait_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "WAITING_MAX", 3)
    sequencer = Sequencer()
    for number in range(5):
        sequencer.push(Item(f"{number}", (), "a"), 0.0, subscribed=True)
        sequencer.push(Item(f"{number}", (), "c", "b"), 0.0, subscribed=True)
    assert sequencer.overflow_count == 2
    assert len(sequencer.due(5.0, everybody)) == 3


def test_no_more_than_so_many_last_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "CHANNELS_MAX", 2)
    sequencer = Sequencer()
    for channel, item_id in (("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")):
        sequencer.push(Item(channel, (), item_id), 0.0, subscribed=True)
    assert [sequencer.last_id(channel) for channel in "abc"] == ["2", None, "1"]
