"""The hold table (floor 2): which session holds which channel, as columns of numbers.

A column per fact, because each operation reads one or two facts of many rows; a dense array per
spool, because fan-out is a walk; removal by moving the last member into the gap, which is why every
row remembers its place. Columns double and do not shrink; an empty spool is freed at once. It
calls nobody.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memset

from fastpath.outcome cimport Outcome
from fastpath.variants cimport Variant, mode_of

cdef enum:
    COLUMN_AT_FIRST = 64       # elements; doubled when they run out
    SPOOL_AT_FIRST = 4         # members of a new spool: most channels are small


@cython.final
@cython.no_gc
cdef class HoldTable:
    """Channels, spools and subscriptions of one worker."""

    def __cinit__(self):
        self._ids = {}
        self._names = []
        self._free_channel = NOWHERE
        self._free_spool = NOWHERE
        self._free_row = NOWHERE

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self._spool_room):
            PyMem_Free(self._spools[i].slots)
            PyMem_Free(self._spools[i].rows)
            Py_XDECREF(self._spools[i].prev_id)
            Py_XDECREF(self._spools[i].traits)
        PyMem_Free(self._spools)
        PyMem_Free(self._first)
        PyMem_Free(self._spool)
        PyMem_Free(self._place)
        PyMem_Free(self._next)
        PyMem_Free(self._head)

    # -- changing -----------------------------------------------------------------------------

    cdef Outcome hold(
        self, bytes channel, Variant v, uint32_t slot, bytes prev_id, bytes traits=None
    ) except Outcome.FAIL:
        # First all that can fail, which changes nothing that anybody sees; then all the rest.
        cdef uint32_t number, row = NOWHERE, spool = NOWHERE
        self._refuse_while_walking()
        self._reach_slot(slot)
        self._reach_row()
        number = self._number(channel)
        if number != NOWHERE:
            row = self._row_of(slot, number)
            spool = self._find_spool(number, v, prev_id, traits)
        if row != NOWHERE and self._spool[row] == spool:
            return Outcome.DONE
        if spool != NOWHERE:
            self._reach_member(spool, 1)
        else:
            self._reach_spool()
            if number == NOWHERE:
                number = self._new_channel(channel)
            spool = self._new_spool(number, v, prev_id, traits)
        if row == NOWHERE:
            row = self._new_row(slot)
        else:
            self._leave_spool(row)
        self._join_spool(row, spool, slot)
        return Outcome.DONE

    cdef Outcome turn(self, uint32_t slot, Variant v) except Outcome.FAIL:
        cdef uint32_t row = self._head[slot] if slot < self._slot_room else NOWHERE
        cdef uint32_t number
        while row != NOWHERE:                  # hold() keeps the row, and its place on the list
            number = self._spools[self._spool[row]].channel
            self.hold(
                self._names[number], v, slot,
                bytes_or_none(self._spools[self._spool[row]].prev_id),
                bytes_or_none(self._spools[self._spool[row]].traits),
            )
            row = self._next[row]
        return Outcome.DONE

    cdef Outcome release(self, uint32_t slot, list freed) except Outcome.FAIL:
        cdef uint32_t row
        self._refuse_while_walking()
        if slot >= self._slot_room:
            return Outcome.DONE
        while self._head[slot] != NOWHERE:
            row = self._head[slot]
            self._head[slot] = self._next[row]
            self._drop_row(row, freed)
        return Outcome.DONE

    cdef Outcome release_channel(
        self, uint32_t slot, bytes channel, list freed
    ) except Outcome.FAIL:
        cdef uint32_t number, row
        cdef uint32_t* link
        self._refuse_while_walking()
        number = self._number(channel)
        if number == NOWHERE or slot >= self._slot_room:
            return Outcome.DONE
        row = self._row_of(slot, number)
        if row == NOWHERE:
            return Outcome.DONE
        link = &self._head[slot]
        while link[0] != row:
            link = &self._next[link[0]]
        link[0] = self._next[row]
        return self._drop_row(row, freed)

    cdef Outcome advance(self, uint32_t spool, bytes prev_id) except Outcome.FAIL:
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t twin
        self._refuse_while_walking()
        twin = self._find_spool(
            s.channel, <Variant> s.variant, prev_id, bytes_or_none(s.traits)
        )
        if twin == NOWHERE:
            return self._set_prev_id(spool, prev_id)
        if twin == spool:
            return Outcome.DONE
        if s.count <= self._spools[twin].count:
            return self._merge(spool, twin)
        self._merge(twin, spool)
        return self._set_prev_id(spool, prev_id)

    # -- walking ------------------------------------------------------------------------------

    cdef uint32_t first_spool(self, bytes channel) except? NOWHERE:
        cdef uint32_t number = self._number(channel)
        return NOWHERE if number == NOWHERE else self._first[number]

    cdef Spool* spool(self, uint32_t number) noexcept nogil:
        return &self._spools[number]

    # -- asking -------------------------------------------------------------------------------

    cdef int modes(self, bytes channel) except -1:
        cdef uint32_t number = self._number(channel)
        return 0 if number == NOWHERE else self._modes(number)

    cdef list channels(self):
        cdef list found = []
        cdef bytes channel
        cdef uint32_t number
        for channel, number in self._ids.items():
            found.append((channel, self._modes(number)))
        return found

    cdef list lasts(self, uint32_t slot):
        cdef list found = []
        cdef uint32_t row = self._head[slot] if slot < self._slot_room else NOWHERE
        cdef Spool* s
        while row != NOWHERE:
            s = &self._spools[self._spool[row]]
            if s.prev_id is not NULL:
                found.append((self._names[s.channel], <bytes> s.prev_id))
            row = self._next[row]
        return found

    cdef list held(self, uint32_t slot):
        cdef list found = []
        cdef uint32_t row = self._head[slot] if slot < self._slot_room else NOWHERE
        while row != NOWHERE:
            found.append(self._names[self._spools[self._spool[row]].channel])
            row = self._next[row]
        return found

    cdef uint32_t spool_of(self, uint32_t slot, bytes channel) except? NOWHERE:
        cdef uint32_t number = self._number(channel)
        cdef uint32_t row
        if number == NOWHERE or slot >= self._slot_room:
            return NOWHERE
        row = self._row_of(slot, number)
        return NOWHERE if row == NOWHERE else self._spool[row]

    cdef uint64_t delivered_ms(self, uint32_t slot) noexcept nogil:
        cdef uint32_t row = self._head[slot] if slot < self._slot_room else NOWHERE
        cdef uint64_t least = 0
        cdef uint64_t at
        if row == NOWHERE:
            return 0
        least = self._spools[self._spool[row]].delivered_ms
        while row != NOWHERE:
            at = self._spools[self._spool[row]].delivered_ms
            if at < least:
                least = at
            row = self._next[row]
        return least

    # -- its own: room ------------------------------------------------------------------------
    # Each grows all its columns before it says so: when one is refused, those that have grown
    # already are merely larger than they need be.

    cdef Outcome _refuse_while_walking(self) except Outcome.FAIL:
        if self.walking:
            raise RuntimeError("the hold table is being walked")
        return Outcome.DONE

    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL:
        cdef uint32_t i, room = self._slot_room
        if slot < room:
            return Outcome.DONE
        while room <= slot:
            room = doubled(room)
        self._head = <uint32_t*> grown(self._head, room * sizeof(uint32_t))
        for i in range(self._slot_room, room):
            self._head[i] = NOWHERE
        self._slot_room = room
        return Outcome.DONE

    cdef Outcome _reach_row(self) except Outcome.FAIL:
        cdef uint32_t row, room = doubled(self._row_room)
        if self._free_row != NOWHERE:
            return Outcome.DONE
        self._spool = <uint32_t*> grown(self._spool, room * sizeof(uint32_t))
        self._place = <uint32_t*> grown(self._place, room * sizeof(uint32_t))
        self._next = <uint32_t*> grown(self._next, room * sizeof(uint32_t))
        for row in range(self._row_room, room):
            self._next[row] = self._free_row
            self._free_row = row
        self._row_room = room
        return Outcome.DONE

    cdef Outcome _reach_spool(self) except Outcome.FAIL:
        # A free spool, and room in it for its first member.
        cdef uint32_t spool, room = doubled(self._spool_room)
        if self._free_spool == NOWHERE:
            self._spools = <Spool*> grown(self._spools, room * sizeof(Spool))
            memset(&self._spools[self._spool_room], 0, (room - self._spool_room) * sizeof(Spool))
            for spool in range(self._spool_room, room):
                self._spools[spool].next = self._free_spool
                self._free_spool = spool
            self._spool_room = room
        return self._reach_member(self._free_spool, 1)

    cdef Outcome _reach_member(self, uint32_t spool, uint32_t more) except Outcome.FAIL:
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t room = s.room if s.room else SPOOL_AT_FIRST
        while room < s.count + more:
            room *= 2
        if room == s.room:
            return Outcome.DONE
        s.slots = <uint32_t*> grown(s.slots, room * sizeof(uint32_t))
        s.rows = <uint32_t*> grown(s.rows, room * sizeof(uint32_t))
        s.room = room
        return Outcome.DONE

    # -- its own: channels --------------------------------------------------------------------

    cdef uint32_t _number(self, bytes channel) except? NOWHERE:
        found = self._ids.get(channel)
        return NOWHERE if found is None else <uint32_t> found

    cdef uint32_t _new_channel(self, bytes channel) except? NOWHERE:
        cdef uint32_t number, room = doubled(self._channel_room)
        if self._free_channel == NOWHERE:
            self._first = <uint32_t*> grown(self._first, room * sizeof(uint32_t))
            self._names.extend([None] * (room - self._channel_room))
            for number in range(self._channel_room, room):
                self._first[number] = self._free_channel
                self._free_channel = number
            self._channel_room = room
        number = self._free_channel
        self._ids[channel] = number            # the last that can fail
        self._names[number] = channel
        self._free_channel = self._first[number]
        self._first[number] = NOWHERE
        self.channel_count += 1
        return number

    cdef Outcome _forget_channel(self, uint32_t number) except Outcome.FAIL:
        del self._ids[self._names[number]]
        self._names[number] = None
        self._first[number] = self._free_channel
        self._free_channel = number
        self.channel_count -= 1
        return Outcome.DONE

    cdef int _modes(self, uint32_t number) noexcept nogil:
        cdef uint32_t spool = self._first[number]
        cdef int modes = 0
        while spool != NOWHERE:
            modes |= mode_of(<Variant> self._spools[spool].variant)
            spool = self._spools[spool].next
        return modes

    # -- its own: spools ----------------------------------------------------------------------

    cdef uint32_t _find_spool(
        self, uint32_t number, Variant v, bytes prev_id, bytes traits
    ) except? NOWHERE:
        # A channel has few: but for a moment, all its sessions expect the same id.
        cdef uint32_t spool = self._first[number]
        cdef Spool* s
        while spool != NOWHERE:
            s = &self._spools[spool]
            if s.variant == v and same(s.prev_id, prev_id) and same(s.traits, traits):
                return spool
            spool = s.next
        return NOWHERE

    cdef uint32_t _new_spool(
        self, uint32_t number, Variant v, bytes prev_id, bytes traits
    ) except? NOWHERE:
        # The caller has reached one.
        cdef uint32_t spool = self._free_spool
        cdef Spool* s = &self._spools[spool]
        self._free_spool = s.next
        s.channel = number
        s.variant = <uint8_t> v
        s.next = self._first[number]
        self._first[number] = spool
        self._set_prev_id(spool, prev_id)
        if traits is not None:
            Py_INCREF(traits)                  # until the spool is dropped
            s.traits = <PyObject*> traits
        return spool

    cdef Outcome _drop_spool(self, uint32_t spool) except Outcome.FAIL:
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t* link = &self._first[s.channel]
        while link[0] != spool:
            link = &self._spools[link[0]].next
        link[0] = s.next
        PyMem_Free(s.slots)
        PyMem_Free(s.rows)
        Py_XDECREF(s.prev_id)
        Py_XDECREF(s.traits)
        memset(s, 0, sizeof(Spool))
        s.next = self._free_spool
        self._free_spool = spool
        return Outcome.DONE

    cdef Outcome _set_prev_id(self, uint32_t spool, bytes prev_id) except Outcome.FAIL:
        cdef PyObject* old = self._spools[spool].prev_id
        if prev_id is None:
            self._spools[spool].prev_id = NULL
        else:
            Py_INCREF(prev_id)                 # until the spool is dropped, or advanced again
            self._spools[spool].prev_id = <PyObject*> prev_id
        Py_XDECREF(old)
        return Outcome.DONE

    cdef Outcome _merge(self, uint32_t small, uint32_t large) except Outcome.FAIL:
        cdef Spool* s = &self._spools[small]
        cdef uint32_t i
        self._reach_member(large, s.count)
        for i in range(s.count):
            self._join_spool(s.rows[i], large, s.slots[i])
        if s.delivered_ms > self._spools[large].delivered_ms:
            self._spools[large].delivered_ms = s.delivered_ms
        return self._drop_spool(small)

    # -- its own: rows ------------------------------------------------------------------------

    cdef uint32_t _row_of(self, uint32_t slot, uint32_t number) noexcept nogil:
        cdef uint32_t row = self._head[slot]
        while row != NOWHERE and self._spools[self._spool[row]].channel != number:
            row = self._next[row]
        return row

    cdef uint32_t _new_row(self, uint32_t slot) noexcept nogil:
        # The caller has reached one.
        cdef uint32_t row = self._free_row
        self._free_row = self._next[row]
        self._next[row] = self._head[slot]
        self._head[slot] = row
        self.subscription_count += 1
        return row

    cdef Outcome _drop_row(self, uint32_t row, list freed) except Outcome.FAIL:
        # The row is no longer on its session's list.
        cdef Spool* s = &self._spools[self._spool[row]]
        cdef uint32_t number = s.channel
        cdef int mode = mode_of(<Variant> s.variant)
        cdef bytes channel = self._names[number]
        cdef int left
        self._leave_spool(row)
        self._next[row] = self._free_row
        self._free_row = row
        self.subscription_count -= 1
        left = self._modes(number)
        if left == 0:
            self._forget_channel(number)
        if not left & mode:
            freed.append((channel, mode))
        return Outcome.DONE

    cdef Outcome _join_spool(self, uint32_t row, uint32_t spool, uint32_t slot) noexcept nogil:
        # The caller has made room.
        cdef Spool* s = &self._spools[spool]
        s.slots[s.count] = slot
        s.rows[s.count] = row
        self._spool[row] = spool
        self._place[row] = s.count
        s.count += 1
        return Outcome.DONE

    cdef Outcome _leave_spool(self, uint32_t row) except Outcome.FAIL:
        # The last member moves into the gap; an empty spool is dropped.
        cdef uint32_t spool = self._spool[row]
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t place = self._place[row]
        s.count -= 1
        s.slots[place] = s.slots[s.count]
        s.rows[place] = s.rows[s.count]
        self._place[s.rows[place]] = place
        if s.count == 0:
            return self._drop_spool(spool)
        return Outcome.DONE


cdef uint32_t doubled(uint32_t room) noexcept nogil:
    return room * 2 if room else COLUMN_AT_FIRST


cdef void* grown(void* column, size_t size) except NULL:
    # The column with room for so many bytes; as it was when there is no memory.
    cdef void* moved = PyMem_Realloc(column, size)
    if moved is NULL:
        raise MemoryError()
    return moved


cdef bint same(PyObject* held, bytes prev_id) except -1:
    if held is NULL or prev_id is None:
        return held is NULL and prev_id is None
    return <bytes> held == prev_id             # the same object first, then the bytes


cdef bytes bytes_or_none(PyObject* held):
    return None if held is NULL else <bytes> held
