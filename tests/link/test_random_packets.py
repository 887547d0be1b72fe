"""Whatever one plane writes, however it is cut, the other reads; whatever else comes is refused."""

from __future__ import annotations

from itertools import pairwise

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from control.errors import LinkError
from control.link import codec
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
from control.link.reports import PacketReader, decode
from fastpath import probe_wire

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
COUNTS = st.tuples(U32, U32, U32)
U64 = st.integers(0, 2**64 - 1)
REACHED = st.builds(Reached, U16, U32, U32, U32, U64, U64)
SHARES = st.builds(Share, U16, U32, U32, U64, U64)
LENGTHS = st.integers(-1, 2**63 - 1)
RUNS = st.binary(max_size=40)
IDS = st.none() | RUNS
FLAGS = st.booleans()
NAMES = st.text("abc_", max_size=5)
HEADERS = st.lists(st.tuples(RUNS, RUNS), max_size=3)
VERDICTS = st.tuples(st.sampled_from((Verdict.DROP, Verdict.AS_PUBLISHED)), st.just(b"")) | (
    st.tuples(st.sampled_from((Verdict.INSTEAD, Verdict.FAULT)), RUNS)
)
MODES = st.sampled_from((Mode.RESPONSE, Mode.STREAM, Mode.WS))
GROUPS = st.tuples(MODES, st.sampled_from(Action), RUNS, HEADERS)

# What is written, and what is to be read: (op, flags, ref, value).
Case = tuple[bytes, tuple[int, int, int, object]]


@st.composite
def formats(draw: st.DrawFn) -> tuple[bytes, tuple[object, ...]]:
    match draw(st.sampled_from(("response", "stream", "ws", "ws close", "bare"))):
        case "response":
            status, reason, block, body, patch = draw(st.tuples(U16, RUNS, HEADERS, RUNS, FLAGS))
            run = codec.response_format(
                status=status, reason=reason, headers=block, body=body, patch=patch
            )
            return run, (1, 0, status, reason, block, patch, body)
        case "stream":
            content = draw(RUNS)
            return codec.stream_format(content), (2, 0, content)
        case "ws":
            kind = draw(st.sampled_from((Kind.TEXT, Kind.BINARY, Kind.PING, Kind.PONG)))
            content = draw(RUNS)
            return codec.ws_format(kind, content), (3, 0, kind, content)
        case "ws close":
            code, text = draw(st.tuples(U16, RUNS))
            return codec.ws_close_format(code, text), (3, 2, code, text)
        case _:
            kind_of = draw(st.sampled_from((FormatKind.HTTP_RESPONSE, FormatKind.HTTP_STREAM)))
            action = draw(st.sampled_from((Action.HINT, Action.CLOSE, Action.REFRESH)))
            return codec.bare_format(kind_of, action), (kind_of, action)


@st.composite
def holds(draw: st.DrawFn, ref: int) -> Case:
    mode = draw(st.sampled_from((Mode.RESPONSE, Mode.STREAM)))
    keep_alive_mode = draw(st.sampled_from(KeepAlive))
    timeout_ms, keep_alive_ms, status = draw(st.tuples(U32, U32, U16))
    keep_alive, reason, body, request_body = draw(st.tuples(RUNS, RUNS, RUNS, RUNS))
    channels = draw(st.lists(st.tuples(RUNS, IDS, RUNS), max_size=3))
    link_ms, watched, context, route = draw(st.tuples(U32, FLAGS, RUNS, U16))
    answered, block = draw(st.tuples(FLAGS, HEADERS))
    run = codec.hold(
        ref,
        mode=mode,
        channels=channels,
        timeout_ms=timeout_ms,
        keep_alive_mode=keep_alive_mode,
        keep_alive_ms=keep_alive_ms,
        keep_alive=keep_alive,
        answered=answered,
        status=status,
        reason=reason,
        headers=block,
        body=body,
        request_body=request_body,
        link_ms=link_ms,
        watched=watched,
        context=context,
        route=route,
    )
    value = (
        *(mode, timeout_ms, keep_alive_mode, keep_alive_ms, keep_alive, channels, answered),
        *(status, reason, block, body, request_body, link_ms, watched, context, route),
    )
    return run, (Order.HOLD, 0, ref, value)


@st.composite
def orders(draw: st.DrawFn) -> Case:
    ref = draw(U64)
    op = draw(st.sampled_from(Order))
    match op:
        case Order.WELCOME:
            told = draw(st.dictionaries(NAMES, U16, max_size=3))
            return codec.welcome(told), (op, 0, 0, orjson.dumps(told))
        case Order.RESPOND:
            status, reason, block, length, body, more = draw(
                st.tuples(U16, RUNS, HEADERS, LENGTHS, RUNS, FLAGS)
            )
            run = codec.respond(
                ref,
                status=status,
                reason=reason,
                headers=block,
                length=length,
                body=body,
                more=more,
            )
            return run, (op, more, ref, (status, reason, block, length, body))
        case Order.SEND:
            kind, content, more = draw(st.tuples(st.sampled_from(Kind), RUNS, FLAGS))
            return codec.send(ref, kind, content, more=more), (op, more, ref, (kind, content))
        case Order.ACCEPT:
            block, route = draw(st.tuples(HEADERS, U16))
            return codec.accept(ref, block, route=route), (op, 0, ref, (block, route))
        case Order.HOLD:
            return draw(holds(ref))
        case Order.SUBSCRIBE:
            channel, traits = draw(st.tuples(RUNS, RUNS))
            return codec.subscribe(ref, channel, traits), (op, 0, ref, (channel, traits))
        case Order.UNSUBSCRIBE:
            channel = draw(RUNS)
            return codec.unsubscribe(ref, channel), (op, 0, ref, channel)
        case Order.PUBLISH:
            channel, item_id, prev_id, meta = draw(st.tuples(RUNS, IDS, IDS, RUNS))
            chosen = draw(st.lists(formats(), max_size=3))
            written = [run for run, _ in chosen]
            run = codec.publish(channel, item_id, prev_id, written, meta)
            value = channel, item_id, prev_id, meta, [value for _, value in chosen]
            return run, (op, 0, 0, value)
        case Order.VERDICT:
            number, verdicts = draw(st.tuples(U32, st.lists(VERDICTS, max_size=3)))
            return codec.verdict(number, verdicts), (op, 0, 0, (number, verdicts))
        case Order.CLOSE:
            reason, code, text = draw(st.tuples(U16, U16, RUNS))
            return codec.close(ref, reason, code, text), (op, 0, ref, (reason, code, text))
        case Order.GRANT:
            count = draw(U32)
            return codec.grant(ref, count), (op, 0, ref, count)
        case Order.KEEP_ALIVE:
            mode, interval_ms, content = draw(st.tuples(st.sampled_from(KeepAlive), U32, RUNS))
            kind = draw(st.sampled_from((Kind.TEXT, Kind.BINARY, Kind.PING, Kind.PONG)))
            run = codec.keep_alive(
                ref, mode=mode, interval_ms=interval_ms, kind=kind, content=content
            )
            return run, (op, 0, ref, (mode, interval_ms, kind, content))
        case Order.FINISH | Order.RELEASE:
            write = codec.finish if op == Order.FINISH else codec.release
            return write(ref), (op, 0, ref, None)
        case Order.DRAIN | Order.PING:
            return (codec.drain if op == Order.DRAIN else codec.ping)(), (op, 0, 0, None)


@st.composite
def openings(draw: st.DrawFn, ref: int) -> tuple[bytes, object]:
    flags = st.fixed_dictionaries({"again": FLAGS, "tls": FLAGS, "more": FLAGS})
    runs = st.fixed_dictionaries({"body": RUNS, "peer": RUNS, "method": RUNS, "target": RUNS})
    lists = st.fixed_dictionaries({"lasts": HEADERS, "headers": HEADERS})
    numbers = st.fixed_dictionaries({"length": LENGTHS, "minor": U8})
    fields = draw(flags) | draw(runs) | draw(lists) | draw(numbers)
    websocket = draw(FLAGS)
    return probe_wire.write_opened(ref, kind=websocket, **fields), Opened(
        ref=ref, websocket=websocket, **fields
    )


@st.composite
def reports(draw: st.DrawFn) -> tuple[bytes, object]:
    ref = draw(U64)
    modes = draw(st.integers(1, 7))
    match draw(st.sampled_from(Report)):
        case Report.HELLO:
            pid, worker, resumed = draw(st.tuples(U32, U16, FLAGS))
            return probe_wire.write_hello(pid, worker, resumed), Hello(1, pid, worker, resumed)
        case Report.OPENED:
            return draw(openings(ref))
        case Report.RECEIVED:
            kind, content, more = draw(st.tuples(st.sampled_from(Kind), RUNS, FLAGS))
            return probe_wire.write_received(ref, kind, content, more), Received(
                ref, kind, content, more
            )
        case Report.GRANTED:
            count = draw(U32)
            return probe_wire.write_granted(ref, count), Granted(ref, count)
        case Report.HELD:
            channel = draw(RUNS)
            return probe_wire.write_held(channel, modes), Held(channel, modes)
        case Report.FREED:
            channel, count = draw(st.tuples(RUNS, U64))
            return probe_wire.write_freed(channel, modes, count), Freed(channel, modes, count)
        case Report.SIGNALLED:
            what = draw(st.sampled_from(Signal))
            return probe_wire.write_signalled(ref, what), Signalled(ref, what)
        case Report.CLOSED:
            numbers, context = draw(st.tuples(st.tuples(U16, U16), RUNS))
            return probe_wire.write_closed(ref, *numbers, context), Closed(ref, *numbers, context)
        case Report.LAPSED:
            why, lasts, context = draw(st.tuples(st.sampled_from(Lapse), HEADERS, RUNS))
            run = probe_wire.write_lapsed(ref, why, lasts, context)
            return run, Lapsed(ref, why, lasts, context)
        case Report.MET:
            number, channel, item_id, meta = draw(st.tuples(U32, RUNS, IDS, RUNS))
            contents = draw(st.dictionaries(MODES, RUNS))
            groups = draw(st.lists(GROUPS, max_size=3))
            run = probe_wire.write_met(number, channel, item_id, meta, [*contents.items()], groups)
            return run, Met(
                number, channel, item_id, meta, contents, [Group(*group) for group in groups]
            )
        case Report.TALLY:
            counts = draw(st.dictionaries(NAMES, U64, max_size=3))
            return probe_wire.write_tally(orjson.dumps(counts)), Tally(counts)
        case Report.COUNTED:
            channel, counts = draw(st.tuples(RUNS, COUNTS))
            return probe_wire.write_counted(channel, *counts), Counted(channel, *counts)
        case Report.DELIVERED:
            channel, item_id, sizes, reached = draw(
                st.tuples(RUNS, st.none() | RUNS, COUNTS, st.lists(REACHED, max_size=3))
            )
            packet = probe_wire.write_delivered(channel, item_id, sizes, list(map(tuple, reached)))
            return packet, Delivered(channel, item_id, sizes, reached)
        case Report.SERVED:
            shares = draw(st.lists(SHARES, max_size=3))
            return probe_wire.write_served(orjson.dumps(list(map(list, shares)))), Served(shares)
        case Report.LEFT:
            return probe_wire.write_left(ref), Left(ref)
        case Report.SYNCED | Report.PONG as op:
            return probe_wire.write_bare(op), Synced() if op == Report.SYNCED else Pong()


CUTS = st.lists(st.integers(0, 2000), max_size=8)


def cut(run: bytes, places: list[int]) -> list[bytes]:
    """Split at the places that lie inside; with none of them, whole."""
    inside = sorted({0, len(run), *(place for place in places if place < len(run))})
    return [run[start:stop] for start, stop in pairwise(inside)]


def read_orders(pieces: list[bytes]) -> list[tuple[int, int, int, object]]:
    """As a worker reads: what has not been taken stays in front of the next piece."""
    got, tail = [], b""
    for piece in pieces:
        packets, taken, bad = probe_wire.read_packets(tail + piece)
        assert not bad
        tail = (tail + piece)[taken:]
        got += [(op, more, ref, probe_wire.ORDER_READERS[op](x)) for op, more, ref, x in packets]
    assert not tail
    return got


def read_reports(pieces: list[bytes]) -> list[object]:
    reader = PacketReader()
    return [decode(packet) for piece in pieces for packet in reader.feed(piece)]


@settings(max_examples=300)
@given(st.lists(orders(), max_size=4), CUTS)
def test_fastpath_reads_what_control_writes(cases: list[Case], places: list[int]) -> None:
    run = b"".join(written for written, _ in cases)
    due = [value for _, value in cases]
    assert read_orders([run]) == due
    assert read_orders(cut(run, list(range(len(run))))) == due
    assert read_orders(cut(run, places)) == due


@settings(max_examples=300)
@given(st.lists(reports(), max_size=4), CUTS)
def test_control_reads_what_fastpath_writes(
    cases: list[tuple[bytes, object]], places: list[int]
) -> None:
    run = b"".join(written for written, _ in cases)
    due = [value for _, value in cases]
    assert read_reports([run]) == due
    assert read_reports(cut(run, list(range(len(run))))) == due
    assert read_reports(cut(run, places)) == due


def fed_to_fastpath(run: bytes) -> None:
    packets, taken, _ = probe_wire.read_packets(run)
    assert taken == sum(16 + len(payload) for *_, payload in packets)
    for op, _, _, payload in packets:
        try:
            probe_wire.ORDER_READERS[op](payload)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - the one other outcome


def fed_to_control(run: bytes) -> None:
    try:
        read_reports([run])
    except LinkError as error:
        assert "malformed" in str(error)  # noqa: PT017 - the one other outcome


@settings(max_examples=300)
@given(st.binary(max_size=100))
def test_garbage_ends_in_a_listed_outcome(garbage: bytes) -> None:
    fed_to_fastpath(garbage)
    fed_to_control(garbage)


@settings(max_examples=300)
@given(st.sampled_from(Order), st.sampled_from(Report), st.binary(max_size=100))
def test_a_garbage_payload_ends_in_a_listed_outcome(
    order: Order, report: Report, garbage: bytes
) -> None:
    size = len(garbage).to_bytes(4, "big")
    fed_to_fastpath(size + bytes((order,)) + bytes(11) + garbage)
    fed_to_control(size + bytes((report,)) + bytes(11) + garbage)


@settings(max_examples=300)
@given(st.data(), st.lists(st.tuples(st.integers(0), U8), min_size=1, max_size=3))
def test_a_golden_packet_with_wrong_bytes_ends_in_a_listed_outcome(
    golden: dict[str, bytes], data: st.DataObject, changes: list[tuple[int, int]]
) -> None:
    run = bytearray(data.draw(st.sampled_from(sorted(golden.values()))))
    for place, byte in changes:
        run[place % len(run)] = byte
    fed_to_fastpath(bytes(run))
    fed_to_control(bytes(run))
