# The answering half of an HTTP session (floor 3): frames what control says for this client, and
# decides whether the connection outlives it. It reads nothing and holds nothing.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastpath.http_reader cimport Request
from fastpath.outcome cimport Outcome
from fastpath.session cimport Session

cdef enum HttpState:
    READING          # between requests, or in the head of one
    ASKED            # control has the request and has not answered
    ANSWERING        # the answer's head is out, more of its body is to come
    HELD_RESPONSE    # waits for one message, or its time
    HELD_STREAM      # every message is appended
    DRAINING         # the last bytes are leaving; then the connection closes
    GONE

cdef bint allowed(int old, int new) noexcept nogil

cdef list PLAIN_TEXT               # the headers of an answer of the worker's own

cdef class HttpAnswer(Session):
    cdef:
        int64_t _left                  # body bytes to come, where their number was announced
        uint32_t _owed                 # body bytes queued, not yet granted
        uint8_t _minor                 # of the request: HTTP/1.minor
        uint8_t _chunked
        uint8_t _sized                 # the length of the body was announced
        uint8_t _keeps                 # the connection outlives this answer
        uint8_t _head_only             # no body in the answer
        uint8_t _body_reported         # the end of the request's body has been reported
        uint8_t _paused                # not reading from the client
        uint8_t _eof                   # the client has closed its sending side
        uint8_t _cut                   # the body is incomplete: its end must not look like one

    cdef Outcome set_state(self, int new) except Outcome.FAIL
    # -- answering
    cdef Outcome begin(
        self, int status, bytes reason, list headers, int64_t length, bytes body
    ) except Outcome.FAIL
    cdef bytes piece(self, bytes body)
    cdef Outcome sent(self, bytes body, bint more) except Outcome.FAIL
    cdef Outcome refuse(self, int reason, bytes text) except Outcome.FAIL
    # -- ending
    cdef bint leaving(self) noexcept                 # something said has not reached the kernel
    cdef Outcome close_when_drained(self) except Outcome.FAIL
    cdef Outcome cut_short(self, int reason) except Outcome.FAIL
    # -- supplied by the other half
    cdef Request handshake(self)       # the request that control has been asked about, or None
    cdef bytes part(self)              # forget the request; what came behind it, or None
    cdef Outcome settle(self) except Outcome.FAIL    # the answer is complete
    cdef bint unread(self) noexcept                  # something the client sent has not been read
    cdef Outcome rearm(self) except Outcome.FAIL     # the deadline of the state, from now on
