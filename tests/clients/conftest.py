"""The chat that all kinds of clients enter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.chat import Chat, Room, chat_server
from support.fanway import Fanway
from support.serving import running


@pytest.fixture(scope="session")
def room() -> Iterator[Room]:
    """Both chats behind one Fanway, with compression allowed."""
    chat = Chat()
    with running(chat.serve) as application, running(chat_server) as server:
        routes = [
            f"* 127.0.0.1:{application}",
            f"*,path_beg=/over-http 127.0.0.1:{application},over_http",
            f"*,path_beg=/through 127.0.0.1:{server}",
        ]
        with Fanway("--allow-compression", routes=routes) as fanway:
            yield Room(fanway, chat)


@pytest.fixture(params=["over-http", "through"])
def way(request: pytest.FixtureRequest) -> str:
    """The two ways to have an origin."""
    return str(request.param)
