"""The holding half of an HTTP session (floor 3).

A hold begins with an order of control and ends with a message, its time, a close, or its client.
A stream with a link to follow lapses when it has a gap: its messages then wait here, in the order
they came, until control has brought the missing ones and lets it hold again. Nothing is read
from a client here, and what a message or a context means is control's.
"""

cimport cython

from fastpath.frame cimport HeldResponse, KeepAlive, Message, held_frame
from fastpath.http_answer cimport PLAIN_TEXT, HttpAnswer, HttpState
from fastpath.http_reader cimport Request
from fastpath.http_wire cimport LAST_CHUNK
from fastpath.limits cimport QUEUE_MAX
from fastpath.link_orders cimport HoldOrder
from fastpath.link_wire cimport Why
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.row cimport RowFlag
from fastpath.session cimport now_ms
from fastpath.table cimport HoldTable
from fastpath.tally cimport Counter
from fastpath.variants cimport Mode, Variant

cdef enum:
    CONTEXT_HAS_LINK = 1       # bit 0 of a context's first byte


@cython.final
cdef class Trail:
    """What control wants back of a hold."""

    def __init__(self, bytes context, uint32_t link_ms, bint watched):
        self.context = context
        self.link_ms = link_ms
        self.watched = watched

    cdef bint leads_on(self) noexcept:
        return len(self.context) > 0 and self.context[0] & CONTEXT_HAS_LINK


cdef class HttpHold(HttpAnswer):
    """What is held for an HTTP client."""

    cdef Outcome set_state(self, int new) except Outcome.FAIL:
        cdef int old = self._state
        cdef Trail trail = self._trail
        HttpAnswer.set_state(self, new)
        if old == new or not is_hold(old) or is_hold(new):
            return Outcome.DONE
        self._roster.upstream.recalling(self)  # what control will say of them is for nobody
        if trail is None:
            return Outcome.DONE
        self._trail = None
        self._roster.links.disarm(self.slot)
        if trail.watched:
            self._roster.upstream.parted(self, trail.context)
        return Outcome.DONE

    # -- beginning --------------------------------------------------------------------------------

    cdef Outcome hold(
        self, HoldOrder order, object response, object keep_alive
    ) except Outcome.FAIL:
        cdef bint answered = order.answered
        cdef bint response_mode = order.mode == Mode.MODE_RESPONSE
        cdef Request asked = self.handshake()
        if self._state == HttpState.HELD_STREAM and answered and not response_mode:
            return self._hold_on(order, keep_alive)
        if (
            self._state != (HttpState.ANSWERING if answered else HttpState.ASKED)
            # Nothing can follow a body of known size.
            or (answered and (response_mode or (self._sized and not self._head_only)))
            or (asked is not None and asked.websocket_key is not None)
        ):
            self._not_held(order)
            return self.end(Reason.ORDER_REFUSED)
        if self._eof:
            self._not_held(order)
            return self.end(Reason.PEER_CLOSED)
        if not self._body_reported:
            self._keeps = False                # as in respond: the rest of the request is not read
        if response_mode:
            return self._hold_response(order, response)
        return self._hold_stream(order, response, keep_alive)

    cdef Outcome _not_held(self, HoldOrder order) except Outcome.FAIL:
        # The hold is over before it began; control has counted its channels as held here.
        cdef int mode = order.mode
        if order.watched:
            self._roster.upstream.parted(self, order.context)
        return self._roster.upstream.freed([
            (channel, mode) for channel, _, _ in order.channels
            if not self._roster.table.modes(channel) & mode
        ])

    cdef Outcome _hold_response(self, HoldOrder order, HeldResponse response) except Outcome.FAIL:
        self._held = response
        self._body = order.request_body
        self._hold_channels(order.channels, Variant.RESPONSE)
        self._take_trail(order)
        self.set_state(HttpState.HELD_RESPONSE)
        self.rest()
        return self._roster.arm(self.slot, now_ms() + order.timeout_ms)

    cdef Outcome _hold_stream(
        self, HoldOrder order, HeldResponse response, KeepAlive keep_alive
    ) except Outcome.FAIL:
        if not order.answered:
            self.begin(response.status, response.reason, response.headers, -1, response.body)
        if self._head_only:                    # HEAD: a stream of nothing
            self._not_held(order)
            if not order.answered:
                self.set_state(HttpState.ANSWERING)
            return self.settle()
        self._owed = 0
        self._head = None
        self._keep_alive = keep_alive
        self._hold_channels(order.channels, self._variant())
        self._take_trail(order)
        self.set_state(HttpState.HELD_STREAM)
        self._roster.rows[self.slot].sent_ms = now_ms()
        self.rest()
        return self.rearm()

    cdef Outcome _hold_on(self, HoldOrder order, KeepAlive keep_alive) except Outcome.FAIL:
        # The link has been followed: this hold replaces the one that lapsed.
        cdef HoldTable table = self._roster.table
        cdef Trail lapsed = self._trail
        cdef list freed = []
        cdef set kept = {channel for channel, _, _ in order.channels}
        if lapsed is None or not lapsed.followed:
            return self.end(Reason.ORDER_REFUSED)
        for channel in table.held(self.slot):
            if channel not in kept:            # the others move: nobody is told that they are free
                table.release_channel(self.slot, channel, freed)
        if freed:
            self._roster.upstream.freed(freed)
        self._owed = 0
        self._keep_alive = keep_alive
        self._hold_channels(order.channels, self._variant())
        self._take_trail(order)
        self._roster.rows[self.slot].sent_ms = now_ms()
        self.rearm()
        self._roster.upstream.resumed(self, lapsed.waiting)
        return self.lapse(None, Why.WHY_HINT) if lapsed.hinted else Outcome.DONE

    cdef Outcome _hold_channels(self, list channels, Variant v) except Outcome.FAIL:
        cdef bytes channel, prev_id, traits
        for channel, prev_id, traits in channels:
            self._roster.table.hold(channel, v, self.slot, prev_id, traits or None)
        return Outcome.DONE

    cdef Outcome _take_trail(self, HoldOrder order) except Outcome.FAIL:
        self._trail = None
        self._roster.links.disarm(self.slot)
        if not order.context:
            return Outcome.DONE
        self._trail = Trail(order.context, order.link_ms, order.watched)
        self._trail.since_ms = now_ms()
        if order.link_ms:
            return self._roster.arm_link(self.slot, self._trail.since_ms + self._trail.link_ms)
        return Outcome.DONE

    cdef Variant _variant(self) noexcept:
        return Variant.STREAM_CHUNKED if self._chunked else Variant.STREAM_PLAIN

    # -- a response -------------------------------------------------------------------------------

    cdef Outcome answer(self, Message m) except Outcome.FAIL:
        if self._state != HttpState.HELD_RESPONSE:
            return Outcome.DONE                # another channel's message came first in this turn
        self._roster.tally.add(Counter.DELIVERED_RESPONSE, 1)
        return self._answer_held(
            m.response_frame(self._held, self._minor, self._keeps, self._head_only), True
        )

    cdef Outcome answer_timeout(self) except Outcome.FAIL:
        return self._answer_held(
            held_frame(self._held, self._minor, self._keeps, self._head_only), False
        )

    cdef Outcome _answer_held(self, bytes frame, bint by_item) except Outcome.FAIL:
        if self._roster.routes is not None:
            self._roster.routes.answered(self._roster.rows[self.slot].route, frame, by_item)
        self.let_go()
        self._roster.wheel.disarm(self.slot)
        self._roster.queue(self.slot, frame)
        return self.settle()

    cdef Outcome ask_again(self) except Outcome.FAIL:
        cdef list lasts
        cdef bytes body = self._body
        if self._state == HttpState.HELD_STREAM:
            return self.lapse(None, Why.WHY_ASKED)
        if self._state != HttpState.HELD_RESPONSE:
            return Outcome.DONE
        self._roster.upstream.recalling(self)
        lasts = self._roster.table.lasts(self.slot)
        self.let_go()
        self._roster.wheel.disarm(self.slot)
        self._held = None
        self._body = None
        self._roster.tally.add(Counter.ASKED_AGAIN, 1)
        self.set_state(HttpState.ASKED)
        self.read_kept()                       # before what comes from now on
        if not self._roster.upstream.opened(self, self._head, True, len(body), lasts, body, False):
            return self.refuse(Reason.LINK_LOST, None)
        return Outcome.DONE

    # -- a stream ---------------------------------------------------------------------------------

    cdef Outcome finish_stream(self, int reason) except Outcome.FAIL:
        if self._state != HttpState.HELD_STREAM:
            return Outcome.DONE
        self.let_go()
        if self._chunked:
            self._roster.queue(self.slot, LAST_CHUNK)
        return self.settle()

    cdef Outcome lapse(self, Message m, int why) except Outcome.FAIL:
        cdef Trail trail = self._trail
        cdef Message recalled
        if self._state != HttpState.HELD_STREAM or trail is None or not trail.leads_on():
            return Outcome.DONE
        if trail.followed:
            trail.hinted |= why == Why.WHY_HINT
            return self.wait(m)
        trail.followed = True
        trail.waiting = []
        for recalled in self._roster.upstream.recalling(self):
            self.wait(recalled)
        self._owed = 0                         # credit for the page starts anew
        self._roster.links.disarm(self.slot)
        self._roster.table.turn(self.slot, Variant.STREAM_WAITING)
        self._roster.tally.add(Counter.ASKED_AGAIN, 1)
        self.wait(m)
        return self._report_lapse(why)

    cdef Outcome _report_lapse(self, int why) except Outcome.FAIL:
        # With nobody there it waits on: link_resumed() says it again.
        self._roster.upstream.lapsed(
            self, why, self._roster.table.lasts(self.slot), self._trail.context
        )
        return Outcome.DONE

    cdef Outcome wait(self, Message m) except Outcome.FAIL:
        cdef Trail trail = self._trail
        if m is None or trail is None or not trail.followed:
            return Outcome.DONE
        if len(trail.waiting) >= QUEUE_MAX:
            self._roster.tally.add(Counter.DROPPED_QUEUE, 1)
        else:
            trail.waiting.append(m)
        return Outcome.DONE

    cdef Outcome link_due(self, uint64_t now) except Outcome.FAIL:
        # Its time is over; where every channel has had a message since, it is put off once more.
        cdef Trail trail = self._trail
        if trail is None or trail.followed or trail.link_ms == 0:
            return Outcome.DONE
        if self._roster.table.delivered_ms(self.slot) > trail.since_ms:
            trail.since_ms = now
            return self._roster.arm_link(self.slot, now + trail.link_ms)
        return self.lapse(None, Why.WHY_TIMEOUT)

    cdef Outcome send(self, int kind, bytes body, bint more) except Outcome.FAIL:
        # The body of a page, while control follows the link.
        if self._state != HttpState.HELD_STREAM:
            return HttpAnswer.send(self, kind, body, more)
        if self._trail is None or not self._trail.followed:
            return self.end(Reason.ORDER_REFUSED)
        self._trail.paged = True
        self._roster.wheel.disarm(self.slot)   # no keep-alive inside a page
        self._roster.queue(self.slot, self.piece(body))
        if not more:
            return self.finish_stream(Reason.ORDERED)
        self._owed += <uint32_t> len(body)
        self._roster.rows[self.slot].flags |= RowFlag.TELL
        return self._roster.touch(self.slot)

    cdef Outcome send_keep_alive(self, uint64_t now) except Outcome.FAIL:
        cdef KeepAlive keep_alive = self._keep_alive
        cdef uint64_t quiet_since = self._roster.rows[self.slot].sent_ms
        if keep_alive.idle and quiet_since + keep_alive.interval_ms > now:
            return self._roster.arm(self.slot, quiet_since + keep_alive.interval_ms)
        self._roster.kept_alive(self.slot, len(keep_alive.content))
        self._roster.rows[self.slot].sent_ms = now
        self._roster.queue(self.slot, keep_alive.chunked() if self._chunked else keep_alive.content)
        return self._roster.arm(self.slot, now + keep_alive.interval_ms)

    # -- ending -----------------------------------------------------------------------------------

    cdef Outcome forget_hold(self) except Outcome.FAIL:
        self._owed = 0
        self._held = None
        self._keep_alive = None
        self._head = None
        self._body = None
        return Outcome.DONE

    cdef Outcome link_lost(self) except Outcome.FAIL:
        # Half a page cannot be continued: the client is to connect again.
        if self._trail is not None and self._trail.followed and self._trail.paged:
            self.let_go()
            return self.cut_short(Reason.LINK_LOST)
        return HttpAnswer.link_lost(self)

    cdef Outcome link_resumed(self) except Outcome.FAIL:
        if self._trail is not None and self._trail.followed:
            return self._report_lapse(Why.WHY_ASKED)
        return Outcome.DONE

    cdef Outcome fail(self, bytes why) except Outcome.FAIL:
        # A filter failed, and the route says so to its clients (GRIP.md 3.3).
        if self._state == HttpState.HELD_RESPONSE:
            self.let_go()
            self._roster.wheel.disarm(self.slot)
            self.begin(502, b"Bad Gateway", PLAIN_TEXT, len(why), why)
            return self.settle()
        if self._state != HttpState.HELD_STREAM:
            return Outcome.DONE
        self._roster.queue(self.slot, self.piece(why))
        return self.finish_stream(Reason.INTERNAL)

    # -- the reading half supplies ----------------------------------------------------------------

    cdef Outcome rest(self) except Outcome.FAIL:
        raise NotImplementedError

    cdef Outcome read_kept(self) except Outcome.FAIL:
        raise NotImplementedError


cdef bint is_hold(int state) noexcept nogil:
    return state == HttpState.HELD_RESPONSE or state == HttpState.HELD_STREAM
