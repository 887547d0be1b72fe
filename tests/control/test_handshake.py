"""Handshakes of clients that are GRIP proxies: worker and origin are played by the test."""

from __future__ import annotations

import time
from pathlib import Path

from joserfc import jwt

from support import event_origin, frame_origin
from support.event_origin import TEXT
from support.keys import secret

UPSTREAM_KEY = "the secret between the edge and this proxy, in text"
EXTENSION = b'grip; message-prefix="x:"'
OFFER = (b"Sec-WebSocket-Extensions", b"grip")


def theirs() -> tuple[tuple[bytes, bytes], ...]:
    """What makes a client trusted."""
    claims = {"iss": "edge", "exp": int(time.time() + 3600)}
    token = jwt.encode({"alg": "HS256"}, claims, secret(UPSTREAM_KEY))
    return (b"Grip-Sig", token.encode()), (b"Grip-Feature", b"status")


async def test_185_the_extension_is_returned_as_the_origin_writes_it(tmp_path: Path):
    async with frame_origin.scene(tmp_path, upstream_key=UPSTREAM_KEY) as here:
        peer = await here.opens(*theirs(), OFFER)
        assert peer.header(b"sec-websocket-extensions") == [b"grip"]
        peer.accepts(f"sec-websocket-extensions: {EXTENSION.decode()}", "X-A: 1")
        accepted = await here.worker.order("ACCEPT")
        assert accepted.headers == [(b"X-A", b"1"), (OFFER[0], EXTENSION)]
        for content in (b"x:hello", b'c:{"type":"subscribe","channel":"a"}'):
            peer.says(TEXT, content)
            assert (await here.told()).content == content


async def test_185_so_it_is_by_an_origin_over_http(tmp_path: Path):
    async with event_origin.scene(tmp_path, upstream_key=UPSTREAM_KEY) as here:
        here.opens(*theirs(), OFFER)
        asked = await here.origin.asked(b"OPEN\r\n")
        assert asked.header(b"sec-websocket-extensions") == b"grip"
        said = b"OPEN\r\nTEXT 4\r\nc:{}\r\n"
        asked.answer(said, f"Sec-WebSocket-Extensions: {EXTENSION.decode()}")
        accepted = await here.worker.order("ACCEPT")
        assert accepted.headers == [(OFFER[0], EXTENSION)]
        assert (await here.told()).content == b"c:{}"


async def test_185_a_route_without_grip_has_none_to_pass_on(tmp_path: Path):
    settings = {"condition": "a.test,no_grip", "upstream_key": UPSTREAM_KEY}
    async with frame_origin.scene(tmp_path, **settings) as here:
        peer = await here.opens(*theirs(), OFFER)
        assert peer.header(b"sec-websocket-extensions") == []
        peer.accepts(frame_origin.GRIP)
        assert (await here.worker.order("ACCEPT")).headers == []
