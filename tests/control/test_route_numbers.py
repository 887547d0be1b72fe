"""The numbers by which workers know routes."""

from __future__ import annotations

from control.route_numbers import NUMBERS_MAX, RouteNumbers
from control.routes import Route, Routes


def route(line: str) -> Route:
    (found,) = Routes.parse(line, "routes")[0]
    return found


def test_routes_without_an_id_share_a_number() -> None:
    numbers = RouteNumbers()
    assert [numbers.of(route(line)) for line in ("a.test a:1", "b.test b:1")] == [0, 0]


def test_a_route_with_an_id_keeps_its_number_when_the_routes_are_read_again() -> None:
    numbers = RouteNumbers()
    first, second = numbers.of(route("*,id=x a:1")), numbers.of(route("*,id=y a:1"))
    assert (first, second) == (1, 2)
    assert numbers.of(route("*,id=x,debug b:2")) == first


def test_routes_are_numbered_in_the_order_of_their_file() -> None:
    routes = Routes.parse("*,id=x a:1\nb.test b:1\nc.test,id=y c:1", "routes")[0]
    numbers = RouteNumbers()
    numbers.learn(routes)
    assert [numbers.id_of(number) for number in range(4)] == ["", "x", "y", ""]
    assert numbers.of(route("*,id=y c:1")) == 2


def test_when_there_are_no_more_numbers_the_rest_share_0() -> None:
    numbers = RouteNumbers()
    given = [numbers.of(Route(id=str(n), host="*", targets=(), has_id=True)) for n in range(65_536)]
    assert given == [*range(1, NUMBERS_MAX + 1), 0, 0]
