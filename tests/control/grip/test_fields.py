"""Header values: lists, parameters, first occurrence (GRIP.md 1.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.grip.fields import (
    first,
    parse_int,
    parse_params,
    parse_piece,
    split_all,
    to_bytes,
    to_text,
)


@pytest.mark.parametrize(
    ("value", "pieces"),
    [
        (b"a", [b"a"]),
        (b"a, b ,c", [b"a", b"b", b"c"]),
        (b"a,,b", [b"a", b"", b"b"]),
        (b"", []),
        (b'a; x="1,2", b', [b'a; x="1,2"', b"b"]),
        (b'a; x="1\\",2", b', [b'a; x="1\\",2"', b"b"]),
        (b'a; x="1\\\\", b', [b'a; x="1\\\\"', b"b"]),
        (b'a, x="never closed, b', [b"a", b'x="never closed, b']),
        (b'a, "lone backslash\\', [b"a", b'"lone backslash\\']),
        (b"a\\,b", [b"a\\", b"b"]),
    ],
)
def test_a_list_is_split_at_commas_outside_quotes(value: bytes, pieces: list[bytes]) -> None:
    assert split_all([(b"X", value)], b"x") == pieces


def test_19_quoted_parameters_may_hold_commas_and_semicolons() -> None:
    (text,) = split_all([(b"Grip-Channel", b'a; prev-id="1,2;3"')], b"grip-channel")
    piece = parse_piece(text)
    assert piece is not None
    assert piece.value == b"a"
    assert piece.get(b"prev-id") == b"1,2;3"


def test_18_occurrences_of_a_list_are_joined_in_order() -> None:
    headers = [(b"Grip-Channel", b"a, b"), (b"X", b"y"), (b"GRIP-CHANNEL", b"c")]
    assert split_all(headers, b"grip-channel") == [b"a", b"b", b"c"]


def test_of_a_single_value_the_first_occurrence_counts() -> None:
    assert first([(b"Grip-Hold", b" response "), (b"grip-hold", b"stream")], b"grip-hold") == (
        b"response"
    )
    assert first([], b"grip-hold") is None


@pytest.mark.parametrize(
    ("text", "value", "params"),
    [
        (b"a", b"a", ()),
        (b" a ; x=1 ; y ", b"a", ((b"x", b"1"), (b"y", None))),
        (b'"a"; x=1', b'"a"', ((b"x", b"1"),)),
        (b'a; x="1;2"; y=3', b"a", ((b"x", b"1;2"), (b"y", b"3"))),
        (b'a; x="q\\"\\\\\\z"', b"a", ((b"x", b'q"\\z'),)),
        (b'a; x="1" ignored; y=2', b"a", ((b"x", b"1"), (b"y", b"2"))),
        (b"a; x=;y=1", b"a", ((b"x", b""), (b"y", b"1"))),
        (b'a; x=""', b"a", ((b"x", b""),)),
        (b"a; x=1=2", b"a", ((b"x", b"1=2"),)),
        (b";x=1", b"", ((b"x", b"1"),)),
    ],
)
def test_a_piece_is_a_value_and_parameters(text: bytes, value: bytes, params: object) -> None:
    piece = parse_piece(text)
    assert piece is not None
    assert (piece.value, piece.params) == (value, params)


@pytest.mark.parametrize("text", [b'a; x="1', b'a; x="1\\', b'a; x="1\\"', b"a; x="])
def test_a_piece_with_something_missing_cannot_be_parsed(text: bytes) -> None:
    assert parse_piece(text) is None


def test_parameter_names_are_compared_without_case_and_the_first_counts() -> None:
    piece = parse_piece(b"a; Prev-ID=1; prev-id=2")
    assert piece is not None
    assert piece.get(b"prev-id") == b"1"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"5", 5),
        (b" 5 ", 5),
        (b"+5", 5),
        (b"-5", -5),
        (b"", None),
        (b"5.0", None),
        (b"1_0", None),
        (b"\xd9\xa3", None),
        (b"9" * 19, None),
    ],
)
def test_integers_are_decimal_digits(text: bytes, number: int | None) -> None:
    assert parse_int(text) == number


def test_bytes_that_are_not_utf8_survive() -> None:
    assert to_text(b"caf\xc3\xa9") == "café"
    assert to_bytes(to_text(b"\xff")) == b"\xff"


_TOKEN = st.text("abcxyz-", min_size=1).map(str.encode)
_VALUE = st.binary().filter(lambda b: b"\r" not in b and b"\n" not in b)


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@given(st.lists(st.tuples(_TOKEN, _VALUE)))
def test_whatever_is_quoted_comes_back(params: list[tuple[bytes, bytes]]) -> None:
    text = b";".join(b"%b=%b" % (name, _quoted(value)) for name, value in params)
    assert parse_params(text) == tuple(params)


@given(st.lists(st.tuples(_TOKEN, _VALUE), min_size=1))
def test_quoted_values_never_split_a_list(params: list[tuple[bytes, bytes]]) -> None:
    pieces = [b"%b=%b" % (name, _quoted(value)) for name, value in params]
    assert split_all([(b"x", b", ".join(pieces))], b"x") == pieces


@given(st.binary())
def test_any_bytes_are_split_and_parsed_or_refused(value: bytes) -> None:
    for text in split_all([(b"x", value)], b"x"):
        assert b"," not in text or b'"' in text
        parse_piece(text)
