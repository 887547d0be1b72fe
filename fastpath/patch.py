"""The JSON patch of GRIP.md 2.6.1 (floor 1): a hold's body and a patch in, a body out.

RFC 6902 but for what GRIP.md lists: `/` alone is the root and no segment is empty, `add` replaces
what an array has at an index, `test` compares numbers as whole ones. It never raises for what
somebody sent, and never follows a value by recursion.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

# A copied value is a copy of its own, so a short patch that copies the whole into itself again and
# again doubles it each time. As much as a publish may carry (GRIP.md 8.7) is copied, and no more.
COPIED_BYTES_MAX = 1_000_000

APPEND = "-"
INDEX = re.compile("0|[1-9][0-9]{0,8}")  # RFC 6901, 4; no body has more elements


class PatchError(Exception):
    """The patch does not fit the body."""


def patched(body: bytes, patch: bytes) -> bytes:
    """Give the body, a JSON object or array, with the operations of `patch` done on it, in compact
    JSON and with the line end it had; empty bytes when anything is wrong with either."""
    try:
        root = {"": orjson.loads(body)}
        _require_container(root[""])
        _apply(root, orjson.loads(patch))
        _require_container(root[""])
        return orjson.dumps(root[""]) + _line_end(body)
    except (PatchError, orjson.JSONDecodeError, orjson.JSONEncodeError):
        return b""


def _line_end(body: bytes) -> bytes:
    if body.endswith(b"\r\n"):
        return b"\r\n"
    return b"\n" if body.endswith(b"\n") else b""


def _require_container(value: object) -> None:
    if not isinstance(value, dict | list):
        raise PatchError("neither object nor array")


def _apply(root: dict[str, Any], patch: object) -> None:
    # The document is the one member of `root`: with a parent, the root is a place like any other.
    if not isinstance(patch, list):
        raise PatchError("the patch is not an array")
    copied_bytes = 0
    for step in patch:
        op, path = _text(step, "op"), _path(step, "path")
        match op:
            case "add":
                _put(root, path, _value(step))
            case "remove":
                _take(root, path)
            case "replace":
                _get(root, path)
                _put(root, path, _value(step))
            case "move":
                source = _path(step, "from")
                if len(source) < len(path) and path[: len(source)] == source:
                    raise PatchError("moved into itself")
                _put(root, path, _take(root, source))
            case "copy":
                text = orjson.dumps(_get(root, _path(step, "from")))
                copied_bytes += len(text)
                if copied_bytes > COPIED_BYTES_MAX:
                    raise PatchError("too much is copied")
                _put(root, path, orjson.loads(text))
            case "test":
                if not _same(_get(root, path), _value(step)):
                    raise PatchError("not the tested value")
            case _:
                raise PatchError("no such operation")


# -- an operation's members ------------------------------------------------------------------------


def _value(step: dict[str, Any]) -> Any:
    if "value" not in step:
        raise PatchError("no value")
    return step["value"]


def _text(step: object, name: str) -> str:
    text = step.get(name) if isinstance(step, dict) else None
    if not isinstance(text, str):
        raise PatchError(f"no {name}")
    return text


def _path(step: object, name: str) -> list[str]:
    # The keys from above the root down; `~1` before `~0`, so that `~01` is `~1`.
    first, *segments = _text(step, name).split("/")
    if first or not segments:
        raise PatchError("a path starts with /")
    if segments == [""]:
        return [""]
    if "" in segments:
        raise PatchError("an empty segment")
    return ["", *(segment.replace("~1", "/").replace("~0", "~") for segment in segments)]


# -- places ----------------------------------------------------------------------------------------


def _get(root: dict[str, Any], path: list[str]) -> Any:
    value: Any = root
    for segment in path:
        value = value[_key(value, segment)]
    return value


def _put(root: dict[str, Any], path: list[str], value: object) -> None:
    parent, segment = _get(root, path[:-1]), path[-1]
    if isinstance(parent, list) and segment == APPEND:
        parent.append(value)
    elif isinstance(parent, dict):
        parent[segment] = value
    else:
        parent[_key(parent, segment)] = value


def _take(root: dict[str, Any], path: list[str]) -> Any:
    if len(path) == 1:
        raise PatchError("the root stays")
    parent = _get(root, path[:-1])
    key = _key(parent, path[-1])  # before anything is asked of a parent that may be no container
    return parent.pop(key)


def _key(parent: object, segment: str) -> str | int:
    """Name a member that exists."""
    if isinstance(parent, dict) and segment in parent:
        return segment
    if isinstance(parent, list) and INDEX.fullmatch(segment) and int(segment) < len(parent):
        return int(segment)
    raise PatchError("no such place")


def _same(one: object, other: object) -> bool:
    pairs: list[tuple[Any, Any]] = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs += [(a[key], b[key]) for key in a]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif type(a) in (int, float) and type(b) in (int, float):
            if int(a) != int(b):
                return False
        elif type(a) is not type(b) or a != b:
            return False
    return True
