"""Our WebSocket framing against wsproto's: round trips both ways, one verdict on garbage."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from control.link.packets import Closed
from fastpath import probe_floor2, probe_ws
from support.stage import Stage
from support.ws_stage import WsClient, frame

TEXTS = st.text(max_size=300) | st.builds(lambda t, n: t * n, st.text(max_size=20), st.just(40))
BINARIES = st.binary(max_size=300) | st.builds(lambda b: b * 1000, st.binary(max_size=100))
SHORT = st.binary(max_size=125)
PARTS = st.one_of(
    st.tuples(st.just("message"), st.lists(TEXTS, min_size=1, max_size=3)),
    st.tuples(st.just("message"), st.lists(BINARIES, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["ping", "pong"]), SHORT),
)
OPCODES = {1: 1, 2: 2, 3: 9, 4: 10, 5: 8}  # of the kinds of RECEIVED
Heard = list[tuple[int, bytes]]


def extension(*, enabled: bool) -> list[PerMessageDeflate]:
    if not enabled:
        return []
    deflate = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
    deflate.finalize("permessage-deflate")
    return [deflate]


def cut(run: bytes, chance: random.Random) -> list[bytes]:
    pieces = []
    while run:
        size = chance.choice((1, 2, 5, 100, len(run)))
        pieces.append(run[:size])
        run = run[size:]
    return pieces


def heard_by_us(pieces: list[bytes], **reader: Any) -> tuple[Heard, int]:
    """Messages and control frames as our reader gives them, inflated; and the fault."""
    ours = probe_ws.Reader(**reader)
    for piece in pieces:
        ours.read(piece)
    heard: Heard = []
    parts: dict[int, list[bytes]] = {}
    for opcode, content, last, compressed in ours.pieces:
        parts.setdefault(opcode, []).append(content)
        if last:
            whole = parts.pop(opcode)
            out = probe_ws.inflated(whole) if compressed else whole
            heard.append((opcode, b"".join(out)))
    return heard, ours.fault


def heard_by_wsproto(theirs: FrameProtocol, pieces: list[bytes]) -> tuple[Heard, int]:
    """The same, from wsproto; text as bytes again."""
    heard: Heard = []
    message, kind = b"", 0
    try:
        for piece in pieces:
            theirs.receive_bytes(piece)
            for one in theirs.received_frames():
                payload = one.payload
                if one.opcode == Opcode.CLOSE:
                    code, reason = payload
                    content = b"" if code == 1005 else code.to_bytes(2, "big")
                    heard.append((8, content + (reason or "").encode()))
                elif one.opcode.iscontrol():
                    heard.append((int(one.opcode), bytes(payload)))
                else:
                    kind = kind or int(one.opcode)
                    message += payload.encode() if isinstance(payload, str) else bytes(payload)
                    if one.message_finished:
                        heard.append((kind, message))
                        message, kind = b"", 0
    except ParseFailed as wrong:
        return heard, int(wrong.code)
    return heard, 0


@given(parts=st.lists(PARTS, max_size=6), compressed=st.booleans(), seed=st.integers(0, 99))
def test_what_wsproto_says_we_hear(
    parts: list[tuple[str, Any]], compressed: bool, seed: int
) -> None:
    client = FrameProtocol(client=True, extensions=extension(enabled=compressed))
    run, expected = b"", []
    for what, content in parts:
        if what == "message":
            for number, fragment in enumerate(content):
                run += client.send_data(fragment, fin=number == len(content) - 1)
            whole = type(content[0])().join(content)
            is_text = isinstance(whole, str)
            expected.append((1, whole.encode()) if is_text else (2, whole))
        else:
            run += client.ping(content) if what == "ping" else client.pong(content)
            expected.append((9 if what == "ping" else 10, content))
    heard, fault = heard_by_us(cut(run, random.Random(seed)), rsv1_allowed=compressed)
    assert (heard, fault) == (expected, 0)


@given(
    contents=st.lists(TEXTS | BINARIES, max_size=6),
    compressed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_we_publish_wsproto_hears(
    contents: list[str | bytes], compressed: bool, seed: int
) -> None:
    run, expected = b"", []
    for content in contents:
        kind = 1 if isinstance(content, str) else 2
        raw = content.encode() if isinstance(content, str) else content
        variant = probe_floor2.WS_DEFLATED if compressed else probe_floor2.WS
        run += probe_floor2.ws_frame(probe_floor2.message(ws=(0, kind, raw)), variant)
        expected.append((kind, raw))
    client = FrameProtocol(client=True, extensions=extension(enabled=compressed))
    assert heard_by_wsproto(client, cut(run, random.Random(seed))) == (expected, 0)


FRAMES = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=130) | st.binary(min_size=1, max_size=10).map(lambda b: b"\x03\xe8" + b),
    fin=st.booleans(),
    rsv1=st.booleans(),
    mask=st.sampled_from([b"\0\0\0\0", b"\x37\xfa\x21\x3d", None]),
)


@given(run=st.lists(FRAMES | st.binary(max_size=4), max_size=6).map(b"".join))
def test_of_any_frames_both_hear_the_same_until_one_refuses(run: bytes) -> None:
    run += bytes(200)  # wsproto judges a head only when it is whole
    theirs = heard_by_wsproto(FrameProtocol(client=False, extensions=[]), [run])
    assert heard_by_a_session(run) == up_to_close(*theirs)


def heard_by_a_session(run: bytes) -> tuple[Heard, int]:
    """What a session reports of it, and the code that it closes with."""
    stage = Stage()
    client = WsClient(stage)
    client.client.tries_to_say(run)
    heard: Heard = []
    parts: dict[int, bytes] = {}
    fault = 0
    for report in stage.reports():
        if isinstance(report, Closed):
            fault = report.code
            continue
        parts[report.kind] = parts.get(report.kind, b"") + report.content
        if not report.more:
            heard.append((OPCODES[report.kind], parts.pop(report.kind)))
    assert [one.payload for one in client.hears()] == ([fault.to_bytes(2, "big")] if fault else [])
    stage.close()
    assert not stage.faults
    return heard, fault


def up_to_close(heard: Heard, fault: int) -> tuple[Heard, int]:
    """Behind a close frame nothing is heard, and nothing is wrong."""
    for number, (opcode, _) in enumerate(heard):
        if opcode == 8:
            return heard[: number + 1], 0
    return heard, fault
