"""The `grip` extension of WebSockets: what an origin has agreed to (GRIP.md 5.2).

Reads `Sec-WebSocket-Extensions` of an origin's answer. Never decides what follows from it.
"""

from __future__ import annotations

from control.grip.fields import Headers, parse_piece, split_all

HEADER = b"Sec-WebSocket-Extensions"
EXTENSION = b"grip"
MESSAGE_PREFIX = b"m:"


def message_prefix(headers: Headers) -> bytes | None:
    """What messages for the client begin with, perhaps nothing; None without the extension.

    An extension whose parameters cannot be read counts as absent.
    """
    for text in split_all(headers, HEADER.lower()):
        piece = parse_piece(text)
        if piece is not None and piece.value == EXTENSION:
            prefix = piece.get(b"message-prefix")
            return MESSAGE_PREFIX if prefix is None else prefix
    return None


def names_another(headers: Headers) -> bool:
    """Whether an extension is named that is not `grip`: origins are offered no other."""
    names = (text.partition(b";")[0].strip() for text in split_all(headers, HEADER.lower()))
    return any(name not in (b"", EXTENSION) for name in names)
