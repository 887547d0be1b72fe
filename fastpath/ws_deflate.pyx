"""permessage-deflate (RFC 7692, floor 1): agreement, compression, decompression within bounds.

Neither side keeps a context: a published message is compressed once and the same bytes suit every
client, and a client that is silent costs no window. An offer is taken only if every word of it is
understood (RFC 7692, 5.1), which is checked here; the terms are negotiated by wsproto's code.
"""

import zlib

cimport cython
from wsproto.extensions import PerMessageDeflate

from fastpath.outcome cimport Outcome

cdef enum:
    WINDOW_BITS_MIN = 9        # zlib has no raw window of 8
    DEFLATE_MIN_BYTES = 128    # JSON of this size shrinks to 75: a packet is a packet
    # What is passed on is a piece at a time, whatever a message inflates to; who receives it may
    # join the pieces, though. JSON compresses 20:1, rarely 50:1; a bomb 1000:1. What is no larger
    # than messages get is nobody's bomb.
    INFLATED_FREE_BYTES = 16 * 1024 * 1024
    INFLATE_RATIO_MAX = 100

LEVEL = 6                      # zlib's own middle; of one compression for all clients
MEMORY_LEVEL = 8
TAIL = b"\x00\x00\xff\xff"     # of a sync flush: every message ends with it, it never travels
NAME = "permessage-deflate"


cdef tuple negotiated(list offers):
    # The first offer that can be taken (RFC 7692, 5 and 7.1); wsproto says on which terms.
    cdef bytes value
    for value in offers:
        for offer in value.decode("latin-1").split(","):
            words = [word.strip() for word in offer.split(";")]
            if words[0].lower() == NAME and understood(words[1:]):
                terms = PerMessageDeflate(
                    client_no_context_takeover=True, server_no_context_takeover=True
                )
                answer = terms.accept(offer.replace('"', ""))
                return f"{NAME}; {answer}".encode(), terms.server_max_window_bits
    return None, 0


cdef bint understood(list parameters) except -1:
    # Every word is one of the four, once, with a value it may have.
    names = set()
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        bits = WINDOWS.get(value, 0)
        if name in names:
            return False
        names.add(name)
        if name == "server_max_window_bits":
            if bits < WINDOW_BITS_MIN:
                return False
        elif name == "client_max_window_bits":
            if equals and not bits:
                return False
        elif equals or name not in ("server_no_context_takeover", "client_no_context_takeover"):
            return False
    return True


# As a parameter may say it (RFC 7692, 7.1.2; RFC 6455, 9.1 permits the quotes).
WINDOWS = {form % bits: bits for bits in range(8, 16) for form in ("%d", '"%d"')}


cdef bytes deflated(bytes content, int window_bits):
    if len(content) < DEFLATE_MIN_BYTES:
        return None
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -window_bits, MEMORY_LEVEL)
    cdef bytes small = deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH)
    cdef Py_ssize_t size = len(small) - len(TAIL)
    return small[:size] if size < len(content) else None


@cython.final
cdef class Inflater:
    """One compressed message on its way in."""

    def __cinit__(self):
        self._inflate = zlib.decompressobj(-WINDOW_BITS_MAX)
        self._input = b""

    cdef Outcome feed(self, bytes piece, bint last) except Outcome.FAIL:
        self.in_bytes += <uint64_t> len(piece)
        self._input += piece + TAIL if last else piece
        return Outcome.DONE

    cdef bint pending(self) noexcept:
        return self._full or len(self._input) > 0

    cdef bytes take(self, Py_ssize_t size_max):
        cdef bytes out
        try:
            out = self._inflate.decompress(self._input, size_max)
        except zlib.error:
            return None
        self._full = len(out) == size_max
        self._input = self._inflate.unconsumed_tail
        if self._inflate.eof:                  # a final block; another may follow (7.2.3.5)
            self._input = self._inflate.unused_data
            self._inflate = zlib.decompressobj(-WINDOW_BITS_MAX)
            self._full = False
        self.out_bytes += <uint64_t> len(out)
        return out

    cdef bint too_big(self, uint64_t message_max) noexcept:
        if message_max and self.out_bytes > message_max:
            return True
        return (
            self.out_bytes > INFLATED_FREE_BYTES
            and self.out_bytes > INFLATE_RATIO_MAX * self.in_bytes
        )
