"""The worker's end of the link (floor 4): an asyncio protocol that reads orders and writes reports.

It turns packets into verbs of sessions and of the fan-out, and, as their Upstream, what sessions
say into packets. Reports of one turn leave in one write. It never reads a client's bytes; when
the link is lost, holds stay as they are.
"""

import json
import os

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastpath cimport link_orders, link_reports
from fastpath.account cimport Account
from fastpath.fanout cimport Fanout
from fastpath.frame cimport (
    Action, HeldResponse, KeepAlive, Message, ResponseFormat, StreamFormat, WsFormat, whole_frame,
)
from fastpath.limits cimport LINK_HEADER_SIZE
from fastpath.link_orders cimport HoldOrder
from fastpath.link_wire cimport FLAG_MORE, Kind, LinkStep, Order, Packet, Report, link_read
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport Row, RowFlag
from fastpath.session cimport Roster, Session, Upstream
from fastpath.tally cimport Counter
from fastpath.variants cimport Mode
from fastpath.view cimport View

cdef enum:
    INTERN_MAX = 1024          # distinct hold responses, and keep-alives, remembered for sharing
    INTERN_BODY_MAX = 4096     # bytes; a bigger body is worth no lookup
    MODE_IDLE = 1              # HOLD's keep-alive mode


cdef class Link(Upstream):
    """One worker's link; reused over reconnects."""

    cdef:
        # -- neighbours
        Roster _roster
        Fanout _fanout
        object _loop
        object _on_welcome             # called with the settings once control has greeted
        object _on_lost                # called when a link that was up or coming up has ended
        object _on_drain
        uint32_t _worker
        # -- the connection
        object _transport              # None: no link
        bint _greeted                  # WELCOME has come
        dict _tally                    # as last reported on this link
        bint _resumed                  # this worker has been greeted before
        bytearray _tail                # the unfinished packet
        uint64_t _orders               # read since WELCOME, which is the first
        # -- outgoing
        list _reports                  # of this turn
        Account _account               # None unless WELCOME asks for it
        # -- shared by holds
        dict _responses                # what makes a response -> HeldResponse
        dict _keep_alives

    def __init__(self, Roster roster, Fanout fanout, loop, uint32_t worker, *, on_welcome, on_lost,
                 on_drain):
        self._roster = roster
        self._fanout = fanout
        self._loop = loop
        self._worker = worker
        self._on_welcome = on_welcome
        self._on_lost = on_lost
        self._on_drain = on_drain
        self._tail = bytearray()
        self._reports = []
        self._responses = {}
        self._keep_alives = {}

    # -- the loop calls ---------------------------------------------------------------------------

    def connection_made(self, transport):
        self._transport = transport
        self._greeted = False
        self._orders = 0
        self._tally = None
        self._tail.clear()
        self._reports.clear()
        self._report(link_reports.write_hello(os.getpid(), self._worker, self._resumed))

    def data_received(self, bytes arrived):
        cdef Py_ssize_t taken
        if self._tail:
            self._tail += arrived
            arrived = bytes(self._tail) if self._complete() else None
            if arrived is None:
                return
            self._tail.clear()
        taken = self._take(arrived)
        if taken < len(arrived):
            self._tail += memoryview(arrived)[taken:]

    def eof_received(self):
        return False

    def connection_lost(self, exc):
        cdef Session s
        self._transport = None
        self._greeted = False
        self._reports.clear()
        self._fanout.inquiry.forget()
        for s in self._roster.sessions():
            s.link_lost()
        self._on_lost()

    def pause_writing(self):
        """Credit bounds what sessions report; there is nothing else to hold back."""

    def resume_writing(self):
        """See pause_writing."""

    # -- orders -----------------------------------------------------------------------------------

    cdef bint _complete(self) except -1:
        # Whether the tail can be taken by now: a whole packet, or a bad header. Reads the header
        # only, so that a large packet in many pieces is not copied again for each.
        cdef View v
        cdef Packet p
        v.at = <const uint8_t*> PyByteArray_AS_STRING(self._tail)
        v.left = len(self._tail)
        return link_read(&p, &v) != LinkStep.LINK_MORE

    cdef Py_ssize_t _take(self, bytes arrived) except -1:
        # Act on every complete packet; the number of bytes they took.
        cdef View v
        cdef Packet p
        cdef LinkStep step
        cdef const uint8_t* begin = <const uint8_t*> <const char*> arrived
        v.at = begin
        v.left = len(arrived)
        while True:
            step = link_read(&p, &v)
            if step == LinkStep.LINK_MORE:
                return v.at - begin
            if step == LinkStep.LINK_BAD:
                self._malformed(bytes(v.at[:min(v.left, LINK_HEADER_SIZE)]), "header")
                return len(arrived)
            self._orders += 1
            try:
                self._obey(&p)
            except ValueError as wrong:
                self._malformed(bytes((p.payload.at - LINK_HEADER_SIZE)[:LINK_HEADER_SIZE]), wrong)
                return len(arrived)

    cdef Outcome _malformed(self, bytes first, object why) except Outcome.FAIL:
        self._roster.report("malformed_order", 0, f"{why}: {first.hex()}")
        if self._transport is not None:
            self._transport.abort()
        return Outcome.DONE

    cdef Outcome _obey(self, Packet* p) except Outcome.FAIL:
        cdef Session s
        if p.op == Order.PUBLISH:
            return self._publish(link_orders.read_publish(p.payload))
        if p.op == Order.VERDICT:
            return self._judge(link_orders.read_verdict(p.payload))
        if p.ref != 0:
            s = self._roster.find(p.ref)
            if s is None:
                return self._order_to_ghost(p)
            return self._order(s, p)
        if p.op == Order.WELCOME:
            self._greeted = True
            self._welcome(json.loads(link_orders.read_welcome(p.payload)))
            if self._resumed:
                self._resume_sessions()
                for channel, modes in self._roster.table.channels():
                    self._report(link_reports.write_held(channel, modes))
            self._report(link_reports.write_bare(Report.SYNCED))
            self._resumed = True
        elif p.op == Order.DRAIN:
            link_orders.read_bare(p.payload)
            self._on_drain()
        elif p.op == Order.PING:
            link_orders.read_bare(p.payload)
            self._report(link_reports.write_bare(Report.PONG))
        else:
            raise ValueError("order without a session")
        return Outcome.DONE

    cdef Outcome _welcome(self, dict settings) except Outcome.FAIL:
        cdef Session s
        self.accounts = settings.get("accounts", False)
        self._account = None
        self._roster.routes = None
        if self.accounts:
            self._account = Account(self._roster.table)
            self._roster.routes = self._account.routes
            self._touch([channel for channel, _ in self._roster.table.channels()])
        for s in self._roster.sessions():
            self._count(s)
        self._on_welcome(settings)
        return Outcome.DONE

    cdef Outcome _count(self, Session s) except Outcome.FAIL:
        cdef Row* row = &self._roster.rows[s.slot]
        row.flags = row.flags | RowFlag.COUNTED if self.accounts else row.flags & ~RowFlag.COUNTED
        return Outcome.DONE

    cdef Outcome _resume_sessions(self) except Outcome.FAIL:
        cdef Session s
        for s in self._roster.sessions():
            try:
                s.link_resumed()
            except Exception as wrong:
                self._roster.failed(s, "resume_failed", wrong)
        return Outcome.DONE

    cdef Outcome _order_to_ghost(self, Packet* p) except Outcome.FAIL:
        # Normal: the client has left meanwhile. Control has marked the channels of a HOLD or a
        # SUBSCRIBE as held here, though; those that nobody else holds are freed again.
        self._roster.tally.add(Counter.DROPPED_GHOST, 1)
        if p.op == Order.HOLD:
            return self._hold_for_ghost(p.ref, link_orders.read_hold(p.payload))
        if p.op == Order.SUBSCRIBE:
            return self._free_unheld([self._decode(p)[0]], Mode.MODE_WS)
        return Outcome.DONE

    cdef Outcome _hold_for_ghost(self, uint64_t ref, HoldOrder order) except Outcome.FAIL:
        if order.watched:                      # and over before it began
            self._report(link_reports.write_closed(ref, Reason.PEER_CLOSED, 0, order.context))
        return self._free_unheld([channel for channel, _, _ in order.channels], order.mode)

    cdef Outcome _free_unheld(self, list channels, int mode) except Outcome.FAIL:
        return self.freed([
            (channel, mode) for channel in channels
            if not self._roster.table.modes(channel) & mode
        ])

    cdef Outcome _order(self, Session s, Packet* p) except Outcome.FAIL:
        cdef tuple order = self._decode(p)
        cdef int state = s._state
        cdef int reason = s._reason
        cdef bint counts = self.accounts and p.op in (
            Order.HOLD, Order.SUBSCRIBE, Order.UNSUBSCRIBE
        )
        if counts:
            self._touch(self._roster.table.held(s.slot))
        try:
            self._tell(s, p.op, order, p.flags & FLAG_MORE)
        except Exception as wrong:             # ours: this session ends, the link goes on
            return self._roster.failed(s, "order_failed", wrong)
        if counts:
            self._touch(self._roster.table.held(s.slot))
        if s._reason == Reason.ORDER_REFUSED and reason != Reason.ORDER_REFUSED:
            self._roster.report("order_refused", s.ref, f"op {p.op:02x} in state {state}")
        return Outcome.DONE

    cdef tuple _decode(self, Packet* p):
        if p.op == Order.HOLD:
            return (link_orders.read_hold(p.payload),)
        if p.op == Order.RESPOND:
            return link_orders.read_respond(p.payload)
        if p.op == Order.SEND:
            return link_orders.read_send(p.payload)
        if p.op == Order.CLOSE:
            return link_orders.read_close(p.payload)
        if p.op == Order.GRANT:
            return (link_orders.read_grant(p.payload),)
        if p.op == Order.FINISH or p.op == Order.RELEASE:
            link_orders.read_bare(p.payload)
            return ()
        if p.op == Order.ACCEPT:
            return link_orders.read_accept(p.payload)
        if p.op == Order.SUBSCRIBE:
            return link_orders.read_subscribe(p.payload)
        if p.op == Order.UNSUBSCRIBE:
            return (link_orders.read_channel(p.payload),)
        if p.op == Order.KEEP_ALIVE:
            return link_orders.read_keep_alive(p.payload)
        raise ValueError("order of the worker itself, with a session")

    cdef Outcome _tell(self, Session s, int op, tuple order, bint more) except Outcome.FAIL:
        if op == Order.HOLD:
            return self._tell_hold(s, order[0])
        if op == Order.RESPOND:
            return s.respond(order, more)
        if op == Order.SEND:
            return s.send(order[0], order[1], more)
        if op == Order.FINISH:
            return s.send(Kind.KIND_BODY, b"", False)
        if op == Order.GRANT:
            return s.grant(order[0])
        if op == Order.CLOSE:
            return s.close(order[0], order[1], order[2])
        if op == Order.RELEASE:
            return s.release()
        if op == Order.ACCEPT:
            self._take_route(s, order[1], True)
            return s.accept(order[0])
        if op == Order.SUBSCRIBE:
            return s.subscribe(order[0], order[1])
        if op == Order.UNSUBSCRIBE:
            return s.unsubscribe(order[0])
        return s.keep_alive(self._keep_alive(
            order[0], order[1], whole_frame(order[2], order[3], 0) if order[0] else b""
        ))

    cdef Outcome _tell_hold(self, Session s, HoldOrder order) except Outcome.FAIL:
        self._take_route(s, order.route, False)
        return s.hold(
            order, self._response(order),
            self._keep_alive(order.keep_alive_mode, order.keep_alive_ms, order.keep_alive),
        )

    cdef Outcome _publish(self, tuple order) except Outcome.FAIL:
        try:
            return self._fanout.publish(self._message(order))
        except Exception as wrong:             # ours: this item is lost, the link goes on
            self._roster.report("publish_failed", 0, wrong)
        return Outcome.DONE

    cdef Outcome _judge(self, tuple order) except Outcome.FAIL:
        if not self._fanout.inquiry.has_asked(order[0], order[1]):
            raise ValueError("verdict on nothing that was asked")
        try:
            return self._fanout.judge(order[0], order[1])
        except Exception as wrong:             # ours: this item is lost, the link goes on
            self._roster.report("verdict_failed", 0, wrong)
        return Outcome.DONE

    cdef Outcome _take_route(self, Session s, uint16_t route, bint is_ws) except Outcome.FAIL:
        cdef Row* row = &self._roster.rows[s.slot]
        row.route = route
        row.flags = row.flags | RowFlag.IS_WS if is_ws else row.flags & ~RowFlag.IS_WS
        return self._count(s)

    cdef Message _message(self, tuple order):
        cdef Message m = Message(order[0], order[1], order[2])
        cdef tuple format
        m.meta = order[3]
        for format in order[4]:
            if format[0] == 1:
                m.response = ResponseFormat(*format[1:])
            elif format[0] == 2:
                m.stream = StreamFormat(*format[1:])
            elif format[1] == Action.CLOSE:
                m.ws = WsFormat(Action.CLOSE, code=format[2], text=format[3])
            else:
                m.ws = WsFormat(*format[1:])
        return m

    cdef HeldResponse _response(self, HoldOrder order):
        cdef tuple key
        cdef HeldResponse response
        if len(order.body) > INTERN_BODY_MAX:
            return HeldResponse(order.status, order.reason, order.headers, order.body)
        key = (order.status, order.reason, tuple(order.headers), order.body)
        response = self._responses.get(key)
        if response is None:
            if len(self._responses) >= INTERN_MAX:
                self._responses.clear()
            response = HeldResponse(order.status, order.reason, order.headers, order.body)
            self._responses[key] = response
        return response

    cdef KeepAlive _keep_alive(self, int mode, uint32_t interval_ms, bytes content):
        cdef tuple key = (mode, interval_ms, content)
        cdef KeepAlive keep_alive
        if mode == 0:
            return None
        keep_alive = self._keep_alives.get(key)
        if keep_alive is None:
            if len(self._keep_alives) >= INTERN_MAX:
                self._keep_alives.clear()
            keep_alive = KeepAlive(content, interval_ms, mode == MODE_IDLE)
            self._keep_alives[key] = keep_alive
        return keep_alive

    # -- reports ----------------------------------------------------------------------------------

    cdef Outcome _report(self, bytes packet) except Outcome.FAIL:
        if self._transport is None:
            return Outcome.DONE
        if not self._reports:
            self._loop.call_soon(self.write_reports)
        self._reports.append(packet)
        return Outcome.DONE

    def write_reports(self):
        """Send what was reported in this turn, in one write."""
        if self._transport is not None and self._reports:
            self._transport.write(b"".join(self._reports))
        self._reports.clear()

    def report_tally(self, dict counters):
        """Send TALLY, unless control has these numbers already."""
        if self._greeted and counters != self._tally:
            self._tally = counters
            self._report(link_reports.write_json(Report.TALLY, json.dumps(counters).encode()))

    def report_served(self):
        """Send SERVED, if there is anything to say and control wants to know."""
        cdef bytes packet = self._account.served() if self._account is not None else None
        if packet is not None:
            self._report(packet)

    cdef bint opened(
        self, Session s, bytes head, bint again, int64_t length, list lasts, bytes body, bint more
    ) except -1:
        if not self._greeted:
            return False
        self._report(link_reports.write_opened(s.ref, head, again, length, lasts, body, more))
        return True

    cdef Outcome received(self, Session s, int kind, object body, bint more) except Outcome.FAIL:
        return self._report(link_reports.write_received(s.ref, kind, body, more))

    cdef Outcome granted(self, Session s, uint32_t count) except Outcome.FAIL:
        return self._report(link_reports.write_granted(s.ref, count))

    cdef Outcome signalled(self, Session s, int what) except Outcome.FAIL:
        return self._report(link_reports.write_signalled(s.ref, what))

    cdef Outcome lost(self, Session s, int reason, int code) except Outcome.FAIL:
        return self._report(link_reports.write_closed(s.ref, reason, code, b""))

    cdef Outcome freed(self, list pairs) except Outcome.FAIL:
        for channel, modes in pairs:
            self._report(link_reports.write_freed(channel, modes, self._orders))
        return Outcome.DONE

    cdef Outcome letting_go(self, Session s) except Outcome.FAIL:
        return self._touch(self._roster.table.held(s.slot))

    cdef Outcome left(self, Session s) except Outcome.FAIL:
        return self._report(link_reports.write_left(s.ref))

    cdef Outcome item_begins(self) except Outcome.FAIL:
        return self._account.begin_item()

    cdef Outcome item_ends(self, Message m) except Outcome.FAIL:
        cdef bytes packet = self._account.end_item(m)
        return self._report(packet) if packet is not None else Outcome.DONE

    cdef Outcome _touch(self, list channels) except Outcome.FAIL:
        # Counted once a turn, however often they change in it.
        if channels and not self._account.touched:
            self._loop.call_soon(self.report_counts)
        return self._account.touch(channels)

    def report_counts(self):
        """Report how many sessions hold the channels that were touched in this turn."""
        if self._account is not None:
            for packet in self._account.counted():
                self._report(packet)

    cdef Outcome parted(self, Session s, bytes context) except Outcome.FAIL:
        return self._report(link_reports.write_closed(s.ref, s._reason, 0, context))

    cdef bint lapsed(self, Session s, int why, list lasts, bytes context) except -1:
        if not self._greeted:
            return False
        self._report(link_reports.write_lapsed(s.ref, why, lasts, context))
        return True

    cdef bint met(self, uint32_t number, Message m, list groups) except -1:
        cdef list contents
        if not self._greeted:
            return False
        contents = [
            (mode, m.content(mode)) for mode in sorted({group[0] for group in groups})
            if m.action(mode) == Action.SEND
        ]
        self._report(link_reports.write_met(number, m.channel, m.id, m.meta, contents, groups))
        return True

    cdef list recalling(self, Session s):
        return self._fanout.inquiry.recall(s)

    cdef Outcome resumed(self, Session s, list waited) except Outcome.FAIL:
        return self._fanout.give(s, waited)
