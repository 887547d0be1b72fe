"""What the worker counts (floor 2): one C array, one table of names."""

cimport cython

# In the order of the enum Counter.
NAMES = (
    "sessions", "holds_response", "holds_stream", "holds_ws",
    "accepted", "requests", "messages", "delivered_response", "delivered_stream", "delivered_ws",
    "keep_alives", "dropped_queue", "dropped_midway", "dropped_hwm", "dropped_unjudged",
    "dropped_ghost", "asked_again", "ended_slow", "ended_faulty", "refused_requests",
    "bytes_in", "bytes_out",
)


@cython.final
cdef class Tally:
    """Counters of one worker, from its start on; gauges among them."""

    cpdef dict snapshot(self):
        """Name to number, as TALLY carries it."""
        cdef int i
        return {NAMES[i]: self.counts[i] for i in range(<int> Counter.COUNTERS)}
