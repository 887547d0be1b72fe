"""What control has set for this worker, from WELCOME (floor 2).

Ceilings that are the same in every installation are in limits.pxd.
"""

cimport cython


@cython.final
cdef class Limits:
    """The settings of the worker. Units are in the names."""

    def __init__(self, dict settings):
        self.head_bytes_max = settings["head_bytes_max"]
        self.head_timeout_ms = settings["head_timeout_ms"]
        self.idle_timeout_ms = settings["idle_timeout_ms"]
        self.stall_timeout_ms = settings["stall_timeout_ms"]
        self.request_body_max_bytes = settings["request_body_max_bytes"]
        self.client_max = settings["client_max"]
        self.ws_message_max_bytes = settings["ws_message_max_bytes"]
        self.allow_compression = settings["allow_compression"]
        self.reasons = {
            int(code): (int(row[0]), row[1].encode(), row[2].encode(), int(row[3]))
            for code, row in settings["reasons"].items()
        }
