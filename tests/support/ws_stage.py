"""WebSocket clients on a stage: frames as clients write them, and what they hear."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastpath import probe_session as probe
from support.stage import Client, Stage, request

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
HANDSHAKE = (
    *("Upgrade: websocket", "Connection: Upgrade"),
    *("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"),
)


class Frame(NamedTuple):
    """One frame that a server has sent."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    mask: bytes | None = MASK,
) -> bytes:
    """A frame; masked, as clients must, unless `mask` is None."""
    size = len(payload)
    first, bit = opcode | fin << 7 | rsv1 << 6, 0 if mask is None else 0x80
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 0x10000:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    keys = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ keys).to_bytes(size, "big")


def close(code: int | None = None, text: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + text)


def frames(run: bytes) -> list[Frame]:
    """Whole unmasked frames."""
    found = []
    while run:
        size, at = run[1], 2
        assert size < 0x80, "a server masks nothing"
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(run[2:at], "big")
        assert len(run) >= at + size, "the last frame is not whole"
        payload = run[at : at + size]
        found.append(Frame(run[0] & 15, payload, bool(run[0] & 0x80), bool(run[0] & 0x40)))
        run = run[at + size :]
    return found


class WsClient:
    """The far end of an accepted WebSocket."""

    def __init__(self, stage: Stage, *channels: bytes, client: Client | None = None, **asked: Any):
        self._stage = stage
        headers = asked.pop("headers", ())
        self.client = client or stage.connect()
        self.client.says(request("/ws", *HANDSHAKE, *headers) + asked.pop("behind", b""))
        probe.accept(self.client.session, asked.pop("accepted", ()))
        self.head, _, rest = self.client.hears().partition(b"\r\n\r\n")
        self.first = frames(rest)
        self.client.session = probe.find(stage.roster, self.ref_of(stage))
        for channel in channels:
            probe.subscribe(self.session, channel)

    def ref_of(self, stage: Stage) -> int:
        """The ref that OPENED had; forgets the reports up to it."""
        reports = stage.reports()
        [opened] = [report for report in reports if type(report).__name__ == "Opened"]
        self.early = reports[reports.index(opened) + 1 :]
        return opened.ref

    @property
    def session(self) -> Any:
        return self.client.session

    @property
    def ref(self) -> int:
        return self.session.ref

    @property
    def state(self) -> str:
        return probe.ws_state(self.session)

    def says(self, *runs: bytes) -> WsClient:
        self.client.says(b"".join(runs))
        return self

    def hears(self) -> list[Frame]:
        return frames(self.client.hears())

    @property
    def ended(self) -> bool:
        return self.client.ended

    def hangs_up(self) -> None:
        self.client.hangs_up()
