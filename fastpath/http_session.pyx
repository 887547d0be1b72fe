"""An HTTP/1.1 client (floor 3): reads requests and asks control.

One request is in hand at a time; those behind it wait in the reader. Answers are the business of
http_answer, holds that of http_hold. A resting hold has no parser, no timer and no task: it is
this object, its row, its place on the wheel and its rows in the table.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from fastpath.http_answer cimport HttpState
from fastpath.http_hold cimport HttpHold
from fastpath.http_reader cimport HttpReader, Request
from fastpath.limits cimport LINK_WINDOW
from fastpath.link_reports cimport opened_head
from fastpath.link_wire cimport Kind
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport RowFlag
from fastpath.session cimport SCRATCH, Roster, now_ms
from fastpath.tally cimport Counter

cdef extern from "peer.h" nogil:
    int peer_name(int fd, char* out)

cdef enum:
    PEER_NAME_SIZE = 64        # INET6_ADDRSTRLEN is 46

cdef bytes CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@cython.final
cdef class HttpSession(HttpHold):
    """The data plane's end of one HTTP client connection; uvloop calls it as its protocol."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._state = HttpState.GONE           # until the transport is there
        self._minor = 1                        # until a head says otherwise

    # -- the loop calls ---------------------------------------------------------------------------

    def connection_made(self, transport):
        cdef Roster roster = self._roster
        self._transport = transport
        if roster.live_count >= roster.limits.client_max or roster.draining:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)   # resume_writing then means: nothing is left
        roster.join(self, transport.get_extra_info("socket").fileno())
        roster.tally.add(Counter.ACCEPTED, 1)
        self.set_state(HttpState.READING)
        roster.arm(self.slot, now_ms() + roster.limits.idle_timeout_ms)

    def get_buffer(self, sizehint):
        return SCRATCH

    def buffer_updated(self, Py_ssize_t count):
        try:
            self._read(count)
        except Exception as wrong:             # ours, never the client's: the one place for it
            self._roster.failed(self, "read_failed", wrong)

    def eof_received(self):
        # A client that only closed its sending side gets the answer it waits for. It gets no hold,
        # and no stream without an announced end: nobody could tell it from one that has left.
        if self._state == HttpState.GONE:
            return False
        self._keeps = False
        self._eof = True
        if self._state == HttpState.READING and self.leaving():
            self.set_state(HttpState.DRAINING)
            self.close_when_drained()
        if (
            (self._state == HttpState.ASKED and self._body_reported)
            or (self._state == HttpState.ANSWERING and self._sized and self._body_reported)
            or (self._state == HttpState.DRAINING and self.leaving())
        ):
            return True
        self.end(Reason.PEER_CLOSED)
        return False

    def connection_lost(self, exc):
        if self._state != HttpState.GONE:
            self.end(Reason.PEER_RESET if exc is not None else Reason.PEER_CLOSED)
        if self.ref:
            self._roster.leave(self)
        self._transport = None

    def pause_writing(self):
        """The row is marked BLOCKED by whoever wrote."""

    def resume_writing(self):
        if self._state == HttpState.GONE:
            return
        self._roster.resume(self.slot)
        self.rearm()

    # -- reading ----------------------------------------------------------------------------------

    cdef Outcome _read(self, Py_ssize_t count) except Outcome.FAIL:
        self._roster.tally.add(Counter.BYTES_IN, count)
        if self._state == HttpState.HELD_RESPONSE or self._state == HttpState.HELD_STREAM:
            self._kept = (self._kept or b"") + bytes(SCRATCH[:count])
            if <uint64_t> len(self._kept) > self._roster.limits.head_bytes_max:
                return self.end(Reason.BAD_REQUEST)
            return Outcome.DONE
        if self._state == HttpState.DRAINING or self._state == HttpState.GONE:
            return Outcome.DONE
        self._open_reader().read(SCRATCH[:count])
        return self._act()

    cdef HttpReader _open_reader(self):
        if self._reader is None:
            self._reader = HttpReader(
                self._roster.limits.head_bytes_max, self._roster.limits.request_body_max_bytes
            )
        return self._reader

    cdef Outcome _act(self) except Outcome.FAIL:
        # What the reader's notes ask for.
        cdef Request r = self._request
        if self._state == HttpState.READING:
            if self._reader.requests:
                # A client that does not take its answers is not asked for any more of them.
                if not self._roster.rows[self.slot].flags & RowFlag.BLOCKED:
                    self._ask()
            elif self._reader.in_head():
                self._expect_head()
        elif r is not None and r.fault:
            if self._state == HttpState.ASKED:
                self._roster.upstream.lost(self, r.fault, 0)
                return self.refuse(r.fault, r.fault_text)
            return self.end(r.fault)
        elif r is not None and not self._body_reported:
            self._report_body()
        return self._pace()

    cdef Outcome _expect_head(self) except Outcome.FAIL:
        # From its first byte a head has head_timeout; more bytes do not prolong it.
        if not self._head_begun:
            self._head_begun = True
            self._roster.arm(self.slot, now_ms() + self._roster.limits.head_timeout_ms)
        return Outcome.DONE

    cdef Outcome _ask(self) except Outcome.FAIL:
        cdef Request r = self._reader.requests.pop(0)
        cdef bytes body
        cdef char name[PEER_NAME_SIZE]
        if not self._reader.requests and r.websocket_key is None:
            self._reader.go_on()               # there is room for those behind it, and its body
        self._head_begun = False
        self._roster.wheel.disarm(self.slot)
        self._minor = r.minor
        self._head_only = r.method == b"HEAD"
        self._keeps = r.keep_alive and not self._roster.draining
        self._chunked = False
        if r.fault:
            self.set_state(HttpState.ASKED)
            return self.refuse(r.fault, r.fault_text)
        self._request = r
        self._body = None
        self._head = opened_head(
            r.websocket_key is not None, r.minor, False,
            PyBytes_FromStringAndSize(name, peer_name(self._roster.rows[self.slot].fd, name)),
            r.method, r.target, r.headers,
        )
        self._credit = LINK_WINDOW
        body = self._take_body()
        self._body_reported = r.complete and not r.body
        self._roster.tally.add(Counter.REQUESTS, 1)
        self.set_state(HttpState.ASKED)
        if not self._roster.upstream.opened(
            self, self._head, False, r.length, [], body, not self._body_reported
        ):
            return self.refuse(Reason.LINK_LOST, None)
        if r.expects_continue and r.minor and not r.complete and r.body_bytes == 0:
            self._roster.queue(self.slot, CONTINUE)
        return self.rearm()

    cdef Outcome _report_body(self) except Outcome.FAIL:
        cdef Request r = self._request
        cdef bytes body
        if self._credit == 0 or not (r.body or r.complete):
            return Outcome.DONE
        body = self._take_body()
        self._body_reported = r.complete and not r.body
        self._roster.upstream.received(self, Kind.KIND_BODY, body, not self._body_reported)
        return self.rearm()

    cdef bytes _take_body(self):
        # As much of the request's body as there is credit for.
        cdef Request r = self._request
        cdef bytes body, rest
        if not r.body:
            return b""
        body = <bytes> r.body[0] if len(r.body) == 1 else b"".join(r.body)
        if PyBytes_GET_SIZE(body) <= <Py_ssize_t> self._credit:
            r.body = []
        else:
            rest = body[self._credit:]
            body = body[:self._credit]
            r.body = [rest]
        self._credit -= <uint32_t> PyBytes_GET_SIZE(body)
        return body

    cdef Outcome _pace(self) except Outcome.FAIL:
        # Read from the client only what has somewhere to go. With a request in hand whose body
        # is whole, a few more may be read ahead: reading is also how the client's end is seen.
        cdef bint stop = False
        cdef Request r = self._request
        cdef list waiting
        if self._eof or self._state == HttpState.GONE or self._state == HttpState.DRAINING:
            return Outcome.DONE
        if self._reader is not None:
            waiting = self._reader.requests
            stop = self._reader.full() or (r is not None and len(r.body) > 0)
            if not stop and waiting:
                stop = not (<Request> waiting[len(waiting) - 1]).complete
        if stop != self._paused:
            self._paused = stop
            if stop:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
        return Outcome.DONE

    # -- between two requests ---------------------------------------------------------------------

    cdef Outcome settle(self) except Outcome.FAIL:
        # The answer is complete as far as we are concerned.
        self.forget_hold()
        if not (self._keeps and self._body_reported):
            self.set_state(HttpState.DRAINING)
            return self.close_when_drained()
        if self._request is not None and self._request.websocket_key is not None:
            self._reader.go_on()               # a handshake that was refused
        self._request = None
        self.set_state(HttpState.READING)
        return self._next()

    cdef Outcome _next(self) except Outcome.FAIL:
        if self._roster.draining:
            self.set_state(HttpState.DRAINING)
            return self.close_when_drained()
        self.read_kept()
        self.rearm()
        return self._act() if self._reader is not None else Outcome.DONE

    cdef Outcome read_kept(self) except Outcome.FAIL:
        # What came during the hold.
        cdef bytes kept = self._kept
        if kept is not None:
            self._kept = None
            self._open_reader().read(kept)
        return Outcome.DONE

    cdef Outcome rest(self) except Outcome.FAIL:
        # A hold keeps neither parser nor request; requests that came behind it stay in the reader.
        self._request = None
        if self._reader is not None and self._reader.at_rest():
            self._retire_reader()
        return Outcome.DONE

    cdef Outcome _retire_reader(self) except Outcome.FAIL:
        if self._reader is not None:
            self._reader.retire()
            self._reader = None
        return Outcome.DONE

    cdef Request handshake(self):
        return self._request if self._state == HttpState.ASKED else None

    cdef bytes part(self):
        cdef bytes behind = self._reader.behind
        self._retire_reader()
        self._request = None
        self._head = None
        return behind

    cdef Outcome drained(self) except Outcome.FAIL:
        if self._state == HttpState.READING and self._reader is not None:
            return self._act()                 # it takes its answers again
        return HttpHold.drained(self)

    cdef bint unread(self) noexcept:
        return self._reason != 0 or not self._body_reported or (
            self._reader is not None and not self._reader.at_rest()
        )

    # -- deadlines --------------------------------------------------------------------------------

    cdef Outcome due(self, uint64_t now) except Outcome.FAIL:
        if self._roster.rows[self.slot].flags & RowFlag.BLOCKED:
            self._roster.tally.add(Counter.ENDED_SLOW, 1)
            return self.end(Reason.SLOW)
        if self._state == HttpState.READING:
            if self._head_begun:
                self._head_only = False
                self.set_state(HttpState.ASKED)
                return self.refuse(Reason.HEAD_TIMEOUT, None)
            return self.end(Reason.IDLE)
        if self._state == HttpState.ASKED:     # the rest of the body does not come
            self._roster.upstream.lost(self, Reason.HEAD_TIMEOUT, 0)
            return self.refuse(Reason.HEAD_TIMEOUT, None)
        if self._state == HttpState.HELD_RESPONSE:
            return self.answer_timeout()
        if self._state == HttpState.HELD_STREAM:
            return self.send_keep_alive(now)
        return self.end(self._reason)

    cdef Outcome blocked(self) except Outcome.FAIL:
        # The client takes nothing: from now on its deadline is that of a stalled client.
        if self._state == HttpState.HELD_RESPONSE:
            return Outcome.DONE                # nothing but earlier answers can be waiting
        self._roster.rows[self.slot].flags |= RowFlag.TELL
        return self._roster.arm(self.slot, now_ms() + self._roster.limits.stall_timeout_ms)

    cdef Outcome rearm(self) except Outcome.FAIL:
        # The deadline that belongs to the state, counted from now.
        cdef uint64_t after = 0
        if self._roster.rows[self.slot].flags & RowFlag.BLOCKED:
            after = self._roster.limits.stall_timeout_ms       # see blocked()
        elif self._state == HttpState.READING and self._head_begun:
            after = self._roster.limits.head_timeout_ms
        elif self._state == HttpState.READING:
            after = self._roster.limits.idle_timeout_ms
        elif self._state == HttpState.ASKED:
            if self._credit and not self._body_reported:
                after = self._roster.limits.idle_timeout_ms
        elif self._state == HttpState.HELD_STREAM:
            after = self._keep_alive.interval_ms if self._keep_alive is not None else 0
        elif self._state == HttpState.DRAINING:
            after = self._roster.limits.stall_timeout_ms
        elif self._state == HttpState.HELD_RESPONSE:
            return Outcome.DONE
        if after:
            return self._roster.arm(self.slot, now_ms() + after)
        return self._roster.wheel.disarm(self.slot)

    # -- orders, and the end ----------------------------------------------------------------------

    cdef Outcome grant(self, uint32_t count) except Outcome.FAIL:
        if self._request is None or self._body_reported:
            return Outcome.DONE
        self._credit += count
        self._report_body()
        self.rearm()                           # there is credit again: the body has a deadline
        return self._pace()

    cdef Outcome close(self, int reason, int code, bytes text) except Outcome.FAIL:
        if self._state == HttpState.ANSWERING:
            return self.cut_short(reason)
        if self._state == HttpState.HELD_STREAM:
            return self.finish_stream(reason)
        return self.end(reason)

    cdef Outcome release(self) except Outcome.FAIL:
        return self.ask_again()

    cdef Outcome drain(self) except Outcome.FAIL:
        # Ordinary requests are finished; holds end as they would by their own time.
        self._keeps = False
        if self._state == HttpState.HELD_STREAM:
            return self.finish_stream(Reason.DRAINING)
        if self._state == HttpState.HELD_RESPONSE:
            return self.answer_timeout()
        if self._state == HttpState.READING and not self._head_begun:
            if not self.leaving():
                return self.end(Reason.DRAINING)
            self.set_state(HttpState.DRAINING)
            return self.close_when_drained()
        return Outcome.DONE

    cdef Outcome end(self, int reason) except Outcome.FAIL:
        cdef int was = self._state
        if was == HttpState.GONE:
            return Outcome.DONE
        self._reason = reason
        self.set_state(HttpState.GONE)
        self._roster.drop_frames(self.slot)
        self._roster.rows[self.slot].fd = -1
        self._roster.wheel.disarm(self.slot)
        self.let_go()
        self._retire_reader()
        self._request = None
        if was == HttpState.ASKED or was == HttpState.ANSWERING:
            self._roster.upstream.lost(self, reason, 0)
        self._transport.abort()
        return Outcome.DONE
