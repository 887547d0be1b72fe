# A WebSocket client (floor 3): what control makes of it, both ways, and its end. Frames are
# understood in ws_wire, compression in ws_deflate. It never joins a message and answers no
# ping unless it is released.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.frame cimport KeepAlive
from fastpath.outcome cimport Outcome
from fastpath.session cimport Session
from fastpath.view cimport View
from fastpath.ws_deflate cimport Inflater
from fastpath.ws_wire cimport WsFault, WsPiece, WsReader

cdef enum WsState:
    OPEN
    CLOSING          # one close frame has come or gone; the other has not
    DRAINING         # the last bytes are leaving, then what still comes is let pass
    GONE

cdef inline bint ws_allowed(int old, int new) noexcept nogil:
    # The moves that tests/fastpath/test_ws_session.py lists and draws.
    if new == WsState.GONE:
        return old != WsState.GONE
    if new == WsState.OPEN:
        return old == WsState.GONE
    if new == WsState.CLOSING:
        return old == WsState.OPEN
    return old == WsState.OPEN or old == WsState.CLOSING

cdef class WsSession(Session):
    cdef:
        # -- reading
        WsReader _reader
        bytes _kept                    # what has come and may not be reported yet, or None
        bytes _piece                   # of an unfinished frame, too small to be reported, or None
        bytes _control                 # payload of an unfinished control frame, or None
        Inflater _inflater             # None but in the middle of a compressed message
        int64_t _credit                # bytes that may still be reported
        uint32_t _text                 # UTF-8 state of the message that is being read
        uint8_t _inflated_kind         # opcode of the compressed message
        uint8_t _inflated_last         # all of it has been fed
        uint8_t _paused                # not reading from the client
        uint8_t _eof                   # the client has closed its sending side
        # -- writing
        KeepAlive _keep_alive          # or None
        uint32_t _owed                 # bytes of messages queued, not yet granted
        uint8_t _window_bits           # of our deflate; 0: not negotiated
        # -- who knows what
        uint8_t _ours                  # our close frame is queued
        uint8_t _theirs                # the client's has come
        uint16_t _code                 # the code that CLOSED will have
        uint8_t _told                  # control has been told CLOSED, or has forgotten this session
        uint8_t _released              # control is done with it: nothing but CLOSED is reported
        uint8_t _linkless              # the link was lost: nothing is read until it is back
        uint8_t _lingering             # we have closed our sending side

    cdef Outcome set_state(self, int new) except Outcome.FAIL
    # -- reading
    cdef Outcome _read(self, View* v) except Outcome.FAIL
    cdef Outcome _read_again(self, bytes run) except Outcome.FAIL
    cdef Outcome _go_on(self) except Outcome.FAIL
    cdef Outcome _pace(self) except Outcome.FAIL
    cdef bint _hears(self) noexcept            # frames are understood
    cdef bint _discards(self) noexcept         # and not reported
    cdef bint _stuck(self) noexcept            # a compressed message waits for credit
    cdef Outcome _take(
        self, int opcode, const uint8_t* at, Py_ssize_t size, bint last) except Outcome.FAIL
    cdef Outcome _take_compressed(self, WsPiece* p) except Outcome.FAIL
    cdef Outcome _inflate(self) except Outcome.FAIL
    cdef Outcome _take_control(self, WsPiece* p) except Outcome.FAIL
    cdef Outcome _take_close(self, bytes payload) except Outcome.FAIL
    # -- ending
    cdef Outcome _fail(self, WsFault fault) except Outcome.FAIL
    cdef Outcome _close_for(self, int reason, bytes text) except Outcome.FAIL
    cdef Outcome _say_close(self, int code, bytes text, int reason) except Outcome.FAIL
    cdef Outcome _wind_up(self) except Outcome.FAIL
    cdef Outcome _drain_out(self) except Outcome.FAIL
    cdef Outcome _tell(self) except Outcome.FAIL
    cdef Outcome _rearm(self) except Outcome.FAIL
    cdef Outcome _send_keep_alive(self, uint64_t now) except Outcome.FAIL
