"""Who holds what: (worker, channel) -> modes, each with the order that made it so.

Derived from the orders that control writes and the reports that workers send, so it can be
rebuilt at any time (fastpath/LINK.md, invariants 1, 4 and 5). Pure: it has no clock, writes no
order, and knows no session: a channel held by one client or by a million is one entry here.
"""

from __future__ import annotations

from collections.abc import Sequence

from control.link.packets import Mode

MODES = (Mode.RESPONSE, Mode.STREAM, Mode.WS)


class _Holding:
    """What one worker holds."""

    __slots__ = ("by_mode", "synced")

    def __init__(self) -> None:
        self.synced = False
        # Channel -> number of the last HOLD or SUBSCRIBE for it. One dictionary a mode: an older
        # FREED of one mode must not be hidden by a newer hold of another.
        self.by_mode: dict[Mode, dict[str, int]] = {mode: {} for mode in MODES}

    def holds(self, channel: str) -> bool:
        return any(channel in channels for channels in self.by_mode.values())


class Interest:
    """The interest of all workers.

    A channel is *subscribed* while a worker holds it, and `linger_seconds` longer once its last
    response hold has left: the client of a long-poll will be back (GRIP.md 1.6, 2.8).
    """

    def __init__(self, linger_seconds: float) -> None:
        self._linger_seconds = linger_seconds
        self._workers: dict[int, _Holding] = {}
        self._lingering: dict[str, float] = {}  # channel -> when it ends; the next to end is first

    # -- what workers report

    def greeted(self, worker: int) -> None:
        """Count a worker as holding everything, until it is synced."""
        self._workers[worker] = _Holding()

    def held(self, worker: int, channel: str, modes: int) -> None:
        """Take up a channel that a worker holds since before it was greeted."""
        for mode in MODES:
            if modes & mode:
                self._workers[worker].by_mode[mode].setdefault(channel, 0)

    def synced(self, worker: int) -> None:
        """Believe from now on that the worker holds what it has said, and nothing else."""
        self._workers[worker].synced = True

    def freed(self, worker: int, channel: str, modes: int, orders_count: int, now: float) -> bool:
        """Clear what the worker no longer holds, unless an order that it had not read renews it.

        True if the channel is no longer subscribed.
        """
        by_mode = self._workers[worker].by_mode
        cleared = Mode(0)
        for mode in MODES:
            number = by_mode[mode].get(channel) if modes & mode else None
            if number is not None and number <= orders_count:
                del by_mode[mode][channel]
                cleared |= mode
        if cleared & Mode.RESPONSE:
            self._linger(channel, now)
        return bool(cleared) and not self.subscribed(channel)

    def lost(self, worker: int, now: float) -> None:
        """Forget a worker. Its channels linger: its clients, or their sessions, will be back."""
        holding = self._workers.pop(worker)
        for channels in holding.by_mode.values():
            for channel in channels:
                self._linger(channel, now)

    # -- what control orders

    def mark(self, worker: int, channel: str, mode: Mode, order_number: int) -> None:
        """Note that the order of this number makes the worker hold the channel."""
        self._workers[worker].by_mode[mode][channel] = order_number

    # -- time

    def expire(self, now: float) -> list[str]:
        """End what has lingered long enough; give the channels that are not held either."""
        ended = []
        for channel, end in self._lingering.items():
            if end > now:
                break
            ended.append(channel)
        for channel in ended:
            del self._lingering[channel]
        return [channel for channel in ended if not self.is_held(channel)]

    def _linger(self, channel: str, now: float) -> None:
        if self._linger_seconds > 0:
            self._lingering.pop(channel, None)  # to the end of the line
            self._lingering[channel] = now + self._linger_seconds

    # -- questions

    def workers_for(self, channel: str) -> list[int]:
        """The workers that are to be sent an item of this channel."""
        return [
            worker
            for worker, holding in self._workers.items()
            if not holding.synced or holding.holds(channel)
        ]

    def is_held(self, channel: str) -> bool:
        """Whether any worker is known to hold the channel."""
        return any(holding.holds(channel) for holding in self._workers.values())

    def subscribed(self, channel: str) -> bool:
        """Whether the channel is held or lingers."""
        return channel in self._lingering or self.is_held(channel)

    def channels(self, modes: Sequence[Mode] = MODES) -> set[str]:
        """The channels that are held in one of these modes."""
        holdings = self._workers.values()
        return set().union(*(holding.by_mode[mode] for holding in holdings for mode in modes))
