"""Publishing and commands over ZeroMQ (GRIP.md 2.3, 9.2), with the sockets of real publishers."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from gripcontrol import HttpStreamFormat
from pubcontrol import Item, ZmqPubControlClient
from websockets.sync.client import ClientConnection, connect

from support.client import Client, Reply
from support.fanway import Fanway, environment, run_command
from support.fanway import command as command_line
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.waiting import DEADLINE_SECONDS, until
from support.wsspelling import control, events, opened
from support.zeromq import ask, demand, dumps, peer

LINGER_SECONDS = 1
STREAM = ("Grip-Hold: stream", "Grip-Channel: {}")
POLL = ("Grip-Hold: response", "Grip-Channel: {}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zeromq")


@pytest.fixture(scope="module")
def proxy(folder: Path, hub: Hub) -> Iterator[Fanway]:
    """A Fanway with every socket; shared by the tests of this file."""
    flags = {
        "--push-in-spec": f"ipc://{folder}/pull",
        "--push-in-sub-specs": f"ipc://{folder}/sub",
        "--command-spec": f"ipc://{folder}/command",
        "--ipc-file-mode": "660",
        "--subscription-linger": str(LINGER_SECONDS),
    }
    routes = [f"* {hub.target}", f"*,path_beg=/ws {hub.target},over_http"]
    with Fanway(*(w for pair in flags.items() for w in pair), routes=routes) as fanway:
        yield fanway
        fanway.assert_no_bug()


@pytest.fixture
def hold(proxy: Fanway, origin: Origin, connect: Callable[..., Client]) -> Callable[..., Client]:
    """A client of that Fanway whose request is held, or about to be."""

    def hold(instruct: tuple[str, ...], channel: str, body: bytes = b"") -> Client:
        origin.answers(answer(*(line.format(channel) for line in instruct), body=body))
        return connect(proxy.address).send(request(origin.host))

    return hold


@pytest.fixture
def stream(hold: Callable[..., Client]) -> Callable[[str], Reply]:
    """The reply to a client in a stream hold; its channel is held once this returns."""

    def stream(channel: str) -> Reply:
        reply = hold(STREAM, channel, b"-").reply()
        reply.expect(b"-")
        return reply

    return stream


@pytest.fixture
def pull(folder: Path, proxy: Fanway) -> Iterator[zmq.Socket]:
    with peer(zmq.PUSH, f"ipc://{folder}/pull") as socket:
        yield socket


@pytest.fixture
def pub(folder: Path, proxy: Fanway) -> Iterator[zmq.Socket]:
    with peer(zmq.XPUB, f"ipc://{folder}/sub") as socket:
        yield socket


@pytest.fixture
def command(folder: Path, proxy: Fanway) -> str:
    return f"ipc://{folder}/command"


def item(channel: str, content: str, **fields: Any) -> dict[str, Any]:
    return {"channel": channel, "formats": {"http-stream": {"content": content}}, **fields}


# -- PULL


@pytest.mark.parametrize(
    "encode",
    [
        dumps,
        lambda value: b"T" + dumps(value),
        lambda value: b"J" + json.dumps(value).encode(),
    ],
    ids=["bare", "T", "J"],
)
def test_112_pull_takes_bare_tnetstrings_and_prefixed_ones_and_json(
    stream: Callable[[str], Reply],
    pull: zmq.Socket,
    channel: str,
    encode: Callable[[Any], bytes],
) -> None:
    reply = stream(channel)
    pull.send(encode(item(channel, "kiwi\n")))
    reply.expect(b"kiwi\n")


def test_112_a_tnetstring_carries_bytes_that_are_no_text(
    stream: Callable[[str], Reply], pull: zmq.Socket, channel: str
) -> None:
    reply = stream(channel)
    formats = {"http-stream": {"content": b"\x00\xff\xfe"}}
    pull.send(dumps({"channel": channel, "formats": formats}))
    reply.expect(b"\x00\xff\xfe")


def test_112_a_response_goes_out_as_it_was_pushed(
    hold: Callable[..., Client],
    pull: zmq.Socket,
    command: str,
    channel: str,
    proxy: Fanway,
    origin: Origin,
) -> None:
    client = hold(POLL, channel)
    until(lambda: proxy.metric("fanway_holds", mode="response"), "a hold in the tally")
    response = {"code": 201, "headers": [["X-Fruit", "kiwi"]], "body": b"\xff"}
    pull.send(dumps({"channel": channel, "http-response": response}))
    reply = client.response()
    assert (reply.status, bytes(reply.body)) == (201, b"\xff")
    assert ("X-Fruit", "kiwi") in reply.headers


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"J",
        b"J{}",
        b"T3:abc",
        b"rubbish",
        b"4:true!",
        b"0:}",
        b"J" + json.dumps({"channel": "c", "formats": {}}).encode(),
        dumps({"channel": "c"}) + b"more",
        dumps({"channel": "c", "http-stream": {"content": 5}}),
    ],
)
def test_112_what_is_malformed_is_dropped_and_the_next_item_arrives(
    stream: Callable[[str], Reply],
    pull: zmq.Socket,
    channel: str,
    message: bytes,
    proxy: Fanway,
) -> None:
    seen = len(proxy.lines)
    reply = stream(channel)
    pull.send(message)
    pull.send_multipart([b"two", b"parts"])
    pull.send(dumps(item(channel, "good")))
    reply.expect(b"good")
    until(lambda: len(proxy.events("item_refused", seen)) == 2, "two lines in the log")


def test_a_burst_of_10_000_items_arrives_complete_and_in_order(
    stream: Callable[[str], Reply], pull: zmq.Socket, channel: str
) -> None:
    reply = stream(channel)
    lines = [f"{n:05d}\n" for n in range(10_000)]
    for at in range(0, len(lines), 100):  # a client that reads is owed all; its queue is bounded
        for line in lines[at : at + 100]:
            pull.send(dumps(item(channel, line)))
        reply.expect("".join(lines[at : at + 100]).encode())


def test_a_burst_that_nobody_awaits_arrives_complete(
    pull: zmq.Socket, proxy: Fanway, channel: str
) -> None:
    before = proxy.metric("fanway_items_total")
    for n in range(10_000):
        pull.send(dumps(item(channel, str(n))))
    until(lambda: proxy.metric("fanway_items_total") == before + 10_000, "10,000 items")


def test_the_client_of_pubcontrol_finds_the_sockets_and_pushes(
    command: str, stream: Callable[[str], Reply], channel: str
) -> None:
    publisher = ZmqPubControlClient(command)
    reply = stream(channel)
    publisher.publish(channel, Item(HttpStreamFormat("kiwi"), id="1"), blocking=True)
    reply.expect(b"kiwi")
    publisher.close()


def test_the_client_of_pubcontrol_publishes_to_those_who_subscribe(
    command: str, stream: Callable[[str], Reply], channel: str
) -> None:
    subscribed: queue.Queue[tuple[str, str]] = queue.Queue()
    publisher = ZmqPubControlClient(
        command,
        require_subscribers=True,
        sub_callback=lambda kind, name: subscribed.put((kind, name)),
    )
    publisher.publish("nobody", Item(HttpStreamFormat("any")), blocking=True)  # finds the sockets
    reply = stream(channel)
    until(lambda: subscribed.get(timeout=DEADLINE_SECONDS) == ("sub", channel), "a subscription")
    publisher.publish(channel, Item(HttpStreamFormat("kiwi")), blocking=True)
    reply.expect(b"kiwi")
    publisher.close()


def test_221_the_command_publishes_over_zeromq(
    folder: Path, stream: Callable[[str], Reply], channel: str
) -> None:
    reply = stream(channel)
    done = run_command("publish", channel, "kiwi", "--spec", f"ipc://{folder}/pull")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Published\n", "")
    reply.expect(b"kiwi\n")


# -- SUB


def test_113_sub_takes_topic_and_item_and_the_topic_wins(
    stream: Callable[[str], Reply], pub: zmq.Socket, channel: str
) -> None:
    reply = stream(channel)
    demand(pub, b"\x01" + channel.encode())
    pub.send_multipart([channel.encode(), dumps(item("another", "kiwi"))])
    pub.send_multipart([channel.encode(), b"J" + json.dumps(item("another", "fig")).encode()])
    reply.expect(b"kiwifig")


def test_113_a_topic_that_only_begins_like_a_channel_is_not_its(
    stream: Callable[[str], Reply], pub: zmq.Socket, channel: str
) -> None:
    reply = stream(channel)
    demand(pub, b"\x01" + channel.encode())
    pub.send_multipart([channel.encode() + b"-longer", dumps(item("any", "not for it"))])
    pub.send_multipart([channel.encode(), dumps(item("any", "for it"))])
    reply.expect(b"for it")


def test_114_the_topic_is_subscribed_to_with_the_first_and_dropped_after_the_last(
    stream: Callable[[str], Reply], pub: zmq.Socket, channel: str
) -> None:
    first, second = stream(channel), stream(channel)
    demand(pub, b"\x01" + channel.encode())
    first.client.close()
    second.client.close()
    demand(pub, b"\x00" + channel.encode())


def test_114_after_a_long_poll_the_topic_lingers(
    hold: Callable[..., Client], pub: zmq.Socket, channel: str
) -> None:
    client = hold(POLL, channel)
    demand(pub, b"\x01" + channel.encode())
    left = time.monotonic()
    client.close()
    demand(pub, b"\x00" + channel.encode())
    assert time.monotonic() - left >= LINGER_SECONDS


def test_114_a_publisher_that_comes_later_learns_of_what_is_held(
    stream: Callable[[str], Reply], folder: Path, channel: str
) -> None:
    reply = stream(channel)
    with peer(zmq.XPUB, f"ipc://{folder}/sub") as late:
        demand(late, b"\x01" + channel.encode())
        late.send_multipart([channel.encode(), dumps(item("any", "kiwi"))])
        reply.expect(b"kiwi")


def test_sub_connects_where_it_is_told_to(hub: Hub, tmp_path: Path, origin: Origin) -> None:
    spec = f"ipc://{tmp_path}/publisher"
    flags = ("--push-in-sub-specs", spec, "--push-in-sub-connect")
    with peer(zmq.XPUB, spec, listens=True) as publisher:
        with Fanway(*flags, routes=[f"* {hub.target}"]) as fanway:
            origin.answers(answer("Grip-Hold: stream", "Grip-Channel: fruit", body=b"-"))
            reply = Client(fanway.address).send(request(origin.host)).reply()
            demand(publisher, b"\x01fruit")
            publisher.send_multipart([b"fruit", dumps(item("any", "kiwi"))])
            reply.expect(b"-kiwi")
            reply.client.close()


# -- commands


def test_219_get_zmq_uris_names_what_is_listened_on(command: str, folder: Path) -> None:
    reply = ask(command, id="1", method="get-zmq-uris")
    assert reply == {
        b"id": b"1",
        b"success": True,
        b"value": {
            b"command": f"ipc://{folder}/command".encode(),
            b"publish-pull": f"ipc://{folder}/pull".encode(),
            b"publish-sub": f"ipc://{folder}/sub".encode(),
        },
    }


def test_219_publish_is_acknowledged(
    stream: Callable[[str], Reply], command: str, channel: str
) -> None:
    reply = stream(channel)
    done = ask(command, id="1", method="publish", args={"items": [item(channel, "kiwi")]})
    assert done == {b"id": b"1", b"success": True, b"value": None}
    reply.expect(b"kiwi")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, b"Invalid format: object does not contain 'items'"),
        ({"items": "x"}, b"Invalid format: object contains 'items' with wrong type"),
        ({"items": [1]}, b"Invalid format: publish item object is not an object"),
        ({"items": [{"channel": "c"}]}, b"Invalid format: no formats specified"),
    ],
)
def test_219_publish_says_what_is_wrong(command: str, args: Any, why: bytes) -> None:
    reply = ask(command, method="publish", args=args)
    assert reply == {b"success": False, b"condition": b"bad-request", b"value": why}


def test_219_an_invalid_item_publishes_none_of_them(
    stream: Callable[[str], Reply], command: str, channel: str
) -> None:
    reply = stream(channel)
    items = [item(channel, "not this"), {"channel": channel}]
    assert not ask(command, method="publish", args={"items": items})[b"success"]
    assert ask(command, method="publish", args={"items": [item(channel, "this")]})[b"success"]
    reply.expect(b"this")


def test_219_recover_makes_response_holds_ask_again(
    hold: Callable[..., Client], command: str, channel: str, origin: Origin, pub: zmq.Socket
) -> None:
    client = hold(POLL, channel)
    demand(pub, b"\x01" + channel.encode())
    origin.answers(answer(body=b"again"))
    assert ask(command, id="8", method="recover") == {b"id": b"8", b"success": True, b"value": None}
    assert client.response().body == b"again"


def test_219_refresh_wants_a_connection_or_a_channel(command: str) -> None:
    assert ask(command, method="refresh")[b"condition"] == b"bad-request"
    assert ask(command, method="refresh", args={"cid": "no-such"})[b"condition"] == (
        b"item-not-found"
    )
    assert ask(command, method="refresh", args={"channel": "nobody"})[b"success"]


def test_219_conncheck_leaves_out_who_is_gone(command: str) -> None:
    assert ask(command, method="conncheck", args={"ids": ["gone"]})[b"value"] == []
    assert ask(command, method="conncheck", args={"ids": 5})[b"condition"] == b"bad-request"
    assert ask(command, method="conncheck")[b"condition"] == b"bad-request"


@pytest.fixture
def ws(proxy: Fanway, origin: Origin) -> Iterator[Callable[..., ClientConnection]]:
    """Connects a WebSocket client whose origin is asked over HTTP; it is open once this returns."""
    with ExitStack() as clients:

        def ws(*said: bytes) -> ClientConnection:
            origin.answers(opened(*said), events())
            sock = clients.enter_context(socket.create_connection(proxy.address))
            options: dict[str, Any] = {"compression": None, "ping_interval": None}
            client = connect(f"ws://{origin.host}/ws", sock=sock, **options)
            return clients.enter_context(client)

        yield ws


def test_165_refresh_of_a_connection_makes_an_empty_request(
    ws: Callable[..., ClientConnection], origin: Origin, command: str
) -> None:
    ws()
    connection_id = origin.requests[0].one("connection-id")
    assert ask(command, method="refresh", args={"cid": connection_id})[b"success"]
    assert origin.wait_for_requests(2).body == b""


def test_165_refresh_of_a_channel_makes_empty_requests(
    ws: Callable[..., ClientConnection], origin: Origin, command: str, channel: str, pub: zmq.Socket
) -> None:
    ws(control("subscribe", channel=channel))
    demand(pub, b"\x01" + channel.encode())
    assert ask(command, method="refresh", args={"channel": channel})[b"success"]
    assert origin.wait_for_requests(2).body == b""


def test_219_conncheck_knows_websockets_by_the_id_that_their_origin_has(
    ws: Callable[..., ClientConnection], origin: Origin, command: str
) -> None:
    ws()
    connection_id = origin.requests[0].one("connection-id")
    asked = {"ids": ["gone", connection_id]}
    assert ask(command, method="conncheck", args=asked)[b"value"] == [connection_id.encode()]


@pytest.mark.parametrize("method", ["stats", "", 5])
def test_219_an_unknown_method_is_not_found(command: str, method: Any) -> None:
    assert ask(command, id="1", method=method) == {
        b"id": b"1",
        b"success": False,
        b"condition": b"method-not-found",
    }


@pytest.mark.parametrize("request_", [b"", b"rubbish", b"4:true!", b"3:abc,x"])
def test_219_what_is_no_command_is_a_bad_request(command: str, request_: bytes) -> None:
    with peer(zmq.REQ, command) as socket:
        socket.send(request_)
        assert b"bad-request" in socket.recv()


def test_220_a_dealer_asks_without_waiting_and_finds_its_replies_by_id(command: str) -> None:
    with peer(zmq.DEALER, command) as socket:
        socket.send_multipart([b"no empty part"])
        for n in range(1000):
            socket.send_multipart(
                [b"", dumps({"id": str(n), "method": "conncheck", "args": {"ids": []}})]
            )
        for n in range(1000):
            empty, reply = socket.recv_multipart()
            assert empty == b""
            assert b"2:id,%d:%d," % (len(str(n)), n) in reply


# -- the sockets


def test_ipc_files_have_the_mode_that_was_asked_for(folder: Path, proxy: Fanway) -> None:
    assert (folder / "pull").stat().st_mode & 0o777 == 0o660


def test_an_idle_proxy_uses_no_time(proxy: Fanway, command: str) -> None:
    ask(command, method="get-zmq-uris")

    def ticks() -> int:
        (pid,) = proxy.pids("control")
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])

    before = ticks()
    time.sleep(1)  # nothing happens: that is what is measured
    assert ticks() - before <= 2


def test_an_address_that_is_none_is_refused_in_one_line() -> None:
    done = run_command("run", "--push-in-spec", "5560", "--route", "* a:1")
    assert done.returncode == 2
    assert done.stderr == (
        "fanway: push_in_spec = '5560' on the command line: "
        "'5560' is neither tcp://ADDR:PORT nor ipc://PATH\n"
    )


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        listen = ("--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--workers", "1")
        flags = ("--push-in-spec", spec, "--route", "* a:1", *listen)
        process = subprocess.Popen(
            command_line("run", *flags), stderr=subprocess.PIPE, text=True, env=environment()
        )
        with process:
            assert process.stderr is not None
            why = f"push_in_spec: cannot listen on {spec}: address already in use"
            assert any(why in line for line in process.stderr)
            process.terminate()
            assert "Traceback" not in process.stderr.read()
