# What the worker counts (floor 2): one C array, one table of names. Higher floors add() to
# it; control gets the whole as JSON (LINK.md, TALLY).

from libc.stdint cimport int64_t, uint64_t

cdef enum Counter:
    # gauges
    SESSIONS
    HOLDS_RESPONSE
    HOLDS_STREAM
    HOLDS_WS               # open WebSockets
    # totals
    ACCEPTED
    REQUESTS
    MESSAGES
    DELIVERED_RESPONSE
    DELIVERED_STREAM
    DELIVERED_WS
    KEEP_ALIVES
    DROPPED_QUEUE          # a blocked client's queue was full
    DROPPED_MIDWAY         # an origin's message was only partly relayed
    DROPPED_HWM            # too many deliveries waited for their turn
    DROPPED_UNJUDGED       # nobody was there to say what a message becomes for a group
    DROPPED_GHOST          # an order for a session that is gone
    ASKED_AGAIN            # holds that asked their origin again
    ENDED_SLOW
    ENDED_FAULTY           # WebSockets whose client broke the protocol
    REFUSED_REQUESTS       # malformed, too big, too slow
    BYTES_IN
    BYTES_OUT
    COUNTERS

cdef class Tally:
    cdef uint64_t counts[COUNTERS]

    cdef inline void add(self, Counter what, int64_t count) noexcept nogil:
        self.counts[<int> what] += <uint64_t> count

    cpdef dict snapshot(self)    # name -> number
