"""A WebSocket client (floor 3): what it says goes up in pieces, what control says down as frames.

The worker keeps the protocol (RFC 6455): frames, UTF-8, the close handshake; control says what
messages mean. A message is never joined here, so its size costs nothing; an idle WebSocket is
this object, its row, and its rows in the table.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.frame cimport Action, KeepAlive, Message, whole_frame
from fastpath.limits cimport LINK_GRANT_AT, LINK_WINDOW
from fastpath.link_wire cimport Kind, Signal
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row, RowFlag
from fastpath.session cimport SCRATCH, Roster, now_ms, scratch
from fastpath.tally cimport Counter
from fastpath.variants cimport Mode, Variant
from fastpath.view cimport View
from fastpath.ws_deflate cimport WINDOW_BITS_MAX, Inflater
from fastpath.ws_wire cimport (
    UTF8_BAD, UTF8_OK, WS_CONTROL_MAX, Opcode, WsFault, WsPiece, WsStep, close_fault, close_frame,
    utf8_check, ws_begin, ws_frame, ws_payload_size, ws_read,
)

cdef enum:
    PIECE_MIN = 16384              # bytes reported of a frame that is not complete
    PIECE_MAX = 65536              # bytes of what a message is inflated to at a time
    ANY_SIZE = 0x7FFFFFFF          # more than one read brings
    CLOSE_TIMEOUT_MS = 10_000      # for the client's half of the close handshake
    LINGER_MS = 2000               # what a client that is still sending has, to read our last word


@cython.final
cdef class WsSession(Session):
    """The data plane's end of one WebSocket; uvloop calls it as its protocol."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._state = WsState.GONE             # until it takes over

    cdef Outcome set_state(self, int new) except Outcome.FAIL:
        if not ws_allowed(self._state, new):
            # Whoever called into the session ends it, with INTERNAL (Roster.failed).
            raise AssertionError(f"WsSession: {self._state} -> {new}")
        self._roster.tally.add(
            Counter.HOLDS_WS, (new != WsState.GONE) - (self._state != WsState.GONE)
        )
        self._state = new
        return Outcome.DONE

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
        self._rearm()

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
        return self._pace()

    cdef Outcome _read_again(self, bytes run) except Outcome.FAIL:
        # Bytes that were kept, at most one read; in the scratch buffer they can be unmasked.
        cdef View v
        memcpy(scratch, PyBytes_AS_STRING(run), PyBytes_GET_SIZE(run))
        v.at = scratch
        v.left = PyBytes_GET_SIZE(run)
        return self._read(&v)

    cdef Outcome _go_on(self) except Outcome.FAIL:
        # There is credit again, or none is needed any more.
        cdef bytes kept = self._kept
        self._inflate()
        if kept is None or self._stuck() or not self._hears():
            return self._pace()
        self._kept = None
        return self._read_again(kept)

    cdef Outcome _pace(self) except Outcome.FAIL:
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
            return self._drain_out()
        self.set_state(WsState.CLOSING)
        self._wind_up()
        if self._released:
            return self._say_close(self._code, payload[2:], Reason.PEER_CLOSED)
        return self._rearm()

    # -- orders -----------------------------------------------------------------------------------

    cdef Outcome send(self, int kind, bytes body, bint more) except Outcome.FAIL:
        cdef Row* row = &self._roster.rows[self.slot]
        cdef bint control = kind == Kind.KIND_PING or kind == Kind.KIND_PONG
        cdef bytes frame
        if self._ours or self._state >= WsState.DRAINING:
            return Outcome.DONE                # it crossed our close frame
        if kind == Kind.KIND_BODY or kind == Kind.KIND_CLOSE:
            return self.end(Reason.ORDER_REFUSED)
        if control and (more or PyBytes_GET_SIZE(body) > WS_CONTROL_MAX):
            return self.end(Reason.ORDER_REFUSED)
        if control or not (more or row.flags & RowFlag.MIDWAY):
            frame = whole_frame(kind, body, self._window_bits)
        elif row.flags & RowFlag.MIDWAY:
            frame = ws_frame(Opcode.CONTINUATION, body, not more, False)
        else:
            frame = ws_frame(
                Opcode.TEXT if kind == Kind.KIND_TEXT else Opcode.BINARY, body, False, False
            )
        if not control:
            row.flags = (row.flags & ~RowFlag.MIDWAY) | (RowFlag.MIDWAY if more else 0)
        row.sent_ms = now_ms()
        self._roster.queue(self.slot, frame)
        self._owed += <uint32_t> PyBytes_GET_SIZE(body)
        if self._owed >= LINK_GRANT_AT:        # an echo costs no packet
            row.flags |= RowFlag.TELL
        return Outcome.DONE

    cdef Outcome grant(self, uint32_t count) except Outcome.FAIL:
        self._credit += count
        return self._go_on()

    cdef Outcome subscribe(self, bytes channel, bytes traits) except Outcome.FAIL:
        cdef Roster roster = self._roster
        if self._state == WsState.OPEN:
            return roster.table.hold(
                channel,
                Variant.WS_DEFLATED if self._window_bits == WINDOW_BITS_MAX else Variant.WS,
                self.slot, None, traits or None,
            )
        if not roster.table.modes(channel) & Mode.MODE_WS:     # control has marked it as held
            roster.upstream.freed([(channel, Mode.MODE_WS)])
        return Outcome.DONE

    cdef Outcome unsubscribe(self, bytes channel) except Outcome.FAIL:
        cdef list freed = []
        self._roster.table.release_channel(self.slot, channel, freed)
        if freed:
            self._roster.upstream.freed(freed)
        return Outcome.DONE

    cdef Outcome keep_alive(self, object keep_alive) except Outcome.FAIL:
        if self._state != WsState.OPEN:
            return Outcome.DONE
        self._keep_alive = keep_alive
        self._roster.rows[self.slot].sent_ms = now_ms()
        return self._rearm()

    cdef Outcome release(self) except Outcome.FAIL:
        if self._roster.rows[self.slot].flags & RowFlag.MIDWAY:
            self.send(Kind.KIND_TEXT, b"", False)      # whose rest does not come any more
        self._released = True
        self._inflater = None
        if self._theirs and not self._ours:
            return self._say_close(self._code, b"", Reason.PEER_CLOSED)
        return self._go_on()

    cdef Outcome close(self, int reason, int code, bytes text) except Outcome.FAIL:
        if reason == Reason.NONE:
            return self._say_close(code, text, Reason.ORDERED)
        if self._state >= WsState.DRAINING:
            return Outcome.DONE
        self._reason = reason
        self._wind_up()
        return self._drain_out()

    # -- told by fan-out, the roster, the link ----------------------------------------------------

    cdef Outcome obey(self, Message m) except Outcome.FAIL:
        cdef bint refresh = m.ws.action == Action.REFRESH
        if self._state != WsState.OPEN:
            return Outcome.DONE                # an earlier message of this turn has closed it
        if not (self._released or self._told):
            self._roster.upstream.signalled(
                self, Signal.REFRESH_ASKED if refresh else Signal.CLOSE_PUBLISHED
            )
        if refresh:
            return Outcome.DONE
        return self._say_close(m.ws.code, m.ws.text, Reason.PUBLISHED_CLOSE)

    cdef Outcome fail(self, bytes why) except Outcome.FAIL:
        return self._close_for(Reason.INTERNAL, why)   # a filter failed: GRIP.md 3.3

    cdef Outcome drain(self) except Outcome.FAIL:
        return self._close_for(Reason.DRAINING, b"")

    cdef Outcome link_lost(self) except Outcome.FAIL:
        self._told = True
        if self._released:
            return Outcome.DONE
        self._linkless = True
        if self._theirs:
            return self._say_close(self._code, b"", Reason.PEER_CLOSED)
        return self._pace()

    cdef Outcome link_resumed(self) except Outcome.FAIL:
        # Control knows nothing of it: the client may begin anew.
        if not self._linkless:
            return Outcome.DONE
        self._linkless = False
        return self._close_for(Reason.LINK_LOST, b"")

    cdef Outcome blocked(self) except Outcome.FAIL:
        return self._rearm()                   # the deadline of a stalled client

    cdef Outcome drained(self) except Outcome.FAIL:
        cdef uint32_t owed = self._owed
        if self._state != WsState.DRAINING:
            self._owed = 0
            if owed and not (self._told or self._released):
                return self._roster.upstream.granted(self, owed)
            return Outcome.DONE
        if self._theirs or self._eof or self._lingering:
            return self.end(self._reason)
        # Closing now would reset the connection under our last word: let the client read it.
        self._lingering = True
        self._transport.write_eof()
        self._pace()
        return self._roster.arm(self.slot, now_ms() + LINGER_MS)

    cdef Outcome due(self, uint64_t now) except Outcome.FAIL:
        if self._roster.rows[self.slot].flags & RowFlag.BLOCKED:
            self._roster.tally.add(Counter.ENDED_SLOW, 1)
            self._code = self._roster.limits.reasons[Reason.SLOW][3]
            return self.end(Reason.SLOW)
        if self._state == WsState.OPEN and self._keep_alive is not None:
            return self._send_keep_alive(now)
        return self.end(self._reason)

    cdef Outcome _send_keep_alive(self, uint64_t now) except Outcome.FAIL:
        cdef KeepAlive keep_alive = self._keep_alive
        cdef uint64_t quiet_since = self._roster.rows[self.slot].sent_ms
        if keep_alive.idle and quiet_since + keep_alive.interval_ms > now:
            return self._roster.arm(self.slot, quiet_since + keep_alive.interval_ms)
        if self._roster.offer(self.slot, <PyObject*> keep_alive.content):
            self._roster.rows[self.slot].sent_ms = now
            self._roster.kept_alive(self.slot, ws_payload_size(len(keep_alive.content)))
        return self._roster.arm(self.slot, now + keep_alive.interval_ms)

    cdef Outcome _rearm(self) except Outcome.FAIL:
        # The deadline that belongs to the state, counted from now.
        cdef uint64_t after = 0
        if self._roster.rows[self.slot].flags & RowFlag.BLOCKED or self._state == WsState.DRAINING:
            after = self._roster.limits.stall_timeout_ms
        elif self._ours:
            after = CLOSE_TIMEOUT_MS
        elif self._keep_alive is not None:
            after = self._keep_alive.interval_ms
        if after:
            return self._roster.arm(self.slot, now_ms() + after)
        return self._roster.wheel.disarm(self.slot)

    # -- the end ----------------------------------------------------------------------------------

    cdef Outcome _close_for(self, int reason, bytes text) except Outcome.FAIL:
        return self._say_close(self._roster.limits.reasons[reason][3], text, reason)

    cdef Outcome _say_close(self, int code, bytes text, int reason) except Outcome.FAIL:
        if self._ours or self._state >= WsState.DRAINING:
            return Outcome.DONE
        self._ours = True
        self._reason = Reason.PEER_CLOSED if self._theirs else reason
        self._roster.queue(self.slot, close_frame(code, text))
        self._wind_up()
        if self._theirs:
            return self._drain_out()
        self.set_state(WsState.CLOSING)
        self._rearm()
        return self._go_on()                   # theirs may be in what has waited

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
        self._wind_up()
        self._tell()
        return self._drain_out()

    cdef Outcome _wind_up(self) except Outcome.FAIL:
        # Nothing of what others publish comes after a close frame; no message is gone on with.
        self._keep_alive = None
        self._inflater = None
        return self.let_go()

    cdef Outcome _drain_out(self) except Outcome.FAIL:
        self.set_state(WsState.DRAINING)
        self._kept = None
        self._roster.rows[self.slot].flags |= RowFlag.TELL
        self._rearm()
        self._pace()
        return self._roster.touch(self.slot)

    cdef Outcome _tell(self) except Outcome.FAIL:
        if self._told:
            return Outcome.DONE
        self._told = True
        return self._roster.upstream.lost(self, self._reason, self._code)

    cdef Outcome end(self, int reason) except Outcome.FAIL:
        if self._state == WsState.GONE:
            return Outcome.DONE
        if self._reason == Reason.NONE:
            self._reason = reason
        self.set_state(WsState.GONE)
        self._roster.drop_frames(self.slot)
        self._roster.rows[self.slot].fd = -1
        self._roster.wheel.disarm(self.slot)
        self._wind_up()
        self._kept = None
        self._control = None
        self._tell()
        self._transport.abort()
        return Outcome.DONE
