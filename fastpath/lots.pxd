# What a message asks to be done with a session (floor 3). Knows what the spools are made of, walks
# none, and touches no session.

from fastpath.frame cimport Message
from fastpath.table cimport Spool
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

# Whether the members of a spool, whose ids matter, have not seen what the message follows.
cdef bint is_gap(Message m, Spool* spool) except -1
# Whether control is to say what the message becomes for them.
cdef bint asks(Message m, Spool* spool) except -1
cdef Lot lot_of(Message m, Variant v) noexcept
cdef Lot lot_of_gap(Message m, Variant v) noexcept
