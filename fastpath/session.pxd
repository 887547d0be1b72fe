# The data plane's end of one client connection (floor 3), and the roster of them all. It knows
# what every kind of session has in common: identity, outgoing frames, an end. It never parses a
# byte of a client, never walks a spool, and never decides what a hold means.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastpath.frame cimport Message
from fastpath.link_orders cimport HoldOrder
from fastpath.outcome cimport Outcome
from fastpath.route_tally cimport RouteTally
from fastpath.row cimport Row
from fastpath.settings cimport Limits
from fastpath.table cimport HoldTable
from fastpath.tally cimport Tally
from fastpath.wheel cimport Wheel

cdef extern from "clock.h" nogil:
    uint64_t monotonic_ms()

cdef uint64_t stopped_at_ms    # written by probe_session only; 0: the clock runs

cdef inline uint64_t now_ms() noexcept nogil:
    return stopped_at_ms if stopped_at_ms else monotonic_ms()

# The one read buffer of the worker: uvloop asks for it just before a read and reports just after.
cdef object SCRATCH            # a memoryview of SCRATCH_SIZE bytes
cdef uint8_t* scratch          # borrowed from it, for the life of the worker

cdef class Upstream:
    # What a session says upwards; the link supplies it, tests supply a recorder. `head` is what
    # link_reports.opened_head made of the request. False: nobody is there to ask.
    cdef bint opened(
        self, Session s, bytes head, bint again, int64_t length, list lasts, bytes body, bint more
    ) except -1
    # `kind` is one of link_wire.Kind, `what` one of link_wire.Signal.
    cdef Outcome received(self, Session s, int kind, object body, bint more) except Outcome.FAIL
    cdef Outcome granted(self, Session s, uint32_t count) except Outcome.FAIL
    cdef Outcome signalled(self, Session s, int what) except Outcome.FAIL
    cdef Outcome lost(self, Session s, int reason, int code) except Outcome.FAIL
    cdef Outcome freed(self, list pairs) except Outcome.FAIL
    # Asked for only while `accounts` is set: before a session lets go of its channels, and when the
    # client has left.
    cdef bint accounts
    cdef Outcome letting_go(self, Session s) except Outcome.FAIL
    cdef Outcome left(self, Session s) except Outcome.FAIL
    # Around what delivers an item.
    cdef Outcome item_begins(self) except Outcome.FAIL
    cdef Outcome item_ends(self, Message m) except Outcome.FAIL
    # A watched hold has ended, with what control gave it to be told by.
    cdef Outcome parted(self, Session s, bytes context) except Outcome.FAIL
    # A stream has a gap, or is to follow its link; its messages wait. False: nobody is there.
    cdef bint lapsed(self, Session s, int why, list lasts, bytes context) except -1
    # A message met groups with traits, [(mode, action, traits, [(channel, id)])]: what does it
    # become for each? False: nobody is there.
    cdef bint met(self, uint32_t number, Message m, list groups) except -1
    # It has moved on, and has not had what awaits a verdict: those messages, in order.
    cdef list recalling(self, Session s)
    # It holds again: these have waited.
    cdef Outcome resumed(self, Session s, list waited) except Outcome.FAIL

cdef class Roster:
    cdef:
        # -- slots and generations
        list _sessions                     # slot -> Session or None
        Row* rows                          # owned; [slot]
        uint32_t* _generations             # owned; [slot]
        uint32_t _room
        list _free                         # slots nobody has
        readonly uint32_t live_count
        # -- the flush list
        uint32_t* _dirty                   # owned; slots, some perhaps twice or gone by now
        uint32_t _dirty_count
        uint32_t _dirty_room
        bint _flush_due                    # a flush is scheduled
        list _doomed                       # sessions whose socket failed in a flush
        # -- what all sessions share
        readonly HoldTable table
        readonly Wheel wheel
        readonly Wheel links               # when a stream follows its link, if nothing comes before
        readonly Tally tally
        RouteTally routes                  # None: nobody wants to know
        readonly Limits limits
        public Upstream upstream
        public object make_websocket       # (roster) -> the session of an accepted handshake
        public bint draining
        public object report               # called with (event, ref, exception) for our own faults
        public object refused              # called with (ref, status, text) for refused requests
        object _loop
        object _timer                      # the one timer, or None
        uint64_t _timer_ms                 # when it fires; 0: it does not
        object _flush_call                 # bound once: no allocation a turn
        object _tick_call

    # -- slots
    cdef Outcome join(self, Session s, int fd) except Outcome.FAIL
    cdef Outcome replace(self, Session old, Session new) except Outcome.FAIL
    cdef Outcome leave(self, Session s) except Outcome.FAIL
    cdef Outcome failed(self, Session s, str what, object wrong) except Outcome.FAIL
    cdef Session find(self, uint64_t ref)              # None: it is gone
    cdef Session session(self, uint32_t slot)          # legal within one turn only
    # -- deadlines
    cdef Outcome arm(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL
    cdef Outcome arm_link(self, uint32_t slot, uint64_t deadline_ms) except Outcome.FAIL
    cdef Outcome _wake_at(self, uint64_t at) except Outcome.FAIL
    cdef Outcome _tell_due(self, uint32_t slot, uint64_t now, bint link) except Outcome.FAIL
    cdef Outcome _grow(self) except Outcome.FAIL
    # For what is no session's deadline: at most one such call waits.
    cdef Outcome call_later(self, uint64_t pause_ms, object call) except Outcome.FAIL
    cdef Outcome _set_timer(self, uint64_t at) except Outcome.FAIL
    # -- outgoing: mark
    cdef Outcome queue(self, uint32_t slot, bytes frame) except Outcome.FAIL
    cdef bint offer(self, uint32_t slot, PyObject* frame) except -1
    cdef bint _admits(self, Row* row) except -1
    cdef Outcome kept_alive(self, uint32_t slot, Py_ssize_t content_bytes) except Outcome.FAIL
    cdef Outcome touch(self, uint32_t slot) except Outcome.FAIL
    # -- outgoing: flush, then bury what failed
    cpdef object flush(self)
    cdef Outcome flush_row(self, uint32_t slot) except Outcome.FAIL
    cdef Outcome hand_over(self, uint32_t slot, Py_ssize_t offset) except Outcome.FAIL
    cdef Outcome drop_frames(self, uint32_t slot) except Outcome.FAIL
    cdef Outcome resume(self, uint32_t slot) except Outcome.FAIL
    cdef Outcome bury(self) except Outcome.FAIL

cdef class Session:
    cdef:
        # -- identity
        readonly uint64_t ref              # generation << 32 | slot
        readonly uint32_t slot
        # -- state
        int _state                         # the kind's own enum; written only by set_state
        int _reason                        # why it ended
        # -- neighbours
        object _transport                  # shared with the loop until connection_lost
        Roster _roster

    # -- lifecycle
    cdef Outcome end(self, int reason) except Outcome.FAIL
    cdef Outcome let_go(self) except Outcome.FAIL      # of every channel
    # -- told by the roster
    cdef Outcome drained(self) except Outcome.FAIL
    cdef Outcome blocked(self) except Outcome.FAIL
    cdef Outcome due(self, uint64_t now) except Outcome.FAIL
    cdef Outcome link_due(self, uint64_t now) except Outcome.FAIL
    # -- told by fan-out; none of these is called while a spool is walked
    cdef Outcome answer(self, Message m) except Outcome.FAIL
    cdef Outcome finish_stream(self, int reason) except Outcome.FAIL
    cdef Outcome ask_again(self) except Outcome.FAIL
    cdef Outcome lapse(self, Message m, int why) except Outcome.FAIL     # m may be None
    cdef Outcome fail(self, bytes why) except Outcome.FAIL      # what is to be said of it
    cdef Outcome wait(self, Message m) except Outcome.FAIL       # control follows its link
    cdef Outcome obey(self, Message m) except Outcome.FAIL       # a close or refresh of a WebSocket
    # -- orders from control (LINK.md)
    cdef Outcome respond(self, tuple order, bint more) except Outcome.FAIL
    cdef Outcome send(self, int kind, bytes body, bint more) except Outcome.FAIL
    cdef Outcome accept(self, list headers) except Outcome.FAIL
    cdef Outcome hold(
        self, HoldOrder order, object response, object keep_alive
    ) except Outcome.FAIL
    cdef Outcome grant(self, uint32_t count) except Outcome.FAIL
    cdef Outcome close(self, int reason, int code, bytes text) except Outcome.FAIL
    cdef Outcome release(self) except Outcome.FAIL
    cdef Outcome subscribe(self, bytes channel, bytes traits) except Outcome.FAIL
    cdef Outcome unsubscribe(self, bytes channel) except Outcome.FAIL
    cdef Outcome keep_alive(self, object keep_alive) except Outcome.FAIL    # or None: no longer
    # -- the link
    cdef Outcome link_lost(self) except Outcome.FAIL
    cdef Outcome link_resumed(self) except Outcome.FAIL
    cdef Outcome drain(self) except Outcome.FAIL
