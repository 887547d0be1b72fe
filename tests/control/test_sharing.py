"""One answer, read once for all who want it."""

from __future__ import annotations

import asyncio

import pytest

from control import sharing
from control.address import TcpAddress
from control.errors import OriginError
from control.origin import Response
from control.routes import Target
from control.sharing import AHEAD_MAX_BYTES, Shared, TooSlow


class Answer(Response):
    """An answer that comes piece by piece, as the test says them."""

    def __init__(self) -> None:
        target = Target(TcpAddress("a", 1))
        super().__init__(
            target=target, status=201, reason=b"Made", headers=[(b"X", b"1")], length=9
        )
        self.pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.read_count = 0
        self.is_closed = False

    def says(self, *pieces: bytes | Exception) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)

    def all_here(self) -> bytes | None:
        return None

    async def read(self) -> bytes:
        piece = await self.pieces.get()
        self.read_count += 1
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.is_closed = True


async def rest() -> None:
    """Let whatever can run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_readers_have_the_head_and_the_same_pieces_not_copies():
    answer = Answer()
    shared = Shared(answer)
    readers = [shared.reader() for _ in range(3)]
    shared.start()
    piece = bytes(1000)
    answer.says(piece, b"")
    for reader in readers:
        assert (reader.status, reader.reason, reader.length) == (201, b"Made", 9)
        assert reader.headers == [(b"X", b"1")]
        assert await reader.read() is piece
        assert await reader.read() == b""
    assert answer.is_closed


async def test_one_that_is_all_here_is_all_here_for_each():
    target = Target(TcpAddress("a", 1))
    shared = Shared(Response(target=target, status=200, reason=b"OK", headers=[], body=b"all"))
    readers = [shared.reader() for _ in range(2)]
    assert shared.start() is None
    assert [reader.all_here() for reader in readers] == [b"all", b"all"]


async def test_the_rest_is_here_when_the_end_has_come():
    answer = Answer()
    shared = Shared(answer)
    reader = shared.reader()
    shared.start()
    answer.says(b"one ", b"two")
    await rest()
    assert reader.all_here() is None
    answer.says(b"")
    await rest()
    assert reader.all_here() == b"one two"


async def test_what_breaks_off_breaks_off_for_each_after_what_has_come():
    answer = Answer()
    shared = Shared(answer)
    readers = [shared.reader() for _ in range(2)]
    shared.start()
    answer.says(b"half", OriginError("gone"))
    await rest()
    for reader in readers:
        assert reader.all_here() is None
        assert await reader.read() == b"half"
        with pytest.raises(OriginError, match="gone"):
            await reader.read()


async def test_the_origin_is_read_no_further_ahead_than_the_bound():
    answer = Answer()
    shared = Shared(answer)
    readers = [shared.reader() for _ in range(2)]
    shared.start()
    answer.says(*[bytes(AHEAD_MAX_BYTES // 2)] * 9)
    await rest()
    assert answer.read_count == 3
    for reader in readers:
        await reader.read()
    await rest()
    assert answer.read_count == 4


async def test_who_holds_up_the_others_for_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(sharing, "SLOW_SECONDS", 0.0)
    answer = Answer()
    shared = Shared(answer)
    slow, quick = shared.reader(), shared.reader()
    shared.start()
    answer.says(bytes(AHEAD_MAX_BYTES + 1), b"more", b"")
    assert len(await quick.read()) == AHEAD_MAX_BYTES + 1
    assert await quick.read() == b"more"
    with pytest.raises(TooSlow):
        await slow.read()


@pytest.mark.parametrize("has_begun", [True, False])
async def test_when_the_last_reader_leaves_the_answer_is_given_up(has_begun: bool):
    answer = Answer()
    shared = Shared(answer)
    readers = [shared.reader() for _ in range(2)]
    task = shared.start()
    assert task is not None
    if has_begun:
        await rest()
    for reader in readers:
        assert not answer.is_closed
        reader.close()
    assert answer.is_closed
    await asyncio.wait([task])
    assert task.cancelled()
