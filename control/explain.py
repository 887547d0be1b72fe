"""Why an origin's answer is held, passed on or refused, in words (for `fanway explain`).

Pure: the decisions are those of `exchange`, here they are told. The numbers in brackets are
sections of GRIP.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from control import reasons
from control.errors import InstructError
from control.exchange import InstructTooLarge, decide_context, decide_refusal
from control.grip.fields import Headers
from control.grip.headers import to_client
from control.grip.instruct import (
    GRIP_BODY_MAX_BYTES,
    HOLD_TIMEOUT_MIN_SECONDS,
    HoldMode,
    Instruct,
    is_grip,
    is_json,
)
from control.holds import Channels, decide_channels, decide_end
from control.link.packets import Opened
from control.reasons import Refusal
from control.rewrite import Matched
from control.routes import Target

SIGNATURE_SHOWN_CHARS = 12  # of a token


@dataclass(frozen=True, slots=True)
class Answer:
    """What an origin has said: the head, and as much of the body as has been read."""

    target: Target
    status: int
    reason: bytes
    headers: Headers
    body: bytes
    is_whole: bool  # of at most GRIP_BODY_MAX_BYTES


@dataclass(slots=True)
class Verdict:
    """What becomes of an answer, and why."""

    what: str
    why: list[str] = field(default_factory=list)
    client: list[str] = field(default_factory=list)  # what the client is sent, line by line
    is_refused: bool = False


def explain(
    matched: Matched, opened: Opened, answer: Answer, *, channels_max: int, is_debug: bool
) -> Verdict:
    """Tell what the proxy does with an answer."""
    if reason := _why_not_grip(matched, answer):
        headers = to_client(answer.headers)
        client = response_lines(answer.status, answer.reason, headers, answer.body)
        return Verdict("passed on as it is", [reason], client)
    if opened.length > GRIP_BODY_MAX_BYTES:
        why = f"instructs to requests of more than {GRIP_BODY_MAX_BYTES} bytes are refused (1.11)"
        refusal = reasons.REQUEST_TOO_LARGE_FOR_GRIP
        return Verdict("refused with 400", [why], told(refusal), is_refused=True)
    try:
        return _follow(matched, answer, _instruct(answer), channels_max)
    except InstructError as error:
        return _refused(error, is_debug=is_debug)


def told(refusal: Refusal) -> list[str]:
    """An answer of the proxy's own, line by line."""
    return [f"{refusal.status} {refusal.phrase}", "", refusal.text.rstrip("\n")]


def _refused(error: InstructError, *, is_debug: bool) -> Verdict:
    why = [f"invalid instruct: {error} (1.13)"]
    if not is_debug:
        why.append("clients are told the reason only with debug, of the route or the settings")
    refusal = decide_refusal(error, is_debug=is_debug)
    return Verdict(f"refused with {refusal.status}", why, told(refusal), is_refused=True)


def _why_not_grip(matched: Matched, answer: Answer) -> str:
    if matched.route.no_grip:
        return "the route has no_grip: instructs are not followed (1.1)"
    if matched.is_trusted:
        return "the client is a GRIP proxy, trusted by upstream_key: it holds, not we (6.4)"
    if not is_grip(answer.headers):
        return (
            "no header begins with Grip-, and Content-Type is not application/grip-instruct (1.1)"
        )
    return ""


def _instruct(answer: Answer) -> Instruct:
    if answer.is_whole:
        return Instruct.from_response(answer.status, answer.reason, answer.headers, answer.body)
    instruct = Instruct.from_head(answer.status, answer.reason, answer.headers)
    if is_json(answer.headers) or not instruct.streams_body:
        raise InstructTooLarge(str(answer.target))
    return instruct


def _follow(matched: Matched, answer: Answer, instruct: Instruct, channels_max: int) -> Verdict:
    route, response = matched.route, instruct.response
    form = "its body is the instruct (1.5)" if is_json(answer.headers) else "Grip- headers (1.4)"
    channels = decide_channels(instruct, route.prefix, channels_max, answer.target.sub)
    context = decide_context(instruct, matched, answer.target)
    sent = response_lines(response.status, response.reason, response.headers, response.body)
    why = [f"it instructs: {form}"]
    ends = decide_end(instruct, channels)
    if ends:
        why.append(f"{ends}: without one a gap could not be closed (1.7)")
        return Verdict("answered, and the stream ends", why, sent)
    if context.gone_uri is not None:
        why.append(f"{context.gone_uri} is told when this is over (1.9)")
    if instruct.mode is None and context.next_uri is not None:
        why.append(f"there is no Grip-Hold: {context.next_uri} is asked for what follows (1.9)")
        return Verdict("answered, and continued", why, sent)
    if instruct.mode is None:
        why.append("there is no Grip-Hold: the answer is given without its Grip- headers (1.4)")
        return Verdict("answered at once", why, sent)
    why += _about_channels(matched, answer, instruct, channels)
    if instruct.mode is HoldMode.RESPONSE:
        why.append(
            f"Grip-Hold: response: the first publish answers it, or the time: "
            f"{instruct.timeout_seconds} s, at least {HOLD_TIMEOUT_MIN_SECONDS} (1.6)"
        )
        return Verdict("held, for one response", why, ["after the time:", *sent])
    why.append("Grip-Hold: stream: this is sent now, what is published follows (1.7)")
    if alive := instruct.keep_alive:
        content = alive.content.decode("utf-8", "backslashreplace")
        pace = "of silence" if alive.mode.value == "idle" else "whatever else is sent"
        why.append(f"keep-alive {content!r} every {alive.timeout_seconds} s {pace} (1.7)")
    if link := instruct.next_link:
        after = f"after a gap, a hint, or {link.timeout_seconds} s"
        why.append(f"{context.next_uri} is asked for what follows {after} (1.9)")
    return Verdict("held, as a stream", why, sent)


def _about_channels(
    matched: Matched, answer: Answer, instruct: Instruct, channels: Channels
) -> Iterator[str]:
    filters = {matched.route.prefix + c.name: c.filters for c in instruct.channels}
    for name, prev_id in channels:
        words = [f"on channel {name!r}"]
        if name in answer.target.sub:
            words.append("by sub= of the target (7.5)")
        if prev_id is not None:
            words.append(f"which must be at id {prev_id!r}, or the origin is asked again (1.8)")
        if filters.get(name):
            words.append(f"filters {', '.join(filters[name])} (3)")
        yield ", ".join(words)
    if matched.route.prefix:
        yield f"{matched.route.prefix!r} is the prefix of its route (7.2)"
    if not channels:
        yield "on no channel: nothing can be published to it (1.4)"
    cut = len(instruct.channels) + len(answer.target.sub) - len(channels)
    if cut > 0:
        yield f"{cut} more channels are ignored: connection_subscription_max (8.7)"


def response_lines(status: int, reason: bytes, headers: Headers, body: bytes) -> list[str]:
    """A response, line by line; of a long body only the beginning."""
    shown = body[:200].decode("utf-8", "backslashreplace")
    more = f" … ({len(body)} bytes)" if len(body) > 200 else ""
    head = f"{status} {reason.decode('utf-8', 'backslashreplace')}"
    return [head, *header_lines(headers), "", *f"{shown}{more}".splitlines()]


def header_lines(headers: Headers) -> list[str]:
    """Headers, line by line; of a signature only the beginning, since others could use it."""
    return [_header_line(*header) for header in headers]


def _header_line(raw_name: bytes, raw_value: bytes) -> str:
    name, value = (part.decode("utf-8", "backslashreplace") for part in (raw_name, raw_value))
    if name.lower() == "grip-sig":
        value = f"{value[:SIGNATURE_SHOWN_CHARS]}…"
    return f"{name}: {value}"
