"""Both planes are held to the packets in golden/: one writes them, the other reads them."""

from __future__ import annotations

import pytest

from control.errors import LinkError
from control.link import codec, reports
from control.link.packets import (
    Action,
    Closed,
    Counted,
    Delivered,
    FormatKind,
    Freed,
    Granted,
    Group,
    Held,
    Hello,
    KeepAlive,
    Kind,
    Lapse,
    Lapsed,
    Left,
    Met,
    Mode,
    Opened,
    Order,
    Pong,
    Reached,
    Received,
    Report,
    Served,
    Share,
    Signal,
    Signalled,
    Synced,
    Tally,
    Verdict,
)
from fastpath import probe_wire

REF = 3 << 32 | 7

# name -> the packet that control writes, and what fastpath reads of its payload
ORDERS: dict[str, tuple[bytes, object]] = {
    "welcome": (codec.welcome({"held_bytes_max": 64}), b'{"held_bytes_max":64}'),
    "respond": (
        codec.respond(
            REF,
            status=404,
            reason=b"Not Found",
            headers=[(b"Content-Type", b"text/plain")],
            length=5,
            body=b"gone\n",
        ),
        (404, b"Not Found", [(b"Content-Type", b"text/plain")], 5, b"gone\n"),
    ),
    "respond_more": (
        codec.respond(REF, status=200, reason=b"", headers=[], length=-1, more=True),
        (200, b"", [], -1, b""),
    ),
    "send": (codec.send(REF, Kind.BODY, b"more"), (0, b"more")),
    "send_binary": (codec.send(REF, Kind.BINARY, b"\x00\xff", more=True), (2, b"\x00\xff")),
    "finish": (codec.finish(REF), None),
    "accept": (
        codec.accept(REF, [(b"Sec-WebSocket-Protocol", b"grip")], route=2),
        ([(b"Sec-WebSocket-Protocol", b"grip")], 2),
    ),
    "hold_response": (
        codec.hold(
            REF,
            mode=Mode.RESPONSE,
            channels=[(b"news", b"41", b""), (b"chat", None, b"")],
            timeout_ms=55000,
            status=200,
            reason=b"OK",
            headers=[(b"Content-Type", b"application/json")],
            body=b"{}",
            request_body=b"a=1",
        ),
        (
            *(1, 55000, 0, 0, b"", [(b"news", b"41", b""), (b"chat", None, b"")], 0),
            *(200, b"OK", [(b"Content-Type", b"application/json")], b"{}", b"a=1"),
            *(0, 0, b"", 0),
        ),
    ),
    "hold_stream": (
        codec.hold(
            REF,
            mode=Mode.STREAM,
            channels=[(b"news", None, b"")],
            keep_alive_mode=KeepAlive.IDLE,
            keep_alive_ms=20000,
            keep_alive=b"\n",
            status=200,
            reason=b"OK",
            body=b"welcome\n",
        ),
        (
            *(2, 0, 1, 20000, b"\n", [(b"news", None, b"")], 0),
            *(200, b"OK", [], b"welcome\n", b"", 0, 0, b"", 0),
        ),
    ),
    "hold_answered": (
        codec.hold(
            REF,
            mode=Mode.STREAM,
            channels=[(b"news", b"", b"")],
            keep_alive_mode=KeepAlive.INTERVAL,
            keep_alive_ms=500,
            keep_alive=b".",
            answered=True,
        ),
        (2, 0, 2, 500, b".", [(b"news", b"", b"")], 1, 0, b"", [], b"", b"", 0, 0, b"", 0),
    ),
    "hold_linked": (
        codec.hold(
            REF,
            mode=Mode.STREAM,
            channels=[(b"news", b"41", b"\x01ab")],
            answered=True,
            link_ms=120_000,
            watched=True,
            context=b"\x03next",
            route=1,
        ),
        (
            *(2, 0, 0, 0, b"", [(b"news", b"41", b"\x01ab")], 1, 0, b"", [], b"", b""),
            *(120_000, 1, b"\x03next", 1),
        ),
    ),
    "subscribe": (codec.subscribe(REF, b"news"), (b"news", b"")),
    "subscribe_filtered": (
        codec.subscribe(REF, b"news", b"\x00ab"),
        (b"news", b"\x00ab"),
    ),
    "unsubscribe": (codec.unsubscribe(REF, b"caf\xc3\xa9"), b"caf\xc3\xa9"),
    "publish": (
        codec.publish(
            b"news",
            b"42",
            b"41",
            [
                codec.response_format(
                    status=200, reason=b"OK", headers=[(b"X-A", b"1")], body=b"{}"
                ),
                codec.stream_format(b"hello\n"),
                codec.ws_format(Kind.TEXT, b"hello"),
            ],
            b"\x01abc",
        ),
        (
            *(b"news", b"42", b"41", b"\x01abc"),
            [
                (1, 0, 200, b"OK", [(b"X-A", b"1")], 0, b"{}"),
                (2, 0, b"hello\n"),
                (3, 0, 1, b"hello"),
            ],
        ),
    ),
    "publish_patch": (
        codec.publish(
            b"news",
            None,
            None,
            [codec.response_format(status=0, reason=b"", headers=[], body=b"[]", patch=True)],
        ),
        (b"news", None, None, b"", [(1, 0, 0, b"", [], 1, b"[]")]),
    ),
    "publish_actions": (
        codec.publish(
            b"news",
            None,
            None,
            [
                codec.bare_format(FormatKind.HTTP_RESPONSE, Action.HINT),
                codec.bare_format(FormatKind.HTTP_STREAM, Action.CLOSE),
                codec.bare_format(FormatKind.WS_MESSAGE, Action.REFRESH),
                codec.ws_close_format(4000, b"bye"),
            ],
        ),
        (b"news", None, None, b"", [(1, 1), (2, 2), (3, 3), (3, 2, 4000, b"bye")]),
    ),
    "close": (codec.close(REF, 40, 1001, b"going away"), (40, 1001, b"going away")),
    "grant": (codec.grant(REF, 65536), 65536),
    "release": (codec.release(REF), None),
    "keep_alive": (
        codec.keep_alive(
            REF, mode=KeepAlive.INTERVAL, interval_ms=30000, kind=Kind.PING, content=b"ka"
        ),
        (2, 30000, 3, b"ka"),
    ),
    "keep_alive_none": (codec.keep_alive(REF, mode=KeepAlive.NONE), (0, 0, 1, b"")),
    "verdict": (
        codec.verdict(
            9,
            [
                (Verdict.DROP, b""),
                (Verdict.AS_PUBLISHED, b""),
                (Verdict.INSTEAD, b"new"),
                (Verdict.FAULT, b""),
            ],
        ),
        (9, [(0, b""), (1, b""), (2, b"new"), (3, b"")]),
    ),
    "drain": (codec.drain(), None),
    "ping": (codec.ping(), None),
}


def asked(**fields: object) -> dict[str, object]:
    """What a plain GET over HTTP/1.1 has, but for `fields`."""
    request: dict[str, object] = {
        **{"again": False, "length": 0, "lasts": [], "body": b"", "more": False},
        **{"minor": 1, "tls": False, "peer": b"192.0.2.1", "method": b"GET", "target": b"/"},
        **{"headers": []},
    }
    return request | fields


POST = asked(
    length=11,
    body=b"hello",
    tls=True,
    method=b"POST",
    target=b"/say?to=all",
    headers=[(b"Host", b"example.com"), (b"X-Empty", b"")],
    more=True,
)
AGAIN = asked(again=True, length=-1, lasts=[(b"news", b"41"), (b"chat", b"a-9")], minor=0)
SOCKET = asked(peer=b"2001:db8::1", target=b"/ws", headers=[(b"Host", b"example.com")])

# name -> the packet that fastpath writes, and what control reads of it
REPORTS: dict[str, tuple[bytes, object]] = {
    "hello": (probe_wire.write_hello(4711, 2, False), Hello(1, 4711, 2, False)),
    "hello_resumed": (probe_wire.write_hello(4711, 2, True), Hello(1, 4711, 2, True)),
    "opened": (
        probe_wire.write_opened(REF, kind=0, **POST),
        Opened(ref=REF, websocket=False, **POST),
    ),
    "opened_again": (
        probe_wire.write_opened(REF, kind=0, **AGAIN),
        Opened(ref=REF, websocket=False, **AGAIN),
    ),
    "opened_ws": (
        probe_wire.write_opened(REF, kind=1, **SOCKET),
        Opened(ref=REF, websocket=True, **SOCKET),
    ),
    "received": (
        probe_wire.write_received(REF, 0, b" world", False),
        Received(REF, Kind.BODY, b" world", False),
    ),
    "received_text": (
        probe_wire.write_received(REF, 1, memoryview(b"hel"), True),
        Received(REF, Kind.TEXT, b"hel", True),
    ),
    "granted": (probe_wire.write_granted(REF, 65536), Granted(REF, 65536)),
    "held": (probe_wire.write_held(b"news", 3), Held(b"news", Mode.RESPONSE | Mode.STREAM)),
    "freed": (probe_wire.write_freed(b"news", 2, 1000), Freed(b"news", Mode.STREAM, 1000)),
    "signalled": (probe_wire.write_signalled(REF, 2), Signalled(REF, Signal.CLOSED)),
    "closed": (
        probe_wire.write_closed(REF, 2, 1006, b""),
        Closed(REF, 2, 1006, b""),
    ),
    "closed_watched": (
        probe_wire.write_closed(REF, 1, 0, b"\x03gone"),
        Closed(REF, 1, 0, b"\x03gone"),
    ),
    "met": (
        probe_wire.write_met(
            9,
            b"news",
            b"42",
            b"\x01m",
            [(1, b"{}"), (2, b"one")],
            [(2, 0, b"", []), (1, 0, b"\x01ab", [(b"news", b"42"), (b"chat", b"7")])],
        ),
        Met(
            9,
            b"news",
            b"42",
            b"\x01m",
            {Mode.RESPONSE: b"{}", Mode.STREAM: b"one"},
            [
                Group(Mode.STREAM, Action.SEND, b"", []),
                Group(
                    *(Mode.RESPONSE, Action.SEND, b"\x01ab"),
                    [(b"news", b"42"), (b"chat", b"7")],
                ),
            ],
        ),
    ),
    "lapsed": (
        probe_wire.write_lapsed(REF, 1, [(b"news", b"41")], b"\x03next"),
        Lapsed(REF, Lapse.GAP, [(b"news", b"41")], b"\x03next"),
    ),
    "synced": (probe_wire.write_bare(Report.SYNCED), Synced()),
    "tally": (probe_wire.write_tally(b'{"sessions":2}'), Tally({"sessions": 2})),
    "pong": (probe_wire.write_bare(Report.PONG), Pong()),
    "counted": (probe_wire.write_counted(b"news", 0, 2, 1), Counted(b"news", 0, 2, 1)),
    "delivered": (
        probe_wire.write_delivered(
            b"news", b"a-1", (5, 7, 0), [(2, 3, 1, 0, 27, 15), (0, 0, 1, 0, 0, 0)]
        ),
        Delivered(
            b"news", b"a-1", (5, 7, 0), [Reached(2, 3, 1, 0, 27, 15), Reached(0, 0, 1, 0, 0, 0)]
        ),
    ),
    "delivered_no_id": (
        probe_wire.write_delivered(b"news", None, (0, 0, 9), [(1, 0, 0, 1, 0, 0)]),
        Delivered(b"news", None, (0, 0, 9), [Reached(1, 0, 0, 1, 0, 0)]),
    ),
    "left": (probe_wire.write_left(REF), Left(REF)),
    "served": (
        probe_wire.write_served(b"[[0, 2, 0, 0, 6], [3, 0, 1, 27, 8]]"),
        Served([Share(0, 2, 0, 0, 6), Share(3, 0, 1, 27, 8)]),
    ),
}

# A kind, and then the rest of the payload, whatever its size.
OPEN_ENDED = {"send", "send_binary", "received", "received_text"}
CLOSED_ENDED = sorted((ORDERS.keys() | REPORTS.keys()) - OPEN_ENDED - {"welcome"})


def read_order(run: bytes) -> object:
    [(op, _, _, payload)], taken, bad = probe_wire.read_packets(run)
    assert taken == len(run)
    assert not bad
    return probe_wire.ORDER_READERS[op](payload)


def read_report(run: bytes) -> object:
    [packet] = reports.PacketReader().feed(run)
    return reports.decode(packet)


def resized(run: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + run[4:16] + payload


def test_every_packet_has_a_golden_one(golden: dict[str, bytes]) -> None:
    assert golden.keys() == ORDERS.keys() | REPORTS.keys()
    assert {run[4] for run in golden.values()} == {*Order, *Report}


@pytest.mark.parametrize("name", ORDERS)
def test_control_writes_the_golden_order(golden: dict[str, bytes], name: str) -> None:
    assert ORDERS[name][0] == golden[name]


@pytest.mark.parametrize("name", ORDERS)
def test_fastpath_reads_the_golden_order(golden: dict[str, bytes], name: str) -> None:
    assert read_order(golden[name]) == ORDERS[name][1]


@pytest.mark.parametrize("name", REPORTS)
def test_fastpath_writes_the_golden_report(golden: dict[str, bytes], name: str) -> None:
    assert REPORTS[name][0] == golden[name]


@pytest.mark.parametrize("name", REPORTS)
def test_control_reads_the_golden_report(golden: dict[str, bytes], name: str) -> None:
    assert read_report(golden[name]) == REPORTS[name][1]


def assert_malformed(run: bytes) -> None:
    read, error = (read_order, ValueError) if run[4] in set(Order) else (read_report, LinkError)
    with pytest.raises(error):
        read(run)


@pytest.mark.parametrize("name", CLOSED_ENDED)
def test_a_payload_cut_short_anywhere_is_malformed(golden: dict[str, bytes], name: str) -> None:
    payload = golden[name][16:]
    for size in range(len(payload)):
        assert_malformed(resized(golden[name], payload[:size]))


@pytest.mark.parametrize("name", CLOSED_ENDED)
def test_a_payload_with_a_byte_left_over_is_malformed(golden: dict[str, bytes], name: str) -> None:
    assert_malformed(resized(golden[name], golden[name][16:] + b"\x00"))


@pytest.mark.parametrize("name", sorted(OPEN_ENDED))
def test_a_payload_without_its_kind_is_malformed(golden: dict[str, bytes], name: str) -> None:
    assert_malformed(resized(golden[name], b""))
