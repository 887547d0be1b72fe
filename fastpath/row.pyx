"""What leaves one client (floor 3): the frames that wait, and one system call that sends them.

Frames are shared by all rows they wait in; a row without any has no memory but itself. It knows no
session and no transport.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF
from libc.string cimport memmove, memset

from fastpath.limits cimport FLUSH_IOV_MAX
from fastpath.outcome cimport Outcome

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int fd, const void* at, size_t size, int flags)
    int MSG_NOSIGNAL
    int MSG_DONTWAIT
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr* message, int flags)


cdef Py_ssize_t send_frames(Row* row, Py_ssize_t* size) noexcept:
    if row.count > 1:
        return send_many(row, size)
    size[0] = PyBytes_GET_SIZE(<object> row.first)
    return send(
        row.fd, PyBytes_AS_STRING(<object> row.first), size[0], MSG_NOSIGNAL | MSG_DONTWAIT
    )


cdef Py_ssize_t send_many(Row* row, Py_ssize_t* size) noexcept:
    cdef iovec parts[FLUSH_IOV_MAX]
    cdef msghdr message
    cdef uint32_t i
    cdef PyObject* frame
    memset(&message, 0, sizeof(msghdr))
    message.msg_iov = parts
    message.msg_iovlen = row.count if row.count < FLUSH_IOV_MAX else FLUSH_IOV_MAX
    size[0] = 0
    for i in range(<uint32_t> message.msg_iovlen):
        frame = row.rest[i - 1] if i else row.first
        parts[i].iov_base = PyBytes_AS_STRING(<object> frame)
        parts[i].iov_len = PyBytes_GET_SIZE(<object> frame)
        size[0] += parts[i].iov_len
    return sendmsg(row.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)


cdef Py_ssize_t pop_frames(Row* row, Py_ssize_t taken) noexcept:
    cdef uint32_t done = 0
    cdef PyObject* frame
    while done < row.count:
        frame = row.rest[done - 1] if done else row.first
        if taken < PyBytes_GET_SIZE(<object> frame):
            break
        taken -= PyBytes_GET_SIZE(<object> frame)
        Py_DECREF(<object> frame)
        done += 1
    if done == 0:
        return taken
    row.count -= done
    if row.count == 0:
        row.first = NULL
        if row.rest is not NULL:               # an idle session keeps no empty queue
            PyMem_RawFree(row.rest)
            row.rest = NULL
            row.room = 0
        return taken
    row.first = row.rest[done - 1]
    memmove(row.rest, row.rest + done, (row.count - 1) * sizeof(PyObject*))
    return taken


cdef Outcome forget_frames(Row* row) noexcept:
    cdef uint32_t i
    if row.count:
        Py_XDECREF(row.first)
        for i in range(row.count - 1):
            Py_XDECREF(row.rest[i])
    PyMem_RawFree(row.rest)
    row.first = NULL
    row.rest = NULL
    row.count = 0
    row.room = 0
    return Outcome.DONE
