# The packets of the link (floor 1), LINK.md: what is on both sides of the wire. Knows no session
# and no socket, keeps nothing.

from libc.stdint cimport uint8_t, uint64_t
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
