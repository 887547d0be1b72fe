"""What takes seconds by its nature, all at once: timeouts, keep-alives, links (GRIP.md 1.6 to 1.9).

The conversations begin together at the start of the session, on a Fanway of their own, and are
judged at its end: the suite does not get longer by the sum of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from support.client import Client, Silence
from support.fanway import Fanway
from support.origin import Answer, Hub, Origin, Request
from support.spelling import answer, instruct, request

MINUTE_SECONDS = 55.0
WATCH_SECONDS = 6.5  # how long a stream is watched; three intervals of two seconds fit
LATE_SECONDS = 8.0  # ... that gets what has waited for the item before it
RETRIES_SECONDS = 45.0  # ... whose page is asked for 6 times: 31 s, and up to a second each
PUBLISH_EVERY_SECONDS = 0.4


@dataclass
class Record:
    """What one client saw, and when, in seconds since its hold began."""

    began: float = 0.0  # on the clock
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    head_seconds: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end_seconds: float | None = None  # of a stream: when it was over
    asked: list[tuple[float, Request]] = field(default_factory=list)  # its origin, once more

    def times(self, piece: bytes) -> list[float]:
        """When a piece came."""
        return [seconds for seconds, content in self.pieces if content == piece]


class Minute:
    """All slow conversations at once: name -> what its client saw."""

    def __init__(self, fanway: Fanway, hub: Hub) -> None:
        self.fanway = fanway
        self._hub = hub
        self._origins: dict[str, Origin] = {}
        self._records: dict[str, Record] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._publishing = threading.Event()

    def begin(self) -> None:
        """Begin all conversations."""
        polls = {"timeout-1": "1", "timeout-5": "5", "timeout-6": "6"}
        for name, seconds in polls.items():
            grip = ("Grip-Hold: response", f"Grip-Timeout: {seconds}", "Grip-Status: 408 Later")
            more = (f"Grip-Channel: {name}", "Grip-Keep-Alive: k; timeout=1")
            self.poll(name, answer(*grip, *more, "X-Kept: yes", "Grip-Foo: x", body=b"timed out"))
        self.poll("timeout-default", answer("Grip-Hold: response", body=b"timed out"))
        gone = "Grip-Link: </bye>; rel=gone"
        self.poll("timeout-json", instruct({"hold": {"channels": [], "timeout": 5}}, gone))
        self.poll("timeout-both", instruct({"hold": {"channels": []}}, "Grip-Timeout: 6"))
        self.stream("raw", "Grip-Keep-Alive: \\n hb; timeout=2")
        self.stream("cstring", "Grip-Keep-Alive: :\\x41\\r\\n\\\\; format=cstring; timeout=2")
        self.stream("base64", "Grip-Keep-Alive: AP8=; format=base64; timeout=2")
        self.stream("zero", "Grip-Keep-Alive: z; timeout=0")
        self.stream("default", "Grip-Keep-Alive: k", watch_seconds=MINUTE_SECONDS + 1)
        self.stream("grip-timeout", "Grip-Timeout: 5")
        self.stream("idle", "Grip-Keep-Alive: k; timeout=2; mode=idle")
        self.stream("unspecified", "Grip-Keep-Alive: k; timeout=2")
        self.stream("interval", "Grip-Keep-Alive: k; timeout=2; mode=interval")
        keep_alive = {"content": "k", "timeout": 2}
        hold = {"mode": "stream", "channels": [{"name": "json"}], "keep-alive": keep_alive}
        self.stream("json", said=instruct({"hold": hold, "response": {"body": "."}}))
        self.follow_links()
        every = ("links-all", "links-all-other", "links-some")
        self.keep_publishing("idle", "unspecified", "interval", "json", *every)

    def follow_links(self) -> None:
        """Begin the streams that have a next link."""
        page = answer(body=b"page")
        link = "Grip-Link: </p>; rel=next; timeout=2"
        self.stream("links", link, then=[page])
        for name in ("links-all", "links-some"):
            self.stream(name, link, f"Grip-Channel: {name}-other", then=[page])
        hold = ("Grip-Hold: stream", "Grip-Keep-Alive: b; timeout=1")
        alive = (link, "Grip-Keep-Alive: a; timeout=1")
        self.stream("links-alive", *alive, then=[answer(*hold, body=b"page")])
        fails = [answer(status="500 Oh")]
        self.stream("links-fail", link, then=fails, watch_seconds=RETRIES_SECONDS)
        grip = ("Grip-Hold: stream", "Grip-Link: </p>; rel=next")
        self.stream(
            "gap",
            said=answer(*grip, "Grip-Channel: gap; prev-id=17", body=b"."),
            then=[answer(*grip, "Grip-Channel: gap; prev-id=20", body=b"19-20")],
            publishes=[_item("gap", "18", "17"), _item("gap", "20", "19")],
            watch_seconds=LATE_SECONDS,
        )
        items = [_item("late", "a", None), _item("late", "c", "b")]
        self.stream("late", publishes=items, watch_seconds=LATE_SECONDS)

    def record(self, name: str) -> Record:
        """What a client saw, once it has seen all."""
        self._threads[name].join()
        record, again = self._records[name], self._origins[name].requests[1:]
        record.asked = [(r.arrived_seconds - record.began, r) for r in again]
        return record

    def poll(self, name: str, said: bytes) -> None:
        """Hold a client until its time has passed."""
        self._begin(name, said, self._watch_poll)

    def stream(
        self,
        name: str,
        *headers: str,
        said: bytes | None = None,
        then: Sequence[Answer] = (),
        publishes: Sequence[dict[str, Any]] = (),
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        """Watch a stream on the channel of its name. `publishes` are made when it has begun."""
        grip = ("Grip-Hold: stream", f"Grip-Channel: {name}")
        said = said or answer(*grip, *headers, body=b".")
        self._begin(name, said, partial(self._watch_stream, watch_seconds, publishes), *then)

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

    def _begin(self, name: str, said: bytes, watch: Callable[[str], None], *then: Answer) -> None:
        self._origins[name] = self._hub.origin(f"{name}.test")
        self._origins[name].answers(said, *then)
        self._records[name] = Record()
        thread = threading.Thread(target=watch, args=(name,), daemon=True)
        self._threads[name] = thread
        thread.start()

    def _watch_poll(self, name: str) -> None:
        record, client = self._records[name], Client(self.fanway.address)
        began = record.began = time.monotonic()
        reply = client.send(request(f"{name}.test")).reply(seconds=MINUTE_SECONDS + 10)
        record.head_seconds = reply.arrived_seconds - began
        record.body = reply.read_to_end()
        record.status, record.reason, record.headers = reply.status, reply.reason, reply.headers
        client.close()

    def _watch_stream(
        self, watch_seconds: float, publishes: Sequence[dict[str, Any]], name: str
    ) -> None:
        record, client = self._records[name], Client(self.fanway.address)
        reply = client.send(request(f"{name}.test")).reply()
        reply.take(1)
        began = record.began = time.monotonic()
        self.fanway.publish_items(*publishes)
        while (left := began + watch_seconds - time.monotonic()) > 0:
            try:
                piece = reply.piece(seconds=left)
            except Silence:
                break
            if not piece:
                record.end_seconds = time.monotonic() - began
                break
            record.pieces.append((time.monotonic() - began, piece))
        client.close()


def _item(channel: str, name: str, before: str | None) -> dict[str, Any]:
    """An item whose content is its id."""
    formats = {"http-stream": {"content": name}}
    named = {} if before is None else {"prev-id": before}
    return {"channel": channel, "id": name, **named, "formats": formats}
