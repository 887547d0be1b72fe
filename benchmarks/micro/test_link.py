"""Both ends of the link: what a publish, a hold and a request cost to write and to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control.link import codec
from control.link.packets import Mode, Opened
from control.link.reports import PacketReader, decode
from fastpath import probe_wire

REF = 0x0000_0001_0000_0007
CHANNEL = b"news"
HEADERS = [(b"Host", b"www.example.com"), (b"Accept", b"text/event-stream"), (b"Cookie", b"a=b")]
EVENT = b"data: " + b"x" * 64 + b"\n\n"
HEADER_BYTES = 16  # of a packet, in front of its payload


def publish() -> bytes:
    return codec.publish(CHANNEL, b"7", b"6", [codec.stream_format(EVENT)])


def opened() -> bytes:
    return probe_wire.write_opened(
        REF,
        again=False,
        length=0,
        lasts=[],
        body=b"",
        more=False,
        kind=0,
        minor=1,
        tls=False,
        peer=b"127.0.0.1",
        method=b"GET",
        target=b"/events",
        headers=HEADERS,
    )


def test_control_writes_publish(measure: Callable[..., Any]) -> None:
    assert EVENT in measure(publish)


def test_worker_reads_publish(measure: Callable[..., Any]) -> None:
    assert measure(probe_wire.read_publish, publish()[HEADER_BYTES:])


def test_control_writes_hold(measure: Callable[..., Any]) -> None:
    def hold() -> bytes:
        return codec.hold(
            REF,
            mode=Mode.STREAM,
            channels=[(CHANNEL, None, b"")],
            status=200,
            reason=b"OK",
            headers=HEADERS,
        )

    assert CHANNEL in measure(hold)


def test_worker_writes_opened(measure: Callable[..., Any]) -> None:
    assert b"/events" in measure(opened)


def test_control_reads_opened(measure: Callable[..., Any]) -> None:
    run = opened()

    def read() -> Any:
        return [decode(packet) for packet in PacketReader().feed(run)]

    (report,) = measure(read)
    assert isinstance(report, Opened)
    assert report.target == b"/events"
