"""A WebSocket client (floor 3): what it says goes up, in pieces.

The worker keeps the protocol (RFC 6455): frames and UTF-8 here, what goes down and the close
handshake in ws_sender; control says what messages mean. A message is never joined here, so its
size costs nothing; an idle WebSocket is this object, its row, and its rows in the table.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from fastpath.limits cimport LINK_WINDOW
from fastpath.link_wire cimport Kind
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row, RowFlag
from fastpath.session cimport SCRATCH, Roster, scratch
from fastpath.tally cimport Counter
from fastpath.view cimport View
from fastpath.ws_deflate cimport Inflater
from fastpath.ws_sender cimport WsSender, WsState
from fastpath.ws_wire cimport (
    UTF8_BAD, UTF8_OK, Opcode, WsFault, WsPiece, WsStep, close_fault, close_frame, utf8_check,
    ws_begin, ws_frame, ws_read,
)

cdef enum:
    PIECE_MIN = 16384              # bytes reported of a frame that is not complete
    PIECE_MAX = 65536              # bytes of what a message is inflated to at a time
    ANY_SIZE = 0x7FFFFFFF          # more than one read brings


@cython.final
cdef class WsSession(WsSender):
    """The data plane's end of one WebSocket; uvloop calls it as its protocol."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._state = WsState.GONE             # until it takes over

    def take_over(self, transport, int window_bits, bytes behind):
        """Begin where the handshake ended; `behind` is what the client has sent since, or None.

        `window_bits` are those of permessage-deflate, 0 without it.
        """
        self._transport = transport
        self._window_bits = <uint8_t> window_bits
        self._credit = LINK_WINDOW
        ws_begin(&self._reader, True, window_bits != 0)
        try:
            self.set_state(WsState.OPEN)
            if self._roster.draining:
                self.drain()
            if behind:
                self._read_again(behind)
        except Exception as wrong:
            self._roster.failed(self, "handshake_failed", wrong)

    # -- the loop calls ---------------------------------------------------------------------------

    def get_buffer(self, sizehint):
        return SCRATCH

    def buffer_updated(self, Py_ssize_t count):
        cdef View v
        v.at = scratch
        v.left = count
        try:
            self._roster.tally.add(Counter.BYTES_IN, count)
            self._read(&v)
        except Exception as wrong:             # ours, never the client's: the one place for it
            self._roster.failed(self, "read_failed", wrong)

    def eof_received(self):
        # Without a close frame this is an end; after one, the client only waits for ours.
        cdef Row* row = &self._roster.rows[self.slot]
        self._eof = True
        if self._state == WsState.GONE:
            return False
        if self._state == WsState.CLOSING and self._theirs:
            return True
        if self._state == WsState.DRAINING and (row.count or row.flags & RowFlag.BLOCKED):
            return True
        self.end(Reason.PEER_CLOSED)
        return False

    def connection_lost(self, exc):
        if self._state != WsState.GONE:
            self.end(Reason.PEER_RESET if exc is not None else Reason.PEER_CLOSED)
        self._roster.leave(self)
        self._transport = None

    def pause_writing(self):
        """The row is marked BLOCKED by whoever wrote."""

    def resume_writing(self):
        if self._state == WsState.GONE:
            return
        self._roster.resume(self.slot)
        self.rearm()

    # -- reading ----------------------------------------------------------------------------------

    cdef bint _hears(self) noexcept:
        return not self._theirs and self._state <= WsState.CLOSING

    cdef bint _discards(self) noexcept:
        return self._released or self._ours

    cdef bint _stuck(self) noexcept:
        return self._inflater is not None and self._inflater.pending()

    cdef Outcome _read(self, View* v) except Outcome.FAIL:
        cdef WsPiece p
        cdef WsStep step
        while self._hears() and not self._stuck() and (self._credit > 0 or self._discards()):
            step = ws_read(
                &self._reader, v, &p, ANY_SIZE if self._discards() else self._credit,
                self._roster.limits.ws_message_max_bytes,
            )
            if step == WsStep.WS_MORE:
                break
            if step == WsStep.WS_BAD:
                self._fail(<WsFault> self._reader.fault)
            elif p.opcode >= Opcode.CLOSE:
                self._take_control(&p)
            elif p.compressed:
                self._take_compressed(&p)
            else:
                self._take(p.opcode, p.at, p.size, p.last)
        if v.left and self._hears():           # for want of credit
            self._kept = PyBytes_FromStringAndSize(<const char*> v.at, v.left)
        return self.pace()

    cdef Outcome _read_again(self, bytes run) except Outcome.FAIL:
        # Bytes that were kept, at most one read; in the scratch buffer they can be unmasked.
        cdef View v
        memcpy(scratch, PyBytes_AS_STRING(run), PyBytes_GET_SIZE(run))
        v.at = scratch
        v.left = PyBytes_GET_SIZE(run)
        return self._read(&v)

    cdef Outcome go_on(self) except Outcome.FAIL:
        # There is credit again, or none is needed any more.
        cdef bytes kept = self._kept
        if self._discards():
            self._inflater = None              # no message is gone on with
        self._inflate()
        if kept is None or self._stuck() or not self._hears():
            return self.pace()
        self._kept = None
        return self._read_again(kept)

    cdef Outcome pace(self) except Outcome.FAIL:
        # Read from the client only what has somewhere to go; what is no longer heard may come.
        cdef bint stop = self._hears() and (
            self._kept is not None or self._stuck()
            or (self._linkless and self._state == WsState.OPEN)
        )
        if self._eof or self._state == WsState.GONE or stop == self._paused:
            return Outcome.DONE
        self._paused = stop
        if stop:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
        return Outcome.DONE

    cdef Outcome _take(
        self, int opcode, const uint8_t* at, Py_ssize_t size, bint last
    ) except Outcome.FAIL:
        # A piece of a message, as it was before it was compressed.
        cdef bytes piece
        if opcode == Opcode.TEXT:
            self._text = utf8_check(self._text, at, size)
            if self._text == UTF8_BAD or (last and self._text != UTF8_OK):
                return self._fail(WsFault.FAULT_TEXT)
        if self._discards() or (size == 0 and not last and self._piece is None):
            return Outcome.DONE
        self._credit -= size
        piece = PyBytes_FromStringAndSize(<const char*> at, size)
        if self._piece is not None:
            piece = self._piece + piece
        # Each report becomes a frame further on: a frame that comes in chops makes few of them.
        if self._reader.in_frame and PyBytes_GET_SIZE(piece) < PIECE_MIN and self._credit > 0:
            self._piece = piece
            return Outcome.DONE
        self._piece = None
        return self._roster.upstream.received(
            self, Kind.KIND_TEXT if opcode == Opcode.TEXT else Kind.KIND_BINARY, piece, not last
        )

    cdef Outcome _take_compressed(self, WsPiece* p) except Outcome.FAIL:
        if self._discards():                   # no message depends on an earlier one
            self._text = UTF8_OK
            return Outcome.DONE
        if self._inflater is None:
            self._inflater = Inflater()
        self._inflater.feed(PyBytes_FromStringAndSize(<const char*> p.at, p.size), p.last)
        self._inflated_kind = p.opcode
        self._inflated_last = p.last
        return self._inflate()

    cdef Outcome _inflate(self) except Outcome.FAIL:
        cdef bytes out
        while self._stuck() and self._credit > 0:
            out = self._inflater.take(min(self._credit, PIECE_MAX))
            if out is None:
                return self._fail(WsFault.FAULT_PROTOCOL)
            if self._inflater.too_big(self._roster.limits.ws_message_max_bytes):
                return self._fail(WsFault.FAULT_SIZE)
            self._take(
                self._inflated_kind, <const uint8_t*> PyBytes_AS_STRING(out),
                PyBytes_GET_SIZE(out), self._inflated_last and not self._inflater.pending(),
            )
        if self._inflater is not None and self._inflated_last and not self._stuck():
            self._inflater = None
        return Outcome.DONE

    cdef Outcome _take_control(self, WsPiece* p) except Outcome.FAIL:
        cdef bytes payload = PyBytes_FromStringAndSize(<const char*> p.at, p.size)
        cdef bytes pong
        if self._control is not None:
            payload = self._control + payload
        self._control = None if p.last else payload
        if not p.last:
            return Outcome.DONE
        if p.opcode == Opcode.CLOSE:
            return self._take_close(payload)
        if not self._discards():
            self._credit -= PyBytes_GET_SIZE(payload)
            return self._roster.upstream.received(
                self, Kind.KIND_PING if p.opcode == Opcode.PING else Kind.KIND_PONG, payload, False
            )
        if p.opcode == Opcode.PING and not self._ours:
            pong = ws_frame(Opcode.PONG, payload, True, False)
            self._roster.offer(self.slot, <PyObject*> pong)    # dropped, if it takes none
        return Outcome.DONE

    cdef Outcome _take_close(self, bytes payload) except Outcome.FAIL:
        cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(payload)
        cdef WsFault fault = close_fault(at, PyBytes_GET_SIZE(payload))
        if fault != WsFault.FAULT_NONE:
            return self._fail(fault)
        self._theirs = True
        self._code = <uint16_t> ((at[0] << 8) | at[1]) if payload else 0
        if not (self._released or self._told):
            self._roster.upstream.received(self, Kind.KIND_CLOSE, payload, False)
        if self._state == WsState.CLOSING:
            return self.drain_out()
        self.set_state(WsState.CLOSING)
        self.wind_up()
        if self._released:
            return self.say_close(self._code, payload[2:], Reason.PEER_CLOSED)
        return self.rearm()

    cdef Outcome grant(self, uint32_t count) except Outcome.FAIL:
        self._credit += count
        return self.go_on()

    cdef Outcome _fail(self, WsFault fault) except Outcome.FAIL:
        self._roster.tally.add(Counter.ENDED_FAULTY, 1)
        self._code = <uint16_t> fault
        if not self._ours:
            self._ours = True
            self._reason = (
                Reason.BAD_TEXT if fault == WsFault.FAULT_TEXT else
                Reason.MESSAGE_TOO_BIG if fault == WsFault.FAULT_SIZE else Reason.BAD_FRAME
            )
            self._roster.queue(self.slot, close_frame(fault, b""))
        self.wind_up()
        self.tell()
        return self.drain_out()

    cdef Outcome drop_unread(self) except Outcome.FAIL:
        self._kept = None
        self._piece = None
        self._control = None
        self._inflater = None
        return Outcome.DONE
