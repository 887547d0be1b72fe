"""The opening handshake of RFC 6455 (section 4, floor 1).

Whether a request is one, whether it is a good one, and what answers it. Fields in, bytes out; it
decides nothing and keeps nothing.
"""

import base64
import hashlib
import re

cdef bytes GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
cdef object KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")   # 16 bytes in base64


cdef list values_of(bytes name, list headers):
    return [value for field, value in headers if field.lower() == name]


cdef bint names_token(bytes name, bytes token, list headers) except -1:
    # Lists in several fields are one list (RFC 9110, 5.3); tokens have no case here.
    cdef bytes value
    for value in values_of(name, headers):
        if token in [part.strip(b" \t") for part in value.lower().split(b",")]:
            return True
    return False


cdef bint asks_for_websocket(list headers) except -1:
    return names_token(b"upgrade", b"websocket", headers)


cdef bytes handshake_key(bytes method, int minor, bint has_body, list headers):
    cdef list keys = values_of(b"sec-websocket-key", headers)
    if method != b"GET" or minor == 0 or has_body or not names_token(
        b"connection", b"upgrade", headers
    ):
        return None
    if values_of(b"sec-websocket-version", headers) != [b"13"]:
        return None
    if len(keys) != 1 or KEY.fullmatch(keys[0]) is None:
        return None
    return keys[0]


cdef bytes switching_lines(bytes key, list extensions):
    cdef bytes lines = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()) + b"\r\n"
    )
    if extensions:                             # in one field: an answer has no two (11.3.2)
        lines += b"Sec-WebSocket-Extensions: " + b", ".join(extensions) + b"\r\n"
    return lines
