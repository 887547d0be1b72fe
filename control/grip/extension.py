"""The `grip` extension of WebSockets: what is offered, what an origin has agreed to (GRIP.md 5.2).

Reads `Sec-WebSocket-Extensions` of either side. Never decides what follows from it.
"""

from __future__ import annotations

from control.grip.fields import Headers, parse_piece, split_all

HEADER = b"Sec-WebSocket-Extensions"
EXTENSION = b"grip"
MESSAGE_PREFIX = b"m:"


def as_written(headers: Headers) -> bytes | None:
    """The `grip` extension with its parameters, as it is offered or agreed to; None without it."""
    texts = split_all(headers, HEADER.lower())
    return next((text for text in texts if _name(text) == EXTENSION), None)


def message_prefix(headers: Headers) -> bytes | None:
    """What messages for the client begin with, perhaps nothing; None without the extension.

    An extension whose parameters cannot be read counts as absent.
    """
    text = as_written(headers)
    piece = None if text is None else parse_piece(text)
    if piece is None:
        return None
    prefix = piece.get(b"message-prefix")
    return MESSAGE_PREFIX if prefix is None else prefix


def names_another(headers: Headers) -> bool:
    """Whether an extension is named that is not `grip`: origins are offered no other."""
    names = map(_name, split_all(headers, HEADER.lower()))
    return any(name not in (b"", EXTENSION) for name in names)


def _name(text: bytes) -> bytes:
    return text.partition(b";")[0].strip()
