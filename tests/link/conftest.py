"""The golden packets: hex and "text", a field a line, and what follows a # is its meaning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "golden"
FIELD = re.compile(r'"([^"]*)"|([0-9a-f]+)|(#.*)|\s+')


def packet(text: str) -> bytes:
    out = bytearray()
    for line in text.splitlines():
        at = 0
        while at < len(line):
            field = FIELD.match(line, at)
            assert field, f"neither hex nor text: {line!r}"
            quoted, digits, _ = field.groups()
            if quoted is not None:
                out += quoted.replace("\\n", "\n").encode("ascii")
            elif digits is not None:
                out += bytes.fromhex(digits)
            at = field.end()
    return bytes(out)


@pytest.fixture(scope="session")
def golden() -> dict[str, bytes]:
    """File name -> the one packet in it."""
    return {path.stem: packet(path.read_text()) for path in sorted(FOLDER.glob("*.link"))}
