# Mark, and what a walk leaves to do (floor 4). The only module that walks spools; it calls no
# transport and changes no table while it walks.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastpath.frame cimport Message
from fastpath.inquiry cimport Inquiry
from fastpath.limiter cimport Limiter
from fastpath.lots cimport Lot
from fastpath.outcome cimport Outcome
from fastpath.session cimport Roster, Session
from fastpath.table cimport Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Variant

cdef class Fanout:
    cdef:
        Roster _roster
        uint32_t* _slots       # owned; sessions drawn in this walk, a lot beside each
        uint8_t* _lots         # owned
        uint32_t _drawn
        uint32_t _room
        list _advanced         # spools whose members saw the item's id
        Inquiry inquiry        # what control is asked
        Limiter _limiter       # None: the rate is not limited
        bint _release_due      # a timer runs for what waits
        object _release_call   # bound once: no allocation a batch

    cdef Outcome publish(self, Message m) except Outcome.FAIL
    # What control has said to a question of the inquiry.
    cdef Outcome judge(self, uint32_t number, list verdicts) except Outcome.FAIL
    # One session holds again: give it what has waited.
    cdef Outcome give(self, Session s, list waited) except Outcome.FAIL
    cdef Outcome _item_begins(self) except Outcome.FAIL
    cdef Outcome _item_ends(self, Message m) except Outcome.FAIL
    cdef Outcome _mark(self, Message m) except Outcome.FAIL
    cdef Outcome _walk(self, Message m) except Outcome.FAIL
    cdef Outcome _meet(self, Message m, Spool* spool, uint32_t number) except Outcome.FAIL
    cdef Outcome _meet_group(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _offer(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _draw(self, Spool* spool, Lot lot) except Outcome.FAIL
    cdef Outcome _act(self, Message m) except Outcome.FAIL
    cdef Outcome _do(self, Session s, Lot lot, Message m) except Outcome.FAIL
    cdef Outcome _send(self, Session s, Message m) except Outcome.FAIL
    cdef Spool* _spool_of(self, Session s, Message m) except? NULL
    cdef Outcome _line_up(self, Message m) except Outcome.FAIL
    cdef Outcome _admit(self, Session s, Lot lot, Message m) except Outcome.FAIL
    cdef Outcome _release(self) except Outcome.FAIL
    cdef Outcome _take_turn(
        self, uint64_t ref, uint32_t hold, Lot lot, Message m
    ) except Outcome.FAIL
    cdef Outcome _give(self, Session s, Message m) except Outcome.FAIL
    cdef Outcome _hand(self, Session s, Message m, int mode) except Outcome.FAIL
