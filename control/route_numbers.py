"""The numbers by which workers know routes.

Kept over reloads: a number means the same route as long as this process lives.
"""

from __future__ import annotations

from collections.abc import Iterable

from control.routes import Route

NUMBERS_MAX = 0xFFFE  # a number is a u16 on the link, and so is a count of them all and 0


class RouteNumbers:
    """A number for each route that has an id; the others share 0 (GRIP.md 2.6.4)."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def learn(self, routes: Iterable[Route]) -> None:
        """Number routes in the order of their file.

        The same file then has the same numbers in the next process, whose workers hold still.
        """
        for route in routes:
            self.of(route)

    def id_of(self, number: int) -> str:
        """Give the id of the route that has a number; empty for the others."""
        return self._ids.get(number, "")

    def of(self, route: Route) -> int:
        """Give the number of a route, from the first time it is asked for."""
        if not route.has_id:
            return 0
        number = self._numbers.get(route.id, 0)
        if not number and len(self._numbers) < NUMBERS_MAX:
            number = self._numbers[route.id] = len(self._numbers) + 1
            self._ids[number] = route.id
        return number
