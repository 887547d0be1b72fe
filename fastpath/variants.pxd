# What changes the bytes of a message for a session (floor 0). Sessions of a channel with equal
# variant get the same frame.

cdef enum Variant:
    RESPONSE = 0         # a whole response, merged with what the hold was given
    STREAM_CHUNKED = 1   # HTTP/1.1 chunks
    STREAM_PLAIN = 2     # HTTP/1.0: the bare content, ended by close
    STREAM_WAITING = 3   # nothing for now: messages wait while control follows a link
    WS = 4               # a WebSocket frame
    WS_DEFLATED = 5      # the same, compressed if that makes it smaller

# How the link names the kinds of a hold (LINK.md, `modes`).
cdef enum Mode:
    MODE_RESPONSE = 1
    MODE_STREAM = 2
    MODE_WS = 4

cdef inline int mode_of(Variant v) noexcept nogil:
    if v == Variant.RESPONSE:
        return MODE_RESPONSE
    return MODE_STREAM if v <= Variant.STREAM_WAITING else MODE_WS
