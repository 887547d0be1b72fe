"""What was delivered, by route (floor 2): an item's reach, and what a worker sends on its own.

What is counted of an item counts from `begin_item` to `take_item`; outside of the two it is lost,
so that whoever offers a frame need not know whether it is an item's.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.string cimport memset

from fastpath.http_wire cimport AnswerSize, answer_size


@cython.final
cdef class RouteTally:
    """The counts of one worker."""

    def __init__(self):
        self._reached = []
        self._served = set()

    def __dealloc__(self):
        PyMem_RawFree(self._counts)

    # -- counting -----------------------------------------------------------------------------

    cdef Outcome begin_item(self) except Outcome.FAIL:
        if self._reached:
            self.take_item()
        return Outcome.DONE

    cdef Outcome reached(self, uint16_t route, bint is_ws) except Outcome.FAIL:
        cdef RouteCounts* counts = self._of_item(route)
        if is_ws:
            counts.websockets += 1
        else:
            counts.streams += 1
        return Outcome.DONE

    cdef Outcome answered(self, uint16_t route, bytes answer, bint by_item) except Outcome.FAIL:
        cdef AnswerSize size = answer_size(answer)
        cdef RouteCounts* counts
        if by_item:
            counts = self._of_item(route)
            counts.responses += 1
            counts.response_head_bytes += size.head
            counts.response_body_bytes += size.body
        else:
            counts = self._of(route)
            counts.head_bytes += size.head
            counts.content_bytes += size.body
            self._served.add(route)
        return Outcome.DONE

    cdef Outcome kept_alive(
        self, uint16_t route, Py_ssize_t content_bytes, bint is_ws
    ) except Outcome.FAIL:
        cdef RouteCounts* counts = self._of(route)
        if is_ws:
            counts.ws_keep_alives += 1
        else:
            counts.stream_keep_alives += 1
        counts.content_bytes += content_bytes
        self._served.add(route)
        return Outcome.DONE

    # -- taking -------------------------------------------------------------------------------

    cdef list take_item(self):
        cdef list rows = []
        cdef RouteCounts* counts
        cdef uint16_t route
        for route in self._reached:
            counts = &self._counts[route]
            rows.append((
                route, counts.responses, counts.streams, counts.websockets,
                counts.response_head_bytes, counts.response_body_bytes,
            ))
            counts.responses = counts.streams = counts.websockets = 0
            counts.response_head_bytes = counts.response_body_bytes = 0
        self._reached.clear()
        return rows

    cdef list take_served(self):
        cdef list rows = []
        cdef RouteCounts* counts
        cdef uint16_t route
        for route in sorted(self._served):
            counts = &self._counts[route]
            rows.append((
                route, counts.stream_keep_alives, counts.ws_keep_alives,
                counts.head_bytes, counts.content_bytes,
            ))
            counts.stream_keep_alives = counts.ws_keep_alives = 0
            counts.head_bytes = counts.content_bytes = 0
        self._served.clear()
        return rows

    # -- its own ------------------------------------------------------------------------------

    cdef RouteCounts* _of(self, uint16_t route) except NULL:
        cdef uint32_t room = self._room
        cdef void* counts
        if route >= room:
            room = max(room, 16)
            while room <= route:
                room *= 2
            counts = PyMem_RawRealloc(self._counts, room * sizeof(RouteCounts))
            if counts is NULL:
                raise MemoryError()
            self._counts = <RouteCounts*> counts
            memset(&self._counts[self._room], 0, (room - self._room) * sizeof(RouteCounts))
            self._room = room
        return &self._counts[route]

    cdef RouteCounts* _of_item(self, uint16_t route) except NULL:
        cdef RouteCounts* counts = self._of(route)
        if not (counts.responses or counts.streams or counts.websockets):
            self._reached.append(route)
        return counts
