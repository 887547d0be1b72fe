"""Streams: an answer without an end, to which publishes are appended (GRIP.md 1.7, 2.6.2)."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable

import pytest

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Origin, Request, Wire, says
from support.spelling import answer, request
from support.waiting import until

Ask = Callable[..., Client]
Hold = Callable[..., Client]
Stream = Callable[..., Reply]

CLOSE = {"http-stream": {"action": "close"}}


def test_59_status_headers_and_initial_body_arrive_at_once(
    ask: Ask, origin: Origin, channel: str
) -> None:
    headers = ("Grip-Hold: stream", f"Grip-Channel: {channel}", "Content-Type: text/event-stream")
    origin.answers(answer(*headers, "Grip-Status: 201", body=b"event: open\n\n"))
    reply = ask().reply()
    reply.expect(b"event: open\n\n")
    assert (reply.status, reply.reason) == (201, "Created")
    assert reply.one("Content-Type") == "text/event-stream"
    assert not [name for name, _ in reply.headers if name.lower().startswith("grip-")]


def test_59_on_http_1_1_it_is_chunked_and_has_no_content_length(
    stream: Stream, channel: str
) -> None:
    reply = stream(channel, body=b"open")
    assert reply.one("Transfer-Encoding") == "chunked"
    assert reply.all("Content-Length") == []


def test_59_a_stream_without_initial_body_sends_its_head_at_once(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    assert reply.status == 200
    fanway.publish_stream(channel, "first")
    reply.expect(b"first")


def test_59_on_http_1_0_it_ends_with_the_connection(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    client = ask(version="1.0")
    reply = client.reply()
    reply.expect(b"open")
    assert reply.all("Transfer-Encoding") == reply.all("Content-Length") == []
    fanway.publish_stream(channel, " more")
    fanway.publish(channel, CLOSE)
    assert reply.read_to_end() == b"open more"
    assert client.ended


def test_60_content_is_appended_verbatim(stream: Stream, fanway: Fanway, channel: str) -> None:
    reply = stream(channel)
    for content in ("data: a\n\n", "\u00e9\u4e16\r\n\r\n0\r\n\r\n", " ", "x" * 70_000):
        fanway.publish_stream(channel, content)
        reply.expect(content.encode())


def test_60_binary_content_is_decoded_and_wins(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    every_byte = bytes(range(256))
    encoded = base64.b64encode(every_byte).decode()
    fanway.publish(channel, {"http-stream": {"content": "no", "content-bin": encoded}})
    reply.expect(every_byte)


def test_60_items_without_content_leave_the_stream_open(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel)
    fanway.publish_stream(channel, "")
    fanway.publish_stream(channel, "after nothing")
    reply.expect(b"after nothing")


def test_60_one_item_of_both_formats_reaches_each_kind_once(
    stream: Stream, poll: Hold, fanway: Fanway, channel: str
) -> None:
    reply, client = stream(channel), poll(channel)
    formats = {"http-stream": {"content": "streamed"}, "http-response": {"body": "polled"}}
    fanway.publish(channel, formats)
    fanway.publish_stream(channel, "-")
    reply.expect(b"streamed-")
    assert client.response().body == b"polled"


def test_60_a_stream_of_two_channels_receives_both_in_order(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(f"{channel}-a, {channel}-b")
    fanway.publish_items(
        *(
            {"channel": f"{channel}-{'ab'[n % 2]}", "formats": {"http-stream": {"content": str(n)}}}
            for n in range(10)
        )
    )
    reply.expect(b"0123456789")


def test_60_a_channel_that_is_named_twice_delivers_once(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(f"{channel}, {channel}")
    fanway.publish_stream(channel, "once")
    fanway.publish_stream(channel, "-")
    reply.expect(b"once-")


def test_61_close_ends_the_response_cleanly_after_earlier_items(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    reply = stream(channel, body=b"open ")
    fanway.publish_items(
        {"channel": channel, "formats": {"http-stream": {"content": "last"}}},
        {"channel": channel, "formats": CLOSE},
        {"channel": channel, "formats": {"http-stream": {"content": "too late"}}},
    )
    reply.expect(b"last")
    reply.expect_end()


@pytest.mark.parametrize("action", ["hint", "refresh"])
def test_61_hint_and_refresh_do_nothing_to_a_stream_without_links(
    stream: Stream, fanway: Fanway, channel: str, action: str
) -> None:
    reply = stream(channel)
    fanway.publish(channel, {"http-stream": {"action": action}})
    fanway.publish_stream(channel, "still here")
    reply.expect(b"still here")


# -- whoever gets no hold leaves no channel behind ------------------------------------------------


def wait_until_nothing_is_held(fanway: Fanway) -> None:
    until(lambda: fanway.metric("fanway_channels") == 0, "no channel is held")


def test_57_a_client_that_leaves_ends_its_stream(
    stream: Stream, fanway: Fanway, channel: str
) -> None:
    wait_until_nothing_is_held(fanway)
    reply = stream(channel)
    until(lambda: fanway.metric("fanway_channels") == 1, "one channel is held")
    reply.client.close()
    wait_until_nothing_is_held(fanway)


def test_57_the_stream_of_a_head_request_holds_nothing(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str
) -> None:
    said = f"HTTP/1.1 200 OK\r\nGrip-Hold: stream\r\nGrip-Channel: {channel}\r\n\r\n"
    origin.answers(says(said.encode()))
    assert ask(method="HEAD").response("HEAD").status == 200
    wait_until_nothing_is_held(fanway)


@pytest.mark.parametrize("mode", ["response", "stream"])
def test_57_98_a_client_that_says_nothing_more_is_not_held_and_its_origin_is_told(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Callable[[], None], mode: str
) -> None:
    has_finished = threading.Event()
    grip = (f"Grip-Hold: {mode}", f"Grip-Channel: {channel}", "Grip-Link: </bye>; rel=gone")

    def late(wire: Wire, _: Request) -> None:
        assert has_finished.wait(10)
        settle()
        wire.send(answer(*grip))

    origin.answers(late, answer())
    client = ask()
    client.finish_sending()
    has_finished.set()
    assert origin.wait_for_requests(2).target == "/bye"
    wait_until_nothing_is_held(fanway)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (":\\; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        ("\\x4; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        ("; timeout=20", "Grip-Keep-Alive cannot be empty"),
        ("x; timeout=abc", "failed to parse Grip-Keep-Alive timeout value"),
        ("x; timeout=-1", "Grip-Keep-Alive timeout has invalid value"),
        ("x; mode=often", "no such Grip-Keep-Alive mode 'often'"),
        ("x; format=rot13", "no such Grip-Keep-Alive format 'rot13'"),
    ],
)
def test_63_67_a_keep_alive_that_cannot_be_read_gives_502(
    ask: Ask, origin: Origin, value: str, why: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Keep-Alive: {value}"))
    assert ask().response().status == 502
    body = ask("/debug/").response().body.decode()
    assert body == f"Failed to parse accept instructions: {why}\n"


def test_69_a_prev_id_without_next_link_ends_the_stream_after_its_initial_body(
    ask: Ask, origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}; prev-id=1")
    origin.answers(answer(*grip, body=b"initial"))
    assert ask().response().body == b"initial"
    expected = f"initial\n\nchannel '{channel}' specifies prev-id, but no next link found\n"
    assert ask("/debug/").response().body.decode() == expected


def test_71_a_blocked_client_loses_items_beyond_a_hundred_and_its_stream_goes_on(
    connect: Ask, origin: Origin, fanway: Fanway, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    client = connect(receive_buffer_bytes=4096).send(request(origin.host))
    reply = client.reply()
    reply.expect(b"open")
    # Far more than the buffers between Fanway and this client and a queue of a hundred can take.
    size_bytes, count, after = 64_000, 300, 99_999

    def publish(number: int) -> None:
        fanway.publish_stream(channel, f"{number:05d}".ljust(size_bytes, "."))

    for number in range(count):
        publish(number)
    numbers = [int(reply.take(size_bytes)[:5]) for _ in range(100)]
    publish(after)
    while numbers[-1] != after:
        numbers.append(int(reply.take(size_bytes)[:5]))
    assert len(numbers) < count
    assert numbers == [*range(len(numbers) - 1), after]
