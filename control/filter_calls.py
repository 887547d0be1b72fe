"""The filters that ask an origin: http-check and http-modify (GRIP.md 3.7).

One POST each, at a pace and with a bound on how many are under way. What an origin answers is read
here; what becomes of the item is decided by who asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from control.bodies import NO_BODY, Whole
from control.errors import FilterError, OriginError
from control.grip.fields import first
from control.grip.published import Published
from control.grip.traits import Traits
from control.house import House
from control.links import Home
from control.origin import Response

CALLS_PER_SECOND = 100  # GRIP.md 3.7
CALL_SECONDS = 10.0  # that a filter waits for its answer, in all
# Under way or waiting for their turn: what can be begun, at the pace, before the last one has
# waited for too long.
CALLS_MAX = int(CALLS_PER_SECOND * CALL_SECONDS)
ANSWER_MAX_BYTES = 100_000


class FilterCalls:
    """The requests of filters."""

    def __init__(self, house: House) -> None:
        """Must be made in a running loop."""
        self._house = house
        self._clock = asyncio.get_running_loop().time
        self._next_at = 0.0  # when the next one may be begun
        self._count = 0

    async def ask(
        self,
        name: str,
        content: bytes,
        published: Published,
        traits: Traits,
        lasts: Sequence[tuple[str, str]],
    ) -> bytes | None:
        """Ask what becomes of content; None: nothing. FilterError if there is no answer."""
        *home, url = traits.origin
        if not url:
            raise FilterError("missing url value")
        if self._count >= CALLS_MAX:
            raise FilterError("too many network requests")
        self._count += 1
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._turn()
                response = await self._house.subrequest(
                    Home.of_texts(*home),
                    url,
                    b"POST",
                    lasts=lasts,
                    headers=[
                        (b"Sub-Meta", _as_json(traits.meta)),
                        (b"Pub-Meta", _as_json(published.meta)),
                    ],
                    body=Whole(content) if name == "http-modify" else NO_BODY,
                )
                return await _read_answer(name, response, content)
        except TimeoutError:
            raise FilterError("network request failed: request timed out") from None
        except OriginError as error:
            raise FilterError(f"network request failed: {error.condition}") from None
        finally:
            self._count -= 1

    async def _turn(self) -> None:
        now = self._clock()
        at = max(now, self._next_at)
        self._next_at = at + 1 / CALLS_PER_SECOND
        if at > now:
            await asyncio.sleep(at - now)


async def _read_answer(name: str, response: Response, content: bytes) -> bytes | None:
    try:
        if response.status not in (200, 204):
            raise FilterError(f"unexpected network request status: code={response.status}")
        body, is_whole = await response.read_up_to(ANSWER_MAX_BYTES)
    finally:
        response.close()
    if first(response.headers, b"action") == b"drop":
        return None
    if name != "http-modify" or response.status == 204:
        return content
    if not is_whole:
        raise FilterError(f"network response exceeded {ANSWER_MAX_BYTES} bytes")
    return body


def _as_json(meta: Mapping[str, str]) -> bytes:
    """Write metadata as a header value: JSON in ASCII, so that nothing of it ends the line."""
    return json.dumps(dict(meta), separators=(",", ":"), sort_keys=True).encode()
