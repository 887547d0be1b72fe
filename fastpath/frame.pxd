# A message is what the link delivered; a frame is the bytes one variant of it becomes, rendered
# at most once and shared by all sessions (floor 2). Frames are exact, immutable bytes.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from fastpath.variants cimport Variant

cdef enum Action:
    SEND = 0
    HINT = 1
    CLOSE = 2
    REFRESH = 3

cdef class HeldResponse:
    # What a response hold was given: merged with a published response, and sent as it is when the
    # hold's time is over. Equal ones are interned by the link and shared.
    cdef:
        readonly uint16_t status
        readonly bytes reason
        readonly list headers          # [(name, value)], no framing headers
        readonly bytes body

cdef class KeepAlive:
    # What an idle stream or WebSocket is sent, and when. Equal ones are interned by the link.
    cdef:
        readonly bytes content         # of a stream; the frame, of a WebSocket
        readonly uint32_t interval_ms
        readonly bint idle             # a message puts it off
        bytes _chunk

    cdef bytes chunked(self)           # the content as a chunk, rendered once

cdef class ResponseFormat:
    cdef:
        readonly uint8_t action
        readonly uint16_t status
        readonly bytes reason
        readonly list headers
        readonly bint patch            # body is a JSON patch of the hold's body
        readonly bytes body

cdef class StreamFormat:
    cdef:
        readonly uint8_t action
        readonly bytes content

cdef class WsFormat:
    cdef:
        readonly uint8_t action
        readonly uint8_t kind          # of SEND: text, binary, ping, pong
        readonly bytes content         # of SEND
        readonly uint16_t code         # of CLOSE; 0: none
        readonly bytes text            # of CLOSE

cdef class Message:
    cdef:
        readonly bytes channel
        readonly bytes id              # or None
        readonly bytes prev_id         # or None
        bytes meta                     # opaque; empty: nothing to be asked about
        ResponseFormat response        # or None: the item has no such format
        StreamFormat stream            # or None
        WsFormat ws                    # or None
        bytes _chunk                   # rendered, or None until asked
        dict _responses                # (HeldResponse, minor, keep_alive, head_only) -> bytes
        bytes _ws                      # rendered, or None until asked
        bytes _ws_deflated             # the same

    # The frame of a stream or WebSocket variant with action SEND. Never None; empty content of a
    # stream gives empty bytes, and so does a message that cannot be sent.
    cdef bytes frame(self, Variant v)
    cdef bytes stream_frame(self, Variant v)
    cdef bytes ws_frame(self, Variant v)
    # The whole response for a session whose hold was given `held` (GRIP.md 2.6.1).
    cdef bytes response_frame(self, HeldResponse held, int minor, bint keep_alive, bint head_only)
    # The action of the format for a mode, or -1: the item has none.
    cdef int action(self, int mode) noexcept
    # The same message with other content in the format for one mode.
    cdef Message with_content(self, int mode, bytes content)
    cdef bytes content(self, int mode)
    cdef bytes _body(self, HeldResponse held)

# One WebSocket message as one frame; `window_bits` 0: not compressed. Empty: a ping or pong that is
# too long to be sent.
cdef bytes whole_frame(int kind, bytes content, int window_bits)
# What a response hold is given when its time is over.
cdef bytes held_frame(HeldResponse held, int minor, bint keep_alive, bint head_only)
