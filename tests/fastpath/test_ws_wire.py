"""WebSocket framing: bytes in however they come, masking, UTF-8, close codes, frames out."""

from __future__ import annotations

import random

import pytest

from fastpath import probe_ws as probe
from support.ws_stage import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame

SIZES = [0, 1, 125, 126, 127, 65535, 65536]


@pytest.fixture(params=["whole", "bytes", "random"])
def split(request: pytest.FixtureRequest) -> str:
    return request.param


def pieces(run: bytes, split: str) -> list[bytes]:
    chance = random.Random(len(run))
    found = []
    while run:
        size = {"whole": len(run), "bytes": 1, "random": chance.randint(1, 60)}[split]
        found.append(run[:size])
        run = run[size:]
    return found


def read(run: bytes, split: str = "whole", **limits: object) -> tuple[list[tuple[int, bytes]], int]:
    """The messages and control frames in a run, each whole, and the fault behind them."""
    reader = probe.Reader(**limits)
    for piece in pieces(run, split):
        reader.read(piece)
    whole: list[tuple[int, bytes]] = []
    unfinished: dict[int, bytes] = {}
    for opcode, content, last, _ in reader.pieces:
        unfinished[opcode] = unfinished.get(opcode, b"") + content
        if last:
            whole.append((opcode, unfinished.pop(opcode)))
    return whole, reader.fault


def test_the_reader_of_an_idle_session_is_small() -> None:
    assert probe.READER_BYTES <= 48


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_any_size_is_read(size: int, split: str) -> None:
    content = random.Random(size).randbytes(size)
    run = frame(BINARY, content) + frame(TEXT, b"next")
    assert read(run, split) == ([(BINARY, content), (TEXT, b"next")], 0)


def test_control_frames_may_come_between_fragments(split: str) -> None:
    run = b"".join(
        (
            frame(TEXT, b"on", fin=False),
            frame(PING, b"p" * 125),
            frame(CONTINUATION, b"", fin=False),
            frame(PONG),
            frame(CONTINUATION, b"e"),
            close(1000, b"bye"),
        )
    )
    assert read(run, split) == (
        [(PING, b"p" * 125), (PONG, b""), (TEXT, b"one"), (CLOSE, b"\x03\xe8bye")],
        0,
    )


def test_a_server_reads_unmasked_frames_and_refuses_masked_ones(split: str) -> None:
    assert read(frame(TEXT, b"a", mask=None), split, masked=False) == ([(TEXT, b"a")], 0)
    assert read(frame(TEXT, b"a"), split, masked=False) == ([], 1002)


def test_an_empty_frame_in_the_middle_is_no_piece() -> None:
    reader = probe.Reader()
    reader.read(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION))
    assert reader.pieces == [(TEXT, b"", True, False)]


def test_a_piece_is_no_longer_than_allowed() -> None:
    reader = probe.Reader(piece_max=3)
    reader.read(frame(TEXT, b"abcdefgh") + frame(PING, b"abcdefgh"))
    assert reader.pieces == [
        *((TEXT, b"abc", False, False), (TEXT, b"def", False, False), (TEXT, b"gh", True, False)),
        (PING, b"abcdefgh", True, False),
    ]


def test_nothing_of_a_message_is_taken_when_no_piece_is_allowed() -> None:
    reader = probe.Reader(piece_max=0)
    assert reader.read(frame(PING, b"a") + frame(TEXT) + frame(TEXT, b"abc")) == 3
    assert reader.pieces == [(PING, b"a", True, False), (TEXT, b"", True, False)]


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (frame(TEXT, rsv1=True), 1002),
        (b"\x91\x80", 1002),
        (b"\xa1\x80", 1002),
        (b"\x83\x80", 1002),
        (b"\x8b\x80", 1002),
        (b"\x81\x00", 1002),
        (frame(CONTINUATION), 1002),
        (frame(TEXT, fin=False) + frame(BINARY), 1002),
        (frame(PING, fin=False), 1002),
        (b"\x89\xfe", 1002),
        (b"\x81\xfe\x00\x7d" + bytes(4), 1002),
        (b"\x81\xff" + bytes(6) + b"\xff\xff" + bytes(4), 1002),
        (b"\x81\xff\x80" + bytes(7) + bytes(4), 1002),
    ],
)
def test_a_fault_is_found_at_its_first_byte(run: bytes, fault: int, split: str) -> None:
    assert read(run, split) == ([], fault)
    assert read(frame(TEXT, b"before") + run + b"behind", split) == ([(TEXT, b"before")], fault)


def test_compressed_messages_are_marked_where_they_were_agreed() -> None:
    reader = probe.Reader(rsv1_allowed=True)
    reader.read(
        frame(TEXT, b"a", fin=False, rsv1=True)
        + frame(PING)
        + frame(CONTINUATION, b"b")
        + frame(TEXT, b"c")
    )
    assert [compressed for *_, compressed in reader.pieces] == [True, False, True, False]
    assert reader.fault == 0
    reader.read(frame(TEXT, fin=False, rsv1=True) + frame(CONTINUATION, rsv1=True))
    assert reader.fault == 1002


def test_a_message_has_a_limit_over_all_its_frames(split: str) -> None:
    fits = frame(TEXT, b"abc", fin=False) + frame(PING, bytes(100)) + frame(CONTINUATION, b"de")
    assert read(fits + fits, split, message_max=5)[1] == 0
    run = frame(TEXT, b"abc", fin=False) + frame(CONTINUATION, b"def")
    assert read(run, split, message_max=5) == ([], 1009)
    assert read(frame(TEXT, bytes(6))[:6], split, message_max=5) == ([], 1009)


# -- masking


@pytest.mark.parametrize("size", [*range(70), 127, 128, 1000])
def test_masking_is_xor_with_the_mask_from_any_byte_on(size: int) -> None:
    run = random.Random(size).randbytes(size)
    key = b"\x01\x20\x93\xff"
    masked, turned = probe.mask(run, key)
    assert masked == bytes(byte ^ key[i % 4] for i, byte in enumerate(run))
    assert turned == bytes(key[(size + i) % 4] for i in range(4))


# -- UTF-8


def python_takes(run: bytes) -> bool:
    try:
        run.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_every_character_is_taken_alone_and_in_company() -> None:
    text = "".join(map(chr, (*range(0x20000), *range(0xFFFD0, 0x110000))))
    run = text.encode("utf-8", "surrogatepass")
    assert not python_takes(run)
    good = "".join(c for c in text if not 0xD800 <= ord(c) <= 0xDFFF).encode()
    assert probe.utf8([good]) == 0
    assert probe.utf8([good[i : i + 7] for i in range(0, len(good), 7)]) == 0


def test_two_bytes_are_judged_as_python_does() -> None:
    for first in range(256):
        for second in range(256):
            run = bytes((first, second))
            assert (probe.utf8([run]) == 0) == python_takes(run), run
            assert (probe.utf8([run[:1], run[1:]]) == 0) == python_takes(run), run


def test_every_start_of_three_bytes_is_judged_at_its_earliest_byte() -> None:
    for first in range(0xE0, 0xF8):
        for second in range(0x70, 0xD0):
            start = bytes((first, second))
            could_go_on = any(
                python_takes(start + tail) for tail in (b"\x80", b"\x80\x80", b"\xbf\xbf")
            )
            assert (probe.utf8([start]) != 1) == could_go_on, start


@pytest.mark.parametrize("at", range(40))
def test_a_fault_is_found_wherever_it_stands(at: int) -> None:
    run = bytearray(b"a" * 40)
    run[at] = 0xFF
    assert probe.utf8([bytes(run)]) == 1
    assert probe.utf8([bytes(run[:at]), bytes(run[at:])]) == 1


# -- close


def test_the_close_codes_that_may_travel() -> None:
    good = {code for code in range(65536) if probe.close_code_ok(code)}
    assert good == {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", 0),
        (b"\x03", 1002),
        (b"\x03\xe8", 0),
        (b"\x03\xe8 \xc3\xbc", 0),
        (b"\x03\xed", 1002),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8\xc3", 1007),
    ],
)
def test_a_close_payload_is_checked(payload: bytes, fault: int) -> None:
    assert probe.close_fault(payload) == fault


@pytest.mark.parametrize(
    ("code", "text", "payload"),
    [
        (0, b"", b"\x03\xe8"),
        (1005, b"", b"\x03\xe8"),
        (1001, b"bye", b"\x03\xe9bye"),
        (1006, b"", b"\x03\xf3"),
        (65535, b"", b"\x03\xf3"),
        (1000, b"x" * 200, b"\x03\xe8" + b"x" * 123),
        (1000, "ü".encode() * 100, b"\x03\xe8" + "ü".encode() * 61),
        (1000, b"\xff", b"\x03\xe8"),
    ],
)
def test_a_close_frame_can_always_travel(code: int, text: bytes, payload: bytes) -> None:
    assert probe.close_frame(code, text) == bytes((0x88, len(payload))) + payload


# -- frames out


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_out_has_the_shortest_head(size: int) -> None:
    assert probe.frame(BINARY, bytes(size)) == frame(BINARY, bytes(size), mask=None)


def test_a_frame_out_has_the_bits_it_is_given() -> None:
    assert probe.frame(TEXT, b"a", False, True) == frame(
        TEXT, b"a", fin=False, rsv1=True, mask=None
    )
