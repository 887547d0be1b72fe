"""An answer's body on its way to the client, in the pieces that its credit allows.

The other half of `bodies.Upload`, with the packets that carry it. Never begins an answer.
"""

from __future__ import annotations

from control.bodies import Credit
from control.jsonp import Wrapping
from control.link import codec
from control.link.packets import Kind
from control.link.server import Link


class Download:
    """The rest of the body of an answer that has begun."""

    def __init__(self, link: Link, ref: int) -> None:
        self.credit = Credit()
        self.wrapping: Wrapping | None = None  # of an answer by JSON-P
        self._link = link
        self._ref = ref

    async def send(self, piece: bytes) -> None:
        """Send the next part, as fast as the client takes it."""
        if self.wrapping is not None:
            piece = self.wrapping.piece(piece)
        at = 0
        while at < len(piece):
            end = at + await self.credit.spend(len(piece) - at)
            self._link.order(codec.send(self._ref, Kind.BODY, piece[at:end], more=True))
            at = end

    def end(self, appended: bytes = b"") -> None:
        """End the body, with a few bytes more."""
        if self.wrapping is not None:
            appended = self.wrapping.piece(appended, is_last=True)
        if appended:
            self._link.order(codec.send(self._ref, Kind.BODY, appended))
        else:
            self._link.order(codec.finish(self._ref))
