"""SSE subscribers and a publisher, for Locust: how long from a publish to each subscriber?

A subscriber holds one SSE connection and reports each delivery as a request of type SSE, whose
response time is the time since the item was published. Both ends read the wall clock: where they
run on several machines, these must agree on the time. Events that the publisher here did not make
are ignored, so that it can run beside real traffic. README.md says how to run it.
"""

from __future__ import annotations

import http.client
import json
import time
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from locust import HttpUser, User, constant, constant_throughput, events, task

CONNECT_SECONDS = 10.0
QUIET_SECONDS = 120.0  # a stream that is silent for longer, without any keep-alive, is dead
LINE_MAX_BYTES = 1 << 20
PUBLISHER = "fanway-locust"  # marks the items of this publisher


@events.init_command_line_parser.add_listener
def _(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Fanway")
    group.add_argument("--sse-path", default="/sse", help="what subscribers ask for [/sse]")
    group.add_argument("--channel", default="demo", help="what it subscribes them to [demo]")
    group.add_argument(
        "--publish-url",
        default="http://127.0.0.1:5561/publish/",
        help="Fanway's publish API [http://127.0.0.1:5561/publish/]",
    )
    group.add_argument("--publish-rate", type=float, default=10, help="items a second [10]")
    group.add_argument("--publish-bytes", type=int, default=64, help="text in each item [64]")


class Subscriber(User):
    """Holds one SSE connection; opens it again, a second later, when it ends."""

    wait_time = constant(1)

    @task
    def listen(self) -> None:
        """Report the subscription, then each delivery, and in the end why it ended."""
        target = urlsplit(self.host or "")
        kind = (
            http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(target.netloc, timeout=CONNECT_SECONDS)
        began = time.perf_counter()
        try:
            response = self._subscribe(connection)
            self._report("subscribe", (time.perf_counter() - began) * 1000, 0)
            self._read(response)
            raise ConnectionError("the stream has ended")
        except (OSError, http.client.HTTPException) as error:
            self._report("subscription", (time.perf_counter() - began) * 1000, 0, error)
        finally:
            connection.close()

    def _subscribe(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        path = self.environment.parsed_options.sse_path
        connection.request("GET", path, headers={"Accept": "text/event-stream"})
        connection.sock.settimeout(QUIET_SECONDS)
        response = connection.getresponse()
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status} {response.reason}")
        return response

    def _read(self, response: http.client.HTTPResponse) -> None:
        """Read lines until the stream ends; each event of our publisher is one line of JSON."""
        while line := response.readline(LINE_MAX_BYTES):
            name, _, value = line.decode(errors="replace").partition(":")
            item = _item(value) if name == "data" else {}
            if item.get("publisher") == PUBLISHER:
                self._report("delivery", (time.time_ns() - item["sent_ns"]) / 1e6, len(line))

    def _report(
        self, name: str, milliseconds: float, count_bytes: int, error: Exception | None = None
    ) -> None:
        self.environment.events.request.fire(
            request_type="SSE",
            name=name,
            response_time=milliseconds,
            response_length=count_bytes,
            exception=error,
            context={},
        )


def _item(text: str) -> dict[str, Any]:
    """The JSON object of an event; empty if it is something else."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class Publisher(HttpUser):
    """Publishes at a steady rate. There is one, however many users are asked for."""

    fixed_count = 1

    def on_start(self) -> None:
        """Take the rate and the size from the command line."""
        self._pace = constant_throughput(self.environment.parsed_options.publish_rate)
        self._text = "." * self.environment.parsed_options.publish_bytes

    def wait_time(self) -> float:
        """Seconds until the next publish is due."""
        return self._pace(self)

    @task
    def publish(self) -> None:
        """Publish one item that says when it was published."""
        options = self.environment.parsed_options
        event = {"publisher": PUBLISHER, "sent_ns": time.time_ns(), "text": self._text}
        content = {"http-stream": {"content": f"data: {json.dumps(event)}\n\n"}}
        batch = {"items": [{"channel": options.channel, "formats": content}]}
        self.client.post(options.publish_url, json=batch, name="publish", timeout=CONNECT_SECONDS)
