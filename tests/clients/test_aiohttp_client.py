"""aiohttp's WebSocket client, as its users use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from support.chat import Room


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def _join(
    session: ClientSession, room: Room, way: str, **options: Any
) -> ClientWebSocketResponse:
    client = await session.ws_connect(room.url(way, "http"), max_msg_size=0, **options)
    assert await client.receive_str(timeout=10) == "welcome"
    return client


@pytest.mark.parametrize("compress", [0, 15])
async def test_what_it_says_comes_back(
    session: ClientSession, room: Room, way: str, compress: int
) -> None:
    client = await _join(session, room, way, compress=compress)
    assert client.compress == compress
    large = "text " * 10_000
    await client.send_str(large)
    assert await client.receive_str(timeout=10) == large
    await client.send_bytes(b"\x00\xff")
    assert await client.receive_bytes(timeout=10) == b"\x00\xff"


@pytest.mark.parametrize("compress", [0, 15])
async def test_it_receives_a_publish(
    session: ClientSession, room: Room, way: str, compress: int
) -> None:
    client = await _join(session, room, way, compress=compress)
    room.publish("to all")
    room.publish(b"\x00\x01")
    assert await client.receive_str(timeout=10) == "to all"
    assert await client.receive_bytes(timeout=10) == b"\x00\x01"


async def test_its_heartbeat_is_answered(session: ClientSession, room: Room, way: str) -> None:
    client = await _join(session, room, way, autoping=False)
    await client.ping(b"heartbeat")
    pong = await client.receive(timeout=10)
    assert (pong.type, bytes(pong.data)) == (WSMsgType.PONG, b"heartbeat")


async def test_a_close_is_answered(session: ClientSession, room: Room, way: str) -> None:
    client = await _join(session, room, way)
    assert await client.close(code=1001, message=b"bye")
    assert client.close_code == 1001
