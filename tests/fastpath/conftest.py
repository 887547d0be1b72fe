"""Fixtures of the data plane's tests. After each of them everything made must be freed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastpath import probe_session as probe
from support.stage import Client, Stage, live_objects
from support.ws_stage import WsClient


@pytest.fixture(scope="session", autouse=True)
def _old_objects_aside() -> None:
    """What was made before the first test is nobody's to count."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_stage() -> Iterator[Callable[..., Stage]]:
    """Makes stages with settings of their own; balances the books of each after the test."""
    before = live_objects()
    stages: list[Stage] = []

    def make(kind: type[Stage] = Stage, **limits: object) -> Stage:
        stages.append(kind(**limits))
        return stages[-1]

    yield make
    faults = []
    while stages:
        stage = stages.pop()
        stage.close()
        faults += stage.faults
    assert live_objects() == before
    assert not faults


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage()


@pytest.fixture
def stream(stage: Stage) -> Callable[..., Client]:
    """A client in a stream hold on these channels, its head already heard."""

    def stream(*channels: str | tuple[str, str], client: Client | None = None, **hold: Any):
        minor = hold.pop("minor", 1)
        client = stage.asks(client=client, minor=minor)
        probe.hold(client.session, mode=2, channels=named(channels), **hold)
        client.hears()
        assert client.state == "HELD_STREAM"
        return client

    return stream


@pytest.fixture
def poll(stage: Stage) -> Callable[..., Client]:
    """A client in a response hold on these channels."""

    def poll(*channels: str | tuple[str, str], client: Client | None = None, **hold: Any):
        client = stage.asks(
            "/poll",
            *hold.pop("request_headers", ()),
            client=client,
            method=hold.pop("method", "GET"),
            minor=hold.pop("minor", 1),
        )
        probe.hold(client.session, mode=1, channels=named(channels), **hold)
        assert client.state == "HELD_RESPONSE"
        return client

    return poll


@pytest.fixture
def socket(stage: Stage) -> Callable[..., WsClient]:
    """A WebSocket that control has accepted, subscribed to these channels."""

    return lambda *channels, **asked: WsClient(stage, *channels, **asked)


def named(channels: tuple[str | tuple[str, str], ...]) -> list[tuple[bytes, bytes | None]]:
    """Channels as HOLD has them: "a", or ("a", "the id it has seen")."""
    pairs = [(channel, None) if isinstance(channel, str) else channel for channel in channels]
    return [(name.encode(), None if prev is None else prev.encode()) for name, prev in pairs]
