# What leaves one client (floor 3): the frames that wait, and one system call that sends them. It
# knows no session and no transport, and bounds nothing: who pushes decides how much may wait.

from cpython.mem cimport PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.outcome cimport Outcome

cdef enum RowFlag:
    DIRTY = 1                  # on the flush list
    BLOCKED = 2                # the kernel refused bytes; the transport keeps them until it resumes
    TELL = 4                   # the session wants drained() once nothing is left
    MIDWAY = 8                 # a message of its origin is only partly relayed
    COUNTED = 16               # what it is offered is counted by route
    IS_WS = 32                 # as what: a WebSocket, not a stream

cdef struct Row:               # what leaves, one a slot; all that fan-out touches of a session
    PyObject* first            # owned; the frame that leaves next, or NULL
    PyObject** rest            # owned; the frames behind it
    uint64_t sent_ms           # when something was last queued, for idle keep-alives
    uint32_t count
    uint32_t room
    int fd                     # borrowed from the transport; -1: nothing may be sent any more
    uint8_t flags
    uint32_t hold              # which of its session's holds it is; the first is 0
    uint16_t route             # whose line its deliveries wait in, and whose sums they count in

cdef inline Outcome push_frame(Row* row, PyObject* frame) except Outcome.FAIL:
    cdef uint32_t room
    cdef void* rest            # owned by the row from here on
    if row.count == 0:
        row.first = frame
    else:
        if row.count > row.room:
            room = row.room * 2 if row.room else 4
            rest = PyMem_RawRealloc(row.rest, room * sizeof(PyObject*))
            if rest is NULL:
                raise MemoryError()
            row.rest = <PyObject**> rest
            row.room = room
        row.rest[row.count - 1] = frame
    Py_INCREF(<object> frame)
    row.count += 1
    return Outcome.DONE

# As send(2), with up to FLUSH_IOV_MAX frames in one call; *size is what was offered.
cdef Py_ssize_t send_frames(Row* row, Py_ssize_t* size) noexcept
# Forget the frames that are covered by `taken` bytes; the rest of them, the offset into the frame
# that is now first.
cdef Py_ssize_t pop_frames(Row* row, Py_ssize_t taken) noexcept
cdef Outcome forget_frames(Row* row) noexcept
