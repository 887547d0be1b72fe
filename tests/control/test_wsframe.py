"""WebSocket frames from the client's end: read in any pieces, judged, and written."""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import CloseReason, FrameProtocol
from wsproto.frame_protocol import Opcode as Theirs

from control.wsframe import (
    PIECE_BYTES,
    FrameError,
    FrameReader,
    Opcode,
    Piece,
    encode,
    is_close_code,
    read_close,
)
from support.client import SPLITS
from support.frame_origin import frame

TEXT, BINARY, CLOSE, PING = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE, Opcode.PING


def read(run: bytes, split) -> list[Piece]:
    reader = FrameReader()
    return [piece for part in split(run) for piece in reader.feed(part)]


@pytest.mark.parametrize("split", SPLITS)
def test_frames_are_given_whole_however_they_arrive(split):
    run = (
        frame(1, b"hello")
        + frame(2)
        + frame(9, b"ka")
        + frame(2, bytes(300))
        + frame(8, b"\x03\xe8bye")
    )
    assert read(run, split) == [
        Piece(TEXT, b"hello", True, True),
        Piece(BINARY, b"", True, True),
        Piece(PING, b"ka", True, True),
        Piece(BINARY, bytes(300), True, True),
        Piece(CLOSE, b"\x03\xe8bye", True, True),
    ]


@pytest.mark.parametrize("split", SPLITS)
def test_a_message_in_frames_says_where_it_begins_and_ends(split):
    run = (
        frame(1, b"a", final=False)
        + frame(9)
        + frame(0, b"", final=False)
        + frame(0, b"c")
        + frame(2, b"d")
    )
    assert read(run, split) == [
        Piece(TEXT, b"a", True, False),
        Piece(PING, b"", True, True),
        Piece(TEXT, b"", False, False),
        Piece(TEXT, b"c", False, True),
        Piece(BINARY, b"d", True, True),
    ]


@pytest.mark.parametrize("extra", [0, 1, PIECE_BYTES - 1])
def test_a_long_frame_is_given_in_pieces(extra: int):
    content = bytes(range(256)) * (PIECE_BYTES // 256) * 2 + b"x" * extra
    reader = FrameReader()
    run = frame(2, content)
    got = [
        piece for at in range(0, len(run), 10_000) for piece in reader.feed(run[at : at + 10_000])
    ]
    assert b"".join(piece.content for piece in got) == content
    assert [piece.is_first for piece in got] == [True] + [False] * (len(got) - 1)
    assert [piece.is_last for piece in got] == [False] * (len(got) - 1) + [True]
    assert len(got) == 2 + (extra > 0)


@pytest.mark.parametrize(
    "wrong",
    [
        b"\xc1\x00",
        b"\xa1\x00",
        b"\x91\x00",
        b"\x83\x00",
        b"\x8b\x00",
        b"\x81\x80",
        b"\x80\x00",
        b"\x09\x00",
        b"\x89\x7e",
        b"\x82\x7f\x80" + bytes(7),
        frame(1, final=False) + b"\x81\x00",
    ],
)
@pytest.mark.parametrize("split", SPLITS)
def test_what_a_server_may_not_send_is_a_fault(wrong: bytes, split):
    with pytest.raises(FrameError) as caught:
        read(wrong, split)
    assert caught.value.code == 1002


def test_a_fault_comes_after_the_pieces_in_front_of_it():
    reader = FrameReader()
    pieces = reader.feed(frame(1, b"good") + b"\xff\xff")
    assert next(pieces).content == b"good"
    with pytest.raises(FrameError):
        next(pieces)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("is_last", [True, False])
def test_wsproto_reads_what_is_written(size: int, is_last: bool):
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    theirs = FrameProtocol(client=False, extensions=[])
    theirs.receive_bytes(encode(BINARY, content, b"\x01\xfe\x00\x80", is_last=is_last))
    got = list(theirs.received_frames())
    assert b"".join(bytes(part.payload) for part in got) == content
    assert got[0].opcode is Theirs.BINARY
    assert got[-1].message_finished is is_last


def test_what_wsproto_writes_is_read():
    theirs = FrameProtocol(client=False, extensions=[])
    run = theirs.send_data("hüllo", fin=True) + theirs.ping(b"x")
    run += theirs.close(CloseReason.GOING_AWAY, "later")
    text, ping, close = read(run, SPLITS[0])
    assert (text.content.decode(), ping.content) == ("hüllo", b"x")
    assert read_close(close.content) == (1001, b"later")


def test_a_close_may_be_empty_or_have_a_code_and_a_reason():
    assert read_close(b"") == (0, b"")
    assert read_close(b"\x03\xe8") == (1000, b"")
    assert read_close(b"\x0f\xa0" + "adé".encode()) == (4000, "adé".encode())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x03", 1002),
        (b"\x00\x00", 1002),
        (b"\x03\xec", 1002),
        (b"\x13\x88", 1002),
        (b"\x03\xe8\xff", 1007),
    ],
)
def test_a_malformed_close_is_a_fault(content: bytes, code: int):
    with pytest.raises(FrameError) as caught:
        read_close(content)
    assert caught.value.code == code


def test_close_codes_that_may_be_sent():
    assert [code for code in range(990, 1020) if is_close_code(code)] == [
        *range(1000, 1004),
        *range(1007, 1015),
    ]
    assert [is_close_code(code) for code in (2999, 3000, 4999, 5000)] == [False, True, True, False]
