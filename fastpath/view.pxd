# A borrowed run of bytes (floor 1): never owns, never frees, never outlives the call it was
# passed to. Readers take numbers in network order; the caller has checked has() before.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef struct View:
    const uint8_t* at      # borrowed
    Py_ssize_t left

cdef inline bint has(View* v, Py_ssize_t n) noexcept nogil:
    return n <= v.left

cdef inline uint8_t take_u8(View* v) noexcept nogil:
    cdef uint8_t x = v.at[0]
    v.at += 1
    v.left -= 1
    return x

cdef inline uint16_t take_u16(View* v) noexcept nogil:
    cdef uint16_t x = (<uint16_t> v.at[0] << 8) | v.at[1]
    v.at += 2
    v.left -= 2
    return x

cdef inline uint32_t take_u32(View* v) noexcept nogil:
    cdef uint32_t high = take_u16(v)
    return (high << 16) | take_u16(v)

cdef inline uint64_t take_u64(View* v) noexcept nogil:
    cdef uint64_t high = take_u32(v)
    return (high << 32) | take_u32(v)
