"""The worker's side of the link: cutting packets, and naming what is wrong with one."""

from __future__ import annotations

import pytest

from fastpath import probe_wire
from fastpath.probe_wire import read_packets

PING = bytes.fromhex("00000000 4e 00 0000 00000000 00000000")
SEND = bytes.fromhex("00000003 43 01 0000 00000003 00000007 00 6869")
PAYLOAD_MAX = 4 * 1024 * 1024


def test_packets_are_taken_whole_and_the_rest_is_left() -> None:
    packets, taken, bad = read_packets(PING + SEND + PING[:5])
    assert packets == [(0x4E, 0, 0, b""), (0x43, 1, 3 << 32 | 7, b"\x00hi")]
    assert taken == len(PING + SEND)
    assert not bad


@pytest.mark.parametrize("size", range(len(SEND)))
def test_a_packet_that_is_not_complete_is_waited_for(size: int) -> None:
    assert read_packets(SEND[:size]) == ([], 0, False)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("00000000 51 00 0000", id="order above the last"),
        pytest.param("00000000 40 00 0000", id="order below the first"),
        pytest.param("00000000 02 00 0000", id="report"),
        pytest.param("00000000 4e 02 0000", id="reserved flag"),
        pytest.param("00000000 4e 80 0000", id="highest flag"),
        pytest.param("00000000 4e 00 0100", id="reserved first byte"),
        pytest.param("00000000 4e 00 0001", id="reserved second byte"),
        pytest.param("00400001 43 00 0000", id="length over the limit"),
        pytest.param("ffffffff 43 00 0000", id="longest length"),
    ],
)
def test_a_bad_header_is_left_in_front_after_the_packets_before_it(header: str) -> None:
    bad_header = bytes.fromhex(header) + bytes(8)
    assert read_packets(bad_header) == ([], 0, True)
    packets, taken, bad = read_packets(PING + bad_header)
    assert (len(packets), taken, bad) == (1, len(PING), True)


def test_the_longest_payload_is_taken() -> None:
    header = PAYLOAD_MAX.to_bytes(4, "big") + SEND[4:16]
    [packet], taken, bad = read_packets(header + bytes(PAYLOAD_MAX))
    assert len(packet[3]) == PAYLOAD_MAX
    assert taken == 16 + PAYLOAD_MAX
    assert not bad


@pytest.mark.parametrize(
    ("read", "payload", "named"),
    [
        (probe_wire.read_respond, "", "status"),
        (probe_wire.read_respond, "00c8 0002 4f", "reason"),
        (probe_wire.read_respond, "00c8 0000 0001 0001 41 00000009 42", "headers"),
        (probe_wire.read_respond, "00c8 0000 0000 fffffffffffffffe 00000000", "length is -2"),
        (probe_wire.read_respond, "00c8 0000 0000 ffffffffffffffff ffffffff", "body"),
        (probe_wire.read_respond, "00c8 0000 0000 ffffffffffffffff 00000000 00", "left over"),
        (probe_wire.read_send, "", "kind"),
        (probe_wire.read_send, "06", "kind is 6"),
        (probe_wire.read_accept, "0001", "headers"),
        (probe_wire.read_hold, "00", "mode is 0"),
        (probe_wire.read_hold, "03", "mode is 3"),
        (probe_wire.read_hold, "01 00000000 03", "keep-alive mode is 3"),
        (probe_wire.read_hold, "01 00000000 00 00000000 00000000 0001 0001 61 02", "prev-id is 2"),
        (probe_wire.read_hold, "01 00000000 00 00000000 00000000 0000 02", "answered is 2"),
        (probe_wire.read_channel, "0002 61", "channel"),
        (probe_wire.read_publish, "0001 61 02", "id is 2"),
        (probe_wire.read_publish, "0001 61 00 00 00000000 0001 00 00", "format kind is 0"),
        (probe_wire.read_publish, "0001 61 00 00 00000000 0001 04 00", "format kind is 4"),
        (probe_wire.read_publish, "0001 61 00 00 00000000 0001 02 04", "action is 4"),
        (probe_wire.read_publish, "0001 61 00 00 00000000 0001 03 00 05", "message kind is 5"),
        (probe_wire.read_publish, "0001 61 00 00 00000000 0001 03 00 00", "message kind is 0"),
        (
            probe_wire.read_publish,
            "0001 61 00 00 00000000 0001 01 00 00c8 0000 0000 02 00000000",
            "patch is 2",
        ),
        (probe_wire.read_publish, "0001 61 00 00 00000000 ffff 02 01", "format kind"),
        (probe_wire.read_close, "0000 0000 0001", "text"),
        (probe_wire.read_grant, "000000", "bytes"),
        (probe_wire.read_keep_alive, "03 00000000 01 00000000", "mode is 3"),
        (probe_wire.read_keep_alive, "00 00000000 00 00000000", "kind is 0"),
        (probe_wire.read_keep_alive, "00 00000000 05 00000000", "kind is 5"),
        (probe_wire.read_keep_alive, "00 00000000 01 00000001", "content"),
        (probe_wire.read_bare, "00", "1 bytes left over"),
    ],
)
def test_a_malformed_payload_is_refused_by_the_name_of_its_field(
    read: object, payload: str, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        read(bytes.fromhex(payload))


def test_a_grant_of_all_ones_is_a_number() -> None:
    assert probe_wire.read_grant(b"\xff\xff\xff\xff") == 0xFFFFFFFF


def opened(**fields: object) -> bytes:
    request = {"again": False, "length": 0, "lasts": [], "body": b"", "more": False, "kind": 0}
    request |= {"minor": 1, "tls": False, "peer": b"", "method": b"", "target": b"", "headers": []}
    return probe_wire.write_opened(1, **(request | fields))


LONG = bytes(0x10000)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"peer": LONG}, "peer"),
        ({"method": LONG}, "method"),
        ({"headers": [(LONG, b"")]}, "header name"),
        ({"headers": [(b"", b"")] * 0x10000}, "number of headers"),
        ({"lasts": [(LONG, b"")]}, "channel"),
        ({"lasts": [(b"", LONG)]}, "last id"),
        ({"lasts": [(b"", b"")] * 0x10000}, "number of lasts"),
        ({"body": bytes(PAYLOAD_MAX)}, "LINK_PAYLOAD_MAX"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_name(fields: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        opened(**fields)


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="channel"):
        probe_wire.write_held(LONG, 1)
    with pytest.raises(ValueError, match="channel"):
        probe_wire.write_freed(LONG, 1, 1)


def test_a_body_may_be_any_buffer() -> None:
    whole = probe_wire.write_received(1, 0, b"hello", False)
    assert probe_wire.write_received(1, 0, bytearray(b"hello"), False) == whole
    assert probe_wire.write_received(1, 0, memoryview(b"-hello-")[1:-1], False) == whole
