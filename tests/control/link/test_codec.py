"""Control's side of the link: cutting packets, and naming what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.errors import LinkError
from control.link import codec, reports
from control.link.packets import (
    LINK_PAYLOAD_MAX,
    Action,
    FormatKind,
    Granted,
    KeepAlive,
    Kind,
    Mode,
    Packet,
    Pong,
    Report,
)
from control.link.reports import PacketReader

PONG = bytes.fromhex("00000000 0b 00 0000 00000000 00000000")
GRANTED = bytes.fromhex("00000004 04 00 0000 00000003 00000007 00010000")
LONG = bytes(0x10000)


def read(pieces: list[bytes]) -> list[object]:
    reader = PacketReader()
    return [reports.decode(packet) for piece in pieces for packet in reader.feed(piece)]


def test_packets_are_the_same_whole_and_byte_by_byte() -> None:
    run = PONG + GRANTED + PONG
    due = [Pong(), Granted(3 << 32 | 7, 65536), Pong()]
    assert read([run]) == due
    assert read([run[at : at + 1] for at in range(len(run))]) == due


@pytest.mark.parametrize("size", range(len(GRANTED)))
def test_a_packet_that_is_not_complete_is_waited_for(size: int) -> None:
    reader = PacketReader()
    assert list(reader.feed(GRANTED[:size])) == []
    assert len(list(reader.feed(GRANTED[size:]))) == 1


def test_packets_that_were_not_iterated_over_come_with_the_next_piece() -> None:
    reader = PacketReader()
    reader.feed(PONG + GRANTED[:10])
    assert [packet.op for packet in reader.feed(GRANTED[10:])] == [Report.PONG, Report.GRANTED]


def test_the_longest_payload_is_taken_in_pieces() -> None:
    run = LINK_PAYLOAD_MAX.to_bytes(4, "big") + b"\x03" + bytes(11 + LINK_PAYLOAD_MAX)
    reader = PacketReader()
    pieces = (run[at : at + 0x10000] for at in range(0, len(run), 0x10000))
    [packet] = [packet for piece in pieces for packet in reader.feed(piece)]
    assert len(packet.payload) == LINK_PAYLOAD_MAX


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("00000000 00 00 0000", id="no op"),
        pytest.param("00000000 12 00 0000", id="report above the last"),
        pytest.param("00000000 41 00 0000", id="order"),
        pytest.param("00000000 0b 02 0000", id="reserved flag"),
        pytest.param("00000000 0b 80 0000", id="highest flag"),
        pytest.param("00000000 0b 00 0100", id="reserved first byte"),
        pytest.param("00000000 0b 00 0001", id="reserved second byte"),
        pytest.param("00400001 03 00 0000", id="length over the limit"),
        pytest.param("ffffffff 03 00 0000", id="longest length"),
    ],
)
def test_a_bad_header_is_named_after_the_packets_before_it(header: str) -> None:
    bad = bytes.fromhex(header) + bytes(8)
    packets = PacketReader().feed(PONG + bad + b"what follows")
    assert next(packets).op == Report.PONG
    with pytest.raises(LinkError, match=f"{bad.hex()}$"):
        next(packets)


@pytest.mark.parametrize(
    ("op", "payload", "named"),
    [
        (Report.HELLO, "46574c4c 0001 00000001 0001 00", "magic"),
        (Report.HELLO, "46574c4b 0001 00000001 0001 02", "resumed is 2"),
        (Report.HELLO, "46574c4b 0002 ff", "link version is 2, control's is 1"),
        (Report.OPENED, "00 fffffffffffffffe 0000 00000000 00", "length is -2"),
        (Report.RECEIVED, "06", "6 is not a valid Kind"),
        (Report.GRANTED, "000000", "GRANTED"),
        (Report.HELD, "0001 61 00", "modes is 0"),
        (Report.HELD, "0001 61 08", "modes is 8"),
        (Report.HELD, "0009 61 01", "HELD"),
        (Report.FREED, "0001 61 00 0000000000000001", "modes is 0"),
        (Report.SIGNALLED, "03", "3 is not a valid Signal"),
        (Report.CLOSED, "0001", "CLOSED"),
        (Report.SYNCED, "00", "1 bytes of payload where 0 are due"),
        (Report.TALLY, "5b5d", "not an object of numbers"),
        (Report.TALLY, "7b2261223a747275657d", "not an object of numbers"),
        (Report.TALLY, "7b", "TALLY"),
        (Report.PONG, "00", "1 bytes of payload where 0 are due"),
    ],
)
def test_a_malformed_payload_is_named_with_its_first_sixteen_bytes(
    op: Report, payload: str, named: str
) -> None:
    run = bytes.fromhex(payload)
    head = len(run).to_bytes(4, "big") + bytes((op, 1, 0, 0)) + (5).to_bytes(8, "big")
    with pytest.raises(LinkError, match=named) as caught:
        reports.decode(Packet(op, 1, 5, run))
    assert op.name in str(caught.value)
    assert str(caught.value).endswith(head.hex())


def respond(**fields: object) -> bytes:
    answer: dict[str, object] = {"status": 200, "reason": b"OK", "headers": [], "length": 0}
    return codec.respond(1, **(answer | fields))


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (lambda: respond(status=65536), "status"),
        (lambda: respond(status=-1), "status"),
        (lambda: respond(reason=LONG), "reason"),
        (lambda: respond(headers=[(LONG, b"")]), "header name"),
        (lambda: respond(headers=[(b"", b"")] * 0x10000), "number of headers"),
        (lambda: respond(length=2**63), "length"),
        (lambda: respond(body=bytes(LINK_PAYLOAD_MAX)), "RESPOND .* LINK_PAYLOAD_MAX"),
        (lambda: codec.send(1, Kind.BODY, bytes(LINK_PAYLOAD_MAX)), "SEND .* LINK_PAYLOAD_MAX"),
        (lambda: codec.hold(1, mode=Mode.STREAM, channels=[], timeout_ms=2**32), "timeout"),
        (lambda: codec.hold(1, mode=Mode.STREAM, channels=[(LONG, None, b"")]), "channel"),
        (lambda: codec.hold(1, mode=Mode.STREAM, channels=[(b"", LONG, b"")]), "prev-id"),
        (lambda: codec.hold(1, mode=Mode.STREAM, channels=[(b"", None, LONG)]), "traits"),
        (lambda: codec.hold(1, mode=Mode.STREAM, channels=[], link_ms=2**32), "link timeout"),
        (lambda: codec.subscribe(1, b"", LONG), "traits"),
        (lambda: codec.verdict(2**32, []), "number"),
        (lambda: codec.subscribe(1, LONG), "channel"),
        (lambda: codec.unsubscribe(1, LONG), "channel"),
        (lambda: codec.publish(LONG, None, None, []), "channel"),
        (lambda: codec.publish(b"", LONG, None, []), "id"),
        (lambda: codec.publish(b"", None, LONG, []), "prev-id"),
        (lambda: codec.close(1, 65536), "reason or close code"),
        (lambda: codec.close(1, 0, 0, LONG), "text"),
        (lambda: codec.grant(1, 2**32), "bytes"),
        (lambda: codec.keep_alive(1, mode=KeepAlive.IDLE, interval_ms=2**32), "milliseconds"),
        (lambda: codec.keep_alive(1, mode=KeepAlive.IDLE, kind=Kind.CLOSE), "not a keep-alive"),
        (lambda: codec.ws_format(Kind.CLOSE, b""), "CLOSE is not a ws-message"),
        (lambda: codec.ws_close_format(65536, b""), "close code"),
        (lambda: codec.bare_format(FormatKind.HTTP_STREAM, Action.SEND), "not bare"),
        (lambda: codec.bare_format(FormatKind.WS_MESSAGE, Action.CLOSE), "not bare"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(
    write: Callable[[], bytes], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        write()
