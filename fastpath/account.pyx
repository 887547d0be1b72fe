"""What control is told beyond its needs, if WELCOME asks for it (floor 4).

Counts of subscribers and of deliveries, made of what the table and the tally know anyway. It
sends nothing, and decides nothing.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastpath.link_wire cimport write_counted, write_delivered
from fastpath.outcome cimport Outcome
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter, Tally
from fastpath.variants cimport Mode, Variant, mode_of


@cython.final
cdef class Account:
    """The counts of one worker."""

    def __init__(self, HoldTable table, Tally tally):
        self._table = table
        self._tally = tally
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
        self._responses = self._tally.counts[<int> Counter.DELIVERED_RESPONSE]
        self._streams = self._tally.counts[<int> Counter.DELIVERED_STREAM]
        self._websockets = self._tally.counts[<int> Counter.DELIVERED_WS]
        return Outcome.DONE

    cdef bytes end_item(self, bytes channel, bytes id):
        cdef uint64_t responses, streams, websockets
        responses = self._tally.counts[<int> Counter.DELIVERED_RESPONSE] - self._responses
        streams = self._tally.counts[<int> Counter.DELIVERED_STREAM] - self._streams
        websockets = self._tally.counts[<int> Counter.DELIVERED_WS] - self._websockets
        if not (responses or streams or websockets):
            return None
        return write_delivered(channel, id, responses, streams, websockets)
