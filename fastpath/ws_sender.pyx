"""The sending half of a WebSocket session (floor 3).

What control says goes down as frames; what is published is let in by the roster, without it. Here
are also the deadlines, the close handshake (RFC 6455, 7) and the end. It reads nothing: the other
half (ws_session) does, and says what has come.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastpath.frame cimport Action, KeepAlive, Message, whole_frame
from fastpath.limits cimport LINK_GRANT_AT
from fastpath.link_wire cimport Kind, Signal
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row, RowFlag
from fastpath.session cimport Roster, Session, now_ms
from fastpath.tally cimport Counter
from fastpath.variants cimport Mode, Variant
from fastpath.ws_deflate cimport WINDOW_BITS_MAX
from fastpath.ws_wire cimport WS_CONTROL_MAX, Opcode, close_frame, ws_frame, ws_payload_size

cdef enum:
    CLOSE_TIMEOUT_MS = 10_000      # for the client's half of the close handshake
    LINGER_MS = 2000               # what a client that is still sending has, to read our last word


cdef class WsSender(Session):
    """The state of a WebSocket, what it is sent, and its end."""

    cdef Outcome set_state(self, int new) except Outcome.FAIL:
        if not ws_allowed(self._state, new):
            # Whoever called into the session ends it, with INTERNAL (Roster.failed).
            raise AssertionError(f"WsSession: {self._state} -> {new}")
        self._roster.tally.add(
            Counter.HOLDS_WS, (new != WsState.GONE) - (self._state != WsState.GONE)
        )
        self._state = new
        return Outcome.DONE

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
        return self.rearm()

    cdef Outcome release(self) except Outcome.FAIL:
        if self._roster.rows[self.slot].flags & RowFlag.MIDWAY:
            self.send(Kind.KIND_TEXT, b"", False)      # whose rest does not come any more
        self._released = True
        if self._theirs and not self._ours:
            return self.say_close(self._code, b"", Reason.PEER_CLOSED)
        return self.go_on()

    cdef Outcome close(self, int reason, int code, bytes text) except Outcome.FAIL:
        if reason == Reason.NONE:
            return self.say_close(code, text, Reason.ORDERED)
        if self._state >= WsState.DRAINING:
            return Outcome.DONE
        self._reason = reason
        self.wind_up()
        return self.drain_out()

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
        return self.say_close(m.ws.code, m.ws.text, Reason.PUBLISHED_CLOSE)

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
            return self.say_close(self._code, b"", Reason.PEER_CLOSED)
        return self.pace()

    cdef Outcome link_resumed(self) except Outcome.FAIL:
        # Control knows nothing of it: the client may begin anew.
        if not self._linkless:
            return Outcome.DONE
        self._linkless = False
        return self._close_for(Reason.LINK_LOST, b"")

    cdef Outcome blocked(self) except Outcome.FAIL:
        return self.rearm()                   # the deadline of a stalled client

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
        self.pace()
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

    cdef Outcome rearm(self) except Outcome.FAIL:
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
        return self.say_close(self._roster.limits.reasons[reason][3], text, reason)

    cdef Outcome say_close(self, int code, bytes text, int reason) except Outcome.FAIL:
        if self._ours or self._state >= WsState.DRAINING:
            return Outcome.DONE
        self._ours = True
        self._reason = Reason.PEER_CLOSED if self._theirs else reason
        self._roster.queue(self.slot, close_frame(code, text))
        self.wind_up()
        if self._theirs:
            return self.drain_out()
        self.set_state(WsState.CLOSING)
        self.rearm()
        return self.go_on()                    # theirs may be in what has waited

    cdef Outcome wind_up(self) except Outcome.FAIL:
        # Nothing of what others publish comes after a close frame.
        self._keep_alive = None
        return self.let_go()

    cdef Outcome drain_out(self) except Outcome.FAIL:
        self.set_state(WsState.DRAINING)
        self.drop_unread()
        self._roster.rows[self.slot].flags |= RowFlag.TELL
        self.rearm()
        self.pace()
        return self._roster.touch(self.slot)

    cdef Outcome tell(self) except Outcome.FAIL:
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
        self.wind_up()
        self.drop_unread()
        self.tell()
        self._transport.abort()
        return Outcome.DONE

    # -- the reading half supplies ----------------------------------------------------------------

    cdef Outcome go_on(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome pace(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome drop_unread(self) except Outcome.FAIL:
        return Outcome.DONE
