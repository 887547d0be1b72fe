"""The hold table: who holds what."""

import pytest

from fastpath import probe_floor2 as probe
from fastpath.table import HoldTable

CHUNKED, PLAIN, RESPONSE = probe.CHUNKED, probe.PLAIN, probe.RESPONSE
MODE_RESPONSE, MODE_STREAM = 1, 2


@pytest.fixture
def table():
    return HoldTable()


def test_sessions_with_equal_bytes_share_a_spool(table):
    for slot in (3, 1, 2):
        probe.hold(table, b"news", CHUNKED, slot)
    assert probe.spools(table, b"news") == [(CHUNKED, None, [1, 2, 3])]


def test_a_variant_and_an_expected_id_make_a_spool_of_their_own(table):
    probe.hold(table, b"news", CHUNKED, 1)
    probe.hold(table, b"news", PLAIN, 2)
    probe.hold(table, b"news", CHUNKED, 3, b"17")
    assert sorted(probe.spools(table, b"news"), key=str) == sorted(
        [(CHUNKED, None, [1]), (PLAIN, None, [2]), (CHUNKED, b"17", [3])], key=str
    )


def test_a_channel_nobody_holds_has_no_spools(table):
    assert probe.spools(table, b"news") == []


def test_holding_a_channel_twice_counts_once(table):
    probe.hold(table, b"news", CHUNKED, 1)
    probe.hold(table, b"news", CHUNKED, 1)
    assert probe.spools(table, b"news") == [(CHUNKED, None, [1])]
    assert table.subscription_count == 1


def test_holding_again_with_another_id_moves_the_session(table):
    probe.hold(table, b"news", CHUNKED, 1, b"a")
    probe.hold(table, b"news", CHUNKED, 2, b"a")
    probe.hold(table, b"news", CHUNKED, 1, b"b")
    assert sorted(probe.spools(table, b"news")) == [(CHUNKED, b"a", [2]), (CHUNKED, b"b", [1])]


def test_the_last_member_fills_the_gap(table):
    for slot in range(5):
        probe.hold(table, b"news", CHUNKED, slot)
    probe.release(table, 1)
    assert probe.spools(table, b"news") == [(CHUNKED, None, [0, 2, 3, 4])]


def test_release_names_the_channels_that_nobody_holds_any_more(table):
    probe.hold(table, b"a", CHUNKED, 1)
    probe.hold(table, b"b", CHUNKED, 1)
    probe.hold(table, b"b", CHUNKED, 2)
    assert probe.release(table, 1) == [(b"a", MODE_STREAM)]
    assert probe.release(table, 2) == [(b"b", MODE_STREAM)]
    assert table.channel_count == 0


def test_a_mode_is_free_when_its_last_session_leaves(table):
    probe.hold(table, b"a", RESPONSE, 1)
    probe.hold(table, b"a", CHUNKED, 2)
    probe.hold(table, b"a", PLAIN, 3)
    assert probe.channels(table) == [(b"a", MODE_RESPONSE | MODE_STREAM)]
    assert probe.release(table, 1) == [(b"a", MODE_RESPONSE)]
    assert probe.release(table, 2) == []
    assert probe.release(table, 3) == [(b"a", MODE_STREAM)]


def test_one_channel_of_several_can_be_let_go(table):
    for channel in (b"a", b"b", b"c"):
        probe.hold(table, channel, CHUNKED, 1)
    assert probe.release_channel(table, 1, b"b") == [(b"b", MODE_STREAM)]
    assert probe.release_channel(table, 1, b"b") == []
    assert probe.held_count(table, 1) == 2


def test_a_channel_can_be_held_again_after_it_was_forgotten(table):
    probe.hold(table, b"a", CHUNKED, 1)
    probe.release(table, 1)
    probe.hold(table, b"b", CHUNKED, 2)
    probe.hold(table, b"a", PLAIN, 1)
    assert probe.spools(table, b"a") == [(PLAIN, None, [1])]
    assert probe.spools(table, b"b") == [(CHUNKED, None, [2])]


def test_the_members_of_a_spool_advance_together(table):
    probe.hold(table, b"a", CHUNKED, 1, b"1")
    probe.hold(table, b"a", CHUNKED, 2, b"1")
    probe.advance(table, b"a", CHUNKED, b"1", b"2")
    assert probe.spools(table, b"a") == [(CHUNKED, b"2", [1, 2])]
    assert probe.lasts(table, 2) == [(b"a", b"2")]


def test_spools_that_come_to_expect_the_same_id_become_one(table):
    probe.hold(table, b"a", CHUNKED, 1, b"1")
    probe.hold(table, b"a", CHUNKED, 2, b"2")
    probe.hold(table, b"a", CHUNKED, 3, b"2")
    probe.advance(table, b"a", CHUNKED, b"1", b"2")
    assert probe.spools(table, b"a") == [(CHUNKED, b"2", [1, 2, 3])]


def test_an_item_without_an_id_ends_the_tracking(table):
    probe.hold(table, b"a", CHUNKED, 1, b"1")
    probe.advance(table, b"a", CHUNKED, b"1", None)
    assert probe.spools(table, b"a") == [(CHUNKED, None, [1])]
    assert probe.lasts(table, 1) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda t: probe.hold(t, b"b", CHUNKED, 2),
        lambda t: probe.release(t, 1),
        lambda t: probe.release_channel(t, 1, b"a"),
        lambda t: probe.advance(t, b"a", CHUNKED, b"1", b"2"),
    ],
)
def test_nothing_changes_while_a_spool_is_walked(table, change):
    probe.hold(table, b"a", CHUNKED, 1, b"1")
    probe.set_walking(table, True)
    with pytest.raises(RuntimeError, match="walked"):
        change(table)
    probe.set_walking(table, False)
    assert probe.spools(table, b"a") == [(CHUNKED, b"1", [1])]


def test_many_sessions_and_channels_keep_the_columns_consistent(table):
    for slot in range(0, 1000, 90):
        for channel in range(1 + slot % 7):
            probe.hold(table, b"%d" % channel, CHUNKED, slot)
    for slot in range(0, 1000, 90):
        probe.release(table, slot)
    assert table.channel_count == table.subscription_count == 0
