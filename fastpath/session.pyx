"""The data plane's end of one client connection, and the roster of them all (floor 3).

What is common to every kind of session: an identity, frames that wait to leave, an end. The roster
gives slots, keeps the outgoing row of each, flushes the dirty ones with one system call each,
and owns the one timer. It never parses what a client sent and never walks a spool.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.string cimport memset

from fastpath.limits cimport QUEUE_MAX, SCRATCH_SIZE
from fastpath.link_orders cimport HoldOrder
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row, RowFlag, forget_frames, pop_frames, push_frame, send_frames
from fastpath.tally cimport Counter

cdef enum:
    SLOTS_AT_FIRST = 256       # doubled when they run out; 256 rows are 12 KiB

cdef bytearray BUFFER = bytearray(SCRATCH_SIZE)
SCRATCH = memoryview(BUFFER)
scratch = <uint8_t*> PyByteArray_AS_STRING(BUFFER)


cdef class Upstream:
    """What a session says upwards. This one has nobody above it."""

    cdef bint opened(
        self, Session s, bytes head, bint again, int64_t length, list lasts, bytes body, bint more
    ) except -1:
        return False

    cdef Outcome received(self, Session s, int kind, object body, bint more) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome granted(self, Session s, uint32_t count) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome signalled(self, Session s, int what) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome lost(self, Session s, int reason, int code) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome freed(self, list pairs) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome letting_go(self, Session s) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome left(self, Session s) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome item_begins(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome item_ends(self, Message m) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome parted(self, Session s, bytes context) except Outcome.FAIL:
        return Outcome.DONE

    cdef bint lapsed(self, Session s, int why, list lasts, bytes context) except -1:
        return False

    cdef bint met(self, uint32_t number, Message m, list groups) except -1:
        return False

    cdef list recalling(self, Session s):
        return []

    cdef Outcome resumed(self, Session s, list waited) except Outcome.FAIL:
        return Outcome.DONE


@cython.final
cdef class Roster:
    """The sessions of a worker, what leaves them, and what they share."""

    def __cinit__(self):
        self._sessions = []
        self._free = []
        self._doomed = []

    def __init__(self, loop, HoldTable table, Wheel wheel, Tally tally, Limits limits):
        self._loop = loop
        self.table = table
        self.wheel = wheel
        self.links = Wheel()
        self.tally = tally
        self.limits = limits
        self.upstream = Upstream()
        self._flush_call = self.flush
        self._tick_call = self.tick

    def __dealloc__(self):
        cdef uint32_t slot
        for slot in range(self._room):
            forget_frames(&self.rows[slot])
        PyMem_RawFree(self.rows)
        PyMem_RawFree(self._generations)
        PyMem_RawFree(self._dirty)

    def set_limits(self, Limits limits):
        """Take the settings of a later WELCOME; sessions that live keep their deadlines."""
        self.limits = limits

    def drain(self):
        """Let every session come to its end; see each kind's drain()."""
        cdef Session s
        self.draining = True
        for s in self.sessions():
            s.drain()

    def sessions(self):
        """Every live session, as a new list."""
        return [s for s in self._sessions if s is not None]

    # -- slots ------------------------------------------------------------------------------

    cdef Outcome join(self, Session s, int fd) except Outcome.FAIL:
        if not self._free:
            self._grow()
        cdef uint32_t slot = self._free.pop()
        cdef Row* row = &self.rows[slot]
        memset(row, 0, sizeof(Row))
        row.fd = fd
        s.slot = slot
        s.ref = (<uint64_t> self._generations[slot] << 32) | slot
        self._sessions[slot] = s
        self.live_count += 1
        self.tally.add(Counter.SESSIONS, 1)
        return Outcome.DONE

    cdef Outcome replace(self, Session old, Session new) except Outcome.FAIL:
        # The same client, row and ref, another kind of session.
        new.slot = old.slot
        new.ref = old.ref
        self._sessions[new.slot] = new
        old.ref = 0
        return Outcome.DONE

    cdef Outcome leave(self, Session s) except Outcome.FAIL:
        cdef uint32_t slot = s.slot
        if self._sessions[slot] is not s:
            return Outcome.DONE
        if self.upstream.accounts:
            self.upstream.left(s)
        self.drop_frames(slot)
        self.rows[slot].fd = -1
        self.links.disarm(slot)
        self.rows[slot].flags = 0              # a flush that is due finds nobody to tell
        self._sessions[slot] = None
        self._generations[slot] += 1
        if self._generations[slot] == 0:       # zero with slot 0 would be the worker itself
            self._generations[slot] = 1
        self._free.append(slot)
        self.live_count -= 1
        self.tally.add(Counter.SESSIONS, -1)
        return Outcome.DONE

    cdef Outcome failed(self, Session s, str what, object wrong) except Outcome.FAIL:
        # We did wrong, not the client: its session ends, and nobody else's turn with it.
        self.report(what, s.ref, wrong)
        return s.end(Reason.INTERNAL)

    cdef Session find(self, uint64_t ref):
        cdef uint32_t slot = <uint32_t> ref
        if slot >= self._room:
            return None
        cdef Session s = <Session> PyList_GET_ITEM(self._sessions, slot)
        if s is None or s.ref != ref:
            return None
        return s

    cdef Session session(self, uint32_t slot):
        return <Session> PyList_GET_ITEM(self._sessions, slot)

    cdef Outcome _grow(self) except Outcome.FAIL:
        cdef uint32_t room = self._room * 2 if self._room else SLOTS_AT_FIRST
        cdef void* rows = PyMem_RawRealloc(self.rows, room * sizeof(Row))
        if rows is NULL:
            raise MemoryError()
        self.rows = <Row*> rows
        cdef void* generations = PyMem_RawRealloc(self._generations, room * sizeof(uint32_t))
        if generations is NULL:
            raise MemoryError()
        self._generations = <uint32_t*> generations
        cdef uint32_t slot
        for slot in range(self._room, room):
            memset(&self.rows[slot], 0, sizeof(Row))
            self.rows[slot].fd = -1
            self._generations[slot] = 1
        self._sessions.extend([None] * (room - self._room))
        self._free.extend(range(room - 1, <int64_t> self._room - 1, -1))
        self._room = room
        return Outcome.DONE

    # -- deadlines ----------------------------------------------------------------------------

    cdef Outcome arm(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL:
        self.wheel.arm(slot, deadline_ms)
        return self._wake_at(deadline_ms)

    cdef Outcome arm_link(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL:
        self.links.arm(slot, deadline_ms)
        return self._wake_at(deadline_ms)

    cdef Outcome _wake_at(self, uint64_t at) except Outcome.FAIL:
        # One timer for both wheels: the earlier of the two. 0: nothing is armed.
        if at != 0 and (self._timer_ms == 0 or at < self._timer_ms):
            return self._set_timer(at)
        return Outcome.DONE

    cdef Outcome _set_timer(self, uint64_t at) except Outcome.FAIL:
        cdef uint64_t now = now_ms()
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = at
        self._timer = self._loop.call_later((at - now) / 1000.0 if at > now else 0, self._tick_call)
        return Outcome.DONE

    cdef Outcome call_later(self, uint64_t pause_ms, object call) except Outcome.FAIL:
        self._loop.call_later(pause_ms / 1000.0, call)
        return Outcome.DONE

    def tick(self):
        """The timer fired: tell the sessions that are due, then sleep until the next."""
        cdef uint64_t now = now_ms()
        cdef list slots = []
        cdef list links = []
        self._timer = None
        self._timer_ms = 0
        self.wheel.due(now, slots)
        self.links.due(now, links)
        for slot in slots:
            self._tell_due(slot, now, False)
        for slot in links:
            self._tell_due(slot, now, True)
        self._wake_at(self.wheel.next_ms())
        self._wake_at(self.links.next_ms())

    cdef Outcome _tell_due(self, uint32_t slot, uint64_t now, bint link) except Outcome.FAIL:
        cdef Session s = <Session> self._sessions[slot]
        if s is None:
            return Outcome.DONE
        try:
            return s.link_due(now) if link else s.due(now)
        except Exception as wrong:
            return self.failed(s, "deadline_failed", wrong)

    # -- outgoing: mark -----------------------------------------------------------------------

    cdef Outcome queue(self, uint32_t slot, bytes frame) except Outcome.FAIL:
        if PyBytes_GET_SIZE(frame) == 0 or self.rows[slot].fd < 0:
            return Outcome.DONE
        push_frame(&self.rows[slot], <PyObject*> frame)
        return self.touch(slot)

    cdef bint offer(self, uint32_t slot, PyObject* frame) except -1:
        # False: the client cannot take it now; the frame is dropped for it alone.
        cdef Row* row = &self.rows[slot]
        if row.fd < 0:
            return False
        if (
            row.flags & (RowFlag.BLOCKED | RowFlag.MIDWAY | RowFlag.COUNTED)
            and not self._admits(row)
        ):
            return False
        push_frame(row, frame)
        if not row.flags & (RowFlag.DIRTY | RowFlag.BLOCKED):
            self.touch(slot)
        return True

    cdef bint _admits(self, Row* row) except -1:
        if row.flags & RowFlag.MIDWAY:
            self.tally.add(Counter.DROPPED_MIDWAY, 1)
            return False
        if row.flags & RowFlag.BLOCKED and row.count >= QUEUE_MAX:
            self.tally.add(Counter.DROPPED_QUEUE, 1)
            return False
        if row.flags & RowFlag.COUNTED:
            self.routes.reached(row.route, row.flags & RowFlag.IS_WS)
        return True

    cdef Outcome kept_alive(self, uint32_t slot, Py_ssize_t content_bytes) except Outcome.FAIL:
        cdef Row* row = &self.rows[slot]
        self.tally.add(Counter.KEEP_ALIVES, 1)
        if self.routes is not None:
            self.routes.kept_alive(row.route, content_bytes, row.flags & RowFlag.IS_WS)
        return Outcome.DONE

    cdef Outcome touch(self, uint32_t slot) except Outcome.FAIL:
        cdef uint32_t room
        cdef void* dirty
        if self.rows[slot].flags & RowFlag.DIRTY:
            return Outcome.DONE
        if self._dirty_count == self._dirty_room:
            room = self._dirty_room * 2 if self._dirty_room else SLOTS_AT_FIRST
            dirty = PyMem_RawRealloc(self._dirty, room * sizeof(uint32_t))
            if dirty is NULL:
                raise MemoryError()
            self._dirty = <uint32_t*> dirty
            self._dirty_room = room
        self._dirty[self._dirty_count] = slot
        self._dirty_count += 1
        self.rows[slot].flags |= RowFlag.DIRTY
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_call)
        return Outcome.DONE

    # -- outgoing: flush, bury ------------------------------------------------------------------

    cpdef object flush(self):
        """Send what waits, one system call a session; then end the sessions whose socket failed."""
        cdef uint32_t i = 0
        cdef uint32_t slot
        try:
            while i < self._dirty_count:       # a session may touch another while it is told
                slot = self._dirty[i]
                i += 1
                self.rows[slot].flags &= ~RowFlag.DIRTY
                try:
                    self.flush_row(slot)
                except Exception as wrong:
                    self.failed(self.session(slot), "flush_failed", wrong)
        finally:
            self._dirty_count = 0
            self._flush_due = False
        if self._doomed:
            self.bury()

    cdef Outcome flush_row(self, uint32_t slot) except Outcome.FAIL:
        cdef Row* row = &self.rows[slot]
        cdef Py_ssize_t size, taken
        while row.count and not row.flags & RowFlag.BLOCKED:
            taken = send_frames(row, &size)
            if taken < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN and errno != ENOBUFS:
                    self._doomed.append(self._sessions[slot])
                    return self.drop_frames(slot)
                taken = 0
            self.tally.add(Counter.BYTES_OUT, taken)
            if taken == size:
                pop_frames(row, taken)
            else:
                self.hand_over(slot, pop_frames(row, taken))
                row = &self.rows[slot]
        if row.flags & RowFlag.TELL and row.count == 0 and not row.flags & RowFlag.BLOCKED:
            row.flags &= ~RowFlag.TELL
            (<Session> PyList_GET_ITEM(self._sessions, slot)).drained()
        return Outcome.DONE

    cdef Outcome hand_over(self, uint32_t slot, Py_ssize_t offset) except Outcome.FAIL:
        # The kernel is full. The transport keeps the rest of one frame and says when it has room
        # again (its high-water mark is zero); the others stay here, shared.
        cdef Row* row = &self.rows[slot]
        cdef Session s = <Session> PyList_GET_ITEM(self._sessions, slot)
        cdef bytes frame = <bytes> row.first
        self.tally.add(Counter.BYTES_OUT, PyBytes_GET_SIZE(frame) - offset)
        pop_frames(row, PyBytes_GET_SIZE(frame))
        row.flags |= RowFlag.BLOCKED
        s._transport.write(memoryview(frame)[offset:] if offset else frame)
        if s._transport.get_write_buffer_size() == 0:
            self.rows[slot].flags &= ~RowFlag.BLOCKED
            return Outcome.DONE
        return s.blocked()

    cdef Outcome resume(self, uint32_t slot) except Outcome.FAIL:
        self.rows[slot].flags &= ~RowFlag.BLOCKED
        return self.touch(slot)

    cdef Outcome drop_frames(self, uint32_t slot) except Outcome.FAIL:
        forget_frames(&self.rows[slot])
        return Outcome.DONE

    cdef Outcome bury(self) except Outcome.FAIL:
        cdef list doomed = self._doomed
        cdef Session s
        self._doomed = []
        for s in doomed:
            if s is not None:
                s.end(Reason.PEER_RESET)
        return Outcome.DONE


cdef class Session:
    """One client connection. Kinds override what concerns them; the rest refuses."""

    cdef Outcome end(self, int reason) except Outcome.FAIL:
        raise NotImplementedError

    cdef Outcome let_go(self) except Outcome.FAIL:
        cdef list freed = []
        if self._roster.upstream.accounts:
            self._roster.upstream.letting_go(self)
        self._roster.rows[self.slot].hold += 1
        self._roster.table.release(self.slot, freed)
        if freed:
            self._roster.upstream.freed(freed)
        return Outcome.DONE

    cdef Outcome drained(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome blocked(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome due(self, uint64_t now) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome link_due(self, uint64_t now) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome lapse(self, Message m, int why) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome fail(self, bytes why) except Outcome.FAIL:
        return self.end(Reason.INTERNAL)

    cdef Outcome wait(self, Message m) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome answer(self, Message m) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome finish_stream(self, int reason) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome ask_again(self) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome obey(self, Message m) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome respond(self, tuple order, bint more) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome send(self, int kind, bytes body, bint more) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome accept(self, list headers) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome hold(
        self, HoldOrder order, object response, object keep_alive
    ) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome grant(self, uint32_t count) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome close(self, int reason, int code, bytes text) except Outcome.FAIL:
        return self.end(reason)

    cdef Outcome release(self) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome subscribe(self, bytes channel, bytes traits) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome unsubscribe(self, bytes channel) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome keep_alive(self, object keep_alive) except Outcome.FAIL:
        return self.end(Reason.ORDER_REFUSED)

    cdef Outcome link_lost(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome link_resumed(self) except Outcome.FAIL:
        return Outcome.DONE

    cdef Outcome drain(self) except Outcome.FAIL:
        return self.end(Reason.DRAINING)
