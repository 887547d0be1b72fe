"""HTTP/1 bytes out: status line, header block, chunk (RFC 9112).

Each function measures, allocates once and fills. What could split a response, a CR, LF or NUL in
a reason, a name or a value, is refused here and nowhere else, so that no caller can forget it.
This module never chooses a header, a phrase or a framing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy, strlen, strncmp

LAST_CHUNK = b"0\r\n\r\n"

cdef enum:
    STATUS_LINE_SIZE = 15      # "HTTP/1.1 200 " and its line end, without the reason
    HEADER_LINE_SIZE = 4       # ": " and the line end, without name and value


cdef bytes head(int minor, int status, bytes reason, list headers, bytes framing):
    cdef bytes name, value
    cdef Py_ssize_t size = STATUS_LINE_SIZE + len(reason) + len(framing) + 2
    if not 100 <= status <= 999:
        raise ValueError(f"status {status} is not a number of three digits")
    if splits(reason):
        raise ValueError("the reason phrase has a CR, LF or NUL")
    for name, value in headers:
        size += HEADER_LINE_SIZE + len(name) + len(value)
        if splits(name) or splits(value):
            raise ValueError(f"header {name!r} has a CR, LF or NUL")

    cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
    cdef char* at = PyBytes_AS_STRING(out)
    # A client of HTTP/1.0 is answered in its own version, as Pushpin does: some of them take a
    # status line of 1.1 as leave to expect chunks (RFC 9110, 2.5, permits either).
    at = put(at, b"HTTP/1.0 " if minor == 0 else b"HTTP/1.1 ")
    at[0] = 48 + status // 100
    at[1] = 48 + status // 10 % 10
    at[2] = 48 + status % 10
    at[3] = b" "
    at = put(put(at + 4, reason), b"\r\n")
    for name, value in headers:
        at = put(put(put(put(at, name), b": "), value), b"\r\n")
    put(put(at, framing), b"\r\n")
    return out


cdef bytes chunk(bytes content):
    cdef Py_ssize_t size = len(content)
    cdef Py_ssize_t left = size
    cdef int digits = 0
    if size == 0:
        return b""
    while left:
        digits += 1
        left >>= 4

    cdef bytes out = PyBytes_FromStringAndSize(NULL, digits + 2 + size + 2)
    cdef char* at = PyBytes_AS_STRING(out)
    cdef int place
    for place in range(digits):
        at[place] = b"0123456789abcdef"[(size >> 4 * (digits - 1 - place)) & 15]
    put(put(put(at + digits, b"\r\n"), content), b"\r\n")
    return out


cdef AnswerSize answer_size(bytes answer) noexcept:
    cdef AnswerSize size
    cdef const char* at = PyBytes_AS_STRING(answer)
    cdef const char* end = at + PyBytes_GET_SIZE(answer)
    cdef const char* stop
    cdef Py_ssize_t length
    size.head = 3 + HEADER_LINE_SIZE - STATUS_LINE_SIZE    # of the first line; see the loop
    while True:
        stop = <const char*> memchr(at, b"\n", end - at)
        if stop is NULL:
            break
        length = stop + 1 - at
        if length == 2:                        # the empty line
            at = stop + 1
            break
        if not (begins(at, b"Content-Length: ", length) or begins(at, b"Connection: ", length)):
            size.head += length - HEADER_LINE_SIZE
        at = stop + 1
    size.body = end - at
    return size


cdef inline bint begins(const char* at, const char* name, Py_ssize_t length) noexcept:
    return length > <Py_ssize_t> strlen(name) and strncmp(at, name, strlen(name)) == 0


cdef inline char* put(char* at, bytes run) except NULL:
    # Where the next byte goes. The caller has measured `run`, which is therefore not None.
    cdef Py_ssize_t size = PyBytes_GET_SIZE(run)
    memcpy(at, PyBytes_AS_STRING(run), size)
    return at + size


cdef inline bint splits(bytes run) except -1:
    cdef const unsigned char* at = <const unsigned char*> PyBytes_AS_STRING(run)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(run)):
        if at[i] == 13 or at[i] == 10 or at[i] == 0:
            return True
    return False
