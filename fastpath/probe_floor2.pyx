"""Test-only doors into floor 2: table, wheel, frames, tally. Production never imports it."""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.frame cimport HeldResponse, Message, ResponseFormat, StreamFormat, held_frame
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter, Tally
from fastpath.variants cimport Variant
from fastpath.wheel cimport Wheel

RESPONSE = <int> Variant.RESPONSE
CHUNKED = <int> Variant.STREAM_CHUNKED
PLAIN = <int> Variant.STREAM_PLAIN


# -- table

def hold(HoldTable table, bytes channel, int variant, uint32_t slot, prev_id=None):
    table.hold(channel, <Variant> variant, slot, prev_id)
    table.check()


def release(HoldTable table, uint32_t slot):
    """The (channel, mode) pairs that nobody holds any more."""
    freed = []
    table.release(slot, freed)
    table.check()
    return freed


def release_channel(HoldTable table, uint32_t slot, bytes channel):
    freed = []
    table.release_channel(slot, channel, freed)
    table.check()
    return freed


def spools(HoldTable table, bytes channel):
    """[(variant, prev_id, sorted slots)] of a channel."""
    cdef uint32_t number = table.first_spool(channel)
    cdef Spool* s
    found = []
    while number != NOWHERE:
        s = table.spool(number)
        found.append((
            s.variant, <bytes> s.prev_id if s.prev_id is not NULL else None,
            sorted([s.slots[i] for i in range(s.count)]),
        ))
        number = s.next
    return found


def advance(HoldTable table, bytes channel, int variant, prev_id, new_id):
    """Set the id that the spool (variant, prev_id) expects next; False: there is none."""
    cdef uint32_t number = table.first_spool(channel)
    cdef Spool* s
    while number != NOWHERE:
        s = table.spool(number)
        has = <bytes> s.prev_id if s.prev_id is not NULL else None
        if s.variant == variant and has == prev_id:
            table.advance(number, new_id)
            table.check()
            return True
        number = s.next
    return False


def lasts(HoldTable table, uint32_t slot):
    return table.lasts(slot)


def channels(HoldTable table):
    return table.channels()


def held_count(HoldTable table, uint32_t slot):
    return table.held_count(slot)


def set_walking(HoldTable table, bint walking):
    table.walking = walking


# -- wheel

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


def check_wheel(Wheel wheel):
    wheel.check()


# -- frames

def stream_frame(bytes content, int variant):
    cdef Message m = Message(b"c", None, None)
    m.stream = StreamFormat(0, content)
    return m.stream_frame(<Variant> variant)


def response_frames(HeldResponse held, ResponseFormat published, keys):
    """The frames of one message for each (minor, keep_alive, head_only)."""
    cdef Message m = Message(b"c", None, None)
    m.response = published
    return [m.response_frame(held, minor, keeps, head_only) for minor, keeps, head_only in keys]


def timeout_frame(HeldResponse held, int minor, bint keep_alive, bint head_only):
    return held_frame(held, minor, keep_alive, head_only)


# -- tally

def add(Tally tally, int counter, int count):
    tally.add(<Counter> counter, count)


COUNTERS = <int> Counter.COUNTERS
