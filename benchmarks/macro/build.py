"""Compiles the C programs of this folder into `bin/`, when they are older than their sources."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from benchmarks.macro.errors import BenchError

FOLDER = Path(__file__).parent
BIN = FOLDER / "bin"
PROGRAMS = ("load", "floor", "origin")
FLAGS = ("-O2", "-Wall", "-Wextra")
COMPILE_SECONDS = 60.0


def compiler() -> list[str]:
    """The C compiler: what CC says, or gcc. Raises BenchError if there is none."""
    words = shlex.split(os.environ.get("CC", "gcc"))
    if not words or not shutil.which(words[0]):
        raise BenchError(f"no C compiler {' '.join(words)!r}: install gcc, or set CC")
    return words


def build() -> None:
    """Compile what is missing or old. Raises BenchError with the compiler's own words."""
    words = compiler()
    BIN.mkdir(exist_ok=True)
    headers = list(FOLDER.glob("*.h"))
    for name in PROGRAMS:
        source, binary = FOLDER / f"{name}.c", BIN / name
        newest = max(path.stat().st_mtime for path in (source, *headers))
        if binary.exists() and binary.stat().st_mtime > newest:
            continue
        argv = [*words, *FLAGS, "-o", str(binary), str(source)]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
        )
        if done.returncode:
            raise BenchError(f"{name}.c does not compile:\n{done.stderr}")
