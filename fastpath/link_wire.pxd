# The bytes of the link (floor 1), LINK.md: reads orders, writes reports. Knows no session and no
# socket, keeps nothing, interns nothing. A malformed payload raises ValueError naming the field.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from fastpath.outcome cimport Outcome
from fastpath.view cimport View

cdef enum Report:
    HELLO = 0x01
    OPENED = 0x02
    RECEIVED = 0x03
    GRANTED = 0x04
    HELD = 0x05
    FREED = 0x06
    SIGNALLED = 0x07
    CLOSED = 0x08
    SYNCED = 0x09
    TALLY = 0x0A
    PONG = 0x0B
    COUNTED = 0x0E
    DELIVERED = 0x0F
    LEFT = 0x10
    SERVED = 0x11
    MET = 0x0C
    LAPSED = 0x0D

cdef enum Order:
    WELCOME = 0x41
    RESPOND = 0x42
    SEND = 0x43
    FINISH = 0x44
    ACCEPT = 0x45
    HOLD = 0x46
    SUBSCRIBE = 0x47
    UNSUBSCRIBE = 0x48
    PUBLISH = 0x49
    CLOSE = 0x4A
    GRANT = 0x4B
    RELEASE = 0x4C
    DRAIN = 0x4D
    PING = 0x4E
    KEEP_ALIVE = 0x4F
    VERDICT = 0x50

cdef enum:
    FLAG_MORE = 1

cdef enum Kind:            # of RECEIVED and SEND
    KIND_BODY = 0
    KIND_TEXT = 1
    KIND_BINARY = 2
    KIND_PING = 3
    KIND_PONG = 4
    KIND_CLOSE = 5

cdef enum Verdict:         # of VERDICT
    DROP = 0
    AS_PUBLISHED = 1
    INSTEAD = 2            # with content
    FAILED = 3             # with content: what ends the session; empty: it goes on

cdef enum Why:             # of LAPSED
    WHY_GAP = 1
    WHY_HINT = 2
    WHY_TIMEOUT = 3
    WHY_ASKED = 4

cdef enum Signal:          # of SIGNALLED
    REFRESH_ASKED = 1
    CLOSE_PUBLISHED = 2

cdef struct Packet:
    uint8_t op
    uint8_t flags
    uint64_t ref
    View payload           # borrowed from the buffer that was read

cdef enum LinkStep:
    LINK_MORE              # nothing complete yet; keep the bytes
    LINK_PACKET            # one packet was taken from the view
    LINK_BAD               # a reserved bit, an unknown op, a length over the limit

cdef LinkStep link_read(Packet* p, View* v) noexcept nogil

# -- orders: payload in, value or tuple out, positions as in LINK.md
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

# -- reports: values in, one packet out. OPENED is made of a part that a held session keeps (its
#    head) and a part that is new each time it asks. ValueError: a field that is too long.
cdef bytes write_hello(uint32_t pid, uint16_t worker, bint resumed)
cdef bytes opened_head(
    int kind, int minor, bint tls, bytes peer, bytes method, bytes target, list headers)
cdef bytes write_opened(
    uint64_t ref, bytes head, bint again, int64_t length, list lasts, bytes body, bint more)
cdef bytes write_received(uint64_t ref, int kind, object body, bint more)  # body: any buffer
cdef bytes write_granted(uint64_t ref, uint32_t count)
cdef bytes write_held(bytes channel, int modes)
cdef bytes write_freed(bytes channel, int modes, uint64_t orders)
cdef bytes write_signalled(uint64_t ref, int what)
cdef bytes write_closed(uint64_t ref, int reason, int code, bytes context)
# groups: [(mode, action, traits, [(channel, id)])]; contents: [(mode, content)]
cdef bytes write_met(
    uint32_t number, bytes channel, bytes item_id, bytes meta, list contents, list groups)
cdef bytes write_lapsed(uint64_t ref, int why, list lasts, bytes context)
cdef bytes write_json(int op, bytes json)
cdef bytes write_counted(bytes channel, uint32_t responses, uint32_t streams, uint32_t websockets)
cdef bytes write_delivered(bytes channel, bytes id, tuple sizes, list reached)
cdef bytes write_left(uint64_t ref)
cdef bytes write_bare(int op)              # SYNCED, PONG
