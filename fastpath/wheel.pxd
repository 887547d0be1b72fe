# One timer wheel for every deadline of the worker (floor 2). It knows slots and milliseconds, not
# what a deadline means; it has no clock and arms no timer. One deadline a slot: what it means
# follows from the session's state.

from libc.stdint cimport uint32_t, uint64_t
from fastpath.outcome cimport Outcome

cdef class Wheel:
    cdef:
        uint64_t* _deadline    # owned; [slot] milliseconds, or 0 when not armed
        uint32_t* _next        # owned; [slot] neighbours in the bucket
        uint32_t* _prev        # owned
        uint32_t _slot_room
        uint32_t* _bucket      # owned; [bucket] first slot
        uint64_t* _bits        # owned; one bit a bucket: not empty
        uint64_t _tick         # the first tick that has not been swept
        readonly uint32_t armed_count

    # -- changing
    cdef Outcome arm(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL
    cdef Outcome disarm(self, uint32_t slot) except Outcome.FAIL
    # Slots whose deadline is at or before now_ms, each disarmed: never early, and late by at most
    # TICK_MS.
    cdef Outcome due(self, uint64_t now_ms, list slots) except Outcome.FAIL
    # -- asking
    cdef uint64_t next_ms(self) noexcept nogil     # when to call due() next; 0: nothing is armed
    cdef bint armed(self, uint32_t slot) noexcept nogil
    # -- checking (debug build)
    cdef Outcome check(self) except Outcome.FAIL
    # -- its own
    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL
