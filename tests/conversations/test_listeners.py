"""Where clients and publishers connect: TCP, IPv6, Unix sockets, several at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.waiting import until


@pytest.fixture(scope="module")
def everywhere(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fanway]:
    """Two workers that listen on IPv4, IPv6 and a Unix socket; control on TCP and a socket."""
    folder = tmp_path_factory.mktemp("sockets")
    clients = ("127.0.0.1:0", "[::1]:0", f"unix:{folder}/clients")
    control = ("127.0.0.1:0", f"unix:{folder}/control")
    flags = [w for a in clients for w in ("--listen", a)]
    flags += [w for a in control for w in ("--control-listen", a)]
    flags += ["--workers", "2", "--x-forwarded-for", "append"]
    with Fanway(*flags, routes=[f"* {hub.target}"]) as fanway:
        yield fanway
    assert not Path(folder, "clients").exists()
    assert not Path(folder, "control").exists()


@pytest.mark.parametrize("number", [0, 1, 2], ids=["IPv4", "IPv6", "Unix"])
def test_clients_are_served_on_every_listener(
    everywhere: Fanway, origin: Origin, channel: str, number: int
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    client = Client(everywhere.addresses[number])
    reply = client.send(request(origin.host)).reply()
    reply.expect(b"open")
    everywhere.publish_stream(channel, " and more")
    reply.expect(b" and more")
    client.close()


def test_publishers_are_served_on_a_unix_socket(
    everywhere: Fanway, origin: Origin, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    client = Client(everywhere.address)
    reply = client.send(request(origin.host)).reply()
    reply.expect(b"open")
    item = {"channel": channel, "formats": {"http-stream": {"content": " by socket"}}}
    body = json.dumps({"items": [item]}).encode()
    publisher = Client(everywhere.control_addresses[1])
    publisher.send(request("control", "/publish/", method="POST", body=body))
    assert publisher.response("POST").body == b"Published\n"
    reply.expect(b" by socket")
    publisher.close()
    client.close()


def test_a_publish_reaches_the_clients_of_all_workers(
    everywhere: Fanway, origin: Origin, channel: str
) -> None:
    """The kernel spreads connections over the workers: of forty, some are with either."""
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    clients = [Client(everywhere.address).send(request(origin.host)) for _ in range(40)]
    replies = [client.reply() for client in clients]
    for reply in replies:
        reply.expect(b"open")
    for number in range(10):
        everywhere.publish_stream(channel, f"{number}")
    for reply in replies:
        reply.expect(b"0123456789")
    for client in clients:
        client.close()
    until(lambda: everywhere.metric("fanway_channels") == 0, "no channel is left")


@pytest.mark.parametrize(("number", "appended"), [(0, ["127.0.0.1"]), (1, ["::1"]), (2, [])])
def test_209_the_address_of_a_client_is_appended_if_it_has_one(
    everywhere: Fanway, origin: Origin, number: int, appended: list[str]
) -> None:
    client = Client(everywhere.addresses[number])
    assert client.send(request(origin.host)).response().status == 200
    client.close()
    assert origin.requests[0].all("X-Forwarded-For") == appended


def test_connections_are_accepted_where_the_log_says(everywhere: Fanway) -> None:
    host, port = everywhere.addresses[1]
    assert host == "::1"
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        assert sock.family == socket.AF_INET6
