"""What the house tests look at: the sources, and what a Cython source imports and declares."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLANES = ("control", "fastpath")
FOLDERS = (*PLANES, "tests", "benchmarks", "examples")
SUFFIXES = (".py", ".pyx", ".pxd", ".h")

IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n#]+)|c?import[ \t]+([^\n#]+))",
    re.MULTILINE,
)
DECLARATION = re.compile(
    r"^[ \t]*(?:cdef|cpdef)[ \t]+(?:inline[ \t]+)?(?!class\b)"
    r"(?P<type>[^(=\n#]*?)\b(?P<name>\w+)\([^()]*\)(?P<clause>[^\n#]*)",
    re.MULTILINE,
)


def sources(*folders: str, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The files that somebody wrote, below these folders of the repository."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    return [path for path in found if path.suffix in suffixes and "node_modules" not in path.parts]


def shown(path: Path) -> str:
    """A path as one would type it in the checkout."""
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    """The name under which a source is imported; a `.pxd` is part of its `.pyx`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> set[str]:
    """Every module of both planes."""
    return {module_of(path) for path in sources(*PLANES) if path.suffix != ".h"}


def imports(path: Path) -> set[str]:
    """The modules that a source imports or cimports, wherever in the file it does."""
    text = path.read_text()
    pairs = _imports_of_python(text) if path.suffix == ".py" else _imports_of_cython(text)
    return {f"{module}.{name}" if f"{module}.{name}" in modules() else module
            for module, name in pairs}  # fmt: skip


def _imports_of_python(text: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def _imports_of_cython(text: str) -> Iterator[tuple[str, str]]:
    for module, names, plain in IMPORT.findall(text):
        for name in re.findall(r"[\w.]+(?:[ \t]+as[ \t]+\w+)?", names or plain):
            first = name.split()[0]
            yield (module, first) if module else (first, "")
