"""The JSON patch of GRIP.md 2.6.1 (floor 1): a hold's body and a patch in, the patched body out.

RFC 6902 with the differences that publishers rely on: `/` alone is the root and an empty path is
refused, `add` at an index of an array replaces, `-` appends, `test` compares numbers as integers,
`~1` is undone before `~0`. Knows no hold and no message; whatever is wrong, the result is empty.
"""

import copy

import orjson

PATCH_OPERATIONS_MAX = 10_000  # of one patch: as many as a publish body can hold and be meant


def patched(body: bytes, patch: bytes) -> bytes:
    """Apply `patch` to `body`: JSON, the body an object or an array. b"" on any failure."""
    try:
        whole = orjson.loads(body)
        operations = orjson.loads(patch)
        if not isinstance(whole, dict | list) or not isinstance(operations, list):
            return b""
        if len(operations) > PATCH_OPERATIONS_MAX:
            return b""
        for operation in operations:
            whole = _apply(whole, operation)
        text = orjson.dumps(whole)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return b""
    for end in (b"\r\n", b"\n"):
        if body.endswith(end):
            return text + end
    return text


def _apply(whole, operation):
    """One operation on the whole document; returns the document."""
    op = operation["op"]
    path = _steps(operation["path"])
    if op == "test":
        if not _same(_get(whole, path), operation["value"]):
            raise ValueError("test failed")
        return whole
    if op == "add":
        return _put(whole, path, operation["value"], must_exist=False)
    if op == "replace":
        return _put(whole, path, operation["value"], must_exist=True)
    if op == "remove":
        return _remove(whole, path)
    if op == "copy":
        value = copy.deepcopy(_get(whole, _steps(operation["from"])))
        return _put(whole, path, value, must_exist=False)
    if op == "move":
        source = _steps(operation["from"])
        value = _get(whole, source)
        return _put(_remove(whole, source), path, value, must_exist=False)
    raise ValueError("unknown operation")


def _steps(path):
    """The segments of a path."""
    if not path.startswith("/"):
        raise ValueError("a path starts with /")
    if path == "/":
        return []
    steps = path[1:].split("/")
    if "" in steps:
        raise ValueError("empty segment")
    return [step.replace("~1", "/").replace("~0", "~") for step in steps]


def _get(whole, steps):
    for step in steps:
        whole = whole[_index(whole, step)] if isinstance(whole, list) else whole[step]
    return whole


def _index(array, step):
    """The position a segment names in an array; it exists."""
    if not (step.isascii() and step.isdigit()) or int(step) >= len(array):
        raise IndexError(step)
    return int(step)


def _put(whole, steps, value, *, must_exist):
    if not steps:
        return value
    parent = _get(whole, steps[:-1])
    last = steps[-1]
    if isinstance(parent, list):
        if last == "-" and not must_exist:
            parent.append(value)
        else:
            parent[_index(parent, last)] = value
    elif isinstance(parent, dict):
        if must_exist and last not in parent:
            raise KeyError(last)
        parent[last] = value
    else:
        raise TypeError("no container")
    return whole


def _remove(whole, steps):
    if not steps:
        raise ValueError("the root stays")
    parent = _get(whole, steps[:-1])
    if isinstance(parent, list):
        del parent[_index(parent, steps[-1])]
    elif isinstance(parent, dict):
        del parent[steps[-1]]
    else:
        raise TypeError("no container")
    return whole


def _same(found, expected):
    """Equal as GRIP compares: numbers as integers, true and false as themselves."""
    numbers = isinstance(found, int | float) and isinstance(expected, int | float)
    if numbers and not isinstance(found, bool) and not isinstance(expected, bool):
        return int(found) == int(expected)
    return type(found) is type(expected) and found == expected
