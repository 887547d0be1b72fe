# What control has set for this worker, from WELCOME (floor 2). A value that never changes; another
# WELCOME brings another.

from libc.stdint cimport uint32_t, uint64_t

cdef class Limits:
    # control/config.py has bounds, units and reasons.
    cdef readonly:
        uint64_t head_bytes_max
        uint64_t head_timeout_ms
        uint64_t idle_timeout_ms
        uint64_t stall_timeout_ms
        uint64_t request_body_max_bytes    # 0: no limit
        uint32_t client_max
        uint64_t ws_message_max_bytes      # 0: no limit
        bint allow_compression
        dict reasons                       # reason -> (status, phrase, text, close code)
