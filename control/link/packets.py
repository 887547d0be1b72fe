"""What is said on the link: its limits, its op codes, and the reports as values.

Names and numbers are those of fastpath/LINK.md, and of `fastpath/limits.pxd` and
`fastpath/link_wire.pxd`. Nothing here reads or writes a byte: that is `codec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple

LINK_VERSION = 1
LINK_HEADER_SIZE = 16
LINK_PAYLOAD_MAX = 4 * 1024 * 1024
LINK_WINDOW = 256 * 1024
FLAG_MORE = 1


class Report(IntEnum):
    """What a worker has seen or done."""

    HELLO = 0x01
    OPENED = 0x02
    RECEIVED = 0x03
    GRANTED = 0x04
    HELD = 0x05
    FREED = 0x06
    SIGNALLED = 0x07
    CLOSED = 0x08
    SYNCED = 0x09
    TALLY = 0x0A
    PONG = 0x0B
    MET = 0x0C
    LAPSED = 0x0D
    COUNTED = 0x0E
    DELIVERED = 0x0F
    LEFT = 0x10
    SERVED = 0x11


class Order(IntEnum):
    """What a worker is to do."""

    WELCOME = 0x41
    RESPOND = 0x42
    SEND = 0x43
    FINISH = 0x44
    ACCEPT = 0x45
    HOLD = 0x46
    SUBSCRIBE = 0x47
    UNSUBSCRIBE = 0x48
    PUBLISH = 0x49
    CLOSE = 0x4A
    GRANT = 0x4B
    RELEASE = 0x4C
    DRAIN = 0x4D
    PING = 0x4E
    KEEP_ALIVE = 0x4F
    VERDICT = 0x50


class Kind(IntEnum):
    """What the bytes of RECEIVED and SEND are."""

    BODY = 0
    TEXT = 1
    BINARY = 2
    PING = 3
    PONG = 4
    CLOSE = 5


class Mode(IntFlag):
    """How a channel is held; HELD and FREED carry a set of these."""

    RESPONSE = 1
    STREAM = 2
    WS = 4


class KeepAlive(IntEnum):
    """When a stream hold, or a WebSocket, is sent its keep-alive."""

    NONE = 0
    IDLE = 1
    INTERVAL = 2


class FormatKind(IntEnum):
    """For which kind of subscriber a format is."""

    HTTP_RESPONSE = 1
    HTTP_STREAM = 2
    WS_MESSAGE = 3


class Action(IntEnum):
    """What a format asks to be done with its subscribers."""

    SEND = 0
    HINT = 1
    CLOSE = 2
    REFRESH = 3


class Lapse(IntEnum):
    """Why a stream hold has lapsed."""

    GAP = 1
    HINT = 2
    TIMEOUT = 3
    RELEASE = 4


class Verdict(IntEnum):
    """What becomes of an item for the sessions of a group."""

    DROP = 0  # they have had it nevertheless
    AS_PUBLISHED = 1
    INSTEAD = 2  # with other content
    FAULT = 3  # they have not had it; with content: their sessions end


class Packet(NamedTuple):
    """One whole packet, its header checked and its payload not yet."""

    op: int
    flags: int
    ref: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker has connected."""

    version: int
    pid: int
    worker: int
    resumed: bool  # sessions are held already


@dataclass(frozen=True, slots=True)
class Opened:
    """A client has asked, or a held session asks again."""

    ref: int
    again: bool
    length: int  # of the request's body; -1: unknown
    lasts: list[tuple[bytes, bytes]]  # (channel, last id)
    body: bytes  # what came with the head
    websocket: bool
    minor: int  # HTTP/1.minor
    tls: bool
    peer: bytes
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    more: bool  # Received follows


@dataclass(frozen=True, slots=True)
class Received:
    """A client has sent a part of its body, or a WebSocket message."""

    ref: int
    kind: Kind
    content: bytes
    more: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """The kernel has taken body bytes for a client: so many more may be sent."""

    ref: int
    count_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """A channel is held, as a worker repeats after it has connected again."""

    channel: bytes
    modes: int


@dataclass(frozen=True, slots=True)
class Freed:
    """The last session of a channel has left."""

    channel: bytes
    modes: int
    orders_count: int  # that the worker had read, WELCOME being the first


class Signal(IntEnum):
    """What a publish has done to a WebSocket."""

    REFRESH = 1  # a refresh is asked for
    CLOSED = 2  # a close frame has been sent


@dataclass(frozen=True, slots=True)
class Signalled:
    """A publish has done something to a WebSocket that its origin should know."""

    ref: int
    what: Signal


@dataclass(frozen=True, slots=True)
class Closed:
    """A session that control was asked about is over."""

    ref: int
    reason: int
    code: int  # of the WebSocket close; 0: none
    context: bytes = b""  # of a watched hold; empty of all others


@dataclass(frozen=True, slots=True)
class Synced:
    """All that is held has been repeated."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The counters of a worker."""

    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to PING."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many sessions of a worker hold a channel now, in each mode."""

    channel: bytes
    responses: int
    streams: int
    websockets: int


class Reached(NamedTuple):
    """How many clients of one route an item has reached, in each mode."""

    route: int  # a number of `RouteNumbers`
    responses: int
    streams: int
    websockets: int
    head_bytes: int  # of the responses
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """Whom of a worker's clients an item has reached."""

    channel: bytes
    id: bytes | None
    sizes: tuple[int, int, int]  # of its content for responses, streams and WebSockets, in bytes
    reached: list[Reached]  # one a route


class Share(NamedTuple):
    """What a worker has sent on its own to clients of one route."""

    route: int  # a number of `RouteNumbers`
    stream_keep_alives: int
    ws_keep_alives: int
    head_bytes: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker has sent on its own since it said so last."""

    shares: list[Share]  # one a route


@dataclass(frozen=True, slots=True)
class Left:
    """A client's connection is over."""

    ref: int


@dataclass(frozen=True, slots=True)
class Group:
    """Sessions of a channel for which filters make the same of an item."""

    mode: Mode
    action: Action
    traits: bytes
    ids: list[tuple[bytes, bytes]]  # (channel, id); only if the traits ask for them


@dataclass(frozen=True, slots=True)
class Met:
    """An item has met sessions with traits."""

    number: int  # for VERDICT
    channel: bytes
    id: bytes | None
    meta: bytes
    contents: dict[Mode, bytes]  # of formats that send something
    groups: list[Group]


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A stream hold is to go on at its next link."""

    ref: int
    why: Lapse
    lasts: list[tuple[bytes, bytes]]  # (channel, last id)
    context: bytes


AnyReport = (
    Hello
    | Opened
    | Received
    | Granted
    | Held
    | Freed
    | Signalled
    | Closed
    | Synced
    | Tally
    | Pong
    | Met
    | Lapsed
    | Counted
    | Delivered
    | Left
    | Served
)
