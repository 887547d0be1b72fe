# What control is told beyond its needs, if WELCOME asks for it (floor 4): how many sessions hold a
# channel, and how many an item has reached. Knows the table and the tally, and no session.

from libc.stdint cimport uint32_t, uint64_t
from fastpath.outcome cimport Outcome
from fastpath.table cimport HoldTable
from fastpath.tally cimport Tally

cdef class Account:
    cdef:
        HoldTable _table
        Tally _tally
        readonly set touched               # channels whose counts may have changed
        uint64_t _responses                # delivered before the item at hand
        uint64_t _streams
        uint64_t _websockets

    cdef Outcome touch(self, list channels) except Outcome.FAIL
    cdef list counted(self)                # COUNTED of each touched channel; none is touched then
    # -- around whatever delivers an item
    cdef Outcome begin_item(self) except Outcome.FAIL
    cdef bytes end_item(self, bytes channel, bytes id)    # DELIVERED; None: it reached nobody
    # -- its own
    cdef bytes _count(self, bytes channel)
