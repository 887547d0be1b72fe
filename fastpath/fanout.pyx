"""Mark, and what a walk leaves to do (floor 4).

A publish is three phases that never overlap. Mark: walk the spools of the channel, append the one
frame to each stream's row, and draw the sessions with which more is to be done. Act: with the
walk over, answer the held responses, end streams, ask again where there is a gap; now the
table may change. Flush and bury are the roster's, at the end of the turn.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastpath.frame cimport Action, Message
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.session cimport Roster, Session, now_ms
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Variant


@cython.final
cdef class Fanout:
    """The walker of spools."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._advanced = []

    def __dealloc__(self):
        PyMem_RawFree(self._slots)
        PyMem_RawFree(self._lots)

    cdef Outcome publish(self, Message m) except Outcome.FAIL:
        cdef HoldTable table = self._roster.table
        cdef uint32_t number
        self._roster.tally.add(Counter.MESSAGES, 1)
        self._drawn = 0
        self._advanced.clear()
        table.walking = True
        try:
            self._walk(m)
        finally:
            table.walking = False
        for number in self._advanced:
            table.advance(number, m.id)
        return self._act(m)

    cdef Outcome _walk(self, Message m) except Outcome.FAIL:
        cdef HoldTable table = self._roster.table
        cdef uint32_t number = table.first_spool(m.channel)
        cdef Spool* spool
        cdef bint gap
        while number != NOWHERE:
            spool = table.spool(number)
            gap = spool.prev_id is not NULL and (
                m.prev_id is None or <bytes> spool.prev_id != m.prev_id
            )
            if spool.variant == Variant.RESPONSE:
                self._meet_responses(m, spool, gap)
            elif spool.variant >= Variant.WS:
                self._meet_websockets(m, spool)
            elif m.stream is not None and not gap:
                self._meet_streams(m, spool)
                if spool.prev_id is not NULL:
                    self._advanced.append(number)
            number = spool.next
        return Outcome.DONE

    cdef Outcome _meet_responses(self, Message m, Spool* spool, bint gap) except Outcome.FAIL:
        if m.response is None:
            return Outcome.DONE
        if m.response.action == Action.HINT or (gap and m.response.action == Action.SEND):
            return self._draw(spool, Lot.AGAIN)
        if m.response.action == Action.SEND:
            return self._draw(spool, Lot.ANSWER)
        return Outcome.DONE                    # close and refresh mean nothing to a held response

    cdef Outcome _meet_streams(self, Message m, Spool* spool) except Outcome.FAIL:
        if m.stream.action == Action.CLOSE:
            return self._draw(spool, Lot.FINISH)
        if m.stream.action != Action.SEND:
            return Outcome.DONE
        return self._offer(
            spool, m.stream_frame(<Variant> spool.variant), Counter.DELIVERED_STREAM
        )

    cdef Outcome _meet_websockets(self, Message m, Spool* spool) except Outcome.FAIL:
        if m.ws is None or m.ws.action == Action.HINT:
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
                else:
                    s.ask_again()
            except Exception as wrong:
                self._roster.failed(s, "publish_failed", wrong)
        return Outcome.DONE
