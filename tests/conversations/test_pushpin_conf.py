"""Pushpin is stopped, Fanway is started with the same files: the same ports answer."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from support.client import Client
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.pushpin import PORTS, SHIPPED, free_ports
from support.spelling import answer, request
from support.zeromq import ask, dumps, peer


@pytest.mark.parametrize(
    ("offset", "flags", "client_shift", "shift", "stats"),
    [
        (40, (), 0, 40, "pushpin-stats"),
        (0, ("--id", "3"), 30, 30, "3-stats"),
        (40, ("--id", "3"), 30, 30, "3-stats"),
    ],
    ids=["offset", "id", "id, which replaces the offset"],
)
def test_223_an_offset_or_an_id_shifts_ports_and_names(
    hub: Hub,
    origin: Origin,
    tmp_path: Path,
    offset: int,
    flags: tuple[str, ...],
    client_shift: int,
    shift: int,
    stats: str,
) -> None:
    """The ports that answer are those of the file and the shift (GRIP.md 9.4)."""
    text = SHIPPED.replace("port_offset=0", f"port_offset={offset}")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    for shipped, ours in ports.items():
        written = ours - (client_shift if shipped == "7999" else shift)
        text = text.replace(shipped, str(written))
    conf = tmp_path / "pushpin.conf"
    conf.write_text(text)
    (tmp_path / "routes").write_text(f"* {hub.target}\n")
    with Fanway(*flags, config=conf) as fanway:
        assert fanway.addresses == [("0.0.0.0", ports["7999"])]
        assert fanway.control_addresses == [("127.0.0.1", ports["5561"])]
        with closing(Client(("127.0.0.1", ports["7999"]))) as client:
            assert client.send(request(origin.host)).response().status == 200
        uris = ask(f"tcp://127.0.0.1:{ports['5563']}", method="get-zmq-uris")[b"value"]
        assert uris[b"publish-pull"] == b"tcp://127.0.0.1:%d" % ports["5560"]
        assert uris[b"publish-sub"] == b"tcp://127.0.0.1:%d" % ports["5562"]
        assert (tmp_path / "run" / stats).is_socket()


def test_the_files_of_pushpin_are_enough(hub: Hub, origin: Origin, tmp_path: Path) -> None:
    text = SHIPPED
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    for shipped, ours in ports.items():
        text = text.replace(shipped, str(ours))
    conf = tmp_path / "pushpin.conf"
    conf.write_text(text)
    (tmp_path / "routes").write_text(f"* {hub.target}\n")

    with Fanway(config=conf):
        grip = ("Grip-Hold: stream", "Grip-Channel: fruit")
        origin.answers(answer(*grip, body=b"-"))
        client = Client(("127.0.0.1", ports["7999"]))
        reply = client.send(request(origin.host)).reply()
        reply.expect(b"-")
        assert origin.requests[0].one("grip-sig")

        with peer(zmq.PUSH, f"tcp://127.0.0.1:{ports['5560']}") as publisher:
            publisher.send(dumps({"channel": "fruit", "http-stream": {"content": "kiwi"}}))
            reply.expect(b"kiwi")
        publish = http.client.HTTPConnection("127.0.0.1", ports["5561"], timeout=5)
        body = {"items": [{"channel": "fruit", "http-stream": {"content": "fig"}}]}
        publish.request("POST", "/publish/", json.dumps(body))
        assert publish.getresponse().status == 200
        publish.close()
        reply.expect(b"fig")
        uris = ask(f"tcp://127.0.0.1:{ports['5563']}", method="get-zmq-uris")[b"value"]
        assert uris == {
            b"command": b"tcp://127.0.0.1:%d" % ports["5563"],
            b"publish-pull": b"tcp://127.0.0.1:%d" % ports["5560"],
            b"publish-sub": b"tcp://127.0.0.1:%d" % ports["5562"],
        }
        client.close()
