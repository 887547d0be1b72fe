"""The first subscription of a channel: a second later its HTTP sessions are updated (GRIP.md 1.8).

For publishers who look whether somebody listens before they publish, and for what was published
while the first subscriber was about to come. Off unless the settings ask for it.
"""

from __future__ import annotations

from collections.abc import Callable

from control.alarms import Alarms

UPDATE_SECONDS = 1.0  # after the subscription


class FirstSubscriptions:
    """The channels that are about to be updated."""

    def __init__(self, update: Callable[[str], object]) -> None:
        """Must be made in a running loop. `update` is told each channel whose time has come."""
        self._alarms: Alarms[str] = Alarms(self._ring)
        self._update = update
        # At most as many as channels are subscribed to within UPDATE_SECONDS.
        self._due: dict[str, set[str]] = {}

    def gained(self, channel: str) -> None:
        """Note that a channel has its first subscriber."""
        self.call_off(channel)
        self._due[channel] = self._alarms.set(channel, UPDATE_SECONDS)

    def call_off(self, channel: str) -> None:
        """Note that it is not its first after all, or that it has none any more."""
        due = self._due.pop(channel, None)
        if due is not None:
            due.discard(channel)

    def stop(self) -> None:
        """Update nothing any more."""
        self._alarms.stop()

    def _ring(self, channel: str) -> None:
        del self._due[channel]
        self._update(channel)
