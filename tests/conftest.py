"""Fixtures of all conversations: one shared Fanway, a script for each test, raw clients.

A test that needs settings of its own launches its own Fanway; all others share one, and one
origin that has a script for every host name.
"""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.client import Address, Client, Reply
from support.fanway import Fanway, closed_port
from support.keys import SIG_KEY, write_keys
from support.minute import Minute
from support.origin import Answer, Hub, Origin
from support.spelling import answer, request
from support.ws_minute import LostOrigin, WsMinute

SETTLE_HOST = "settle.test"
MINUTES = {"minute", "ws_minute"}  # fixtures that take one

# A busy machine is no finding, and what CI runs is the same each time.
settings.register_profile(
    "fanway",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fanway")

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes a minute is judged last; `_begin_minutes` began it first."""
    items.sort(key=lambda item: bool(MINUTES & {*getattr(item, "fixturenames", ())}))


@pytest.fixture(scope="session", autouse=True)
def _begin_minutes(request: pytest.FixtureRequest) -> None:
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in sorted(MINUTES & wanted):
        request.getfixturevalue(name)


# -- one for all tests -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """The origin behind every route."""
    hub = Hub()
    hub.origin(SETTLE_HOST)
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def hub_v6() -> Iterator[Hub]:
    """Another one, on IPv6."""
    hub = Hub("::1")
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def refused() -> Iterator[tuple[str, str]]:
    """Two targets that refuse connections."""
    kept = [closed_port() for _ in range(2)]
    yield f"127.0.0.1:{kept[0][1]}", f"127.0.0.1:{kept[1][1]}"
    for sock, _ in kept:
        sock.close()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an EC key, an RSA key, and a key in hex."""
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder)
    return folder


@pytest.fixture(scope="session")
def fanway(hub: Hub, hub_v6: Hub, refused: tuple[str, str], keys: Path) -> Iterator[Fanway]:
    """The shared instance."""
    routes = [
        f"* {hub.target}",
        f"*,path_beg=/debug/,debug {hub.target}",
        f"*,path_beg=/prefixed/,prefix=p- {hub.target}",
        f"exact.test,path_beg=/only/ {hub.target}",
        f"refused.test {refused[0]}",
        f"refused.test,path_beg=/debug/,debug {refused[0]} {refused[1]}",
        f"failover.test {refused[0]} {hub.target}",
        f"twice.test {hub.target} {hub.target}",
        f"by-name.test localhost:{hub.port}",
        f"v6.test {hub_v6.target}",
        f"ec.test,sig_key=file:{keys}/ec.pem {hub.target}",
        f"rsa.test,sig_key=file:{keys}/rsa.pem {hub.target}",
        f"hex.test,sig_key=file:{keys}/hex.txt {hub.target}",
        f"base64.test,sig_key=base64:{base64.b64encode(SIG_KEY.encode()).decode()} {hub.target}",
    ]
    with Fanway("--sig-key", SIG_KEY, routes=routes) as fanway:
        yield fanway


@pytest.fixture(scope="session")
def minute(hub: Hub) -> Iterator[Minute]:
    """The conversations that take seconds, on a Fanway of their own."""
    with Fanway("--no-update-on-first-subscription", routes=[f"* {hub.target}"]) as fanway:
        minute = Minute(fanway, hub)
        minute.begin()
        yield minute
        minute.end()


@pytest.fixture(scope="session")
def ws_minute(hub: Hub) -> Iterator[WsMinute]:
    """Those of WebSockets, on another one."""
    lost = {"lost": LostOrigin(), "back": LostOrigin()}
    routes = [f"{name}.ws {origin.target},over_http" for name, origin in lost.items()]
    with Fanway(routes=[f"* {hub.target},over_http", *routes]) as fanway:
        ws_minute = WsMinute(fanway, hub, lost)
        ws_minute.begin()
        yield ws_minute
        ws_minute.end()
    for origin in lost.values():
        origin.close()


@pytest.fixture(autouse=True)
def _no_bugs(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every conversation: no bug in the log, and nothing reached an origin unasked."""
    yield
    if "hub" in request.fixturenames:
        hub: Hub = request.getfixturevalue("hub")
        faults, hub.faults = hub.faults, []
        assert not faults
    if "fanway" in request.fixturenames:
        request.getfixturevalue("fanway").assert_no_error()


# -- one for each test -----------------------------------------------------------------------------


@pytest.fixture
def origin(hub: Hub) -> Origin:
    """A script for a host name that no other test has."""
    return hub.origin(f"host-{next(_numbers)}.test")


@pytest.fixture
def channel() -> str:
    """A channel that no other test has."""
    return f"channel-{next(_numbers)}"


@pytest.fixture
def connect(fanway: Fanway) -> Iterator[Callable[..., Client]]:
    """Connects clients, to the shared Fanway unless told otherwise; hangs up after the test."""
    clients: list[Client] = []

    def connect(address: Address | None = None, **options: int) -> Client:
        client = Client(address or fanway.address, **options)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def ask(connect: Callable[..., Client], origin: Origin) -> Callable[..., Client]:
    """A new client asks for something at this test's origin."""

    def ask(target: str = "/", *headers: str, **spelling: str | bytes | None) -> Client:
        return connect().send(request(origin.host, target, *headers, **spelling))

    return ask


@pytest.fixture
def settle(fanway: Fanway, connect: Callable[..., Client]) -> Callable[[], None]:
    """Returns when Fanway has acted on whatever origins have said so far.

    A whole exchange begun now makes its way behind what was said before: orders to the worker
    go out in one order, and control reads what is ready before what is not. Two, to be sure.
    """

    def settle() -> None:
        client = connect()
        for _ in range(2):
            client.send(request(SETTLE_HOST)).response()

    return settle


@pytest.fixture
def hold(
    origin: Origin, ask: Callable[..., Client], settle: Callable[[], None]
) -> Callable[..., Client]:
    """A client whose request is held by this answer."""

    def hold(first: Answer, *more: Answer, target: str = "/", **spelling: str | bytes) -> Client:
        origin.answers(first, *more)
        said = origin.answered
        client = ask(target, **spelling)
        origin.wait_until_answered(said + 1)
        settle()
        return client

    return hold


@pytest.fixture
def poll(hold: Callable[..., Client]) -> Callable[..., Client]:
    """A client in a response hold: `poll(channel, *more headers, body=…)`."""

    def poll(channels: str, *headers: str, body: bytes = b"", status: str = "200 OK") -> Client:
        grip = ("Grip-Hold: response", f"Grip-Channel: {channels}")
        return hold(answer(*grip, *headers, body=body, status=status))

    return poll


@pytest.fixture
def stream(ask: Callable[..., Client], origin: Origin) -> Callable[..., Reply]:
    """The reply to a client in a stream hold, its initial body already taken."""

    def stream(channels: str, *headers: str, body: bytes = b"") -> Reply:
        grip = ("Grip-Hold: stream", f"Grip-Channel: {channels}")
        origin.answers(answer(*grip, *headers, body=body))
        reply = ask().reply()
        reply.expect(body)
        return reply

    return stream
