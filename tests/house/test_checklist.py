"""The lines of GRIP.md's checklist (section 13) have tests that are named after them."""

from __future__ import annotations

import re

from support.sources import sources

LINES = range(1, 226)
LEFT_OUT = {225}  # sessions of old clients, see docs/compatibility.md
NAME = re.compile(r"^(?:async )?def test_(\d+(?:_(?:and_)?\d+)*)_", re.MULTILINE)


def test_every_line_is_proved() -> None:
    named = (NAME.findall(path.read_text()) for path in sources("tests", suffixes=(".py",)))
    proved = {int(n) for names in named for name in names for n in re.findall(r"\d+", name)}
    assert set(LINES) - proved == LEFT_OUT
