"""Builds the data plane: one extension per room of `fastpath/`.

FASTPATH_DEBUG=1 builds with bounds checks, assertions and balanced books.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTPATH_DEBUG", "0") not in ("", "0")
MODE = "debug" if DEBUG else "release"

DIRECTIVES = {
    "language_level": 3,
    "embedsignature": False,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
    "overflowcheck": False,
}

# Python's own flags have -Wsign-compare, which what Cython makes of `except ENUM` does not satisfy.
FLAGS = ["-Wno-sign-compare", *(["-O1", "-g"] if DEBUG else ["-O2", "-g0"])]

extensions = [
    Extension(
        f"fastpath.{source.stem}",
        [str(source)],
        include_dirs=["fastpath"],
        define_macros=[("FASTPATH_DEBUG", str(int(DEBUG)))],
        extra_compile_args=FLAGS,
        depends=[str(header) for header in sorted(Path("fastpath").glob("*.h"))],
    )
    for source in sorted(Path("fastpath").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir=f"build/cython-{MODE}",
        compiler_directives=DIRECTIVES,
        nthreads=os.cpu_count() or 1,
    ),
)
