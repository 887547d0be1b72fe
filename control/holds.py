"""From an instruct that holds to the order that does it.

The `decide_…` functions are pure; `hold` is the one step in which last ids are compared, interest
is marked and HOLD is written (fastpath/LINK.md, invariant 3). Never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from control.errors import InstructError
from control.grip.fields import to_bytes
from control.grip.instruct import HoldMode, Instruct, KeepAliveMode
from control.grip.traits import make_traits
from control.house import House
from control.link import codec
from control.link.packets import KeepAlive, Mode
from control.link.server import Link
from control.links import Context, Home, decide_new_conflicts, resolve
from control.routes import Route

HOLD_MODES = {HoldMode.RESPONSE: Mode.RESPONSE, HoldMode.STREAM: Mode.STREAM}
KEEP_ALIVE_MODES = {KeepAliveMode.IDLE: KeepAlive.IDLE, KeepAliveMode.INTERVAL: KeepAlive.INTERVAL}

Channels = Sequence[tuple[str, str | None]]  # (full name, prev-id)


def decide_channels(
    instruct: Instruct, prefix: str, channels_max: int, implicit: Sequence[str] = ()
) -> Channels:
    """Name the channels to hold; what is over the limit is cut off the end (GRIP.md 8.7).

    `implicit` are those of the target, which have no prefix (7.5).
    """
    channels = [(name, None) for name in implicit]
    return [*channels, *((prefix + c.name, c.prev_id) for c in instruct.channels)][:channels_max]


def decide_conflicts(channels: Channels, last_id: Callable[[str], str | None]) -> list[str]:
    """Find the channels on which something has been published since the origin looked (1.8)."""
    return [
        name
        for name, prev_id in channels
        if prev_id is not None and last_id(name) not in (None, prev_id)
    ]


def decide_end(instruct: Instruct, channels: Channels) -> str | None:
    """Say why a stream ends after its body: a gap could not be closed (GRIP.md 1.7)."""
    if instruct.mode is HoldMode.STREAM and instruct.next_link is None:
        for name, prev_id in channels:
            if prev_id is not None:
                return f"channel '{name}' specifies prev-id, but no next link found"
    return None


def decide_debug(instruct: Instruct, channels: Channels, next_uri: str | None) -> bytes:
    """Describe a hold for whom `debug` tells of it, as the value of `Grip-Debug`.

    A list, as other Grip headers are; what is not plain in a header is percent-encoded.
    """
    if instruct.mode is None:
        return b"hold=none"
    items = [f"hold={instruct.mode.value}"]
    if instruct.mode is HoldMode.RESPONSE:
        items[0] += f"; timeout={instruct.timeout_seconds}"
    items += [
        f"channel={_plain(name)}" + ("" if prev_id is None else f"; prev-id={_plain(prev_id)}")
        for name, prev_id in channels
    ]
    if instruct.mode is HoldMode.STREAM and instruct.keep_alive:
        alive = instruct.keep_alive
        items.append(f"keep-alive={alive.mode.value}; timeout={alive.timeout_seconds}")
    if instruct.mode is HoldMode.STREAM and instruct.next_link:
        items.append(f"next={next_uri}; timeout={instruct.next_link.timeout_seconds}")
    return ", ".join(items).encode()


def _plain(text: str) -> str:
    return quote(to_bytes(text), safe="!$&'()*+/:@")


def decide_traits(
    instruct: Instruct,
    channels: Channels,
    *,
    prefix: str,
    home: Home,
    current_uri: str,
    is_debug: bool,
) -> dict[str, bytes]:
    """Say for each channel that has filters what they read of this session (GRIP.md 3.2).

    InstructError if it is too much to carry.
    """
    names = [name.removeprefix(prefix) for name, _ in channels]
    origin = filter_origin(home, current_uri, instruct.meta)
    return {
        prefix + channel.name: make_traits(
            channel.filters, instruct.meta, names, prefix=prefix, origin=origin, is_debug=is_debug
        )
        for channel in instruct.channels
        if channel.filters
    }


def filter_origin(home: Home, current_uri: str, meta: Mapping[str, str]) -> tuple[str, ...]:
    """Say where network filters are asked: the route, and the URI that the metadata names."""
    try:
        url = resolve(current_uri, meta["url"]) if meta.get("url") else ""
    except InstructError:
        url = ""
    return (*home.texts(), url)


def decide_hold(
    ref: int,
    instruct: Instruct,
    channels: Channels,
    *,
    traits: Mapping[str, bytes],
    context: Context,
    request_body: bytes,
    is_answered: bool,
    route_number: int,
) -> bytes:
    """Make the HOLD order of an instruct that holds."""
    assert instruct.mode is not None
    is_stream = instruct.mode is HoldMode.STREAM
    alive = instruct.keep_alive if is_stream else None
    response = instruct.response
    link = instruct.next_link if is_stream else None
    tracks = link is not None or not is_stream
    return codec.hold(
        ref,
        mode=HOLD_MODES[instruct.mode],
        channels=[
            (
                to_bytes(name),
                to_bytes(prev_id) if tracks and prev_id is not None else None,
                traits.get(name, b""),
            )
            for name, prev_id in channels
        ],
        timeout_ms=0 if is_stream else instruct.timeout_seconds * 1000,
        keep_alive_mode=KEEP_ALIVE_MODES[alive.mode] if alive else KeepAlive.NONE,
        keep_alive_ms=alive.timeout_seconds * 1000 if alive else 0,
        keep_alive=alive.content if alive else b"",
        answered=is_answered,
        status=0 if is_answered else response.status,
        reason=b"" if is_answered else response.reason,
        headers=() if is_answered else response.headers,
        body=b"" if is_answered else response.body,
        request_body=b"" if is_stream else request_body,
        # No timeout is 0 on the link; one of 0 seconds is to be asked again and again.
        link_ms=max(link.timeout_seconds * 1000, 1) if link else 0,
        watched=context.gone_uri is not None,
        context=context.encode(),
        route=route_number,
    )


def hold(
    house: House,
    link: Link,
    ref: int,
    instruct: Instruct,
    *,
    route: Route,
    context: Context,
    current_uri: str,
    followed: frozenset[str] = frozenset(),
    is_answered: bool = False,
    request_body: bytes = b"",
) -> None:
    """Hold a session. One step: nothing can be published between check, mark and HOLD.

    `followed` are the channels whose items have been waiting for it. A stream for which something
    else may have been published meanwhile follows its link at once (GRIP.md 1.9.2). InstructError,
    before anything has been done, if it cannot be held.
    """
    assert instruct.mode is not None
    channels = decide_channels(instruct, route.prefix, house.channels_max, context.implicit)
    traits = decide_traits(
        instruct,
        channels,
        prefix=route.prefix,
        home=context.home,
        current_uri=current_uri,
        is_debug=house.is_debug or route.debug,
    )
    order = decide_hold(
        ref,
        instruct,
        channels,
        traits=traits,
        context=context,
        request_body=request_body,
        is_answered=is_answered,
        route_number=house.route_numbers.of(route),
    )
    number = link.order(order)
    for name, _ in channels:
        house.interest.mark(link.worker, name, HOLD_MODES[instruct.mode], number)
    if context.next_uri is not None and decide_new_conflicts(
        channels, followed, house.sequencer.last_id
    ):
        link.order(codec.release(ref))
