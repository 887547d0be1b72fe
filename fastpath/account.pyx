"""What control is told beyond its needs, if WELCOME asks for it (floor 4).

Counts of subscribers and of deliveries, made of what the table and the route tally know. It sends
nothing, and decides nothing.
"""

import json

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

from fastpath.frame cimport Action, Message
from fastpath.link_reports cimport write_counted, write_delivered, write_json
from fastpath.link_wire cimport Report
from fastpath.outcome cimport Outcome
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.variants cimport Mode, Variant, mode_of


@cython.final
cdef class Account:
    """The counts of one worker."""

    def __init__(self, HoldTable table):
        self._table = table
        self.routes = RouteTally()
        self.touched = set()

    cdef Outcome touch(self, list channels) except Outcome.FAIL:
        self.touched.update(channels)
        return Outcome.DONE

    cdef list counted(self):
        cdef list packets = [self._count(channel) for channel in self.touched]
        self.touched.clear()
        return packets

    cdef bytes _count(self, bytes channel):
        cdef uint32_t number = self._table.first_spool(channel)
        cdef uint32_t responses = 0, streams = 0, websockets = 0
        cdef Spool* spool
        cdef int mode
        while number != NOWHERE:
            spool = self._table.spool(number)
            mode = mode_of(<Variant> spool.variant)
            if mode == Mode.MODE_RESPONSE:
                responses += spool.count
            elif mode == Mode.MODE_STREAM:
                streams += spool.count
            else:
                websockets += spool.count
            number = spool.next
        return write_counted(channel, responses, streams, websockets)

    cdef Outcome begin_item(self) except Outcome.FAIL:
        return self.routes.begin_item()

    cdef bytes end_item(self, Message m):
        cdef list reached = self.routes.take_item()
        cdef Py_ssize_t response = 0
        if not reached:
            return None
        if not (m.response is not None and m.response.patch):  # a patch has no size of its own
            response = size_of(m, Mode.MODE_RESPONSE)
        return write_delivered(m.channel, m.id, (
            response, size_of(m, Mode.MODE_STREAM), size_of(m, Mode.MODE_WS)
        ), reached)

    cdef bytes served(self):
        cdef list rows = self.routes.take_served()
        return write_json(Report.SERVED, json.dumps(rows).encode()) if rows else None


cdef Py_ssize_t size_of(Message m, int mode) except -1:
    return PyBytes_GET_SIZE(m.content(mode)) if m.action(mode) == Action.SEND else 0
