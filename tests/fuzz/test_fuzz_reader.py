"""Garbage always ends in a listed outcome, however it arrives.

Seeds are the files of `corpus/reader`, each as it is and bent in a hundred ways, the same in every
run. What once broke the reader becomes another file there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import probe_session as probe
from fastpath.http_reader import HttpReader
from support.stage import Stage

CORPUS = sorted((Path(__file__).parent / "corpus/reader").glob("*.http"))
MUTANTS = 100
HEAD_MAX = 1024
BODY_MAX = 256

# The only outcomes: a request, or one of these reasons.
BAD_REQUEST, HEAD_TOO_BIG, BODY_TOO_BIG, BAD_UPGRADE = 10, 11, 12, 14
OUTCOMES = {0, BAD_REQUEST, HEAD_TOO_BIG, BODY_TOO_BIG, BAD_UPGRADE}
# How a session may end that reads them: also at its own time, or because all was said.
ENDS = OUTCOMES | {13, 31}
# Bytes that mean something in a request, and some that never do.
TOKENS = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"0",
        b"\0",
        b"\x7f",
        b"\xff",
    ),
    *(b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: Upgrade\r\n"),
    *(b"Upgrade: x\r\n", b"Host: b\r\n", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n", b"x" * 1100),
]


def bent(run: bytes, chance: random.Random) -> bytes:
    """One to four changes, anywhere."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(run))
        to = min(len(run), at + chance.choice((0, 0, 1, 1, 2, 20)))
        middle = chance.choice(
            (b"", bytes([chance.randrange(256)]), chance.choice(TOKENS), run[at:to] * 2)
        )
        run = run[:at] + middle + run[to:]
    return run


def mutants(path: Path) -> Iterator[bytes]:
    chance = random.Random(path.name)
    seed = path.read_bytes()
    yield seed
    for _ in range(MUTANTS):
        yield bent(seed, chance)


def pieces(run: bytes, split: str) -> Iterator[bytes]:
    chance = random.Random(run)
    while run:
        size = {"whole": len(run), "bytes": 1, "random": chance.randint(1, 50)}[split]
        yield run[:size]
        run = run[size:]


def read(run: bytes, split: str, head_max: int, body_max: int) -> list[dict[str, Any]]:
    reader = HttpReader(head_max, body_max)
    requests: list[dict[str, Any]] = []
    for piece in pieces(run, split):
        requests = probe.read_requests(reader, piece)
    return requests


def judge(run: bytes) -> None:
    for split in ("whole", "bytes", "random"):
        for r in read(run, split, HEAD_MAX, BODY_MAX):
            assert r["fault"] in OUTCOMES
            assert len(r["body"]) <= BODY_MAX
            assert r["fault"] != BAD_REQUEST or r["fault_text"]
    # Without limits, which are met at another byte when bytes come one by one, all is the same.
    whole = good(read(run, "whole", 1 << 20, 0))
    assert good(read(run, "bytes", 1 << 20, 0)) == whole
    assert good(read(run, "random", 1 << 20, 0)) == whole


def good(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The requests in front of the first fault, and the reason of that."""
    for number, r in enumerate(requests):
        if r["fault"]:
            return [*requests[:number], {"fault": r["fault"]}]
    return requests


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_bent_request_ends_in_a_listed_outcome(path: Path) -> None:
    for run in mutants(path):
        judge(run)


@given(run=st.binary(max_size=300))
def test_any_bytes_end_in_a_listed_outcome(run: bytes) -> None:
    judge(run)


@given(parts=st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_order_of_meaningful_bytes_ends_in_a_listed_outcome(parts: list[bytes]) -> None:
    judge(b"".join(parts))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_session_that_reads_garbage_is_never_at_fault_itself(path: Path) -> None:
    stage = Stage(head_bytes_max=HEAD_MAX, request_body_max_bytes=BODY_MAX)
    for number, run in enumerate(mutants(path)):
        client = stage.connect()
        for piece in pieces(run, ("whole", "random")[number % 2]):
            client.tries_to_say(piece)
        while client.state == "ASKED":
            probe.respond(client.session, length=0)
            client.hears()
        stage.advance(200_000)
        assert client.state == "GONE"
        assert probe.reason(client.session) in ENDS
        client.hears()
        assert client.ended
        stage.clients.remove(client)
        client.sock.close()
    faults = stage.faults
    stage.close()
    assert not faults
