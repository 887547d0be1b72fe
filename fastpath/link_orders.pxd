# The orders of the link (floor 1), LINK.md: payload in, value or tuple out, positions as in
# LINK.md. Interns nothing. A malformed payload raises ValueError naming the field.

from libc.stdint cimport uint32_t
from fastpath.outcome cimport Outcome
from fastpath.view cimport View

cdef bytes read_welcome(View payload)      # JSON
cdef tuple read_respond(View payload)      # (status, reason, headers, length, body)
cdef tuple read_send(View payload)         # (kind, bytes)
cdef tuple read_accept(View payload)       # (headers of the 101, route)
# (mode, timeout_ms, keep_alive_mode, keep_alive_ms, keep_alive, channels, answered,
#  status, reason, headers, body, request_body, link_ms, watched, context, route); a channel is
#  (name, prev_id or None, traits)
cdef tuple read_hold(View payload)
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
