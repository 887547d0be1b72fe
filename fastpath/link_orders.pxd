# The orders of the link (floor 1), LINK.md: payload in, value or tuple out, positions as in
# LINK.md. Interns nothing. A malformed payload raises ValueError naming the field.

from libc.stdint cimport uint16_t, uint32_t
from fastpath.outcome cimport Outcome
from fastpath.view cimport View

cdef class HoldOrder:
    # HOLD, by the names of LINK.md.
    cdef:
        int mode                       # one of Mode
        uint32_t timeout_ms
        int keep_alive_mode            # 0 none, 1 idle, 2 interval
        uint32_t keep_alive_ms
        bytes keep_alive
        list channels                  # [(name, prev_id or None, traits)]
        bint answered
        uint16_t status
        bytes reason
        list headers
        bytes body
        bytes request_body
        uint32_t link_ms               # 0: none
        bint watched
        bytes context
        uint16_t route

cdef bytes read_welcome(View payload)      # JSON
cdef tuple read_respond(View payload)      # (status, reason, headers, length, body)
cdef tuple read_send(View payload)         # (kind, bytes)
cdef tuple read_accept(View payload)       # (headers of the 101, route)
cdef HoldOrder read_hold(View payload)
cdef tuple read_subscribe(View payload)    # (channel, traits)
cdef bytes read_channel(View payload)      # UNSUBSCRIBE
cdef tuple read_verdict(View payload)      # (number, [(verdict, content)])
# (channel, id or None, prev_id or None, formats); a format is one of
#  (1, 0, status, reason, headers, patch, body)  (2, 0, content)  (3, 0, kind, content)
#  (3, 2, code, text), the close of a ws-message; (kind, action), all others
cdef tuple read_publish(View payload)
cdef tuple read_close(View payload)        # (reason, code, text)
cdef uint32_t read_grant(View payload) except? 0xFFFFFFFF
cdef tuple read_keep_alive(View payload)   # (mode, interval_ms, kind, content)
cdef Outcome read_bare(View payload) except Outcome.FAIL    # FINISH, RELEASE, DRAIN, PING
