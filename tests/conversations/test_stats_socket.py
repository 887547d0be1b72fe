"""The stats socket and Pushpin's metrics, as those see them who watch Pushpin (GRIP.md 9.1)."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.told import Told
from support.waiting import until
from support.wsspelling import control, event, events, opened
from support.zeromq import ask

TTL_SECONDS = 1
PREFIX = "pushpin_"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stats")


@pytest.fixture(scope="module")
def proxy(folder: Path, hub: Hub) -> Iterator[Fanway]:
    """A Fanway that tells everything; two workers, so that their counts are summed."""
    flags = {
        "--stats-spec": f"ipc://{folder}/stats",
        "--command-spec": f"ipc://{folder}/command",
        "--stats-connection-ttl": str(TTL_SECONDS),
        "--stats-subscription-ttl": str(TTL_SECONDS),
        "--stats-report-interval": "1",
        "--subscription-linger": "1",
        "--prometheus-port": f"unix:{folder}/metrics",
        "--prometheus-prefix": PREFIX,
        "--workers": "2",
    }
    routes = [f"* {hub.target}", f"*,path_beg=/ws {hub.target},over_http"]
    with Fanway(*(w for pair in flags.items() for w in pair), routes=routes) as fanway:
        yield fanway
        fanway.assert_no_bug()


@pytest.fixture(scope="module")
def told(folder: Path, proxy: Fanway) -> Iterator[Told]:
    told = Told(f"ipc://{folder}/stats")
    yield told
    told.close()


@pytest.fixture
def hold(proxy: Fanway, origin: Origin, connect: Callable[..., Client]) -> Callable[..., Client]:
    """A client whose request is held, or about to be."""

    def hold(mode: str, channel: str) -> Client:
        grip = (f"Grip-Hold: {mode}", f"Grip-Channel: {channel}")
        origin.answers(answer(*grip, body=b"-"))
        return connect(proxy.address).send(request(origin.host))

    return hold


@pytest.fixture
def ws(proxy: Fanway, origin: Origin) -> Iterator[Callable[..., ClientConnection]]:
    """A WebSocket client that is on a channel."""
    with ExitStack() as clients:

        def ws(channel: str) -> ClientConnection:
            origin.answers(opened(control("subscribe", channel=channel)), events(event("CLOSE")))
            sock = clients.enter_context(socket.create_connection(proxy.address))
            client = connect_websocket(f"ws://{origin.host}/ws", sock=sock, ping_interval=None)
            return clients.enter_context(client)

        yield ws


def test_214_215_216_websockets_are_told_of_as_such(
    told: Told,
    ws: Callable[..., ClientConnection],
    channel: str,
    proxy: Fanway,
    origin: Origin,
    folder: Path,
) -> None:
    client = ws(channel)
    sub = told.wait("sub", {"channel": channel, "subscribers": 1})
    assert (sub["mode"], sub["ttl"]) == ("ws", TTL_SECONDS)
    proxy.publish(channel, {"ws-message": {"content": "x"}}, id="7")
    message = told.wait("message", {"channel": channel})
    assert (message["transport"], message["count"], message["item-id"]) == ("ws-message", 1, "7")
    connection_id = origin.requests[0].one("Connection-Id")
    conn = told.wait("conn", {"id": connection_id})
    assert (conn["type"], conn["ttl"]) == ("ws", TTL_SECONDS)
    assert conn["peer-address"] == "127.0.0.1"
    client.close()
    told.wait("conn", {"id": connection_id, "unavailable": True})
    told.wait("sub", {"channel": channel, "mode": "ws", "unavailable": True})


def test_214_a_subscription_is_told_with_its_count_and_ttl(
    told: Told, hold: Callable[..., Client], channel: str
) -> None:
    for count in (1, 2, 3):
        hold("stream", channel)
        sub = told.wait("sub", {"channel": channel, "subscribers": count})
        assert (sub["mode"], sub["ttl"]) == ("stream", TTL_SECONDS)
        assert sub["from"].startswith("fanway_")


@pytest.mark.parametrize("mode", ["response", "stream"])
def test_214_the_last_subscriber_leaves(
    told: Told, hold: Callable[..., Client], channel: str, mode: str
) -> None:
    client = hold(mode, channel)
    told.wait("sub", {"channel": channel, "mode": mode, "subscribers": 1})
    client.close()
    ended = told.wait("sub", {"channel": channel, "mode": mode, "unavailable": True})
    assert "subscribers" not in ended


def test_57_a_long_poll_that_left_is_told_of_after_it_has_lingered(
    told: Told, hold: Callable[..., Client], channel: str
) -> None:
    client = hold("response", channel)
    told.wait("sub", {"channel": channel, "subscribers": 1})
    client.close()
    told.wait("sub", {"channel": channel, "subscribers": 0})
    told.wait("sub", {"channel": channel, "unavailable": True})


def test_214_a_subscription_is_told_again_before_its_ttl_has_passed(
    told: Told, hold: Callable[..., Client], channel: str
) -> None:
    hold("stream", channel)
    until(lambda: len(told.all("sub", channel=channel, subscribers=1)) >= 3, "it is repeated")


def test_215_a_connection_is_told_until_it_is_gone(
    told: Told, hold: Callable[..., Client], channel: str, folder: Path
) -> None:
    before = {conn["id"] for conn in told.all("conn")}
    client = hold("stream", channel)
    told.wait("sub", {"channel": channel})

    def new() -> list[dict[str, Any]]:
        return [conn for conn in told.all("conn") if conn["id"] not in before]

    conn = until(new, "a connection")[0]
    assert (conn["type"], conn["ttl"]) == ("http", TTL_SECONDS)
    assert conn["peer-address"] == "127.0.0.1"
    until(lambda: len(told.all("conn", id=conn["id"])) >= 3, "it is repeated")
    command = f"ipc://{folder}/command"
    alive = {"ids": [conn["id"], "another"]}
    assert ask(command, method="conncheck", args=alive)[b"value"] == [conn["id"].encode()]
    client.close()
    told.wait("conn", {"id": conn["id"], "unavailable": True})
    assert ask(command, method="conncheck", args=alive)[b"value"] == []


def test_216_an_item_is_told_by_transport_with_its_receivers(
    told: Told, hold: Callable[..., Client], channel: str, proxy: Fanway
) -> None:
    for mode, count in (("response", 1), ("stream", 1), ("stream", 2)):
        hold(mode, channel)
        told.wait("sub", {"channel": channel, "mode": mode, "subscribers": count})
    formats = {"http-response": {"body": "x"}, "http-stream": {"content": "x"}}
    proxy.publish(channel, formats, id="7")

    def receivers(transport: str) -> int:
        found = told.all("message", channel=channel, transport=transport, item_id="7")
        return sum(message["count"] for message in found)  # each worker tells of its own

    until(lambda: receivers("http-stream") == 2, "two receivers of the stream")
    until(lambda: receivers("http-response") == 1, "one receiver of the response")


def test_216_an_item_that_nobody_receives_is_not_told(
    told: Told, proxy: Fanway, channel: str, hold: Callable[..., Client]
) -> None:
    proxy.publish_stream(channel, "nobody")
    hold("stream", channel)
    told.wait("sub", {"channel": channel, "subscribers": 1})
    proxy.publish_stream(channel, "somebody")
    told.wait("message", {"channel": channel})
    [message] = told.all("message", channel=channel)
    assert message["count"] == 1
    assert "item-id" not in message


def test_217_a_report_comes_every_interval(
    told: Told, hold: Callable[..., Client], proxy: Fanway, channel: str
) -> None:
    hold("stream", channel)
    told.wait("sub", {"channel": channel, "subscribers": 1})
    seen = len(told.all("report"))
    proxy.publish_stream(channel, "x")
    until(lambda: any(r["received"] for r in told.all("report")[seen:]), "an item received")
    until(lambda: any(r["sent"] for r in told.all("report")[seen:]), "an item sent")
    report = told.all("report")[-1]
    assert report["connections"] >= 1
    assert 900 <= report["duration"] <= 3000
    assert set(report) >= {"minutes", "http-response-sent"}


def test_activity_counts_requests(told: Told, hold: Callable[..., Client], channel: str) -> None:
    seen = sum(activity["count"] for activity in told.all("activity"))
    hold("stream", channel)
    until(lambda: sum(a["count"] for a in told.all("activity")) == seen + 1, "one request")


def test_218_a_payload_begins_with_the_letter_of_its_format(
    told: Told, hub: Hub, tmp_path: Path
) -> None:
    assert all(raw.partition(b" ")[2][:1] == b"T" for raw in told.raw)
    flags = ("--stats-spec", f"ipc://{tmp_path}/stats", "--stats-format", "json")
    with Fanway(*flags, "--stats-report-interval", "1", routes=[f"* {hub.target}"]):
        in_json = Told(f"ipc://{tmp_path}/stats")
        in_json.close()
    assert in_json.raw
    assert all(raw.partition(b" ")[2][:1] == b"J" for raw in in_json.raw)


def test_224_the_five_metrics_have_their_prefix(
    folder: Path, proxy: Fanway, hold: Callable[..., Client], channel: str
) -> None:
    reply: Reply = hold("stream", channel).reply()
    reply.expect(b"-")
    proxy.publish_stream(channel, "x")
    reply.expect(b"x")

    def metrics() -> dict[str, float]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = _unix(folder / "metrics")
        connection.request("GET", "/anything")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {
            name: float(value)
            for name, _, value in (line.partition(" ") for line in lines if line[0] != "#")
        }

    names = (
        "request_received",
        "connection_connected",
        "connection_minute",
        "message_received",
        "message_sent",
    )
    assert set(metrics()) == {PREFIX + name for name in names}
    until(lambda: metrics()[f"{PREFIX}message_sent"] >= 1, "a message sent")
    assert metrics()[f"{PREFIX}request_received"] >= 1
    until(lambda: metrics()[f"{PREFIX}connection_connected"] >= 1, "a connection")


def test_after_a_restart_of_control_what_is_held_is_told_again(
    told: Told, hold: Callable[..., Client], channel: str, proxy: Fanway
) -> None:
    hold("stream", channel)
    instance = told.wait("sub", {"channel": channel, "subscribers": 1})["from"]
    [pid] = proxy.pids("control")
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: [
            s for s in told.all("sub", channel=channel, subscribers=1) if s["from"] != instance
        ],
        "another instance tells of it",
    )


def _unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock
