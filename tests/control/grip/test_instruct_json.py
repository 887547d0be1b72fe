"""What an origin instructs by a JSON document (GRIP.md 1.5)."""

from __future__ import annotations

from typing import Any

import pytest

from control.errors import InstructError
from control.grip.instruct import (
    Channel,
    HoldMode,
    Instruct,
    KeepAlive,
    KeepAliveMode,
    NextLink,
    Response,
)
from support.instructs import from_json, headers, hold

# -- the JSON form


def test_27_a_parameter_of_the_media_type_does_not_matter() -> None:
    block = headers("Content-Type: application/grip-instruct; charset=utf-8")
    instruct = Instruct.from_response(200, b"OK", block, b'{"response":{"code":404}}')
    assert instruct.response.status == 404


def test_a_json_hold_has_everything_a_header_hold_has() -> None:
    instruct = from_json(
        {
            "hold": {
                "mode": "stream",
                "channels": [{"name": "a", "prev-id": "41", "filters": ["x"]}, {"name": "b"}],
                "timeout": 30,
                "keep-alive": {"content": ":hb\n", "timeout": 20},
                "meta": {"user": "dana"},
                "unknown": None,
            },
            "response": {"code": 201, "headers": {"X-A": "1"}, "body": "é"},
        }
    )
    assert instruct == Instruct(
        response=Response(201, b"Created", [(b"X-A", b"1")], "é".encode()),
        mode=HoldMode.STREAM,
        channels=(Channel("a", "41", ("x",)), Channel("b")),
        timeout_seconds=30,
        keep_alive=KeepAlive(b":hb\n", 20, KeepAliveMode.INTERVAL),
        meta={"user": "dana"},
    )


def test_30_a_json_hold_may_have_no_channels() -> None:
    assert from_json(hold(channels=[])).mode is HoldMode.RESPONSE


def test_31_a_json_hold_without_mode_is_a_response_hold() -> None:
    assert from_json(hold()).mode is HoldMode.RESPONSE


def test_33_a_binary_body_is_base64_and_wins() -> None:
    instruct = from_json({"response": {"body": "text", "body-bin": "AP8="}})
    assert instruct.response.body == b"\x00\xff"


def test_34_the_origins_headers_are_not_relayed() -> None:
    assert from_json(hold(), extra="X-A: 1\nSet-Cookie: b=2").response.headers == []


def test_35_without_response_the_client_gets_an_empty_200() -> None:
    assert from_json(hold()).response == Response(200, b"Fine", [], b"")


@pytest.mark.parametrize(
    ("response", "status", "reason"),
    [
        ({"code": 404}, 404, b"Not Found"),
        ({"code": 404, "reason": "Nope"}, 404, b"Nope"),
        ({"code": 100}, 500, b"Internal Server Error"),
        ({"reason": "Nope"}, 200, b"Nope"),
        ({}, 200, b"Fine"),
    ],
)
def test_36_a_code_brings_its_standard_reason(
    response: dict[str, Any], status: int, reason: bytes
) -> None:
    made = from_json({"response": response}).response
    assert (made.status, made.reason) == (status, reason)


def test_grip_status_counts_where_json_gives_no_code() -> None:
    assert from_json(hold(), extra="Grip-Status: 404").response.status == 404
    assert from_json({"response": {"code": 201}}, extra="Grip-Status: 404").response.status == 201


def test_38_json_mode_overrides_and_channels_are_merged() -> None:
    extra = "Grip-Hold: response\nGrip-Channel: h\nGrip-Set-Meta: a=1, b=1\nGrip-Timeout: 40"
    instruct = from_json(hold(mode="stream", meta={"b": "2"}), extra=extra)
    assert instruct.mode is HoldMode.STREAM
    assert [channel.name for channel in instruct.channels] == ["h", "a"]
    assert instruct.meta == {"a": "1", "b": "2"}
    assert instruct.timeout_seconds == 40


def test_links_of_a_json_instruct_come_from_its_headers() -> None:
    instruct = from_json(hold(mode="stream"), extra="Grip-Link: </n>; rel=next")
    assert instruct.next_link == NextLink("/n")


def test_21_a_json_timeout_of_1_behaves_as_5_seconds() -> None:
    assert from_json(hold(timeout=1)).timeout_seconds == 5


def test_68_a_json_keep_alive_is_of_mode_interval() -> None:
    instruct = from_json(hold(**{"keep-alive": {"content-bin": "OmhiCg==", "content": "x"}}))
    assert instruct.keep_alive == KeepAlive(b":hb\n", 55, KeepAliveMode.INTERVAL)


def test_a_keep_alive_without_content_is_none() -> None:
    assert from_json(hold(**{"keep-alive": {"timeout": 20}})).keep_alive is None


def test_a_null_prev_id_is_absent() -> None:
    instruct = from_json(hold(channels=[{"name": "a", "prev-id": None}]))
    assert instruct.channels == (Channel("a"),)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"{", "failed to parse application/grip-instruct content as JSON"),
        (b"", "failed to parse application/grip-instruct content as JSON"),
        (b"1", "failed to parse application/grip-instruct content as JSON"),
        (b'"a"', "failed to parse application/grip-instruct content as JSON"),
        (b'{"a":"\xff"}', "failed to parse application/grip-instruct content as JSON"),
        ([], "instruct must be an object"),
        ({"hold": []}, "instruct contains 'hold' with wrong type"),
        ({"hold": None}, "instruct contains 'hold' with wrong type"),
        ({"hold": {}}, "hold does not contain 'channels'"),
        (hold(channels={}), "hold contains 'channels' with wrong type"),
        (hold(channels=["a"]), "channels contains value with wrong type"),
        (hold(channels=[{}]), "channel does not contain 'name'"),
        (hold(channels=[{"name": 1}]), "channel contains 'name' with wrong type"),
        (hold(channels=[{"name": "a" * 4097}]), "channel contains 'name' with invalid value"),
        (
            hold(channels=[{"name": "a", "prev-id": 1}]),
            "channel contains 'prev-id' with wrong type",
        ),
        (
            hold(channels=[{"name": "a", "filters": "x"}]),
            "channel contains 'filters' with wrong type",
        ),
        (
            hold(channels=[{"name": "a", "filters": [1]}]),
            "filters contains value with wrong type",
        ),
        (
            hold(channels=[{"name": "a", "filters": ["x"] * 6}]),
            "too many filters for channel 'a'",
        ),
        (hold(mode="bogus"), "hold contains 'mode' with unknown value"),
        (hold(mode=1), "hold contains 'mode' with wrong type"),
        (hold(timeout=-1), "hold contains 'timeout' with invalid value"),
        (hold(timeout=None), "hold contains 'timeout' with wrong type"),
        (hold(meta=[]), "hold contains 'meta' with wrong type"),
        (hold(meta={"a": 1}), "'meta' contains 'a' with wrong type"),
        (hold(**{"keep-alive": "x"}), "hold contains 'keep-alive' with wrong type"),
        (
            hold(**{"keep-alive": {"timeout": -1}}),
            "keep-alive contains 'timeout' with invalid value",
        ),
        ({"response": "x"}, "instruct contains 'response' with wrong type"),
        ({"response": {"code": 1000}}, "response contains 'code' with invalid value"),
        ({"response": {"reason": 1}}, "response contains 'reason' with wrong type"),
        ({"response": {"body": 1}}, "response contains 'body' with wrong type"),
        ({"response": {"headers": {"X": 1}}}, "headers contains 'X' with wrong type"),
    ],
)
def test_29_30_37_a_bad_json_instruct_has_its_own_reason(document: object, reason: str) -> None:
    with pytest.raises(InstructError) as caught:
        from_json(document)
    assert str(caught.value) == reason


def test_28_a_json_instruct_with_status_201_is_refused() -> None:
    with pytest.raises(InstructError) as caught:
        from_json(hold(), status=201)
    text = "response code for application/grip-instruct content must be 200"
    assert str(caught.value) == text


def test_a_bad_header_is_named_before_a_bad_body() -> None:
    with pytest.raises(InstructError, match="Grip-Timeout"):
        from_json(b"{", extra="Grip-Timeout: x")
