"""The JSON patch of GRIP.md 2.6.1: RFC 6902 with its differences, and empty bytes when in doubt."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.patch import COPIED_BYTES_MAX, patched


def apply(body: object, *steps: dict[str, Any]) -> Any:
    """The patched value; None when the patch failed."""
    result = patched(json.dumps(body).encode(), json.dumps(steps).encode())
    return json.loads(result) if result else None


def add(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def replace(path: str, value: object) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def move(source: str, path: str) -> dict[str, Any]:
    return {"op": "move", "from": source, "path": path}


def copy(source: str, path: str) -> dict[str, Any]:
    return {"op": "copy", "from": source, "path": path}


def test(path: str, value: object) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


test.__test__ = False  # type: ignore[attr-defined]  # an operation of RFC 6902


# -- operations ------------------------------------------------------------------------------------

DONE: dict[str, tuple[object, list[dict[str, Any]], object]] = {
    "nothing": ({"a": 1}, [], {"a": 1}),
    "add a member": ({"a": 1}, [add("/b", [2])], {"a": 1, "b": [2]}),
    "add replaces a member": ({"a": 1}, [add("/a", 2)], {"a": 2}),
    "add deep": ({"a": [{"b": 1}]}, [add("/a/0/c", 2)], {"a": [{"b": 1, "c": 2}]}),
    "add replaces an element": ([1, 2, 3], [add("/1", 9)], [1, 9, 3]),
    "add appends": ([1, 2], [add("/-", 3)], [1, 2, 3]),
    "add null": ({}, [add("/a", None)], {"a": None}),
    "add the root": ({"a": 1}, [add("/", [])], []),
    "- of an object is a name": ({}, [add("/-", 1)], {"-": 1}),
    "remove a member": ({"a": 1, "b": 2}, [remove("/a")], {"b": 2}),
    "remove an element": ([1, 2, 3], [remove("/0")], [2, 3]),
    "replace a member": ({"a": 1}, [replace("/a", {"b": 2})], {"a": {"b": 2}}),
    "replace an element": ([1, 2], [replace("/1", 3)], [1, 3]),
    "replace the root": ([1], [replace("/", {"a": 1})], {"a": 1}),
    "move": ({"a": {"b": 1}}, [move("/a/b", "/c")], {"a": {}, "c": 1}),
    "move into an array": ({"a": 1, "l": [7]}, [move("/a", "/l/-")], {"l": [7, 1]}),
    "move within an array": ([1, 2, 3], [move("/0", "/-")], [2, 3, 1]),
    "move to a name that begins alike": ({"a": 1}, [move("/a", "/ab")], {"ab": 1}),
    "copy": ({"a": [1]}, [copy("/a", "/b")], {"a": [1], "b": [1]}),
    "copy into itself": ({"a": {"b": 1}}, [copy("/a", "/a/c")], {"a": {"b": 1, "c": {"b": 1}}}),
    "copy the root": ([1], [copy("/", "/0")], [[1]]),
    "test": ({"a": [1, {"b": None}]}, [test("/a", [1, {"b": None}])], {"a": [1, {"b": None}]}),
    "one after the other": ({}, [add("/a", []), add("/a/-", 1), move("/a", "/b")], {"b": [1]}),
    "~1 is /": ({"a/b": 1}, [remove("/a~1b")], {}),
    "~0 is ~": ({"a~b": 1}, [remove("/a~0b")], {}),
    "~01 is ~1": ({"~1": 1, "/": 2}, [remove("/~01")], {"/": 2}),
    "a member named like an index": ({"0": 1}, [replace("/0", 2)], {"0": 2}),
}


@pytest.mark.parametrize("case", DONE)
def test_53_an_operation(case: str) -> None:
    body, steps, result = DONE[case]
    assert apply(body, *steps) == result


FAILED: dict[str, tuple[object, list[Any]]] = {
    "a path that does not start with /": ({"a": 1}, [remove("a")]),
    "an empty path": ({"a": 1}, [replace("", [])]),
    "an empty segment": ({"a": {"": 1}}, [remove("/a/")]),
    "an empty segment within": ({"": {"a": 1}}, [remove("//a")]),
    "no such member": ({"a": 1}, [remove("/b")]),
    "no such parent": ({"a": 1}, [add("/b/c", 1)]),
    "into a number": ({"a": 1}, [add("/a/b", 1)]),
    "into a text": ({"a": "text"}, [add("/a/0", 1)]),
    "remove from a number": ({"a": 1}, [remove("/a/b")]),
    "move out of nothing": ({"a": None}, [move("/a/b", "/c")]),
    "add behind the end": ([1], [add("/1", 2)]),
    "remove behind the end": ([1], [remove("/1")]),
    "remove at -": ([1], [remove("/-")]),
    "replace at -": ([1], [replace("/-", 2)]),
    "test at -": ([1], [test("/-", 1)]),
    "step through -": ([[1]], [add("/-/0", 2)]),
    "a negative index": ([1, 2], [remove("/-1")]),
    "an index with a leading zero": ([1, 2], [remove("/01")]),
    "an index in other digits": ([1, 2], [remove("/\u0661")]),
    "an index without end": ([1, 2], [remove("/" + "1" * 5000)]),
    "a name in an array": ([1, 2], [remove("/a")]),
    "replace what is not there": ({}, [replace("/a", 1)]),
    "remove the root": ([1], [remove("/")]),
    "move the root": ({"a": 1}, [move("/", "/b")]),
    "move into itself": ({"a": {"b": 1}}, [move("/a", "/a/b")]),
    "move an element into itself": ([{}, {}], [move("/0", "/0/a")]),
    "move what is not there": ({}, [move("/a", "/b")]),
    "copy what is not there": ({}, [copy("/a", "/b")]),
    "test what is not there": ({}, [test("/a", None)]),
    "test another value": ({"a": 1}, [test("/a", 2)]),
    "test another type": ({"a": 1}, [test("/a", "1")]),
    "test a truth against a number": ({"a": True}, [test("/a", 1)]),
    "test an array that is longer": ({"a": [1]}, [test("/a", [1, 2])]),
    "test an object with other names": ({"a": {"b": 1}}, [test("/a", {"c": 1})]),
    "add without value": ({}, [{"op": "add", "path": "/a"}]),
    "replace without value": ({"a": 1}, [{"op": "replace", "path": "/a"}]),
    "test without value": ({"a": None}, [{"op": "test", "path": "/a"}]),
    "move without from": ({"a": 1}, [{"op": "move", "path": "/b"}]),
    "copy without from": ({"a": 1}, [{"op": "copy", "path": "/b"}]),
    "no path": ({"a": 1}, [{"op": "remove"}]),
    "a path that is no text": ({"1": 1}, [{"op": "remove", "path": 1}]),
    "no op": ({}, [{"path": "/a", "value": 1}]),
    "an op that is no text": ({}, [{"op": ["add"], "path": "/a", "value": 1}]),
    "an unknown op": ({"a": 1}, [{"op": "increment", "path": "/a"}]),
    "an op that is no object": ({}, ["remove"]),
    "a failure after a success": ({"a": 1}, [remove("/a"), remove("/a")]),
    "a root that is no container": ({"a": 1}, [replace("/", 5)]),
}


@pytest.mark.parametrize("case", FAILED)
def test_54_what_fails_gives_nothing(case: str) -> None:
    body, steps = FAILED[case]
    assert apply(body, *steps) is None


@pytest.mark.parametrize(("there", "tested"), [(1, 1.0), (7, 7.9), (2.4, 2), (1.1, 1.9), (-0.5, 0)])
def test_numbers_are_tested_as_whole_ones(there: float, tested: float) -> None:
    assert apply({"a": [there]}, test("/a", [tested])) == {"a": [there]}
    assert apply({"a": there}, test("/a", tested + 1)) is None


def test_a_copy_shares_nothing_with_its_source() -> None:
    steps = [copy("/a", "/b"), add("/b/-", 2)]
    assert apply({"a": [1]}, *steps) == {"a": [1], "b": [1, 2]}


# -- the body --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_53_the_result_is_compact_and_ends_as_the_body_did(end: bytes) -> None:
    body = b' { "a" : [ 1, 2 ] } ' + end
    assert patched(body, b'[{"op": "add", "path": "/b", "value": "\xc3\xbc"}]') == (
        b'{"a":[1,2],"b":"\xc3\xbc"}' + end
    )


@pytest.mark.parametrize(
    "body", [b"", b"text", b"5", b'"text"', b"null", b"{", b"[NaN]", b'["\xff"]', b"[" * 5000]
)
def test_54_a_body_that_is_no_object_or_array_gives_nothing(body: bytes) -> None:
    assert patched(body, b"[]") == b""


@pytest.mark.parametrize("patch", [b"", b"{}", b"5", b"[", b"null", b"[" * 5000, b"[[]]"])
def test_54_a_patch_that_is_no_array_of_operations_gives_nothing(patch: bytes) -> None:
    assert patched(b'{"a":1}', patch) == b""


# -- bounds ----------------------------------------------------------------------------------------


def test_copies_of_copies_do_not_grow_without_end() -> None:
    doubling = [copy("/", "/-") for _ in range(64)]
    started = time.perf_counter()
    assert apply([1], *doubling) is None
    assert time.perf_counter() - started < 2
    result = patched(b"[1]", json.dumps(doubling[:15]).encode())
    assert 0 < len(result) <= COPIED_BYTES_MAX


def test_deep_values_are_compared_and_refused_without_recursion() -> None:
    deep = b"[" * 900 + b"]" * 900
    steps = b'[{"op":"test","path":"/0","value":%b},{"op":"replace","path":"/0","value":1}]'
    assert patched(b"[" + deep + b"]", steps % deep) == b"[1]"
    assert patched(b"[" + deep + b"]", b"[]") == b"", "deeper than can be written down"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner),
    max_leaves=8,
)
PATHS = st.lists(st.sampled_from(["", "a", "b", "0", "1", "-", "~0", "~1"]), max_size=3).map(
    lambda segments: "".join("/" + segment for segment in segments)
)
STEPS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
    optional={"path": PATHS, "from": PATHS, "value": VALUES},
)


@given(VALUES, st.lists(STEPS | VALUES, max_size=4))
def test_whatever_is_sent_the_result_is_json_or_nothing(body: object, steps: list[Any]) -> None:
    result = patched(json.dumps(body).encode(), json.dumps(steps).encode())
    assert result == b"" or isinstance(json.loads(result), dict | list)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_garbage_gives_nothing(body: bytes, patch: bytes) -> None:
    assert isinstance(patched(body, patch), bytes)
