"""`fanway demo`, as a newcomer meets it: a URL, a page, and what is published arrives."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from websockets.sync.client import ClientConnection, connect

from control import demo
from support.client import Client, Reply
from support.fanway import BUGS, STOP_SECONDS, command, environment
from support.spelling import request
from support.waiting import until

ROOT = Path(__file__).parent.parent
READY = re.compile(r"http://localhost:(\d+)/$", re.MULTILINE)


class Demo:
    """A running demo on free ports."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            command("demo", "--port", "0", "--control-port", "0"),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._clients: list[Client] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = until(lambda: READY.search(self.said), "a URL")
        self.address = ("127.0.0.1", int(ready[1]))
        until(lambda: "Ctrl-C" in self.said, "how to stop")

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as said:
            self._lines.extend(iter(said.readline, ""))

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def ask(self, target: str) -> Client:
        """Ask for a page; the answer is still to be read."""
        return self._say(request("localhost", target))

    def post(self, text: str) -> Reply:
        """Post a text, as the page and its curl line do."""
        posted = request("localhost", "/publish", method="POST", body=text.encode())
        return self._say(posted).response("POST")

    def publish(self, text: str) -> dict[str, str]:
        """Publish a text. The message that became of it."""
        answer = self.post(text)
        assert answer.status == 200
        return json.loads(answer.body)

    def open_websocket(self, target: str = "/ws") -> ClientConnection:
        """A WebSocket client; the caller closes it."""
        return connect("ws://{}:{}{}".format(*self.address, target))

    def _say(self, asked: bytes) -> Client:
        client = Client(self.address)
        self._clients.append(client)
        return client.send(asked)

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C. The exit code, and all that was said on standard error."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(STOP_SECONDS)
        self._reader.join()
        assert self._process.stderr
        with self._process.stderr:
            errors = self._process.stderr.read()
        for client in self._clients:
            client.close()
        return code, errors


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    started = Demo()
    yield started
    code, errors = started.stop()
    assert code == 0
    assert not any(mark in errors for mark in BUGS), errors


def test_it_prints_one_url_one_curl_line_and_how_to_stop(running: Demo) -> None:
    url = f"http://localhost:{running.address[1]}"
    words = running.said.split()
    assert [word for word in words if word.startswith("http")] == [f"{url}/", f"{url}/sse"]
    assert f"curl -N {url}/sse" in running.said
    assert "Ctrl-C stops it." in running.said


def test_the_page_at_the_url_loads_nothing_from_elsewhere(running: Demo) -> None:
    answer = running.ask("/").response()
    page = answer.body.decode()
    assert answer.status == 200
    assert answer.one("Content-Type") == "text/html"
    assert "<h1>" in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)


def test_a_published_text_reaches_the_sse_client(running: Demo) -> None:
    reply = running.ask("/sse").reply()
    reply.expect(b":\n\n")
    message = running.publish("hello, events")
    reply.expect(f"id: {message['id']}\ndata: {json.dumps(message)}\n\n".encode())


def test_a_published_text_reaches_the_stream_client(running: Demo) -> None:
    reply = running.ask("/stream").reply()
    reply.expect(b"\n")
    message = running.publish("hello, stream")
    reply.expect(json.dumps(message).encode() + b"\n")


def test_a_published_text_reaches_the_long_poll_client(running: Demo) -> None:
    seen = running.publish("seen already")
    waiting = running.ask(f"/poll?after={seen['id']}")
    message = running.publish("hello, poll")
    assert json.loads(waiting.response().body) == [message]


def test_a_published_text_reaches_the_websocket_client(running: Demo) -> None:
    with running.open_websocket() as tab:
        message = running.publish("hello, socket")
        assert json.loads(tab.recv(timeout=10)) == message


def test_two_tabs_talk_to_each_other_and_all_others_listen(running: Demo) -> None:
    reply = running.ask("/stream").reply()
    reply.expect(b"\n")
    with running.open_websocket() as one, running.open_websocket() as other:
        for speaker, text in ((one, "who is there?"), (other, "me")):
            speaker.send(text)
            heard = [tab.recv(timeout=10) for tab in (one, other)]
            reply.expect(f"{heard[0]}\n".encode())
            assert heard[0] == heard[1]
            assert json.loads(heard[0])["text"] == text


def test_a_websocket_that_connects_again_gets_what_it_has_missed(running: Demo) -> None:
    seen, missed = running.publish("seen"), running.publish("missed")
    with running.open_websocket(f"/ws?after={seen['id']}") as tab:
        assert json.loads(tab.recv(timeout=10)) == missed


@pytest.mark.parametrize("target", ["/sse", "/stream"])
def test_a_client_that_connects_again_gets_what_it_has_missed(running: Demo, target: str) -> None:
    seen, missed = running.publish("seen"), running.publish("missed")
    reply = running.ask(f"{target}?after={seen['id']}").reply()
    reply.expect(b":\n\n" if target == "/sse" else b"\n")
    told = reply.take(len(json.dumps(missed)))
    assert missed["id"].encode() in told


def test_grip_headers_stay_between_fanway_and_the_origin(running: Demo) -> None:
    names = [name.lower() for name, _ in running.ask("/sse").reply().headers]
    assert not [name for name in names if name.startswith("grip-")]


def test_an_empty_text_is_refused(running: Demo) -> None:
    answer = running.post("  ")
    assert answer.status == 400
    assert b"1 to 2000 characters" in answer.body


async def test_what_the_page_says_of_the_wire_is_what_the_origin_answers() -> None:
    example = demo.load_example()
    page = example.PAGE.read_text()
    shown = re.findall(r'asks: "GET ([/\w]+).*",\s+answers: \[(.*)\]', page)
    assert [path for path, _ in shown] == ["/ws", "/sse", "/stream", "/poll"]
    async with TestClient(TestServer(example.create_app("http://127.0.0.1:9"))) as client:
        await client.post("/publish", data="so that there is a prev-id")
        for path, lines in shown:
            if path == "/ws":
                answer = await client.post(path, data=b"OPEN\r\n")
            else:
                answer = await client.get(path)
            for line in re.findall(r'"\*?([\w-]+: [^"]*)"', lines):
                name, _, value = line.partition(": ")
                assert answer.headers[name].startswith(value.removesuffix("…")), f"{path}: {line}"
            for line in re.findall(r"""'\*([^']*)'""", lines):
                assert line in await answer.text(), f"{path}: {line}"


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        assert taken < demo.free_port(taken) < taken + demo.PORTS_TRIED_COUNT


def test_clients_and_publishers_get_different_ports() -> None:
    port = demo.free_port(0)
    assert demo.free_port(port, taken=port) != port


def test_a_number_that_is_no_port_is_an_error() -> None:
    with pytest.raises(demo.DemoError, match="70000 is not a port"):
        demo.free_port(70000)
