"""What every file of the house keeps to. A rule that a reviewer says twice is a test here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.sources import DECLARATION, FOLDERS, PLANES, ROOT, shown, sources

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100

MARKER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
PYTHON_TYPES = {"object", "bytes", "bytearray", "str", "list", "tuple", "dict", "set", "type"}
POINTER_FIELD = re.compile(
    r"^[ \t]+(?!return\b)[\w \t]*\w[ \t]*\*+[ \t]*\w+(?:\[\w*\])?[ \t]*(#.*)?$"
)
OWNERSHIP = re.compile(r"\b(?:owned|borrowed|shared)\b")


def _code_lines(path: Path) -> list[str]:
    """The lines without their comments."""
    return [re.sub(r"(^|\s)#.*", "", line) for line in path.read_text().splitlines()]


def test_files_are_short() -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in sources(*FOLDERS)}
    long = [f"{path}: {count} lines" for path, count in lengths.items() if count > FILE_LINES_MAX]
    assert not long, "\n".join(long)


def test_lines_are_short() -> None:
    long = [
        f"{shown(path)}:{number}"
        for path in sources(*FOLDERS)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_COLUMNS_MAX
    ]
    assert not long, "\n".join(long)


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function."""
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1
        return
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        begins = re.match(r"(\s*)(?:async\s+)?(?:cpdef|cdef|def)\s(?!class\b)[^=]*?(\w+)\(", line)
        if begins:
            inside = re.compile(rf"\s*$|{begins[1]}(?:\s|\))")  # `)` ends a long signature
            rest = lines[number + 1 :]
            length = next((n for n, one in enumerate(rest) if not inside.match(one)), len(rest))
            body = "\n".join(lines[number : number + 1 + length]).rstrip()
            yield begins[2], body.count("\n") + 1


def test_functions_are_short() -> None:
    long = [
        f"{shown(path)}: {name} has {length} lines"
        for path in sources(*FOLDERS, suffixes=(".py", ".pyx"))
        for name, length in _functions(path)
        if length > FUNCTION_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_nothing_is_left_for_later() -> None:
    left = [
        f"{shown(path)}:{number}"
        for path in sources(*FOLDERS)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MARKER.search(line)
    ]
    assert not left, "\n".join(left)


def test_every_module_says_what_it_is() -> None:
    silent = [
        shown(path)
        for path in sources(*PLANES, "benchmarks", "examples", "tests/support")
        if path.suffix in (".py", ".pyx")
        and path.read_text().strip()
        and not path.read_text().startswith(('"""', "#!"))
    ]
    assert not silent, "\n".join(silent)


def test_every_contract_says_what_the_room_is() -> None:
    for path in sources("fastpath", suffixes=(".pxd",)):
        assert path.read_text().startswith("# "), shown(path)


def test_every_pointer_says_whose_it_is() -> None:
    nameless = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in sources("fastpath", suffixes=(".pxd",))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "(" not in line.partition("#")[0]
        and (field := POINTER_FIELD.match(line))
        and not OWNERSHIP.search(field[1] or "")
    ]
    assert not nameless, "\n".join(nameless)


def test_every_c_function_says_how_it_fails() -> None:
    files = sources("fastpath", suffixes=(".pyx", ".pxd"))
    classes = {name for path in files for name in re.findall(r"cdef class (\w+)", path.read_text())}
    silent = []
    for path in files:
        text = "\n".join(_code_lines(path))
        for found in DECLARATION.finditer(text):
            kind = found["type"].strip()
            fails = re.search(r"\b(?:except|noexcept)\b", found["clause"])
            if not kind or (kind not in PYTHON_TYPES | classes and not fails):
                number = text.count("\n", 0, found.start()) + 1
                silent.append(f"{shown(path)}:{number}: {found['name']}")
    assert not silent, "\n".join(silent)


def test_only_the_gate_assigns_the_state() -> None:
    for path in sources("fastpath", suffixes=(".pyx",)):
        function = ""
        for number, line in enumerate(_code_lines(path), 1):
            if begins := re.match(r"\s*(?:cpdef|cdef|def)\s(?!class\b)[^=]*?(\w+)\(", line):
                function = begins[1]
            if re.search(r"\._state\s*=[^=]", line):
                allowed = function in ("set_state", "__init__", "__cinit__")
                assert allowed, f"{shown(path)}:{number}: {function}"


def test_the_tour_names_what_exists() -> None:
    readme = ROOT.joinpath("README.md").read_text()
    tour = re.search(r"^## The tour\n(.*?)^## The invariants", readme, re.M | re.S)
    assert tour
    code = {
        word
        for path in sources("control", "fastpath", "examples", "tests")
        for line in _code_lines(path)
        for word in re.findall(r"\w+", line)
    }
    named = re.findall(r"`([^`]+)`", tour[1])
    assert len(named) > 40
    for name in named:
        if "/" in name and " " not in name:
            assert list(ROOT.glob(name)), name
        else:
            unknown = [word for word in re.findall(r"[A-Za-z_]\w*", name) if word not in code]
            assert not unknown, f"{name}: {unknown}"


def test_the_guide_has_every_event_of_the_log() -> None:
    said = re.compile(r'\blog\.(?:info|warning|error)\(\s*"(\w+)"')
    events = {name for path in sources(*PLANES) for name in said.findall(path.read_text())}
    assert "worker_linked" in events
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in sorted(events) if f"`{name}`" not in guide] == []
