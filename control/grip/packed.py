"""A few texts in one run of bytes: what the worker keeps for control without reading it.

Equal texts give equal runs. Knows nothing of what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control.grip.fields import to_bytes, to_text

LENGTH_BYTES = 4  # before each text, network order


def pack(texts: Iterable[str]) -> bytes:
    """Put texts into one run."""
    parts: list[bytes] = []
    for text in texts:
        run = to_bytes(text)
        parts += (len(run).to_bytes(LENGTH_BYTES, "big"), run)
    return b"".join(parts)


def unpack(run: bytes, at: int = 0) -> list[str]:
    """Take apart what `pack` made, from an offset on. ValueError if it did not make it."""
    texts: list[str] = []
    while at < len(run):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(run[at:start], "big")
        if at > len(run):
            raise ValueError("a text that ends too early")
        texts.append(to_text(run[start:at]))
    return texts


def pack_pairs(values: Mapping[str, str]) -> list[str]:
    """Give the texts of a mapping, in an order that depends on nothing but what is in it."""
    return [text for pair in sorted(values.items()) for text in pair]


def unpack_pairs(texts: list[str]) -> dict[str, str]:
    """Give the mapping of `pack_pairs`. ValueError if they are none."""
    return dict(zip(texts[::2], texts[1::2], strict=True))
