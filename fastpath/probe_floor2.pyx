"""Test-only doors into floor 2: table, wheel, frames, tally. Production never imports it."""

import gc

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastpath.frame cimport (
    HeldResponse, Message, ResponseFormat, StreamFormat, WsFormat, held_frame as held,
)
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


def held_count(HoldTable table, uint32_t slot):
    return table.held_count(slot)


def set_walking(HoldTable table, bint walking):
    table.walking = walking


def check_table(HoldTable table):
    table.check()


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
    return held(response, minor, keep_alive, head_only)


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
