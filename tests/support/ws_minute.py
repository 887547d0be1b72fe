"""What takes WebSockets seconds by its nature, all at once: keep-alives, retries (GRIP.md 4, 5.4).

As in `minute`: the conversations begin together at the start of the session, on a Fanway of their
own, and are judged at its end.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from support.fanway import Fanway
from support.origin import Hub, Origin, Request
from support.wsspelling import GRIP, control, event, events, opened

PATIENCE_SECONDS = 60.0
DEFAULT_SECONDS = 55.0  # of keep-alives from the worker, GRIP.md 5.4
INTERVAL_MIN_SECONDS = 20.0  # of keep-alives over HTTP, GRIP.md 4.3
BACK_AFTER_SECONDS = 25.0  # behind the fourth retry (15 to 19), before the fifth (31 to 36)
WATCH_SECONDS = 6.5  # how long a keep-alive is watched; three intervals of two seconds fit
PUBLISH_EVERY_SECONDS = 0.4
MARK = event("TEXT", "m:mark")

Act = Callable[[ClientConnection], None]


@dataclass
class Heard:
    """What one client heard, and when, in seconds since it was accepted."""

    handshake_seconds: float = 0.0
    messages: list[tuple[float, str | bytes]] = field(default_factory=list)
    ended_seconds: float | None = None
    close: tuple[int, str] | None = None  # the close frame that ended it
    requests: list[Request] = field(default_factory=list)  # that its origin had

    def times(self, message: str) -> list[float]:
        """When a message came."""
        return [seconds for seconds, heard in self.messages if heard == message]


class LostOrigin:
    """An origin that answers one request, cannot be reached for a while, and answers another."""

    def __init__(self) -> None:
        self._kept = self._bound(0)  # the port refuses connections while nobody else listens on it
        self.target = f"127.0.0.1:{self._kept.getsockname()[1]}"
        self.bodies: list[bytes] = []

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    def answer_once(self, said: bytes) -> None:
        """Be there for one request."""
        with self._bound(self._kept.getsockname()[1]) as listener:
            listener.listen()
            listener.settimeout(PATIENCE_SECONDS)
            sock, _ = listener.accept()
        with sock:
            got = b""
            while not got.endswith(b"\r\n") or b"\r\n\r\n" not in got:
                got += sock.recv(65536)
            self.bodies.append(got.partition(b"\r\n\r\n")[2])
            sock.sendall(said)

    def close(self) -> None:
        self._kept.close()


class WsMinute:
    """All slow conversations at once: name -> what its client heard."""

    def __init__(self, fanway: Fanway, hub: Hub, lost: dict[str, LostOrigin]) -> None:
        """`lost` are the origins of hosts of these names, behind the Fanway."""
        self._fanway = fanway
        self._hub = hub
        self.lost = lost
        self._pool = ThreadPoolExecutor(16)
        self._heard: dict[str, Future[Heard]] = {}
        self._is_over = threading.Event()

    def begin(self) -> None:
        """Begin all conversations."""
        often = (GRIP, "Keep-Alive-Interval: 1")
        never = events(MARK, headers=("Keep-Alive-Interval: 0",))
        self._watch("pending", 1, events(headers=often), opened(MARK, headers=often), events())
        self._watch("over-http", 42, opened(headers=often), never, events(MARK))
        closing = events(event("CLOSE", b"\x0f\xa1end"))
        self._watch("close", 30, opened(headers=often), events(), closing, act=_say_bye)
        self._watch("default", DEFAULT_SECONDS + 1, opened(control("keep-alive", content="k")))
        for mode in ("idle", "interval", "unknown"):
            self._watch(mode, WATCH_SECONDS, opened(*_kept_alive(mode, mode=mode)))
        self._watch("replaced", 4, opened(*_kept_alive("x"), control("keep-alive")))
        self._pool.submit(self._publish, "idle", "interval", "unknown")
        for name, origin in self.lost.items():
            self._heard[name] = self._pool.submit(self._lose, name, origin)

    def heard(self, name: str) -> Heard:
        """What a client heard, once it has heard all."""
        return self._heard[name].result()

    def end(self) -> None:
        """Wait for everybody."""
        for heard in self._heard.values():
            heard.result()
        self._is_over.set()
        self._pool.shutdown()

    def _watch(self, name: str, seconds: float, *answers: bytes, act: Act | None = None) -> None:
        origin = self._hub.origin(f"{name}.ws")
        origin.answers(*answers)
        self._heard[name] = self._pool.submit(self._listen, origin, seconds, act)

    def _listen(self, origin: Origin, seconds: float, act: Act | None) -> Heard:
        heard = Heard()
        began = time.monotonic()
        with self._connected(origin.host) as client:
            opened_at = time.monotonic()
            heard.handshake_seconds = opened_at - began
            if act:
                act(client)
            try:
                while (left := opened_at + seconds - time.monotonic()) > 0:
                    message = client.recv(left)
                    heard.messages.append((time.monotonic() - opened_at, message))
            except TimeoutError:
                pass
            except ConnectionClosed as closed:
                heard.ended_seconds = time.monotonic() - opened_at
                heard.close = closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)
            heard.requests = list(origin.requests)
            _hang_up(client)
        return heard

    def _lose(self, name: str, origin: LostOrigin) -> Heard:
        there = self._pool.submit(origin.answer_once, opened(headers=(GRIP, "Connection: close")))
        heard = Heard()
        with self._connected(f"{name}.ws") as client:
            there.result()
            opened_at = time.monotonic()
            client.send("hello")
            if name == "back":
                with suppress(TimeoutError):
                    client.recv(BACK_AFTER_SECONDS)
                self._pool.submit(origin.answer_once, events(MARK))
            try:
                message = client.recv(PATIENCE_SECONDS)
                heard.messages.append((time.monotonic() - opened_at, message))
            except ConnectionClosed as closed:
                heard.ended_seconds = time.monotonic() - opened_at
                heard.close = closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)
            _hang_up(client)
        return heard

    def _connected(self, host: str) -> ClientConnection:
        sock = socket.create_connection(self._fanway.address)
        return connect(
            f"ws://{host}/",
            sock=sock,
            compression=None,
            ping_interval=None,
            open_timeout=PATIENCE_SECONDS,
            close_timeout=PATIENCE_SECONDS,
        )

    def _publish(self, *channels: str) -> None:
        items = [{"channel": c, "formats": {"ws-message": {"content": "p"}}} for c in channels]
        while not self._is_over.wait(PUBLISH_EVERY_SECONDS):
            self._fanway.publish_items(*items)


def _kept_alive(channel: str, **fields: str) -> tuple[bytes, bytes]:
    keep_alive = control("keep-alive", content="k", timeout=2, **fields)
    return control("subscribe", channel=channel), keep_alive


def _hang_up(client: ClientConnection) -> None:
    with suppress(OSError):
        client.socket.shutdown(socket.SHUT_RDWR)


def _say_bye(client: ClientConnection) -> None:
    threading.Thread(target=client.close, args=(4000, "bye"), daemon=True).start()
