"""A second after the first subscription of a channel, if the settings ask for it (GRIP.md 1.8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.scene import REF, answer, scene

HELD = answer("Grip-Hold: response", "Grip-Channel: c")
HINTS = [{"kind": 1, "action": 1}, {"kind": 2, "action": 1}]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.first_subscriptions.UPDATE_SECONDS", 0.02)


async def test_95_the_first_subscription_is_followed_by_an_update(tmp_path: Path):
    async with scene(tmp_path, update_on_first_subscription=True) as here:
        assert (await here.ask(HELD)).name == "HOLD"
        order = await here.worker.order("PUBLISH")
        assert (order.channel, order.formats) == (b"c", HINTS)


async def test_95_not_again_while_it_lingers(tmp_path: Path):
    async with scene(tmp_path, update_on_first_subscription=True) as here:
        await here.ask(HELD)
        await here.worker.order("PUBLISH")
        here.worker.freed(b"c", 1)
        await here.ask(HELD, ref=REF + 1)
        other = answer("Grip-Hold: response", "Grip-Channel: d")
        await here.ask(other, ref=REF + 2)
        assert (await here.worker.order("PUBLISH")).channel == b"d"


async def test_95_not_for_what_is_held_since_before(tmp_path: Path):
    async with scene(tmp_path, update_on_first_subscription=True) as here:
        here.worker.held(b"c", 1)
        await here.ask(answer("Grip-Hold: response", "Grip-Channel: d"))
        assert (await here.worker.order("PUBLISH")).channel == b"d"


async def test_96_without_the_setting_there_is_none(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.ask(HELD)
        here.publish({"channel": "c", "http-response": {"body": "x"}})
        order = await here.worker.order("PUBLISH")
        assert order.formats[0]["body"] == b"x"
