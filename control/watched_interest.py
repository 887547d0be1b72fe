"""Interest that tells when a channel becomes subscribed, and when it no longer is.

For those who want to know, at a cost: without them there is only `Interest`. Pure, as that is.
"""

from __future__ import annotations

from collections.abc import Callable

from control.interest import Interest
from control.link.packets import Mode

Told = Callable[[str], None]


class WatchedInterest(Interest):
    """The interest of all workers, watched."""

    def __init__(self, linger_seconds: float, *, gained: Told, forgotten: Told) -> None:
        """Call `gained` and `forgotten` with a channel, each in turn."""
        super().__init__(linger_seconds)
        self._gained = gained
        self._forgotten = forgotten
        self._known: set[str] = set()  # those that were gained and are not forgotten

    def _look(self, channel: str) -> None:
        if self.subscribed(channel):
            if channel not in self._known:
                self._known.add(channel)
                self._gained(channel)
        elif channel in self._known:
            self._known.remove(channel)
            self._forgotten(channel)

    def held(self, worker: int, channel: str, modes: int) -> None:
        """See Interest."""
        super().held(worker, channel, modes)
        self._look(channel)

    def mark(self, worker: int, channel: str, mode: Mode, order_number: int) -> None:
        """See Interest."""
        super().mark(worker, channel, mode, order_number)
        self._look(channel)

    def freed(self, worker: int, channel: str, modes: int, orders_count: int, now: float) -> bool:
        """See Interest."""
        is_forgotten = super().freed(worker, channel, modes, orders_count, now)
        self._look(channel)
        return is_forgotten

    def lost(self, worker: int, now: float) -> None:
        """See Interest. What does not linger is forgotten at once."""
        super().lost(worker, now)
        for channel in [one for one in self._known if not self.subscribed(one)]:
            self._look(channel)

    def expire(self, now: float) -> list[str]:
        """See Interest."""
        forgotten = super().expire(now)
        for channel in forgotten:
            self._look(channel)
        return forgotten
