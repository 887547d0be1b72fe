"""One timer wheel for every deadline of the worker (floor 2): columns, no objects, no clock.

A hashed wheel: a deadline's tick modulo BUCKETS is its bucket, buckets are doubly linked lists
through two columns, and a bit for each bucket finds the next one that is not empty. An entry of
a later revolution stays in its bucket; it makes next_ms() early, never due().
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memset

from fastpath.outcome cimport Outcome

cdef extern from *:
    """
    static inline unsigned lowest_bit(unsigned long long x) { return __builtin_ctzll(x); }
    """
    uint32_t lowest_bit(uint64_t x) noexcept nogil

cdef enum:
    BUCKETS = 4096             # a power of two; a revolution of 65 s holds the usual 55 s timeout
    WORD = 64                  # buckets in a word of bits
    NOBODY = 0xFFFFFFFF
    COLUMN_AT_FIRST = 64       # elements; doubled when they run out


@cython.final
cdef class Wheel:
    """Deadlines by slot, in milliseconds of any clock that does not run backwards."""

    def __cinit__(self):
        self._bucket = <uint32_t*> PyMem_Malloc(BUCKETS * sizeof(uint32_t))
        self._bits = <uint64_t*> PyMem_Calloc(BUCKETS // WORD, sizeof(uint64_t))
        if self._bucket is NULL or self._bits is NULL:
            raise MemoryError()
        memset(self._bucket, 0xFF, BUCKETS * sizeof(uint32_t))     # NOBODY in each

    def __dealloc__(self):
        PyMem_Free(self._bucket)
        PyMem_Free(self._bits)
        PyMem_Free(self._deadline)
        PyMem_Free(self._next)
        PyMem_Free(self._prev)

    # -- changing -----------------------------------------------------------------------------

    cdef Outcome arm(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL:
        self._reach_slot(slot)
        if self._deadline[slot]:
            self._unlink(slot)
        if tick_of(deadline_ms) < self._tick:
            deadline_ms = self._tick * TICK_MS     # its bucket has been swept: take the next one
        self._deadline[slot] = deadline_ms if deadline_ms else 1
        return self._link(slot)

    cdef Outcome disarm(self, uint32_t slot) except Outcome.FAIL:
        return self._unlink(slot) if self.armed(slot) else Outcome.DONE

    cdef Outcome due(self, uint64_t now_ms, list slots) except Outcome.FAIL:
        cdef uint64_t now_tick = now_ms // TICK_MS
        cdef uint64_t tick = self._tick
        cdef uint32_t slot, after
        if now_tick < tick:
            return Outcome.DONE
        if now_tick - tick >= BUCKETS:             # a whole revolution: each bucket once
            tick = now_tick - BUCKETS + 1
        while tick <= now_tick:
            slot = self._bucket[tick % BUCKETS]
            while slot != NOBODY:
                after = self._next[slot]
                if tick_of(self._deadline[slot]) <= now_tick:
                    slots.append(slot)
                    self._unlink(slot)
                slot = after
            tick += 1
        self._tick = now_tick + 1
        return Outcome.DONE

    # -- asking -------------------------------------------------------------------------------

    cdef uint64_t next_ms(self) noexcept nogil:
        cdef uint32_t start = <uint32_t> (self._tick % BUCKETS)
        cdef uint32_t word = start // WORD
        cdef uint32_t ahead
        cdef uint64_t bits = self._bits[word] & (~<uint64_t> 0 << start % WORD)
        if self.armed_count == 0:
            return 0
        while bits == 0:                           # comes round to the low half of the first word
            word = (word + 1) % (BUCKETS // WORD)
            bits = self._bits[word]
        ahead = (word * WORD + lowest_bit(bits) + BUCKETS - start) % BUCKETS
        return (self._tick + ahead) * TICK_MS

    cdef bint armed(self, uint32_t slot) noexcept nogil:
        return slot < self._slot_room and self._deadline[slot] != 0

    # -- its own ------------------------------------------------------------------------------

    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL:
        cdef uint32_t room = self._slot_room if self._slot_room else COLUMN_AT_FIRST
        if slot < self._slot_room:
            return Outcome.DONE
        while room <= slot:
            room *= 2
        self._deadline = <uint64_t*> grown(self._deadline, room * sizeof(uint64_t))
        self._next = <uint32_t*> grown(self._next, room * sizeof(uint32_t))
        self._prev = <uint32_t*> grown(self._prev, room * sizeof(uint32_t))
        memset(&self._deadline[self._slot_room], 0, (room - self._slot_room) * sizeof(uint64_t))
        self._slot_room = room
        return Outcome.DONE

    cdef Outcome _link(self, uint32_t slot) noexcept nogil:
        cdef uint32_t bucket = bucket_of(self._deadline[slot])
        cdef uint32_t first = self._bucket[bucket]
        self._prev[slot] = NOBODY
        self._next[slot] = first
        if first != NOBODY:
            self._prev[first] = slot
        self._bucket[bucket] = slot
        self._bits[bucket // WORD] |= bit_of(bucket)
        self.armed_count += 1
        return Outcome.DONE

    cdef Outcome _unlink(self, uint32_t slot) noexcept nogil:
        cdef uint32_t bucket = bucket_of(self._deadline[slot])
        cdef uint32_t before = self._prev[slot]
        cdef uint32_t after = self._next[slot]
        if after != NOBODY:
            self._prev[after] = before
        if before != NOBODY:
            self._next[before] = after
        else:
            self._bucket[bucket] = after
            if after == NOBODY:
                self._bits[bucket // WORD] &= ~bit_of(bucket)
        self._deadline[slot] = 0
        self.armed_count -= 1
        return Outcome.DONE

    # -- checking -----------------------------------------------------------------------------

    cdef Outcome check(self) except Outcome.FAIL:
        # AssertionError unless each armed slot is in its bucket, once, and bits and counts agree.
        cdef uint32_t bucket, slot, before
        cdef uint32_t linked = 0, armed = 0
        for bucket in range(BUCKETS):
            slot = self._bucket[bucket]
            assert (slot != NOBODY) == ((self._bits[bucket // WORD] & bit_of(bucket)) != 0)
            before = NOBODY
            while slot != NOBODY:
                assert self.armed(slot) and bucket_of(self._deadline[slot]) == bucket
                assert self._prev[slot] == before
                assert tick_of(self._deadline[slot]) >= self._tick
                linked += 1
                before = slot
                slot = self._next[slot]
        for slot in range(self._slot_room):
            armed += self._deadline[slot] != 0
        assert linked == armed == self.armed_count
        return Outcome.DONE


cdef uint64_t tick_of(uint64_t deadline_ms) noexcept nogil:
    # The first tick that does not begin before the deadline: a sweep is never early.
    return (deadline_ms + TICK_MS - 1) // TICK_MS


cdef uint32_t bucket_of(uint64_t deadline_ms) noexcept nogil:
    return <uint32_t> (tick_of(deadline_ms) % BUCKETS)


cdef uint64_t bit_of(uint32_t bucket) noexcept nogil:
    return <uint64_t> 1 << bucket % WORD


cdef void* grown(void* column, size_t size) except NULL:
    # The column with room for so many bytes; as it was when there is no memory.
    cdef void* moved = PyMem_Realloc(column, size)
    if moved is NULL:
        raise MemoryError()
    return moved
