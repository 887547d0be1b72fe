"""The control plane runs on uvloop, and so do its tests."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """What pytest-asyncio makes event loops with."""
    return {"uvloop": uvloop.new_event_loop}
