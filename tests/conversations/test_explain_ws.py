"""`fanway explain ws://…`: what would become of a WebSocket, and why."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwt
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from control.cli import main
from support.keys import SIG_KEY, secret
from support.origin import Hub, Origin
from support.spelling import answer

PASSED_HOST = "passed.test"  # of the origin, where it does without the extension
GRIP_HOST = "grip.test"
EVENTS = "Content-Type: application/websocket-events"
GRIP = "Sec-WebSocket-Extensions: grip"
SUBSCRIBE = b'c:{"type":"subscribe","channel":"room","filters":["skip-self"]}'

Explained = tuple[int, dict[str, list[str]]]
Explain = Callable[..., Explained]

_paths = itertools.count(1)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `fanway explain`: its exit code, output and errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(("explain", *arguments))
        except SystemExit as left:
            code = int(left.code or 0)
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def explain(command: Callable[..., tuple[int, str, str]]) -> Explain:
    """Runs it for a URL and a route: its exit code, and its sections."""

    def explain(url: str, line: str, *more: str) -> Explained:
        code, out, err = command(url, *more, "--route", line)
        assert err == ""
        sections: dict[str, list[str]] = {}
        for printed in out.splitlines():
            title, text = printed[:10].strip(), printed[11:]
            if title:
                sections[title] = lines = []
            lines.append(text)
        return code, sections

    return explain


def text(*contents: bytes) -> bytes:
    """Events of messages."""
    return b"".join(b"TEXT %x\r\n%b\r\n" % (len(content), content) for content in contents)


# -- over HTTP


@pytest.fixture
def over_http(explain: Explain, hub: Hub, origin: Origin) -> Explain:
    """Explains a WebSocket of this test's origin, which is asked over HTTP."""

    def over_http(*more: str, route: str = "*", target: str = "") -> Explained:
        line = f"{route} {hub.target},over_http{target}"
        return explain(f"ws://{origin.host}/chat?a=1", line, *more)

    return over_http


def test_an_acceptance_is_explained_message_by_message(over_http: Explain, origin: Origin) -> None:
    said = text(SUBSCRIBE, b"m:welcome", b"nobody's", b"c:{}", b'c:{"type":"keep-alive"}')
    said += text(b'c:{"type":"keep-alive","content":"x","timeout":20}') + b"PING 1\r\np\r\n"
    headers = ("Keep-Alive-Interval: 7", "Set-Meta-User: dana", "Sec-WebSocket-Protocol: chat")
    origin.answers(answer(EVENTS, GRIP, *headers, "X-A: 1", body=b"OPEN\r\n" + said))
    code, told = over_http(
        *("-H", "Sec-WebSocket-Protocol: chat"), route="*,prefix=p-", target=",sub=always"
    )
    assert (code, told["verdict"]) == (0, ["accepted, in GRIP mode"])
    assert told["because"] == [
        "it has answered OPEN by OPEN (4.3)",
        "it agrees to the grip extension: what begins with 'm:' is the client's, without it (5.3)",
        "its sub-protocol is 'chat' (4.3)",
        "it is asked again after 20 s of silence: Keep-Alive-Interval, min. 20 (4.8)",
        "each request has Meta-User: dana (4.2)",
        "on channel 'always' by sub= of the target (7.5)",
        "on channel 'p-room' by a control message (5.4), filters skip-self (3)",
        "a TEXT without 'm:' is dropped: TEXT nobody's (5.3)",
        "a control message is ignored: control message does not contain 'type' (5.4)",
        "no keep-alive is sent (5.4)",
        "keep-alive 'x' every 20 s of silence (5.4)",
        "'p-' is the prefix of its route (7.2)",
    ]
    assert told["client"] == [
        *("101 Switching Protocols", "Sec-WebSocket-Protocol: chat", "X-A: 1", ""),
        *("TEXT welcome", "PING p"),
    ]
    assert told["said"][1] == "TEXT m:welcome"


def test_the_origin_is_asked_and_left_as_by_a_client(over_http: Explain, origin: Origin) -> None:
    origin.answers(answer(EVENTS, "Set-Meta-A: 1", body=b"OPEN\r\n"), answer(EVENTS))
    code, told = over_http("-H", "Cookie: c=d", "--sig-key", SIG_KEY)
    assert (code, told["verdict"]) == (0, ["accepted, messages pass as they are"])
    assert "does not agree to the grip extension" in told["because"][1]
    assert told["asked"][-1] == "OPEN"
    opened, left = origin.requests
    assert (opened.method, opened.target, opened.body) == ("POST", "/chat?a=1", b"OPEN\r\n")
    assert (left.body, left.one("Meta-A")) == (b"DISCONNECT\r\n", "1")
    assert opened.one("Connection-Id") == left.one("Connection-Id")
    assert opened.one("Cookie") == left.one("Cookie") == "c=d"
    assert f"Grip-Sig: {opened.one('Grip-Sig')}" not in told["asked"]


def test_an_origin_that_closes_is_answered(over_http: Explain, origin: Origin) -> None:
    body = b"OPEN\r\nCLOSE 5\r\n\x0f\xa0bye\r\n" + text(b"ignored")
    origin.answers(answer(EVENTS, body=body), answer(EVENTS))
    code, told = over_http()
    assert (code, told["client"][-1]) == (0, "CLOSE 4000 bye")
    assert origin.requests[1].body == b"CLOSE\r\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"DISCONNECT\r\n", "it says DISCONNECT"),
        (b"OPEN\r\n", "it says OPEN"),
        (b"TEXT 1\r\n\xff\r\n", "a TEXT that is not UTF-8"),
    ],
)
def test_an_origin_that_ends_it_is_told_no_more(
    over_http: Explain, origin: Origin, said: bytes, why: str
) -> None:
    origin.answers(answer(EVENTS, body=b"OPEN\r\n" + said))
    code, told = over_http()
    assert code == 0
    assert f"the client is cut off: {why} (4.5, 5.5)" in told["because"]
    assert len(origin.requests) == 1


def test_an_origin_that_keeps_its_client_waiting(over_http: Explain, origin: Origin) -> None:
    origin.answers(answer(EVENTS, "Keep-Alive-Interval: 60"))
    code, told = over_http()
    assert (code, told["verdict"]) == (0, ["left waiting"])
    assert "every 60 s" in told["because"][0]


@pytest.mark.parametrize(
    ("headers", "status", "why"),
    [
        ((EVENTS,), "403 No", "its status is not 200"),
        (("Content-Type: text/html",), "200 OK", "its Content-Type is not exactly"),
        ((f"{EVENTS}; charset=utf-8",), "200 OK", "its Content-Type is not exactly"),
    ],
)
def test_a_refusal_is_the_clients(
    over_http: Explain, origin: Origin, headers: tuple[str, ...], status: str, why: str
) -> None:
    origin.answers(answer(*headers, body=b"not you", status=status))
    code, told = over_http()
    assert (code, told["verdict"]) == (1, [f"refused with {status[:3]}"])
    assert told["because"][0].startswith(why)
    assert (told["client"][0], told["client"][-1]) == (status, "not you")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no events, not with OPEN"),
        (text(b"a"), "events that begin with TEXT a, not with OPEN"),
        (b"OPEN", "a line without end after 0 events"),
    ],
)
def test_a_bad_answer_is_named(over_http: Explain, origin: Origin, body: bytes, why: str) -> None:
    origin.answers(answer(EVENTS, body=body))
    code, told = over_http()
    assert (code, told["verdict"]) == (1, ["refused"])
    assert told["because"][0].endswith(f"{why} (4.3)")
    assert told["client"][0] == "502 Bad Gateway"


# -- by WebSocket


@pytest.fixture
def by_websocket(explain: Explain, ws_origin: Any) -> Callable[..., Explained]:
    """Explains a WebSocket whose origin does this."""

    def by_websocket(
        handler: Callable[[ServerConnection], None],
        *more: str,
        host: str = GRIP_HOST,
        route: str = "*",
        target: str = "",
    ) -> Explained:
        path = ws_origin.at(f"/explain/{next(_paths)}", handler)
        return explain(f"ws://{host}{path}", f"{route} {ws_origin.target}{target}", *more)

    return by_websocket


def test_a_websocket_is_explained_and_closed_in_order(by_websocket: Explain) -> None:
    heard: list[Any] = []
    gone = threading.Event()

    def speaks(connection: ServerConnection) -> None:
        connection.send(SUBSCRIBE.decode())
        connection.send("m:hello")
        connection.send(iter(["c:", "{}"]))
        connection.send("m:\x1b[2J")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
        heard.append(closed.value.rcvd)
        gone.set()

    code, told = by_websocket(speaks)
    assert (code, told["verdict"]) == (0, ["accepted, in GRIP mode"])
    assert told["because"][0] == "it has answered 101 (5.1)"
    assert "on channel 'room' by a control message (5.4), filters skip-self (3)" in told["because"]
    assert "a control message is ignored: it is not one frame (5.4)" in told["because"]
    assert told["client"] == [
        "101 Switching Protocols",
        *_dated(told),
        "",
        "TEXT hello",
        r"TEXT \x1b[2J",
    ]
    assert told["asked"][1].startswith("GET /explain/")
    assert GRIP in told["asked"]
    assert gone.wait(10)
    assert heard[0].code == 1000


def _dated(told: dict[str, list[str]]) -> list[str]:
    """Headers of the library's own."""
    return [line for line in told["client"] if line.startswith(("Date: ", "Server: "))]


def test_limits_are_explained(by_websocket: Explain) -> None:
    def subscribes(connection: ServerConnection) -> None:
        for number in range(3):
            connection.send(f'c:{{"type":"subscribe","channel":"{number}"}}')
        connection.send('c:{"type":"unsubscribe","channel":"fixed"}')
        connection.send('c:{"type":"subscribe","channel":"0","filters":["a","b","c","d","e","f"]}')
        connection.recv()

    limit = ("--connection-subscription-max", "3")
    _, told = by_websocket(subscribes, *limit, target=",sub=fixed")
    because = told["because"][2:]
    assert because == [
        "on channel 'fixed' by sub= of the target (7.5)",
        "on channel '0' by a control message (5.4)",
        "on channel '1' by a control message (5.4)",
        "channel '2' is ignored: connection_subscription_max (8.7)",
        "channel 'fixed' is kept: it is a sub= of the target (7.5)",
        "6 filters for '0', more than 5 (5.4)",
    ]
    assert told["client"][-1] == "CLOSE 1011"


@pytest.mark.parametrize(
    ("host", "route", "why"),
    [
        (PASSED_HOST, "*", "it does not agree to the grip extension"),
        (GRIP_HOST, "*,no_grip", "the route has no_grip"),
    ],
)
def test_why_messages_pass_as_they_are(
    by_websocket: Explain, host: str, route: str, why: str
) -> None:
    def speaks(connection: ServerConnection) -> None:
        connection.send("c:{}")
        connection.close(4001, "end")

    code, told = by_websocket(speaks, host=host, route=route)
    assert (code, told["verdict"]) == (0, ["accepted, messages pass as they are"])
    assert told["because"][1].startswith(why)
    assert told["client"][-2:] == ["TEXT c:{}", "CLOSE 4001 end"]


def test_a_trusted_proxy_is_given_the_extension(by_websocket: Explain) -> None:
    token = jwt.encode(
        {"alg": "HS256"}, {"iss": "edge", "exp": int(time.time() + 3600)}, secret(SIG_KEY)
    )
    theirs = ("-H", f"Grip-Sig: {token}", "-H", GRIP, "--upstream-key", SIG_KEY)
    _, told = by_websocket(lambda connection: connection.send("m:as it is"), *theirs)
    assert told["verdict"] == ["accepted, GRIP is the client's"]
    assert "it is given the grip extension" in told["because"][1]
    assert GRIP in told["client"]
    assert "TEXT m:as it is" in told["client"]


def test_an_origin_that_hangs_up_is_named(by_websocket: Explain) -> None:
    _, told = by_websocket(lambda connection: connection.socket.shutdown(socket.SHUT_RDWR))
    assert "the client is cut off: it has hung up (4.5, 5.5)" in told["because"]


def test_what_is_no_101_is_the_clients(explain: Explain, hub: Hub, origin: Origin) -> None:
    origin.answers(answer("X-Why: 1", body=b"who?", status="401 Unauthorized"))
    code, told = explain(f"ws://{origin.host}/", f"* {hub.target}")
    assert (code, told["verdict"]) == (1, ["refused with 401"])
    assert told["because"] == ["it has not switched protocols: its answer is the client's (5.1)"]
    assert (told["client"][0], told["client"][-1]) == ("401 Unauthorized", "who?")


def test_a_wrong_101_is_named(explain: Explain, hub: Hub, origin: Origin) -> None:
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    origin.answers(f"{head}Sec-WebSocket-Accept: x\r\n\r\n".encode())
    code, told = explain(f"ws://{origin.host}/", f"* {hub.target}")
    assert (code, told["verdict"]) == (1, ["refused"])
    assert told["because"][0].endswith("a wrong Sec-WebSocket-Accept (5.1)")


def test_the_next_target_is_asked_if_one_cannot_be_connected_to(
    explain: Explain, hub: Hub, origin: Origin, refused: tuple[str, str]
) -> None:
    origin.answers(answer(EVENTS, body=b"OPEN\r\n"), answer(EVENTS))
    line = f"* {refused[0]} {hub.target},over_http"
    code, told = explain(f"wss://{origin.host}/", line)
    assert (code, told["asked"][0]) == (0, hub.target)
    code, told = explain(f"ws://{origin.host}/", f"* {refused[0]} {refused[1]},over_http")
    assert code == 1
    assert refused[0] in told["because"][0]
    assert refused[1] in told["because"][0]
    assert told["because"][0].endswith("(7.7)")


# -- the command


@pytest.fixture
def silent() -> Iterator[str]:
    """A target that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_nobody_waits_for_ever(command: Any, silent: str, scheme: str) -> None:
    code, _, err = command(f"{scheme}://a.test/", "--route", f"* {silent}", "--wait", "1")
    assert (code, err) == (1, "fanway: no whole answer within 1 s (--wait)\n")


@pytest.mark.parametrize("more", [("-X", "POST"), ("-d", "x"), ("--wait", "0"), ("--wait", "x")])
def test_what_is_not_for_a_websocket_is_an_error_of_the_arguments(
    command: Any, more: tuple[str, str]
) -> None:
    code, out, err = command("ws://a.test/", *more, "--route", "* test")
    assert (code, out) == (2, "")
    assert err.startswith("fanway: ")
