"""What a message asks to be done with a session (floor 3): a pure function of both.

Decides nothing else and does nothing; fan-out does it.
"""

from fastpath.frame cimport Action, Message
from fastpath.table cimport Spool
from fastpath.variants cimport Variant, mode_of

cdef enum:
    META_ASKS_ALWAYS = 1       # bit 0 of the first byte of a message's meta


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
