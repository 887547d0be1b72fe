"""The publish API over HTTP: what it accepts, and how it refuses (GRIP.md 2.1, 2.2, 2.4, 2.5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.client import SPLITS, Client, Reply, Split
from support.fanway import Fanway
from support.spelling import request

Connect = Callable[..., Client]
Stream = Callable[..., Reply]

CHUNKED = "Transfer-Encoding: chunked"
ITEM = {"channel": "c", "formats": {"http-stream": {"content": "x"}}}


def post(fanway: Fanway, body: Any, **headers: str) -> tuple[int, str]:
    """Status and body of a publish; text is sent as it is."""
    text = body if isinstance(body, str) else json.dumps(body)
    response = fanway.control("POST", "/publish/", text, **headers)
    return response.status, response.body


@pytest.mark.parametrize("path", ["/publish", "/publish/"])
def test_101_both_spellings_of_the_path_publish(
    stream: Stream, fanway: Fanway, channel: str, path: str
) -> None:
    reply = stream(channel)
    body = json.dumps({"items": [{**ITEM, "channel": channel}]})
    assert fanway.control("POST", path, body).status == 200
    reply.expect(b"x")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_101_other_methods_get_405(fanway: Fanway, method: str) -> None:
    body = "" if method == "PUT" else None
    response = fanway.control(method, "/publish/", body)
    assert (response.status, response.body) == (405, f"Method not allowed: {method}.\n")
    assert response.headers["allow"] == "POST"


def test_102_success_is_published(fanway: Fanway) -> None:
    response = fanway.control("POST", "/publish/", json.dumps({"items": [ITEM]}))
    assert (response.status, response.body) == (200, "Published\n")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers["content-length"] == "10"


@pytest.mark.parametrize(
    "accept",
    ["application/json", "application/*", "text/plain, application/json", "*/*, application/json"],
)
def test_102_success_in_json(fanway: Fanway, accept: str) -> None:
    body = json.dumps({"items": [ITEM]})
    response = fanway.control("POST", "/publish/", body, Accept=accept)
    assert (response.status, response.body) == (200, '{"message":"Published"}\n')
    assert response.headers["content-type"] == "application/json"


def test_102_the_last_recognised_media_type_wins(fanway: Fanway) -> None:
    accept = "application/json, text/plain;q=0.1, image/png"
    assert post(fanway, {"items": []}, Accept=accept) == (200, "Published\n")


def test_103_an_unsupported_accept_gives_406(fanway: Fanway) -> None:
    text = "Not Acceptable. Supported formats are text/plain and application/json.\n"
    assert post(fanway, {"items": []}, Accept="image/png") == (406, text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{", "Body is not valid JSON."),
        ("", "Body is not valid JSON."),
        ("[]", "Invalid format."),
        ("3", "Invalid format."),
        ({}, "Invalid format: object does not contain 'items'"),
        ({"items": {}}, "Invalid format: object contains 'items' with wrong type"),
        ({"items": [1]}, "Invalid format: publish item object is not an object"),
        (
            {"items": [{"formats": {}}]},
            "Invalid format: publish item object does not contain 'channel'",
        ),
        (
            {"items": [{"channel": 1, "formats": {}}]},
            "Invalid format: publish item object contains 'channel' with wrong type",
        ),
        (
            {"items": [{**ITEM, "id": 1}]},
            "Invalid format: publish item object contains 'id' with wrong type",
        ),
        (
            {"items": [{**ITEM, "meta": {"user": 1}}]},
            "Invalid format: 'meta' contains 'user' with wrong type",
        ),
        (
            {"items": [{**ITEM, "size": -1}]},
            "Invalid format: publish item object contains 'size' with invalid value",
        ),
        (
            {"items": [{"channel": "c", "formats": {"http-response": {}}}]},
            "Invalid format: 'http-response' does not contain 'body', 'body-bin', or 'body-patch'",
        ),
        (
            {"items": [{"channel": "c", "formats": {"http-stream": {}}}]},
            "Invalid format: 'http-stream' does not contain 'content' or 'content-bin'",
        ),
        (
            {"items": [{"channel": "c", "formats": {"http-stream": {"action": 1}}}]},
            "Invalid format: 'http-stream' contains 'action' with wrong type",
        ),
        (
            {"items": [{"channel": "c", "formats": {"ws-message": {"content": "", "type": "x"}}}]},
            "Invalid format: 'ws-message' contains 'type' with unknown value",
        ),
    ],
)
def test_104_bad_bodies_get_400_and_the_reason(fanway: Fanway, body: Any, text: str) -> None:
    status, said = post(fanway, body)
    assert (status, said.rstrip("\n")) == (400, text)


def test_105_one_invalid_item_publishes_none_of_a_batch(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    good = {"channel": channel, "formats": {"http-stream": {"content": "not this"}}}
    assert post(fanway, {"items": [good, {"channel": channel}]})[0] == 400
    fanway.publish_stream(channel, "this")
    reply.expect(b"this")


def test_106_a_channel_without_subscribers_can_be_published_to(
    fanway: Fanway, channel: str
) -> None:
    fanway.publish_stream(channel, "to nobody")


def test_106_an_empty_batch_is_accepted(fanway: Fanway) -> None:
    assert post(fanway, {"items": []}) == (200, "Published\n")


@pytest.mark.parametrize(("headers", "body"), [((), b""), ((CHUNKED,), b"0\r\n\r\n")])
def test_107_a_post_without_content_length_gives_411(
    connect: Connect, fanway: Fanway, headers: tuple[str, ...], body: bytes
) -> None:
    client = connect(fanway.control_addresses[0])
    said = request("control", "/publish/", *headers, method="POST")
    reply = client.send(said + body).response("POST")
    assert (reply.status, reply.body) == (411, b"Request requires Content-Length.\n")


def test_107_an_oversize_body_gives_400(fanway: Fanway) -> None:
    assert post(fanway, "x" * 1_000_001) == (400, "Request body too large.\n")


def test_107_a_body_of_the_largest_size_is_read(fanway: Fanway) -> None:
    text = json.dumps({"items": []})
    assert post(fanway, text.ljust(1_000_000)) == (200, "Published\n")


def test_107_a_head_over_the_limit_gives_400(fanway: Fanway) -> None:
    status, said = post(fanway, {"items": []}, X_Long="x" * 10_001)
    assert (status, said) == (400, "Request header too large.\n")


def test_107_a_content_length_that_is_no_number_gives_400(connect: Connect, fanway: Fanway) -> None:
    client = connect(fanway.control_addresses[0])
    said = request("control", "/publish/", "Content-Length: many", method="POST")
    reply = client.send(said).response("POST")
    assert (reply.status, reply.body) == (400, b"Bad Content-Length.\n")


def test_108_formats_may_stand_at_the_top_level(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    fanway.publish_items({"channel": channel, "http-stream": {"content": "older style"}})
    reply.expect(b"older style")


def test_108_they_are_ignored_beside_formats(stream: Stream, fanway: Fanway, channel: str) -> None:
    reply = stream(channel)
    formats = {"http-stream": {"content": "this"}}
    item = {"channel": channel, "http-stream": {"content": "not this"}, "formats": formats}
    fanway.publish_items(item)
    reply.expect(b"this")


@pytest.mark.parametrize(
    "item",
    [{"channel": "c"}, {"channel": "c", "formats": {}}, {**ITEM, **ITEM["formats"], "formats": {}}],
)
def test_109_an_item_without_formats_gives_400(fanway: Fanway, item: Any) -> None:
    assert post(fanway, {"items": [item]}) == (400, "Invalid format: no formats specified\n")


def test_109_unknown_formats_and_fields_are_ignored(fanway: Fanway) -> None:
    item = {"channel": "c", "formats": {"carrier-pigeon": {"content": 1}}, "colour": "red"}
    assert post(fanway, {"items": [item]}) == (200, "Published\n")


@pytest.mark.parametrize("code", [-1, 1000])
def test_110_an_impossible_code_gives_400(fanway: Fanway, code: int) -> None:
    item = {"channel": "c", "formats": {"http-response": {"code": code, "body": ""}}}
    why = "'http-response' contains 'code' with invalid value"
    assert post(fanway, {"items": [item]}) == (400, f"Invalid format: {why}\n")


@pytest.mark.parametrize("kind", ["http-response", "http-stream", "ws-message"])
def test_111_an_unknown_action_gives_400(fanway: Fanway, kind: str) -> None:
    item = {"channel": "c", "formats": {kind: {"action": "dance"}}}
    why = f"'{kind}' contains 'action' with unknown value"
    assert post(fanway, {"items": [item]}) == (400, f"Invalid format: {why}\n")


def test_115_the_same_id_on_a_channel_is_delivered_once(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(f"{channel}, {channel}-other")
    fanway.publish_stream(channel, "1", id="a")
    fanway.publish_stream(channel, "not this", id="a")
    fanway.publish_stream(channel, "nor this", id="a", no_seq=True)
    fanway.publish_stream(f"{channel}-other", "2", id="a")
    fanway.publish_stream(channel, "3", id="b")
    reply.expect(b"123")


def test_115_even_if_nobody_heard_the_first(stream: Stream, fanway: Fanway, channel: str) -> None:
    fanway.publish_stream(channel, "to nobody", id="a")
    reply = stream(channel)
    fanway.publish_stream(channel, "not again", id="a")
    fanway.publish_stream(channel, "new", id="b")
    reply.expect(b"new")


def test_104_a_refusal_is_text_even_to_those_who_accept_json(fanway: Fanway) -> None:
    response = fanway.control("POST", "/publish/", "[]", Accept="application/json")
    assert (response.status, response.body) == (400, "Invalid format.\n")
    assert response.headers["content-type"] == "text/plain"


def test_97_101_recover_is_a_post_too(fanway: Fanway) -> None:
    response = fanway.control("GET", "/recover/")
    assert (response.status, response.body) == (405, "Method not allowed: GET.\n")
    assert response.headers["allow"] == "POST"
    response = fanway.control("POST", "/recover", "", Accept="application/json")
    assert (response.status, response.body) == (200, '{"message":"Updated"}\n')


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_root_says_what_this_is(fanway: Fanway, method: str) -> None:
    response = fanway.control(method, "/", "" if method == "POST" else None)
    assert (response.status, response.body) == (200, "Fanway API\n")
    assert response.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("path", ["/elsewhere", "/publish/?x=1", "/publish//", "/Publish/"])
def test_other_paths_get_404(fanway: Fanway, path: str) -> None:
    response = fanway.control("POST", path, json.dumps({"items": []}))
    assert (response.status, response.body) == (404, "Not Found\n")


@pytest.mark.parametrize("split", SPLITS)
def test_a_publish_may_come_in_any_pieces(
    connect: Connect, stream: Stream, fanway: Fanway, channel: str, split: Split
) -> None:
    reply = stream(channel)
    body = json.dumps({"items": [{**ITEM, "channel": channel}]}).encode()
    client = connect(fanway.control_addresses[0])
    said = request("control", "/publish/", method="POST", body=body)
    assert client.send(said, split).response("POST").body == b"Published\n"
    reply.expect(b"x")


def test_a_publisher_that_expects_100_continue_is_told_to(connect: Connect, fanway: Fanway) -> None:
    client = connect(fanway.control_addresses[0])
    body = json.dumps({"items": [ITEM]}).encode()
    said = request("control", "/publish/", "Expect: 100-continue", method="POST", body=body)
    head, _, _ = said.partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.receive().startswith(b"HTTP/1.1 100 ")
    assert client.send(body).response("POST").status == 200


def test_garbage_on_the_control_port_gets_400_and_no_traceback(
    connect: Connect, fanway: Fanway
) -> None:
    client = connect(fanway.control_addresses[0])
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    said = client.rest()
    assert b" 400 " in said.splitlines()[0]
    assert said.endswith(b"\r\n\r\nFailed to parse request header.\n")
    fanway.publish_items(ITEM)


def test_the_limit_of_the_body_is_a_setting(hub: object) -> None:
    with Fanway("--push-in-http-max-body-size", "2000", routes=["* 127.0.0.1:1"]) as small:
        assert post(small, json.dumps({"items": []}).ljust(2000))[0] == 200
        assert post(small, "x" * 2001) == (400, "Request body too large.\n")
