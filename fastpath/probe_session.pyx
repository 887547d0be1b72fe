"""Test-only doors into floors 2 to 4: the reader, sessions, the fan-out."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastpath import probe_floor2
from fastpath cimport link_reports, session as session_room
from fastpath.fanout cimport Fanout
from fastpath.frame cimport (
    HeldResponse, KeepAlive, Message, ResponseFormat, StreamFormat, WsFormat, whole_frame,
)
from fastpath.http_answer cimport HttpAnswer, allowed
from fastpath.http_reader cimport HttpReader, Request
from fastpath.http_session cimport HttpSession
from fastpath.link_orders cimport HoldOrder
from fastpath.link_wire cimport Kind
from fastpath.limits cimport FASTPATH_DEBUG, LINK_WINDOW, PIPELINE_MAX, QUEUE_MAX
from fastpath.outcome cimport Outcome
from fastpath.row cimport RowFlag
from fastpath.session cimport Roster, Session, Upstream
from fastpath.ws_sender cimport ws_allowed
from fastpath.ws_session cimport WsSession

DEBUG = bool(FASTPATH_DEBUG)
WINDOW = LINK_WINDOW
PIPELINE = PIPELINE_MAX
QUEUE = QUEUE_MAX
WS_STATES = ["OPEN", "CLOSING", "DRAINING", "GONE"]
STATES = ["READING", "ASKED", "ANSWERING", "HELD_RESPONSE", "HELD_STREAM", "DRAINING", "GONE"]


cdef class RecordingUpstream(Upstream):
    """Keeps what sessions say, as the packets that the link would write; `linked` False plays a
    lost link."""

    cdef readonly list packets
    cdef public bint linked
    cdef public Fanout fanout          # to which a session that holds again is given

    def __init__(self):
        self.packets = []
        self.linked = True

    cdef bint opened(
        self, Session s, bytes head, bint again, int64_t length, list lasts, bytes body, bint more
    ) except -1:
        if self.linked:
            self.packets.append(
                link_reports.write_opened(s.ref, head, again, length, lasts, body, more)
            )
        return self.linked

    cdef Outcome received(self, Session s, int kind, object body, bint more) except Outcome.FAIL:
        self.packets.append(link_reports.write_received(s.ref, kind, body, more))
        return Outcome.DONE

    cdef Outcome granted(self, Session s, uint32_t count) except Outcome.FAIL:
        self.packets.append(link_reports.write_granted(s.ref, count))
        return Outcome.DONE

    cdef Outcome signalled(self, Session s, int what) except Outcome.FAIL:
        self.packets.append(link_reports.write_signalled(s.ref, what))
        return Outcome.DONE

    cdef Outcome lost(self, Session s, int reason, int code) except Outcome.FAIL:
        self.packets.append(link_reports.write_closed(s.ref, reason, code, b""))
        return Outcome.DONE

    cdef Outcome freed(self, list pairs) except Outcome.FAIL:
        for channel, modes in pairs:
            self.packets.append(link_reports.write_freed(channel, modes, 0))
        return Outcome.DONE

    cdef Outcome parted(self, Session s, bytes context) except Outcome.FAIL:
        self.packets.append(link_reports.write_closed(s.ref, s._reason, 0, context))
        return Outcome.DONE

    cdef bint lapsed(self, Session s, int why, list lasts, bytes context) except -1:
        if self.linked:
            self.packets.append(link_reports.write_lapsed(s.ref, why, lasts, context))
        return self.linked

    cdef bint met(self, uint32_t number, Message m, list groups) except -1:
        if self.linked:
            self.packets.append(
                link_reports.write_met(number, m.channel, m.id, m.meta, [], groups)
            )
        return self.linked

    cdef list recalling(self, Session s):
        return [] if self.fanout is None else self.fanout.inquiry.recall(s)

    cdef Outcome resumed(self, Session s, list waited) except Outcome.FAIL:
        return self.fanout.give(s, waited)


def set_clock(uint64_t at_ms):
    """Stop every clock of the data plane at this time; 0 lets it run again."""
    session_room.stopped_at_ms = at_ms


def moves():
    """Every pair (old, new) of states that the gate lets pass."""
    names = range(len(STATES))
    return {(STATES[old], STATES[new]) for old in names for new in names if allowed(old, new)}


def state(HttpAnswer s):
    return STATES[s._state]


def reason(Session s):
    return s._reason


def held_response(HttpSession s):
    return s._held


def has_parser(HttpSession s):
    return s._reader is not None


def read_requests(HttpReader reader, bytes data):
    """Feed bytes; the requests whose heads are complete by now (they stay in the reader)."""
    reader.read(data)
    return [as_dict(r) for r in reader.requests]


def take_request(HttpReader reader):
    """Take the first request out of the reader, as a session does; None if there is none."""
    cdef Request r
    if not reader.requests:
        return None
    r = reader.requests.pop(0)
    if not reader.requests:
        reader.go_on()
    return as_dict(r)


cdef dict as_dict(Request r):
    return {
        "method": r.method, "target": r.target, "headers": r.headers, "minor": r.minor,
        "keep_alive": r.keep_alive, "expects_continue": r.expects_continue,
        "upgrades": r.upgrades, "length": r.length, "body": b"".join(r.body),
        "complete": r.complete, "fault": r.fault, "fault_text": r.fault_text,
    }


def respond(Session s, *, status=200, reason=b"OK", headers=(), length=-1, body=b"", more=False):
    s.respond((status, reason, list(headers), length, body), more)


def send(Session s, bytes body, *, more=True):
    s.send(Kind.KIND_BODY, body, more)


def hold(Session s, *, mode, channels, timeout_ms=55_000, keep_alive=None, answered=False,
         status=200, reason=b"OK", headers=(), body=b"", request_body=b"", link_ms=0,
         watched=False, context=b"", route=0):
    """keep_alive: (content, interval_ms, idle) or None; channels: [(channel, prev_id, traits)],
    of which the last one or two may be left out.
    """
    full = [(*channel, None, None)[:3] for channel in channels]
    cdef HoldOrder order = HoldOrder()
    order.mode, order.timeout_ms, order.channels, order.answered = mode, timeout_ms, full, answered
    order.request_body, order.link_ms, order.watched = request_body, link_ms, watched
    order.context = context
    s._roster.rows[s.slot].route = route
    s.hold(order, HeldResponse(status, reason, list(headers), body),
           KeepAlive(*keep_alive) if keep_alive else None)


def grant(Session s, uint32_t count):
    s.grant(count)


def close(Session s, int reason, int code=0, bytes text=b""):
    s.close(reason, code, text)


def link_lost(Session s):
    s.link_lost()


def publish(Fanout fanout, bytes channel, *, id=None, prev_id=None, response=None, stream=None,
            ws=None, meta=b""):
    """response: (action, status, reason, headers, patch, body); stream: (action, content);
    ws: (action, kind, content, code, text)."""
    cdef Message m = Message(channel, id, prev_id)
    m.meta = meta
    if response is not None:
        m.response = ResponseFormat(*response)
    if stream is not None:
        m.stream = StreamFormat(*stream)
    if ws is not None:
        m.ws = WsFormat(*ws)
    fanout.publish(m)


def release(Session s):
    s.release()


def judge(Fanout fanout, number, verdicts):
    """verdicts: [(0 drop | 1 as published | 2 instead | 3 failed, content or None)]."""
    fanout.judge(number, verdicts)


# -- WebSockets

def accept(Session s, headers=()):
    s.accept(list(headers))


def ws_send(Session s, int kind, bytes content, *, more=False):
    s.send(kind, content, more)


def subscribe(Session s, bytes channel, traits=None):
    s.subscribe(channel, traits)


def unsubscribe(Session s, bytes channel):
    s.unsubscribe(channel)


def keep_alive(Session s, int kind, bytes content, uint32_t interval_ms, bint idle):
    s.keep_alive(KeepAlive(whole_frame(kind, content, 0), interval_ms, idle))


def no_keep_alive(Session s):
    s.keep_alive(None)


def link_resumed(Session s):
    s.link_resumed()


def ws_state(WsSession s):
    return WS_STATES[s._state]


def ws_moves():
    """Every pair (old, new) of states that the gate of WebSockets lets pass."""
    names = range(len(WS_STATES))
    return {
        (WS_STATES[old], WS_STATES[new]) for old in names for new in names if ws_allowed(old, new)
    }


def ws_holds(WsSession s):
    """What an idle WebSocket should not have: bytes that wait, an inflater."""
    return s._kept, s._control, s._inflater


def end(Session s, int reason):
    s.end(reason)


def find(Roster roster, uint64_t ref):
    return roster.find(ref)


def set_walking(Roster roster, bint walking):
    roster.table.walking = walking


def is_blocked(Session s):
    return bool(s._roster.rows[s.slot].flags & RowFlag.BLOCKED)


def is_armed(Session s):
    """Whether a deadline runs for this session."""
    return s._roster.wheel.armed(s.slot)


def waiting_count(Roster roster):
    """Frames in all rows."""
    cdef uint32_t slot
    cdef uint64_t count = 0
    for slot in range(roster._room):
        count += roster.rows[slot].count
    return count


def check(Roster roster):
    """The columns of the table and of the wheel agree with each other."""
    probe_floor2.check_table(roster.table)
    roster.wheel.check()
