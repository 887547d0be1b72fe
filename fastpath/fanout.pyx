"""Mark, and what a walk leaves to do (floor 4).

A publish is three phases that never overlap. Mark: walk the spools of the channel, append the one
frame to each stream's row, and draw the sessions with which more is to be done. Act: with the
walk over, answer the held responses, end streams, ask again where there is a gap; now the
table may change. Flush and bury are the roster's, at the end of the turn.

Where the rate of deliveries is limited, mark only draws, and what was drawn waits for its turn.

What a message becomes for a group with traits, control is asked: once a group, not once a
session. The verdict finds those who were there when it was asked, and are still.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastpath.frame cimport Action, Message
from fastpath.limiter cimport Limiter
from fastpath.link_wire cimport Verdict, Why
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row
from fastpath.session cimport Roster, Session, now_ms
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Variant, mode_of

cdef enum:
    TRAITS_NEED_IDS = 1        # bit 0 of the first byte of traits
    META_ASKS_ALWAYS = 1       # bit 0 of the first byte of a message's meta
    ASKED_MAX = 10_000         # messages about which a verdict is awaited


@cython.final
cdef class Fanout:
    """The walker of spools."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._advanced = []
        self._met = {}
        self._asked = {}
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
        self._met.clear()
        table.walking = True
        try:
            self._walk(m)
        finally:
            table.walking = False
        for number in self._advanced:
            table.advance(number, m.id)
        return self._ask(m)

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
                self._ask(m)
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
            self._join_group(m, mode, traits, self._roster.session(spool.slots[i]), expected)
        return Outcome.DONE

    cdef Outcome _join_group(
        self, Message m, int mode, bytes traits, Session s, bytes expected
    ) except Outcome.FAIL:
        # Sessions whose ids matter are a group only with those that have the same ids.
        cdef list ids = []
        if traits and traits[0] & TRAITS_NEED_IDS:
            ids = [
                (channel, m.id if channel == m.channel and m.id is not None else last)
                for channel, last in self._roster.table.lasts(s.slot)
            ]
        self._met.setdefault((mode, m.action(mode), traits, tuple(ids)), {})[s.ref] = expected
        return Outcome.DONE

    cdef Outcome _ask(self, Message m) except Outcome.FAIL:
        cdef list groups
        if not self._met:
            return Outcome.DONE
        groups = [(mode, action, traits, list(ids), refs)
                  for (mode, action, traits, ids), refs in self._met.items()]
        self._met.clear()
        if len(self._asked) >= ASKED_MAX:
            return self._unjudged(m, groups)
        self._number += 1
        self._asked[self._number] = (m, groups)
        if not self._roster.upstream.met(self._number, m, [group[:4] for group in groups]):
            del self._asked[self._number]
            return self._unjudged(m, groups)
        return Outcome.DONE

    cdef bint has_asked(self, uint32_t number, list verdicts) except -1:
        cdef tuple asked = self._asked.get(number)
        return asked is not None and len(asked[1]) == len(verdicts)

    cdef Outcome judge(self, uint32_t number, list verdicts) except Outcome.FAIL:
        cdef tuple asked = self._asked.pop(number)
        cdef Message m = asked[0], changed
        cdef Session s
        for (mode, _, _, _, refs), (verdict, content) in zip(asked[1], verdicts):
            changed = m.with_content(mode, content) if verdict == Verdict.INSTEAD else m
            self._item_begins()
            try:
                for ref, expected in refs.items():
                    s = self._roster.find(ref)
                    if s is None or verdict == Verdict.DROP:
                        continue
                    if verdict == Verdict.FAILED:
                        self._fail(s, m, expected, content)
                    else:
                        self._hand(s, changed, mode)
            finally:
                self._item_ends(changed)
        return self._release() if self._limiter is not None else Outcome.DONE

    cdef Outcome _fail(
        self, Session s, Message m, bytes expected, bytes why
    ) except Outcome.FAIL:
        # It has not had the item: that is a gap, which what was asked about since must not hide.
        cdef Message later
        cdef bint hides = False
        if self._spool_of(s, m) is NULL:
            return Outcome.DONE
        if why:
            return s.fail(why)
        if expected is None:
            return Outcome.DONE
        self._expect(s, m.channel, expected)
        for later, groups in self._asked.values():
            if later.channel == m.channel:
                for _, _, _, _, refs in groups:
                    if s.ref in refs:
                        refs[s.ref] = expected
                        hides = True
        return s.ask_again() if hides else Outcome.DONE

    cdef Outcome _expect(self, Session s, bytes channel, bytes prev_id) except Outcome.FAIL:
        # What follows for it on this channel, if it holds it still.
        cdef HoldTable table = self._roster.table
        cdef uint32_t number = table.spool_of(s.slot, channel)
        cdef Spool* spool
        if number == NOWHERE:
            return Outcome.DONE
        spool = table.spool(number)
        return table.hold(
            channel, <Variant> spool.variant, s.slot, prev_id,
            None if spool.traits is NULL else <bytes> spool.traits,
        )

    cdef Outcome _unjudged(self, Message m, list groups) except Outcome.FAIL:
        # Nobody says what a message becomes for them: they have not had it.
        cdef Session s
        self._roster.tally.add(Counter.DROPPED_UNJUDGED, len(groups))
        for _, _, _, _, refs in groups:
            for ref, expected in refs.items():
                s = self._roster.find(ref)
                if s is not None and expected is not None:
                    self._expect(s, m.channel, expected)
        return Outcome.DONE

    cdef list recall(self, Session s):
        cdef list recalled = []
        cdef Message m
        cdef bytes expected
        if not self._asked:                    # as nearly always
            return recalled
        for m, groups in reversed(self._asked.values()):   # the id before the first counts
            for _, _, _, _, refs in groups:
                if s.ref in refs:
                    expected = refs.pop(s.ref)
                    if expected is not None:
                        self._expect(s, m.channel, expected)
                    recalled.append(m)
        recalled.reverse()
        return recalled

    cdef Outcome forget_asked(self) except Outcome.FAIL:
        cdef Message m
        for m, groups in reversed(self._asked.values()):   # the id before the first counts
            self._unjudged(m, groups)
        self._asked.clear()
        return Outcome.DONE

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
                self._ask(m)
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
            self._expect(s, m.channel, m.id)
        if not asking:
            return self._do(s, lot_of(m, v), m)
        return self._join_group(m, mode, traits, s, expected)

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


cdef bint is_gap(Message m, Spool* spool) except -1:
    return m.prev_id is None or <bytes> spool.prev_id != m.prev_id


cdef bint asks(Message m, Spool* spool) except -1:
    # Whether control is to say what the message becomes.
    return spool.traits is not NULL or (len(m.meta) > 0 and m.meta[0] & META_ASKS_ALWAYS)


cdef Lot lot_of(Message m, Variant v) noexcept:
    cdef int action
    action = m.action(mode_of(v))
    if v == Variant.STREAM_WAITING:            # a hint does not wait: what it stands for is fetched
        return Lot.HINTED if action == Action.HINT else Lot.WAIT
    if v == Variant.RESPONSE:                  # close and refresh mean nothing to a held response
        if action == Action.SEND:
            return Lot.ANSWER
        return Lot.AGAIN if action == Action.HINT else Lot.NOTHING
    if action == Action.SEND:
        return Lot.SEND
    if v >= Variant.WS:
        return Lot.NOTHING if action == Action.HINT else Lot.OBEY
    if action == Action.CLOSE:
        return Lot.FINISH
    return Lot.HINTED if action == Action.HINT else Lot.NOTHING


cdef Lot lot_of_gap(Message m, Variant v) noexcept:
    if v != Variant.RESPONSE:
        return Lot.HINTED if m.stream.action == Action.HINT else Lot.LAPSE
    if m.response.action == Action.SEND or m.response.action == Action.HINT:
        return Lot.AGAIN
    return Lot.NOTHING


cdef Counter counter_of(Variant v) noexcept nogil:
    return Counter.DELIVERED_WS if v >= Variant.WS else Counter.DELIVERED_STREAM
