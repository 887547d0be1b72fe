"""ZeroMQ: publishers, commands and statistics as Pushpin has them (GRIP.md 2.3, 9.1, 9.2).

Runs only where its settings name an address, and only then imports what the extra installs.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

EXTRA = ("zmq", "tnetstring")


def why_not(wanted_by: Sequence[str]) -> str | None:
    """Say why ZeroMQ cannot be had by those who want it; None: it can, or nobody does."""
    if not wanted_by or all(find_spec(name) for name in EXTRA):
        return None
    return f"{', '.join(wanted_by)}: ZeroMQ is not installed; pip install 'fanway[zmq]'"
