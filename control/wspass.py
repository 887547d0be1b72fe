"""Passthrough: a WebSocket origin behind a WebSocket client (GRIP.md 5).

Control is the origin's client: frames come in and go out here, piece by piece, so that a message
of any size passes in constant memory. There is no task: the two ends call each other, and each
holds the other back. Never finds a target and never asks for the upgrade.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from base64 import b64encode
from collections.abc import Iterator
from enum import Enum
from hashlib import sha1
from typing import cast

from control.grip.extension import names_another
from control.grip.fields import first
from control.link.packets import LINK_WINDOW, Kind
from control.link.server import Link
from control.log import log
from control.origin import Response
from control.reasons import Reason
from control.wsframe import (
    BAD_TEXT_CODE,
    FrameError,
    FrameReader,
    Opcode,
    Piece,
    encode,
    read_close,
)
from control.wsgrip import Conversation, Way

ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
CLOSE_SECONDS = 10  # for an origin to answer a close frame, or to take one
# What may wait for an origin that does not read. Credit bounds content; this, frames without any.
UNSENT_MAX_BYTES = 4 * LINK_WINDOW
KEY_BYTES = 4
KEYS_COUNT = 1024  # made at a time

OPCODES = {
    Kind.TEXT: Opcode.TEXT,
    Kind.BINARY: Opcode.BINARY,
    Kind.PING: Opcode.PING,
    Kind.PONG: Opcode.PONG,
}
KINDS = {opcode: kind for kind, opcode in OPCODES.items()}


def new_key() -> bytes:
    """Make a Sec-WebSocket-Key."""
    return b64encode(os.urandom(16))


def accept_fault(response: Response, key: bytes) -> str | None:
    """Say what is wrong with a 101 (RFC 6455 4.1); None: nothing."""
    accept = b64encode(sha1(key + ACCEPT_GUID, usedforsecurity=False).digest())
    if not response.is_upgraded:
        return "a 101 that does not upgrade"
    if first(response.headers, b"sec-websocket-accept") != accept:
        return "a wrong Sec-WebSocket-Accept"
    if names_another(response.headers):
        return "an extension that was not offered"
    return None


def _masking_keys() -> Iterator[bytes]:
    """Make keys nobody can guess: what is masked comes from strangers (RFC 6455 10.3)."""
    while True:
        run = os.urandom(KEY_BYTES * KEYS_COUNT)
        for at in range(0, len(run), KEY_BYTES):
            yield run[at : at + KEY_BYTES]


_KEYS = _masking_keys()


class State(Enum):
    """How far a conversation is."""

    OPEN = 1
    CLIENT_CLOSED = 2  # the origin has been sent the client's close frame; its own is awaited
    ORIGIN_CLOSED = 3  # the client has been told to close; its close frame is awaited
    OVER = 4  # nothing is passed on any more; perhaps the origin's close frame is awaited


class Passthrough(Conversation, asyncio.Protocol):
    """One client's WebSocket and the one to its origin, whose protocol this is."""

    __slots__ = (
        "_asked_uri",
        "_decoder",
        "_is_dropping",
        "_is_mid_upward",
        "_is_stalled",
        "_reader",
        "_state",
        "_transport",
    )

    def __init__(self, way: Way, link: Link, ref: int, uri: str) -> None:
        super().__init__(way, link, ref)
        self._asked_uri = uri  # of the handshake
        self._state = State.OPEN
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._decoder: codecs.IncrementalDecoder | None = None  # of a text that has begun
        self._is_dropping = False  # the message that has begun is not for the client
        self._is_mid_upward = False  # the client's message goes on
        self._is_stalled = False  # the origin does not read

    def open(self, prefix: bytes | None, response: Response) -> None:
        """Begin, on the connection of a 101."""
        self._begin(prefix)
        if not response.take_over(self):
            self.connection_lost(None)

    def _uri(self) -> str:
        return self._asked_uri

    # -- from the client

    def received(self, kind: Kind, content: bytes, more: bool) -> None:
        """Pass a message on, or a part of one."""
        if kind is Kind.CLOSE:
            self._client_closes(content)
            return
        if self._state is State.OPEN:
            opcode = OPCODES[kind]
            if kind in (Kind.TEXT, Kind.BINARY):
                opcode = Opcode.CONTINUATION if self._is_mid_upward else opcode
                self._is_mid_upward = more
            self._write(opcode, content, is_last=not more)
            self._said(len(content), is_last=not more)
        if self._is_stalled:
            self._taken_bytes += len(content)
        else:
            self._take(len(content))

    def _client_closes(self, content: bytes) -> None:
        if self._state is State.OPEN:
            self._state = State.CLIENT_CLOSED
            self._write(Opcode.CLOSE, content)
            self._set_deadline(CLOSE_SECONDS)
        elif self._state is State.ORIGIN_CLOSED:
            self._way.forget(self)
            self._leave(content)

    def closed(self) -> None:
        """Cut the origin off: the client has gone."""
        self._way.forget(self)
        if self._state is not State.OVER:
            self._abandon_origin()

    def closed_by_publish(self) -> None:
        """Tell the origin that the client has been told to leave."""
        if self._state is State.OPEN:
            self._way.forget(self)
            self._end_origin()

    # -- to the origin

    def _write(self, opcode: Opcode, content: bytes, *, is_last: bool = True) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(encode(opcode, content, next(_KEYS), is_last=is_last))
        if self._is_stalled and transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
            log.warning("origin_failed", route=self._way.route.id, reason="it does not read")
            transport.abort()

    def _leave(self, content: bytes = b"") -> None:
        """Send the origin a last close frame, and hang up."""
        self._state = State.OVER
        self._write(Opcode.CLOSE, content)
        if self._transport is not None:
            self._transport.close()
            self._set_deadline(CLOSE_SECONDS)

    def _end_origin(self) -> None:
        self._state = State.OVER
        self._stop_delayed()
        self._write(Opcode.CLOSE, b"")
        self._set_deadline(CLOSE_SECONDS)
        self._resume()

    def _abandon_origin(self) -> None:
        self._state = State.OVER
        self._stop_delayed()
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """Hang up."""
        self._state = State.OVER
        if self._transport is not None:
            self._transport.abort()

    def ring_deadline(self) -> None:
        """Wait no longer for the origin."""
        self._alarm = None
        if self._transport is not None:
            self._transport.abort()

    # -- told by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._way.talking.add(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what is complete; more is read when the client has taken it."""
        try:
            for piece in self._reader.feed(data):
                self._hear(piece)
        except FrameError as error:
            log.warning("origin_failed", route=self._way.route.id, reason=str(error))
            self._give_up()
            self._leave(error.code.to_bytes(2, "big"))
        transport = self._transport
        if self._queue is not None and transport is not None and transport.is_reading():
            transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the client, unless the origin has said that it goes."""
        self._transport = None
        self._way.talking.discard(self)
        self._stop_deadline()
        if self._state in (State.OPEN, State.CLIENT_CLOSED):
            self._give_up()

    def pause_writing(self) -> None:
        """Grant the client nothing while the origin does not read."""
        self._is_stalled = True

    def resume_writing(self) -> None:
        """Grant what was held back."""
        self._is_stalled = False
        if self._state is not State.OVER:
            self._grant()

    # -- from the origin

    def _hear(self, piece: Piece) -> None:
        kind = KINDS.get(piece.opcode)
        if kind is None:
            self._origin_closes(*read_close(piece.content))
            return
        self._heard(len(piece.content), is_last=piece.is_last)
        if self._state not in (State.OPEN, State.CLIENT_CLOSED):
            return
        elif kind in (Kind.PING, Kind.PONG):
            self._send(kind, piece.content)
        else:
            self._pass(kind, piece)

    def _pass(self, kind: Kind, piece: Piece) -> None:
        if kind is Kind.TEXT:
            self._check_text(piece)
        content: bytes | None = piece.content
        if piece.is_first:
            content = self._judge(kind, piece.content, is_whole=piece.is_last)
            self._is_dropping = content is None
        if content is not None and not self._is_dropping:
            self._send(kind, content, is_last=piece.is_last)

    def _check_text(self, piece: Piece) -> None:
        """Hold a text against UTF-8 as it comes."""
        try:
            if piece.is_first and piece.is_last:
                piece.content.decode()
                return
            if self._decoder is None:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
            self._decoder.decode(piece.content, piece.is_last)
            if piece.is_last:
                self._decoder = None
        except UnicodeDecodeError:
            raise FrameError("a text that is not UTF-8", BAD_TEXT_CODE) from None

    def _origin_closes(self, code: int, reason: bytes) -> None:
        if self._state is State.OPEN:
            self._state = State.ORIGIN_CLOSED
            self._close(code, reason)
            return
        if self._state is State.CLIENT_CLOSED:
            self._state = State.OVER
            self._close(code, reason)
            if self._queue is None:
                self._way.forget(self)
        if self._transport is not None:  # a server's is the first to hang up; no need to wait
            self._transport.close()

    def _flowing(self) -> None:
        if self._state is State.OVER:
            self._way.forget(self)
        self._resume()

    def _resume(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()

    def _give_up(self) -> None:
        """Cut the client off: its origin has failed."""
        if self._state is not State.OVER:
            self._state = State.OVER
            self._drop(Reason.ORIGIN_FAILED)
