"""The hold table: who holds what, in which spool, and what is left when they go."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from itertools import count

import pytest

from fastpath import probe_floor2 as probe
from fastpath.probe_floor2 import (
    MODE_RESPONSE,
    MODE_STREAM,
    RESPONSE,
    STREAM_CHUNKED,
    STREAM_PLAIN,
)
from fastpath.table import HoldTable

Spools = dict[tuple[int, bytes | None], set[int]]


@pytest.fixture
def table() -> HoldTable:
    return HoldTable()


def spools(table: HoldTable, channel: bytes = b"a") -> Spools:
    """The members of each spool of a channel, by what they have in common."""
    probe.check_table(table)
    walked = probe.walk(table, channel)
    found = {(variant, prev_id): set(slots) for _, variant, prev_id, slots in walked}
    assert len(found) == len(walked), "two spools with the same key"
    return found


def number(table: HoldTable, prev_id: bytes | None, channel: bytes = b"a") -> int:
    """The number of the one spool that expects this id."""
    [found] = [spool[0] for spool in probe.walk(table, channel) if spool[2] == prev_id]
    return found


# -- holding ---------------------------------------------------------------------------------------


def test_sessions_that_get_the_same_bytes_share_a_spool(table: HoldTable) -> None:
    for slot in range(10):
        probe.hold(table, b"a", RESPONSE, slot)
    assert spools(table) == {(RESPONSE, None): set(range(10))}


def test_each_variant_and_each_expected_id_has_a_spool_of_its_own(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1)
    probe.hold(table, b"a", STREAM_CHUNKED, 2)
    probe.hold(table, b"a", STREAM_PLAIN, 3)
    probe.hold(table, b"a", STREAM_PLAIN, 4, b"7")
    probe.hold(table, b"a", STREAM_PLAIN, 5, b"")
    assert spools(table) == {
        (RESPONSE, None): {1},
        (STREAM_CHUNKED, None): {2},
        (STREAM_PLAIN, None): {3},
        (STREAM_PLAIN, b"7"): {4},
        (STREAM_PLAIN, b""): {5},
    }


def test_expected_ids_are_compared_by_their_bytes(table: HoldTable) -> None:
    one, other = b"id-1", bytes(bytearray(b"id-1"))
    assert one is not other
    probe.hold(table, b"a", RESPONSE, 1, one)
    probe.hold(table, b"a", RESPONSE, 2, other)
    assert spools(table) == {(RESPONSE, b"id-1"): {1, 2}}


def test_a_channel_that_nobody_holds_has_no_spools(table: HoldTable) -> None:
    assert spools(table, b"nobody") == {}


def test_a_hold_that_is_repeated_is_one_hold(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1, b"7")
    probe.hold(table, b"a", RESPONSE, 1, b"7")
    assert spools(table) == {(RESPONSE, b"7"): {1}}
    assert table.subscription_count == 1
    assert probe.held(table, 1) == [b"a"]


def test_a_hold_with_another_id_moves_the_session(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1, b"7")
    probe.hold(table, b"a", RESPONSE, 2, b"7")
    probe.hold(table, b"a", RESPONSE, 1, b"8")
    assert spools(table) == {(RESPONSE, b"7"): {2}, (RESPONSE, b"8"): {1}}
    probe.hold(table, b"a", RESPONSE, 2, b"8")
    assert spools(table) == {(RESPONSE, b"8"): {1, 2}}
    assert table.subscription_count == 2


def test_the_only_session_of_a_channel_can_move(table: HoldTable) -> None:
    probe.hold(table, b"a", STREAM_CHUNKED, 1)
    probe.hold(table, b"a", STREAM_PLAIN, 1, b"7")
    assert spools(table) == {(STREAM_PLAIN, b"7"): {1}}
    assert table.channel_count == 1


def test_a_session_holds_many_channels_and_channels_many_sessions(table: HoldTable) -> None:
    names = [b"channel-%d" % i for i in range(300)]
    for slot in range(0, 300, 3):
        for name in names[: slot + 1]:
            probe.hold(table, name, RESPONSE, slot)
    for i in range(0, 300, 50):
        assert spools(table, names[i]) == {
            (RESPONSE, None): {s for s in range(0, 300, 3) if s >= i}
        }
    assert sorted(probe.held(table, 297)) == sorted(names[:298])
    assert probe.held(table, 298) == probe.held(table, 10**6) == []


# -- releasing -------------------------------------------------------------------------------------


def test_release_ends_all_holds_of_a_session_and_nobody_elses(table: HoldTable) -> None:
    for channel in (b"a", b"b"):
        for slot in (1, 2, 3):
            probe.hold(table, channel, RESPONSE, slot)
    assert probe.release(table, 2) == []
    assert spools(table, b"a") == spools(table, b"b") == {(RESPONSE, None): {1, 3}}


def test_release_of_one_channel_keeps_the_others(table: HoldTable) -> None:
    for channel in (b"a", b"b", b"c"):
        probe.hold(table, channel, RESPONSE, 1)
    assert probe.release_channel(table, 1, b"b") == [(b"b", MODE_RESPONSE)]
    assert spools(table, b"b") == {}
    assert spools(table, b"a") == spools(table, b"c") == {(RESPONSE, None): {1}}
    assert sorted(probe.held(table, 1)) == [b"a", b"c"]


def test_a_mode_is_freed_when_its_last_session_has_left(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1)
    probe.hold(table, b"a", STREAM_CHUNKED, 2)
    probe.hold(table, b"a", STREAM_PLAIN, 3)
    assert probe.release(table, 2) == []
    assert probe.release(table, 1) == [(b"a", MODE_RESPONSE)]
    assert probe.release(table, 3) == [(b"a", MODE_STREAM)]


def test_sessions_that_expect_different_ids_are_of_one_mode(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1)
    probe.hold(table, b"a", RESPONSE, 2, b"7")
    assert probe.release(table, 1) == []
    assert probe.release(table, 2) == [(b"a", MODE_RESPONSE)]


def test_a_channel_without_sessions_is_forgotten(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1)
    probe.hold(table, b"b", RESPONSE, 2)
    probe.release(table, 1)
    assert spools(table) == {}
    assert probe.channels(table) == [(b"b", MODE_RESPONSE)]
    assert table.channel_count == 1


def test_release_of_what_is_not_held_does_nothing(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1)
    probe.hold(table, b"b", RESPONSE, 2)
    for slot in (0, 3, 10**6):
        assert probe.release(table, slot) == []
        assert probe.release_channel(table, slot, b"a") == []
    assert probe.release_channel(table, 1, b"b") == probe.release_channel(table, 1, b"c") == []
    assert table.subscription_count == 2


def test_rows_spools_and_channels_are_used_again(table: HoldTable) -> None:
    def come_and_go() -> None:
        for slot in range(500):
            probe.hold(table, b"%d" % slot, RESPONSE, slot, b"7")
            probe.hold(table, b"all", STREAM_CHUNKED, slot)
        for slot in range(500):
            probe.release(table, slot)
        probe.check_table(table)

    tracemalloc.start()
    try:
        come_and_go()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(4):
            come_and_go()
        # What the threads of other fixtures allocate meanwhile is counted too.
        assert tracemalloc.get_traced_memory()[0] - before < 16_384
    finally:
        tracemalloc.stop()
    assert table.channel_count == table.subscription_count == 0


# -- what is asked ---------------------------------------------------------------------------------


def test_channels_have_the_modes_in_which_they_are_held(table: HoldTable) -> None:
    probe.hold(table, b"polled", RESPONSE, 1)
    probe.hold(table, b"streamed", STREAM_PLAIN, 2)
    probe.hold(table, b"both", RESPONSE, 1)
    probe.hold(table, b"both", STREAM_CHUNKED, 2)
    assert dict(probe.channels(table)) == {
        b"polled": MODE_RESPONSE,
        b"streamed": MODE_STREAM,
        b"both": MODE_RESPONSE | MODE_STREAM,
    }
    assert probe.modes(table, b"both") == MODE_RESPONSE | MODE_STREAM
    assert probe.modes(table, b"nobody") == 0


def test_lasts_are_the_expected_ids_where_ids_are_tracked(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1, b"7")
    probe.hold(table, b"b", RESPONSE, 1)
    probe.hold(table, b"c", RESPONSE, 1, b"")
    probe.hold(table, b"a", RESPONSE, 2, b"8")
    assert dict(probe.lasts(table, 1)) == {b"a": b"7", b"c": b""}
    assert probe.lasts(table, 3) == probe.lasts(table, 10**6) == []


# -- advancing -------------------------------------------------------------------------------------


def test_an_advanced_spool_expects_the_new_id_and_keeps_its_members(table: HoldTable) -> None:
    for slot in range(5):
        probe.hold(table, b"a", STREAM_CHUNKED, slot, b"7")
    spool = number(table, b"7")
    probe.advance(table, spool, b"8")
    assert spools(table) == {(STREAM_CHUNKED, b"8"): set(range(5))}
    assert number(table, b"8") == spool
    assert probe.lasts(table, 3) == [(b"a", b"8")]


def test_an_item_without_an_id_ends_the_tracking(table: HoldTable) -> None:
    probe.hold(table, b"a", STREAM_CHUNKED, 1, b"7")
    probe.advance(table, number(table, b"7"), None)
    assert spools(table) == {(STREAM_CHUNKED, None): {1}}
    assert probe.lasts(table, 1) == []


@pytest.mark.parametrize(("behind", "ahead"), [(2, 9), (9, 2), (3, 3)])
def test_spools_that_come_to_expect_the_same_id_become_one(
    table: HoldTable, behind: int, ahead: int
) -> None:
    everybody = range(behind + ahead)
    for slot in everybody:
        probe.hold(table, b"a", STREAM_CHUNKED, slot, b"7" if slot < behind else b"8")
    larger = number(table, b"7" if behind > ahead else b"8")
    probe.advance(table, number(table, b"7"), b"8")
    assert spools(table) == {(STREAM_CHUNKED, b"8"): set(everybody)}
    assert number(table, b"8") == larger, "the smaller joins the larger"
    for slot in everybody:
        probe.release(table, slot)
    assert table.channel_count == 0


def test_spools_of_another_variant_or_channel_stay_apart(table: HoldTable) -> None:
    probe.hold(table, b"a", STREAM_CHUNKED, 1, b"7")
    probe.hold(table, b"a", STREAM_PLAIN, 2, b"8")
    probe.hold(table, b"b", STREAM_CHUNKED, 3, b"8")
    probe.advance(table, number(table, b"7"), b"8")
    assert spools(table) == {(STREAM_CHUNKED, b"8"): {1}, (STREAM_PLAIN, b"8"): {2}}
    assert spools(table, b"b") == {(STREAM_CHUNKED, b"8"): {3}}


def test_advancing_to_the_id_that_is_expected_changes_nothing(table: HoldTable) -> None:
    probe.hold(table, b"a", STREAM_CHUNKED, 1, b"7")
    probe.advance(table, number(table, b"7"), b"7")
    assert spools(table) == {(STREAM_CHUNKED, b"7"): {1}}


# -- the guard -------------------------------------------------------------------------------------


def test_nothing_changes_the_table_while_it_is_walked(table: HoldTable) -> None:
    probe.hold(table, b"a", RESPONSE, 1, b"7")
    changes: list[Callable[[], object]] = [
        lambda: probe.hold(table, b"a", RESPONSE, 1, b"7"),
        lambda: probe.hold(table, b"b", RESPONSE, 2),
        lambda: probe.release(table, 1),
        lambda: probe.release(table, 2),
        lambda: probe.release_channel(table, 1, b"a"),
        lambda: probe.release_channel(table, 1, b"b"),
        lambda: probe.advance(table, number(table, b"7"), b"8"),
    ]
    probe.set_walking(table, True)
    for change in changes:
        with pytest.raises(RuntimeError, match="walked"):
            change()
    probe.set_walking(table, False)
    assert spools(table) == {(RESPONSE, b"7"): {1}}
    assert table.channel_count == table.subscription_count == 1


# -- memory ----------------------------------------------------------------------------------------


def test_expected_ids_are_let_go() -> None:
    ids = [b"id %d of nobody else" % i for i in range(4)]
    before = [sys.getrefcount(prev_id) for prev_id in ids]

    def kept() -> list[int]:
        now = [sys.getrefcount(prev_id) for prev_id in ids]
        return [count - first for count, first in zip(now, before, strict=True)]

    table = HoldTable()
    probe.hold(table, b"a", STREAM_CHUNKED, 1, ids[0])
    probe.hold(table, b"a", STREAM_CHUNKED, 2, ids[1])
    probe.hold(table, b"a", STREAM_CHUNKED, 3, ids[1])
    probe.hold(table, b"b", STREAM_CHUNKED, 3, ids[3])
    assert kept() == [1, 1, 0, 1]
    probe.advance(table, number(table, ids[0]), ids[1])  # joins
    probe.advance(table, number(table, ids[1]), ids[2])
    assert kept() == [0, 0, 1, 1]
    probe.release_channel(table, 3, b"b")
    assert kept() == [0, 0, 1, 0]
    del table
    assert kept() == [0, 0, 0, 0]


def full_of(holds: int) -> HoldTable:
    """A table in which each column is full, but for spools with members to spare."""
    table = HoldTable()
    for slot in range(holds):
        probe.hold(table, b"channel-%d" % slot, RESPONSE, slot)
    return table


CHANGES: dict[str, Callable[[HoldTable], object]] = {
    "a first hold": lambda table: probe.hold(table, b"new", RESPONSE, 1000, b"7"),
    "another channel": lambda table: probe.hold(table, b"new", RESPONSE, 3, b"7"),
    "another spool": lambda table: probe.hold(table, b"channel-3", STREAM_PLAIN, 5, b"7"),
    "a fuller spool": lambda table: probe.hold(table, b"crowded", RESPONSE, 40),
    "a move": lambda table: probe.hold(table, b"channel-3", RESPONSE, 3, b"7"),
    "a merger": lambda table: probe.advance(table, number(table, b"7", b"crowded"), b"8"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_memory_changes_nothing(change: str) -> None:
    for allocations in count():
        table = full_of(56)
        for slot in range(4):
            probe.hold(table, b"crowded", RESPONSE, slot)
            probe.hold(table, b"crowded", RESPONSE, slot + 10, b"7" if slot else b"8")
        before = everything(table)
        try:
            probe.with_allocations(allocations, CHANGES[change], table)
        except MemoryError:
            assert everything(table) == before
        else:
            assert everything(table) != before
            assert allocations > 1, "it asked for no memory"
            return
        CHANGES[change](table)  # and it can be done later
        assert everything(table) != before


def everything(table: HoldTable) -> dict[bytes, Spools]:
    return {channel: spools(table, channel) for channel, _ in probe.channels(table)}


def size_of(make: Callable[[], object]) -> int:
    """Bytes of every kind of memory that `make` has added."""
    tracemalloc.start()
    try:
        made = make()
        size = tracemalloc.get_traced_memory()[0]
        del made
    finally:
        tracemalloc.stop()
    return size


def test_a_hold_of_a_crowded_channel_costs_less_than_40_bytes() -> None:
    def crowd() -> HoldTable:
        table = HoldTable()
        for slot in range(15_000):
            probe.hold(table, b"a", STREAM_CHUNKED, slot, b"7")
        return table

    assert size_of(crowd) < 40 * 15_000


def test_a_channel_with_one_hold_costs_less_than_400_bytes() -> None:
    names = [b"channel-%d" % i for i in range(10_000)]

    def scatter() -> HoldTable:
        table = HoldTable()
        for slot, name in enumerate(names):
            probe.hold(table, name, RESPONSE, slot)
        return table

    assert size_of(scatter) < 400 * 10_000
