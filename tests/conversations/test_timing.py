"""What takes seconds by its nature: timeouts, keep-alives, links (GRIP.md 1.6 to 1.9, 2.8).

The conversations themselves are in support/minute.py; here they are judged.
"""

from __future__ import annotations

import itertools

import pytest

from support.minute import MINUTE_SECONDS, Minute

EARLY_SECONDS = 1.0  # a keep-alive may come this much before its time, GRIP.md 1.7
SLACK_SECONDS = 0.7  # of a busy machine


def assert_about(seconds: float, expected: float, early: float = 0.0) -> None:
    """At its time; earlier by no more than allowed, later by no more than a busy machine is."""
    assert expected - early - 0.05 <= seconds <= expected + SLACK_SECONDS


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("timeout-1", 5),
        ("timeout-5", 5),
        ("timeout-6", 6),
        ("timeout-json", 5),
        ("timeout-both", 6),
    ],
)
def test_21_a_timeout_below_5_behaves_as_5_seconds_and_others_are_exact(
    minute: Minute, name: str, seconds: int
) -> None:
    assert_about(minute.record(name).head_seconds, seconds)


def test_22_a_missing_timeout_behaves_as_55_seconds(minute: Minute) -> None:
    assert_about(minute.record("timeout-default").head_seconds, MINUTE_SECONDS)


def test_45_the_timeout_gives_status_surviving_headers_and_body_of_the_origin(
    minute: Minute,
) -> None:
    record = minute.record("timeout-5")
    assert (record.status, record.reason, record.body) == (408, "Later", b"timed out")
    assert ("X-Kept", "yes") in record.headers
    assert ("Content-Length", "9") in record.headers
    assert not [name for name, _ in record.headers if name.lower().startswith("grip-")]


def test_45_a_json_hold_without_response_gives_an_empty_200(minute: Minute) -> None:
    record = minute.record("timeout-json")
    assert (record.status, record.reason, record.body) == (200, "OK", b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [("raw", b"\\n hb"), ("cstring", b":A\r\n\\"), ("base64", b"\x00\xff")],
)
def test_62_63_keep_alives_of_every_format_are_the_right_bytes(
    minute: Minute, name: str, content: bytes
) -> None:
    pieces = minute.record(name).pieces
    assert [piece for _, piece in pieces] == [content] * len(pieces)
    assert len(pieces) >= 2


@pytest.mark.parametrize("name", ["raw", "interval", "json"])
def test_66_keep_alives_come_at_their_time_or_up_to_a_second_early(
    minute: Minute, name: str
) -> None:
    times = minute.record(name).times(b"\\n hb" if name == "raw" else b"k")
    assert len(times) >= 2
    for before, after in itertools.pairwise([0.0, *times]):
        assert_about(after - before, 2, early=EARLY_SECONDS)


@pytest.mark.parametrize("name", ["idle", "unspecified"])
def test_64_publishes_put_an_idle_keep_alive_off(minute: Minute, name: str) -> None:
    record = minute.record(name)
    assert len(record.times(b"p")) >= 5
    assert record.times(b"k") == []


def test_65_publishes_do_not_put_an_interval_keep_alive_off(minute: Minute) -> None:
    record = minute.record("interval")
    assert len(record.times(b"p")) >= 5
    assert len(record.times(b"k")) >= 2


def test_66_a_keep_alive_timeout_of_0_is_one_second(minute: Minute) -> None:
    times = minute.record("zero").times(b"z")
    assert len(times) >= 4
    for before, after in itertools.pairwise(times):
        assert after - before <= 1 + SLACK_SECONDS


def test_66_the_default_keep_alive_timeout_is_55_seconds(minute: Minute) -> None:
    (seconds,) = minute.record("default").times(b"k")
    assert_about(seconds, MINUTE_SECONDS, early=EARLY_SECONDS)


def test_68_a_json_keep_alive_keeps_firing_despite_publishes(minute: Minute) -> None:
    record = minute.record("json")
    assert len(record.times(b"p")) >= 5
    assert len(record.times(b"k")) >= 2


def test_70_grip_timeout_has_no_effect_on_streams(minute: Minute) -> None:
    assert minute.record("grip-timeout").pieces == []


def test_82_a_next_link_is_followed_when_its_timeout_is_over(minute: Minute) -> None:
    record = minute.record("links")
    [(seconds, _)] = record.asked
    assert_about(seconds, 2)
    assert b"".join(piece for _, piece in record.pieces) == b"page"
    assert record.end_seconds is not None


def test_82_the_keep_alives_of_a_page_replace_those_before(minute: Minute) -> None:
    pieces = [piece for _, piece in minute.record("links-alive").pieces]
    at = pieces.index(b"page")
    assert set(pieces[:at]) == {b"a"}
    assert set(pieces[at + 1 :]) == {b"b"}
    assert len(pieces[at + 1 :]) >= 3


def test_83_activity_on_all_channels_postpones_the_link(minute: Minute) -> None:
    record = minute.record("links-all")
    assert len(record.pieces) >= 5
    assert record.asked == []


def test_83_activity_on_some_channels_does_not(minute: Minute) -> None:
    record = minute.record("links-some")
    assert len(record.times(b"p")) >= 3
    [(seconds, _)] = record.asked
    assert_about(seconds, 2)


def test_84_117_a_gap_that_stays_is_closed_by_a_page(minute: Minute) -> None:
    """The example of GRIP.md 1.9.3: 18 comes, 19 is lost, 20 has waited for it."""
    record = minute.record("gap")
    [(seconds, request)] = record.asked
    assert 5 <= seconds <= 6 + SLACK_SECONDS
    assert request.all("Grip-Last") == ["gap; last-id=18"]
    assert [piece for _, piece in record.pieces] == [b"18", b"19-20"]


def test_87_a_page_that_fails_is_asked_for_six_times_and_then_the_stream_ends(
    minute: Minute,
) -> None:
    record = minute.record("links-fail")
    times = [seconds for seconds, _ in record.asked]
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert len(waits) == 5
    for times_failed, wait in enumerate(waits):
        assert 2**times_failed <= wait <= 2**times_failed + 1 + SLACK_SECONDS
    assert record.pieces == []
    assert record.end_seconds is not None
    assert record.end_seconds - times[-1] < SLACK_SECONDS


def test_96_without_the_setting_a_first_subscription_asks_for_nothing(minute: Minute) -> None:
    assert minute.record("timeout-6").asked == []


def test_98_an_origin_is_told_when_a_hold_has_timed_out(minute: Minute) -> None:
    [(seconds, request)] = minute.record("timeout-json").asked
    assert_about(seconds, 5)
    assert (request.method, request.target, request.body) == ("POST", "/bye", b"")


def test_117_an_item_whose_predecessor_never_comes_is_delivered_after_5_to_6_seconds(
    minute: Minute,
) -> None:
    record = minute.record("late")
    (_, first), (seconds, _), *_ = record.pieces
    assert first == b"a"
    assert 5 <= seconds <= 6 + SLACK_SECONDS
    assert b"".join(piece for _, piece in record.pieces) == b"ac"
