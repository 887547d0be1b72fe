# Deliveries that wait for their turn, where their rate is limited (floor 2; GRIP.md 2.6.4). It
# knows no session, no message, no timer and no clock: time is an argument, in milliseconds.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from fastpath.outcome cimport Outcome

cdef class Limiter:
    cdef:
        # -- settings
        uint64_t _rate                 # deliveries in a second, of all workers together
        uint32_t _workers              # which have an equal share of it
        uint64_t _waiting_max          # in one line
        uint64_t _block_bytes          # content counts as one delivery for each; 0: as one
        # -- what waits
        dict _lines                    # route -> deque of (delivery, cost); none is empty
        object _turns                  # deque of the routes with a line; the first is next
        # -- credit, in thousandths of a delivery, times _workers: so a share is a whole number
        int64_t _credit
        uint64_t _credited_ms

    # Let a delivery wait; what it is, is the caller's business. False: its line is full.
    cdef bint admit(self, uint16_t route, tuple delivery, uint64_t size_bytes) except -1
    # The next whose turn it is; None: nothing waits, or there is no credit.
    cdef tuple take(self, uint64_t now_ms)
    # Until take() gives the next; 0: nothing waits.
    cdef uint64_t pause_ms(self) except? 0
    cdef Outcome _earn(self, uint64_t now_ms) except Outcome.FAIL
    cdef int64_t _burst(self) noexcept
    cdef int64_t _price(self) except -1
    cdef uint32_t _cost(self, uint64_t size_bytes) noexcept
