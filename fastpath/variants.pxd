# What changes the bytes of a message for a session (floor 0). Sessions of a channel with equal
# variant get the same frame.

cdef enum Variant:
    RESPONSE = 0         # a whole response, merged with what the hold was given
    STREAM_CHUNKED = 1   # HTTP/1.1 chunks
    STREAM_PLAIN = 2     # HTTP/1.0: the bare content, ended by close
    VARIANTS = 3

# How the link names the kinds of a hold (LINK.md, `modes`).
cdef enum Mode:
    MODE_RESPONSE = 1
    MODE_STREAM = 2
    MODE_WS = 4

cdef inline int mode_of(Variant v) noexcept nogil:
    return MODE_RESPONSE if v == Variant.RESPONSE else MODE_STREAM
