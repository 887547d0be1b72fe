"""How an origin's instructions are read, in headers and in JSON (GRIP.md 1.3 to 1.5, 1.11)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Origin, Request, Wire, says
from support.spelling import answer, instruct, request
from support.waiting import until

Ask = Callable[..., Client]
Hold = Callable[..., Client]

FAILED = b"Error while proxying to origin.\n"
BUFFER_MAX_BYTES = 100_000


def assert_refused(ask: Ask, origin: Origin, said: bytes, why: str) -> None:
    """502 without a word to strangers, and the reason where debugging is on."""
    origin.answers(said)
    reply = ask("/").response()
    assert (reply.status, reply.body) == (502, FAILED)
    reply = ask("/debug/").response()
    assert reply.status == 502
    assert reply.body.decode() == f"Failed to parse accept instructions: {why}\n"


def test_17_an_unknown_hold_gives_502(ask: Ask, origin: Origin) -> None:
    why = "Grip-Hold must be set to either 'response' or 'stream'"
    assert_refused(ask, origin, answer("Grip-Hold: bogus"), why)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_18_channels_of_one_list_and_of_several_headers_are_all_subscribed(
    poll: Hold, fanway: Fanway, channel: str, number: int
) -> None:
    names = [f"{channel}-{n}" for n in range(4)]
    client = poll(f"{names[0]}, {names[1]},{names[2]}", f"grip-channel: {names[3]}")
    fanway.publish_response(names[number], "here")
    assert client.response().body == b"here"


def test_19_quoted_parameters_may_hold_commas_and_semicolons(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(f'{channel}-a; note="x, {channel}-no; y\\"", {channel}-b')
    fanway.publish_response(f"{channel}-no", "not a channel")
    fanway.publish_response(f"{channel}-b", "the second channel")
    assert client.response().body == b"the second channel"


def test_19_escapes_in_quotes_stand_for_what_follows(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: response", f'Grip-Channel: {channel}; prev-id="a\\"\\\\; b" dropped')
    client = hold(answer(*grip), answer(body=b"again"))
    fanway.publish(channel, {"http-response": {"action": "hint"}})
    assert client.response().body == b"again"
    assert origin.requests[1].one("Grip-Last") == f'{channel}; last-id=a"\\; b'


def test_19_a_channel_name_ends_at_a_semicolon_and_keeps_its_quotes(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(f'"{channel}"; x=1')
    fanway.publish_response(channel, "without quotes")
    fanway.publish_response(f'"{channel}"', "with quotes")
    assert client.response().body == b"with quotes"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("abc", "failed to parse Grip-Timeout"),
        ("-1", "Grip-Timeout has invalid value"),
    ],
)
def test_20_a_bad_timeout_gives_502(ask: Ask, origin: Origin, value: str, why: str) -> None:
    said = answer("Grip-Hold: response", "Grip-Channel: c", f"Grip-Timeout: {value}")
    assert_refused(ask, origin, said, why)


def test_23_grip_status_changes_the_status_and_supplies_the_reason(
    ask: Ask, origin: Origin
) -> None:
    origin.answers(answer("Grip-Status: 404", body=b"x", status="200 Fine"))
    reply = ask().response()
    assert (reply.status, reply.reason, reply.body) == (404, "Not Found", b"x")


@pytest.mark.parametrize("status", [200, 299, 999])
def test_24_any_status_that_can_be_final_is_given(ask: Ask, origin: Origin, status: int) -> None:
    origin.answers(answer(f"Grip-Status: {status}", body=b"x"))
    reply = ask().response()
    assert (reply.status, reply.body) == (status, b"x")


def test_24_grip_status_may_give_the_reason(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Status: 404 Nope"))
    reply = ask().response()
    assert (reply.status, reply.reason) == (404, "Nope")


def test_24_a_status_that_ends_no_response_is_500(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Status: 101 Switching", body=b"x"))
    reply = ask().response()
    assert (reply.status, reply.reason, reply.body) == (500, "Switching", b"x")


@pytest.mark.parametrize("value", ["1000", "-1", "abc", "20x OK"])
def test_24_an_impossible_grip_status_gives_502(ask: Ask, origin: Origin, value: str) -> None:
    said = answer(f"Grip-Status: {value}")
    assert_refused(ask, origin, said, "Grip-Status contains invalid status code")


def test_25_only_exposed_headers_are_relayed(ask: Ask, origin: Origin) -> None:
    exposed = ("Grip-Expose-Headers: x-one, X-TWO", "Grip-Expose-Headers: Grip-Sig")
    origin.answers(answer(*exposed, "X-One: 1", "x-two: 2", "X-Three: 3", "Content-Type: a/b"))
    reply = ask().response()
    assert (reply.one("X-One"), reply.one("X-Two")) == ("1", "2")
    assert reply.all("X-Three") == reply.all("Content-Type") == []
    assert not [name for name, _ in reply.headers if name.lower().startswith("grip-")]


def test_26_a_grip_response_of_status_404_holds(poll: Hold, fanway: Fanway, channel: str) -> None:
    client = poll(channel, status="404 Not Found")
    assert client.is_silent()
    fanway.publish_response(channel, "was held")
    assert client.response().body == b"was held"


def test_27_parameters_of_the_media_type_do_not_matter(ask: Ask, origin: Origin) -> None:
    body = b'{"response": {"body": "rewritten"}}'
    origin.answers(answer("Content-Type: application/grip-instruct; charset=utf-8", body=body))
    assert ask().response().body == b"rewritten"


def test_28_a_json_instruct_must_have_status_200(ask: Ask, origin: Origin) -> None:
    why = "response code for application/grip-instruct content must be 200"
    assert_refused(ask, origin, instruct({}, status="201 Created"), why)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "instruct must be an object"),
        ("{", "failed to parse application/grip-instruct content as JSON"),
        ("", "failed to parse application/grip-instruct content as JSON"),
        ("3", "failed to parse application/grip-instruct content as JSON"),
    ],
)
def test_29_a_json_instruct_must_be_an_object(
    ask: Ask, origin: Origin, text: str, why: str
) -> None:
    assert_refused(ask, origin, instruct(text), why)


def test_30_a_json_hold_without_channels_gives_502(ask: Ask, origin: Origin) -> None:
    origin.answers(instruct({"hold": {"mode": "response"}}))
    reply = ask().response()
    assert (reply.status, reply.body) == (502, FAILED)
    assert b"channels" in ask("/debug/").response().body


def test_30_a_json_hold_with_no_channel_in_its_list_holds(hold: Hold) -> None:
    client = hold(instruct({"hold": {"mode": "response", "channels": []}}))
    assert client.is_silent()


def test_31_a_json_hold_without_mode_is_a_response_hold(
    hold: Hold, fanway: Fanway, channel: str
) -> None:
    client = hold(instruct({"hold": {"channels": [{"name": channel}]}}))
    fanway.publish_response(channel, "a response")
    assert client.response().body == b"a response"


@pytest.mark.parametrize(
    "headers", [{"X-One": "1", "X-Two": "2"}, [["X-One", "1"], ["X-Two", "2"], ["X-Two", "3"]]]
)
def test_32_json_headers_are_an_object_or_a_list_of_pairs(
    ask: Ask, origin: Origin, headers: Any
) -> None:
    origin.answers(instruct({"response": {"headers": headers}}))
    reply = ask().response()
    pairs = list(headers.items()) if isinstance(headers, dict) else [tuple(h) for h in headers]
    assert [pair for pair in reply.headers if pair[0].startswith("X-")] == pairs


def test_33_body_bin_is_decoded_and_wins_over_body(ask: Ask, origin: Origin) -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    origin.answers(instruct({"response": {"body": "text", "body-bin": encoded}}))
    assert ask().response().body == b"\x00\xff"


def test_34_headers_of_the_origin_itself_are_not_relayed(ask: Ask, origin: Origin) -> None:
    origin.answers(instruct({"response": {"body": "x"}}, "X-Origin: 1", "Set-Cookie: a=b"))
    reply = ask().response()
    assert reply.all("X-Origin") == reply.all("Set-Cookie") == []
    assert "application/grip-instruct" not in [value for _, value in reply.headers]


def test_35_an_instruct_without_response_yields_an_empty_200(ask: Ask, origin: Origin) -> None:
    origin.answers(instruct({}, status="200 Fine"))
    reply = ask().response()
    assert (reply.status, reply.reason, reply.body) == (200, "Fine", b"")
    assert reply.one("Content-Length") == "0"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"code": 404}, (404, "Not Found")),
        ({"code": 404, "reason": "Nope"}, (404, "Nope")),
        ({"reason": "Nope"}, (200, "Nope")),
    ],
)
def test_36_a_code_replaces_the_reason(
    ask: Ask, origin: Origin, response: dict[str, Any], expected: tuple[int, str]
) -> None:
    origin.answers(instruct({"response": response}, status="200 Fine"))
    reply = ask().response()
    assert (reply.status, reply.reason) == expected


def test_37_meta_must_be_text(ask: Ask, origin: Origin) -> None:
    said = instruct({"hold": {"channels": [], "meta": {"user": 7}}})
    assert_refused(ask, origin, said, "'meta' contains 'user' with wrong type")


def test_38_the_mode_of_json_overrides_grip_hold(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str
) -> None:
    document = {"hold": {"mode": "stream", "channels": []}, "response": {"body": "first "}}
    origin.answers(instruct(document, "Grip-Hold: response", f"Grip-Channel: {channel}"))
    reply = ask().reply()
    reply.expect(b"first ")
    fanway.publish_stream(channel, "second")
    reply.expect(b"second")


@pytest.mark.parametrize("number", [0, 1])
def test_38_channels_of_headers_and_json_are_merged(
    hold: Hold, fanway: Fanway, channel: str, number: int
) -> None:
    document = {"hold": {"channels": [{"name": f"{channel}-1"}]}}
    client = hold(instruct(document, f"Grip-Channel: {channel}-0"))
    fanway.publish_response(f"{channel}-{number}", "here")
    assert client.response().body == b"here"


def test_38_meta_of_headers_and_json_is_merged_and_json_counts(
    hold: Hold, fanway: Fanway, channel: str
) -> None:
    filtered = {"name": channel, "filters": ["var-subst"]}
    document = {"hold": {"channels": [filtered], "meta": {"b": "json", "c": "json"}}}
    client = hold(instruct(document, "Grip-Set-Meta: a=header, b=header"))
    fanway.publish_response(channel, "%(a)s %(b)s %(c)s")
    assert client.response().body == b"header json json"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"response": {"code": 1000}}, "response contains 'code' with invalid value"),
        ({"hold": []}, "instruct contains 'hold' with wrong type"),
        (
            {"hold": {"channels": [{"name": "c", "filters": [1]}]}},
            "filters contains value with wrong type",
        ),
        ({"response": {"headers": [["a"]]}}, "headers contains list with wrong number of elements"),
        ({"response": {"headers": ["a"]}}, "headers contains element with wrong type"),
    ],
)
def test_json_of_a_wrong_type_gives_502_and_says_which(
    ask: Ask, origin: Origin, document: Any, why: str
) -> None:
    assert_refused(ask, origin, instruct(document), why)


def test_39_six_filters_of_one_channel_give_502(ask: Ask, origin: Origin) -> None:
    filters = "; filter=skip-self" * 6
    said = answer("Grip-Hold: response", f"Grip-Channel: c{filters}")
    assert_refused(ask, origin, said, "too many filters for channel 'c'")


def test_40_a_large_request_may_not_be_answered_with_grip(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Hold: response", "Grip-Channel: c"))
    reply = ask(method="POST", body=bytes(BUFFER_MAX_BYTES + 1)).response("POST")
    assert (reply.status, reply.reason) == (400, "Bad Request")
    assert reply.body == b"Request too large to accept GRIP instruct.\n"


def test_40_a_request_of_the_largest_size_may(hold: Hold, fanway: Fanway, channel: str) -> None:
    said = answer("Grip-Hold: response", f"Grip-Channel: {channel}")
    client = hold(said, method="POST", body=bytes(BUFFER_MAX_BYTES))
    fanway.publish_response(channel, "held")
    assert client.response("POST").body == b"held"


def test_41_a_response_hold_with_a_large_body_gives_502(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Hold: response", body=bytes(BUFFER_MAX_BYTES + 1)))
    reply = ask().response()
    assert (reply.status, reply.body) == (502, FAILED)


@pytest.mark.parametrize(
    "headers",
    [
        ("Grip-Foo: 1",),
        ("Content-Type: application/grip-instruct", "Grip-Hold: stream"),
        ("Grip-Hold: stream", "Grip-Channel: c; filter=build-id"),
    ],
    ids=["no hold", "JSON", "a filter of responses"],
)
def test_41_so_do_others_that_have_to_be_whole(
    ask: Ask, origin: Origin, headers: tuple[str, ...]
) -> None:
    origin.answers(answer(*headers, body=b" " * (BUFFER_MAX_BYTES + 1)))
    reply = ask().response()
    assert (reply.status, reply.body) == (502, FAILED)


def test_41_debug_names_the_target(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Hold: response", body=bytes(BUFFER_MAX_BYTES + 1)))
    body = ask("/debug/").response().body
    assert body.startswith(b"GRIP instruct response too large from ")


def test_41_a_body_of_the_largest_size_is_held(hold: Hold, fanway: Fanway, channel: str) -> None:
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}")
    client = hold(answer(*grip, body=bytes(BUFFER_MAX_BYTES)))
    fanway.publish_response(channel, "held")
    assert client.response().body == b"held"


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_42_a_stream_hold_with_a_large_body_is_delivered_fully_and_then_holds(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, framing: str
) -> None:
    body = bytes(range(256)) * 2000
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}", "Grip-Status: 201", "X-Kept: yes")
    if framing == "sized":
        origin.answers(answer(*grip, body=body))
    else:
        head = "\r\n".join(["HTTP/1.1 200 OK", *grip, "Transfer-Encoding: chunked", "", ""])
        origin.answers(says(head.encode(), b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n"))
    reply = ask().reply()
    assert reply.status == 201
    assert reply.one("X-Kept") == "yes"
    assert reply.all("Content-Length") == []
    reply.expect(body)

    def heard_what_was_published() -> bool:
        fanway.publish_stream(channel, ".")
        return not reply.client.is_silent()

    # The hold begins when the origin has finished, which the client cannot see.
    until(heard_what_was_published, "a publish after the large body")
    reply.expect(b".")


def test_42_exposed_headers_are_respected_there_too(ask: Ask, origin: Origin) -> None:
    grip = ("Grip-Hold: stream", "Grip-Channel: c", "Grip-Expose-Headers: X-One")
    origin.answers(answer(*grip, "X-One: 1", "X-Two: 2", body=bytes(200_000)))
    reply = ask().reply()
    assert reply.one("X-One") == "1"
    assert reply.all("X-Two") == []


def test_43_a_small_stream_body_is_delivered_when_the_origin_has_finished(
    connect: Ask, origin: Origin, settle: Callable[[], None], channel: str
) -> None:
    client = connect()
    was_silent: list[bool] = []

    def slowly(wire: Wire, _: Request) -> None:
        head = f"HTTP/1.1 200 OK\r\nGrip-Hold: stream\r\nGrip-Channel: {channel}\r\n"
        wire.send(head.encode(), b"Content-Length: 6\r\n\r\nabc")
        settle()
        was_silent.append(client.is_silent())
        wire.send(b"def")

    origin.answers(slowly)
    client.send(request(origin.host)).reply().expect(b"abcdef")
    assert was_silent == [True]


def test_of_a_header_that_is_no_list_the_first_counts(
    ask: Ask, origin: Origin, poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(channel, "Grip-Timeout: 50", "Grip-Timeout: x", "Grip-Hold: stream")
    assert client.is_silent()
    fanway.publish_response(channel, "one")
    assert client.response().body == b"one"
    origin.answers(answer("Grip-Status: 404", "Grip-Status: 500"))
    assert ask().response().status == 404


def test_an_element_that_cannot_be_parsed_is_dropped_and_the_others_count(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    meta = 'Grip-Set-Meta: user="never closed'
    client = poll(f'{channel}-a; prev-id="1\\, {channel}-b', f"Grip-Channel: {channel}-c", meta)
    fanway.publish_response(f"{channel}-a", "not this")
    fanway.publish_response(f"{channel}-b", "nor this")
    fanway.publish_response(f"{channel}-c", "this")
    assert client.response().body == b"this"


def test_an_empty_element_is_the_channel_without_a_name(
    poll: Hold, fanway: Fanway, channel: str
) -> None:
    client = poll(f"{channel},, {channel}-b")
    fanway.publish_response("", "to no name")
    assert client.response().body == b"to no name"


def test_an_instruct_that_is_refused_leaves_the_connection_usable(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Hold: bogus"), answer(body=b"good"))
    client = ask()
    assert client.response().status == 502
    assert client.send(request(origin.host)).response().body == b"good"
