"""The one way a measurement fails."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement that could not be made, and why."""
