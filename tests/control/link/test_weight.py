"""How much of an order is for a client; the orders are those that codec makes."""

from __future__ import annotations

import pytest

from control.link import codec
from control.link.packets import KeepAlive, Kind, Mode
from control.link.weight import Weight, weigh

REF = 1 << 32 | 7
HEADERS = [(b"Content-Type", b"text/plain"), (b"A", b"")]
HEADERS_BYTES = len(b"Content-Typetext/plainA")
ANSWER = {"status": 200, "reason": b"OK", "headers": HEADERS, "body": b"body"}
CHANNELS = [(b"a", None, b""), (b"bc", b"id", b"\x00traits")]


@pytest.mark.parametrize("more", [False, True])
def test_an_answer_weighs_its_head_and_the_body_that_comes_with_it(more: bool) -> None:
    packet = codec.respond(REF, length=4, more=more, **ANSWER)
    assert weigh(packet) == Weight(REF, 5 + HEADERS_BYTES, 4)


@pytest.mark.parametrize(
    ("kind", "more", "ends_message"),
    [(Kind.BODY, True, False), (Kind.BODY, False, False), (Kind.TEXT, True, False)]
    + [(kind, False, True) for kind in (Kind.TEXT, Kind.BINARY, Kind.PING, Kind.PONG)],
)
def test_what_is_sent_weighs_its_content(kind: Kind, more: bool, ends_message: bool) -> None:
    assert weigh(codec.send(REF, kind, b"abc", more=more)) == Weight(REF, 0, 3, ends_message)


def test_an_acceptance_weighs_its_first_line_and_its_headers() -> None:
    first_line = len(b"101Switching Protocols")
    assert weigh(codec.accept(REF, HEADERS)) == Weight(REF, first_line + HEADERS_BYTES)


def test_a_stream_weighs_what_it_begins_with() -> None:
    packet = codec.hold(
        REF,
        mode=Mode.STREAM,
        channels=CHANNELS,
        keep_alive_mode=KeepAlive.IDLE,
        keep_alive_ms=1000,
        keep_alive=b"keep",
        **ANSWER,
    )
    assert weigh(packet) == Weight(REF, 5 + HEADERS_BYTES, 4)


@pytest.mark.parametrize(
    "packet",
    [
        codec.hold(REF, mode=Mode.STREAM, channels=CHANNELS, answered=True),
        codec.hold(REF, mode=Mode.RESPONSE, channels=CHANNELS, **ANSWER),  # not before it ends
        codec.finish(REF),
        codec.close(REF, 0, 1000, b"bye"),
        codec.subscribe(REF, b"a"),
        codec.grant(REF, 7),
        codec.publish(b"a", None, None, []),
        codec.welcome({}),
    ],
)
def test_an_order_that_gives_a_client_nothing_now_has_no_weight(packet: bytes) -> None:
    assert weigh(packet) is None
