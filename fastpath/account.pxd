# What control is told beyond its needs, if WELCOME asks for it (floor 4): how many sessions hold a
# channel, and whom an item has reached. Knows the table and the route tally, and no session.

from fastpath.frame cimport Message
from fastpath.outcome cimport Outcome
from fastpath.route_tally cimport RouteTally
from fastpath.table cimport HoldTable

cdef class Account:
    cdef:
        HoldTable _table
        RouteTally routes
        readonly set touched               # channels whose counts may have changed

    cdef Outcome touch(self, list channels) except Outcome.FAIL
    cdef list counted(self)                # COUNTED of each touched channel; none is touched then
    # -- around whatever delivers an item
    cdef Outcome begin_item(self) except Outcome.FAIL
    cdef bytes end_item(self, Message m)   # DELIVERED; None: it reached nobody
    cdef bytes served(self)                # SERVED; None: there is nothing to say
    # -- its own
    cdef bytes _count(self, bytes channel)
