# The hold table (floor 2): which session holds which channel, as columns of numbers. It knows no
# session, no transport and no message; it never calls anybody. Slots are indexes given by the
# roster. Sessions of a channel that get the same bytes, expect the same id and have the same traits
# form one spool; traits are bytes that mean nothing here.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from cpython.object cimport PyObject
from fastpath.outcome cimport Outcome
from fastpath.variants cimport Variant

cdef enum:
    NOWHERE = 0xFFFFFFFF   # no row, no spool, no channel

cdef struct Spool:
    uint32_t* slots        # owned; dense, order is not kept
    uint32_t* rows         # owned; the subscription of each member
    uint32_t count
    uint32_t room
    uint32_t channel
    uint32_t next          # the next spool of the same channel
    PyObject* prev_id      # owned; exact bytes, or NULL when ids are not tracked
    PyObject* traits       # owned; exact bytes, or NULL: nothing is asked about a message
    uint64_t delivered_ms  # written by fan-out only; when the members last got a message
    uint8_t variant

cdef class HoldTable:
    cdef:
        # -- channels
        dict _ids              # bytes -> channel number; with prev_id the only Python objects
        list _names            # channel number -> bytes, or None when free
        uint32_t* _first       # owned; [channel] its first spool
        uint32_t _channel_room
        uint32_t _free_channel  # head of the free channels, threaded through _first
        # -- spools
        Spool* _spools         # owned
        uint32_t _spool_room
        uint32_t _free_spool   # head of the free spools, threaded through next
        # -- subscriptions, one column per fact
        uint32_t* _spool       # owned; [row] in which spool
        uint32_t* _place       # owned; [row] at which position there
        uint32_t* _next        # owned; [row] next subscription of the same session
        uint32_t _row_room
        uint32_t _free_row     # head of the free rows, threaded through _next
        # -- sessions
        uint32_t* _head        # owned; [slot] its first subscription
        uint32_t _slot_room
        # -- guard
        bint walking           # written by fan-out only; what changes the table refuses while set
        # -- totals
        readonly uint32_t channel_count
        readonly uint32_t subscription_count

    # -- changing (never while a spool is being walked). `freed` collects (channel, mode) pairs
    #    whose last session has left. A hold that fails for lack of memory has changed nothing.
    #    A channel that the session holds already is moved to its new spool; nobody is told what
    #    that frees, so a session that changes its mode releases first.
    cdef Outcome hold(
        self, bytes channel, Variant v, uint32_t slot, bytes prev_id, bytes traits=*
    ) except Outcome.FAIL
    # All that the session holds, as another variant from now on.
    cdef Outcome turn(self, uint32_t slot, Variant v) except Outcome.FAIL
    cdef Outcome release(self, uint32_t slot, list freed) except Outcome.FAIL
    cdef Outcome release_channel(
        self, uint32_t slot, bytes channel, list freed
    ) except Outcome.FAIL
    # The members of a spool expect another id from now on; None: any. A spool that expects it
    # already takes them in, or joins them: one of the two numbers is free afterwards.
    cdef Outcome advance(self, uint32_t spool, bytes prev_id) except Outcome.FAIL
    # -- walking: from the first spool of a channel along `next`; valid until the table changes
    cdef uint32_t first_spool(self, bytes channel) except? NOWHERE
    cdef Spool* spool(self, uint32_t number) noexcept nogil
    # -- asking
    cdef int modes(self, bytes channel) except -1  # the kinds of holds on a channel, as bits
    cdef list channels(self)                      # [(channel, modes)], for HELD
    cdef list lasts(self, uint32_t slot)          # [(channel, prev_id)] where ids are tracked
    cdef list held(self, uint32_t slot)           # the channels of a session
    # The spool in which a session holds a channel, or NOWHERE.
    cdef uint32_t spool_of(self, uint32_t slot, bytes channel) except? NOWHERE
    cdef uint64_t delivered_ms(self, uint32_t slot) noexcept nogil  # the least of its spools
    # -- its own: room, which may be refused
    cdef Outcome _refuse_while_walking(self) except Outcome.FAIL
    cdef Outcome _reach_slot(self, uint32_t slot) except Outcome.FAIL
    cdef Outcome _reach_row(self) except Outcome.FAIL
    cdef Outcome _reach_spool(self) except Outcome.FAIL
    cdef Outcome _reach_member(self, uint32_t spool, uint32_t more) except Outcome.FAIL
    # -- its own: channels
    cdef uint32_t _number(self, bytes channel) except? NOWHERE
    cdef uint32_t _new_channel(self, bytes channel) except? NOWHERE
    cdef Outcome _forget_channel(self, uint32_t number) except Outcome.FAIL
    cdef int _modes(self, uint32_t number) noexcept nogil
    # -- its own: spools
    cdef uint32_t _find_spool(
        self, uint32_t number, Variant v, bytes prev_id, bytes traits
    ) except? NOWHERE
    cdef uint32_t _new_spool(
        self, uint32_t number, Variant v, bytes prev_id, bytes traits
    ) except? NOWHERE
    cdef Outcome _drop_spool(self, uint32_t spool) except Outcome.FAIL
    cdef Outcome _set_prev_id(self, uint32_t spool, bytes prev_id) except Outcome.FAIL
    cdef Outcome _merge(self, uint32_t small, uint32_t large) except Outcome.FAIL
    # -- its own: rows
    cdef uint32_t _row_of(self, uint32_t slot, uint32_t number) noexcept nogil
    cdef uint32_t _new_row(self, uint32_t slot) noexcept nogil
    cdef Outcome _drop_row(self, uint32_t row, list freed) except Outcome.FAIL
    cdef Outcome _join_spool(self, uint32_t row, uint32_t spool, uint32_t slot) noexcept nogil
    cdef Outcome _leave_spool(self, uint32_t row) except Outcome.FAIL
