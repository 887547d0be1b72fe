"""The far ends of Fanway's ZeroMQ sockets, as publishers and operators have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tnetstring
import zmq

from support.waiting import DEADLINE_SECONDS, until

DEADLINE_MS = int(DEADLINE_SECONDS * 1000)


@contextmanager
def peer(kind: int, spec: str, *, listens: bool = False) -> Iterator[zmq.Socket]:
    """A socket that is connected to `spec`, or listens there. What it awaits has a deadline."""
    context = zmq.Context()
    socket = context.socket(kind)
    socket.set(zmq.RCVTIMEO, DEADLINE_MS)
    socket.set(zmq.SNDTIMEO, DEADLINE_MS)
    socket.set(zmq.LINGER, DEADLINE_MS)
    if listens:
        socket.bind(spec)
    else:
        socket.connect(spec)
    try:
        yield socket
    finally:
        socket.close()
        context.term()


def ask(spec: str, **request: Any) -> dict[bytes, Any]:
    """One command and its reply."""
    with peer(zmq.REQ, spec) as socket:
        socket.send(dumps(request))
        return tnetstring.loads(socket.recv())


def dumps(value: Any) -> bytes:
    """A tnetstring; text becomes UTF-8."""
    return tnetstring.dumps(_raw(value))


def _raw(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_raw(key): _raw(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_raw(element) for element in value]
    return value


def demand(xpub: zmq.Socket, change: bytes) -> None:
    """Wait until a subscription comes (1 and its topic) or goes (0 and its topic)."""
    seen: list[bytes] = []

    def found() -> bool:
        seen.append(xpub.recv())
        return seen[-1] == change

    until(found, f"{change!r} among {seen}")
