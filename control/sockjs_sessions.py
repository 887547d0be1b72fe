"""SockJS sessions: what waits for a client between two of its requests (GRIP.md 8.3).

Each is a WebSocket client of this Fanway (`sockjs_door`). Here is when a session begins, who may
poll it, and when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from control import sockjs
from control.address import Address
from control.bodies import Upload
from control.link.packets import Opened
from control.log import log
from control.rewrite import Matched
from control.sockjs import Answer, Ask, BadPayload, Transport
from control.sockjs_door import Door, Ended, NotOpened
from control.wsframe import is_close_code

HEARTBEAT_SECONDS = 25.0
ABSENCE_SECONDS = 5.0  # without a poll; then the session is dropped
BUFFER_MAX_BYTES = 200_000  # of messages for a client; the origin waits beyond it
SESSIONS_MAX = 10_000

Headers = Sequence[tuple[bytes, bytes]]
Key = tuple[str, str]  # id of the route, id of the session


class Session:
    """One session, from its first poll to its end."""

    def __init__(self, opening: Awaitable[Door]) -> None:
        self._messages: list[str] = []
        self._messages_bytes = 0
        self._is_announced = False  # the client has been told that it is open
        self._end: tuple[int, str] | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.door: Door | None = None
        self.is_polled = False
        self.is_sending = False
        self.absence: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._run(opening))

    @property
    def is_open(self) -> bool:
        """Whether messages of the client have somewhere to go."""
        return self.door is not None and self._end is None

    async def _run(self, opening: Awaitable[Door]) -> None:
        try:
            door = self.door = await opening
            self._changed.set()
            while True:
                message = await door.receive()
                self._messages.append(message)
                self._messages_bytes += len(message)
                self._changed.set()
                if self._messages_bytes > BUFFER_MAX_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except NotOpened as error:
            log.debug("sockjs_refused", reason=str(error))
        except Ended as end:
            if is_close_code(end.code):
                self._end = end.code, end.reason
        finally:
            self._end = self._end or sockjs.CLOSED
            self._changed.set()

    async def next_frame(self) -> str:
        """Give the next frame, once there is one; a heartbeat if there is none for long."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                while True:
                    if (frame := self._frame()) is not None:
                        return frame
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return sockjs.HEARTBEAT

    def _frame(self) -> str | None:
        if self.door is not None and not self._is_announced:
            self._is_announced = True
            return sockjs.OPEN
        if self._messages:
            messages, self._messages, self._messages_bytes = self._messages, [], 0
            self._room.set()
            return sockjs.messages_frame(messages)
        if self._end is not None:
            return sockjs.close_frame(*self._end)
        return None

    def close(self) -> None:
        """End it: the client has been away for too long."""
        self._task.cancel()
        if self.door is not None:
            self.door.leave()


@dataclass(frozen=True, slots=True)
class Reply:
    """How a request is answered: at once, or by parts."""

    respond: Callable[..., None]  # status, reason, headers, length, body; more: parts follow
    send: Callable[[bytes], Awaitable[None]]
    end: Callable[[], None]

    def give(self, answer: Answer) -> None:
        """Give an answer that is ready."""
        body = answer.body
        self.respond(answer.status, answer.reason, answer.headers, len(body), body)


class Sessions:
    """All sessions."""

    def __init__(self, address: Address, script_url: str) -> None:
        """`address` is a listener of this Fanway; `script_url` is what an iframe loads."""
        self._address = address
        self._script_url = script_url
        self._sessions: dict[Key, Session] = {}  # at most SESSIONS_MAX

    def stop(self) -> None:
        """End all of them."""
        for session in self._sessions.values():
            session.close()

    def open_door(self, matched: Matched, headers: Headers) -> Awaitable[Door]:
        """Open a WebSocket to this Fanway that takes the same route."""
        target = matched.route.sockjs.encode("latin-1") + matched.query
        if not any(name.lower() == b"host" for name, _ in headers):
            headers = [(b"Host", matched.authority), *headers]
        return Door.open(self._address, target, headers)

    async def answer(self, reply: Reply, matched: Matched, opened: Opened, upload: Upload) -> None:
        """Answer a request below the base of a route."""
        rest = sockjs.rest_of(matched.path, matched.route.sockjs) or ""
        query = matched.query.removeprefix(b"?")
        asked = sockjs.read_request(
            opened.method, rest, query, opened.headers, script_url=self._script_url
        )
        if isinstance(asked, Answer):
            reply.give(asked)
        elif asked.transport in (Transport.XHR_SEND, Transport.JSONP_SEND):
            session = self._sessions.get((matched.route.id, asked.session))
            body = await upload.finish()
            reply.give(await self._take(session, asked, opened, query, body))
        else:
            await self._poll(reply, asked, matched, opened)

    async def _take(
        self, session: Session | None, ask: Ask, opened: Opened, query: bytes, body: bytes | None
    ) -> Answer:
        """Take messages of a client."""
        bad = 400, b"Bad Request"
        if session is None or session.door is None or not session.is_open:
            return sockjs.text(404, b"Not Found", "Not Found\n", opened.headers)
        if body is None:
            return sockjs.text(*bad, "Request too large.\n", opened.headers)
        if session.is_sending:
            return sockjs.text(*bad, "Already sending\n", opened.headers)
        session.is_sending = True
        try:
            payload = sockjs.payload_of(ask.transport, opened.headers, query, body)
            await session.door.send(sockjs.read_messages(payload))
        except BadPayload as error:
            return sockjs.text(*bad, f"{error}\n", opened.headers)
        except Ended:
            return sockjs.text(404, b"Not Found", "Not Found\n", opened.headers)
        finally:
            session.is_sending = False
        return sockjs.text(200, b"OK", "ok", opened.headers)

    async def _poll(self, reply: Reply, ask: Ask, matched: Matched, opened: Opened) -> None:
        key = matched.route.id, ask.session
        session = self._sessions.get(key)
        if session is None:
            if len(self._sessions) >= SESSIONS_MAX:
                busy = 503, b"Service Unavailable"
                reply.give(sockjs.text(*busy, "Too many sessions\n", opened.headers))
                return
            session = Session(self.open_door(matched, opened.headers))
            self._sessions[key] = session
        if session.is_polled:
            self._give_frame(reply, ask, opened, sockjs.close_frame(*sockjs.STILL_OPEN))
            return
        session.is_polled = True
        if session.absence is not None:
            session.absence.cancel()
        try:
            if ask.transport in (Transport.XHR_STREAMING, Transport.EVENT_SOURCE):
                await self._stream(reply, ask, opened, session)
            else:
                self._give_frame(reply, ask, opened, await session.next_frame())
        finally:
            session.is_polled = False
            loop = asyncio.get_running_loop()
            session.absence = loop.call_later(ABSENCE_SECONDS, self._drop, key)

    def _drop(self, key: Key) -> None:
        self._sessions.pop(key).close()

    def _give_frame(self, reply: Reply, ask: Ask, opened: Opened, frame: str) -> None:
        kind = sockjs.media_type(ask.transport)
        body = sockjs.rendered(frame, ask)
        reply.give(sockjs.answer(200, b"OK", kind, body, opened.headers))

    async def _stream(self, reply: Reply, ask: Ask, opened: Opened, session: Session) -> None:
        kind = sockjs.media_type(ask.transport)
        head = sockjs.answer(200, b"OK", kind, b"", opened.headers)
        reply.respond(head.status, head.reason, head.headers, -1, b"", more=True)
        await reply.send(sockjs.preamble(ask.transport))
        sent_bytes = 0
        while sent_bytes < sockjs.STREAMED_MAX_BYTES:
            frame = await session.next_frame()
            run = sockjs.rendered(frame, ask)
            await reply.send(run)
            sent_bytes += len(run)
            if frame.startswith("c"):
                break
        reply.end()
