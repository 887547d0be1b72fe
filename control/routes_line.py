"""The grammar of one line of a routes file (GRIP.md 7.1). Knows no option by name."""

# line    = section *( 1*SP section ) [ comment ]
# section = [ value ] *( "," option )
# option  = name [ "=" text ]
# comment = "#" anything

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One blank-separated part: the condition, or a target."""

    value: str
    options: tuple[tuple[str, str], ...]  # name, text; in the order written


def split_line(line: str) -> list[Section]:
    """Split a line. Empty for a blank line or a comment. Raises ValueError saying what is wrong."""
    return [_section(tokens) for tokens in _tokens(line)]


def _tokens(line: str) -> list[list[str]]:
    """Sections as lists of comma-separated tokens, quotes and escapes resolved.

    Only the space separates sections. Quotes may stand anywhere in a token; inside them commas,
    spaces and # are literal, and a backslash is followed by a backslash or a quote.
    """
    sections: list[list[str]] = []
    tokens: list[str] | None = None  # of the section being read
    quoted = False
    chars = iter(line)
    for char in chars:
        if quoted:
            if char == '"':
                quoted = False
                continue
            if char == "\\":
                char = next(chars, "")  # noqa: PLW2901 - the escaped one takes its place
                if not char:
                    raise ValueError("unterminated escape sequence")
                if char not in '\\"':
                    raise ValueError(f"unexpected escape character: {char}")
        elif char == "#":
            break
        elif char == " ":
            tokens = None
            continue
        if tokens is None:
            tokens = [""]
            sections.append(tokens)
        if quoted:
            tokens[-1] += char
        elif char == '"':
            quoted = True
        elif char == ",":
            tokens.append("")
        else:
            tokens[-1] += char
    if quoted:
        raise ValueError("unterminated quoted section")
    return sections


def _section(tokens: list[str]) -> Section:
    if "=" in tokens[0]:
        return Section("", tuple(map(_option, tokens)))
    return Section(tokens[0], tuple(map(_option, tokens[1:])))


def _option(token: str) -> tuple[str, str]:
    if not token:
        raise ValueError("expecting prop")
    name, _, text = token.partition("=")
    if not name:
        raise ValueError("empty prop name")
    return name, text
