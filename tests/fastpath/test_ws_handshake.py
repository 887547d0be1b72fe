"""The opening handshake: what is one, what is a good one, and who goes on with the client."""

from __future__ import annotations

import pytest

from control.link.packets import Closed, Freed, Kind, Opened, Received
from fastpath import probe_session, probe_ws
from support.stage import Stage, request
from support.ws_stage import (
    HANDSHAKE,
    KEY,
    PING,
    TEXT,
    Frame,
    WsClient,
    close,
    frame,
    frames,
)

REFUSED = (
    b'Request contained an Upgrade header with value "websocket" but the request was not a valid '
    b"WebSocket request.\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)


def fields(*lines: str) -> list[tuple[bytes, bytes]]:
    pairs = (line.split(": ", 1) for line in lines)
    return [(name.encode(), value.encode()) for name, value in pairs]


# -- the form


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("Upgrade: websocket", True),
        ("UPGRADE: WebSocket", True),
        ("Upgrade: h2c, websocket", True),
        ("Upgrade: h2c", False),
        ("Upgrade: websockets", False),
        ("Connection: websocket", False),
    ],
)
def test_what_asks_for_a_websocket(line: str, asks: bool) -> None:
    assert probe_ws.asks_for_websocket(fields(line)) == asks


def test_a_good_handshake_has_a_key() -> None:
    assert probe_ws.handshake_key(fields(*HANDSHAKE)) == KEY.encode()
    spelled = [line.replace(": Upgrade", ": keep-alive , UPGRADE") for line in HANDSHAKE]
    assert probe_ws.handshake_key(fields(*spelled)) == KEY.encode()


@pytest.mark.parametrize("missing", range(1, 4))
def test_a_handshake_needs_every_field(missing: int) -> None:
    lines = [line for number, line in enumerate(HANDSHAKE) if number != missing]
    assert probe_ws.handshake_key(fields(*lines)) is None


@pytest.mark.parametrize(
    "more",
    ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 8"],
)
def test_a_handshake_has_each_field_once(more: str) -> None:
    assert probe_ws.handshake_key(fields(*HANDSHAKE, more)) is None


@pytest.mark.parametrize("key", ["", "short", KEY[:-1], KEY[:-3] + "R==", KEY + "=", "*" * 24])
def test_a_key_is_sixteen_bytes_in_base64(key: str) -> None:
    lines = [line.replace(KEY, key) for line in HANDSHAKE]
    assert probe_ws.handshake_key(fields(*lines)) is None


@pytest.mark.parametrize("other", [{"method": b"POST"}, {"minor": 0}, {"has_body": True}])
def test_a_handshake_is_a_get_of_http_1_1_without_a_body(other: dict[str, object]) -> None:
    assert probe_ws.handshake_key(fields(*HANDSHAKE), **other) is None


# -- on a connection


def test_a_good_handshake_is_reported_with_all_its_fields(stage: Stage) -> None:
    client = stage.connect().says(request("/ws?a", *HANDSHAKE, "Sec-WebSocket-Extensions: x"))
    [opened] = stage.reports()
    assert isinstance(opened, Opened)
    assert opened.websocket
    assert (opened.target, opened.more, opened.length) == (b"/ws?a", False, 0)
    assert (b"Sec-WebSocket-Extensions", b"x") in opened.headers
    assert client.state == "ASKED"


@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize(
    "bad",
    [
        request("/ws", *HANDSHAKE, method="POST") + b"",
        request("/ws", *HANDSHAKE, "Content-Length: 3"),
        request("/ws", *HANDSHAKE, minor=0),
        request("/ws", *HANDSHAKE[:2], *HANDSHAKE[3:]),
        request("/ws", *HANDSHAKE[:1], *HANDSHAKE[2:]),
        request("/ws", *HANDSHAKE[:3]),
        request("/ws", *HANDSHAKE[:2], "Sec-WebSocket-Version: 12", HANDSHAKE[3]),
    ],
)
def test_a_bad_handshake_gets_400(stage: Stage, bad: bytes, split: str) -> None:
    client = stage.connect()
    for piece in [bad] if split == "whole" else [bad[i : i + 1] for i in range(len(bad))]:
        client.tries_to_say(piece)
    heard = client.hears()
    assert heard.split(b" ", 1)[1].startswith(b"400 Bad Request\r\n")
    assert heard.endswith(b"\r\n\r\n" + REFUSED)
    assert stage.reports() == []


def test_an_accepted_handshake_is_answered_with_its_key_and_the_origins_fields(
    stage: Stage,
) -> None:
    client = WsClient(stage, accepted=[(b"Sec-WebSocket-Protocol", b"chat")])
    head, _, protocol = client.head.partition(b"Sec-WebSocket-Protocol: chat\r\n")
    assert head + protocol == ACCEPTED
    assert client.state == "OPEN"
    assert stage.count("sessions") == stage.count("holds_ws") == 1


def test_the_session_keeps_its_ref(stage: Stage) -> None:
    client = stage.asks("/ws", *HANDSHAKE)
    ref = client.ref
    probe_session.accept(client.session)
    websocket = probe_session.find(stage.roster, ref)
    assert probe_session.ws_state(websocket) == "OPEN"
    assert websocket.ref == ref
    client.session = websocket


def test_frames_right_behind_the_handshake_are_not_lost(stage: Stage) -> None:
    client = WsClient(stage, behind=frame(TEXT, b"early") + frame(PING)[:3])
    assert client.early == [Received(client.ref, Kind.TEXT, b"early", False)]
    client.says(frame(PING)[3:])
    assert stage.reports() == [Received(client.ref, Kind.PING, b"", False)]


def test_frames_that_come_while_control_decides_are_not_lost(stage: Stage) -> None:
    client = stage.asks("/ws", *HANDSHAKE)
    run = frame(TEXT, b"early") + close(1000)
    for at in range(len(run)):
        client.says(run[at : at + 1])
    ref = client.ref
    probe_session.accept(client.session)
    client.session = probe_session.find(stage.roster, ref)
    assert [report.kind for report in stage.reports()] == [Kind.TEXT, Kind.CLOSE]


def test_what_may_come_while_control_decides_is_bounded(stage: Stage) -> None:
    client = stage.asks("/ws", *HANDSHAKE)
    client.tries_to_say(bytes(8193))
    assert client.hears().startswith(b"HTTP/1.1 400 ")
    assert stage.reports() == [Closed(client.ref, 10, 0)]


def test_a_refused_handshake_is_an_ordinary_answer_and_the_connection_lives_on(
    stage: Stage,
) -> None:
    client = stage.asks("/ws", *HANDSHAKE)
    client.says(request("/next"))
    assert stage.reports() == []
    probe_session.respond(client.session, status=403, reason=b"Forbidden", length=2, body=b"no")
    assert client.hears() == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    [opened] = stage.reports()
    assert (opened.target, opened.websocket) == (b"/next", False)


def test_a_handshake_waits_for_the_requests_in_front_of_it(stage: Stage) -> None:
    client = stage.connect()
    client.says(request("/1") + request("/ws", *HANDSHAKE) + frame(TEXT, b"early"))
    client.says(frame(TEXT, b"too"))
    assert [report.target for report in stage.reports()] == [b"/1"]
    ref = client.ref
    probe_session.respond(client.session, length=0)
    assert [report.target for report in stage.reports()] == [b"/ws"]
    probe_session.accept(client.session)
    client.session = probe_session.find(stage.roster, ref)
    assert [report.content for report in stage.reports()] == [b"early", b"too"]


def test_a_client_that_leaves_while_control_decides_is_reported(stage: Stage) -> None:
    client = stage.asks("/ws", *HANDSHAKE)
    client.shuts_its_side()
    probe_session.accept(client.session)
    assert client.state == "GONE"
    assert stage.reports() == [Closed(client.ref, 1, 0)]


@pytest.mark.parametrize("target", ["/", "/ws"])
def test_only_a_handshake_can_be_accepted_and_it_is_not_held(stage: Stage, target: str) -> None:
    client = stage.asks(target, *(HANDSHAKE if target == "/ws" else ()))
    if target == "/ws":
        probe_session.hold(client.session, mode=2, channels=[(b"a", None)])
    else:
        probe_session.accept(client.session)
    assert client.state == "GONE"
    freed = [Freed(b"a", 2, 0)] if target == "/ws" else []
    assert stage.reports() == [*freed, Closed(client.ref, 90, 0)]


def test_nobody_to_ask_is_503(stage: Stage) -> None:
    stage.upstream.linked = False
    client = stage.connect().says(request("/ws", *HANDSHAKE))
    assert client.hears().startswith(b"HTTP/1.1 503 ")


# -- compression

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def test_the_extensions_of_both_planes_are_one_field(make_stage) -> None:
    grip = [(b"sec-websocket-extensions", b"grip"), (b"X-A", b"1")]
    stage = make_stage(allow_compression=True)
    head = WsClient(stage, headers=[OFFER, "Sec-WebSocket-Extensions: grip"], accepted=grip).head
    assert head.lower().count(b"extensions") == 1
    assert b"\r\nSec-WebSocket-Extensions: grip, permessage-deflate; " in head
    assert b"\r\nX-A: 1\r\n" in head + b"\r\n"
    assert b"Extensions: grip\r\n" in WsClient(stage, accepted=grip).head + b"\r\n"


def test_compression_is_not_agreed_unless_it_is_allowed(stage: Stage) -> None:
    assert b"Extensions" not in WsClient(stage, headers=[OFFER]).head


def test_what_is_agreed_is_said(make_stage) -> None:
    stage = make_stage(allow_compression=True)
    client = WsClient(stage, headers=[OFFER])
    assert client.head.endswith(
        b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; "
        b"server_no_context_takeover; client_max_window_bits=15"
    )
    assert b"Extensions" not in WsClient(stage).head
    probe_session.ws_send(client.session, 1, b"a" * 200)
    [sent] = client.hears()
    assert sent.rsv1
    assert frames(probe_ws.frame(TEXT, b"a")) == [Frame(TEXT, b"a")]
