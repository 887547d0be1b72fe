"""The checks that instructs and items share (GRIP.md 1.5, 2.5)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.grip import values
from control.grip.values import BadValue


@given(st.binary())
def test_base64_is_decoded_with_and_without_padding(content: bytes) -> None:
    text = base64.b64encode(content)
    assert values.decode_base64(text) == content
    assert values.decode_base64(text.rstrip(b"=").decode()) == content


@given(st.text())
def test_any_text_is_decoded_as_base64(text: str) -> None:
    kept = "".join(c for c in text if c.isascii() and (c.isalnum() or c in "+/"))
    assert values.decode_base64(text) == values.decode_base64(kept)


def test_bad_characters_in_base64_are_skipped() -> None:
    assert values.decode_base64("aG\n k*=\n") == b"hi"


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), (4.6, 5), ("7", 7), (0, 0)], ids=["int", "real", "text", "zero"]
)
def test_what_can_be_read_as_an_integer_is_one(value: object, number: int) -> None:
    assert values.integer({"n": value}, "n", "it") == number


@pytest.mark.parametrize("value", [None, True, [], {}, "abc", ""])
def test_what_is_no_number_has_the_wrong_type(value: object) -> None:
    with pytest.raises(BadValue, match="it contains 'n' with wrong type"):
        values.integer({"n": value}, "n", "it")


@pytest.mark.parametrize("value", [-1, 11])
def test_an_integer_outside_its_range_is_invalid(value: int) -> None:
    with pytest.raises(BadValue, match="it contains 'n' with invalid value"):
        values.integer({"n": value}, "n", "it", most=10)


@pytest.mark.parametrize(
    "given_headers", [{"X-A": "1", "X-B": "é "}, [["X-A", "1"], ["X-B", "é "]]], ids=["map", "list"]
)
def test_32_headers_are_an_object_or_a_list_of_pairs(given_headers: object) -> None:
    block = values.headers({"headers": given_headers}, "it")
    assert block == [(b"X-A", b"1"), (b"X-B", "é".encode())]


def test_32_a_list_of_pairs_may_repeat_a_header() -> None:
    pairs = [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]]
    assert values.headers({"headers": pairs}, "it") == [
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
    ]


@pytest.mark.parametrize(
    ("given_headers", "text"),
    [
        ("X: 1", "it contains 'headers' with wrong type"),
        (None, "it contains 'headers' with wrong type"),
        ({"X": 1}, "headers contains 'X' with wrong type"),
        (["X"], "headers contains element with wrong type"),
        ([["X"]], "headers contains list with wrong number of elements"),
        ([["X", "1", "2"]], "headers contains list with wrong number of elements"),
        ([["X", 1]], "headers contains 'X' with wrong type"),
        ([["X", "1"]] * 1001, "headers contains too many elements"),
    ],
)
def test_headers_of_a_wrong_form_are_refused(given_headers: Any, text: str) -> None:
    with pytest.raises(BadValue) as caught:
        values.headers({"headers": given_headers}, "it")
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "value"), [("X", "1\r\nSet-Cookie: a=1"), ("X", "a\0"), ("X\r\nY", "1"), ("", "1")]
)
def test_headers_cannot_break_out_of_their_line(name: str, value: str) -> None:
    with pytest.raises(BadValue, match=r"\Aheaders contains "):
        values.headers({"headers": [[name, value]]}, "it")


@pytest.mark.parametrize(
    "name", ["Grip-Hold", "grip-foo", "Content-Length", "Transfer-Encoding", "Connection"]
)
def test_headers_of_grip_and_of_framing_do_not_reach_clients(name: str) -> None:
    assert values.headers({"headers": {name: "1", "X": "2"}}, "it") == [(b"X", b"2")]


def test_a_reason_cannot_break_out_of_the_status_line() -> None:
    with pytest.raises(BadValue, match="it contains 'reason' with invalid value"):
        values.reason_phrase({"reason": "OK\r\nX: 1"}, "it")


def test_a_channel_name_has_a_longest_length() -> None:
    longest = "é" * (values.CHANNEL_MAX_BYTES // 2)
    assert values.channel_name({"channel": longest}, "channel", "it") == longest
    with pytest.raises(BadValue, match="it contains 'channel' with invalid value"):
        values.channel_name({"channel": longest + "e"}, "channel", "it")


def test_a_status_without_a_standard_reason_has_none() -> None:
    assert values.standard_reason(404) == b"Not Found"
    assert values.standard_reason(299) == b""
