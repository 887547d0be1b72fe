# One timer wheel for every deadline of the worker (floor 2). It knows slots and milliseconds, not
# what a deadline means; it has no clock and arms no timer. One deadline a slot: what it means
# follows from the session's state.

from libc.stdint cimport uint32_t, uint64_t
from fastpath.outcome cimport Outcome

cdef enum:
    TICK_MS = 16           # how late a deadline may be seen: a keep-alive is exact to a blink

cdef class Wheel:
    cdef:
        uint64_t* _deadline    # owned; [slot] milliseconds, or 0 when not armed
        uint32_t* _next        # owned; [slot] neighbours in the bucket
        uint32_t* _prev        # owned; [slot]
        uint32_t _slot_room
        uint32_t* _bucket      # owned; [bucket] first slot
        uint64_t* _bits        # owned; one bit a bucket: not empty
        uint64_t _tick         # the first tick that has not been swept
        readonly uint32_t armed_count

    # -- changing
    # What was armed before no longer counts. A deadline that has passed is due at the next sweep.
    cdef Outcome arm(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL
    cdef Outcome disarm(self, uint32_t slot) except Outcome.FAIL
    # Adds the slots whose time has come to `slots`, and disarms them: none before its deadline,
    # all within TICK_MS of it.
    cdef Outcome due(self, uint64_t now_ms, list slots) except Outcome.FAIL
    # -- asking
    # When to call due() next; 0 when nothing is armed. After the last sweep, and not after the
    # first deadline can be due; it may be before that, for a deadline of a later revolution.
    cdef uint64_t next_ms(self) noexcept nogil
    cdef bint armed(self, uint32_t slot) noexcept nogil
    # -- checking (tests, after every step)
    cdef Outcome check(self) except Outcome.FAIL
    # -- its own
    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL
    cdef Outcome _link(self, uint32_t slot) noexcept nogil
    cdef Outcome _unlink(self, uint32_t slot) noexcept nogil
