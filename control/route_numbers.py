"""The numbers by which workers know routes.

Kept over reloads: a number means the same route as long as this process lives.
"""

from __future__ import annotations

from control.routes import Route

NUMBERS_MAX = 0xFFFF  # a number is a u16 on the link


class RouteNumbers:
    """A number for each route that has an id; the others share 0 (GRIP.md 2.6.4)."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, route: Route) -> int:
        """Give the number of a route, from the first time it is asked for."""
        if not route.has_id:
            return 0
        number = self._numbers.get(route.id, 0)
        if not number and len(self._numbers) < NUMBERS_MAX:
            number = self._numbers[route.id] = len(self._numbers) + 1
        return number
