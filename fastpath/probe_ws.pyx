"""Test-only doors into the WebSocket rooms of floor 1. Production never imports it."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath cimport ws_deflate, ws_handshake, ws_wire
from fastpath.view cimport View
from fastpath.ws_deflate cimport Inflater
from fastpath.ws_wire cimport UTF8_OK, WsPiece, WsReader, WsStep

READER_BYTES = sizeof(WsReader)


cdef class Reader:
    """A reader with a buffer of its own, as a session's scratch buffer is."""

    cdef WsReader _reader
    cdef readonly list pieces          # (opcode, content, last, compressed)
    cdef uint64_t _message_max
    cdef Py_ssize_t _piece_max

    def __init__(self, *, masked=True, rsv1_allowed=False, piece_max=1 << 30, message_max=0):
        ws_wire.ws_begin(&self._reader, masked, rsv1_allowed)
        self.pieces = []
        self._piece_max = piece_max
        self._message_max = message_max

    def read(self, bytes run):
        """Feed bytes; how many of them were not taken."""
        cdef bytearray buffer = bytearray(run)
        cdef View v
        cdef WsPiece p
        cdef WsStep step
        v.at = <const uint8_t*> buffer
        v.left = len(buffer)
        while True:
            step = ws_wire.ws_read(&self._reader, &v, &p, self._piece_max, self._message_max)
            if step != WsStep.WS_PIECE:
                return v.left
            self.pieces.append(
                (p.opcode, bytes(p.at[:p.size]), bool(p.last), bool(p.compressed))
            )

    @property
    def fault(self):
        return self._reader.fault


def mask(bytes run, bytes key):
    """The run masked, and the mask that goes on behind it."""
    cdef bytearray buffer = bytearray(run)
    cdef uint32_t word
    memcpy(&word, PyBytes_AS_STRING(key), 4)
    word = ws_wire.ws_mask(<uint8_t*> buffer, len(buffer), word)
    return bytes(buffer), bytes((<uint8_t*> &word)[:4])


def mask_in_place(bytearray buffer, uint32_t key, int times):
    """For measuring."""
    for _ in range(times):
        key = ws_wire.ws_mask(<uint8_t*> buffer, len(buffer), key)


def utf8(pieces):
    """The state after these pieces: 0 is between characters, 1 is a fault."""
    cdef uint32_t state = UTF8_OK
    cdef bytes piece
    for piece in pieces:
        state = ws_wire.utf8_check(state, <const uint8_t*> PyBytes_AS_STRING(piece), len(piece))
    return state


def close_code_ok(uint32_t code):
    return ws_wire.close_code_ok(code)


def close_fault(bytes payload):
    return <int> ws_wire.close_fault(<const uint8_t*> PyBytes_AS_STRING(payload), len(payload))


def frame(int opcode, bytes payload, fin=True, rsv1=False):
    return ws_wire.ws_frame(opcode, payload, fin, rsv1)


def close_frame(uint32_t code, bytes text=b""):
    return ws_wire.close_frame(code, text)


# -- permessage-deflate

def negotiated(*offers):
    return ws_deflate.negotiated(list(offers))


def deflated(bytes content, int window_bits=15):
    return ws_deflate.deflated(content, window_bits)


def inflated(pieces, Py_ssize_t size_max=65536, uint64_t message_max=0):
    """What a compressed message gives, piece by piece; ends with None or "too big" at a fault."""
    cdef Inflater inflater = Inflater()
    pieces = list(pieces)
    out = []
    for number, piece in enumerate(pieces):
        inflater.feed(piece, number == len(pieces) - 1)
        while inflater.pending():
            piece = inflater.take(size_max)
            out.append(piece)
            if piece is None:
                return out
            if inflater.too_big(message_max):
                return [*out, "too big"]
    return out


# -- the handshake

def asks_for_websocket(headers):
    return bool(ws_handshake.asks_for_websocket(headers))


def handshake_key(headers, method=b"GET", minor=1, has_body=False):
    return ws_handshake.handshake_key(method, minor, has_body, headers)


def switching_lines(bytes key, *extensions):
    return ws_handshake.switching_lines(key, list(extensions))
