"""Mark, and what a walk leaves to do (floor 4).

A publish is three phases that never overlap. Mark: walk the spools of the channel, append the one
frame to each stream's row, and draw the sessions with which more is to be done. Act: with the
walk over, answer the held responses, end streams, ask again where there is a gap; now the
table may change. Flush and bury are the roster's, at the end of the turn.

Where the rate of deliveries is limited, mark only draws, and what was drawn waits for its turn.

What a message becomes for a group with traits, control is asked (`inquiry`). The verdict finds
those who were there when it was asked, and are still.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastpath.frame cimport Action, Message
from fastpath.inquiry cimport Inquiry
from fastpath.limiter cimport Limiter
from fastpath.link_wire cimport Verdict, Why
from fastpath.lots cimport Lot, asks, is_gap, lot_of, lot_of_gap
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row
from fastpath.session cimport Roster, Session, now_ms
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Variant, mode_of


@cython.final
cdef class Fanout:
    """The walker of spools."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._advanced = []
        self.inquiry = Inquiry(roster)
        self._release_call = self.release

    def __dealloc__(self):
        PyMem_RawFree(self._slots)
        PyMem_RawFree(self._lots)

    cdef Outcome publish(self, Message m) except Outcome.FAIL:
        self._roster.tally.add(Counter.MESSAGES, 1)
        if self._limiter is not None:
            self._mark(m)
            self._line_up(m)
            return self._release()
        self._item_begins()
        try:
            self._mark(m)
            self._act(m)
        finally:
            self._item_ends(m)
        return Outcome.DONE

    cdef Outcome _item_begins(self) except Outcome.FAIL:
        if self._roster.upstream.accounts:
            return self._roster.upstream.item_begins()
        return Outcome.DONE

    cdef Outcome _item_ends(self, Message m) except Outcome.FAIL:
        if self._roster.upstream.accounts:
            return self._roster.upstream.item_ends(m)
        return Outcome.DONE

    # -- mark --------------------------------------------------------------------------------------

    cdef Outcome _mark(self, Message m) except Outcome.FAIL:
        cdef HoldTable table = self._roster.table
        cdef uint32_t number
        self._drawn = 0
        self._advanced.clear()
        self.inquiry.begin()
        table.walking = True
        try:
            self._walk(m)
        finally:
            table.walking = False
        for number in self._advanced:
            table.advance(number, m.id)
        return self.inquiry.ask(m)

    cdef Outcome _walk(self, Message m) except Outcome.FAIL:
        cdef HoldTable table = self._roster.table
        cdef uint32_t number = table.first_spool(m.channel)
        cdef Spool* spool
        while number != NOWHERE:
            spool = table.spool(number)
            if m.action(mode_of(<Variant> spool.variant)) >= 0:
                self._meet(m, spool, number)
            number = spool.next
        return Outcome.DONE

    cdef Outcome _meet(self, Message m, Spool* spool, uint32_t number) except Outcome.FAIL:
        cdef Variant v = <Variant> spool.variant
        cdef Lot lot = lot_of(m, v)
        if v == Variant.STREAM_WAITING:
            return self._draw(spool, lot)
        if spool.prev_id is not NULL:
            if self._limiter is not None:      # what it has seen last is known when its turn comes
                return self._draw(spool, Lot.GIVE)
            if is_gap(m, spool):
                return self._draw(spool, lot_of_gap(m, v))
            self._advanced.append(number)      # whatever becomes of it: GRIP.md 1.8, 3
        if asks(m, spool):
            return self._meet_group(m, spool)
        if lot != Lot.SEND:
            return self._draw(spool, lot)
        spool.delivered_ms = now_ms()
        return self._offer(m, spool) if self._limiter is None else self._draw(spool, lot)

    cdef Outcome _offer(self, Message m, Spool* spool) except Outcome.FAIL:
        cdef bytes frame = m.frame(<Variant> spool.variant)
        cdef uint64_t now = now_ms()
        cdef uint32_t i, slot, reached = 0
        cdef Roster roster = self._roster
        if PyBytes_GET_SIZE(frame) == 0:
            return Outcome.DONE
        for i in range(spool.count):
            slot = spool.slots[i]
            if roster.offer(slot, <PyObject*> frame):
                roster.rows[slot].sent_ms = now
                reached += 1
        roster.tally.add(counter_of(<Variant> spool.variant), reached)
        return Outcome.DONE

    cdef Outcome _draw(self, Spool* spool, Lot lot) except Outcome.FAIL:
        cdef uint32_t need = self._drawn + spool.count
        cdef void* moved
        if lot == Lot.NOTHING:
            return Outcome.DONE
        if need > self._room:
            moved = PyMem_RawRealloc(self._slots, need * sizeof(uint32_t))
            if moved is NULL:
                raise MemoryError()
            self._slots = <uint32_t*> moved
            moved = PyMem_RawRealloc(self._lots, need)
            if moved is NULL:
                raise MemoryError()
            self._lots = <uint8_t*> moved
            self._room = need
        memcpy(&self._slots[self._drawn], spool.slots, spool.count * sizeof(uint32_t))
        memset(&self._lots[self._drawn], <int> lot, spool.count)
        self._drawn = need
        return Outcome.DONE

    # -- act ---------------------------------------------------------------------------------------

    cdef Outcome _act(self, Message m) except Outcome.FAIL:
        cdef uint32_t i
        cdef Session s
        for i in range(self._drawn):
            s = self._roster.session(self._slots[i])
            if s is not None:
                self._do(s, <Lot> self._lots[i], m)
        return Outcome.DONE

    cdef Outcome _do(self, Session s, Lot lot, Message m) except Outcome.FAIL:
        try:
            if lot == Lot.SEND:
                self._send(s, m)
            elif lot == Lot.ANSWER:
                s.answer(m)
            elif lot == Lot.FINISH:
                s.finish_stream(Reason.PUBLISHED_CLOSE)
            elif lot == Lot.OBEY:
                s.obey(m)
            elif lot == Lot.LAPSE:
                s.lapse(m, Why.WHY_GAP)
            elif lot == Lot.HINTED:
                s.lapse(None, Why.WHY_HINT)
            elif lot == Lot.WAIT:
                s.wait(m)
            elif lot == Lot.AGAIN:
                s.ask_again()
            elif lot == Lot.GIVE:
                self._give(s, m)
        except Exception as wrong:
            self._roster.failed(s, "publish_failed", wrong)
        return Outcome.DONE

    cdef Outcome _send(self, Session s, Message m) except Outcome.FAIL:
        cdef Spool* spool = self._spool_of(s, m)
        cdef Variant v = <Variant> spool.variant
        cdef bytes frame = m.frame(v)
        if PyBytes_GET_SIZE(frame) and self._roster.offer(s.slot, <PyObject*> frame):
            self._roster.rows[s.slot].sent_ms = now_ms()
            self._roster.tally.add(counter_of(v), 1)
        return Outcome.DONE

    cdef Spool* _spool_of(self, Session s, Message m) except? NULL:
        # In which it holds the message's channel; NULL: no longer, or not yet.
        cdef uint32_t number = self._roster.table.spool_of(s.slot, m.channel)
        return NULL if number == NOWHERE else self._roster.table.spool(number)

    # -- act, one after the other: GRIP.md 2.6.4 ---------------------------------------------------

    def limit(self, rate, workers, waiting_max, block_bytes):
        """Let deliveries wait for their turn, as `Limiter.set` says; `rate` 0: none waits."""
        if self._limiter is None and rate:
            self._limiter = Limiter()
        if self._limiter is None:
            return
        self._limiter.set(rate, workers, waiting_max, block_bytes)
        self._release()
        if not rate:
            self._limiter = None

    cdef Outcome _line_up(self, Message m) except Outcome.FAIL:
        cdef uint32_t i
        cdef Session s
        for i in range(self._drawn):
            s = self._roster.session(self._slots[i])
            if s is not None:
                self._admit(s, <Lot> self._lots[i], m)
        return Outcome.DONE

    cdef Outcome _admit(self, Session s, Lot lot, Message m) except Outcome.FAIL:
        # What is dropped has not been seen: where ids matter, the next item has a gap.
        cdef Row* row = &self._roster.rows[s.slot]
        cdef int mode = mode_of(<Variant> self._spool_of(s, m).variant)
        cdef uint64_t size = len(m.content(mode)) if m.action(mode) == Action.SEND else 0
        if not self._limiter.admit(row.route, (s.ref, row.hold, lot, m), size):
            self._roster.tally.add(Counter.DROPPED_HWM, 1)
        return Outcome.DONE

    def release(self):
        """Do what it is the turn of, as far as the rate allows."""
        self._release_due = False
        if self._limiter is not None:
            self._release()

    cdef Outcome _release(self) except Outcome.FAIL:
        cdef uint64_t now = now_ms()
        cdef uint64_t pause_ms
        cdef tuple first = self._limiter.take(now)
        cdef Message m
        while first is not None:
            m = first[3]
            self._item_begins()
            try:
                while first is not None and first[3] is m:
                    self._take_turn(first[0], first[1], first[2], m)
                    first = self._limiter.take(now)
                self.inquiry.ask(m)
            finally:
                self._item_ends(m)
        pause_ms = self._limiter.pause_ms()
        if pause_ms and not self._release_due:
            self._release_due = True
            self._roster.call_later(pause_ms, self._release_call)
        return Outcome.DONE

    cdef Outcome _take_turn(
        self, uint64_t ref, uint32_t hold, Lot lot, Message m
    ) except Outcome.FAIL:
        # What it holds may have changed meanwhile.
        cdef Session s = self._roster.find(ref)
        cdef Spool* spool
        if s is None or self._roster.rows[s.slot].hold != hold:
            return Outcome.DONE
        spool = self._spool_of(s, m)
        if spool is NULL:
            return Outcome.DONE
        if spool.variant == Variant.STREAM_WAITING:
            return self._do(s, lot_of(m, Variant.STREAM_WAITING), m)
        if spool.prev_id is NULL:
            return self._do(s, lot, m)
        if lot != Lot.GIVE and is_gap(m, spool):
            return Outcome.DONE                # ids came meanwhile, and with them what is before
        return self._do(s, Lot.GIVE, m)

    # -- groups with traits ------------------------------------------------------------------------

    cdef Outcome _meet_group(self, Message m, Spool* spool) except Outcome.FAIL:
        cdef bytes traits = b"" if spool.traits is NULL else <bytes> spool.traits
        cdef int mode = mode_of(<Variant> spool.variant)
        cdef uint32_t i
        cdef bytes expected = None if spool.prev_id is NULL else <bytes> spool.prev_id
        spool.delivered_ms = now_ms()
        for i in range(spool.count):
            self.inquiry.join(m, mode, traits, self._roster.session(spool.slots[i]), expected)
        return Outcome.DONE

    cdef Outcome judge(self, uint32_t number, list verdicts) except Outcome.FAIL:
        cdef Message m, changed
        cdef Session s
        m, groups = self.inquiry.take(number)
        for (mode, _, _, _, refs), (verdict, content) in zip(groups, verdicts):
            changed = m.with_content(mode, content) if verdict == Verdict.INSTEAD else m
            self._item_begins()
            try:
                for ref, expected in refs.items():
                    s = self._roster.find(ref)
                    if s is None or verdict == Verdict.DROP:
                        continue
                    if verdict == Verdict.FAILED:
                        self.inquiry.fail(s, m, expected, content)
                    else:
                        self._hand(s, changed, mode)
            finally:
                self._item_ends(changed)
        return self._release() if self._limiter is not None else Outcome.DONE

    # -- one session -------------------------------------------------------------------------------

    cdef Outcome give(self, Session s, list waited) except Outcome.FAIL:
        # GRIP.md 1.9.2: what is older than the new ids is dropped, up to the first that is not.
        cdef Spool* spool
        cdef Message m
        cdef bint purging = True
        for m in waited:
            spool = self._spool_of(s, m)
            if spool is NULL or (purging and spool.prev_id is not NULL and is_gap(m, spool)):
                continue
            purging = False
            self._item_begins()
            try:
                self._give(s, m)
                self.inquiry.ask(m)
            finally:
                self._item_ends(m)
        return Outcome.DONE

    cdef Outcome _give(self, Session s, Message m) except Outcome.FAIL:
        cdef Spool* spool = self._spool_of(s, m)
        cdef Variant v = <Variant> spool.variant
        cdef bytes traits = b"" if spool.traits is NULL else <bytes> spool.traits
        cdef bytes expected = None
        cdef bint asking = asks(m, spool)
        cdef int mode = mode_of(v)
        if v == Variant.STREAM_WAITING:
            return self._do(s, lot_of(m, v), m)
        if spool.prev_id is not NULL:
            if is_gap(m, spool):
                return self._do(s, lot_of_gap(m, v), m)
            expected = <bytes> spool.prev_id
            self.inquiry.expect(s, m.channel, m.id)
        if not asking:
            return self._do(s, lot_of(m, v), m)
        return self.inquiry.join(m, mode, traits, s, expected)

    cdef Outcome _hand(self, Session s, Message m, int mode) except Outcome.FAIL:
        # Deliver to one session what its spool is not walked for, if it holds the channel still.
        cdef Spool* spool = self._spool_of(s, m)
        cdef Lot lot
        if spool is NULL or mode_of(<Variant> spool.variant) != mode:
            return Outcome.DONE
        lot = lot_of(m, <Variant> spool.variant)
        if self._limiter is not None and spool.prev_id is NULL and lot != Lot.NOTHING:
            return self._admit(s, lot, m)
        return self._do(s, lot, m)


cdef Counter counter_of(Variant v) noexcept nogil:
    return Counter.DELIVERED_WS if v >= Variant.WS else Counter.DELIVERED_STREAM
