"""Garbage from a WebSocket client, as handshake or as frames, ends in a listed outcome."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.link.packets import Closed, Opened, Received
from fastpath import probe_session as probe
from fastpath import probe_ws
from support.stage import Stage, request
from support.ws_stage import HANDSHAKE, WsClient, close, frame

# How a session that reads garbage ends: by a fault, by the client's close, by its leaving.
FAULTS = {20: 1002, 21: 1007, 22: 1009}
PEER_CLOSED = 1
MESSAGE_MAX = 300
CREDIT = 50

GOOD = [
    frame(1, b"hello"),
    frame(1, "grüße €".encode(), fin=False) + frame(0, b"!", fin=False) + frame(9) + frame(0),
    frame(2, bytes(range(200)), rsv1=False),
    frame(9, b"?" * 125) + frame(10),
    frame(1, zlib.compress(b"squeezed" * 20, wbits=-15)[:-1], rsv1=True),
    close(1001, b"bye"),
    close(),
]
TOKENS = [
    *(bytes((first, second)) for first in (0, 1, 0x81, 0x82, 0xC1, 0x88, 0x89, 0x80) for second in
      (0, 0x80, 0x85, 0xFD, 0xFE, 0xFF)),
    *(b"\0", b"\xff", bytes(4), bytes(8), "€".encode(), b"\xed\xa0\x80", b"\x03\xe8"),
]  # fmt: skip


def bent(chance: random.Random) -> bytes:
    """Good frames with one to four changes, anywhere."""
    run = b"".join(chance.choices(GOOD, k=chance.randint(1, 4)))
    for _ in range(chance.randint(0, 4)):
        at = chance.randint(0, len(run))
        to = min(len(run), at + chance.choice((0, 0, 1, 1, 2, 20)))
        run = run[:at] + chance.choice((b"", chance.choice(TOKENS), run[at:to] * 2)) + run[to:]
    return run


def pieces(run: bytes, chance: random.Random) -> Iterator[bytes]:
    while run:
        size = chance.choice((1, 3, 50, len(run)))
        yield run[:size]
        run = run[size:]


def judge(stage: Stage, run: bytes, seed: int) -> None:
    chance = random.Random(seed)
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    client = WsClient(stage, b"a", headers=[offer])
    reports: list[Any] = []
    for piece in pieces(run, chance):
        client.client.tries_to_say(piece)
        reports += stage.reports()
        if client.state == "OPEN":
            probe.grant(client.session, CREDIT)
    if client.state == "CLOSING":
        probe.close(client.session, 0, 1000)
    client.hears()
    client.hangs_up()
    stage.advance(20_000)
    reports += stage.reports()
    assert client.state == "GONE"
    assert not stage.faults
    [closed] = [report for report in reports if isinstance(report, Closed)]
    assert closed.reason == PEER_CLOSED or closed.code == FAULTS[closed.reason]
    text = b""
    for report in reports:
        if isinstance(report, Received) and report.kind == 1:
            text += report.content
            assert len(text) <= MESSAGE_MAX
            if not report.more:
                text.decode()
                text = b""
    stage.clients.clear()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage(allow_compression=True, ws_message_max_bytes=MESSAGE_MAX)
    yield stage
    stage.close()


@pytest.mark.parametrize("seed", range(20))
def test_bent_frames_end_in_a_listed_outcome(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(40):
        judge(stage, bent(chance), number)


@given(parts=st.lists(st.sampled_from(TOKENS) | st.binary(max_size=10), max_size=12))
def test_any_order_of_meaningful_bytes_ends_in_a_listed_outcome(
    stage: Stage, parts: list[bytes]
) -> None:
    judge(stage, b"".join(parts), len(parts))


@given(run=st.binary(max_size=200), piece_max=st.integers(0, 20), size_max=st.integers(0, 50))
def test_the_reader_takes_every_byte_or_says_why(run: bytes, piece_max: int, size_max: int) -> None:
    reader = probe_ws.Reader(piece_max=piece_max, message_max=size_max, rsv1_allowed=True)
    left = reader.read(run)
    assert left == 0 or reader.fault in FAULTS.values() or piece_max == 0
    for opcode, content, _, _ in reader.pieces:
        assert opcode in (1, 2, 8, 9, 10)
        assert len(content) <= (piece_max if opcode < 8 else 125)


@given(
    lines=st.lists(
        st.sampled_from([*HANDSHAKE, *(line.replace("13", "8") for line in HANDSHAKE)])
        | st.sampled_from(["Connection: close", "Upgrade: h2c", "Content-Length: 2", "A: b"]),
        max_size=7,
    ),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]),
    minor=st.integers(0, 1),
    behind=st.binary(max_size=20),
)
def test_any_handshake_is_asked_about_or_refused(
    stage: Stage, lines: list[str], method: str, minor: int, behind: bytes
) -> None:
    client = stage.connect()
    client.tries_to_say(request("/", *lines, method=method, minor=minor) + behind)
    opened = [report for report in stage.reports() if isinstance(report, Opened)]
    if opened and opened[0].websocket:
        assert {line.lower() for line in HANDSHAKE} <= {line.lower() for line in lines}
        probe.accept(client.session)
        client.session = probe.find(stage.roster, opened[0].ref)
        assert client.hears().startswith(b"HTTP/1.1 101 ")
        probe.close(client.session, 0)
    else:
        while client.state == "ASKED":
            probe.respond(client.session, length=0)
            client.hears()
    client.hears()
    client.hangs_up()
    stage.advance(100_000)
    stage.reports()
    assert not stage.faults
    stage.clients.clear()
