"""Fixtures of the WebSocket conversations: a Fanway and a WebSocket origin of their own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from support.client import Client
from support.fanway import Fanway, closed_port
from support.keys import SIG_KEY
from support.origin import Hub, Origin
from support.spelling import request

DEADLINE_SECONDS = 10.0
PASSED_HOST = "passed.test"
SETTLE_HOST = "settle.test"
GRIP_HOST = "grip.test"

Handler = Callable[[ServerConnection], None]


class WsOrigin:
    """A WebSocket origin: one port, and what it does is chosen by the path that is asked for."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._handlers: dict[str, Handler] = {}
        self._server = serve(
            self._handle,
            "127.0.0.1",
            0,
            compression=None,
            max_size=None,
            select_subprotocol=lambda _connection, offered: offered[-1] if offered else None,
            process_response=self._respond,
            ping_interval=None,
        )
        self.target = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def at(self, path: str, handler: Handler) -> str:
        """Do this for whoever asks for the path."""
        self._handlers[path] = handler
        return path

    def _respond(
        self, _connection: ServerConnection, request: Request, response: Response
    ) -> Response:
        self.requests.append(request)
        if request.headers["Host"].startswith(GRIP_HOST):
            response.headers["Sec-WebSocket-Extensions"] = "grip"
        return response

    def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self._handlers[connection.request.path](connection)

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture(scope="session")
def ws_origin() -> Iterator[WsOrigin]:
    origin = WsOrigin()
    yield origin
    origin.close()


@pytest.fixture(scope="session")
def ws_fanway(hub: Hub, ws_origin: WsOrigin) -> Iterator[Fanway]:
    """WebSockets go over HTTP, but for two hosts."""
    kept, port = closed_port()
    refusing = f"127.0.0.1:{port}"
    routes = [
        f"* {hub.target},over_http",
        f"{PASSED_HOST} {ws_origin.target}",
        f"{PASSED_HOST},path_beg=/failover/ {refusing} {ws_origin.target}",
        f"{PASSED_HOST},path_beg=/http/ {hub.target}",
        f"{GRIP_HOST},prefix=p- {ws_origin.target}",
        f"*,path_beg=/failover/ {refusing},over_http {hub.target},over_http",
        f"*,path_beg=/one/ {hub.target},over_http,one_event",
        f"*,path_beg=/sub/,prefix=p- {hub.target},over_http,sub=always",
        f"*,path_beg=/debug/,debug {hub.target},over_http",
        f"*,path_beg=/plain/,no_grip {hub.target},over_http",
        f"{PASSED_HOST},path_beg=/plain/,no_grip {ws_origin.target}",
        f"{PASSED_HOST},path_beg=/sub/ {ws_origin.target},sub=always-passed",
    ]
    with Fanway("--sig-key", SIG_KEY, routes=routes) as fanway:
        yield fanway
    kept.close()


def hang_up(sock: socket.socket) -> None:
    """Leave without a word."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def ws_connect(ws_fanway: Fanway) -> Iterator[Callable[..., ClientConnection]]:
    """Connects a WebSocket client to a host behind Fanway; it has left after the test."""
    with ExitStack() as clients:

        def connect_to(host: str, path: str = "/", **options: Any) -> ClientConnection:
            sock = clients.enter_context(
                socket.create_connection(ws_fanway.address, DEADLINE_SECONDS)
            )
            options = {"compression": None, "max_size": None, "ping_interval": None, **options}
            client = clients.enter_context(connect(f"ws://{host}{path}", sock=sock, **options))
            clients.callback(hang_up, sock)
            return client

        yield connect_to
    ws_fanway.assert_no_bug()


@pytest.fixture
def ws_settle(ws_fanway: Fanway) -> Callable[[], None]:
    """Returns when that Fanway has acted on what its clients and their origins have said."""

    def ws_settle() -> None:
        with closing(Client(ws_fanway.address)) as client:
            for _ in range(2):  # whole exchanges that make their way behind it
                client.send(request(SETTLE_HOST)).response()

    return ws_settle


@pytest.fixture
def ws(origin: Origin, ws_connect: Callable[..., ClientConnection]) -> Callable[..., Any]:
    """A client of this test's origin, which is asked over HTTP."""

    def ws(path: str = "/ws", **options: Any) -> ClientConnection:
        return ws_connect(origin.host, path, **options)

    return ws
