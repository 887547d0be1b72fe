"""What takes seconds by its nature: timeouts of holds, keep-alives (GRIP.md 1.6, 1.7).

All of these conversations begin together, at the start of the session, on a Fanway of their own,
and are judged at its end: the suite does not get longer by the sum of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support.client import Client, Silence
from support.fanway import Fanway
from support.origin import Hub
from support.spelling import answer, instruct, request

MINUTE_SECONDS = 55.0
WATCH_SECONDS = 6.5  # how long a stream is watched; three intervals of two seconds fit
EARLY_SECONDS = 1.0  # a keep-alive may come this much before its time, GRIP.md 1.7
SLACK_SECONDS = 0.7  # of a busy machine
PUBLISH_EVERY_SECONDS = 0.4


@dataclass
class Record:
    """What one client saw, and when, in seconds since its hold began."""

    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    head_seconds: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    def times(self, piece: bytes) -> list[float]:
        """When a piece came."""
        return [seconds for seconds, content in self.pieces if content == piece]


class Minute:
    """All slow conversations at once: name -> what its client saw."""

    def __init__(self, fanway: Fanway, hub: Hub) -> None:
        self.fanway = fanway
        self._hub = hub
        self._records: dict[str, Record] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._publishing = threading.Event()

    def record(self, name: str) -> Record:
        """What a client saw, once it has seen all."""
        self._threads[name].join()
        return self._records[name]

    def poll(self, name: str, said: bytes) -> None:
        """Hold a client until its time has passed."""
        self._begin(name, said, self._watch_poll)

    def stream(self, name: str, *headers: str, said: bytes | None = None) -> None:
        """Watch a stream on the channel of its name."""
        grip = ("Grip-Hold: stream", f"Grip-Channel: {name}")
        self._begin(name, said or answer(*grip, *headers, body=b"."), self._watch_stream)

    def keep_publishing(self, *channels: str) -> None:
        """Publish `p` to channels, more often than their keep-alives come."""

        def publish() -> None:
            items = [{"channel": c, "formats": {"http-stream": {"content": "p"}}} for c in channels]
            while not self._publishing.wait(PUBLISH_EVERY_SECONDS):
                self.fanway.publish_items(*items)

        self._threads["publisher"] = threading.Thread(target=publish, daemon=True)
        self._threads["publisher"].start()

    def end(self) -> None:
        """Wait for everybody."""
        for name, thread in self._threads.items():
            if name != "publisher":
                thread.join()
        self._publishing.set()
        self._threads["publisher"].join()

    def _begin(self, name: str, said: bytes, watch: object) -> None:
        self._hub.origin(f"{name}.test").answers(said)
        self._records[name] = Record()
        thread = threading.Thread(target=watch, args=(name,), daemon=True)  # type: ignore[arg-type]
        self._threads[name] = thread
        thread.start()

    def _watch_poll(self, name: str) -> None:
        record, client = self._records[name], Client(self.fanway.address)
        began = time.monotonic()
        reply = client.send(request(f"{name}.test")).reply(seconds=MINUTE_SECONDS + 10)
        record.head_seconds = reply.arrived_seconds - began
        record.body = reply.read_to_end()
        record.status, record.reason, record.headers = reply.status, reply.reason, reply.headers
        client.close()

    def _watch_stream(self, name: str) -> None:
        record, client = self._records[name], Client(self.fanway.address)
        reply = client.send(request(f"{name}.test")).reply()
        reply.take(1)
        began = time.monotonic()
        while (left := began + WATCH_SECONDS - time.monotonic()) > 0:
            try:
                piece = reply.piece(seconds=left)
            except Silence:
                break
            record.pieces.append((time.monotonic() - began, piece))
        client.close()


@pytest.fixture(scope="session")
def minute(hub: Hub) -> Iterator[Minute]:
    with Fanway(routes=[f"* {hub.target}"]) as fanway:
        minute = Minute(fanway, hub)
        polls = {"timeout-1": "1", "timeout-5": "5", "timeout-6": "6"}
        for name, seconds in polls.items():
            grip = ("Grip-Hold: response", f"Grip-Timeout: {seconds}", "Grip-Status: 408 Later")
            minute.poll(name, answer(*grip, "X-Kept: yes", "Grip-Foo: x", body=b"timed out"))
        minute.poll("timeout-default", answer("Grip-Hold: response", body=b"timed out"))
        minute.poll("timeout-json", instruct({"hold": {"channels": [], "timeout": 5}}))
        minute.stream("raw", "Grip-Keep-Alive: \\n hb; timeout=2")
        minute.stream("cstring", "Grip-Keep-Alive: :\\x41\\r\\n\\\\; format=cstring; timeout=2")
        minute.stream("base64", "Grip-Keep-Alive: AP8=; format=base64; timeout=2")
        minute.stream("zero", "Grip-Keep-Alive: z; timeout=0")
        minute.stream("quiet", "Grip-Keep-Alive: never")
        minute.stream("grip-timeout", "Grip-Timeout: 5")
        minute.stream("idle", "Grip-Keep-Alive: k; timeout=2; mode=idle")
        minute.stream("unspecified", "Grip-Keep-Alive: k; timeout=2")
        minute.stream("interval", "Grip-Keep-Alive: k; timeout=2; mode=interval")
        keep_alive = {"content": "k", "timeout": 2}
        hold = {"mode": "stream", "channels": [{"name": "json"}], "keep-alive": keep_alive}
        minute.stream("json", said=instruct({"hold": hold, "response": {"body": "."}}))
        minute.keep_publishing("idle", "unspecified", "interval", "json")
        yield minute
        minute.end()


def assert_about(seconds: float, expected: float, early: float = 0.0) -> None:
    """At its time; earlier by no more than allowed, later by no more than a busy machine is."""
    assert expected - early - 0.05 <= seconds <= expected + SLACK_SECONDS


@pytest.mark.parametrize(
    ("name", "seconds"), [("timeout-1", 5), ("timeout-5", 5), ("timeout-6", 6), ("timeout-json", 5)]
)
def test_21_a_timeout_below_5_behaves_as_5_seconds_and_others_are_exact(
    minute: Minute, name: str, seconds: int
) -> None:
    assert_about(minute.record(name).head_seconds, seconds)


def test_22_a_missing_timeout_behaves_as_55_seconds(minute: Minute) -> None:
    assert_about(minute.record("timeout-default").head_seconds, MINUTE_SECONDS)


def test_45_the_timeout_gives_status_surviving_headers_and_body_of_the_origin(
    minute: Minute,
) -> None:
    record = minute.record("timeout-5")
    assert (record.status, record.reason, record.body) == (408, "Later", b"timed out")
    assert ("X-Kept", "yes") in record.headers
    assert ("Content-Length", "9") in record.headers
    assert not [name for name, _ in record.headers if name.lower().startswith("grip-")]


def test_45_a_json_hold_without_response_gives_an_empty_200(minute: Minute) -> None:
    record = minute.record("timeout-json")
    assert (record.status, record.reason, record.body) == (200, "OK", b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [("raw", b"\\n hb"), ("cstring", b":A\r\n\\"), ("base64", b"\x00\xff")],
)
def test_62_keep_alives_of_every_format_are_the_right_bytes(
    minute: Minute, name: str, content: bytes
) -> None:
    pieces = minute.record(name).pieces
    assert [piece for _, piece in pieces] == [content] * len(pieces)
    assert len(pieces) >= 2


@pytest.mark.parametrize("name", ["raw", "interval", "json"])
def test_66_keep_alives_come_at_their_time_or_up_to_a_second_early(
    minute: Minute, name: str
) -> None:
    times = minute.record(name).times(b"\\n hb" if name == "raw" else b"k")
    assert len(times) >= 2
    for before, after in zip([0.0, *times], times, strict=False):
        assert_about(after - before, 2, early=EARLY_SECONDS)


@pytest.mark.parametrize("name", ["idle", "unspecified"])
def test_64_publishes_put_an_idle_keep_alive_off(minute: Minute, name: str) -> None:
    record = minute.record(name)
    assert len(record.times(b"p")) >= 5
    assert record.times(b"k") == []


def test_65_publishes_do_not_put_an_interval_keep_alive_off(minute: Minute) -> None:
    record = minute.record("interval")
    assert len(record.times(b"p")) >= 5
    assert len(record.times(b"k")) >= 2


def test_66_a_keep_alive_timeout_of_0_is_one_second(minute: Minute) -> None:
    times = minute.record("zero").times(b"z")
    assert len(times) >= 4
    for before, after in zip(times, times[1:], strict=False):
        assert after - before <= 1 + SLACK_SECONDS


def test_66_the_default_keep_alive_is_slow(minute: Minute) -> None:
    assert minute.record("quiet").pieces == []


def test_68_a_json_keep_alive_keeps_firing_despite_publishes(minute: Minute) -> None:
    record = minute.record("json")
    assert len(record.times(b"p")) >= 5
    assert len(record.times(b"k")) >= 2


def test_70_grip_timeout_has_no_effect_on_streams(minute: Minute) -> None:
    assert minute.record("grip-timeout").pieces == []
