"""ZeroMQ: publishers, commands and statistics as Pushpin has them (GRIP.md 2.3, 9.1, 9.2).

Runs only where its settings name an address, and only then imports what the extra installs.
"""

from __future__ import annotations

from importlib.util import find_spec

EXTRA = ("zmq", "tnetstring")


def is_installed() -> bool:
    """Whether the extra `fanway[zmq]` is there."""
    return all(find_spec(name) for name in EXTRA)
