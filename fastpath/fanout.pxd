# Mark, and what a walk leaves to do (floor 4). The only module that walks spools; it calls no
# transport and changes no table while it walks.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastpath.frame cimport Message
from fastpath.limiter cimport Limiter
from fastpath.outcome cimport Outcome
from fastpath.session cimport Roster, Session
from fastpath.table cimport Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Variant

cdef enum Lot:
    # What is to be done with a session, once a walk is over or when its turn comes.
    NOTHING
    SEND             # append the frame
    ANSWER           # give it the message as its response
    FINISH           # end its stream
    AGAIN            # it has a gap, or got a hint: it asks again
    OBEY             # it is a WebSocket, and the message closes or refreshes
    LAPSE            # its stream has a gap
    HINTED           # its stream is to follow its link
    WAIT             # control follows its link: the message waits
    GIVE             # look at it alone: its ids decide

cdef class Fanout:
    cdef:
        Roster _roster
        uint32_t* _slots       # owned; sessions drawn in this walk, a lot beside each
        uint8_t* _lots         # owned
        uint32_t _drawn
        uint32_t _room
        list _advanced         # spools whose members saw the item's id
        dict _met              # (mode, action, traits, ids) -> the refs to be asked about
        # number -> (message, [(mode, action, traits, ids, {ref: the id expected before it})]),
        # until the verdict, in the order of the messages.
        dict _asked
        uint32_t _number       # of the last that was asked
        Limiter _limiter       # None: the rate is not limited
        bint _release_due      # a timer runs for what waits
        object _release_call   # bound once: no allocation a batch

    cdef Outcome publish(self, Message m) except Outcome.FAIL
    # Whether something was asked that these verdicts answer.
    cdef bint has_asked(self, uint32_t number, list verdicts) except -1
    # What control has decided about the groups that it met.
    cdef Outcome judge(self, uint32_t number, list verdicts) except Outcome.FAIL
    # One session holds again: give it what has waited.
    cdef Outcome give(self, Session s, list waited) except Outcome.FAIL
    # One session has moved on: what it has not had, in order. Its ids are those before it.
    cdef list recall(self, Session s)
    # Nobody is there any more who could decide.
    cdef Outcome forget_asked(self) except Outcome.FAIL
    cdef Outcome _item_begins(self) except Outcome.FAIL
    cdef Outcome _item_ends(self, Message m) except Outcome.FAIL
    cdef Outcome _mark(self, Message m) except Outcome.FAIL
    cdef Outcome _walk(self, Message m) except Outcome.FAIL
    cdef Outcome _meet(self, Message m, Spool* spool, uint32_t number) except Outcome.FAIL
    cdef Outcome _meet_group(self, Message m, Spool* spool) except Outcome.FAIL
    cdef Outcome _join_group(
        self, Message m, int mode, bytes traits, Session s, bytes expected
    ) except Outcome.FAIL
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
    cdef Outcome _ask(self, Message m) except Outcome.FAIL
    cdef Outcome _fail(
        self, Session s, Message m, bytes expected, bytes why
    ) except Outcome.FAIL
    cdef Outcome _expect(self, Session s, bytes channel, bytes prev_id) except Outcome.FAIL
    cdef Outcome _unjudged(self, Message m, list groups) except Outcome.FAIL
    cdef Outcome _give(self, Session s, Message m) except Outcome.FAIL
    cdef Outcome _hand(self, Session s, Message m, int mode) except Outcome.FAIL
