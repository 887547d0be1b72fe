"""Origins whose traffic is counted: what each call sends, and what its answer brings.

In the place of `Origins` where statistics are published; says of bytes what there is to say, and
changes none. What is no answer to a request is counted too, once it has been sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from control import traffic
from control.errors import OriginError
from control.origin import Body, Origins, Request, Response
from control.routes import Target

Count = Callable[[str, str, int], None]  # route, field, bytes


class CountedOrigins(Origins):
    """Origins that tell `count` of all they send and read."""

    count: Count | None = None  # nobody listens yet

    async def call(
        self, targets: Sequence[Target], ask: Callable[[Target], Request], body: Body
    ) -> Response:
        """Ask, and count. OriginError if there is no answer."""
        count = self.count
        if count is None:
            return await super().call(targets, ask, body)
        asked: list[Request] = []  # of each target that was tried

        def noted(target: Target) -> Request:
            asked.append(ask(target))
            return asked[-1]

        going = _CountedBody(body)
        try:
            response = await super().call(targets, noted, going)
        except OriginError as error:
            if not error.tried and asked:
                _count_request(count, asked[-1], going)
            raise
        request = asked[-1]
        _count_request(count, request, going)
        start = str(response.status).encode(), response.reason
        head_bytes = traffic.head_bytes(start, response.headers)
        count(request.route, traffic.SERVER_HEADERS_IN, head_bytes)
        return _CountedResponse(response, count, request.route)


def _count_request(count: Count, request: Request, going: _CountedBody) -> None:
    head_bytes = traffic.head_bytes((request.method, request.target), request.headers)
    count(request.route, traffic.SERVER_HEADERS_OUT, head_bytes)
    going.tell(count, request.route)


class _CountedBody:
    """A request's body, on its way to an origin."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._bytes = 0
        self._count: Count | None = None  # from when the route is known
        self._route = ""

    @property
    def length(self) -> int:
        return self._body.length

    def whole(self) -> bytes | None:
        whole = self._body.whole()
        self._bytes = 0 if whole is None else len(whole)
        return whole

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._body.pieces():
            self._bytes += len(piece)
            if self._count is not None:  # the origin has answered before it was asked completely
                self.tell(self._count, self._route)
            yield piece

    def tell(self, count: Count, route: str) -> None:
        """Count what has gone, and from now on what goes."""
        self._count, self._route = count, route
        count(route, traffic.SERVER_CONTENT_OUT, self._bytes)
        self._bytes = 0


class _CountedResponse(Response):
    """An answer, whose body is counted as it is read."""

    def __init__(self, response: Response, count: Count, route: str) -> None:
        super().__init__(
            target=response.target,
            status=response.status,
            reason=response.reason,
            headers=response.headers,
            length=response.length,
            is_bodiless=response.is_bodiless,
        )
        self._response = response
        self._count = count
        self._route = route

    def all_here(self) -> bytes | None:
        return self._counted(self._response.all_here())

    async def read(self) -> bytes:
        piece = await self._response.read()
        self._counted(piece)
        return piece

    def _counted(self, piece: bytes | None) -> bytes | None:
        if piece:
            self._count(self._route, traffic.SERVER_CONTENT_IN, len(piece))
        return piece

    @property
    def is_upgraded(self) -> bool:
        return self._response.is_upgraded

    def take_over(self, protocol: asyncio.Protocol) -> bool:
        return self._response.take_over(protocol)

    def close(self) -> None:
        self._response.close()
