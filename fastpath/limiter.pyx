"""Deliveries that wait for their turn, where their rate is limited (floor 2; GRIP.md 2.6.4).

One line for each route that has an id of its own, one for all others; they take turns, a delivery
at a time. Credit grows with time, up to what a short rest earns. Without a limit there is no
Limiter, and nothing here runs; with one, deliveries are few enough to be Python objects.
"""

cimport cython
from collections import deque

cdef enum:
    PACE_MS = 25               # at most so often there is a batch
    BURST_MS = 2 * PACE_MS     # what a rest earns at most: a batch may come late
    COST_UNIT = 1000           # of credit, a delivery and worker: `_rate` is a second's


@cython.final
cdef class Limiter:
    """What waits in a worker."""

    def __init__(self):
        self._workers = 1
        self._lines = {}
        self._turns = deque()

    def set(self, uint64_t rate, uint32_t workers, uint64_t waiting_max, uint64_t block_bytes):
        """Limit to the share of `rate` deliveries a second that one of `workers` has; 0: no limit.

        `waiting_max` deliveries of all workers wait in a line; a delivery counts as one for each
        `block_bytes` of its content, if that is not 0.
        """
        self._rate = rate
        self._workers = workers
        self._waiting_max = (waiting_max + workers - 1) // workers
        self._block_bytes = block_bytes

    cdef bint admit(self, uint16_t route, tuple delivery, uint64_t size_bytes) except -1:
        cdef object line = self._lines.get(route)
        if line is None:
            line = self._lines[route] = deque()
            self._turns.append(route)
        elif len(line) >= self._waiting_max:
            return False
        line.append((delivery, self._cost(size_bytes)))
        return True

    cdef tuple take(self, uint64_t now_ms):
        cdef tuple delivery
        cdef object line
        cdef uint32_t cost
        if not self._turns:
            return None
        self._earn(now_ms)
        if self._rate and self._credit < self._price():
            return None
        route = self._turns.popleft()
        line = self._lines[route]
        delivery, cost = line.popleft()
        self._credit -= <int64_t> cost * COST_UNIT * self._workers
        if line:
            self._turns.append(route)
        else:
            del self._lines[route]
        return delivery

    cdef uint64_t pause_ms(self) except? 0:
        cdef int64_t missing
        if not self._turns:
            return 0
        missing = self._price() - self._credit
        if missing <= 0 or self._rate == 0:
            return 1
        return max(<uint64_t> PACE_MS, (<uint64_t> missing + self._rate - 1) // self._rate)

    cdef Outcome _earn(self, uint64_t now_ms) except Outcome.FAIL:
        cdef int64_t earned = <int64_t> (self._rate * min(now_ms - self._credited_ms, 60_000))
        self._credited_ms = now_ms
        self._credit = min(self._credit + earned, self._burst())
        return Outcome.DONE

    cdef int64_t _burst(self) noexcept:
        return max(<int64_t> self._rate * BURST_MS, <int64_t> COST_UNIT * self._workers)

    cdef int64_t _price(self) except -1:
        # What the first must have: its cost, or all that can be saved; the rest is owed then.
        cdef int64_t cost = self._lines[self._turns[0]][0][1]
        return min(cost * COST_UNIT * self._workers, self._burst())

    cdef uint32_t _cost(self, uint64_t size_bytes) noexcept:
        if self._block_bytes == 0 or size_bytes == 0:
            return 1
        return <uint32_t> ((size_bytes + self._block_bytes - 1) // self._block_bytes)
