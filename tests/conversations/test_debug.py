"""What the client of a debug route is told of its hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.client import Client
from support.fanway import Fanway
from support.origin import Origin
from support.spelling import answer

Ask = Callable[..., Client]


def told(client: Client) -> str | None:
    return dict(client.reply().headers).get("Grip-Debug")


def test_a_stream_says_what_it_is_held_on_and_what_keeps_it(ask: Ask, origin: Origin) -> None:
    origin.answers(
        answer(
            "Grip-Hold: stream",
            "Grip-Channel: a; prev-id=4 1, b&c d",
            "Grip-Keep-Alive: x; timeout=20",
            "Grip-Link: </more>; rel=next; timeout=90",
        )
    )
    assert told(ask("/debug/")) == (
        "hold=stream, channel=a; prev-id=4%201, channel=b&c%20d, keep-alive=idle; timeout=20, "
        f"next=http://{origin.host}/more; timeout=90"
    )


def test_a_response_says_it_when_it_comes(
    ask: Ask, origin: Origin, settle: Callable[[], None], fanway: Fanway, channel: str
) -> None:
    origin.answers(answer("Grip-Hold: response", f"Grip-Channel: {channel}", "Grip-Timeout: 7"))
    client = ask("/debug/")
    origin.wait_until_answered(1)
    settle()
    fanway.publish_response(channel, "news")
    assert told(client) == f"hold=response; timeout=7, channel={channel}"


def test_an_instruct_that_does_not_hold_says_so(ask: Ask, origin: Origin) -> None:
    origin.answers(answer("Grip-Channel: a"))
    assert told(ask("/debug/")) == "hold=none"
    origin.answers(answer("Content-Type: application/grip-instruct", body=b"{}"))
    assert told(ask("/debug/")) == "hold=none"


@pytest.mark.parametrize("headers", [(), ("Grip-Hold: stream", "Grip-Channel: a")])
def test_nothing_is_said_without_debug_or_without_an_instruct(
    ask: Ask, origin: Origin, headers: tuple[str, ...]
) -> None:
    origin.answers(answer(*headers))
    assert told(ask("/debug/" if not headers else "/")) is None
