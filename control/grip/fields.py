"""The grammar of GRIP header values (GRIP.md 1.3). Knows no header by name, decides nothing."""

# list   = [ piece *( "," piece ) ]           ; a comma inside double quotes does not split
# piece  = value *( ";" param )
# param  = name [ "=" ( quoted / text ) ]
# quoted = DQUOTE *( "\" any / any ) DQUOTE   ; "\x" stands for x; what follows it is ignored

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[bytes, bytes]]
"""A header block as it was read: raw bytes, order and case kept."""

Param = tuple[bytes, bytes | None]
"""A name and its value; None for a bare name."""

# A quote that is never closed takes the rest, so that this always matches up to a comma or the end.
_PIECE = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z))*+', re.DOTALL)
_PARAM = re.compile(
    rb'(?P<name>[^=;]*+)(?:=(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"[^;]*+|(?P<text>[^";][^;]*+|(?=;))))?'
    rb"(?:;|\Z)",
    re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_INTEGER = re.compile(rb"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One element of a header: the value as written (never unquoted), and its parameters."""

    value: bytes
    params: tuple[Param, ...]

    def get(self, name: bytes) -> bytes | None:
        """The value of the first parameter of that (lower-case) name; None if it has none."""
        return next((value for key, value in self.params if key.lower() == name), None)


def first(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header, by its lower-case name, trimmed; None if there is none."""
    return next((value.strip() for key, value in headers if key.lower() == name), None)


def split_all(headers: Headers, name: bytes) -> list[bytes]:
    """The comma-separated elements of all headers of that (lower-case) name, in order."""
    return [p for key, value in headers if key.lower() == name for p in _split(value)]


def parse_piece(text: bytes) -> Piece | None:
    """Parse `value; name=value; name`. None if a quote, an escape or a value is missing."""
    value, _, rest = text.partition(b";")
    params = parse_params(rest)
    return None if params is None else Piece(value.strip(), params)


def parse_params(text: bytes) -> tuple[Param, ...] | None:
    """Parse `name=value; name`. None if a quote, an escape or a value is missing."""
    params: list[Param] = []
    at = 0
    while at < len(text):
        match = _PARAM.match(text, at)
        if match is None:
            return None
        name, quoted, plain = match.group("name", "quoted", "text")
        value = plain.strip() if plain is not None else None
        if quoted is not None:
            value = _ESCAPED.sub(rb"\1", quoted)
        params.append((name.strip(), value))
        at = match.end()
    return tuple(params)


def parse_int(text: bytes) -> int | None:
    """A decimal integer, blanks around it allowed; None if it is not one."""
    text = text.strip()
    return int(text) if _INTEGER.fullmatch(text) else None


def to_text(raw: bytes) -> str:
    """The text of an id or a name; bytes that are not UTF-8 survive the way back."""
    return raw.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The bytes that `to_text` made a text of, or UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _split(value: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(value):
        match = _PIECE.match(value, at)
        assert match is not None  # the pattern matches the empty string
        pieces.append(match.group().strip())
        at = match.end() + 1
    return pieces
