"""Test-only doors into floor 2: table, wheel, frames, tally. Production never imports it."""

import gc

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastpath.frame cimport (
    HeldResponse, Message, ResponseFormat, StreamFormat, WsFormat, held_frame as timeout_bytes,
)
from fastpath.outcome cimport Outcome
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter, Tally
from fastpath.variants cimport Mode, Variant, mode_of
from fastpath.wheel cimport TICK_MS as TICK, Wheel

RESPONSE = Variant.RESPONSE
STREAM_CHUNKED = Variant.STREAM_CHUNKED
STREAM_PLAIN = Variant.STREAM_PLAIN
WS = Variant.WS
WS_DEFLATED = Variant.WS_DEFLATED
MODE_RESPONSE = Mode.MODE_RESPONSE
MODE_STREAM = Mode.MODE_STREAM
MODES = {v: mode_of(<Variant> v) for v in range(RESPONSE, Variant.WS_DEFLATED + 1)}
TICK_MS = TICK


# -- the hold table

def hold(HoldTable table, bytes channel, int variant, uint32_t slot, bytes prev_id=None):
    table.hold(channel, <Variant> variant, slot, prev_id)


def release(HoldTable table, uint32_t slot):
    """What was freed: [(channel, mode)]."""
    freed = []
    table.release(slot, freed)
    return freed


def release_channel(HoldTable table, uint32_t slot, bytes channel):
    freed = []
    table.release_channel(slot, channel, freed)
    return freed


def advance(HoldTable table, uint32_t spool, bytes prev_id):
    table.advance(spool, prev_id)


def walk(HoldTable table, bytes channel):
    """The spools of a channel: [(number, variant, prev_id, slots)]."""
    cdef uint32_t number = table.first_spool(channel)
    cdef Spool* spool
    found = []
    while number != NOWHERE:
        spool = table.spool(number)
        prev_id = None if spool.prev_id is NULL else <bytes> spool.prev_id
        found.append((number, spool.variant, prev_id, [spool.slots[i] for i in range(spool.count)]))
        number = spool.next
    return found


def modes(HoldTable table, bytes channel):
    return table.modes(channel)


def channels(HoldTable table):
    return table.channels()


def lasts(HoldTable table, uint32_t slot):
    return table.lasts(slot)


def held(HoldTable table, uint32_t slot):
    return table.held(slot)


def set_walking(HoldTable table, bint walking):
    table.walking = walking


def check_table(HoldTable table):
    check_columns(table)


cdef Outcome check_columns(HoldTable table) except Outcome.FAIL:
    # AssertionError unless every row is where it says, the counts agree, and nothing is both
    # free and in use, or neither.
    cdef uint32_t spool, members = 0
    for spool in range(table._spool_room):
        members += table._spools[spool].count
    assert check_sessions(table) == members == table.subscription_count
    assert len(table._ids) == table.channel_count
    return check_free(table, check_spools(table))


cdef uint32_t check_sessions(HoldTable table) except? NOWHERE:
    # How many rows the lists of the sessions have, each seen once and where it says.
    cdef uint32_t slot, row, count = 0
    cdef Spool* s
    cdef bytearray seen = bytearray(table._row_room)
    cdef set channels
    for slot in range(table._slot_room):
        channels = set()
        row = table._head[slot]
        while row != NOWHERE:
            assert row < table._row_room and not seen[row]
            seen[row] = 1
            assert table._spool[row] < table._spool_room
            s = &table._spools[table._spool[row]]
            assert table._place[row] < s.count
            assert s.slots[table._place[row]] == slot and s.rows[table._place[row]] == row
            assert s.channel not in channels
            channels.add(s.channel)
            count += 1
            row = table._next[row]
    return count


cdef uint32_t check_spools(HoldTable table) except? NOWHERE:
    # How many spools the channels have, each seen once, not empty, with a key of its own.
    cdef uint32_t number, spool, count = 0
    cdef Spool* s
    cdef bytes channel
    cdef bytearray seen = bytearray(table._spool_room)
    cdef set keys
    for channel, number in table._ids.items():
        assert table._names[number] == channel and table._first[number] != NOWHERE
        keys = set()
        spool = table._first[number]
        while spool != NOWHERE:
            assert spool < table._spool_room and not seen[spool]
            seen[spool] = 1
            s = &table._spools[spool]
            assert s.channel == number and 0 < s.count <= s.room
            key = (s.variant, bytes_of(s.prev_id), bytes_of(s.traits))
            assert key not in keys
            keys.add(key)
            count += 1
            spool = s.next
    return count


cdef Outcome check_free(HoldTable table, uint32_t spools) except Outcome.FAIL:
    # What is not in use is on its list of the free, once.
    cdef uint32_t i
    cdef set free = set()
    i = table._free_row
    while i != NOWHERE:
        assert i < table._row_room and i not in free
        free.add(i)
        i = table._next[i]
    assert len(free) + table.subscription_count == table._row_room
    free.clear()
    i = table._free_spool
    while i != NOWHERE:
        assert i < table._spool_room and i not in free and table._spools[i].count == 0
        assert table._spools[i].prev_id is NULL and table._spools[i].traits is NULL
        free.add(i)
        i = table._spools[i].next
    assert len(free) + spools == table._spool_room
    free.clear()
    i = table._free_channel
    while i != NOWHERE:
        assert i < table._channel_room and i not in free and table._names[i] is None
        free.add(i)
        i = table._first[i]
    assert len(free) + table.channel_count == table._channel_room == len(table._names)
    return Outcome.DONE


cdef bytes bytes_of(PyObject* held):
    return None if held is NULL else <bytes> held


# -- the wheel

def arm(Wheel wheel, uint32_t slot, uint64_t deadline_ms):
    wheel.arm(slot, deadline_ms)


def disarm(Wheel wheel, uint32_t slot):
    wheel.disarm(slot)


def due(Wheel wheel, uint64_t now_ms):
    slots = []
    wheel.due(now_ms, slots)
    return slots


def next_ms(Wheel wheel):
    return wheel.next_ms()


def armed(Wheel wheel, uint32_t slot):
    return bool(wheel.armed(slot))


def check_wheel(Wheel wheel):
    wheel.check()


# -- frames

def message(bytes channel=b"a", *, id=None, prev_id=None, response=None, stream=None, ws=None):
    """response: arguments of ResponseFormat; stream: of StreamFormat; ws: of WsFormat."""
    cdef Message m = Message(channel, id, prev_id)
    if response is not None:
        m.response = ResponseFormat(*response)
    if stream is not None:
        m.stream = StreamFormat(*stream)
    if ws is not None:
        m.ws = WsFormat(*ws)
    return m


def stream_frame(Message m, int variant):
    return m.stream_frame(<Variant> variant)


def ws_frame(Message m, int variant):
    return m.ws_frame(<Variant> variant)


def response_frame(Message m, HeldResponse held, int minor=1, bint keep_alive=True,
                   bint head_only=False):
    return m.response_frame(held, minor, keep_alive, head_only)


def held_frame(HeldResponse response, int minor=1, bint keep_alive=True, bint head_only=False):
    return timeout_bytes(response, minor, keep_alive, head_only)


# -- the tally

def counters():
    """Name to place of every counter, as the enum has them."""
    return {
        "SESSIONS": Counter.SESSIONS,
        "HOLDS_RESPONSE": Counter.HOLDS_RESPONSE,
        "HOLDS_STREAM": Counter.HOLDS_STREAM,
        "HOLDS_WS": Counter.HOLDS_WS,
        "ACCEPTED": Counter.ACCEPTED,
        "REQUESTS": Counter.REQUESTS,
        "MESSAGES": Counter.MESSAGES,
        "DELIVERED_RESPONSE": Counter.DELIVERED_RESPONSE,
        "DELIVERED_STREAM": Counter.DELIVERED_STREAM,
        "DELIVERED_WS": Counter.DELIVERED_WS,
        "KEEP_ALIVES": Counter.KEEP_ALIVES,
        "DROPPED_QUEUE": Counter.DROPPED_QUEUE,
        "DROPPED_MIDWAY": Counter.DROPPED_MIDWAY,
        "DROPPED_HWM": Counter.DROPPED_HWM,
        "DROPPED_UNJUDGED": Counter.DROPPED_UNJUDGED,
        "DROPPED_GHOST": Counter.DROPPED_GHOST,
        "ASKED_AGAIN": Counter.ASKED_AGAIN,
        "ENDED_SLOW": Counter.ENDED_SLOW,
        "ENDED_FAULTY": Counter.ENDED_FAULTY,
        "REFUSED_REQUESTS": Counter.REFUSED_REQUESTS,
        "BYTES_IN": Counter.BYTES_IN,
        "BYTES_OUT": Counter.BYTES_OUT,
    }


def add(Tally tally, int counter, int64_t count):
    tally.add(<Counter> counter, count)


# -- memory that runs out

cdef extern from "Python.h":
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_RAW
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ
    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* at, size_t size) noexcept nogil
        void (*free)(void* ctx, void* at) noexcept nogil
    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)

cdef int64_t left = 0                          # allocations that still succeed


cdef bint spent() noexcept nogil:
    global left
    left -= 1
    return left < 0


cdef void* scarce_malloc(void* ctx, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx* real = <PyMemAllocatorEx*> ctx
    return NULL if spent() else real.malloc(real.ctx, size)


cdef void* scarce_calloc(void* ctx, size_t count, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx* real = <PyMemAllocatorEx*> ctx
    return NULL if spent() else real.calloc(real.ctx, count, size)


cdef void* scarce_realloc(void* ctx, void* at, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx* real = <PyMemAllocatorEx*> ctx
    return NULL if spent() else real.realloc(real.ctx, at, size)


cdef void real_free(void* ctx, void* at) noexcept nogil:
    cdef PyMemAllocatorEx* real = <PyMemAllocatorEx*> ctx
    real.free(real.ctx, at)


def with_allocations(int64_t count, call, *args):
    """Call with memory for so many allocations of any kind; MemoryError when it took more."""
    global left
    cdef PyMemAllocatorEx real[3]
    cdef PyMemAllocatorEx scarce
    cdef int domain
    gc.disable()                               # what happens to be collected is not what is tested
    left = count
    for domain in range(3):
        PyMem_GetAllocator(<PyMemAllocatorDomain> domain, &real[domain])
        scarce.ctx = &real[domain]
        scarce.malloc = scarce_malloc
        scarce.calloc = scarce_calloc
        scarce.realloc = scarce_realloc
        scarce.free = real_free
        PyMem_SetAllocator(<PyMemAllocatorDomain> domain, &scarce)
    try:
        call(*args)
    finally:
        for domain in range(3):
            PyMem_SetAllocator(<PyMemAllocatorDomain> domain, &real[domain])
        gc.enable()
