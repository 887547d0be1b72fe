"""A WebSocket that speaks SockJS frames, and the one without them inside (GRIP.md 8.3)."""

from __future__ import annotations

import asyncio

from control import sockjs
from control.link.packets import Kind
from control.link.server import Link
from control.sockjs import BadPayload
from control.sockjs_door import Door, Ended
from control.sockjs_sessions import HEARTBEAT_SECONDS
from control.wsframe import FrameError, is_close_code, read_close
from control.wsgrip import Conversation, Way


class Framed(Conversation):
    """One client's WebSocket, and the door behind it."""

    __slots__ = ("_door", "_is_sending", "_outgoing", "_partial", "_room", "_task", "_unsent_bytes")

    def __init__(self, way: Way, link: Link, ref: int, door: Door) -> None:
        super().__init__(way, link, ref)
        self._door = door
        self._partial = bytearray()  # of a message whose end has not come; bounded by credit
        self._outgoing: list[str] = []  # for the door; bounded by credit
        self._unsent_bytes = 0
        self._is_sending = False
        self._room = asyncio.Event()  # nothing waits for credit
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._send(Kind.TEXT, sockjs.OPEN.encode())
        self._task = asyncio.create_task(self._relay())

    async def _relay(self) -> None:
        """Pass on what comes through the door."""
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        frame = sockjs.messages_frame([await self._door.receive()])
                except TimeoutError:
                    frame = sockjs.HEARTBEAT
                self._send(Kind.TEXT, frame.encode())
                if self._queue is not None:
                    self._room.clear()
                    await self._room.wait()
        except Ended as end:
            code, reason = (end.code, end.reason) if is_close_code(end.code) else sockjs.CLOSED
            self._send(Kind.TEXT, sockjs.close_frame(code, reason).encode())
            self._close(code, reason.encode() if code else b"")

    def received(self, kind: Kind, content: bytes, more: bool) -> None:
        """Take a message of the client, or a part of one."""
        if kind is Kind.CLOSE:
            self._client_closes(content)
            return
        if kind in (Kind.PING, Kind.PONG):
            if kind is Kind.PING:
                self._send(Kind.PONG, content)
            self._take(len(content))
            return
        self._partial += content
        self._unsent_bytes += len(content)
        if len(self._partial) > sockjs.REQUEST_MAX_BYTES:
            self._send(Kind.TEXT, sockjs.close_frame(1009, "message too large").encode())
            self._close(1009, b"message too large")
            self.stop()
        elif not more:
            payload, self._partial = bytes(self._partial), bytearray()
            try:
                self._outgoing += sockjs.read_messages(payload) if payload else ()
            except BadPayload:
                self._close(1007, b"Broken JSON encoding.")
                self.stop()
                return
            if not self._is_sending:
                self._is_sending = True
                self._way.talking.add(self)
                asyncio.create_task(self._pass_on()).add_done_callback(self._passed_on)

    async def _pass_on(self) -> None:
        while self._outgoing:
            messages, self._outgoing = self._outgoing, []
            count_bytes, self._unsent_bytes = self._unsent_bytes, 0
            await self._door.send(messages)
            self._take(count_bytes)

    def _passed_on(self, task: asyncio.Task[None]) -> None:
        self._is_sending = False
        self._way.talking.discard(self)
        if not task.cancelled():
            task.exception()  # the door's end: whoever reads it says so

    def _client_closes(self, content: bytes) -> None:
        try:
            code, reason = read_close(content)
        except FrameError:
            code, reason = 0, b""
        self._door.leave(code or 1000)
        self._close(code, reason)

    def closed(self) -> None:
        """Leave: the client has gone."""
        self._way.forget(self)
        self.stop()

    def closed_by_publish(self) -> None:
        """Nothing: what is published goes to the session inside."""

    def stop(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
        self._door.leave()

    def _end_origin(self) -> None:
        self.stop()

    def _abandon_origin(self) -> None:
        self.stop()

    def _flowing(self) -> None:
        self._room.set()

    def ring_deadline(self) -> None:
        """Nothing: there is no deadline."""
