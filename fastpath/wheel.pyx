"""One timer wheel for every deadline of the worker (floor 2): columns, no objects, no clock.

A hashed wheel: a deadline's tick modulo BUCKETS is its bucket, buckets are doubly linked lists
through two columns, and a bit for each bucket finds the next one that is not empty. An entry of
a later revolution stays in its bucket; it makes next_ms() early, never due().
"""

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.string cimport memset

from fastpath.outcome cimport Outcome

cdef extern from *:
    """
    static inline int lowest_bit(unsigned long long x) { return __builtin_ctzll(x); }
    """
    int lowest_bit(uint64_t x) noexcept nogil

cdef enum:
    TICK_MS = 16               # how late a deadline may be seen; a keep-alive is exact to a blink
    BUCKETS = 4096             # one revolution is 65 s: the usual 55 s keep-alive fits in it
    WORDS = 64                 # BUCKETS / 64, of a bit a bucket (a quotient is no constant to C)
    NOBODY = 0xFFFFFFFF
    SLOTS_AT_FIRST = 64


@cython.final
cdef class Wheel:
    """Deadlines by slot, in milliseconds of any clock that does not run backwards."""

    def __cinit__(self):
        cdef uint32_t i
        self._bucket = <uint32_t*> PyMem_RawMalloc(BUCKETS * sizeof(uint32_t))
        self._bits = <uint64_t*> PyMem_RawCalloc(WORDS, sizeof(uint64_t))
        if self._bucket is NULL or self._bits is NULL:
            raise MemoryError()
        for i in range(BUCKETS):
            self._bucket[i] = NOBODY

    def __dealloc__(self):
        PyMem_RawFree(self._bucket)
        PyMem_RawFree(self._bits)
        PyMem_RawFree(self._deadline)
        PyMem_RawFree(self._next)
        PyMem_RawFree(self._prev)

    # -- changing -----------------------------------------------------------------------------

    cdef Outcome arm(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL:
        cdef uint32_t bucket
        self._reach_slot(slot)
        self.disarm(slot)
        if tick_of(deadline_ms) < self._tick:  # already past: due at the next sweep
            deadline_ms = self._tick * TICK_MS
        self._deadline[slot] = deadline_ms if deadline_ms else 1
        bucket = bucket_of(self._deadline[slot])
        self._next[slot] = self._bucket[bucket]
        self._prev[slot] = NOBODY
        if self._next[slot] != NOBODY:
            self._prev[self._next[slot]] = slot
        self._bucket[bucket] = slot
        self._bits[bucket // 64] |= <uint64_t> 1 << (bucket % 64)
        self.armed_count += 1
        return Outcome.DONE

    cdef Outcome disarm(self, uint32_t slot) except Outcome.FAIL:
        cdef uint32_t bucket
        if not self.armed(slot):
            return Outcome.DONE
        bucket = bucket_of(self._deadline[slot])
        if self._next[slot] != NOBODY:
            self._prev[self._next[slot]] = self._prev[slot]
        if self._prev[slot] != NOBODY:
            self._next[self._prev[slot]] = self._next[slot]
        else:
            self._bucket[bucket] = self._next[slot]
            if self._next[slot] == NOBODY:
                self._bits[bucket // 64] &= ~(<uint64_t> 1 << (bucket % 64))
        self._deadline[slot] = 0
        self.armed_count -= 1
        return Outcome.DONE

    cdef Outcome due(self, uint64_t now_ms, list slots) except Outcome.FAIL:
        cdef uint64_t now_tick = now_ms // TICK_MS
        cdef uint64_t tick = self._tick
        cdef uint32_t slot, after
        if now_tick < self._tick:
            return Outcome.DONE
        if now_tick - tick >= BUCKETS:         # a whole revolution: each bucket once
            tick = now_tick - BUCKETS + 1
        while tick <= now_tick:
            slot = self._bucket[tick % BUCKETS]
            while slot != NOBODY:
                after = self._next[slot]
                if tick_of(self._deadline[slot]) <= now_tick:
                    self.disarm(slot)
                    slots.append(slot)
                slot = after
            tick += 1
        self._tick = now_tick + 1
        return Outcome.DONE

    # -- asking -------------------------------------------------------------------------------

    cdef uint64_t next_ms(self) noexcept nogil:
        cdef uint32_t start = <uint32_t> (self._tick % BUCKETS)
        cdef uint32_t i, word
        cdef uint64_t bits
        if self.armed_count == 0:
            return 0
        for i in range(WORDS + 1):             # the first word twice: its two halves
            word = (start // 64 + i) % WORDS
            bits = self._bits[word]
            if i == 0:
                bits &= ~<uint64_t> 0 << (start % 64)
            if bits:
                word = word * 64 + <uint32_t> lowest_bit(bits)
                return (self._tick + (word + BUCKETS - start) % BUCKETS) * TICK_MS
        return 0

    cdef bint armed(self, uint32_t slot) noexcept nogil:
        return slot < self._slot_room and self._deadline[slot] != 0

    # -- its own ------------------------------------------------------------------------------

    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL:
        cdef uint32_t room = self._slot_room if self._slot_room else SLOTS_AT_FIRST
        cdef void* moved
        if slot < self._slot_room:
            return Outcome.DONE
        while room <= slot:
            room *= 2
        for column in range(3):
            moved = PyMem_RawRealloc(
                <void*> self._deadline if column == 0 else
                <void*> self._next if column == 1 else <void*> self._prev,
                room * (sizeof(uint64_t) if column == 0 else sizeof(uint32_t)),
            )
            if moved is NULL:
                raise MemoryError()
            if column == 0:
                self._deadline = <uint64_t*> moved
            elif column == 1:
                self._next = <uint32_t*> moved
            else:
                self._prev = <uint32_t*> moved
        memset(&self._deadline[self._slot_room], 0, (room - self._slot_room) * sizeof(uint64_t))
        self._slot_room = room
        return Outcome.DONE

    # -- checking -----------------------------------------------------------------------------

    cdef Outcome check(self) except Outcome.FAIL:
        """Raise AssertionError unless lists, bits and counts agree."""
        cdef uint32_t bucket, slot, before, armed = 0
        for bucket in range(BUCKETS):
            assert (self._bucket[bucket] != NOBODY) == (
                self._bits[bucket // 64] >> (bucket % 64) & 1
            )
            slot = self._bucket[bucket]
            before = NOBODY
            while slot != NOBODY:
                assert self._deadline[slot] and bucket_of(self._deadline[slot]) == bucket
                assert self._prev[slot] == before
                armed += 1
                before = slot
                slot = self._next[slot]
        assert armed == self.armed_count
        return Outcome.DONE


cdef uint64_t tick_of(uint64_t deadline_ms) noexcept nogil:
    # The first tick at which the deadline has passed: never early.
    return (deadline_ms + TICK_MS - 1) // TICK_MS


cdef uint32_t bucket_of(uint64_t deadline_ms) noexcept nogil:
    return <uint32_t> (tick_of(deadline_ms) % BUCKETS)
