"""JSON-P: what a query means, and the wrapping of an answer, in pieces or whole (GRIP.md 8.2)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.address import TcpAddress
from control.jsonp import BadQuery, Callback, Wrapping, read_query
from control.link.packets import Opened
from control.routes import Route, Target
from fastpath.jsonp import wrapped

ROUTE = Route("*", "*", (Target(TcpAddress("a", 1)),), aco=True)
OPENED = Opened(
    ref=1,
    again=False,
    length=0,
    lasts=[],
    body=b"",
    websocket=False,
    minor=1,
    tls=False,
    peer=b"",
    method=b"GET",
    target=b"/a?callback=cb",
    headers=[(b"Host", b"a.test")],
    more=False,
)


@pytest.mark.parametrize(
    "change",
    [
        {"method": b"POST"},
        {"target": b"/a"},
        {"target": b"/a?x=callback"},
        {"length": 3},
        {"length": -1},
        {"websocket": True},
    ],
)
def test_205_other_requests_are_ordinary(change: dict[str, object]) -> None:
    assert read_query(ROUTE, replace(OPENED, **change)) is None


@pytest.mark.parametrize("name", ["cb", "a.b", "$_", "jQuery1_2", "a[0].b"])
def test_205_a_callback_is_a_name_of_javascript(name: str) -> None:
    read = read_query(ROUTE, replace(OPENED, target=b"/?callback=" + name.encode()))
    assert read is not None
    assert read[0] == Callback(name.encode(), is_extended=True)


@pytest.mark.parametrize("name", ["", "a b", "a-b", "a;b", "</script>", "a.", "1a", "a" * 2000])
def test_205_anything_else_is_refused(name: str) -> None:
    with pytest.raises(BadQuery):
        read_query(ROUTE, replace(OPENED, target=b"/?callback=" + name.encode()))


def test_205_the_parameter_may_have_another_name() -> None:
    route = replace(ROUTE, jsonp_cb="cb", jsonp_defmethod=b"DELETE")
    read = read_query(route, replace(OPENED, target=b"/?%63b=f&callback=kept"))
    assert read is not None
    assert (read[0].name, read[1].target, read[1].method) == (b"f", b"/?callback=kept", b"DELETE")


@given(
    body=st.text().map(str.encode),
    cuts=st.lists(st.integers(0, 50)),
    is_extended=st.booleans(),
    status=st.integers(200, 599),
    headers=st.lists(
        st.sampled_from([(b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"\xff")]), max_size=4
    ),
)
def test_206_both_planes_wrap_alike_whatever_the_pieces(
    body: bytes,
    cuts: list[int],
    is_extended: bool,
    status: int,
    headers: list[tuple[bytes, bytes]],
) -> None:
    callback = Callback(b"cb", is_extended)
    wrapping = Wrapping(callback)
    _, run = wrapping.head(status, b"Fine", headers)
    at = 0
    for cut in sorted(cuts):
        run += wrapping.piece(body[at:cut])
        at = max(at, cut)
    run += wrapping.piece(body[at:], is_last=True)
    mark, form = callback.mark
    assert mark == b":jsonp"
    assert wrapped(form, status, b"Fine", headers, body)[3] == run
    if is_extended:
        assert json.loads(run[len(b"/**/cb(") : -len(b");\n")])["body"] == body.decode()
