"""Compressed messages of a WebSocket: up within credit and bounds, down once for all."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from control.link.packets import Closed, Kind, Received
from fastpath import probe_session as probe
from support.stage import Stage
from support.ws_stage import CLOSE, CONTINUATION, PING, TEXT, Frame, WsClient, frame

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
SHRINKS = b'{"id": 1, "name": "somebody", "rooms": ["one", "two"]}' * 20
MEBIBYTE = 1024 * 1024


def squeezed(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(sent: Frame) -> bytes:
    assert sent.rsv1
    return zlib.decompressobj(-15).decompress(sent.payload + b"\0\0\xff\xff")


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(allow_compression=True)


@pytest.fixture
def client(stage: Stage) -> WsClient:
    return WsClient(stage, b"a", headers=[OFFER])


# -- up


def test_a_compressed_message_is_one_report(stage: Stage, client: WsClient) -> None:
    client.says(frame(TEXT, squeezed(b"hello"), rsv1=True), frame(TEXT, b"plain"))
    assert stage.reports() == [
        Received(client.ref, Kind.TEXT, b"hello", False),
        Received(client.ref, Kind.TEXT, b"plain", False),
    ]
    assert probe.ws_holds(client.session) == (None, None, None)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_compressed_message_in_fragments_means_the_same(
    stage: Stage, client: WsClient, step: int
) -> None:
    small = squeezed(SHRINKS)
    half = len(small) // 2
    run = frame(TEXT, small[:half], fin=False, rsv1=True) + frame(PING)
    run += frame(CONTINUATION, small[half:])
    for at in range(0, len(run), step):
        client.says(run[at : at + step])
    reports = [report for report in stage.reports() if report.kind == Kind.TEXT]
    assert b"".join(report.content for report in reports) == SHRINKS
    assert [report.more for report in reports] == [True] * (len(reports) - 1) + [False]


def test_what_a_message_inflates_to_waits_for_credit(stage: Stage, client: WsClient) -> None:
    content = bytes(1000) * 600
    client.says(frame(2, squeezed(content), rsv1=True), frame(TEXT, b"next"))
    heard = b"".join(report.content for report in stage.reports())
    assert len(heard) == probe.WINDOW
    assert client.client.transport.paused
    probe.grant(client.session, 10)
    assert [len(report.content) for report in stage.reports()] == [10]
    probe.grant(client.session, MEBIBYTE)
    reports = stage.reports()
    assert len(heard) + 10 + sum(len(report.content) for report in reports[:-1]) == len(content)
    assert reports[-1] == Received(client.ref, Kind.TEXT, b"next", False)
    assert not client.client.transport.paused
    assert probe.ws_holds(client.session) == (None, None, None)


def test_a_released_client_may_go_on_in_the_middle(stage: Stage, client: WsClient) -> None:
    small = squeezed("ü".encode() * probe.WINDOW)
    client.says(frame(TEXT, small[:-5], fin=False, rsv1=True))
    probe.release(client.session)
    client.says(frame(CONTINUATION, small[-5:]), frame(TEXT, "ü".encode()), frame(PING, b"?"))
    assert client.hears() == [Frame(10, b"?")]


@pytest.mark.parametrize(
    ("payload", "reason", "code"),
    [
        (b"\xff\xff\xff", 20, 1002),
        (squeezed(b"a\xff"), 21, 1007),
        (squeezed(b"\xe2\x82"), 21, 1007),
    ],
)
def test_what_is_wrong_inside_is_a_fault(
    stage: Stage, client: WsClient, payload: bytes, reason: int, code: int
) -> None:
    client.says(frame(TEXT, payload, rsv1=True))
    assert client.hears() == [Frame(CLOSE, code.to_bytes(2, "big"))]
    assert stage.reports()[-1] == Closed(client.ref, reason, code)


def test_a_bomb_closes_with_1009_before_it_has_gone_off(stage: Stage, client: WsClient) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(MEBIBYTE)) for _ in range(64))
    client.says(frame(2, bomb[:1024], fin=False, rsv1=True))
    for at in range(1024, len(bomb), 1024):
        client.client.tries_to_say(frame(CONTINUATION, bomb[at : at + 1024], fin=False))
        probe.grant(client.session, 2 * MEBIBYTE)
        if client.state != "OPEN":
            break
    assert client.hears() == [Frame(CLOSE, b"\x03\xf1")]
    reports = stage.reports()
    assert reports[-1] == Closed(client.ref, 22, 1009)
    assert sum(len(r.content) for r in reports if isinstance(r, Received)) < 17 * MEBIBYTE


def test_the_limit_of_a_message_is_that_of_what_it_inflates_to(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(allow_compression=True, ws_message_max_bytes=len(SHRINKS))
    client = WsClient(stage, headers=[OFFER]).says(frame(TEXT, squeezed(SHRINKS), rsv1=True))
    assert stage.reports() == [Received(client.ref, Kind.TEXT, SHRINKS, False)]
    client.says(frame(TEXT, squeezed(SHRINKS + b"!"), rsv1=True))
    assert client.hears() == [Frame(CLOSE, b"\x03\xf1")]


# -- down


def test_a_published_message_is_compressed_for_those_who_agreed(
    stage: Stage, client: WsClient
) -> None:
    plain, narrow = WsClient(stage, b"a"), f"{OFFER}; server_max_window_bits=10"
    other = WsClient(stage, b"a", headers=[narrow])
    probe.publish(stage.fanout, b"a", ws=(0, 1, SHRINKS))
    [sent] = client.hears()
    assert inflated(sent) == SHRINKS
    assert len(sent.payload) * 3 < len(SHRINKS)
    # A window smaller than the one that is shared: published messages go as they are.
    assert plain.hears() == other.hears() == [Frame(TEXT, SHRINKS)]


def test_a_whole_message_of_control_is_compressed_and_a_piece_is_not(client: WsClient) -> None:
    probe.ws_send(client.session, 1, SHRINKS)
    probe.ws_send(client.session, 1, SHRINKS, more=True)
    probe.ws_send(client.session, 1, SHRINKS)
    probe.ws_send(client.session, 1, b"short")
    sent = client.hears()
    assert inflated(sent[0]) == SHRINKS
    assert sent[1:] == [
        Frame(TEXT, SHRINKS, fin=False),
        Frame(CONTINUATION, SHRINKS),
        Frame(TEXT, b"short"),
    ]
