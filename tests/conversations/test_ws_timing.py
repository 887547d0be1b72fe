"""What takes WebSockets seconds by its nature: keep-alives and retries (GRIP.md 4.3, 4.9, 5.4).

The conversations themselves are in support/ws_minute.py; here they are judged.
"""

from __future__ import annotations

import itertools

import pytest

from support.ws_minute import DEFAULT_SECONDS, INTERVAL_MIN_SECONDS, WsMinute
from support.wsspelling import event

SLACK_SECONDS = 1.5  # of a busy machine


def assert_about(seconds: float, expected: float) -> None:
    assert expected - 0.1 <= seconds <= expected + SLACK_SECONDS


def test_145_an_empty_answer_leaves_the_handshake_pending(ws_minute: WsMinute) -> None:
    heard = ws_minute.heard("pending")
    assert_about(heard.handshake_seconds, INTERVAL_MIN_SECONDS)
    assert heard.times("mark")
    first, second = heard.requests[:2]
    assert first.body == second.body == b"OPEN\r\n"
    assert first.one("Connection-Id") == second.one("Connection-Id")


def test_153_an_interval_below_20_is_20_and_the_request_is_empty(ws_minute: WsMinute) -> None:
    heard = ws_minute.heard("over-http")
    (seconds,) = heard.times("mark")
    assert_about(seconds, INTERVAL_MIN_SECONDS)
    keep_alive = heard.requests[1]
    assert (keep_alive.body, keep_alive.one("Content-Length")) == (b"", "0")


def test_153_an_interval_of_0_disables(ws_minute: WsMinute) -> None:
    assert len(ws_minute.heard("over-http").requests) == 2


def test_155_with_a_keep_alive_the_close_is_said_again(ws_minute: WsMinute) -> None:
    heard = ws_minute.heard("close")
    assert [one.body for one in heard.requests[1:]] == [event("CLOSE", b"\x0f\xa0bye")] * 2
    assert heard.ended_seconds is not None
    assert_about(heard.ended_seconds, INTERVAL_MIN_SECONDS)
    assert heard.close == (4001, "end")


def test_159_after_five_retries_the_same_body_arrives(ws_minute: WsMinute) -> None:
    ((seconds, message),) = ws_minute.heard("back").messages
    assert message == "mark"
    assert 30.9 <= seconds <= 36 + SLACK_SECONDS
    assert ws_minute.lost["back"].bodies == [b"OPEN\r\n", event("TEXT", "hello")]


def test_159_after_five_retries_the_client_is_dropped(ws_minute: WsMinute) -> None:
    heard = ws_minute.heard("lost")
    assert heard.ended_seconds is not None
    assert 30.9 <= heard.ended_seconds <= 36 + SLACK_SECONDS
    assert heard.close is None


def test_178_the_default_keep_alive_is_55_seconds(ws_minute: WsMinute) -> None:
    (seconds,) = ws_minute.heard("default").times("k")
    assert DEFAULT_SECONDS - 1.1 <= seconds <= DEFAULT_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("name", ["idle", "unknown"])
def test_178_traffic_puts_an_idle_keep_alive_off(ws_minute: WsMinute, name: str) -> None:
    heard = ws_minute.heard(name)
    assert len(heard.times("p")) >= 5
    assert heard.times("k") == []


def test_178_traffic_does_not_put_an_interval_keep_alive_off(ws_minute: WsMinute) -> None:
    heard = ws_minute.heard("interval")
    assert len(heard.times("p")) >= 5
    assert len(heard.times("k")) >= 2
    for before, after in itertools.pairwise([0.0, *heard.times("k")]):
        assert 0.9 <= after - before <= 2 + SLACK_SECONDS


def test_178_without_content_it_ends(ws_minute: WsMinute) -> None:
    assert ws_minute.heard("replaced").messages == []
