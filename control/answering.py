"""The answering half of an exchange: what its client is given, and in which dress.

Passes on an origin's answer, or gives one of our own, as fast as the client takes it, with CORS
headers and in the form of JSON-P where these are wanted. Decides nothing about holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from control.cors import cross_origin, cross_origin_later
from control.download import Download
from control.grip.fields import to_text
from control.grip.headers import to_client
from control.grip.instruct import HoldMode, Instruct
from control.link import codec
from control.link.packets import LINK_WINDOW, Opened
from control.link.server import Link
from control.log import log
from control.origin import Response
from control.reasons import Reason, Refusal
from control.routes import Route
from control.routes_options import LOG_LEVELS


class Answering:
    """The answer to one request."""

    def __init__(self, link: Link, opened: Opened, *, is_cross_origin: bool) -> None:
        self._link = link
        self._opened = opened
        self._ref = opened.ref
        self._is_cross_origin = is_cross_origin
        self._route: Route | None = None  # once it is known
        self._has_begun = False  # a RESPOND has been ordered
        self.download = Download(link, opened.ref)

    def _answer(self, instruct: Instruct, appended: bytes) -> None:
        """Give the response of an instruct that does not hold."""
        response = instruct.response
        if self._has_begun:  # the body has gone before
            self.download.end(appended)
        else:
            body = response.body + appended
            self._respond(response.status, response.reason, response.headers, len(body), body)

    async def _pass_on(self, response: Response) -> None:
        """Pass an answer through that is not GRIP's business (GRIP.md 1.12)."""
        headers = [h for h in to_client(response.headers) if h[0].lower() != b"content-length"]
        body = response.all_here()
        if body is not None and len(body) <= LINK_WINDOW:
            length = response.length if response.is_bodiless else len(body)
            self._respond(response.status, response.reason, headers, length, body)
            return
        await self._stream(response, headers, body or b"")
        self.download.end()

    async def _stream(
        self,
        response: Response,
        headers: Sequence[tuple[bytes, bytes]],
        first: bytes,
        instruct: Instruct | None = None,
    ) -> None:
        """Begin an answer and pass its body on as it comes, as fast as the client takes it.

        `first` has been read of it already. What ends the answer, or holds it, is the caller's.
        """
        if instruct is None:
            status, reason, length = response.status, response.reason, response.length
        else:  # more than the origin's body will follow
            status, reason, length = instruct.response.status, instruct.response.reason, -1
        self._respond(status, reason, headers, length, b"", more=True)
        piece = first or await response.read()
        while piece:
            await self.download.send(piece)
            piece = await response.read()

    def _respond(
        self,
        status: int,
        reason: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        length: int,
        body: bytes,
        *,
        more: bool = False,
    ) -> None:
        self._log("debug", "answered", status=status)
        wrapping = self.download.wrapping
        if wrapping is not None:
            headers, opening = wrapping.head(status, reason, headers)
            status, reason = 200, b"OK"
            body = opening + wrapping.piece(body, is_last=not more)
            length = -1 if more else len(body)
        headers = self._readable(headers)
        self._has_begun = True
        self._link.order(
            codec.respond(
                self._ref,
                status=status,
                reason=reason,
                headers=headers,
                length=length,
                body=body,
                more=more,
            )
        )

    def _readable(self, headers: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
        """Add what lets pages of other sites read the answer, where they may."""
        if not self._is_cross_origin:
            return headers
        return [*headers, *cross_origin(self._opened.headers, headers)]

    def _held_headers(self, instruct: Instruct) -> list[tuple[bytes, bytes]]:
        """Dress the response of a hold; marks have the worker dress what answers it."""
        headers, wrapping = instruct.response.headers, self.download.wrapping
        if instruct.mode is HoldMode.RESPONSE and wrapping is not None:
            return [wrapping.callback.mark, *self._readable(headers)]
        if instruct.mode is HoldMode.RESPONSE and self._is_cross_origin:
            return cross_origin_later(self._opened.headers, headers)
        return [*self._readable(headers)]

    def _refuse(self, refusal: Refusal, *, cut: Reason = Reason.ORIGIN_FAILED) -> None:
        """End the request with an answer of our own; if one has begun, cut it (GRIP.md 1.13)."""
        if self._has_begun:
            self._link.order(codec.close(self._ref, cut))
            return
        body = refusal.text.encode("utf-8", "surrogateescape")
        # A refused handshake has no Content-Type (GRIP.md 1.13).
        headers = [] if self._opened.websocket else [(b"Content-Type", b"text/plain")]
        self._respond(refusal.status, refusal.phrase.encode(), headers, len(body), body)

    # -- small things

    def _log(self, level: str, event: str, **more: object) -> None:
        """Log something about the request, if it is important enough for its route."""
        route = self._route
        if route is None or LOG_LEVELS.index(level) <= LOG_LEVELS.index(route.log_level):
            method = to_text(self._opened.method)
            name = {} if route is None else {"route": route.id}
            getattr(log, level)(event, method=method, path=self._path, **name, **more)

    @property
    def _path(self) -> str:
        """What was asked for, as it may stand in a log: queries carry secrets."""
        return self._opened.target.partition(b"?")[0].decode("latin-1")
