"""Long polls: held, and answered once (GRIP.md 1.6, 1.8, 2.6.1). Timeouts: test_timing.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Origin, says
from support.spelling import answer, request
from support.waiting import SOON_SECONDS, until

Ask = Callable[..., Client]
Hold = Callable[..., Client]


def respond(**fields: Any) -> dict[str, Any]:
    """Formats of an item with an `http-response`; underscores stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return {"http-response": named}


def held(channel: str, **params: str) -> bytes:
    """An answer that holds for a channel with these parameters."""
    words = [channel, *(f"{n.replace('_', '-')}={v}" for n, v in params.items())]
    return answer("Grip-Hold: response", f"Grip-Channel: {'; '.join(words)}", body=b"timed out")


def test_44_nothing_reaches_the_client_before_the_publish(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel, body=b"only on timeout")
    assert client.is_silent()
    fanway.publish_response(channel, "now")
    assert client.response().body == b"now"


def test_46_a_publish_gives_code_reason_headers_and_body(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel)
    formats = respond(code=203, reason="Second Hand", headers={"X-One": "1"}, body="text")
    fanway.publish(channel, formats)
    reply = client.response()
    assert (reply.status, reply.reason, reply.body) == (203, "Second Hand", b"text")
    assert reply.one("X-One") == "1"


def test_46_the_default_is_200_ok(poll: Hold, fanway: Fanway, channel: str) -> None:
    client = poll(channel, "Grip-Status: 404 Timeout")
    fanway.publish(channel, respond(body="text"))
    reply = client.response()
    assert (reply.status, reply.reason) == (200, "OK")


def test_46_a_code_brings_its_standard_reason(poll: Hold, fanway: Fanway, channel: str) -> None:
    client = poll(channel)
    fanway.publish(channel, respond(code=404, body=""))
    reply = client.response()
    assert (reply.status, reply.reason, reply.body) == (404, "Not Found", b"")


@pytest.mark.parametrize("code", [0, 50, 100, 101, 199])
def test_46_a_code_that_ends_no_response_reaches_the_client_as_500(
    poll: Hold, fanway: Fanway, channel: str, code: int
) -> None:
    client = poll(channel)
    fanway.publish(channel, respond(code=code, body="text"))
    reply = client.response()
    assert (reply.status, reply.reason, reply.body) == (500, "Internal Server Error", b"text")


@pytest.mark.parametrize("code", [200, 299, 599, 999])
def test_46_any_code_that_can_be_final_is_given(
    poll: Hold, fanway: Fanway, channel: str, code: int
) -> None:
    client = poll(channel)
    fanway.publish(channel, respond(code=code, body="x"))
    reply = client.response()
    assert (reply.status, reply.body) == (code, b"x")


@pytest.mark.parametrize("code", [204, 304])
def test_49_a_code_without_body_has_none_and_the_connection_goes_on(
    poll: Hold, fanway: Fanway, origin: Origin, channel: str, code: int
) -> None:
    client = poll(channel)
    fanway.publish(channel, respond(code=code, body="not this"))
    assert client.response().status == code
    origin.answers(answer(body=b"next"))
    assert client.send(request(origin.host)).response().body == b"next"


def test_46_a_body_in_base64_is_decoded(poll: Hold, fanway: Fanway, channel: str) -> None:
    client = poll(channel)
    fanway.publish(channel, respond(body="no", body_bin="AP8="))
    assert client.response().body == b"\x00\xff"


def test_47_publish_headers_override_those_of_the_hold_and_others_are_inherited(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel, "Content-Type: application/json", "X-One: hold", "X-Two: hold")
    headers = [["x-one", "publish"], ["X-ONE", "twice"]]
    fanway.publish(channel, respond(headers=headers, body="{}"))
    reply = client.response()
    assert reply.one("Content-Type") == "application/json"
    assert reply.all("X-One") == ["publish", "twice"]
    assert reply.one("X-Two") == "hold"


def test_48_grip_headers_in_a_publish_are_removed(poll: Hold, fanway: Fanway, channel: str) -> None:
    client = poll(channel)
    headers = {"Grip-Hold": "response", "grip-foo": "1", "X-Kept": "yes"}
    fanway.publish(channel, respond(headers=headers, body=""))
    reply = client.response()
    assert not [name for name, _ in reply.headers if name.lower().startswith("grip-")]
    assert reply.one("X-Kept") == "yes"


def test_49_content_length_is_that_of_the_delivered_body(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel, body=b"a body of another length")
    fanway.publish(channel, respond(headers={"Content-Length": "1000"}, body="caf\u00e9"))
    reply = client.response()
    assert reply.one("Content-Length") == "5"
    assert reply.all("Transfer-Encoding") == []


def test_49_a_held_head_request_is_answered_without_body(
    hold: Hold, fanway: Fanway, channel: str, origin: Origin
) -> None:
    said = f"HTTP/1.1 200 OK\r\nGrip-Hold: response\r\nGrip-Channel: {channel}\r\n\r\n"
    client = hold(says(said.encode()), method="HEAD")
    fanway.publish_response(channel, "text")
    reply = client.response("HEAD")
    assert (reply.status, reply.body) == (200, b"")
    origin.answers(answer(body=b"next"))
    assert client.send(request(origin.host)).response().body == b"next"


def test_50_a_second_publish_does_not_reach_the_finished_client(
    poll: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = poll(channel)
    fanway.publish_items(
        {"channel": channel, "formats": respond(body="first")},
        {"channel": channel, "formats": respond(body="second")},
    )
    assert client.response().body == b"first"
    origin.answers(answer(body=b"the next answer"))
    assert client.send(request(origin.host)).response().body == b"the next answer"


def test_51_one_publish_reaches_all_holders_of_a_channel(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    clients = [poll(channel), poll(f"other, {channel}"), poll(f"{channel}, another")]
    fanway.publish_response(channel, "to all")
    assert [client.response().body for client in clients] == [b"to all"] * 3


def test_51_other_channels_are_not_reached(poll: Hold, fanway: Fanway, channel: str) -> None:
    client = poll(channel)
    fanway.publish_response(f"{channel}x", "longer")
    fanway.publish_response(channel[:-1], "shorter")
    fanway.publish_response(channel.upper(), "louder")
    fanway.publish_response(channel, "mine")
    assert client.response().body == b"mine"


def test_52_an_item_for_streams_does_not_touch_response_holds(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel)
    fanway.publish_stream(channel, "for streams")
    fanway.publish_response(channel, "for polls")
    assert client.response().body == b"for polls"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_53_a_patch_changes_the_body_of_the_hold_and_keeps_its_last_newline(
    poll: Hold, fanway: Fanway, channel: str, ending: str
) -> None:
    client = poll(channel, body=b'{"a": 1, "list": [1, 2]}' + ending.encode())
    patch = [
        {"op": "replace", "path": "/a", "value": 2},
        {"op": "add", "path": "/list/-", "value": 3},
    ]
    fanway.publish(channel, respond(body_patch=patch))
    body = client.response().body.decode()
    assert json.loads(body) == {"a": 2, "list": [1, 2, 3]}
    assert body == body.rstrip() + ending
    assert " " not in body


def test_54_a_patch_that_fails_gives_an_empty_body_and_the_status_of_the_publish(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel, body=b"not JSON")
    patch = [{"op": "remove", "path": "/a"}]
    fanway.publish(channel, respond(code=203, body_patch=patch))
    reply = client.response()
    assert (reply.status, reply.body) == (203, b"")


def test_55_a_hint_asks_the_origin_again_at_once(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel), answer(body=b"the second answer"), target="/poll?a=1")
    fanway.publish(channel, respond(action="hint"))
    assert client.response().body == b"the second answer"
    first, second = origin.requests
    assert (second.method, second.target) == (first.method, first.target)
    assert second.all("Grip-Last") == []


def test_55_a_hint_says_what_was_seen_last(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel, prev_id="7"), answer(body=b"again"))
    fanway.publish(channel, respond(action="hint"))
    client.response()
    assert origin.requests[1].one("Grip-Last") == f"{channel}; last-id=7"


def test_55_a_hint_that_follows_has_been_seen_itself(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel, prev_id="7"), answer(body=b"again"))
    fanway.publish(channel, respond(action="hint"), id="8", prev_id="7")
    client.response()
    assert origin.requests[1].one("Grip-Last") == f"{channel}; last-id=8"


@pytest.mark.parametrize("action", ["close", "refresh"])
def test_56_close_and_refresh_do_nothing_to_a_response_hold(
    poll: Hold, fanway: Fanway, origin: Origin, channel: str, action: str
) -> None:
    client = poll(channel)
    fanway.publish(channel, respond(action=action))
    fanway.publish_response(channel, "still here")
    assert client.response().body == b"still here"
    assert len(origin.requests) == 1


def test_57_a_client_that_leaves_ends_its_hold(poll: Hold, fanway: Fanway, channel: str) -> None:
    until(lambda: fanway.metric("fanway_holds", mode="response") == 0, "no holds before")
    client = poll(channel)
    until(lambda: fanway.metric("fanway_holds", mode="response") == 1, "one hold")
    client.close()
    until(lambda: fanway.metric("fanway_holds", mode="response") == 0, "no holds after")


def test_58_a_post_can_be_held_and_its_body_is_replayed(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    body = bytes(range(256)) * 200
    client = hold(held(channel), answer(body=b"again"), method="POST", body=body)
    fanway.publish(channel, respond(action="hint"))
    assert client.response("POST").body == b"again"
    first, second = origin.requests
    assert first.body == second.body == body
    assert second.method == "POST"
    fresh = ("grip-sig",)
    assert [h for h in first.headers if h[0].lower().decode() not in fresh] == [
        h for h in second.headers if h[0].lower().decode() not in fresh
    ]


def test_after_a_hold_the_connection_serves_the_next_request(
    poll: Hold, fanway: Fanway, origin: Origin, channel: str, settle: Callable[[], None]
) -> None:
    client = poll(channel)
    for number in range(3):
        fanway.publish_response(channel, f"number {number}")
        assert client.response().body == f"number {number}".encode()
        said = origin.answered
        client.send(request(origin.host))
        origin.wait_until_answered(said + 1)
        settle()
    assert len(origin.requests) == 4


# -- conflicts: what was seen last against what was published last ---------------------------------


def test_90_a_hold_behind_the_last_published_id_is_asked_again_instead(
    ask: Ask, stream: Hold, poll: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    watcher = stream(channel)
    fanway.publish_stream(channel, "x", id="2")
    watcher.expect(b"x")
    origin.answers(held(channel, prev_id="1"), answer(body=b"caught up"))
    client = ask("/poll", "Cookie: sid=abc")
    assert client.response().body == b"caught up"
    again = origin.requests[-1]
    assert again.one("Grip-Last") == f"{channel}; last-id=1"
    assert again.one("Cookie") == "sid=abc"
    assert again.target == "/poll"


def test_90_the_second_answer_is_not_in_conflict_with_the_same_id(
    ask: Ask,
    stream: Hold,
    fanway: Fanway,
    origin: Origin,
    channel: str,
    settle: Callable[[], None],
) -> None:
    watcher = stream(channel)
    fanway.publish_stream(channel, "x", id="2")
    watcher.expect(b"x")
    said = origin.answered
    origin.answers(held(channel, prev_id="1"))
    client = ask()
    origin.wait_until_answered(said + 2)
    settle()
    assert len(origin.requests) == 3
    fanway.publish_response(channel, "held", prev_id="1", id="3")
    assert client.response().body == b"held"


def test_91_an_item_that_does_not_follow_makes_the_hold_ask_again(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel, prev_id="1"), answer(body=b"caught up"))
    fanway.publish_response(channel, "not delivered", id="3", prev_id="2")
    assert client.response().body == b"caught up"
    assert origin.requests[1].one("Grip-Last") == f"{channel}; last-id=1"


def test_92_an_item_without_prev_id_makes_it_ask_again_too(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel, prev_id="1"), answer(body=b"caught up"))
    fanway.publish_response(channel, "not delivered", id="3")
    assert client.response().body == b"caught up"
    assert origin.requests[1].one("Grip-Last") == f"{channel}; last-id=1"


def test_93_an_item_that_follows_is_delivered(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel, prev_id="1"))
    fanway.publish_response(channel, "delivered", id="2", prev_id="1")
    assert client.response(seconds=SOON_SECONDS).body == b"delivered"
    assert len(origin.requests) == 1


@pytest.mark.parametrize("action", ["close", "refresh"])
def test_93_what_means_nothing_to_the_hold_has_been_seen(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str, action: str
) -> None:
    client = hold(held(channel, prev_id="1"))
    fanway.publish(channel, respond(action=action), id="2", prev_id="1")
    fanway.publish_response(channel, "delivered", id="3", prev_id="2")
    assert client.response().body == b"delivered"
    assert len(origin.requests) == 1


def test_93_what_a_filter_drops_has_been_seen(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    words = f"{channel}; prev-id=1; filter=skip-self"
    client = hold(answer("Grip-Hold: response", f"Grip-Channel: {words}", "Grip-Set-Meta: user=u"))
    fanway.publish_response(channel, "own", id="2", prev_id="1", meta={"sender": "u"})
    fanway.publish_response(channel, "delivered", id="3", prev_id="2")
    assert client.response().body == b"delivered"
    assert len(origin.requests) == 1


def test_91_what_a_filter_fails_on_has_not_been_seen(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    words = f"{channel}; prev-id=1; filter=var-subst"
    said = answer("Grip-Hold: response", f"Grip-Channel: {words}")
    client = hold(said, answer(body=b"caught up"))
    fanway.publish_response(channel, "%(nothing)s", id="2", prev_id="1")
    fanway.publish_response(channel, "not delivered", id="3", prev_id="2")
    assert client.response().body == b"caught up"
    assert origin.requests[1].one("Grip-Last") == f"{channel}; last-id=1"


def test_94_without_prev_id_in_the_instruct_nothing_is_asked_again(
    poll: Hold, stream: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    watcher = stream(channel)
    fanway.publish_stream(channel, "x", id="2")
    watcher.expect(b"x")
    client = poll(channel)
    fanway.publish_response(channel, "delivered", id="9", prev_id="2")
    assert client.response(seconds=SOON_SECONDS).body == b"delivered"
    assert len(origin.requests) == 2


def test_a_retry_that_fails_gives_502(hold: Hold, fanway: Fanway, channel: str) -> None:
    client = hold(held(channel, prev_id="1"), lambda wire, _: wire.reset())
    fanway.publish_response(channel, "a gap", id="3", prev_id="2")
    reply = client.response()
    assert (reply.status, reply.body) == (502, b"Error while proxying to origin.\n")


def test_a_retry_may_hold_again(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str, settle: Callable[[], None]
) -> None:
    client = hold(held(channel, prev_id="1"), held(channel, prev_id="3"))
    fanway.publish_response(channel, "a gap", id="3", prev_id="2")
    origin.wait_until_answered(2)
    settle()
    fanway.publish_response(channel, "follows", id="4", prev_id="3")
    assert client.response().body == b"follows"


def test_grip_last_names_only_channels_that_are_tracked(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    names = f"{channel}-a; prev-id=1, {channel}-b, {channel}-c; prev-id=x9"
    said = answer("Grip-Hold: response", f"Grip-Channel: {names}")
    client = hold(said, answer(body=b"again"))
    fanway.publish(f"{channel}-b", respond(action="hint"))
    client.response()
    lasts = origin.requests[1].all("Grip-Last")
    assert sorted(lasts) == [f"{channel}-a; last-id=1", f"{channel}-c; last-id=x9"]


def test_121_a_route_prefix_belongs_to_the_published_name_only(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    client = hold(held(channel, prev_id="1"), answer(body=b"again"), target="/prefixed/")
    fanway.publish_response(channel, "without the prefix")
    fanway.publish(f"p-{channel}", respond(action="hint"))
    assert client.response().body == b"again"
    assert origin.requests[1].one("Grip-Last") == f"{channel}; last-id=1"
