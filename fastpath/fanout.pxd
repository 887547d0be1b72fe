# Mark, and what a walk leaves to do (floor 4). The only module that walks spools; it calls no
# transport and changes no table while it walks.

from libc.stdint cimport uint8_t, uint32_t
from fastpath.frame cimport Message
from fastpath.outcome cimport Outcome
from fastpath.session cimport Roster
from fastpath.table cimport Spool
from fastpath.tally cimport Counter

cdef enum Lot:
    # What a walk found to be done with a session once the walk is over.
    ANSWER           # give it the message as its response
    FINISH           # end its stream
    AGAIN            # it has a gap, or got a hint: it asks again
    OBEY             # it is a WebSocket, and the message closes or refreshes

cdef class Fanout:
    cdef:
        Roster _roster
        uint32_t* _slots       # owned; sessions drawn in this walk, a lot beside each
        uint8_t* _lots         # owned
        uint32_t _drawn
        uint32_t _room
        list _advanced         # spools whose members saw the item's id

    cdef Outcome publish(self, Message m) except Outcome.FAIL
    cdef Outcome _walk(self, Message m) except Outcome.FAIL
    cdef Outcome _meet_responses(self, Message m, Spool* spool, bint gap) except Outcome.FAIL
    cdef Outcome _meet_streams(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _meet_websockets(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _offer(self, Spool* spool, bytes frame, Counter delivered) except Outcome.FAIL
    cdef Outcome _draw(self, Spool* spool, Lot lot) except Outcome.FAIL
    cdef Outcome _act(self, Message m) except Outcome.FAIL
