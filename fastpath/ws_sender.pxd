# The sending half of a WebSocket session (floor 3): frames, deadlines, the close handshake, the
# end. It reads nothing and understands no byte of the client.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.frame cimport KeepAlive
from fastpath.outcome cimport Outcome
from fastpath.session cimport Session

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

cdef class WsSender(Session):
    cdef:
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
        uint8_t _eof                   # the client has closed its sending side
        uint8_t _lingering             # we have closed ours

    cdef Outcome set_state(self, int new) except Outcome.FAIL
    cdef Outcome rearm(self) except Outcome.FAIL     # the deadline of the state, from now on
    cdef Outcome _send_keep_alive(self, uint64_t now) except Outcome.FAIL
    # -- ending
    cdef Outcome _close_for(self, int reason, bytes text) except Outcome.FAIL
    cdef Outcome say_close(self, int code, bytes text, int reason) except Outcome.FAIL
    cdef Outcome wind_up(self) except Outcome.FAIL   # no messages any more
    cdef Outcome drain_out(self) except Outcome.FAIL
    cdef Outcome tell(self) except Outcome.FAIL
    # -- supplied by the other half
    cdef Outcome go_on(self) except Outcome.FAIL     # there is credit, or none is needed any more
    cdef Outcome pace(self) except Outcome.FAIL      # reads from the client, or no longer
    cdef Outcome drop_unread(self) except Outcome.FAIL
