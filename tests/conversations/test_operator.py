"""What an operator sees: health, metrics, logs; and the command that publishes (GRIP.md 9.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Client, Reply
from support.fanway import Fanway, run_command
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.waiting import until

Stream = Callable[..., Reply]


def test_health_is_json(fanway: Fanway) -> None:
    response = fanway.control("GET", "/healthz")
    assert response.status == 200
    assert json.loads(response.body)["status"] == "ok"


@pytest.mark.parametrize(
    "name",
    [
        "fanway_connections",
        "fanway_holds",
        "fanway_channels",
        "fanway_items_total",
        "fanway_deliveries_total",
        "fanway_dropped_total",
        "fanway_bytes_total",
        "fanway_origin_calls_total",
        "fanway_origin_call_seconds_bucket",
    ],
)
def test_metrics_have(fanway: Fanway, name: str) -> None:
    assert name in fanway.control("GET", "/metrics").body


def test_each_metric_is_in_the_guide(fanway: Fanway) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    listed = re.findall(r"^# TYPE (fanway_\w+) ", fanway.control("GET", "/metrics").body, re.M)
    assert "fanway_deliveries_total" in listed
    assert [name for name in listed if f"| `{name}` |" not in guide] == []


def count_what_went_before(fanway: Fanway, settle: Callable[[], None]) -> None:
    """Let a worker report its counters twice: the first report may be older than this call."""
    for _ in range(2):
        seen = fanway.metric("fanway_requests_total")
        settle()
        until(lambda seen=seen: fanway.metric("fanway_requests_total") > seen, "a new report")


def test_a_publish_and_its_deliveries_are_counted(
    stream: Stream,
    poll: Callable[..., Client],
    settle: Callable[[], None],
    fanway: Fanway,
    channel: str,
) -> None:
    replies, clients = [stream(channel) for _ in range(3)], [poll(channel) for _ in range(2)]
    names = ("http-stream", "http-response")
    count_what_went_before(fanway, settle)
    before = [fanway.metric("fanway_deliveries_total", transport=name) for name in names]
    items = fanway.metric("fanway_items_total")
    fanway.publish(channel, {"http-stream": {"content": "x"}, "http-response": {"body": "x"}})
    for reply in replies:
        reply.expect(b"x")
    for client in clients:
        assert client.response().body == b"x"

    def counted() -> list[float]:
        after = [fanway.metric("fanway_deliveries_total", transport=name) for name in names]
        return [now - then for now, then in zip(after, before, strict=True)]

    until(lambda: counted() == [3, 2], "three and two deliveries")
    assert fanway.metric("fanway_items_total") == items + 1


def test_holds_and_channels_are_counted(stream: Stream, fanway: Fanway, channel: str) -> None:
    until(lambda: fanway.metric("fanway_connections") == 0, "nobody is there")
    replies = [stream(f"{channel}-{n}") for n in range(3)]
    until(lambda: fanway.metric("fanway_holds", mode="stream") == 3, "three streams")
    assert fanway.metric("fanway_connections") == 3
    for reply in replies:
        reply.client.close()
    until(lambda: fanway.metric("fanway_holds", mode="stream") == 0, "no streams")


def test_the_log_is_quiet_about_requests_unless_asked(
    ask: Callable[..., Client], fanway: Fanway, hub: Hub, origin: Origin
) -> None:
    lines = len(fanway.lines)
    ask("/a-path").response()
    assert not any("/a-path" in line for line in fanway.lines[lines:])
    with Fanway("--log-level", "debug", routes=[f"* {hub.target}"]) as loud:
        client = Client(loud.address)
        client.send(request(origin.host, "/a-path")).response()
        client.close()
        until(lambda: any("/a-path" in line for line in loud.lines), "a line of the request")
        client = Client(loud.address)
        client.send(b"GET / HTTP/1.1\r\n\r\n").response()
        client.close()
        line = loud.wait_for_log("refused")
        assert (line["status"], line["reason"]) == (400, "Failed to parse request: no Host")


def test_a_stranger_cannot_write_a_line_of_the_log(hub: Hub, origin: Origin) -> None:
    forged = "x event=forged\t\x85"
    origin.answers(answer("Grip-Hold: stream", f"Grip-Keep-Alive: x; mode={forged}x"))
    with Fanway("--log-format", "logfmt", routes=[f"* {hub.target}"]) as fanway:
        client = Client(fanway.address)
        client.send(request(origin.host, '/"event=forged')).response()
        client.close()
        line = fanway.wait_for_log("bad_instruct")
        assert "event=forged" in line["path"]
        assert fanway.events("forged") == []
        assert all(text.isprintable() for text in fanway.lines)


# -- fanway publish --------------------------------------------------------------------------------


def publish(fanway: Fanway, *arguments: str) -> None:
    """Run the command, which must succeed."""
    ended = run_command("publish", "--spec", fanway.publish_url, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Published\n", "")


def test_221_publish_reaches_streams_and_polls_with_a_line_end(
    stream: Stream, poll: Callable[..., Client], fanway: Fanway, channel: str
) -> None:
    reply, client = stream(channel), poll(channel)
    publish(fanway, channel, "hello", "--code", "203", "-H", "X-One: 1")
    reply.expect(b"hello\n")
    answered = client.response()
    assert (answered.status, answered.body, answered.one("X-One")) == (203, b"hello\n", "1")


def test_221_a_file_is_published_as_it_is(
    stream: Stream, fanway: Fanway, channel: str, tmp_path: Path
) -> None:
    file = tmp_path / "content"
    file.write_bytes(bytes(range(256)))
    reply = stream(channel)
    publish(fanway, channel, f"@{file}")
    reply.expect(bytes(range(256)))


def test_221_no_eol_ids_and_close(stream: Stream, fanway: Fanway, channel: str) -> None:
    reply = stream(channel)
    publish(fanway, channel, "a", "--no-eol", "--id", "1")
    publish(fanway, channel, "not again", "--no-eol", "--id", "1")
    publish(fanway, channel, "b", "--no-eol", "--id", "2", "--prev-id", "1")
    publish(fanway, channel, "--close")
    reply.expect(b"ab")
    reply.expect_end()


def test_221_a_hint_makes_polls_ask_again(
    hold: Callable[..., Client], fanway: Fanway, channel: str
) -> None:
    client = hold(answer("Grip-Hold: response", f"Grip-Channel: {channel}"), answer(body=b"again"))
    publish(fanway, channel, "--hint")
    assert client.response().body == b"again"


def test_221_a_patch_changes_the_body_that_is_held(
    poll: Callable[..., Client], fanway: Fanway, channel: str
) -> None:
    client = poll(channel, body=b'{"a": 1}\n')
    publish(fanway, channel, '[{"op": "replace", "path": "/a", "value": 2}]', "--patch")
    assert json.loads(client.response().body) == {"a": 2}


def test_221_sender_and_meta_are_for_filters(
    ask: Callable[..., Client], origin: Origin, fanway: Fanway, channel: str
) -> None:
    filters = "filter=skip-self; filter=skip-users"
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}; {filters}", "Grip-Set-Meta: user=dana")
    origin.answers(answer(*grip, body=b"."))
    reply = ask().reply()
    reply.expect(b".")
    publish(fanway, channel, "not this", "--sender", "dana")
    publish(fanway, channel, "nor this", "-M", "skip_users=eve,dana")
    publish(fanway, channel, "this", "--sender", "eve", "-M", "skip_users=eve")
    reply.expect(b"this\n")


def test_221_credentials_want_https() -> None:
    ended = run_command("publish", "--spec", "http://127.0.0.1:1", "-u", "a:b", "c", "x")
    assert (ended.returncode, ended.stderr) == (1, "Error: Authentication requires https\n")


def test_221_a_failure_says_error_and_exits_1() -> None:
    ended = run_command("publish", "--spec", "http://127.0.0.1:1", "channel", "content")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ")
    assert len(ended.stderr.splitlines()) == 1


def test_222_grip_url_says_where(stream: Stream, fanway: Fanway, channel: str) -> None:
    reply = stream(channel)
    ended = run_command("publish", channel, "here", GRIP_URL=fanway.publish_url)
    assert ended.returncode == 0
    reply.expect(b"here\n")
