"""The roster: slots and generations, rows and their flush, the one timer."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from fastpath import probe_session as probe
from support.stage import Client, Stage, request

# -- slots and generations


def test_a_ref_is_a_generation_and_a_slot_and_generations_start_at_1(stage: Stage) -> None:
    refs = [stage.connect().ref for _ in range(3)]
    assert [ref & 0xFFFFFFFF for ref in refs] == [0, 1, 2]
    assert [ref >> 32 for ref in refs] == [1, 1, 1]


def test_a_slot_that_is_used_again_has_the_next_generation(stage: Stage) -> None:
    first = stage.connect()
    old = first.ref
    first.hangs_up()
    second = stage.connect()
    assert second.session.slot == old & 0xFFFFFFFF
    assert second.ref >> 32 == (old >> 32) + 1


def test_a_stale_ref_finds_nobody(stage: Stage) -> None:
    first = stage.connect()
    old = first.ref
    assert probe.find(stage.roster, old) is first.session
    first.hangs_up()
    second = stage.connect()
    assert probe.find(stage.roster, old) is None
    assert probe.find(stage.roster, second.ref) is second.session


@pytest.mark.parametrize("ref", [0, 1 << 32 | 5, 1 << 32 | 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF])
def test_a_ref_that_was_never_given_finds_nobody(stage: Stage, ref: int) -> None:
    stage.connect()
    assert probe.find(stage.roster, ref) is None


def test_slots_do_not_run_out(stage: Stage) -> None:
    # The first 256 slots, and two doublings.
    clients = [stage.connect() for _ in range(600)]
    assert len({client.session.slot for client in clients}) == 600
    for client in clients:
        client.sock.send(request())
    stage.turn()
    assert [report.ref for report in stage.reports()] == [client.ref for client in clients]


# -- one system call for each session and turn


@pytest.fixture
def packets(stage: Stage, stream: Callable[..., Client]) -> Client:
    """A stream on channel a, of whose connection one system call is one packet."""
    client = stream("a", client=stage.connect_packets())
    assert client.packet() == b""
    return client


def test_several_messages_of_a_turn_leave_in_one_system_call(stage: Stage, packets: Client) -> None:
    for content in (b"1", b"22", b"333"):
        probe.publish(stage.fanout, b"a", stream=(0, content))
    assert packets.packet() == b"", "nothing leaves while messages are marked"
    stage.turn()
    assert packets.packet() == b"1\r\n1\r\n2\r\n22\r\n3\r\n333\r\n"
    assert packets.packet() == b""


def test_messages_of_two_turns_leave_in_two(stage: Stage, packets: Client) -> None:
    for content in (b"1", b"2"):
        probe.publish(stage.fanout, b"a", stream=(0, content))
        stage.turn()
    assert [packets.packet(), packets.packet()] == [b"1\r\n1\r\n", b"1\r\n2\r\n"]


def test_more_frames_than_one_call_takes_leave_in_order(stage: Stage, packets: Client) -> None:
    for number in range(150):
        probe.publish(stage.fanout, b"a", stream=(0, b"%3d" % number))
    stage.turn()
    calls = [packets.packet() for _ in range(4)]
    assert [len(call) for call in calls] == [64 * 8, 64 * 8, 22 * 8, 0]
    assert b"".join(calls) == b"".join(b"3\r\n%3d\r\n" % number for number in range(150))


def test_a_whole_answer_leaves_in_one_system_call(stage: Stage) -> None:
    client = stage.asks(client=stage.connect_packets())
    probe.respond(client.session, body=b"a", more=True)
    probe.send(client.session, b"b")
    probe.send(client.session, b"c", more=False)
    stage.turn()
    assert client.packet().endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")


def test_one_flush_is_due_for_all_sessions_of_a_turn(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stream("a", client=stage.connect_packets()) for _ in range(20)]
    probe.publish(stage.fanout, b"a", stream=(0, b"x"))
    assert stage.loop.run_ready()
    assert [client.packet() for client in clients] == [b"1\r\nx\r\n"] * 20


def test_a_frame_is_shared_and_forgotten_by_all_when_it_has_left(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stream("a", minor=0) for _ in range(10)]
    content = b"a frame of HTTP/1.0 is the content itself"
    before = sys.getrefcount(content)
    probe.publish(stage.fanout, b"a", stream=(0, content))
    assert sys.getrefcount(content) == before + 10
    assert [client.hears() for client in clients] == [content] * 10
    assert sys.getrefcount(content) == before


# -- what the kernel does not take


@pytest.mark.parametrize("size", [1, 1000, 4096, 100_000])
def test_nothing_is_lost_or_doubled_when_the_kernel_is_full(
    stage: Stage, stream: Callable[..., Client], size: int
) -> None:
    client = stream("a", client=stage.connect_narrow(), minor=0)
    sent = []
    for number in range(90):
        sent.append(b"%d:" % number + b"x" * size)
        probe.publish(stage.fanout, b"a", stream=(0, sent[-1]))
        if number % 7 == 0:
            stage.loop.run_ready()
    assert client.hears() == b"".join(sent)
    assert not probe.is_blocked(client.session)


def test_a_frame_that_waits_behind_a_blocked_one_is_shared_until_it_leaves(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", client=stage.connect_narrow(), minor=0)
    while not probe.is_blocked(client.session):
        probe.publish(stage.fanout, b"a", stream=(0, b"x" * 4096))
        stage.loop.run_ready()
    content = b"a frame that waits"
    before = sys.getrefcount(content)
    probe.publish(stage.fanout, b"a", stream=(0, content))
    stage.loop.run_ready()
    assert sys.getrefcount(content) == before + 1
    assert client.hears().endswith(content)
    assert sys.getrefcount(content) == before


def test_frames_of_a_session_that_ends_are_forgotten(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a", minor=0)
    content = b"a frame that does not leave"
    before = sys.getrefcount(content)
    for _ in range(10):
        probe.publish(stage.fanout, b"a", stream=(0, content))
    probe.end(client.session, 1)
    assert sys.getrefcount(content) == before


# -- bury


def test_a_session_whose_socket_fails_is_ended_after_the_flush_and_others_are_served(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stream("a") for _ in range(3)]
    clients[1].sock.close()
    stage.reports()
    probe.publish(stage.fanout, b"a", stream=(0, b"x"))
    assert stage.loop.run_ready()
    assert [client.state for client in clients] == ["HELD_STREAM", "GONE", "HELD_STREAM"]
    assert probe.reason(clients[1].session) == 2
    assert clients[0].hears() == clients[2].hears() == b"1\r\nx\r\n"
    assert stage.roster.live_count == 2


def test_the_last_session_of_a_channel_that_is_buried_frees_it(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    client = stream("a")
    client.sock.close()
    probe.publish(stage.fanout, b"a", stream=(0, b"x"))
    stage.turn()
    assert [report.channel for report in stage.reports()] == [b"a"]


def test_a_flush_that_is_due_finds_a_session_gone(stage: Stage) -> None:
    # The loop may have seen the client's reset before the answer was queued: the session leaves
    # its slot between mark and flush.
    client = stage.asks()
    client.sock.close()
    client.transport.abort()
    probe.respond(client.session, body=b"x", more=True)
    stage.turn()
    assert stage.roster.live_count == 0


def test_a_flush_that_is_due_does_not_reach_the_next_session_of_the_slot(stage: Stage) -> None:
    first = stage.asks()
    first.transport.abort()
    probe.respond(first.session, body=b"not for you", more=True)
    stage.loop.run_ready()
    second = stage.connect()
    assert second.session.slot == first.session.slot
    assert second.hears() == b""


def test_an_error_of_our_own_ends_one_session_and_nobody_elses_turn(
    stage: Stage, stream: Callable[..., Client]
) -> None:
    clients = [stream("a", client=stage.connect_narrow()) for _ in range(3)]
    clients[1].transport.write = broken
    for _ in range(100):
        probe.publish(stage.fanout, b"a", stream=(0, b"x" * 4096))
    stage.loop.run_ready()
    assert [client.state for client in clients] == ["HELD_STREAM", "GONE", "HELD_STREAM"]
    [(event, ref, error)] = stage.faults
    assert (event, ref) == ("flush_failed", clients[1].ref)
    assert isinstance(error, ZeroDivisionError)
    stage.faults.clear()
    assert clients[2].hears().count(b"x") == 100 * 4096


def broken(run: object) -> None:
    raise ZeroDivisionError


# -- deadlines


def test_one_timer_serves_all_sessions(stage: Stage, poll: Callable[..., Client]) -> None:
    clients = [poll("a", timeout_ms=ms) for ms in (30_000, 10_000, 20_000)]
    answered = []
    for _ in range(3):
        stage.advance(10_020)
        answered.append([client.state for client in clients].count("READING"))
    assert answered == [1, 2, 3]


def test_a_session_that_leaves_takes_its_deadline_along(
    stage: Stage, poll: Callable[..., Client]
) -> None:
    poll("a", timeout_ms=5000).hangs_up()
    second = poll("a", timeout_ms=50_000)
    stage.advance(6000)
    assert second.state == "HELD_RESPONSE"
