"""The control API over HTTP: publish, recover, metrics, health (GRIP.md 2.1, 2.2).

Decides which request is answered how, and words the answers. Bytes are `api_server`'s business;
what an item means is `grip.item`'s, where it goes `publish`'s. It asks nobody who they are, so it
belongs on a private address.

One deviation from GRIP.md 2.1, where a connection carries one request: publishers may keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson
from aiohttp.http import RawRequestMessage

from control import admin
from control.api_server import TEXT, Answer, text
from control.errors import ItemError
from control.grip.item import items_from_json
from control.link.server import LinkServer
from control.publish import Publisher
from control.stats import Stats

LENGTH_NOT_NEEDED = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

JSON = "application/json"
ACCEPTED = {
    "text/plain": TEXT,
    "text/*": TEXT,
    "*/*": TEXT,
    "*": TEXT,
    "application/json": JSON,
    "application/*": JSON,
}

_Answers = Callable[[RawRequestMessage, bytes], Answer]


class Ingest:
    """What the control API answers."""

    def __init__(
        self,
        publisher: Publisher,
        links: LinkServer,
        stats: Stats,
        *,
        head_max_bytes: int,
        body_max_bytes: int,
    ) -> None:
        self._publisher = publisher
        self._links = links
        self._stats = stats
        self._head_max_bytes = head_max_bytes
        self._body_max_bytes = body_max_bytes
        self._answers: dict[str, tuple[str, _Answers]] = {
            "/publish": ("POST", self._publish),
            "/recover": ("POST", self._recover),
            "/metrics": ("GET", self._metrics),
            "/healthz": ("GET", self._health),
        }

    # -- requests

    def refuse(self, head: RawRequestMessage) -> Answer | None:
        """Check what can be checked before the target and the body are looked at."""
        head_bytes = sum(len(name) + len(value) + 4 for name, value in head.raw_headers)
        if head_bytes > self._head_max_bytes:
            return text(400, "Request header too large.\n")
        length = head.headers.get("Content-Length")
        if length is None and head.method not in LENGTH_NOT_NEEDED:
            return text(411, "Request requires Content-Length.\n")
        if int(length or 0) > self._body_max_bytes:
            return text(400, "Request body too large.\n")
        if head.path.startswith("/metrics"):
            return None  # scrapers name formats of their own, and have one that always fits
        if _negotiate(head.headers.getall("Accept", ())) is None:
            formats = f"{TEXT} and {JSON}"
            return text(406, f"Not Acceptable. Supported formats are {formats}.\n")
        return None

    def answer(self, head: RawRequestMessage, body: bytes) -> Answer:
        """Answer one request of the control API."""
        target = head.path
        path = target.removesuffix("/") if len(target) > 1 else target
        if path == "/":
            return text(200, "Fanway API\n")
        if path not in self._answers:
            return text(404, "Not Found\n")
        method, answer = self._answers[path]
        if head.method != method:
            refusal = text(405, f"Method not allowed: {head.method}.\n")
            return replace(refusal, allow=method)
        return answer(head, body)

    def has_to_wait(self, head: RawRequestMessage) -> bool:
        """Whether it is a publish, and a link is congested."""
        return self._links.is_congested and head.path.startswith("/publish")

    async def uncongested(self) -> None:
        """Wait for the links."""
        await self._links.uncongested()

    # -- the four of them

    def _publish(self, head: RawRequestMessage, body: bytes) -> Answer:
        try:
            items = items_from_json(body)
        except ItemError as error:
            return text(400, f"{error}\n")
        self._publisher.publish(items)
        return _done(head, "Published")

    def _recover(self, head: RawRequestMessage, _body: bytes) -> Answer:
        self._publisher.recover()
        return _done(head, "Updated")

    def _metrics(self, head: RawRequestMessage, _body: bytes) -> Answer:
        accept = ",".join(head.headers.getall("Accept", ()))
        return Answer(200, *admin.metrics(self._stats.registry, accept))

    def _health(self, _head: RawRequestMessage, _body: bytes) -> Answer:
        links = self._links
        status, body = admin.health(links.links, links.silent_workers, links.worker_count)
        return Answer(status, JSON, body)


def _negotiate(accept: Sequence[str]) -> str | None:
    """Content type of the answer; None: nothing that the client takes (GRIP.md 2.1)."""
    if not accept:
        return TEXT
    chosen = None
    for entry in ",".join(accept).split(","):
        chosen = ACCEPTED.get(entry.partition(";")[0].strip().lower(), chosen)
    return chosen


def _done(head: RawRequestMessage, word: str) -> Answer:
    if _negotiate(head.headers.getall("Accept", ())) == JSON:
        return Answer(200, JSON, orjson.dumps({"message": word}) + b"\n")
    return text(200, f"{word}\n")
