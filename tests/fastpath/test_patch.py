"""The JSON patch of GRIP.md 2.6.1."""

import pytest

from fastpath.patch import patched

BODY = b'{"a":{"b":[1,2,3]},"n":7}'


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (b'[{"op":"add","path":"/x","value":1}]', b'{"a":{"b":[1,2,3]},"n":7,"x":1}'),
        (b'[{"op":"add","path":"/a/b/-","value":4}]', b'{"a":{"b":[1,2,3,4]},"n":7}'),
        (b'[{"op":"add","path":"/a/b/0","value":9}]', b'{"a":{"b":[9,2,3]},"n":7}'),
        (b'[{"op":"replace","path":"/n","value":null}]', b'{"a":{"b":[1,2,3]},"n":null}'),
        (b'[{"op":"replace","path":"/","value":[]}]', b"[]"),
        (b'[{"op":"remove","path":"/a/b/1"}]', b'{"a":{"b":[1,3]},"n":7}'),
        (b'[{"op":"copy","from":"/a/b","path":"/c"}]', b'{"a":{"b":[1,2,3]},"n":7,"c":[1,2,3]}'),
        (b'[{"op":"move","from":"/n","path":"/m"}]', b'{"a":{"b":[1,2,3]},"m":7}'),
        (b'[{"op":"test","path":"/n","value":7.9}]', BODY),
        (b'[{"op":"add","path":"/~01","value":1}]', b'{"a":{"b":[1,2,3]},"n":7,"~1":1}'),
        (b'[{"op":"add","path":"/x~1y","value":1}]', b'{"a":{"b":[1,2,3]},"n":7,"x/y":1}'),
        (b"[]", BODY),
    ],
)
def test_53_operations_change_the_body(patch, expected):
    assert patched(BODY, patch) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_53_the_line_end_of_the_body_is_kept(end):
    assert patched(b"[1]" + end, b'[{"op":"add","path":"/-","value":2}]') == b"[1,2]" + end


def test_a_copy_shares_nothing_with_its_source():
    patch = b'[{"op":"copy","from":"/a","path":"/c"},{"op":"add","path":"/c/b/-","value":4}]'
    assert patched(b'{"a":{"b":[1]}}', patch) == b'{"a":{"b":[1]},"c":{"b":[1,4]}}'


@pytest.mark.parametrize(
    "patch",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"op":"add","path":"","value":1}]',
        b'[{"op":"add","path":"x","value":1}]',
        b'[{"op":"add","path":"/a//b","value":1}]',
        b'[{"op":"add","path":"/a/b/3","value":1}]',
        b'[{"op":"add","path":"/a/b/01x","value":1}]',
        b'[{"op":"add","path":"/n/x","value":1}]',
        b'[{"op":"add","path":"/x"}]',
        b'[{"op":"replace","path":"/x","value":1}]',
        b'[{"op":"replace","path":"/a/b/-","value":1}]',
        b'[{"op":"remove","path":"/"}]',
        b'[{"op":"test","path":"/n","value":8}]',
        b'[{"op":"test","path":"/n","value":"7"}]',
        b'[{"op":"jump","path":"/n"}]',
    ],
)
def test_54_a_failing_patch_gives_an_empty_body(patch):
    assert patched(BODY, patch) == b""


@pytest.mark.parametrize("body", [b"", b"7", b'"text"', b"not json"])
def test_54_only_an_object_or_array_can_be_patched(body):
    assert patched(body, b"[]") == b""
