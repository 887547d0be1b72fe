"""A link whose orders are told to somebody: for who counts what clients are given.

The link to a worker where statistics are published; elsewhere nothing looks at an order again.
"""

from __future__ import annotations

from collections.abc import Callable

from control.link.server import Link, LinkServer

Ordered = Callable[[Link, bytes], None]


class WatchedLink(Link):
    """A link that tells of each order."""

    def __init__(self, server: LinkServer, ordered: Ordered) -> None:
        super().__init__(server)
        self._ordered = ordered

    def order(self, packet: bytes) -> int:
        """Write one order, and tell of it; give its number."""
        self._ordered(self, packet)
        return super().order(packet)
