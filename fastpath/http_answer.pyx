"""The answering half of an HTTP session (floor 3).

What an answer says is control's; how it is framed for this client (RFC 9112, 6), whether the
connection outlives it, and how it ends when it cannot be completed, is decided here. It reads
nothing and holds nothing; the other half (http_session) says what comes after an answer.
"""

from cpython.bytes cimport PyBytes_GET_SIZE

from fastpath.http_reader cimport Request
from fastpath.http_wire cimport LAST_CHUNK, chunk, head as render_head
from fastpath.link_wire cimport Kind
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row, RowFlag
from fastpath.session cimport Roster, Session, now_ms
from fastpath.tally cimport Counter
from fastpath.ws_deflate cimport negotiated
from fastpath.ws_handshake cimport switching_lines, values_of

cdef extern from "peer.h" nogil:
    void reset_on_close(int fd)

cdef enum:
    LINGER_MS = 2000           # what a client that is still sending has, to read a last answer

cdef list PLAIN_TEXT = [(b"Content-Type", b"text/plain")]
cdef bytes EXTENSIONS = b"sec-websocket-extensions"


cdef class HttpAnswer(Session):
    """The state of an HTTP session, and the answer it is giving."""

    cdef Outcome set_state(self, int new) except Outcome.FAIL:
        if not allowed(self._state, new):
            # Whoever called into the session ends it, with INTERNAL (Roster.failed).
            raise AssertionError(f"HttpSession: {self._state} -> {new}")
        self._roster.tally.add(Counter.HOLDS_RESPONSE, (new == HttpState.HELD_RESPONSE)
                               - (self._state == HttpState.HELD_RESPONSE))
        self._roster.tally.add(Counter.HOLDS_STREAM, (new == HttpState.HELD_STREAM)
                               - (self._state == HttpState.HELD_STREAM))
        self._state = new
        return Outcome.DONE

    # -- answering --------------------------------------------------------------------------------

    cdef Outcome begin(
        self, int status, bytes reason, list headers, int64_t length, bytes body
    ) except Outcome.FAIL:
        # The head of an answer and the first of its body, framed for this client (RFC 9112, 6).
        cdef bint bodiless = self._head_only or status == 204 or status == 304
        cdef bytes framing
        self._left = length
        self._sized = length >= 0 or bodiless
        self._chunked = False
        if length >= 0 and status != 204:
            framing = b"Content-Length: %d\r\n" % length
        elif bodiless:
            framing = b""
        elif self._minor:
            framing = b"Transfer-Encoding: chunked\r\n"
            self._chunked = True
        else:
            framing = b""                      # its end is the end of the connection
            self._keeps = False
        if bodiless:
            self._left = 0
            self._head_only = True
            body = b""
        if not self._keeps:
            framing += b"Connection: close\r\n"
        elif not self._minor:
            framing += b"Connection: keep-alive\r\n"
        body = self.piece(body)
        self._roster.queue(
            self.slot, render_head(self._minor, status, reason, headers, framing) + body
        )
        return Outcome.DONE

    cdef bytes piece(self, bytes body):
        # A piece of the body as it goes out; counts it against the announced length.
        if self._sized:
            self._left -= PyBytes_GET_SIZE(body)
        return chunk(body) if self._chunked else body

    cdef Outcome respond(self, tuple order, bint more) except Outcome.FAIL:
        cdef bytes body = order[4]
        if self._state != HttpState.ASKED:
            return self.end(Reason.ORDER_REFUSED)
        if not (more or self._body_reported):
            self._keeps = False                # early: the rest of the request is not read
        self.begin(order[0], order[1], order[2], order[3], body)
        self.set_state(HttpState.ANSWERING)
        return self.sent(body, more)

    cdef Outcome send(self, int kind, bytes body, bint more) except Outcome.FAIL:
        if self._state != HttpState.ANSWERING or kind != Kind.KIND_BODY:
            return self.end(Reason.ORDER_REFUSED)
        if not self._head_only:
            self._roster.queue(self.slot, self.piece(body))
        return self.sent(body, more)

    cdef Outcome sent(self, bytes body, bint more) except Outcome.FAIL:
        if self._sized and self._left < 0:
            return self.end(Reason.ORDER_REFUSED)      # more than was announced
        if more:
            self._owed += <uint32_t> PyBytes_GET_SIZE(body)
            self._roster.rows[self.slot].flags |= RowFlag.TELL
            return self._roster.touch(self.slot)
        if self._sized and self._left > 0:     # less than was announced
            return self.cut_short(Reason.ORIGIN_FAILED)
        if self._chunked:
            self._roster.queue(self.slot, LAST_CHUNK)
        return self.settle()

    cdef Outcome accept(self, list headers) except Outcome.FAIL:
        # The 101 (RFC 6455, 4.2.2). The client has another session from now on, in the same slot.
        cdef Roster roster = self._roster
        cdef Request r = self.handshake()
        cdef object transport = self._transport
        cdef tuple agreed = (None, 0)
        cdef list extensions = values_of(EXTENSIONS, headers)      # that control has agreed to
        if r is None or r.websocket_key is None:
            return self.end(Reason.ORDER_REFUSED)
        if self._eof:
            return self.end(Reason.PEER_CLOSED)
        if roster.limits.allow_compression:
            agreed = negotiated(values_of(EXTENSIONS, r.headers))
        if agreed[0] is not None:
            extensions.append(agreed[0])
        roster.queue(self.slot, render_head(
            1, 101, b"Switching Protocols", [h for h in headers if h[0].lower() != EXTENSIONS],
            switching_lines(r.websocket_key, extensions),
        ))
        if self._paused:
            transport.resume_reading()
        self.set_state(HttpState.GONE)
        session = roster.make_websocket(roster)
        roster.replace(self, session)
        self._transport = None
        transport.set_protocol(session)
        session.take_over(transport, agreed[1], self.part())
        return Outcome.DONE

    cdef Outcome refuse(self, int reason, bytes text) except Outcome.FAIL:
        # An answer of the worker's own, from the table of reasons; the connection ends with it.
        cdef tuple row = self._roster.limits.reasons[reason]
        cdef bytes body = row[2]
        if text is not None:
            body = body.replace(b"<why>", text)
        if self._roster.refused is not None:
            self._roster.refused(self.ref, row[0], body)
        self._keeps = False
        self._reason = reason
        self._roster.tally.add(Counter.REFUSED_REQUESTS, 1)
        self.begin(row[0], row[1], PLAIN_TEXT, len(body), body)
        self.set_state(HttpState.DRAINING)
        return self.close_when_drained()

    cdef Outcome drained(self) except Outcome.FAIL:
        cdef uint32_t owed = self._owed
        if owed and (self._state == HttpState.ANSWERING or self._state == HttpState.HELD_STREAM):
            self._owed = 0
            return self._roster.upstream.granted(self, owed)
        if self._state != HttpState.DRAINING:
            return Outcome.DONE
        if self._cut:
            if not (self._chunked or self._sized):
                reset_on_close(self._roster.rows[self.slot].fd)
            return self.end(self._reason)
        if self.unread() and not self._eof:
            # Closing now would reset the connection under the answer: let the client read it.
            self._transport.write_eof()
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            return self._roster.arm(self.slot, now_ms() + LINGER_MS)
        return self.end(self._reason)

    cdef bint leaving(self) noexcept:
        cdef Row* row = &self._roster.rows[self.slot]
        return row.count > 0 or row.flags & RowFlag.BLOCKED

    cdef Outcome close_when_drained(self) except Outcome.FAIL:
        self._roster.rows[self.slot].flags |= RowFlag.TELL
        self.rearm()
        return self._roster.touch(self.slot)

    cdef Outcome cut_short(self, int reason) except Outcome.FAIL:
        # What is queued still leaves; then the connection ends without the end of the body.
        self._cut = True
        self._keeps = False
        self._reason = reason
        self.set_state(HttpState.DRAINING)
        return self.close_when_drained()

    cdef Outcome link_lost(self) except Outcome.FAIL:
        if self._state == HttpState.ASKED:
            return self.refuse(Reason.LINK_LOST, None)
        if self._state == HttpState.ANSWERING:
            return self.cut_short(Reason.LINK_LOST)
        return Outcome.DONE

    # -- the reading half supplies ----------------------------------------------------------------

    cdef Request handshake(self):
        return None

    cdef bytes part(self):
        return None

    cdef Outcome settle(self) except Outcome.FAIL:
        raise NotImplementedError

    cdef bint unread(self) noexcept:
        return False

    cdef Outcome rearm(self) except Outcome.FAIL:
        return Outcome.DONE


cdef bint allowed(int old, int new) noexcept nogil:
    # The moves that tests/fastpath/test_http_session.py lists and draws.
    if new == HttpState.GONE:
        return old != HttpState.GONE
    if old == HttpState.GONE:
        return new == HttpState.READING
    if old == HttpState.READING:
        return new == HttpState.ASKED or new == HttpState.DRAINING
    if old == HttpState.ASKED:
        return new != HttpState.ASKED and new != HttpState.READING
    if old == HttpState.ANSWERING:
        return new == HttpState.READING or new == HttpState.DRAINING or new == HttpState.HELD_STREAM
    if old == HttpState.HELD_RESPONSE:
        return new == HttpState.READING or new == HttpState.DRAINING or new == HttpState.ASKED
    if old == HttpState.HELD_STREAM:
        return new == HttpState.READING or new == HttpState.DRAINING
    return False
