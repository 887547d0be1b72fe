"""A message, and the bytes each variant of it becomes (floor 2). Rendered once, shared by all."""

cimport cython

from fastpath.http_wire cimport chunk, head
from fastpath.patch import patched
from fastpath.variants cimport Variant

cdef frozenset FRAMING = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"content-length")
)


@cython.final
cdef class HeldResponse:
    """What a response hold was given; compared and hashed by identity."""

    def __init__(self, uint16_t status, bytes reason, list headers, bytes body):
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


@cython.final
cdef class ResponseFormat:
    """The http-response rendition of an item (GRIP.md 2.5)."""

    def __init__(self, uint8_t action, uint16_t status=200, bytes reason=b"", list headers=None,
                 bint patch=False, bytes body=b""):
        self.action = action
        self.status = status
        self.reason = reason
        self.headers = headers if headers is not None else []
        self.patch = patch
        self.body = body


@cython.final
cdef class StreamFormat:
    """The http-stream rendition of an item (GRIP.md 2.5)."""

    def __init__(self, uint8_t action, bytes content=b""):
        self.action = action
        self.content = content


@cython.final
cdef class Message:
    """One item on its way to the sessions of a channel."""

    def __init__(self, bytes channel, bytes id=None, bytes prev_id=None):
        self.channel = channel
        self.id = id
        self.prev_id = prev_id

    cdef bytes stream_frame(self, Variant v):
        if v == Variant.STREAM_PLAIN:
            return self.stream.content
        if self._chunk is None:
            self._chunk = chunk(self.stream.content)
        return self._chunk

    cdef bytes _body(self, HeldResponse held):
        if self.response.patch:
            return patched(held.body, self.response.body)
        return self.response.body

    cdef bytes response_frame(self, HeldResponse held, int minor, bint keep_alive, bint head_only):
        cdef tuple key = (held, minor, keep_alive, head_only)
        cdef bytes frame
        if self._responses is None:
            self._responses = {}
        frame = self._responses.get(key)
        if frame is None:
            frame = render(
                self.response.status, self.response.reason,
                merged(held.headers, self.response.headers), self._body(held),
                minor, keep_alive, head_only,
            )
            self._responses[key] = frame
        return frame


cdef bytes held_frame(HeldResponse held, int minor, bint keep_alive, bint head_only):
    return render(held.status, held.reason, held.headers, held.body, minor, keep_alive, head_only)


cdef list merged(list held, list published):
    # GRIP.md 2.6.1: the publish's headers replace those of the same name.
    cdef list new = [
        (name, value) for name, value in published
        if not name.lower().startswith(b"grip-") and name.lower() not in FRAMING
    ]
    cdef set names = {name.lower() for name, value in new}
    return [(name, value) for name, value in held if name.lower() not in names] + new


cdef bytes render(int status, bytes reason, list headers, bytes body, int minor, bint keep_alive,
                  bint head_only):
    cdef bint bodiless = status == 204 or status == 304 or status < 200
    cdef bytes framing = b"" if bodiless else b"Content-Length: %d\r\n" % len(body)
    if not keep_alive:
        framing += b"Connection: close\r\n"
    elif minor == 0:
        framing += b"Connection: keep-alive\r\n"
    return head(minor, status, reason, headers, framing) + (
        b"" if bodiless or head_only else body
    )
