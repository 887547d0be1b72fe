"""A WebSocket client's session: its states, messages up and down, credit, what is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from control.link.packets import Closed, Freed, Granted, Kind, Received, Signal, Signalled
from fastpath import probe_session as probe
from support.stage import Stage
from support.ws_stage import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    WsClient,
    close,
    frame,
)

WS = 4
QUARTER = probe.WINDOW // 4

# -- the gate: every legal move, and what makes it

MOVES = [
    ("OPEN", ["CLOSING"], "a close frame has come or gone"),
    ("OPEN", ["DRAINING"], "the client broke the protocol; CLOSE with a reason"),
    ("CLOSING", ["DRAINING"], "the other close frame, or a broken one"),
    ("DRAINING", ["GONE"], "nothing is left to send, and the client has seen it"),
    ("any", ["GONE"], "the connection is lost, or the session is ended"),
    ("GONE", ["OPEN"], "once, when the handshake is accepted"),
]


def diagram() -> str:
    """The table of moves as fastpath/README.md shows it."""
    lines = ["| from | to | by |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {old} | {', '.join(new)} | {by} |" for old, new, by in MOVES)])


def test_the_gate_lets_exactly_the_listed_moves_pass() -> None:
    listed = {(old, new) for old, news, _ in MOVES for new in news if old != "any"}
    listed |= {(state, "GONE") for state in probe.WS_STATES if state != "GONE"}
    assert probe.ws_moves() == listed


def test_the_readme_shows_the_table_of_moves() -> None:
    readme = Path(__file__).parents[2] / "fastpath/README.md"
    assert diagram() in readme.read_text(encoding="utf-8"), diagram()


def text(ref: int, content: bytes, more: bool = False) -> Received:
    return Received(ref, Kind.TEXT, content, more)


# -- up


def test_a_small_message_is_one_report(stage: Stage, socket: Callable[..., WsClient]) -> None:
    client = socket().says(frame(TEXT, b"hello"), frame(BINARY, b"\x00\xff"), frame(TEXT))
    assert stage.reports() == [
        text(client.ref, b"hello"),
        Received(client.ref, Kind.BINARY, b"\x00\xff", False),
        text(client.ref, b""),
    ]


def test_a_message_in_fragments_goes_up_in_pieces(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket().says(
        frame(TEXT, b"on", fin=False),
        frame(CONTINUATION, b"", fin=False),
        frame(PING, b"?"),
        frame(CONTINUATION, b"e", fin=False),
        frame(CONTINUATION, b""),
    )
    assert stage.reports() == [
        text(client.ref, b"on", more=True),
        Received(client.ref, Kind.PING, b"?", False),
        text(client.ref, b"e", more=True),
        text(client.ref, b""),
    ]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_means_the_same_byte_by_byte(
    stage: Stage, socket: Callable[..., WsClient], size: int
) -> None:
    client = socket()
    run = frame(BINARY, bytes(range(256)) * (size // 256) + bytes(size % 256))
    step = 1 if size < 200 else 997
    for at in range(0, len(run), step):
        client.says(run[at : at + step])
    reports = stage.reports()
    assert [report.more for report in reports] == [True] * (len(reports) - 1) + [False]
    assert b"".join(report.content for report in reports) == (
        bytes(range(256)) * (size // 256) + bytes(size % 256)
    )


def test_a_character_may_be_split_between_fragments(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket().says(frame(TEXT, b"\xe2\x82", fin=False), frame(CONTINUATION, b"\xac"))
    assert [report.content for report in stage.reports()] == [b"\xe2\x82", b"\xac"]
    assert client.state == "OPEN"


def test_pings_and_pongs_go_up_and_are_not_answered(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    run = frame(PING, b"a") + frame(PONG, b"b")
    client = socket()
    for at in range(len(run)):
        client.says(run[at : at + 1])
    assert stage.reports() == [
        Received(client.ref, Kind.PING, b"a", False),
        Received(client.ref, Kind.PONG, b"b", False),
    ]
    assert client.hears() == []


# -- a client that breaks the protocol

FAULTS = {
    "not masked": (frame(TEXT, b"a", mask=None), 20, 1002),
    "a reserved bit": (b"\xa1\x80" + bytes(4), 20, 1002),
    "compressed without agreement": (frame(TEXT, b"a", rsv1=True), 20, 1002),
    "an unknown opcode": (frame(3), 20, 1002),
    "an unknown control opcode": (frame(11), 20, 1002),
    "a ping in fragments": (frame(PING, fin=False), 20, 1002),
    "a ping of 126 bytes": (frame(PING, bytes(126)), 20, 1002),
    "nothing to go on with": (frame(CONTINUATION), 20, 1002),
    "a message in a message": (frame(TEXT, fin=False) + frame(TEXT), 20, 1002),
    "a length not in its shortest form": (b"\x81\xfe\x00\x05" + bytes(9), 20, 1002),
    "a length of 2**63": (b"\x81\xff\x80" + bytes(11), 20, 1002),
    "a close of one byte": (frame(CLOSE, b"\x03"), 20, 1002),
    "a close code that never travels": (close(1005), 20, 1002),
    "a close reason that is not UTF-8": (close(1000, b"\xff"), 21, 1007),
    "text that is not UTF-8": (frame(TEXT, b"a\xffb"), 21, 1007),
    "text that ends in a character": (frame(TEXT, b"\xe2\x82"), 21, 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 21, 1007),
}


@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_answered_with_its_code_and_reported_at_once(
    stage: Stage, socket: Callable[..., WsClient], fault: str, split: str
) -> None:
    run, reason, code = FAULTS[fault]
    client = socket(b"a")
    for piece in [run] if split == "whole" else [run[i : i + 1] for i in range(len(run))]:
        client.says(piece)
    assert client.hears() == [Frame(CLOSE, code.to_bytes(2, "big"))]
    assert [r for r in stage.reports() if not isinstance(r, Received)] == [
        Freed(b"a", WS, 0),
        Closed(client.ref, reason, code),
    ]
    assert stage.count("ended_faulty") == 1
    assert client.ended
    client.hangs_up()
    assert client.state == "GONE"
    assert stage.reports() == []


def test_text_that_is_not_utf8_is_refused_before_the_message_is_whole(
    socket: Callable[..., WsClient],
) -> None:
    client = socket().says(frame(TEXT, b"a\xff" + bytes(1000))[:20])
    assert client.hears() == [Frame(CLOSE, b"\x03\xef")]


def test_a_client_that_goes_on_after_a_fault_still_reads_why(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket().says(frame(3), frame(TEXT, bytes(1000)))
    client.says(frame(TEXT, bytes(1000)))
    assert client.hears() == [Frame(CLOSE, b"\x03\xea")]
    stage.advance(2020)
    assert client.state == "GONE"
    assert [type(report) for report in stage.reports()] == [Closed]


def test_a_message_over_the_limit_is_refused_by_its_head(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(ws_message_max_bytes=10)
    client = WsClient(stage).says(frame(TEXT, b"x" * 10))
    client.says(frame(TEXT, b"x" * 6, fin=False), frame(CONTINUATION, b"x" * 5)[:2])
    assert client.state == "OPEN"
    client.says(frame(CONTINUATION, b"x" * 5)[2:6])
    assert client.hears() == [Frame(CLOSE, b"\x03\xf1")]
    assert stage.reports()[-1] == Closed(client.ref, 22, 1009)


# -- credit


def pieces(stage: Stage) -> bytes:
    return b"".join(report.content for report in stage.reports())


def test_a_client_is_read_as_far_as_there_is_credit(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    sent = bytes(range(251)) * 2000
    left = client.client.tries_to_say(frame(BINARY, sent) + frame(PING, b"!"))
    heard = pieces(stage)
    assert heard == sent[: probe.WINDOW]
    probe.grant(client.session, 1000)
    assert pieces(stage) == sent[probe.WINDOW : probe.WINDOW + 1000]
    for _ in range(20):
        probe.grant(client.session, probe.WINDOW)
        left = client.client.tries_to_say(left)
        heard += pieces(stage)
    assert not left
    assert heard[: probe.WINDOW] + heard[probe.WINDOW :] == (
        sent[: probe.WINDOW] + sent[probe.WINDOW + 1000 :] + b"!"
    )


def test_bytes_that_wait_for_credit_are_understood_when_it_comes(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    client.says(frame(BINARY, bytes(probe.WINDOW - 1)))
    pieces(stage)
    client.says(frame(TEXT, b"abc"), frame(TEXT, b"de"), close(1000))
    assert stage.reports() == [text(client.ref, b"a", more=True)]
    assert client.client.transport.paused
    probe.grant(client.session, 2)
    assert stage.reports() == [text(client.ref, b"bc")]
    probe.grant(client.session, 100)
    assert stage.reports() == [
        text(client.ref, b"de"),
        Received(client.ref, Kind.CLOSE, b"\x03\xe8", False),
    ]
    assert not client.client.transport.paused
    assert probe.ws_holds(client.session) == (None, None, None)


def test_without_credit_not_even_a_ping_is_taken(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    client.says(frame(BINARY, bytes(probe.WINDOW - 1)), frame(PING, b"x" * 125))
    client.client.tries_to_say(frame(PING, b"y") * 1000)
    assert [report.content[:1] for report in stage.reports()][-2:] == [b"\0", b"x"]
    assert client.client.transport.paused
    probe.grant(client.session, 125)
    assert [report.content for report in stage.reports()] == [b"y"]


# -- down


def test_messages_and_control_frames_go_down(socket: Callable[..., WsClient]) -> None:
    client = socket()
    for kind, content in ((1, b"hi"), (2, b"\xff"), (3, b"p"), (4, b"q"), (1, b"x" * 70_000)):
        probe.ws_send(client.session, kind, content)
    assert client.hears() == [
        *(Frame(TEXT, b"hi"), Frame(BINARY, b"\xff"), Frame(PING, b"p"), Frame(PONG, b"q")),
        Frame(TEXT, b"x" * 70_000),
    ]


def test_a_message_in_pieces_goes_down_in_fragments_with_pings_between(
    socket: Callable[..., WsClient],
) -> None:
    client = socket()
    probe.ws_send(client.session, 1, b"a", more=True)
    probe.ws_send(client.session, 3, b"p")
    probe.ws_send(client.session, 1, b"b", more=True)
    probe.ws_send(client.session, 1, b"")
    assert client.hears() == [
        *(Frame(TEXT, b"a", fin=False), Frame(PING, b"p")),
        *(Frame(CONTINUATION, b"b", fin=False), Frame(CONTINUATION, b"")),
    ]


def test_what_has_left_is_granted_a_quarter_of_the_window_at_a_time(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.ws_send(client.session, 2, bytes(QUARTER - 1))
    client.hears()
    assert stage.reports() == []
    probe.ws_send(client.session, 2, b"x")
    client.hears()
    assert stage.reports() == [Granted(client.ref, QUARTER)]


@pytest.mark.parametrize(
    ("kind", "content", "more"),
    [(0, b"", False), (5, b"", False), (3, bytes(126), False), (3, b"", True)],
)
def test_an_order_that_cannot_be_obeyed_ends_the_session(
    stage: Stage, socket: Callable[..., WsClient], kind: int, content: bytes, more: bool
) -> None:
    client = socket()
    probe.ws_send(client.session, kind, content, more=more)
    assert client.state == "GONE"
    assert stage.reports() == [Closed(client.ref, 90, 0)]


# -- what is published


def test_175_published_messages_arrive_with_their_opcodes(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    clients = [socket(b"a"), socket(b"a"), socket(b"b")]
    for kind in (1, 2, 3, 4):
        probe.publish(stage.fanout, b"a", ws=(0, kind, b"news"))
    heard = [Frame(opcode, b"news") for opcode in (TEXT, BINARY, PING, PONG)]
    assert [client.hears() for client in clients] == [heard, heard, []]
    assert stage.count("delivered_ws") == 8


def test_a_published_ping_that_no_frame_can_hold_is_not_sent(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.publish(stage.fanout, b"a", ws=(0, 3, bytes(126)))
    assert client.hears() == []


def test_a_publish_in_the_middle_of_a_message_is_dropped_and_counted(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.ws_send(client.session, 1, b"begun", more=True)
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"news"))
    probe.ws_send(client.session, 1, b"")
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"more news"))
    assert [one.payload for one in client.hears()] == [b"begun", b"", b"more news"]
    assert stage.count("dropped_midway") == 1


@pytest.mark.parametrize(("code", "sent"), [(0, 1000), (4000, 4000), (1006, 1011)])
def test_176_a_published_close_closes_and_is_signalled(
    stage: Stage, socket: Callable[..., WsClient], code: int, sent: int
) -> None:
    client = socket(b"a")
    probe.publish(stage.fanout, b"a", ws=(2, 0, b"", code, b"over"))
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"ignored"))
    assert client.hears() == [Frame(CLOSE, sent.to_bytes(2, "big") + b"over")]
    assert stage.reports() == [Signalled(client.ref, Signal.CLOSED), Freed(b"a", WS, 0)]
    client.says(close(sent))
    assert stage.reports()[-1] == Closed(client.ref, 41, sent)


def test_a_close_that_was_published_twice_in_a_turn_is_said_once(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a", b"b")
    for channel in (b"a", b"b"):
        probe.publish(stage.fanout, channel, ws=(2, 0, b"", 1000, b""))
    assert client.hears() == [Frame(CLOSE, b"\x03\xe8")]


def test_a_published_refresh_is_signalled_and_nothing_is_sent(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.publish(stage.fanout, b"a", ws=(3,))
    assert stage.reports() == [Signalled(client.ref, Signal.REFRESH)]
    assert client.hears() == []
    probe.release(client.session)
    probe.publish(stage.fanout, b"a", ws=(3,))
    assert stage.reports() == []


def test_172_a_channel_is_unsubscribed_for_one_client_alone(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client, other = socket(b"a", b"b"), socket(b"a")
    probe.unsubscribe(client.session, b"a")
    probe.unsubscribe(client.session, b"never")
    assert stage.reports() == []
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"news"))
    assert (client.hears(), other.hears()) == ([], [Frame(TEXT, b"news")])
    probe.unsubscribe(other.session, b"a")
    assert stage.reports() == [Freed(b"a", WS, 0)]


def test_a_subscription_that_comes_too_late_is_freed_again(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.close(client.session, 0)
    probe.subscribe(client.session, b"late")
    assert stage.reports() == [Freed(b"late", WS, 0)]


# -- keep-alives


def test_178_an_idle_keep_alive_is_put_off_by_every_frame(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket(b"a")
    probe.keep_alive(client.session, 3, b"ka", 20_000, True)
    stage.advance(15_000)
    probe.publish(stage.fanout, b"a", ws=(0, 1, b"x"))
    stage.advance(15_000)
    probe.ws_send(client.session, 1, b"y")
    stage.advance(19_900)
    assert [one.payload for one in client.hears()] == [b"x", b"y"]
    stage.advance(120)
    assert client.hears() == [Frame(PING, b"ka")]
    stage.advance(20_020)
    assert client.hears() == [Frame(PING, b"ka")]
    assert stage.count("keep_alives") == 2


def test_178_an_interval_keep_alive_is_put_off_by_nothing(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.keep_alive(client.session, 1, b"{}", 20_000, False)
    stage.advance(15_000)
    probe.ws_send(client.session, 1, b"y")
    stage.advance(5_020)
    assert client.hears() == [Frame(TEXT, b"y"), Frame(TEXT, b"{}")]


def test_178_a_keep_alive_is_replaced_and_ended(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.keep_alive(client.session, 1, b"one", 20_000, True)
    probe.keep_alive(client.session, 1, b"two", 1_000, True)
    stage.advance(1_020)
    assert client.hears() == [Frame(TEXT, b"two")]
    probe.no_keep_alive(client.session)
    stage.advance(60_000)
    assert client.hears() == []
    assert not probe.is_armed(client.session)


def test_a_keep_alive_in_the_middle_of_a_message_is_dropped_and_the_next_is_not(
    stage: Stage, socket: Callable[..., WsClient]
) -> None:
    client = socket()
    probe.keep_alive(client.session, 1, b"ka", 1_000, True)
    probe.ws_send(client.session, 1, b"a", more=True)
    stage.advance(1_020)
    probe.ws_send(client.session, 1, b"b")
    stage.advance(2_020)
    assert [one.payload for one in client.hears()][:2] == [b"a", b"b"]
    assert stage.count("keep_alives") > 0


def test_an_idle_websocket_keeps_nothing_but_itself(socket: Callable[..., WsClient]) -> None:
    client = socket(b"a").says(frame(TEXT, b"hello"))
    assert probe.ws_holds(client.session) == (None, None, None)
    assert not probe.is_armed(client.session)
