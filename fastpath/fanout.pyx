"""Mark, and what a walk leaves to do (floor 4).

A publish is three phases that never overlap. Mark: walk the spools of the channel, append the one
frame to each stream's row, and draw the sessions with which more is to be done. Act: with the
walk over, answer the held responses, end streams, ask again where there is a gap; now the
table may change. Flush and bury are the roster's, at the end of the turn.

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
from fastpath.link_wire cimport Verdict, Why
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.session cimport Roster, Session, now_ms
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Mode, Variant, mode_of

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
        self._met = []
        self._asked = {}

    def __dealloc__(self):
        PyMem_RawFree(self._slots)
        PyMem_RawFree(self._lots)

    cdef Outcome publish(self, Message m) except Outcome.FAIL:
        cdef HoldTable table = self._roster.table
        cdef uint32_t number
        self._roster.tally.add(Counter.MESSAGES, 1)
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
        if self._met:
            self._ask(m)
        return self._act(m)

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
        cdef bint tracked = spool.prev_id is not NULL
        cdef bint response = spool.variant == Variant.RESPONSE
        if spool.variant == Variant.STREAM_WAITING:
            return self._draw(spool, Lot.WAIT)
        if tracked and self._gap(m, spool):
            if response:
                return self._meet_responses(m, spool, True)
            return self._draw(spool, Lot.LAPSE)
        if tracked and not response:
            self._advanced.append(number)
        if spool.traits is not NULL or (m.meta and m.meta[0] & META_ASKS_ALWAYS):
            return self._meet_group(m, spool)
        if response:
            return self._meet_responses(m, spool, False)
        if spool.variant >= Variant.WS:
            return self._meet_websockets(m, spool)
        return self._meet_streams(m, spool)

    cdef bint _gap(self, Message m, Spool* spool) except -1:
        return m.prev_id is None or <bytes> spool.prev_id != m.prev_id

    cdef Outcome _meet_responses(self, Message m, Spool* spool, bint gap) except Outcome.FAIL:
        if m.response.action == Action.HINT or (gap and m.response.action == Action.SEND):
            return self._draw(spool, Lot.AGAIN)
        if m.response.action == Action.SEND:
            return self._draw(spool, Lot.ANSWER)
        return Outcome.DONE                    # close and refresh mean nothing to a held response

    cdef Outcome _meet_streams(self, Message m, Spool* spool) except Outcome.FAIL:
        if m.stream.action == Action.CLOSE:
            return self._draw(spool, Lot.FINISH)
        if m.stream.action == Action.HINT:
            return self._draw(spool, Lot.HINTED)
        if m.stream.action != Action.SEND:
            return Outcome.DONE
        spool.delivered_ms = now_ms()
        return self._offer(
            spool, m.stream_frame(<Variant> spool.variant), Counter.DELIVERED_STREAM
        )

    cdef Outcome _meet_websockets(self, Message m, Spool* spool) except Outcome.FAIL:
        if m.ws.action == Action.HINT:
            return Outcome.DONE
        if m.ws.action != Action.SEND:
            return self._draw(spool, Lot.OBEY)
        return self._offer(spool, m.ws_frame(<Variant> spool.variant), Counter.DELIVERED_WS)

    cdef Outcome _offer(self, Spool* spool, bytes frame, Counter delivered) except Outcome.FAIL:
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
        roster.tally.add(delivered, reached)
        return Outcome.DONE

    cdef Outcome _draw(self, Spool* spool, Lot lot) except Outcome.FAIL:
        cdef uint32_t need = self._drawn + spool.count
        cdef void* moved
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

    cdef Outcome _act(self, Message m) except Outcome.FAIL:
        cdef uint32_t i
        cdef Session s
        for i in range(self._drawn):
            s = self._roster.session(self._slots[i])
            if s is None:
                continue
            try:
                if self._lots[i] == Lot.ANSWER:
                    s.answer(m)
                elif self._lots[i] == Lot.FINISH:
                    s.finish_stream(Reason.PUBLISHED_CLOSE)
                elif self._lots[i] == Lot.OBEY:
                    s.obey(m)
                elif self._lots[i] == Lot.LAPSE:
                    s.lapse(m, Why.WHY_GAP)
                elif self._lots[i] == Lot.HINTED:
                    s.lapse(None, Why.WHY_HINT)
                elif self._lots[i] == Lot.WAIT:
                    s.wait(m)
                else:
                    s.ask_again()
            except Exception as wrong:
                self._roster.failed(s, "publish_failed", wrong)
        return Outcome.DONE

    # -- groups with traits ------------------------------------------------------------------------

    cdef Outcome _meet_group(self, Message m, Spool* spool) except Outcome.FAIL:
        # Sessions whose ids matter are a group only with those that have the same ids.
        cdef bytes traits = b"" if spool.traits is NULL else <bytes> spool.traits
        cdef bytes expected = None if spool.prev_id is NULL else <bytes> spool.prev_id
        cdef int mode = mode_of(<Variant> spool.variant)
        cdef dict by_ids = {}
        cdef list ids
        cdef uint32_t i, slot
        spool.delivered_ms = now_ms()
        for i in range(spool.count):
            slot = spool.slots[i]
            ids = []
            if traits and traits[0] & TRAITS_NEED_IDS:
                ids = [
                    (channel, m.id if channel == m.channel and m.id is not None else last)
                    for channel, last in self._roster.table.lasts(slot)
                ]
            by_ids.setdefault(tuple(ids), []).append(self._roster.session(slot).ref)
        for key, refs in by_ids.items():
            self._met.append((mode, m.action(mode), traits, list(key), refs, expected))
        return Outcome.DONE

    cdef Outcome _ask(self, Message m) except Outcome.FAIL:
        cdef list groups = list(self._met)
        self._met.clear()
        if len(self._asked) >= ASKED_MAX:
            self._roster.tally.add(Counter.DROPPED_UNJUDGED, len(groups))
            return Outcome.DONE
        self._number += 1
        self._asked[self._number] = (m, groups)
        if not self._roster.upstream.met(self._number, m, [group[:4] for group in groups]):
            del self._asked[self._number]
            self._roster.tally.add(Counter.DROPPED_UNJUDGED, len(groups))
        return Outcome.DONE

    cdef Message asked(self, uint32_t number, list verdicts):
        cdef tuple asked = self._asked.get(number)
        return asked[0] if asked is not None and len(asked[1]) == len(verdicts) else None

    cdef Outcome judge(self, uint32_t number, list verdicts) except Outcome.FAIL:
        cdef tuple asked = self._asked.pop(number)
        cdef Message m = asked[0], changed
        cdef Session s
        for (mode, _, _, _, refs, expected), (verdict, content) in zip(asked[1], verdicts):
            changed = m.with_content(mode, content) if verdict == Verdict.INSTEAD else m
            for ref in refs:
                s = self._roster.find(ref)
                if s is None or verdict == Verdict.DROP:
                    continue
                if verdict == Verdict.FAILED:
                    self._fail(s, m.channel, expected, content)
                else:
                    self._hand(s, changed, mode)
        return Outcome.DONE

    cdef Outcome _fail(
        self, Session s, bytes channel, bytes expected, bytes why
    ) except Outcome.FAIL:
        # It has not had the item: it goes on expecting the id before it, and so has a gap.
        cdef HoldTable table = self._roster.table
        cdef uint32_t number
        cdef Spool* spool
        if why:
            return s.fail(why)
        number = table.spool_of(s.slot, channel)
        if number == NOWHERE or expected is None:
            return Outcome.DONE
        spool = table.spool(number)
        return table.hold(
            channel, <Variant> spool.variant, s.slot, expected,
            None if spool.traits is NULL else <bytes> spool.traits,
        )

    cdef Outcome forget_asked(self) except Outcome.FAIL:
        self._asked.clear()
        return Outcome.DONE

    # -- one session -------------------------------------------------------------------------------

    cdef Outcome give(self, Session s, list waited) except Outcome.FAIL:
        # GRIP.md 1.9.2: what is older than the new ids is dropped, up to the first that is not.
        cdef HoldTable table = self._roster.table
        cdef Spool* spool
        cdef uint32_t number
        cdef Message m
        cdef bint purging = True
        for m in waited:
            number = table.spool_of(s.slot, m.channel)
            if number == NOWHERE:
                continue
            spool = table.spool(number)
            if purging and spool.prev_id is not NULL and self._gap(m, spool):
                continue
            purging = False
            self._give(s, m)
        return Outcome.DONE

    cdef Outcome _give(self, Session s, Message m) except Outcome.FAIL:
        cdef HoldTable table = self._roster.table
        cdef uint32_t number = table.spool_of(s.slot, m.channel)
        cdef Spool* spool = table.spool(number)
        cdef int mode = mode_of(<Variant> spool.variant)
        cdef bytes traits = None if spool.traits is NULL else <bytes> spool.traits
        cdef bytes expected = None
        cdef list ids
        if spool.variant == Variant.STREAM_WAITING:
            return s.wait(m)
        if spool.prev_id is not NULL:
            if self._gap(m, spool):
                return s.lapse(m, Why.WHY_GAP)
            expected = <bytes> spool.prev_id
            table.hold(m.channel, <Variant> spool.variant, s.slot, m.id, traits)
        if traits is None and not (m.meta and m.meta[0] & META_ASKS_ALWAYS):
            return self._hand(s, m, mode)
        ids = table.lasts(s.slot) if traits and traits[0] & TRAITS_NEED_IDS else []
        self._met.append((mode, m.action(mode), traits or b"", ids, [s.ref], expected))
        return self._ask(m)

    cdef Outcome _hand(self, Session s, Message m, int mode) except Outcome.FAIL:
        # Deliver to one session what its spool is not walked for, if it holds the channel still.
        cdef HoldTable table = self._roster.table
        cdef uint32_t number = table.spool_of(s.slot, m.channel)
        cdef Variant v
        cdef bytes frame
        if number == NOWHERE:
            return Outcome.DONE
        v = <Variant> table.spool(number).variant
        if mode_of(v) != mode:
            return Outcome.DONE
        if v == Variant.STREAM_WAITING:
            return s.wait(m)
        if m.action(mode) != Action.SEND:
            return self._hand_action(s, m, mode)
        if v == Variant.RESPONSE:
            return s.answer(m)
        frame = m.ws_frame(v) if v >= Variant.WS else m.stream_frame(v)
        if PyBytes_GET_SIZE(frame) and self._roster.offer(s.slot, <PyObject*> frame):
            self._roster.rows[s.slot].sent_ms = now_ms()
            self._roster.tally.add(
                Counter.DELIVERED_WS if v >= Variant.WS else Counter.DELIVERED_STREAM, 1
            )
        return Outcome.DONE

    cdef Outcome _hand_action(self, Session s, Message m, int mode) except Outcome.FAIL:
        cdef int action = m.action(mode)
        if mode == Mode.MODE_WS:
            return s.obey(m) if action != Action.HINT else Outcome.DONE
        if action == Action.HINT and mode == Mode.MODE_RESPONSE:
            return s.ask_again()
        if action == Action.HINT:
            return s.lapse(None, Why.WHY_HINT)
        if action == Action.CLOSE and mode == Mode.MODE_STREAM:
            return s.finish_stream(Reason.PUBLISHED_CLOSE)
        return Outcome.DONE
