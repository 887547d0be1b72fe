"""permessage-deflate: what is agreed, messages compressed by themselves, bombs."""

from __future__ import annotations

import json
import zlib

import pytest

from fastpath import probe_ws as probe

ANSWER = b"permessage-deflate; client_no_context_takeover; server_no_context_takeover"
MEBIBYTE = 1024 * 1024


def squeezed(content: bytes) -> bytes:
    """As a client compresses a message."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "bits"),
    [
        (b"permessage-deflate", 15),
        (b"Permessage-Deflate ; client_max_window_bits", 15),
        (b"permessage-deflate; client_max_window_bits=10", 15),
        (b'permessage-deflate; server_max_window_bits="12"', 12),
        (b"permessage-deflate; server_max_window_bits=9; server_no_context_takeover", 9),
        (b"permessage-deflate; client_no_context_takeover", 15),
        (b"x-webkit-deflate-frame, permessage-deflate", 15),
        (b"permessage-deflate; server_max_window_bits=8, permessage-deflate", 15),
        (b"permessage-deflate; unknown, permessage-deflate; server_max_window_bits=11", 11),
    ],
)
def test_the_first_offer_that_is_understood_is_taken(offer: bytes, bits: int) -> None:
    answer, window_bits = probe.negotiated(offer)
    assert answer.startswith(ANSWER)
    assert window_bits == bits
    assert (b"server_max_window_bits=%d" % bits in answer) == (bits < 15)
    assert (b"client_max_window_bits" in answer) == (b"client_max_window_bits" in offer)
    assert probe.negotiated(b"foo", offer) == (answer, bits)


@pytest.mark.parametrize(
    "offer",
    [
        b"",
        b"grip",
        b"permessage-deflate2",
        b"permessage-deflate; unknown",
        b"permessage-deflate; server_max_window_bits",
        b"permessage-deflate; server_max_window_bits=8",
        b"permessage-deflate; server_max_window_bits=16",
        b"permessage-deflate; server_max_window_bits=010",
        b"permessage-deflate; server_max_window_bits=\xb2",
        b"permessage-deflate; client_max_window_bits=7",
        b"permessage-deflate; client_max_window_bits=",
        b"permessage-deflate; server_no_context_takeover=1",
        b"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        b"permessage-deflate;",
    ],
)
def test_an_offer_with_a_word_that_is_not_understood_is_not_taken(offer: bytes) -> None:
    assert probe.negotiated(offer) == (None, 0)


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_a_message_is_compressed_by_itself(bits: int) -> None:
    content = json.dumps([{"id": n, "name": f"item {n}"} for n in range(100)]).encode()
    small = probe.deflated(content, bits)
    assert len(small) < len(content) / 3
    inflate = zlib.decompressobj(-bits)
    assert inflate.decompress(small + b"\x00\x00\xff\xff") == content


def test_what_would_not_shrink_is_left_as_it_is() -> None:
    assert probe.deflated(b"a" * 127) is None
    assert probe.deflated(b"a" * 128) is not None
    assert probe.deflated(bytes(range(256))) is None


def test_a_message_is_inflated_in_pieces_of_bounded_size() -> None:
    content = bytes(range(256)) * 1000
    small = squeezed(content)
    for cut in (1, 10, len(small)):
        pieces = [small[at : at + cut] for at in range(0, len(small), cut)]
        out = probe.inflated(pieces, size_max=1000)
        assert b"".join(out) == content
        assert max(map(len, out)) <= 1000


def test_an_empty_message_is_empty() -> None:
    assert probe.inflated([squeezed(b"")]) == [b""]
    assert b"".join(probe.inflated([b"\x00"])) == b""


def test_blocks_that_are_marked_as_the_last_may_be_followed_by_others() -> None:
    # RFC 7692, 7.2.3.4 and 7.2.3.5.
    assert b"".join(probe.inflated([b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"])) == b"Hello"
    two = b"\xf3\x48\xcd\xc9\xc9\x07\x00" + b"\xf2\x48\xcd\xc9\xc9\x07\x00"
    assert b"".join(probe.inflated([two])) == b"HelloHello"


def test_garbage_is_a_fault() -> None:
    assert probe.inflated([b"\xff\xff\xff"])[-1] is None


def test_a_bomb_is_found_before_it_has_gone_off() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    small = b"".join(bomb.compress(bytes(MEBIBYTE)) for _ in range(64))
    out = probe.inflated([small + bomb.flush(zlib.Z_SYNC_FLUSH)[:-4]])
    assert out.pop() == "too big"
    assert sum(map(len, out)) <= 17 * MEBIBYTE
    assert max(map(len, out)) <= 65536


def test_a_message_that_shrinks_well_is_no_bomb() -> None:
    same = b"a" * (16 * MEBIBYTE)
    assert b"".join(probe.inflated([squeezed(same)])) == same
    content = b"".join(b'{"id": %d, "name": "somebody"}\n' % n for n in range(100_000))
    assert b"".join(probe.inflated([squeezed(content)])) == content


def test_a_message_has_a_limit_of_what_it_inflates_to() -> None:
    small = squeezed(b"a" * 1001)
    assert probe.inflated([small], size_max=100, message_max=1001)[-1] == b"a"
    assert probe.inflated([small], size_max=100, message_max=1000)[-1] == "too big"
