# HTTP/1 bytes out (floor 1): status line, header block, chunk. Renders what it is told and
# decides nothing; it has no policy and keeps nothing.

# A response head, to the empty line; `framing` is the ready lines that frame the body, or empty.
# ValueError: CR, LF or NUL in the reason, a name or a value; a status that has not three digits.
cdef bytes head(int minor, int status, bytes reason, list headers, bytes framing)
# One chunk of a chunked body. Empty content gives empty bytes: an empty chunk would end the body.
cdef bytes chunk(bytes content)
cdef bytes LAST_CHUNK

cdef struct AnswerSize:
    Py_ssize_t head            # status and reason, names and values; not those that frame the body
    Py_ssize_t body

# How large the parts of a rendered answer are.
cdef AnswerSize answer_size(bytes answer) noexcept
