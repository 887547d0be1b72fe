# Mark, and what a walk leaves to do (floor 4). The only module that walks spools; it calls no
# transport and changes no table while it walks.

from libc.stdint cimport uint8_t, uint32_t
from fastpath.frame cimport Message
from fastpath.outcome cimport Outcome
from fastpath.session cimport Roster, Session
from fastpath.table cimport Spool
from fastpath.tally cimport Counter

cdef enum Lot:
    # What a walk found to be done with a session once the walk is over.
    ANSWER           # give it the message as its response
    FINISH           # end its stream
    AGAIN            # it has a gap, or got a hint: it asks again
    OBEY             # it is a WebSocket, and the message closes or refreshes
    LAPSE            # its stream has a gap
    HINTED           # its stream is to follow its link
    WAIT             # control follows its link: the message waits

cdef class Fanout:
    cdef:
        Roster _roster
        uint32_t* _slots       # owned; sessions drawn in this walk, a lot beside each
        uint8_t* _lots         # owned
        uint32_t _drawn
        uint32_t _room
        list _advanced         # spools whose members saw the item's id
        list _met              # groups of this walk that control is asked about
        dict _asked            # number -> (message, groups), until the verdict
        uint32_t _number       # of the last that was asked

    cdef Outcome publish(self, Message m) except Outcome.FAIL
    # The message that verdicts are about, or None: nothing was asked that they answer.
    cdef Message asked(self, uint32_t number, list verdicts)
    # What control has decided about the groups that it met.
    cdef Outcome judge(self, uint32_t number, list verdicts) except Outcome.FAIL
    # One session holds again: give it what has waited.
    cdef Outcome give(self, Session s, list waited) except Outcome.FAIL
    cdef Outcome forget_asked(self) except Outcome.FAIL
    cdef Outcome _walk(self, Message m) except Outcome.FAIL
    cdef Outcome _meet(self, Message m, Spool* spool, uint32_t number) except Outcome.FAIL
    cdef Outcome _meet_responses(self, Message m, Spool* spool, bint gap) except Outcome.FAIL
    cdef Outcome _meet_streams(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _meet_websockets(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _meet_group(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _ask(self, Message m) except Outcome.FAIL
    cdef Outcome _give(self, Session s, Message m) except Outcome.FAIL
    cdef Outcome _fail(
        self, Session s, bytes channel, bytes expected, bytes why
    ) except Outcome.FAIL
    cdef Outcome _hand(self, Session s, Message m, int mode) except Outcome.FAIL
    cdef Outcome _hand_action(self, Session s, Message m, int mode) except Outcome.FAIL
    cdef bint _gap(self, Message m, Spool* spool) except -1
    cdef Outcome _offer(self, Spool* spool, bytes frame, Counter delivered) except Outcome.FAIL
    cdef Outcome _draw(self, Spool* spool, Lot lot) except Outcome.FAIL
    cdef Outcome _act(self, Message m) except Outcome.FAIL
