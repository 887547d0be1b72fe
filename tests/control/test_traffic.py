"""What goes to and fro, summed by route, with a clock that the test turns."""

from __future__ import annotations

from typing import Any

import pytest

from control.grip.item import Action, HttpResponse, HttpStream, Item
from control.link.packets import Delivered, Kind, Opened, Reached, Received, Served, Share
from control.link.weight import Weight
from control.traffic import FIELDS, Traffic

CLIENT = (0, 7)
BLOCKS = {"blocks-received", "blocks-sent"}


def opened(body: bytes = b"", **more: Any) -> Opened:
    fields: dict[str, Any] = {
        "ref": CLIENT[1],
        "again": False,
        "length": len(body),
        "lasts": [],
        "body": body,
        "websocket": False,
        "minor": 1,
        "tls": False,
        "peer": b"192.0.2.7",
        "method": b"GET",
        "target": b"/a?b",
        "headers": [(b"Host", b"a.test")],
        "more": False,
    }
    return Opened(**fields | more)


HEAD_BYTES = len(b"GET/a?bHosta.test")


@pytest.fixture
def traffic() -> Traffic:
    return Traffic({0: "", 1: "x", 2: "y"}.__getitem__, block_bytes=0)


def told(traffic: Traffic, now: float = 0.0) -> dict[str, dict[str, int]]:
    """What is not zero, by route."""
    return {r: {name: n for name, n in sums.items() if n} for r, sums in traffic.take(now)}


def test_217_every_field_is_there_even_if_nothing_has_happened(traffic: Traffic) -> None:
    [(route, sums)] = traffic.take(0)
    assert route == ""
    assert sums == dict.fromkeys(("connections", "minutes", *FIELDS), 0)


def test_217_blocks_are_there_if_they_have_a_size() -> None:
    [(_, sums)] = Traffic(str, block_bytes=10).take(0)
    assert sums.keys() >= BLOCKS


def test_217_a_request_counts_for_its_route_once_that_is_known(traffic: Traffic) -> None:
    traffic.opened(CLIENT, opened(b"12", more=True))
    traffic.received(CLIENT, Received(7, Kind.BODY, b"345", True))
    assert told(traffic) == {"": {}}
    traffic.routed(CLIENT, "x", 0)
    traffic.received(CLIENT, Received(7, Kind.BODY, b"6", False))
    traffic.ordered(0, Weight(7, 10, 20))
    assert told(traffic)["x"] == {
        "connections": 1,
        "client-header-bytes-received": HEAD_BYTES,
        "client-content-bytes-received": 6,
        "client-header-bytes-sent": 10,
        "client-content-bytes-sent": 20,
    }


def test_217_the_next_request_of_a_connection_may_be_of_another_route(traffic: Traffic) -> None:
    traffic.opened(CLIENT, opened())
    traffic.routed(CLIENT, "x", 0)
    traffic.opened(CLIENT, opened(b"12"))
    traffic.routed(CLIENT, "y", 0)
    sums = told(traffic)
    assert sums["x"] == {"connections": 1, "client-header-bytes-received": HEAD_BYTES}
    assert sums["y"]["client-content-bytes-received"] == 2
    assert told(traffic) == {"": {}, "x": {}, "y": {"connections": 1}}


def test_217_a_hold_that_asks_again_has_received_nothing(traffic: Traffic) -> None:
    traffic.opened(CLIENT, opened())
    traffic.routed(CLIENT, "x", 0)
    told(traffic)
    traffic.opened(CLIENT, opened(b"12", again=True))
    traffic.routed(CLIENT, "x", 0)
    assert told(traffic)["x"] == {"connections": 1}


def test_217_messages_are_counted_at_their_ends_and_closes_are_none(traffic: Traffic) -> None:
    traffic.opened(CLIENT, opened(websocket=True))
    traffic.routed(CLIENT, "x", 0)
    told(traffic)
    traffic.received(CLIENT, Received(7, Kind.TEXT, b"ab", True))
    traffic.received(CLIENT, Received(7, Kind.TEXT, b"c", False))
    traffic.received(CLIENT, Received(7, Kind.PING, b"", False))
    traffic.received(CLIENT, Received(7, Kind.CLOSE, b"\x03\xe8", False))
    traffic.ordered(0, Weight(7, 0, 4, ends_message=True))
    traffic.said("x", 3, ends_message=True)
    traffic.heard("x", 5, ends_message=False)
    assert told(traffic)["x"] == {
        "connections": 1,
        "client-content-bytes-received": 3,
        "client-messages-received": 2,
        "client-content-bytes-sent": 4,
        "client-messages-sent": 1,
        "server-content-bytes-sent": 3,
        "server-messages-sent": 1,
        "server-content-bytes-received": 5,
    }


def test_217_what_has_no_route_is_no_traffic(traffic: Traffic) -> None:
    traffic.opened(CLIENT, opened())
    traffic.ordered(0, Weight(7, 10, 20))
    traffic.left(CLIENT, 5)
    traffic.received(CLIENT, Received(7, Kind.BODY, b"x", False))
    assert told(traffic) == {"": {}}


def test_217_what_refuses_a_later_request_is_not_traffic_of_the_route_before(
    traffic: Traffic,
) -> None:
    traffic.opened(CLIENT, opened())
    traffic.routed(CLIENT, "x", 0)
    told(traffic)
    traffic.opened(CLIENT, opened())
    traffic.ordered(0, Weight(7, 10, 20))
    assert told(traffic)["x"] == {"connections": 1}


def test_217_connections_are_the_most_there_were_and_minutes_are_whole(traffic: Traffic) -> None:
    for ref in (1, 2, 3):
        traffic.routed((0, ref), "x", 0)
    traffic.left((0, 1), 30)
    assert told(traffic, 50)["x"] == {"connections": 3, "minutes": 2}  # 30, 50 and 50 seconds
    assert told(traffic, 60)["x"] == {"connections": 2}
    assert told(traffic, 80)["x"] == {"connections": 2, "minutes": 1}
    traffic.lost(0, 80)
    assert told(traffic, 90)["x"] == {"connections": 2}


def test_217_a_route_of_which_there_is_nothing_to_tell_is_told_once_more(traffic: Traffic) -> None:
    traffic.add("x", "received")
    assert told(traffic) == {"": {}, "x": {"received": 1}}
    assert told(traffic) == {"": {}, "x": {}}
    assert told(traffic) == {"": {}}
    traffic.add("x", "received")
    assert told(traffic)["x"] == {"received": 1}


def test_217_deliveries_count_for_the_routes_of_those_they_reached(traffic: Traffic) -> None:
    reached = [Reached(1, 2, 0, 0, 30, 90), Reached(2, 0, 3, 1, 0, 0)]
    traffic.delivered(Delivered(b"a", None, (45, 10, 7), reached))
    sums = told(traffic)
    assert sums["x"] == {
        "sent": 2,
        "http-response-sent": 2,
        "client-header-bytes-sent": 30,
        "client-content-bytes-sent": 90,
    }
    assert sums["y"] == {
        "sent": 4,
        "client-messages-sent": 1,
        "client-content-bytes-sent": 3 * 10 + 7,
    }


def test_217_blocks_are_those_of_each_delivery_and_of_each_item() -> None:
    traffic = Traffic({1: "x"}.__getitem__, block_bytes=10)
    response = HttpResponse(Action.SEND, body=b"x" * 47)
    traffic.published(Item("a", (response, HttpStream(Action.SEND, b"x" * 25))))
    traffic.published(Item("a", (response,), size=101))
    traffic.published(Item("a", (HttpStream(Action.CLOSE),)))
    traffic.delivered(Delivered(b"a", None, (47, 25, 0), [Reached(1, 1, 2, 0, 5, 47)]))
    sums = told(traffic)
    assert sums[""] == {"blocks-received": 5 + 11}
    assert sums["x"]["blocks-sent"] == 5 + 2 * 3


def test_217_keep_alives_and_late_answers_are_sent_too(traffic: Traffic) -> None:
    traffic.served(Served([Share(1, 2, 1, 27, 33)]))
    assert told(traffic)["x"] == {
        "client-messages-sent": 1,
        "client-header-bytes-sent": 27,
        "client-content-bytes-sent": 33,
    }
