"""What is told of connections, subscriptions and deliveries, with a clock that the test turns."""

from __future__ import annotations

from typing import Any

import pytest

from control.account import Account
from control.connection_id import connection_id
from control.link.packets import Counted, Delivered, Left, Opened, Reached

CONNECTION_TTL = 120
SUBSCRIPTION_TTL = 60
LINGER_SECONDS = 30
PID = 4711


class Hearing:
    """An account, and what it tells."""

    def __init__(self, *, tells_connections: bool = True, block_bytes: int = 0) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.account = Account(
            lambda kind, fields: self.told.append((kind, fields)),
            instance="me",
            tells_connections=tells_connections,
            connection_ttl=CONNECTION_TTL,
            subscription_ttl=SUBSCRIPTION_TTL,
            linger_seconds=LINGER_SECONDS,
            block_bytes=block_bytes,
        )

    def report(self, report: Any, *, worker: int = 0, now: float = 0.0) -> list[Any]:
        self.account.reported(worker, report, now)
        return self.new()

    def open(self, opened: Opened, route: str = "", *, worker: int = 0) -> list[Any]:
        self.account.routed(worker, PID, opened, route, 0.0)
        return self.new()

    def tick(self, now: float) -> list[Any]:
        self.account.tick(now)
        return self.new()

    def new(self) -> list[Any]:
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def hearing() -> Hearing:
    return Hearing()


def opened(ref: int = 7, *, websocket: bool = False, tls: bool = False) -> Opened:
    return Opened(
        ref=ref,
        again=False,
        length=0,
        lasts=[],
        body=b"",
        websocket=websocket,
        minor=1,
        tls=tls,
        peer=b"192.0.2.7",
        method=b"GET",
        target=b"/",
        headers=[],
        more=False,
    )


CONN = {"id": "me:0-7", "type": "http", "peer-address": "192.0.2.7", "ttl": CONNECTION_TTL}
GONE = ("conn", {"id": "me:0-7", "unavailable": True})


def sub(count: int, mode: str = "stream") -> Any:
    fields = {"mode": mode, "channel": "a", "ttl": SUBSCRIPTION_TTL, "subscribers": count}
    return "sub", fields


def ended(mode: str = "stream") -> Any:
    return "sub", {"mode": mode, "channel": "a", "unavailable": True}


# -- connections


def test_215_a_connection_is_told_at_its_first_request_only(hearing: Hearing) -> None:
    assert hearing.open(opened()) == [("conn", CONN)]
    assert hearing.open(opened()) == []


def test_215_a_connection_that_becomes_a_websocket_is_told_as_one(hearing: Hearing) -> None:
    hearing.open(opened())
    conn = {**CONN, "id": connection_id(PID, 7), "type": "ws"}
    assert hearing.open(opened(websocket=True)) == [GONE, ("conn", conn)]


def test_215_only_tls_is_told_as_ssl(hearing: Hearing) -> None:
    [(_, fields)] = hearing.open(opened(tls=True))
    assert fields["ssl"] is True


def test_215_a_connection_names_the_route_of_its_last_request(hearing: Hearing) -> None:
    assert hearing.open(opened(), "x") == [("conn", {**CONN, "route": "x"})]
    assert hearing.open(opened(), "x") == []
    assert hearing.open(opened(), "y") == [("conn", {**CONN, "route": "y"})]
    assert hearing.report(Left(7)) == [("conn", {**GONE[1], "route": "y"})]


def test_215_a_connection_is_repeated_at_three_quarters_of_its_ttl(hearing: Hearing) -> None:
    hearing.open(opened())
    assert hearing.tick(89.9) == []
    assert hearing.tick(90) == [("conn", CONN)]
    assert hearing.tick(179.9) == []
    assert hearing.tick(180) == [("conn", CONN)]


def test_215_who_leaves_is_unavailable_and_repeated_no_more(hearing: Hearing) -> None:
    hearing.open(opened())
    assert hearing.account.is_alive("me:0-7")
    assert hearing.report(Left(7)) == [GONE]
    assert hearing.report(Left(7)) == []
    assert not hearing.account.is_alive("me:0-7")
    assert hearing.tick(1000) == []


def test_215_connections_are_not_told_if_they_are_not_wanted() -> None:
    hearing = Hearing(tells_connections=False)
    assert hearing.open(opened()) == []
    assert hearing.account.is_alive("me:0-7")
    assert hearing.tick(1000) == []
    assert hearing.report(Left(7)) == []


def test_the_connections_of_a_lost_worker_are_gone(hearing: Hearing) -> None:
    hearing.open(opened())
    hearing.open(opened(), worker=1)
    hearing.new()
    hearing.account.lost(0, 5)
    assert hearing.new() == [GONE]
    assert hearing.account.is_alive("me:1-7")


# -- subscriptions


def test_214_a_count_is_told_when_it_changes(hearing: Hearing) -> None:
    assert hearing.report(Counted(b"a", 0, 1, 0)) == [sub(1)]
    assert hearing.report(Counted(b"a", 0, 1, 0)) == []
    assert hearing.report(Counted(b"a", 0, 2, 0)) == [sub(2)]
    assert hearing.report(Counted(b"a", 0, 0, 0)) == [ended()]


def test_214_each_mode_is_told_of_its_own(hearing: Hearing) -> None:
    told = hearing.report(Counted(b"a", 1, 2, 3))
    assert told == [sub(1, "response"), sub(2, "stream"), sub(3, "ws")]
    assert hearing.report(Counted(b"a", 1, 2, 0)) == [ended("ws")]


def test_214_the_counts_of_all_workers_are_summed(hearing: Hearing) -> None:
    hearing.report(Counted(b"a", 0, 1, 0))
    assert hearing.report(Counted(b"a", 0, 2, 0), worker=1) == [sub(3)]
    assert hearing.report(Counted(b"a", 0, 0, 0)) == [sub(2)]
    hearing.account.lost(1, 5)
    assert hearing.new() == [ended()]


def test_214_a_long_poll_lingers(hearing: Hearing) -> None:
    hearing.report(Counted(b"a", 1, 0, 0))
    assert hearing.report(Counted(b"a", 0, 0, 0), now=10) == [sub(0, "response")]
    assert hearing.tick(39.9) == []
    assert hearing.tick(40) == [ended("response")]
    assert hearing.tick(1000) == []


def test_214_a_long_poll_that_is_back_lingers_no_more(hearing: Hearing) -> None:
    hearing.report(Counted(b"a", 1, 0, 0))
    hearing.report(Counted(b"a", 0, 0, 0), now=10)
    assert hearing.report(Counted(b"a", 1, 0, 0), now=20) == [sub(1, "response")]
    assert hearing.tick(64) == []


def test_214_a_subscription_is_repeated_at_three_quarters_of_its_ttl(hearing: Hearing) -> None:
    hearing.report(Counted(b"a", 0, 1, 0))
    hearing.report(Counted(b"a", 0, 2, 0), now=20)  # which puts it off
    assert hearing.tick(64.9) == []
    assert hearing.tick(65) == [sub(2)]


# -- deliveries


def test_216_an_item_is_told_once_a_transport(hearing: Hearing) -> None:
    reached = [Reached(0, 1, 1, 0, 5, 5), Reached(1, 0, 1, 0, 0, 0)]
    assert hearing.report(Delivered(b"a", b"7", (5, 5, 0), reached)) == [
        (
            "message",
            {"channel": "a", "item-id": "7", "count": 1, "transport": "http-response"},
        ),
        ("message", {"channel": "a", "item-id": "7", "count": 2, "transport": "http-stream"}),
    ]
    reached = [Reached(0, 0, 0, 3, 0, 0)]
    assert hearing.report(Delivered(b"a", None, (0, 0, 5), reached)) == [
        ("message", {"channel": "a", "count": 3, "transport": "ws-message"})
    ]


def test_216_with_a_block_size_each_delivery_is_so_many_blocks() -> None:
    hearing = Hearing(block_bytes=10)
    reached = [Reached(0, 1, 2, 0, 0, 47), Reached(1, 0, 0, 1, 0, 0)]
    told = hearing.report(Delivered(b"a", None, (47, 25, 20), reached))
    assert [fields["blocks"] for _, fields in told] == [5, 6, 2]
