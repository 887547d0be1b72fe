"""CORS headers (GRIP.md 8.1), and those that the worker adds when a hold is answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.cors import EXPOSE, MARK, cross_origin, cross_origin_later
from fastpath import cors

NAMES = st.sampled_from(
    [
        *(b"X-A", b"x-a", b"X-B", b"ETag", b"Grip-Foo"),
        *(b"Cache-Control", b"PRAGMA", b"Content-Type"),
        *(b"Access-Control-Allow-Origin", b"access-control-expose-headers"),
    ]
)
HEADERS = st.lists(st.tuples(NAMES, st.sampled_from([b"1", b"X-A"])), max_size=6)


def test_203_of_a_hold_everything_but_the_names_is_known() -> None:
    headers = cross_origin_later([(b"Origin", b"https://a.test")], [(b"X-A", b"1")])
    assert headers[:2] == [MARK, (b"X-A", b"1")]
    assert (b"Access-Control-Allow-Origin", b"https://a.test") in headers
    assert EXPOSE not in dict(headers)


@given(HEADERS)
def test_203_both_planes_name_the_same_headers(headers: list[tuple[bytes, bytes]]) -> None:
    mark, *later = cross_origin_later([], headers)
    assert mark[0] == cors.MARK
    assert sorted(cors.exposing(later)) == sorted([*headers, *cross_origin([], headers)])
