"""The hold table (floor 2): which session holds which channel, as columns of numbers.

A column per fact, because each operation reads one or two facts of many rows; a dense array per
spool, because fan-out is a walk; removal by moving the last member into the gap, which is why every
row remembers its place. It calls nobody.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memset

from fastpath.outcome cimport Outcome
from fastpath.variants cimport Variant, mode_of

cdef enum:
    COLUMN_AT_FIRST = 64       # elements; doubled when they run out
    SPOOL_AT_FIRST = 4         # members of a new spool: most channels are small


@cython.final
cdef class HoldTable:
    """Channels, spools and subscriptions of one worker."""

    def __cinit__(self):
        self._ids = {}
        self._names = []
        self._free_channels = []
        self._free_spool = NOWHERE
        self._free_row = NOWHERE

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self._spool_room):
            PyMem_RawFree(self._spools[i].slots)
            PyMem_RawFree(self._spools[i].rows)
            Py_XDECREF(self._spools[i].prev_id)
        PyMem_RawFree(self._spools)
        PyMem_RawFree(self._first)
        PyMem_RawFree(self._spool)
        PyMem_RawFree(self._place)
        PyMem_RawFree(self._next)
        PyMem_RawFree(self._head)

    # -- changing -----------------------------------------------------------------------------

    cdef Outcome hold(
        self, bytes channel, Variant v, uint32_t slot, bytes prev_id
    ) except Outcome.FAIL:
        cdef uint32_t number, row, spool
        self._refuse_while_walking()
        self._reach_slot(slot)
        number = self._channel(channel)
        row = self._row_of(slot, number)
        spool = self._find_spool(number, v, prev_id)
        if row != NOWHERE and self._spool[row] == spool:
            return Outcome.DONE
        if spool == NOWHERE:
            spool = self._new_spool(number, v, prev_id)
        self._reach_member(spool, 1)
        if row == NOWHERE:
            row = self._new_row(slot)
        else:
            self._leave_spool(row)
        self._join_spool(row, spool, slot)
        return Outcome.DONE

    cdef Outcome release(self, uint32_t slot, list freed) except Outcome.FAIL:
        cdef uint32_t row, after
        self._refuse_while_walking()
        if slot >= self._slot_room:
            return Outcome.DONE
        row = self._head[slot]
        self._head[slot] = NOWHERE
        while row != NOWHERE:
            after = self._next[row]
            self._drop_row(row, freed)
            row = after
        return Outcome.DONE

    cdef Outcome release_channel(
        self, uint32_t slot, bytes channel, list freed
    ) except Outcome.FAIL:
        cdef uint32_t row, number
        cdef uint32_t* link
        self._refuse_while_walking()
        number = self._number(channel)
        if number == NOWHERE or slot >= self._slot_room:
            return Outcome.DONE
        link = &self._head[slot]
        while link[0] != NOWHERE:
            row = link[0]
            if self._spools[self._spool[row]].channel == number:
                link[0] = self._next[row]
                return self._drop_row(row, freed)
            link = &self._next[row]
        return Outcome.DONE

    cdef Outcome advance(self, uint32_t spool, bytes prev_id) except Outcome.FAIL:
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t twin
        self._refuse_while_walking()
        twin = self._find_spool(s.channel, <Variant> s.variant, prev_id)
        if twin == spool:
            return Outcome.DONE
        if twin != NOWHERE:
            return self._merge(spool, twin, prev_id)
        self._set_prev_id(s, prev_id)
        return Outcome.DONE

    # -- walking ------------------------------------------------------------------------------

    cdef uint32_t first_spool(self, bytes channel) noexcept:
        cdef uint32_t number = self._number(channel)
        return NOWHERE if number == NOWHERE else self._first[number]

    cdef Spool* spool(self, uint32_t number) noexcept nogil:
        return &self._spools[number]

    # -- asking -------------------------------------------------------------------------------

    cdef int modes(self, bytes channel) noexcept:
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

    cdef uint32_t held_count(self, uint32_t slot) noexcept nogil:
        cdef uint32_t count = 0
        cdef uint32_t row = self._head[slot] if slot < self._slot_room else NOWHERE
        while row != NOWHERE:
            count += 1
            row = self._next[row]
        return count

    # -- its own ------------------------------------------------------------------------------

    cdef Outcome _refuse_while_walking(self) except Outcome.FAIL:
        if self.walking:
            raise RuntimeError("the hold table is being walked")
        return Outcome.DONE

    cdef uint32_t _number(self, bytes channel) noexcept:
        found = self._ids.get(channel)
        return NOWHERE if found is None else <uint32_t> found

    cdef uint32_t _channel(self, bytes channel) except? NOWHERE:
        # The number of a channel, new if nobody has held it.
        cdef uint32_t number = self._number(channel)
        cdef void* first
        if number != NOWHERE:
            return number
        if self._free_channels:
            number = self._free_channels.pop()
            self._names[number] = channel
        else:
            number = <uint32_t> len(self._names)
            if number == self._channel_room:
                self._channel_room = doubled(self._channel_room)
                first = PyMem_RawRealloc(self._first, self._channel_room * sizeof(uint32_t))
                if first is NULL:
                    raise MemoryError()
                self._first = <uint32_t*> first
            self._names.append(channel)
        self._first[number] = NOWHERE
        self._ids[channel] = number
        self.channel_count += 1
        return number

    cdef int _modes(self, uint32_t number) noexcept nogil:
        cdef uint32_t spool = self._first[number]
        cdef int modes = 0
        while spool != NOWHERE:
            modes |= mode_of(<Variant> self._spools[spool].variant)
            spool = self._spools[spool].next
        return modes

    # -- spools

    cdef uint32_t _find_spool(self, uint32_t number, Variant v, bytes prev_id) noexcept:
        cdef uint32_t spool = self._first[number]
        cdef Spool* s
        while spool != NOWHERE:
            s = &self._spools[spool]
            if s.variant == v and same_id(s.prev_id, prev_id):
                return spool
            spool = s.next
        return NOWHERE

    cdef uint32_t _new_spool(self, uint32_t number, Variant v, bytes prev_id) except? NOWHERE:
        cdef uint32_t spool, room
        cdef void* moved
        cdef Spool* s
        if self._free_spool == NOWHERE:
            room = doubled(self._spool_room)
            moved = PyMem_RawRealloc(self._spools, room * sizeof(Spool))
            if moved is NULL:
                raise MemoryError()
            self._spools = <Spool*> moved
            memset(&self._spools[self._spool_room], 0, (room - self._spool_room) * sizeof(Spool))
            for spool in range(self._spool_room, room):
                self._spools[spool].next = self._free_spool
                self._free_spool = spool
            self._spool_room = room
        spool = self._free_spool
        s = &self._spools[spool]
        self._free_spool = s.next
        memset(s, 0, sizeof(Spool))
        s.channel = number
        s.variant = <uint8_t> v
        self._set_prev_id(s, prev_id)
        s.next = self._first[number]
        self._first[number] = spool
        return spool

    cdef Outcome _drop_spool(self, uint32_t spool) noexcept:
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t* link = &self._first[s.channel]
        while link[0] != spool:
            link = &self._spools[link[0]].next
        link[0] = s.next
        PyMem_RawFree(s.slots)
        PyMem_RawFree(s.rows)
        Py_XDECREF(s.prev_id)
        memset(s, 0, sizeof(Spool))
        s.next = self._free_spool
        self._free_spool = spool
        return Outcome.DONE

    cdef Outcome _set_prev_id(self, Spool* s, bytes prev_id) noexcept:
        cdef PyObject* old = s.prev_id
        s.prev_id = NULL
        if prev_id is not None:
            Py_INCREF(prev_id)
            s.prev_id = <PyObject*> prev_id
        Py_XDECREF(old)
        return Outcome.DONE

    cdef Outcome _reach_member(self, uint32_t spool, uint32_t more) except Outcome.FAIL:
        # Room for so many more members, so that joining cannot fail half-way.
        cdef Spool* s = &self._spools[spool]
        cdef uint32_t room = s.room if s.room else SPOOL_AT_FIRST
        cdef void* moved
        while room < s.count + more:
            room *= 2
        if room == s.room:
            return Outcome.DONE
        moved = PyMem_RawRealloc(s.slots, room * sizeof(uint32_t))
        if moved is NULL:
            raise MemoryError()
        s.slots = <uint32_t*> moved
        moved = PyMem_RawRealloc(s.rows, room * sizeof(uint32_t))
        if moved is NULL:
            raise MemoryError()
        s.rows = <uint32_t*> moved
        s.room = room
        return Outcome.DONE

    cdef Outcome _merge(self, uint32_t spool, uint32_t twin, bytes prev_id) except Outcome.FAIL:
        # Two spools have come to expect the same id: the smaller joins the larger.
        cdef uint32_t i, small = spool, large = twin
        cdef Spool* s
        if self._spools[spool].count > self._spools[twin].count:
            small, large = twin, spool
        self._reach_member(large, self._spools[small].count)
        self._set_prev_id(&self._spools[large], prev_id)
        s = &self._spools[small]
        for i in range(s.count):
            self._join_spool(s.rows[i], large, s.slots[i])
        return self._drop_spool(small)

    # -- rows

    cdef uint32_t _row_of(self, uint32_t slot, uint32_t number) noexcept nogil:
        cdef uint32_t row = self._head[slot]
        while row != NOWHERE and self._spools[self._spool[row]].channel != number:
            row = self._next[row]
        return row

    cdef uint32_t _new_row(self, uint32_t slot) except? NOWHERE:
        cdef uint32_t row, room
        if self._free_row == NOWHERE:
            room = doubled(self._row_room)
            grow(&self._spool, room)
            grow(&self._place, room)
            grow(&self._next, room)
            for row in range(self._row_room, room):
                self._next[row] = self._free_row
                self._free_row = row
            self._row_room = room
        row = self._free_row
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
        self._leave_spool(row)
        self._next[row] = self._free_row
        self._free_row = row
        self.subscription_count -= 1
        if not self._modes(number) & mode:
            freed.append((self._names[number], mode))
        if self._first[number] == NOWHERE:
            del self._ids[self._names[number]]
            self._names[number] = None
            self._free_channels.append(number)
            self.channel_count -= 1
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

    cdef Outcome _leave_spool(self, uint32_t row) noexcept:
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

    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL:
        cdef uint32_t room = self._slot_room
        cdef uint32_t i
        if slot < room:
            return Outcome.DONE
        while room <= slot:
            room = doubled(room)
        grow(&self._head, room)
        for i in range(self._slot_room, room):
            self._head[i] = NOWHERE
        self._slot_room = room
        return Outcome.DONE

    # -- checking -----------------------------------------------------------------------------

    cdef Outcome check(self) except Outcome.FAIL:
        """Raise AssertionError unless every row is where it says and all counts agree."""
        cdef uint32_t slot, row, rows = 0, members = 0, spool
        cdef Spool* s
        for slot in range(self._slot_room):
            row = self._head[slot]
            while row != NOWHERE:
                rows += 1
                s = &self._spools[self._spool[row]]
                assert self._place[row] < s.count <= s.room
                assert s.slots[self._place[row]] == slot and s.rows[self._place[row]] == row
                row = self._next[row]
        for channel, number in self._ids.items():
            assert self._names[number] == channel and self._first[number] != NOWHERE
            spool = self._first[number]
            while spool != NOWHERE:
                assert self._spools[spool].count and self._spools[spool].channel == number
                members += self._spools[spool].count
                spool = self._spools[spool].next
        assert rows == members == self.subscription_count
        assert len(self._ids) == self.channel_count
        return Outcome.DONE


cdef uint32_t doubled(uint32_t room) noexcept nogil:
    return room * 2 if room else COLUMN_AT_FIRST


cdef Outcome grow(uint32_t** column, uint32_t room) except Outcome.FAIL:
    cdef void* moved = PyMem_RawRealloc(column[0], room * sizeof(uint32_t))
    if moved is NULL:
        raise MemoryError()
    column[0] = <uint32_t*> moved
    return Outcome.DONE


cdef bint same_id(PyObject* held, bytes prev_id) noexcept:
    if held is NULL or prev_id is None:
        return held is NULL and prev_id is None
    return held == <PyObject*> prev_id or <bytes> held == prev_id
