"""What publishers post (GRIP.md 2.2, 2.4, 2.5; checklist 104, 105, 108 to 111)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gripcontrol import HttpResponseFormat, HttpStreamFormat, WebSocketMessageFormat
from hypothesis import given
from hypothesis import strategies as st
from pubcontrol import Item as TheirItem

from control.errors import ItemError
from control.grip.item import (
    Action,
    Format,
    HttpResponse,
    HttpStream,
    Item,
    WsMessage,
    WsType,
    items_from_json,
)

STREAM = {"http-stream": {"content": "a"}}


def body(*items: Any) -> bytes:
    return json.dumps({"items": items}).encode()


def format_of(name: str, **fields: Any) -> Format:
    """The one format of an item; underscores in field names stand for hyphens."""
    given_fields = {key.replace("_", "-"): value for key, value in fields.items()}
    (made,) = Item.from_json({"channel": "c", "formats": {name: given_fields}}).formats
    return made


# -- the body of a publish request


def test_a_body_holds_many_items() -> None:
    items = items_from_json(
        body({"channel": "a", "formats": STREAM}, {"channel": "b", "formats": STREAM})
    )
    assert [item.channel for item in items] == ["a", "b"]


def test_a_body_without_items_publishes_nothing() -> None:
    assert items_from_json(b'{"items":[]}') == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Body is not valid JSON."),
        (b"{", "Body is not valid JSON."),
        (b'{"items":"\xff"}', "Body is not valid JSON."),
        (b"[" * 100_000, "Body is not valid JSON."),
        (b"[]", "Invalid format."),
        (b"1", "Invalid format."),
        (b"{}", "Invalid format: object does not contain 'items'"),
        (b'{"items":{}}', "Invalid format: object contains 'items' with wrong type"),
        (b'{"items":null}', "Invalid format: object contains 'items' with wrong type"),
        (b'{"items":[1]}', "Invalid format: publish item object is not an object"),
    ],
)
def test_104_a_body_of_a_wrong_form_has_its_own_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ItemError) as caught:
        items_from_json(text)
    assert str(caught.value) == reason


def test_105_one_invalid_item_refuses_all() -> None:
    with pytest.raises(ItemError, match="Invalid format: no formats specified"):
        items_from_json(body({"channel": "a", "formats": STREAM}, {"channel": "b"}))


# -- items


def test_an_item_has_ids_meta_and_flags() -> None:
    item = Item.from_json(
        {
            "channel": "c",
            "id": "2",
            "prev-id": "1",
            "formats": STREAM,
            "meta": {"sender": "dana"},
            "size": 7,
            "no-seq": True,
            "unknown": None,
        }
    )
    assert item == Item(
        channel="c",
        formats=(HttpStream(Action.SEND, b"a"),),
        id="2",
        prev_id="1",
        meta={"sender": "dana"},
        size=7,
        no_seq=True,
    )


def test_null_ids_are_absent() -> None:
    item = Item.from_json({"channel": "c", "id": None, "prev-id": None, "formats": STREAM})
    assert (item.id, item.prev_id) == (None, None)


def test_a_channel_may_have_no_name() -> None:
    assert Item.from_json({"channel": "", "formats": STREAM}).channel == ""


def test_108_top_level_formats_count_where_formats_is_absent() -> None:
    item = Item.from_json({"channel": "c", **STREAM, "ws-message": {"content": "b"}})
    assert set(map(type, item.formats)) == {HttpStream, WsMessage}
    both = Item.from_json({"channel": "c", "formats": STREAM, "ws-message": {"content": "b"}})
    assert [type(made) for made in both.formats] == [HttpStream]


def test_unknown_formats_do_nothing() -> None:
    assert Item.from_json({"channel": "c", "formats": {"carrier-pigeon": 1}}).formats == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no formats specified"),
        ({"formats": {}}, "no formats specified"),
        ({"formats": []}, "publish item object contains 'formats' with wrong type"),
        (STREAM | {"channel": 1}, "publish item object contains 'channel' with wrong type"),
        (
            STREAM | {"channel": "c" * 4097},
            "publish item object contains 'channel' with invalid value",
        ),
        (STREAM | {"id": 1}, "publish item object contains 'id' with wrong type"),
        (STREAM | {"id": "i" * 65_536}, "publish item object contains 'id' with invalid value"),
        (STREAM | {"prev-id": []}, "publish item object contains 'prev-id' with wrong type"),
        (STREAM | {"meta": []}, "publish item object contains 'meta' with wrong type"),
        (STREAM | {"meta": {"a": 1}}, "'meta' contains 'a' with wrong type"),
        (STREAM | {"size": -1}, "publish item object contains 'size' with invalid value"),
        (STREAM | {"size": []}, "publish item object contains 'size' with wrong type"),
        (STREAM | {"no-seq": 1}, "publish item object contains 'no-seq' with wrong type"),
        ({"http-stream": "a"}, "publish item object contains 'http-stream' with wrong type"),
    ],
)
def test_104_109_a_bad_item_has_its_own_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ItemError) as caught:
        Item.from_json({"channel": "c"} | fields)
    assert str(caught.value) == reason


def test_104_an_item_needs_a_channel() -> None:
    with pytest.raises(ItemError, match="publish item object does not contain 'channel'"):
        Item.from_json(STREAM)


# -- actions


@pytest.mark.parametrize("name", ["http-response", "http-stream", "ws-message"])
@pytest.mark.parametrize("action", ["hint", "close", "refresh"])
def test_an_action_other_than_send_needs_no_content(name: str, action: str) -> None:
    assert format_of(name, action=action).action is Action(action)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("explode", "'http-stream' contains 'action' with unknown value"),
        (1, "'http-stream' contains 'action' with wrong type"),
        (None, "'http-stream' contains 'action' with wrong type"),
    ],
)
def test_111_an_unknown_action_is_refused(action: object, reason: str) -> None:
    with pytest.raises(ItemError) as caught:
        format_of("http-stream", action=action, content="a")
    assert str(caught.value) == reason


# -- http-response


def test_46_a_response_is_200_ok_by_default() -> None:
    assert format_of("http-response", body="é") == HttpResponse(
        Action.SEND, 200, b"OK", (), "é".encode()
    )


def test_a_response_has_everything_that_a_response_has() -> None:
    made = format_of(
        "http-response",
        code=404,
        reason="Nope",
        headers={"X-A": "1", "Grip-Hold": "stream", "Content-Length": "9"},
        body_bin="AP8=",
        body="loses",
        content_filters=["var-subst"],
    )
    assert made == HttpResponse(
        Action.SEND,
        status=404,
        reason=b"Nope",
        headers=((b"X-A", b"1"),),
        body=b"\x00\xff",
        content_filters=("var-subst",),
    )


def test_36_a_code_brings_its_standard_reason() -> None:
    made = format_of("http-response", code=404, body="")
    assert isinstance(made, HttpResponse)
    assert made.reason == b"Not Found"


def test_53_a_patch_counts_where_there_is_no_body() -> None:
    patch = [{"op": "add", "path": "/a", "value": 1}]
    made = format_of("http-response", body_patch=patch)
    other = format_of("http-response", body_patch=patch, body="a")
    assert isinstance(made, HttpResponse)
    assert isinstance(other, HttpResponse)
    assert (made.body, made.body_patch) == (None, tuple(patch))
    assert (other.body, other.body_patch) == (b"a", None)


# -- http-stream and ws-message


def test_60_stream_content_is_text_or_bytes() -> None:
    assert format_of("http-stream", content="é") == HttpStream(Action.SEND, "é".encode())
    assert format_of("http-stream", content="x", content_bin="") == HttpStream(Action.SEND, b"")
    assert format_of("http-stream", content="x", content_bin="AP8=") == HttpStream(
        Action.SEND, b"\x00\xff"
    )


@pytest.mark.parametrize(
    ("fields", "kind", "content"),
    [
        ({"content": "a"}, WsType.TEXT, b"a"),
        ({"content_bin": "AP8="}, WsType.BINARY, b"\x00\xff"),
        ({"content_bin": "YQ==", "content": "b"}, WsType.BINARY, b"a"),
        ({"content_bin": "YQ==", "type": "text"}, WsType.TEXT, b"a"),
        ({"content": "a", "type": "binary"}, WsType.BINARY, b"a"),
        ({"type": "ping"}, WsType.PING, b""),
        ({"type": "pong", "content": "a"}, WsType.PONG, b"a"),
    ],
)
def test_175_a_ws_message_has_a_type(fields: dict[str, Any], kind: WsType, content: bytes) -> None:
    assert format_of("ws-message", **fields) == WsMessage(Action.SEND, kind, content)


def test_176_a_ws_close_may_have_code_and_reason() -> None:
    assert format_of("ws-message", action="close") == WsMessage(Action.CLOSE)
    assert format_of("ws-message", action="close", code=4000, reason="bye") == WsMessage(
        Action.CLOSE, code=4000, reason=b"bye"
    )


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        (
            "http-response",
            {},
            "{} does not contain 'body', 'body-bin', or 'body-patch'",
        ),
        ("http-response", {"body": 1}, "{} contains 'body' with wrong type"),
        ("http-response", {"body_bin": 1}, "{} contains 'body-bin' with wrong type"),
        ("http-response", {"body_patch": {}}, "{} contains 'body-patch' with wrong type"),
        ("http-response", {"body": "", "code": 1000}, "{} contains 'code' with invalid value"),
        ("http-response", {"body": "", "code": -1}, "{} contains 'code' with invalid value"),
        ("http-response", {"body": "", "code": []}, "{} contains 'code' with wrong type"),
        ("http-response", {"body": "", "reason": 1}, "{} contains 'reason' with wrong type"),
        ("http-response", {"body": "", "headers": 1}, "{} contains 'headers' with wrong type"),
        (
            "http-response",
            {"body": "", "headers": {"X": 1}},
            "headers contains 'X' with wrong type",
        ),
        ("http-stream", {}, "{} does not contain 'content' or 'content-bin'"),
        ("http-stream", {"content": None}, "{} contains 'content' with wrong type"),
        (
            "http-stream",
            {"content": "", "content_filters": "x"},
            "{} contains 'content-filters' with wrong type",
        ),
        (
            "http-stream",
            {"content": "", "content_filters": [1]},
            "content-filters contains value with wrong type",
        ),
        ("ws-message", {}, "{} does not contain 'content' or 'content-bin'"),
        ("ws-message", {"type": "binary"}, "{} does not contain 'content' or 'content-bin'"),
        ("ws-message", {"type": "morse"}, "{} contains 'type' with unknown value"),
        ("ws-message", {"type": 1}, "{} contains 'type' with wrong type"),
        (
            "ws-message",
            {"action": "close", "code": 65_536},
            "{} contains 'code' with invalid value",
        ),
        (
            "ws-message",
            {"action": "close", "reason": 1},
            "{} contains 'reason' with wrong type",
        ),
    ],
)
def test_104_110_a_bad_format_has_its_own_reason(
    name: str, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ItemError) as caught:
        format_of(name, **fields)
    assert str(caught.value) == reason.format(f"'{name}'")


# -- what other people's libraries write


def test_items_of_gripcontrol_are_understood() -> None:
    formats = [
        HttpResponseFormat(code=201, headers={"X-A": "1"}, body=b"\xff"),
        HttpStreamFormat("data: a\n\n"),
        WebSocketMessageFormat(b"\x00", binary=True),
    ]
    theirs = TheirItem(formats, id="2", prev_id="1").export() | {"channel": "c"}
    item = Item.from_json(theirs)
    assert (item.id, item.prev_id) == ("2", "1")
    assert sorted(item.formats, key=lambda made: type(made).__name__) == [
        HttpResponse(Action.SEND, 201, b"Created", ((b"X-A", b"1"),), b"\xff"),
        HttpStream(Action.SEND, b"data: a\n\n"),
        WsMessage(Action.SEND, WsType.BINARY, b"\x00"),
    ]


def test_a_close_of_gripcontrol_is_understood() -> None:
    theirs = TheirItem([HttpStreamFormat(close=True)]).export() | {"channel": "c"}
    assert Item.from_json(theirs).formats == (HttpStream(Action.CLOSE),)


# -- anything at all

_KEYS = ["channel", "id", "prev-id", "formats", "meta", "size", "no-seq", "http-response"]
_KEYS += ["http-stream", "ws-message", "action", "code", "reason", "headers", "body", "type"]
_KEYS += ["body-bin", "body-patch", "content", "content-bin", "content-filters"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5)
    ),
)


@given(st.fixed_dictionaries({"channel": st.text(max_size=3), "formats": _JSON}))
def test_any_json_is_an_item_or_an_error(value: dict[str, Any]) -> None:
    try:
        item = Item.from_json(value)
    except ItemError:
        return
    assert item.channel == value["channel"]
