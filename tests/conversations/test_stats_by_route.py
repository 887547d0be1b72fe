"""What the stats socket tells of routes, bytes, messages and blocks (GRIP.md 9.1).

Each conversation has a route of its own, whose reports are summed up. Unless something else is said
the sums are those that Pushpin 1.36 publishes for the same requests; but it counts under no route
what HTTP clients are sent once they are held.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path

import pytest

from support.client import Client
from support.fanway import Fanway
from support.frame_origin import GRIP, GUID, frame
from support.origin import Hub, Origin, Request, Wire
from support.spelling import answer, request
from support.told import Told
from support.waiting import until
from support.wsspelling import control, event, events, opened

ROUTES = (
    "plain",
    "failing",
    "stream",
    "poll",
    "both",
    "kept",
    "sock",
    "over",
    "conn",
    "upload",
    "broken",
)
BLOCK_BYTES = 10
# Every field of a report of Pushpin 1.36 that nothing has happened to; with a block size, two more.
PUSHPIN_FIELDS = {
    *("from", "route", "connections", "minutes", "duration"),
    *("received", "sent", "http-response-sent"),
    *(
        f"{side}-{what}-{way}"
        for side in ("client", "server")
        for what in ("header-bytes", "content-bytes", "messages")
        for way in ("received", "sent")
    ),
}
TEXT, PING = 1, 9
HANDSHAKE = (
    *("Upgrade: websocket", "Connection: Upgrade"),
    *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
)
PLAIN_TEXT = ("Content-Type", "text/plain")
ACCEPTED = len("101Switching Protocols")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("stats")
    return f"ipc://{folder}/stats"


@pytest.fixture(scope="module")
def proxy(spec: str, hub: Hub) -> Iterator[Fanway]:
    """A Fanway with two workers, whose sums are one; the last route has no id."""
    flags = {
        "--stats-spec": spec,
        "--stats-report-interval": "1",
        "--message-block-size": str(BLOCK_BYTES),
        "--workers": "2",
    }
    over = {"over": ",over_http"}
    routes = [f"*,id={n},path_beg=/{n} {hub.target}{over.get(n, '')}" for n in ROUTES]
    words = [word for pair in flags.items() for word in pair]
    with Fanway(*words, routes=[*routes, f"* {hub.target}"]) as fanway:
        yield fanway
        fanway.assert_no_bug()


@pytest.fixture(scope="module")
def told(spec: str, proxy: Fanway) -> Iterator[Told]:
    told = Told(spec)
    yield told
    told.close()


@pytest.fixture
def says(proxy: Fanway, origin: Origin, connect: Callable[..., Client]) -> Callable[..., Client]:
    """A client that has asked for something."""

    def says(target: str, *headers: str, body: bytes | None = None) -> Client:
        method = "GET" if body is None else "POST"
        run = request(origin.host, target, *headers, method=method, body=body)
        return connect(proxy.address).send(run)

    return says


def words(*some: str) -> int:
    """The bytes of these words."""
    return len("".join(some))


def asked_bytes(origin: Origin) -> int:
    """The heads that an origin was sent, without what frames their bodies."""
    return sum(
        len(asked.method) + len(asked.target) + sum(len(n) + len(v) for n, v in asked.headers)
        - sum(len(n) + len(v) for n, v in asked.headers if n.lower() == b"content-length")
        for asked in origin.requests
    )  # fmt: skip


def test_217_a_report_has_the_fields_of_pushpin(
    told: Told, says: Callable[..., Client], origin: Origin
) -> None:
    origin.answers(answer())
    says("/failing").reply().read_to_end()
    report = until(lambda: told.all("report", route="failing"), "a report")[0]
    assert set(report) == PUSHPIN_FIELDS | {"blocks-received", "blocks-sent"}


def test_217_what_is_passed_on_counts_on_both_sides(
    told: Told, says: Callable[..., Client], origin: Origin
) -> None:
    origin.answers(answer("Content-Type: text/plain", body=b"hello"))
    says("/plain?a=b").reply().read_to_end()
    says("/plain", body=b"12345678").reply().read_to_end()
    host = words("Host", origin.host)
    head = words("200", "OK", "Content-Type", "text/plain")
    told.wait_for_sums(
        "plain",
        {
            "client-header-bytes-received": words("GET", "/plain?a=b", "POST", "/plain")
            + 2 * host
            + words("Content-Length", "8"),
            "client-content-bytes-received": 8,
            "client-header-bytes-sent": 2 * head,  # Pushpin's has the origin's Content-Length
            "client-content-bytes-sent": 10,
            "server-header-bytes-sent": asked_bytes(origin),
            "server-content-bytes-sent": 8,
            "server-header-bytes-received": 2 * (head + words("Content-Length", "5")),
            "server-content-bytes-received": 10,
        },
    )


def test_217_a_body_that_streams_through_counts_on_both_sides(
    told: Told, says: Callable[..., Client], origin: Origin
) -> None:
    size = 1_000_000
    origin.answers(answer(body=b"x" * size))
    says("/upload", body=b"y" * size).reply().read_to_end()

    def is_counted() -> bool:
        sums = told.sums("upload")
        contents = {n for name, n in sums.items() if "content" in name}
        return contents == {size} and len(sums) == 8

    until(is_counted, "the body, four times")


def test_217_what_an_origin_was_sent_counts_even_if_it_does_not_answer(
    told: Told, says: Callable[..., Client], origin: Origin
) -> None:
    origin.answers(lambda _wire, _asked: None)
    assert says("/broken", body=b"1234").reply().status == 502
    until(lambda: told.sums("broken").get("server-content-bytes-sent") == 4, "the body")
    sums = told.sums("broken")
    assert sums["server-header-bytes-sent"] == asked_bytes(origin)
    assert "server-header-bytes-received" not in sums
    assert sums["client-header-bytes-sent"] == words("502", "Bad Gateway", *PLAIN_TEXT)


def test_217_a_stream_counts_what_it_begins_with_and_what_is_published(
    told: Told, says: Callable[..., Client], origin: Origin, channel: str, proxy: Fanway
) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}")
    origin.answers(answer("Content-Type: text/plain", *grip, body=b"0123456789"))
    reply = says("/stream").reply()
    reply.expect(b"0123456789")
    proxy.publish_stream(channel, "x" * 25)
    reply.expect(b"x" * 25)
    told.wait_for_sums(
        "stream",
        {
            "sent": 1,
            "blocks-sent": 3,
            "client-header-bytes-received": words("GET", "/stream", "Host", origin.host),
            "client-header-bytes-sent": words("200", "OK", "Content-Type", "text/plain"),
            "client-content-bytes-sent": 10 + 25,
            "server-header-bytes-sent": asked_bytes(origin),
            "server-header-bytes-received": words(
                *("200", "OK", "Content-Type", "text/plain", "Content-Length", "10"),
                *("Grip-Hold", "stream", "Grip-Channel", channel),
            ),
            "server-content-bytes-received": 10,
        },
    )


def test_217_a_long_poll_counts_the_answer_that_it_is_given(
    told: Told, says: Callable[..., Client], origin: Origin, channel: str, proxy: Fanway
) -> None:
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}")
    origin.answers(answer("Content-Type: text/plain", *grip, body=b"late"))
    client = says("/poll")
    told.wait("sub", {"channel": channel, "subscribers": 1})
    proxy.publish_response(channel, "y" * 15)
    assert client.reply().read_to_end() == b"y" * 15
    told.wait_for_sums(
        "poll",
        {
            "sent": 1,
            "http-response-sent": 1,
            "blocks-sent": 2,
            "client-header-bytes-received": words("GET", "/poll", "Host", origin.host),
            "client-header-bytes-sent": words("200", "OK", "Content-Type", "text/plain"),
            "client-content-bytes-sent": 15,
            "server-header-bytes-sent": asked_bytes(origin),
            "server-header-bytes-received": words(
                *("200", "OK", "Content-Type", "text/plain", "Content-Length", "4"),
                *("Grip-Hold", "response", "Grip-Channel", channel),
            ),
            "server-content-bytes-received": 4,
        },
    )


def test_216_a_message_has_the_blocks_of_all_that_received_it(
    told: Told, says: Callable[..., Client], origin: Origin, channel: str, proxy: Fanway
) -> None:
    for mode, count in (("response", 1), ("stream", 1), ("stream", 2)):
        origin.answers(answer(f"Grip-Hold: {mode}", f"Grip-Channel: {channel}"))
        says("/both")
        told.wait("sub", {"channel": channel, "mode": mode, "subscribers": count})
    before = sum(r.get("blocks-received", 0) for r in told.all("report") if "route" not in r)
    formats = {"http-response": {"body": "y" * 47}, "http-stream": {"content": "x" * 25}}
    proxy.publish(channel, formats, id="7")

    def blocks(transport: str) -> int:
        found = told.all("message", channel=channel, transport=transport, item_id="7")
        assert not any("route" in message for message in found)
        return sum(message["blocks"] for message in found)

    until(lambda: blocks("http-response") == 5, "five blocks of a response")
    until(lambda: blocks("http-stream") == 6, "three blocks for each of two streams")
    until(lambda: told.sums("both").get("blocks-sent") == 11, "all of them in a report")

    def received() -> int:
        reports = [r for r in told.all("report") if "route" not in r]
        return sum(r["blocks-received"] for r in reports) - before

    until(lambda: received() == 5, "the blocks of the largest format, of no route")


def test_217_keep_alives_are_content_and_activity(
    told: Told, says: Callable[..., Client], origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}", "Grip-Keep-Alive: beat; timeout=1")
    origin.answers(answer(*grip))
    reply = says("/kept").reply()
    reply.expect(b"beat")
    reply.expect(b"beat")
    until(lambda: told.sums("kept").get("client-content-bytes-sent", 0) >= 8, "two keep-alives")
    until(lambda: sum(a["count"] for a in told.all("activity", route="kept")) >= 3, "activity")


def masked(opcode: int, content: bytes = b"", *, final: bool = True) -> bytes:
    return bytes((opcode | final << 7, 0x80 | len(content), 0, 0, 0, 0)) + content


def test_217_messages_of_a_passed_websocket_count_on_both_sides(
    told: Told, says: Callable[..., Client], origin: Origin, channel: str, proxy: Fanway
) -> None:
    subscribe = f'c:{{"type":"subscribe","channel":"{channel}"}}'.encode()

    def acts(wire: Wire, asked: Request) -> None:
        key = (asked.one("Sec-WebSocket-Key") or "").encode()
        accept = b64encode(sha1(key + GUID).digest()).decode()
        head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        head += [f"Sec-WebSocket-Accept: {accept}", GRIP, "", ""]
        wire.send("\r\n".join(head).encode(), frame(TEXT, subscribe), frame(TEXT, b"m:hi"))
        wire.wait_for_close()

    origin.answers(acts)
    client = says("/sock", *HANDSHAKE)
    told.wait("sub", {"channel": channel, "mode": "ws", "subscribers": 1})
    client.send(masked(TEXT, b"abc") + masked(TEXT, b"ab", final=False) + masked(0, b"c"))
    client.send(masked(PING, b"pp"))
    proxy.publish(channel, {"ws-message": {"content": "z" * 21}})
    told.wait_for_sums(
        "sock",
        {
            "sent": 1,
            "blocks-sent": 3,
            "client-header-bytes-received": words("GET", "/sock", "Host", origin.host)
            + sum(len(line) - 2 for line in HANDSHAKE),
            # Pushpin's has what a handshake consists of: Upgrade, Connection, Sec-WebSocket-Accept.
            "client-header-bytes-sent": ACCEPTED,
            "client-content-bytes-received": 3 + 3 + 2,
            "client-messages-received": 3,  # a ping is one
            "client-content-bytes-sent": len("hi") + 21,
            "client-messages-sent": 2,
            "server-header-bytes-sent": asked_bytes(origin),
            "server-header-bytes-received": ACCEPTED
            + words("Upgrade", "websocket", "Connection", "Upgrade")
            + words("Sec-WebSocket-Accept", "=" * 28)
            + words("Sec-WebSocket-Extensions", "grip"),
            "server-content-bytes-sent": 3 + 3 + 2,
            "server-messages-sent": 3,
            "server-content-bytes-received": len(subscribe) + len("m:hi"),
            "server-messages-received": 2,
        },
    )


def test_217_messages_of_a_websocket_over_http_count_on_both_sides(
    told: Told, says: Callable[..., Client], origin: Origin, channel: str, proxy: Fanway
) -> None:
    origin.answers(opened(control("subscribe", channel=channel)), events(event("TEXT", "m:back")))
    client = says("/over", *HANDSHAKE)
    told.wait("sub", {"channel": channel, "mode": "ws", "subscribers": 1})
    client.send(masked(TEXT, b"ab", final=False) + masked(0, b"c"))
    origin.wait_until_answered(2)
    proxy.publish(channel, {"ws-message": {"content": "z" * 21}})
    subscribe = len(control("subscribe", channel=channel))
    kind = words("Content-Type", "application/websocket-events", "200", "OK")
    lengths = [len(event("OPEN")) + subscribe, len(event("TEXT", "m:back"))]
    told.wait_for_sums(
        "over",
        {
            "sent": 1,
            "blocks-sent": 3,
            "client-header-bytes-received": words("GET", "/over", "Host", origin.host)
            + sum(len(line) - 2 for line in HANDSHAKE),
            "client-header-bytes-sent": ACCEPTED,
            "client-content-bytes-received": 3,
            "client-messages-received": 1,
            "client-content-bytes-sent": len("back") + 21,
            "client-messages-sent": 2,
            # Pushpin's are those of an imagined WebSocket; these, of the requests that are made.
            "server-header-bytes-sent": asked_bytes(origin),
            "server-content-bytes-sent": len(event("OPEN")) + len(event("TEXT", "abc")),
            "server-header-bytes-received": 2 * kind
            + words("Sec-WebSocket-Extensions", "grip")
            + sum(words("Content-Length", str(length)) for length in lengths),
            "server-content-bytes-received": sum(lengths),
            "server-messages-sent": 1,
            "server-messages-received": 2,
        },
    )


def test_215_a_connection_and_its_requests_name_their_route(
    told: Told, says: Callable[..., Client], origin: Origin
) -> None:
    origin.answers(answer(body=b"x"))
    client = says("/conn")
    client.reply().read_to_end()
    conn = told.wait("conn", {"route": "conn"})
    assert told.wait("activity", {"route": "conn"})["count"] == 1
    client.send(request(origin.host, "/elsewhere"))  # a route without an id
    client.reply().read_to_end()
    until(lambda: [c for c in told.all("conn", id=conn["id"]) if "route" not in c], "no route")
    client.close()
    gone = told.wait("conn", {"id": conn["id"], "unavailable": True})
    assert "route" not in gone


def test_217_only_routes_that_have_an_id_are_named(
    told: Told, says: Callable[..., Client], origin: Origin
) -> None:
    origin.answers(answer(body=b"x"))
    says("/elsewhere").reply().read_to_end()
    until(
        lambda: any(
            r["server-content-bytes-received"] for r in told.all("report") if "route" not in r
        ),
        "a report without a route",
    )
    assert {r["route"] for r in told.all("report") if "route" in r} <= set(ROUTES)
