"""What an origin's response instructs (GRIP.md 1.1, 1.3 to 1.5, 1.9.1; checklist 15 to 42, 100)."""

from __future__ import annotations

from typing import Any

import pytest
from gripcontrol import create_grip_channel_header, create_hold_response, create_hold_stream
from hypothesis import given
from hypothesis import strategies as st

from control.errors import InstructError
from control.grip.instruct import (
    Channel,
    HoldMode,
    Instruct,
    KeepAlive,
    KeepAliveMode,
    NextLink,
    Response,
    is_grip,
)
from support.instructs import Header, from_headers, from_json, headers, hold

# -- which responses are instructs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Content-Type: text/plain", False),
        ("Content-Type: application/grip-instruct", True),
        ("Content-Type: application/grip-instruct; charset=utf-8", True),
        ("Content-Type: application/grip-instruct ;charset=utf-8", True),
        ("Content-Type: application/grip-instructions", False),
        ("X-Grip-Hold: stream", False),
        ("Grip-Hold: stream", True),
        ("grip-foo: 1", True),
        ("GRIP-STATUS: 200", True),
        ("Grip: 1", False),
    ],
)
def test_1_which_responses_are_grip(text: str, expected: bool) -> None:
    assert is_grip(headers(text)) is expected


def test_15_an_unknown_grip_header_is_stripped_and_the_rest_delivered() -> None:
    instruct = from_headers("Grip-Foo: 1\nContent-Type: text/plain", body=b"hello")
    assert instruct.mode is None
    assert instruct.response == Response(200, b"Fine", [(b"Content-Type", b"text/plain")], b"hello")


# -- holds and channels by header


@pytest.mark.parametrize("mode", list(HoldMode))
def test_a_hold_has_one_of_two_modes(mode: HoldMode) -> None:
    assert from_headers(f"Grip-Hold: {mode.value}").mode is mode


def test_16_a_channel_without_hold_holds_nothing() -> None:
    assert from_headers("Grip-Channel: a").mode is None


def test_18_channels_in_lists_and_in_several_headers_are_all_there() -> None:
    instruct = from_headers("Grip-Hold: response\nGrip-Channel: a, b\nGrip-Channel: c")
    assert [channel.name for channel in instruct.channels] == ["a", "b", "c"]


def test_a_channel_has_a_prev_id_and_filters() -> None:
    instruct = from_headers("Grip-Channel: a; prev-id=41; filter=skip-self; filter=x; other=1, b")
    assert instruct.channels == (Channel("a", "41", ("skip-self", "x")), Channel("b"))


def test_a_channel_named_twice_is_held_once() -> None:
    instruct = from_headers("Grip-Channel: a; prev-id=1, b, a; prev-id=2")
    assert instruct.channels == (Channel("a", "2"), Channel("b"))
    assert from_json(hold(), extra="Grip-Channel: a; prev-id=1").channels == (Channel("a"),)


def test_a_bare_prev_id_is_absent() -> None:
    assert from_headers("Grip-Channel: a; prev-id").channels == (Channel("a"),)


def test_the_filter_parameter_alone_is_compared_with_case() -> None:
    instruct = from_headers("Grip-Channel: a; Filter=x; PREV-ID=1")
    assert instruct.channels == (Channel("a", "1"),)


def test_19_a_channel_name_keeps_its_quotes() -> None:
    assert from_headers('Grip-Channel: "a"').channels == (Channel('"a"'),)


def test_an_empty_element_is_a_channel_without_name() -> None:
    assert [c.name for c in from_headers("Grip-Channel: a,,b").channels] == ["a", "", "b"]


def test_an_element_that_cannot_be_parsed_is_dropped() -> None:
    assert from_headers('Grip-Channel: a, b; prev-id="1').channels == (Channel("a"),)


def test_channel_names_that_are_not_utf8_survive() -> None:
    instruct = Instruct.from_head(200, b"OK", [(b"Grip-Channel", b"caf\xe9")])
    assert instruct.channels[0].name.encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_26_the_status_does_not_matter_to_a_hold() -> None:
    instruct = from_headers("Grip-Hold: response\nGrip-Channel: a", status=404)
    assert (instruct.mode, instruct.response.status) == (HoldMode.RESPONSE, 404)


# -- timeouts, keep-alives, meta


@pytest.mark.parametrize(
    ("text", "seconds"), [("Grip-Timeout: 25", 25), ("Grip-Timeout: 9999999999", 4_000_000)]
)
def test_a_timeout_is_in_seconds(text: str, seconds: int) -> None:
    assert from_headers(text).timeout_seconds == seconds


@pytest.mark.parametrize("seconds", [0, 1, 5])
def test_21_timeout_of_1_behaves_as_5_seconds(seconds: int) -> None:
    assert from_headers(f"Grip-Timeout: {seconds}").timeout_seconds == 5


def test_22_a_missing_timeout_behaves_as_55_seconds() -> None:
    assert from_headers("Grip-Hold: response").timeout_seconds == 55


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (":hb", KeepAlive(b":hb", 55, KeepAliveMode.IDLE)),
        (":hb\\n", KeepAlive(b":hb\\n")),
        (":hb\\n; format=raw", KeepAlive(b":hb\\n")),
        (":hb\\n\\r\\\\; format=cstring", KeepAlive(b":hb\n\r\\")),
        ("\\x41\\x0a; format=cstring", KeepAlive(b"A\n")),
        ("a\\qb; format=cstring", KeepAlive(b"ab")),
        ("OmhiCgo=; format=base64", KeepAlive(b":hb\n\n")),
        (":hb; timeout=20; mode=interval", KeepAlive(b":hb", 20, KeepAliveMode.INTERVAL)),
        (":hb; timeout=0", KeepAlive(b":hb", 1)),
        ("a, b", KeepAlive(b"a, b")),
        ("", None),
        ('a; timeout="1', None),
    ],
)
def test_62_keep_alives_have_three_formats(value: str, expected: KeepAlive | None) -> None:
    assert from_headers(f"Grip-Keep-Alive: {value}").keep_alive == expected


def test_66_keep_alive_timeout_defaults_to_55_and_0_is_1() -> None:
    default, zero = (from_headers(f"Grip-Keep-Alive: a{t}").keep_alive for t in ("", ";timeout=0"))
    assert default is not None
    assert zero is not None
    assert (default.timeout_seconds, zero.timeout_seconds) == (55, 1)


def test_meta_comes_from_the_first_pair_of_each_element() -> None:
    instruct = from_headers('Grip-Set-Meta: user="dana, x", a=1; b=2, a=3\nGrip-Set-Meta: c')
    assert instruct.meta == {"user": "dana, x", "a": "3", "c": ""}


# -- what the client gets


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        ("404", 404, b"Not Found"),
        ("404  Nope", 404, b"Nope"),
        ("404 Not here", 404, b"Not here"),
        ("200", 200, b"OK"),
        ("999", 999, b""),
        ("199", 500, b"Internal Server Error"),
        ("0 Nothing", 500, b"Nothing"),
    ],
)
def test_23_24_grip_status_replaces_status_and_reason(
    value: str, status: int, reason: bytes
) -> None:
    response = from_headers(f"Grip-Status: {value}").response
    assert (response.status, response.reason) == (status, reason)


def test_25_expose_headers_limits_the_headers_to_the_list() -> None:
    instruct = from_headers(
        """
        Content-Type: text/plain
        X-A: 1
        X-B: 2
        Grip-Hold: response
        Grip-Expose-Headers: content-type, X-a, grip-hold
        Grip-Expose-Headers: content-length
        """
    )
    assert instruct.response.headers == [(b"Content-Type", b"text/plain"), (b"X-A", b"1")]


def test_an_empty_expose_headers_limits_nothing() -> None:
    instruct = from_headers("X-A: 1\nGrip-Expose-Headers:")
    assert instruct.response.headers == [(b"X-A", b"1")]


@pytest.mark.parametrize(
    "name",
    ["Grip-Hold", "Connection", "Keep-Alive", "Content-Encoding", "Transfer-Encoding", "X-Named"],
)
def test_11_headers_of_grip_hop_and_framing_do_not_survive(name: str) -> None:
    value = "response" if name == "Grip-Hold" else "x"
    instruct = from_headers(
        f"{name}: {value}\nConnection: x-named\nContent-Length: 3\nX-Other: 1", body=b"abc"
    )
    assert instruct.response.headers == [(b"X-Other", b"1")]


# -- links


def test_links_are_next_and_gone_and_the_last_of_each_wins() -> None:
    instruct = from_headers(
        "Grip-Link: </a>; rel=next, <http://h:8/b?c=d>; rel=next; timeout=0, </e>; rel=gone"
    )
    assert instruct.next_link == NextLink("http://h:8/b?c=d", 0)
    assert instruct.gone_link == "/e"


def test_82_a_next_link_has_a_timeout_of_120_seconds() -> None:
    assert from_headers("Grip-Link: </a>; rel=next").next_link == NextLink("/a", 120)


@pytest.mark.parametrize("value", ["</a>; rel=prev", "</a>; title=x", "</a>", "anything"])
def test_100_an_unknown_rel_is_ignored(value: str) -> None:
    instruct = from_headers(f"Grip-Link: {value}")
    assert (instruct.next_link, instruct.gone_link) == (None, None)


# -- header errors


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Grip-Hold: bogus", "Grip-Hold must be set to either 'response' or 'stream'"),
        ("Grip-Hold: Response", "Grip-Hold must be set to either 'response' or 'stream'"),
        ("Grip-Hold:", "Grip-Hold must be set to either 'response' or 'stream'"),
        ("Grip-Channel: a" + ";filter=x" * 6, "too many filters for channel 'a'"),
        (f"Grip-Channel: {'a' * 4097}", "failed to parse Grip-Channel"),
        ("Grip-Timeout: abc", "failed to parse Grip-Timeout"),
        ("Grip-Timeout:", "failed to parse Grip-Timeout"),
        ("Grip-Timeout: -1", "Grip-Timeout has invalid value"),
        ("Grip-Keep-Alive: ; timeout=1", "Grip-Keep-Alive cannot be empty"),
        ("Grip-Keep-Alive: a; mode=never", "no such Grip-Keep-Alive mode 'never'"),
        ("Grip-Keep-Alive: a; timeout=x", "failed to parse Grip-Keep-Alive timeout value"),
        ("Grip-Keep-Alive: a; timeout=-1", "Grip-Keep-Alive timeout has invalid value"),
        ("Grip-Keep-Alive: a\\; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        (
            "Grip-Keep-Alive: \\xg0; format=cstring",
            "failed to parse Grip-Keep-Alive cstring format",
        ),
        ("Grip-Keep-Alive: \\x4; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        ("Grip-Keep-Alive: \\q; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        ("Grip-Keep-Alive: a; format=hex", "no such Grip-Keep-Alive format 'hex'"),
        ("Grip-Set-Meta: =1", "Grip-Set-Meta cannot be empty"),
        ("Grip-Set-Meta: a=1,,b=2", "Grip-Set-Meta cannot be empty"),
        ("Grip-Status: 1000", "Grip-Status contains invalid status code"),
        ("Grip-Status: -1", "Grip-Status contains invalid status code"),
        ("Grip-Status: OK", "Grip-Status contains invalid status code"),
        ("Grip-Link: /a; rel=next", "failed to parse Grip-Link value"),
        ("Grip-Link: <>; rel=next", "failed to parse Grip-Link value"),
        ("Grip-Link: </a,b>; rel=next", "failed to parse Grip-Link value"),
        ("Grip-Link: <http://[/>; rel=next", "Grip-Link contains invalid link"),
        ("Grip-Link: <http://h:port/>; rel=next", "Grip-Link contains invalid link"),
        ("Grip-Link: </a b>; rel=next", "Grip-Link contains invalid link"),
        ("Grip-Link: </a>; rel=next; timeout=x", "failed to parse Grip-Link timeout value"),
        ("Grip-Link: </a>; rel=next; timeout=-1", "Grip-Link timeout has invalid value"),
    ],
)
def test_17_20_24_39_63_67_100_a_bad_header_has_its_own_reason(text: str, reason: str) -> None:
    with pytest.raises(InstructError) as caught:
        from_headers(text)
    assert str(caught.value) == reason


# -- bodies that are not kept whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Grip-Hold: stream\nGrip-Channel: a", True),
        ("Grip-Hold: stream\nGrip-Channel: a; filter=build-id", False),
        ("Grip-Link: </a>; rel=next", True),
        ("Grip-Hold: response\nGrip-Channel: a", False),
        ("Grip-Hold: response\nGrip-Link: </a>; rel=next", False),
        ("Grip-Status: 201", False),
    ],
)
def test_42_only_streams_pass_a_body_of_any_length(text: str, expected: bool) -> None:
    assert from_headers(text).streams_body is expected


def test_42_a_head_alone_has_all_but_the_body() -> None:
    block = headers("Grip-Hold: stream\nGrip-Status: 201\nX-A: 1\nX-B: 2\nGrip-Expose-Headers: X-A")
    response = Instruct.from_head(200, b"OK", block).response
    assert response == Response(201, b"Created", [(b"X-A", b"1")], b"")


# -- what other people's libraries write


def test_headers_of_gripcontrol_are_understood() -> None:
    value = create_grip_channel_header([_channel("a", "1"), _channel("b", None)])
    instruct = from_headers(f"Grip-Hold: stream\nGrip-Channel: {value}")
    assert instruct.channels == (Channel("a", "1"), Channel("b"))


def test_json_of_gripcontrol_is_understood() -> None:
    response_hold = from_json(create_hold_response([_channel("a", "1")], timeout=20).encode())
    stream_hold = from_json(create_hold_stream(_channel("a", None)).encode())
    assert response_hold.mode is HoldMode.RESPONSE
    assert response_hold.channels == (Channel("a", "1"),)
    assert response_hold.timeout_seconds == 20
    assert stream_hold.mode is HoldMode.STREAM


def _channel(name: str, prev_id: str | None) -> Any:
    from gripcontrol import Channel as TheirChannel

    return TheirChannel(name, prev_id)


# -- anything at all

_NAMES = st.sampled_from(
    [
        b"Grip-Hold",
        b"Grip-Channel",
        b"Grip-Timeout",
        b"Grip-Keep-Alive",
        b"Grip-Set-Meta",
        b"Grip-Status",
        b"Grip-Link",
        b"Grip-Expose-Headers",
        b"Connection",
    ]
)
_VALUES = st.text('abc0123<>=;,"\\ /?:[]#é').map(str.encode) | st.binary()


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=6))
def test_any_headers_are_an_instruct_or_an_error(block: list[Header]) -> None:
    try:
        instruct = Instruct.from_response(200, b"OK", block, b"")
    except InstructError:
        return
    assert instruct.response.headers == []


_KEYS = ["hold", "response", "mode", "channels", "name", "prev-id", "filters", "timeout", "meta"]
_KEYS += ["keep-alive", "code", "headers", "body", "body-bin", "content"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
            max_size=5,
        )
    ),
)


@given(st.fixed_dictionaries({}, optional={"hold": _JSON, "response": _JSON}))
def test_any_json_is_an_instruct_or_an_error(document: dict[str, Any]) -> None:
    try:
        instruct = from_json(document)
    except InstructError:
        return
    assert 5 <= instruct.timeout_seconds <= 4_000_000
