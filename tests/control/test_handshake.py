"""Handshakes of clients that are GRIP proxies: worker and origin are played by the test."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from joserfc import jwt

from support import event_origin, frame_origin
from support.event_origin import TEXT
from support.keys import SIG_KEY, read_token, secret

UPSTREAM_KEY = "the secret between the edge and this proxy, in text"
EXTENSION = b'grip; message-prefix="x:"'
OFFER = (b"Sec-WebSocket-Extensions", b"grip")


def theirs() -> tuple[tuple[bytes, bytes], ...]:
    """What makes a client trusted."""
    claims = {"iss": "edge", "exp": int(time.time() + 3600)}
    token = jwt.encode({"alg": "HS256"}, claims, secret(UPSTREAM_KEY))
    return (b"Grip-Sig", token.encode()), (b"Grip-Feature", b"status")


async def opened(here: event_origin.Scene) -> event_origin.Asked:
    """A trusted client is accepted: what its origin was asked."""
    here.opens(*theirs(), OFFER)
    asked = await here.origin.asked(b"OPEN\r\n")
    asked.answer(b"OPEN\r\n")
    await here.worker.order("ACCEPT")
    return asked


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


async def test_140_each_request_for_a_trusted_client_is_signed_by_us_and_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = time.time()
    monkeypatch.setattr("control.rewrite.time.time", lambda: now)
    settings = {"upstream_key": UPSTREAM_KEY, "sig_key": SIG_KEY}
    async with event_origin.scene(tmp_path, **settings) as here:
        first = await opened(here)
        now += 7200  # the client's has expired
        here.says(TEXT, b"a")
        second = await here.origin.asked(b"TEXT 1\r\na\r\n")
        expiries = []
        for asked in first, second:
            assert asked.head.count(b"Grip-Sig:") == 1
            token = (asked.header(b"grip-sig") or b"").decode()
            expiries.append(read_token(token, secret(SIG_KEY)).claims["exp"])
            assert asked.header(b"grip-feature") == b"status"
        assert expiries[1] - expiries[0] == 7200


@pytest.mark.parametrize(
    ("condition", "settings"), [("a.test", {}), ("a.test,no_grip", {"sig_key": SIG_KEY})]
)
async def test_140_where_we_do_not_sign_the_signature_of_the_client_stays(
    tmp_path: Path, condition: str, settings: dict[str, str]
):
    settings = {"condition": condition, "upstream_key": UPSTREAM_KEY, **settings}
    async with event_origin.scene(tmp_path, **settings) as here:
        first = await opened(here)
        here.says(TEXT, b"a")
        second = await here.origin.asked(b"TEXT 1\r\na\r\n")
        for asked in first, second:
            token = (asked.header(b"grip-sig") or b"").decode()
            assert read_token(token, secret(UPSTREAM_KEY))


async def test_185_a_route_without_grip_has_none_to_pass_on(tmp_path: Path):
    settings = {"condition": "a.test,no_grip", "upstream_key": UPSTREAM_KEY}
    async with frame_origin.scene(tmp_path, **settings) as here:
        peer = await here.opens(*theirs(), OFFER)
        assert peer.header(b"sec-websocket-extensions") == []
        peer.accepts(frame_origin.GRIP)
        assert (await here.worker.order("ACCEPT")).headers == []
