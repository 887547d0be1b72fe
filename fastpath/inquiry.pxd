# What control is asked about messages (floor 4; LINK.md, Filters): the groups of sessions, the
# questions without an answer, and the ids that sessions go back to if they are not given it.

from libc.stdint cimport uint32_t
from fastpath.frame cimport Message
from fastpath.outcome cimport Outcome
from fastpath.session cimport Roster, Session

cdef class Inquiry:
    cdef:
        Roster _roster
        dict _met              # (mode, action, traits, ids) -> {ref: the id expected before it}
        # number -> (message, [(mode, action, traits, ids, {ref: the id expected before it})]),
        # until the verdict, in the order of the messages.
        dict _asked
        uint32_t _number       # of the last that was asked

    # -- asking: begin, join for each session, ask
    cdef Outcome begin(self) except Outcome.FAIL
    cdef Outcome join(
        self, Message m, int mode, bytes traits, Session s, bytes expected
    ) except Outcome.FAIL
    cdef Outcome ask(self, Message m) except Outcome.FAIL
    # -- the verdict
    # Whether something was asked that these verdicts answer.
    cdef bint has_asked(self, uint32_t number, list verdicts) except -1
    cdef tuple take(self, uint32_t number)     # (message, groups), which wait no longer
    # The verdict is that there is none; `why` is to be said to the client, if it is not empty.
    cdef Outcome fail(
        self, Session s, Message m, bytes expected, bytes why
    ) except Outcome.FAIL
    # -- without one
    # One session has moved on: what it has not had, in order. Its ids are those before it.
    cdef list recall(self, Session s)
    # Nobody is there any more who could decide.
    cdef Outcome forget(self) except Outcome.FAIL
    # What follows for a session on a channel, if it holds it still.
    cdef Outcome expect(self, Session s, bytes channel, bytes prev_id) except Outcome.FAIL
    cdef Outcome _unjudged(self, Message m, list groups) except Outcome.FAIL
