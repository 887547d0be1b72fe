"""Python doors into the wires, for tests only: production never imports this.

A door takes the payload of one order, or the values of one report, and bears the name of what is
behind it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastpath cimport http_wire, limits, link_orders, link_reports, link_wire
from fastpath.link_wire cimport Kind, LinkStep, Order, Packet, Report, Signal
from fastpath.reasons cimport Reason
from fastpath.variants cimport Mode
from fastpath.view cimport View


cdef View view(bytes run) noexcept:
    cdef View v
    v.at = <const unsigned char*> PyBytes_AS_STRING(run)
    v.left = PyBytes_GET_SIZE(run)
    return v


# -- what both planes must agree on

def reports():
    return {
        "HELLO": Report.HELLO,
        "OPENED": Report.OPENED,
        "RECEIVED": Report.RECEIVED,
        "GRANTED": Report.GRANTED,
        "HELD": Report.HELD,
        "FREED": Report.FREED,
        "SIGNALLED": Report.SIGNALLED,
        "CLOSED": Report.CLOSED,
        "SYNCED": Report.SYNCED,
        "TALLY": Report.TALLY,
        "PONG": Report.PONG,
        "MET": Report.MET,
        "LAPSED": Report.LAPSED,
        "COUNTED": Report.COUNTED,
        "DELIVERED": Report.DELIVERED,
        "LEFT": Report.LEFT,
        "SERVED": Report.SERVED,
    }


def orders():
    return {
        "WELCOME": Order.WELCOME,
        "RESPOND": Order.RESPOND,
        "SEND": Order.SEND,
        "FINISH": Order.FINISH,
        "ACCEPT": Order.ACCEPT,
        "HOLD": Order.HOLD,
        "SUBSCRIBE": Order.SUBSCRIBE,
        "UNSUBSCRIBE": Order.UNSUBSCRIBE,
        "PUBLISH": Order.PUBLISH,
        "CLOSE": Order.CLOSE,
        "GRANT": Order.GRANT,
        "RELEASE": Order.RELEASE,
        "DRAIN": Order.DRAIN,
        "PING": Order.PING,
        "KEEP_ALIVE": Order.KEEP_ALIVE,
        "VERDICT": Order.VERDICT,
    }


def modes():
    return {"RESPONSE": Mode.MODE_RESPONSE, "STREAM": Mode.MODE_STREAM, "WS": Mode.MODE_WS}


def kinds():
    return {
        "BODY": Kind.KIND_BODY,
        "TEXT": Kind.KIND_TEXT,
        "BINARY": Kind.KIND_BINARY,
        "PING": Kind.KIND_PING,
        "PONG": Kind.KIND_PONG,
        "CLOSE": Kind.KIND_CLOSE,
    }


def signals():
    return {"REFRESH": Signal.REFRESH_ASKED, "CLOSED": Signal.CLOSE_PUBLISHED}


def reasons():
    return {
        "PEER_CLOSED": Reason.PEER_CLOSED,
        "PEER_RESET": Reason.PEER_RESET,
        "BAD_REQUEST": Reason.BAD_REQUEST,
        "HEAD_TOO_BIG": Reason.HEAD_TOO_BIG,
        "BODY_TOO_BIG": Reason.BODY_TOO_BIG,
        "HEAD_TIMEOUT": Reason.HEAD_TIMEOUT,
        "BAD_UPGRADE": Reason.BAD_UPGRADE,
        "BAD_FRAME": Reason.BAD_FRAME,
        "BAD_TEXT": Reason.BAD_TEXT,
        "MESSAGE_TOO_BIG": Reason.MESSAGE_TOO_BIG,
        "SLOW": Reason.SLOW,
        "IDLE": Reason.IDLE,
        "ORDERED": Reason.ORDERED,
        "PUBLISHED_CLOSE": Reason.PUBLISHED_CLOSE,
        "ORIGIN_FAILED": Reason.ORIGIN_FAILED,
        "LINK_LOST": Reason.LINK_LOST,
        "DRAINING": Reason.DRAINING,
        "ORDER_REFUSED": Reason.ORDER_REFUSED,
        "INTERNAL": Reason.INTERNAL,
    }


def link_limits():
    return {
        "LINK_VERSION": limits.LINK_VERSION,
        "LINK_HEADER_SIZE": limits.LINK_HEADER_SIZE,
        "LINK_PAYLOAD_MAX": limits.LINK_PAYLOAD_MAX,
        "LINK_WINDOW": limits.LINK_WINDOW,
        "FLAG_MORE": link_wire.FLAG_MORE,
    }


# -- orders

def read_packets(bytes run not None):
    """All packets of `run`: [(op, flags, ref, payload)], bytes taken, whether the next is bad."""
    cdef View v = view(run)
    cdef Packet p
    cdef LinkStep step = link_wire.link_read(&p, &v)
    packets = []
    while step == LinkStep.LINK_PACKET:
        packets.append((p.op, p.flags, p.ref, (<const char*> p.payload.at)[:p.payload.left]))
        step = link_wire.link_read(&p, &v)
    return packets, len(run) - v.left, step == LinkStep.LINK_BAD


def read_welcome(bytes payload not None):
    return link_orders.read_welcome(view(payload))


def read_respond(bytes payload not None):
    return link_orders.read_respond(view(payload))


def read_send(bytes payload not None):
    return link_orders.read_send(view(payload))


def read_accept(bytes payload not None):
    return link_orders.read_accept(view(payload))


def read_hold(bytes payload not None):
    cdef link_orders.HoldOrder o = link_orders.read_hold(view(payload))
    return (o.mode, o.timeout_ms, o.keep_alive_mode, o.keep_alive_ms, o.keep_alive, o.channels,
            o.answered, o.status, o.reason, o.headers, o.body, o.request_body, o.link_ms, o.watched,
            o.context, o.route)


def read_subscribe(bytes payload not None):
    return link_orders.read_subscribe(view(payload))


def read_verdict(bytes payload not None):
    return link_orders.read_verdict(view(payload))


def read_channel(bytes payload not None):
    return link_orders.read_channel(view(payload))


def read_publish(bytes payload not None):
    return link_orders.read_publish(view(payload))


def read_close(bytes payload not None):
    return link_orders.read_close(view(payload))


def read_grant(bytes payload not None):
    return link_orders.read_grant(view(payload))


def read_keep_alive(bytes payload not None):
    return link_orders.read_keep_alive(view(payload))


def read_bare(bytes payload not None):
    link_orders.read_bare(view(payload))


# The reader of each order's payload.
ORDER_READERS = {
    Order.WELCOME: read_welcome,
    Order.RESPOND: read_respond,
    Order.SEND: read_send,
    Order.FINISH: read_bare,
    Order.ACCEPT: read_accept,
    Order.HOLD: read_hold,
    Order.SUBSCRIBE: read_subscribe,
    Order.UNSUBSCRIBE: read_channel,
    Order.PUBLISH: read_publish,
    Order.CLOSE: read_close,
    Order.GRANT: read_grant,
    Order.RELEASE: read_bare,
    Order.DRAIN: read_bare,
    Order.PING: read_bare,
    Order.KEEP_ALIVE: read_keep_alive,
    Order.VERDICT: read_verdict,
}


# -- reports

def write_hello(pid, worker, resumed):
    return link_reports.write_hello(pid, worker, resumed)


def write_opened(
    ref, *, again, length, lasts, body, more, kind, minor, tls, peer, method, target, headers
):
    head = link_reports.opened_head(kind, minor, tls, peer, method, target, headers)
    return link_reports.write_opened(ref, head, again, length, lasts, body, more)


def write_received(ref, kind, body, more):
    return link_reports.write_received(ref, kind, body, more)


def write_granted(ref, count):
    return link_reports.write_granted(ref, count)


def write_held(channel, modes):
    return link_reports.write_held(channel, modes)


def write_freed(channel, modes, orders):
    return link_reports.write_freed(channel, modes, orders)


def write_signalled(ref, what):
    return link_reports.write_signalled(ref, what)


def write_closed(ref, reason, code, context=b""):
    return link_reports.write_closed(ref, reason, code, context)


def write_met(number, channel, item_id, meta, contents, groups):
    return link_reports.write_met(number, channel, item_id, meta, contents, groups)


def write_lapsed(ref, why, lasts, context):
    return link_reports.write_lapsed(ref, why, lasts, context)


def write_tally(json):
    return link_reports.write_json(Report.TALLY, json)


def write_served(json):
    return link_reports.write_json(Report.SERVED, json)


def write_counted(channel, responses, streams, websockets):
    return link_reports.write_counted(channel, responses, streams, websockets)


def write_delivered(channel, id, sizes, reached):
    return link_reports.write_delivered(channel, id, sizes, reached)


def write_left(ref):
    return link_reports.write_left(ref)


def write_bare(op):
    return link_reports.write_bare(op)


# -- HTTP

def head(minor, status, reason, headers, framing):
    return http_wire.head(minor, status, reason, headers, framing)


def chunk(content):
    return http_wire.chunk(content)


def last_chunk():
    return http_wire.LAST_CHUNK
