"""The pace of what nobody waits for: updates that a gap, a timeout or a command asks for.

Ten actions a second, each for one key, however many have asked under it (GRIP.md 1.10). What a
client or a publisher wants at once does not come here. Never does an action itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

ACTION_SECONDS = 0.1  # one action in so long; the first waits as well
BUNDLE_MAX = 100  # of one key in one action


class Limiter:
    """Actions that wait for their turn."""

    def __init__(self) -> None:
        """Must be made in a running loop."""
        self._loop = asyncio.get_running_loop()
        # In the order of their turns. As many as there are sessions, at most: each waits once.
        self._waiting: dict[str, list[Callable[[], object]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: str, action: Callable[[], object]) -> None:
        """Do something at this key's turn."""
        self._waiting.setdefault(key, []).append(action)
        self._arm()

    def stop(self) -> None:
        """Do nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_later(ACTION_SECONDS, self._act)

    def _act(self) -> None:
        self._timer = None
        key = next(iter(self._waiting))
        actions = self._waiting.pop(key)
        if len(actions) > BUNDLE_MAX:
            self._waiting[key] = actions[BUNDLE_MAX:]  # to the end of the line
        for action in actions[:BUNDLE_MAX]:
            action()
        self._arm()
