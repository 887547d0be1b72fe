"""What becomes of a WebSocket, in words (for `fanway explain`): its handshake, its first messages.

Pure: the decisions are those of `handshake`, `wscalls` and `wsgrip`, here they are told. The
numbers in brackets are sections of GRIP.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from control.explain import Verdict, header_lines
from control.grip import wscontrol
from control.grip.extension import as_written
from control.grip.fields import Headers, first, split_all, to_text
from control.grip.instruct import FILTERS_MAX
from control.grip.wscontrol import parse_control
from control.grip.wsevents import CONTENT_TYPE, Event, EventType
from control.handshake import decide_acceptance, decide_offer
from control.link.packets import Kind, Opened
from control.rewrite import Matched
from control.routes import Route, Target
from control.wscalls import fault_of, keep_alive_seconds, metas_set
from control.wsgrip import CONTROL_PREFIX, for_client, is_control

TEXT_SHOWN_BYTES = 200  # of one message
PROTOCOL = b"sec-websocket-protocol"


class Said(NamedTuple):
    """A message of an origin, or the beginning of one."""

    event: Event
    is_whole: bool = True  # it came in one frame


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What an origin has answered to a handshake that it accepts, and what it said next."""

    target: Target
    headers: Headers
    said: Sequence[Said]
    fault: str = ""  # why it cannot be listened to any more


def explain_waiting(seconds: int) -> Verdict:
    """Tell of an origin that lets its client wait."""
    why = f"no event yet, but a Keep-Alive-Interval: OPEN is said again every {seconds} s (4.3)"
    return Verdict("left waiting", [why])


def explain_refusal(target: Target, status: int, client: list[str]) -> Verdict:
    """Tell of an answer that is no acceptance; `client` are its lines."""
    why = "it has not switched protocols: its answer is the client's (5.1)"
    if target.over_http and status == 200:
        why = f"its Content-Type is not exactly {CONTENT_TYPE.decode()} (4.3)"
    elif target.over_http:
        why = "its status is not 200: its answer is the client's (4.3)"
    return Verdict(f"refused with {status}", [why], client, is_refused=True)


def explain_acceptance(
    matched: Matched, opened: Opened, acceptance: Acceptance, *, channels_max: int
) -> Verdict:
    """Tell what the proxy does with a WebSocket that an origin accepts."""
    told, prefix = decide_acceptance(
        acceptance.headers,
        is_trusted=matched.is_trusted,
        offers_grip=decide_offer(matched, opened.headers),
    )
    what = "accepted, in GRIP mode"
    if prefix is None:
        is_theirs = as_written(told) is not None
        what = "accepted, " + ("GRIP is the client's" if is_theirs else "messages pass as they are")
    target = acceptance.target
    why = [
        "it has answered OPEN by OPEN (4.3)" if target.over_http else "it has answered 101 (5.1)",
        _about_extension(matched, opened, acceptance.headers, told, prefix),
        *_about_protocol(opened, told),
        *(_about_requests(acceptance.headers) if target.over_http else ()),
    ]
    talk = _Talk(matched.route, target.sub, prefix, channels_max)
    for said in acceptance.said:
        if not talk.is_over:
            talk.hear(said)
    if acceptance.fault and not talk.is_over:
        talk.cut_off(acceptance.fault)
    client = ["101 Switching Protocols", *header_lines(told), "", *talk.client]
    return Verdict(what, [*why, *talk.summed_up()], client)


def shown(event: Event) -> str:
    """An event in one line."""
    if event.type is EventType.CLOSE:
        reason = event.close_reason.decode("utf-8", "backslashreplace")
        return f"CLOSE {event.close_code or ''} {reason}".rstrip()
    content = event.content[:TEXT_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    more = f" … ({len(event.content)} bytes)" if len(event.content) > TEXT_SHOWN_BYTES else ""
    return f"{event.type.name} {content}{more}".rstrip()


def _about_extension(
    matched: Matched, opened: Opened, headers: Headers, told: Headers, prefix: bytes | None
) -> str:
    if matched.route.no_grip:
        return "the route has no_grip: the extension is not offered (5.2)"
    if matched.is_trusted:
        proxy = "the client is a GRIP proxy, trusted by upstream_key"
        if not decide_offer(matched, opened.headers):
            return f"{proxy}, but does not offer the grip extension (6.4)"
        if as_written(told) is None:
            return f"{proxy}, but the origin does not agree to the grip extension (5.2)"
        return f"{proxy}: it is given the grip extension, and every message as it is (5.2, 6.4)"
    if as_written(headers) is None:
        return "it does not agree to the grip extension: it cannot subscribe its clients (5.2)"
    if prefix is None:
        return "the parameters of its grip extension cannot be read: it counts as absent (5.2)"
    if not prefix:
        return "it agrees to the grip extension, without prefix: all but c: is the client's (5.3)"
    begin = f"what begins with {to_text(prefix)!r}"
    return f"it agrees to the grip extension: {begin} is the client's, without it (5.3)"


def _about_protocol(opened: Opened, told: Headers) -> Iterator[str]:
    chosen = first(told, PROTOCOL)
    if chosen is not None:
        is_asked_for = chosen in split_all(opened.headers, PROTOCOL)
        fault = "" if is_asked_for else ", which the client has not asked for: it will not have it"
        yield f"its sub-protocol is {to_text(chosen)!r}{fault} (4.3)"


def _about_requests(headers: Headers) -> Iterator[str]:
    seconds = keep_alive_seconds(headers)
    if seconds:
        yield f"it is asked again after {seconds} s of silence: Keep-Alive-Interval, min. 20 (4.8)"
    else:
        yield "there is no Keep-Alive-Interval: it is asked when the client says something (4.8)"
    for name, value in metas_set(headers):
        if value:
            yield f"each request has {to_text(name)}: {to_text(value)} (4.2)"


class _Talk:
    """What an origin says, message by message."""

    def __init__(
        self, route: Route, implicit: Sequence[str], prefix: bytes | None, channels_max: int
    ) -> None:
        self._route = route
        self._implicit = implicit
        self._prefix = prefix
        self._channels_max = channels_max
        self._channels = [*implicit]
        self._why = [f"on channel {name!r} by sub= of the target (7.5)" for name in implicit]
        self.client: list[str] = []
        self.is_over = False

    def summed_up(self) -> list[str]:
        """Give the reasons."""
        why = list(self._why)
        if self._route.prefix and self._channels:
            why.append(f"{self._route.prefix!r} is the prefix of its route (7.2)")
        if not self._channels:
            why.append("on no channel: nothing can be published to it (5.4)")
        return why

    def hear(self, said: Said) -> None:
        """Take the next message."""
        event = said.event
        if event.type in (EventType.OPEN, EventType.DISCONNECT):
            self.cut_off(f"it says {event.type.name}")
        elif event.type is EventType.CLOSE:
            self.is_over = True
            self.client.append(shown(event))
        elif said.is_whole and (fault := fault_of(event)):
            self.cut_off(fault)
        elif event.type in (EventType.PING, EventType.PONG):
            self.client.append(shown(event))
        else:
            self._judge(event, is_whole=said.is_whole)

    def cut_off(self, fault: str) -> None:
        """End without a close frame."""
        self.is_over = True
        self._why.append(f"the client is cut off: {fault} (4.5, 5.5)")

    def _judge(self, event: Event, *, is_whole: bool) -> None:
        kind = Kind.TEXT if event.type is EventType.TEXT else Kind.BINARY
        if is_control(self._prefix, kind, event.content):
            text = event.content[len(CONTROL_PREFIX) :]
            self._why.append(self._control(text) if is_whole else _ignored("it is not one frame"))
            return
        content = for_client(self._prefix, event.content)
        if content is None:
            without = f"a {event.type.name} without {to_text(self._prefix or b'')!r}"
            self._why.append(f"{without} is dropped: {shown(event)} (5.3)")
        else:
            self.client.append(shown(Event(event.type, content)))

    def _control(self, text: bytes) -> str:
        try:
            message = parse_control(text)
        except ValueError as error:
            return _ignored(str(error))
        match message:
            case wscontrol.Subscribe():
                return self._subscribe(message)
            case wscontrol.Unsubscribe():
                return self._unsubscribe(self._route.prefix + message.channel)
            case wscontrol.SetMeta(value=None):
                return f"what filters know as {message.name!r} is forgotten (5.4)"
            case wscontrol.SetMeta():
                return f"filters know {message.name!r} as {message.value!r} (5.4)"
            case wscontrol.KeepAlive(content=b""):
                return "no keep-alive is sent (5.4)"
            case wscontrol.KeepAlive():
                pace = "of silence" if message.mode.value == "idle" else "whatever else is sent"
                content = message.content.decode("utf-8", "backslashreplace")
                seconds = message.timeout_seconds
                return f"keep-alive {content!r} every {seconds} s {pace} (5.4)"
            case wscontrol.SendDelayed():
                content = message.content.decode("utf-8", "backslashreplace")
                return f"{content!r} is sent after {message.timeout_seconds} s (5.4)"
            case wscontrol.FlushDelayed():
                return "a message that was to be sent later is sent now (5.4)"
            case wscontrol.Detach():
                self.is_over = True
                return "the client stays, and its origin is asked no more: detach (5.4)"

    def _subscribe(self, message: wscontrol.Subscribe) -> str:
        name = self._route.prefix + message.channel
        if len(message.filters) > FILTERS_MAX:
            self.is_over = True
            self.client.append(shown(Event.close(1011)))
            return f"{len(message.filters)} filters for {name!r}, more than {FILTERS_MAX} (5.4)"
        if name not in self._channels:
            if len(self._channels) >= self._channels_max:
                return f"channel {name!r} is ignored: connection_subscription_max (8.7)"
            self._channels.append(name)
        filters = f", filters {', '.join(message.filters)} (3)" if message.filters else ""
        return f"on channel {name!r} by a control message (5.4){filters}"

    def _unsubscribe(self, name: str) -> str:
        if name in self._implicit:
            return f"channel {name!r} is kept: it is a sub= of the target (7.5)"
        if name not in self._channels:
            return f"it leaves {name!r}, on which it is not (5.4)"
        self._channels.remove(name)
        return f"no longer on channel {name!r} (5.4)"


def _ignored(why: str) -> str:
    return f"a control message is ignored: {why} (5.4)"
