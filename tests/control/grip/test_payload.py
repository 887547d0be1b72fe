"""What ZeroMQ carries: tnetstrings become items by the rules for JSON (GRIP.md 2.3, 2.5)."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
import tnetstring
from hypothesis import given
from hypothesis import strategies as st

from control.errors import ItemError
from control.grip.item import HttpResponse, HttpStream, WsMessage, WsType
from control.grip.payload import read_item, read_tnetstring, shape, write, write_tnetstring
from control.grip.values import BadValue

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
CONTENT = st.fixed_dictionaries({"content": TEXT})
HEADERS = [["X-A", "b"]]
FORMATS = st.fixed_dictionaries(
    {},
    optional={
        "http-response": st.fixed_dictionaries(
            {"body": TEXT}, optional={"code": st.integers(0, 999), "headers": st.just(HEADERS)}
        ),
        "http-stream": CONTENT | st.fixed_dictionaries({"action": st.just("close")}),
        "ws-message": CONTENT | st.fixed_dictionaries({"action": st.just("refresh")}),
        "unknown": TEXT,
    },
).filter(bool)
ITEMS = st.fixed_dictionaries(
    {"channel": TEXT, "formats": FORMATS},
    optional={
        "id": TEXT,
        "prev-id": TEXT,
        "meta": st.dictionaries(TEXT, TEXT, max_size=2),
        "size": st.integers(0, 9),
        "no-seq": st.booleans(),
    },
)


def raw(value: Any) -> Any:
    """The value as tnetstrings have it: text is bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {raw(key): raw(element) for key, element in value.items()}
    if isinstance(value, list):
        return [raw(element) for element in value]
    return value


def item(**formats: Any) -> bytes:
    named = {name.replace("_", "-"): form for name, form in formats.items()}
    return tnetstring.dumps(raw({"channel": "a", "formats": named}))


@given(ITEMS)
def test_112_a_tnetstring_and_json_make_the_same_item(value: dict[str, Any]) -> None:
    expected = read_item(b"J" + orjson.dumps(value))
    text = tnetstring.dumps(raw(value))
    for payload in (text, b"T" + text):
        read = read_item(payload)
        assert set(read.formats) == set(expected.formats)  # a map has no order
        assert replace(read, formats=expected.formats) == expected


def test_112_the_examples_of_the_protocol() -> None:
    pulled = read_item(
        b"69:7:channel,5:fruit,7:formats,37:11:http-stream,18:7:content,5:kiwi\n,}}}"
    )
    assert pulled.channel == "fruit"
    assert pulled.formats[0].content == b"kiwi\n"  # type: ignore[union-attr]
    published = read_item(b"47:7:formats,33:10:ws-message,15:7:content,2:hi,}}}", "fruit")
    assert published.channel == "fruit"
    assert published.formats[0].content == b"hi"  # type: ignore[union-attr]


def test_113_the_channel_that_is_given_wins() -> None:
    assert read_item(item(http_stream={"content": "x"}), "b").channel == "b"
    assert read_item(b'J{"http-stream":{"content":"x"}}', "b").channel == "b"


def test_content_is_bytes() -> None:
    [response] = read_item(item(http_response={"body": b"\xff"})).formats
    [stream] = read_item(item(http_stream={"content": b"\xff"})).formats
    [message] = read_item(item(ws_message={"content": b"\xff", "type": "binary"})).formats
    assert isinstance(response, HttpResponse)
    assert isinstance(stream, HttpStream)
    assert isinstance(message, WsMessage)
    assert response.body == stream.content == message.content == b"\xff"


def test_content_bin_of_a_ws_message_is_raw_and_binary() -> None:
    [message] = read_item(item(ws_message={"content-bin": b"\xff", "content": "x"})).formats
    assert message == WsMessage(message.action, WsType.BINARY, b"\xff")
    [message] = read_item(item(ws_message={"content-bin": "x", "type": "text"})).formats
    assert message == WsMessage(message.action, WsType.TEXT, b"x")


@pytest.mark.parametrize(
    "formats", [{"http_stream": {"content-bin": "x"}}, {"http_response": {"body-bin": "x"}}]
)
def test_other_bins_are_not_recognised(formats: Any) -> None:
    with pytest.raises(ItemError, match="does not contain"):
        read_item(item(**formats))


def test_names_that_are_no_utf_8_survive() -> None:
    value = {b"channel": b"\xff", b"id": b"\xfe", b"http-stream": {b"content": b"x"}}
    published = read_item(tnetstring.dumps(value))
    assert (published.channel, published.id) == ("\udcff", "\udcfe")


DEEP = b"0:]"
for _ in range(3000):
    DEEP = b"%d:%b]" % (len(DEEP), DEEP)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "not a tnetstring"),
        (b"rubbish", "not a tnetstring"),
        (b"99:a,", "not a tnetstring"),
        (b"0:}x", "1 bytes behind the tnetstring"),
        (DEEP, "not a tnetstring"),
        (b"T", "not a tnetstring"),
        (b"J", "not JSON"),
        (b"J[", "not JSON"),
        (b"J[]", "publish item object is not an object"),
        (b"4:true!", "publish item object is not an object"),
        (b"8:1:1#1:b,}", "a map with a key that is not a string"),
        (item(http_stream={"content": 5}), "'http-stream' contains 'content' with wrong type"),
        (item(http_response={"body": "x", "code": float("nan")}), "a number that is none"),
        (item(http_response={"body-patch": [b"\xff"]}), "'body-patch' with wrong type"),
        (item(http_response={"body-patch": [2**70]}), "'body-patch' with wrong type"),
    ],
)
def test_what_is_wrong_is_an_item_error(payload: bytes, why: str) -> None:
    with pytest.raises(ItemError) as refused:
        read_item(payload)
    assert why in str(refused.value)


@given(st.binary(max_size=40))
def test_garbage_is_an_item_error_or_an_item(payload: bytes) -> None:
    with contextlib.suppress(ItemError):
        read_item(payload)


def test_what_is_nested_too_deep_for_us_is_a_bad_value() -> None:
    value: Any = []
    for _ in range(2000):
        value = [value]
    with pytest.raises(BadValue, match="nested too deep"):
        shape(value)


# -- writing


def test_218_the_letter_says_how_it_is_written() -> None:
    assert write({"a": 1}, as_json=True) == b'J{"a":1}'
    assert write({"a": 1, "b": 2}, as_json=False) == b"T16:1:a,1:1#1:b,1:2#}"


def test_what_was_no_utf_8_is_written_as_it_was_and_replaced_in_json() -> None:
    assert write({"a": "\udcff"}, as_json=False) == b"T8:1:a,1:\xff,}"
    assert write({"a": "\udcff"}, as_json=True) == b'J{"a":"?"}'


@given(st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none(), max_size=3))
def test_what_is_written_is_read(value: dict[str, Any]) -> None:
    assert shape(read_tnetstring(write_tnetstring(value))) == value
