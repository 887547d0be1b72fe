"""Deliveries whose rate is limited wait for their turn (GRIP.md 2.6.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.link import codec
from control.link.packets import Delivered, Lapsed, Met, Mode, Opened, Reached
from fastpath import probe_session as probe
from support.linked_stage import SETTINGS, LinkedStage
from support.stage import Client, Stage
from support.ws_stage import WsClient

SEND, HINT, CLOSE, REFRESH = range(4)
NEWS = (SEND, 200, b"OK", [], False, b"news")
PER_SECOND = 1000
BATCH = 25  # of PER_SECOND, in 25 ms
BURST = 50  # what may leave at once after a rest


@pytest.fixture
def limited(stage: Stage) -> Stage:
    limit(stage)
    return stage


def limit(stage: Stage, rate: int = PER_SECOND, *, workers: int = 1, hwm: int = 10_000, block=0):
    stage.fanout.limit(rate, workers, hwm, block)


def publish(stage: Stage, *contents: str, channel: str = "a", **ids: bytes) -> None:
    for content in contents:
        run = content.encode()
        formats = {"stream": (SEND, run), "ws": (SEND, 1, run)}
        probe.publish(stage.fanout, channel.encode(), **formats, **ids)


def chunks(client: Client) -> list[str]:
    """The contents of the chunks that a client has been sent since the last time."""
    return client.hears().decode().split("\r\n")[1::2]


def delivered(stage: Stage) -> int:
    stage.turn()
    return stage.count("delivered_stream")


# -- the rate


def test_123_deliveries_leave_in_batches_at_the_rate(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stream("a") for _ in range(20)]
    publish(limited, *(str(n) for n in range(20)))
    counts = [delivered(limited)]
    for _ in range(14):
        limited.advance(25)
        counts.append(delivered(limited))
    assert counts == [min(BURST + BATCH * n, 400) for n in range(15)]
    assert [chunks(client) for client in clients] == [[str(n) for n in range(20)]] * 20


def test_after_a_rest_a_short_burst_leaves_at_once_and_no_more(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    publish(limited, *("x" for _ in range(BURST + 1)))
    assert len(chunks(client)) == BURST
    limited.advance(60_000)
    publish(limited, *("y" for _ in range(BURST + 1)))
    assert chunks(client) == ["x", *["y"] * BURST]


def test_a_low_rate_is_kept_over_seconds(stage: Stage, stream: Callable[..., Client]) -> None:
    limit(stage, 2)
    client = stream("a")
    publish(stage, *"abcde")
    heard = []
    for _ in range(5):
        heard.append("".join(chunks(client)))
        stage.advance(500)
    assert heard == ["a", "b", "c", "d", "e"]


def test_workers_share_the_rate_and_what_may_wait(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    limit(stage, PER_SECOND, workers=4, hwm=40)
    client = stream("a")
    publish(stage, *("x" for _ in range(100)))
    assert len(chunks(client)) == BURST // 4
    stage.advance(25)
    assert len(chunks(client)) == BATCH // 4
    stage.advance(1000)
    assert len(chunks(client)) == 40 // 4 - BATCH // 4
    assert stage.count("dropped_hwm") == 100 - BURST // 4 - 40 // 4


def test_a_delivery_counts_once_for_each_block_of_its_content(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    limit(stage, 100, block=1000)
    client = stream("a")
    publish(stage, "x" * 5000, "y" * 5000, "z" * 1000)
    assert [run[0] for run in chunks(client)] == ["x"]
    stage.advance(49)
    assert chunks(client) == []
    stage.advance(1)
    assert [run[0] for run in chunks(client)] == ["y"]
    stage.advance(10)
    assert chunks(client) == []
    stage.advance(25)
    assert [run[0] for run in chunks(client)] == ["z"]


def test_what_costs_more_than_can_be_saved_is_owed(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    limit(stage, 10, block=1)
    client = stream("a")
    publish(stage, "x" * 20, "y")
    assert len(chunks(client)) == 1
    stage.advance(1900)
    assert chunks(client) == []
    stage.advance(200)
    assert chunks(client) == ["y"]


def test_when_the_limit_is_lifted_all_that_waits_leaves(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    publish(limited, *("x" for _ in range(200)))
    assert len(chunks(client)) == BURST
    limit(limited, 0)
    assert len(chunks(client)) == 200 - BURST
    publish(limited, "y")
    assert chunks(client) == ["y"]


# -- the lines


def test_122_beyond_what_may_wait_deliveries_are_dropped_and_counted(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    limit(stage, hwm=30)
    client = stream("a")
    publish(stage, *(str(n) for n in range(BURST + 40)))
    assert stage.count("dropped_hwm") == 10
    stage.advance(1000)
    assert chunks(client) == [str(n) for n in range(BURST + 30)]


def test_routes_take_turns(limited: Stage, stream: Callable[..., Client]) -> None:
    busy, quiet = stream("busy", route=1), stream("quiet", route=2)
    publish(limited, *("x" for _ in range(BURST + 100)), channel="busy")
    publish(limited, "y", "y", channel="quiet")
    busy.hears()
    limited.advance(25)
    assert chunks(quiet) == ["y", "y"]
    assert len(chunks(busy)) == BATCH - 2


def test_a_full_line_drops_nothing_of_another_route(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    limit(stage, hwm=10)
    stream("busy", route=1)
    quiet = stream("quiet", route=2)
    publish(stage, *("x" for _ in range(BURST + 20)), channel="busy")
    assert stage.count("dropped_hwm") == 10
    publish(stage, "y", channel="quiet")
    stage.advance(25)
    assert chunks(quiet) == ["y"]


# -- what is done in turn


def exhaust(stage: Stage, stream: Callable[..., Client]) -> None:
    """Let somebody else have what there is of this moment's rate."""
    stream("exhaust")
    publish(stage, *("x" for _ in range(BURST)), channel="exhaust")


def test_responses_streams_and_websockets_are_all_given_theirs_in_turn(
    limited: Stage,
    stream: Callable[..., Client],
    poll: Callable[..., Client],
    socket: Callable[..., WsClient],
) -> None:
    polling, streaming, chatting = poll("a"), stream("a"), socket(b"a")
    exhaust(limited, stream)
    probe.publish(limited.fanout, b"a", response=NEWS, stream=(SEND, b"x"), ws=(SEND, 1, b"hello"))
    assert [polling.hears(), streaming.hears(), chatting.client.hears()] == [b""] * 3
    limited.advance(25)
    assert polling.hears().endswith(b"news")
    assert streaming.hears() == b"1\r\nx\r\n"
    assert chatting.client.hears() == b"\x81\x05hello"


def test_an_end_comes_behind_what_was_published_before_it(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    exhaust(limited, stream)
    publish(limited, "x")
    probe.publish(limited.fanout, b"a", stream=(CLOSE,))
    limited.advance(25)
    assert client.hears() == b"1\r\nx\r\n0\r\n\r\n"


def test_who_has_left_or_holds_anew_is_given_nothing_that_was_for_the_hold_before(
    limited: Stage, poll: Callable[..., Client], stream: Callable[..., Client]
) -> None:
    gone, staying = poll("a"), poll("a")
    exhaust(limited, stream)
    probe.publish(limited.fanout, b"a", response=NEWS)
    probe.publish(limited.fanout, b"a", response=NEWS)
    gone.sock.close()
    limited.advance(25)
    assert staying.hears().count(b"news") == 1
    exhaust(limited, stream)
    probe.publish(limited.fanout, b"b", response=NEWS)
    poll("a", client=staying)
    limited.advance(1000)
    assert staying.hears() == b""
    assert limited.count("delivered_response") == 1


def test_ids_are_looked_at_when_the_turn_comes(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    client = stream(("a", "0"), context=b"\x01")
    exhaust(limited, stream)
    publish(limited, "x", id=b"1", prev_id=b"0")
    publish(limited, "z", id=b"3", prev_id=b"2")
    limited.turn()
    assert limited.reports() == []
    limited.advance(25)
    [lapsed] = limited.reports()
    assert isinstance(lapsed, Lapsed)
    assert lapsed.lasts == [(b"a", b"1")]
    assert chunks(client) == ["x"]


def test_what_was_dropped_of_a_reliable_stream_is_a_gap(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    limit(stage, hwm=1)
    stream(("a", "0"), context=b"\x01")
    exhaust(stage, stream)
    publish(stage, "x", id=b"1", prev_id=b"0")
    publish(stage, "dropped", id=b"2", prev_id=b"1")
    stage.advance(25)
    publish(stage, "z", id=b"3", prev_id=b"2")
    stage.advance(25)
    [lapsed] = stage.reports()
    assert isinstance(lapsed, Lapsed)
    assert lapsed.lasts == [(b"a", b"1")]


def test_what_waits_for_its_turn_waits_on_with_a_stream_that_has_lapsed(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", context=b"\x01")
    exhaust(limited, stream)
    publish(limited, "x")
    probe.publish(limited.fanout, b"a", stream=(HINT,))
    publish(limited, "y")
    probe.release(client.session)
    limited.advance(25)
    assert chunks(client) == []


def test_a_poll_with_a_gap_asks_again_in_turn(
    limited: Stage, poll: Callable[..., Client], stream: Callable[..., Client]
) -> None:
    client = poll(("a", "1"))
    exhaust(limited, stream)
    probe.publish(limited.fanout, b"a", id=b"9", prev_id=b"8", response=NEWS)
    assert client.state == "HELD_RESPONSE"
    limited.advance(25)
    assert [r.ref for r in limited.reports() if isinstance(r, Opened) and r.again] == [client.ref]


# -- with filters, and where deliveries are told of


def test_control_is_asked_at_once_and_its_verdict_waits(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    client = limited.asks()
    probe.hold(client.session, mode=2, channels=[(b"a", None, b"\x00f")])
    client.hears()
    exhaust(limited, stream)
    publish(limited, "x")
    [met] = limited.reports()
    assert isinstance(met, Met)
    probe.judge(limited.fanout, met.number, [(1, b"")])
    assert chunks(client) == []
    limited.advance(25)
    assert chunks(client) == ["x"]


def test_reliable_streams_with_filters_are_asked_about_once_a_group_and_batch(
    limited: Stage, stream: Callable[..., Client]
) -> None:
    clients = [limited.asks() for _ in range(3)]
    for client in clients:
        probe.hold(client.session, mode=2, channels=[(b"a", b"0", b"\x00f")], context=b"\x01")
        client.hears()
    exhaust(limited, stream)
    publish(limited, "x", id=b"1", prev_id=b"0")
    limited.advance(25)
    [met] = limited.reports()
    assert isinstance(met, Met)
    assert len(met.groups) == 1
    probe.judge(limited.fanout, met.number, [(1, b"")])
    assert [chunks(client) for client in clients] == [["x"]] * 3


def test_deliveries_are_told_of_when_they_are_made(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(kind=LinkedStage)
    stage.connect_link()
    stage.orders(codec.welcome({**SETTINGS, "accounts": True}))
    stage.fanout.limit(40, 1, 100, 0)
    for _ in range(3):
        client = stage.asks()
        hold = {"mode": Mode.STREAM, "status": 200, "reason": b"OK", "route": 1}
        stage.orders(codec.hold(client.ref, channels=[(b"a", None, b"")], **hold))
    stage.reports()
    stage.orders(codec.publish(b"a", b"1", None, [codec.stream_format(b"x")]))
    told = [r.reached for r in stage.reports() if isinstance(r, Delivered)]
    stage.advance(25)
    told += [r.reached for r in stage.reports() if isinstance(r, Delivered)]
    assert told == [[Reached(1, 0, 2, 0, 0, 0)], [Reached(1, 0, 1, 0, 0, 0)]]
