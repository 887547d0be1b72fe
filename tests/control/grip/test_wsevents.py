"""The body of WebSocket-over-HTTP (GRIP.md 4.1; checklist 147, 151, 154, 163)."""

from __future__ import annotations

import pytest
from gripcontrol import WebSocketEvent, decode_websocket_events, encode_websocket_events
from hypothesis import given
from hypothesis import strategies as st

from control.grip.wsevents import Event, EventType, decode, encode

OPEN, TEXT, BINARY, PING, PONG, CLOSE, DISCONNECT = EventType


@pytest.mark.parametrize(
    ("event", "body"),
    [
        (Event(OPEN), b"OPEN\r\n"),
        (Event(DISCONNECT), b"DISCONNECT\r\n"),
        (Event(TEXT, b"hello"), b"TEXT 5\r\nhello\r\n"),
        (Event(TEXT), b"TEXT 0\r\n\r\n"),
        (Event(BINARY), b"BINARY 0\r\n\r\n"),
        (Event(BINARY, b"\x00" * 171), b"BINARY ab\r\n" + b"\x00" * 171 + b"\r\n"),
        (Event(PING), b"PING\r\n"),
        (Event(PONG, b"\r\n"), b"PONG 2\r\n\r\n\r\n"),
        (Event.close(), b"CLOSE\r\n"),
        (Event.close(1001, b"bye"), b"CLOSE 5\r\n\x03\xe9bye\r\n"),
    ],
)
def test_147_154_events_are_written_and_read(event: Event, body: bytes) -> None:
    assert encode([event]) == body
    assert decode(body) == [event]


def test_events_follow_each_other() -> None:
    events = [Event(OPEN), Event(TEXT, b"a"), Event(TEXT, b"b")]
    assert decode(encode(events)) == events
    assert decode(b"") == []


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"TEXT A\r\n0123456789\r\n", [Event(TEXT, b"0123456789")]),
        (b"TEXT 01\r\na\r\n", [Event(TEXT, b"a")]),
        (b"TEXT 1\r\naXXPING\r\n", [Event(TEXT, b"a"), Event(PING)]),
        (b"TEXT 5\r\nab", [Event(TEXT, b"ab")]),
        (b"TEXT\r\n", [Event(TEXT)]),
        (b"OPEN 2\r\nhi\r\n", [Event(OPEN)]),
        (b"NOVEL 1\r\na\r\nNOVEL\r\nPING\r\n", [Event(PING)]),
        (b"text\r\n", []),
    ],
)
def test_163_reading_is_lenient(body: bytes, events: list[Event]) -> None:
    assert decode(body) == events


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"OPEN", "a line without end after 0 events"),
        (b"OPEN\n", "a line without end after 0 events"),
        (b"OPEN\r\nTEXT 1", "a line without end after 1 events"),
        (b"TEXT xyz\r\n", "a size that is not hexadecimal after 0 events"),
        (b"TEXT -1\r\n", "a size that is not hexadecimal after 0 events"),
        (b"TEXT 0x1\r\na\r\n", "a size that is not hexadecimal after 0 events"),
        (b"TEXT \r\n", "a size that is not hexadecimal after 0 events"),
        (b"TEXT " + b"1" * 17 + b"\r\n", "a size that is not hexadecimal after 0 events"),
    ],
)
def test_163_a_malformed_body_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(body)


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", None, b""),
        (b"\x03", None, b""),
        (b"\x03\xe8", 1000, b""),
        (b"\x03\xe9bye", 1001, b"bye"),
        (b"\x00\x00", None, b""),
        (b"\x03\xe8" + b"a" * 122 + "é".encode(), 1000, b"a" * 122),
    ],
)
def test_156_a_close_has_a_code_and_a_reason(
    content: bytes, code: int | None, reason: bytes
) -> None:
    event = Event(CLOSE, content)
    assert (event.close_code, event.close_reason) == (code, reason)


_EVENTS = st.lists(
    st.builds(Event, st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=300))
    | st.sampled_from([Event(OPEN), Event(DISCONNECT), Event.close(), Event.close(1000, b"x")])
)


@given(_EVENTS)
def test_what_is_written_is_read(events: list[Event]) -> None:
    assert decode(encode(events)) == events


@given(_EVENTS)
def test_gripcontrol_reads_what_is_written(events: list[Event]) -> None:
    theirs = decode_websocket_events(encode(events))
    assert [(e.type.encode(), e.content or b"") for e in theirs] == [
        (event.type.value, event.content) for event in events
    ]


@given(_EVENTS)
def test_what_gripcontrol_writes_is_read(events: list[Event]) -> None:
    theirs = [WebSocketEvent(e.type.value.decode(), e.content or None) for e in events]
    assert decode(encode_websocket_events(theirs)) == events


@given(st.lists(st.sampled_from([b"TEXT", b" ", b"5", b"\r\n", b"OPEN", b"\r", b"zz"])))
def test_any_body_is_read_or_refused(parts: list[bytes]) -> None:
    body = b"".join(parts)
    try:
        events = decode(body)
    except ValueError:
        return
    assert sum(len(event.content) for event in events) <= len(body)
