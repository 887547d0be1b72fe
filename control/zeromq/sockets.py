"""ZeroMQ sockets on the event loop: opened, read as long as there is something, closed.

Knows no item and no command. There is no thread of ours and no poll: libzmq has one descriptor a
socket that becomes readable *when the socket's state changes*, and only then. So after it has, and
after every send, the state itself is looked at, and whoever reads reads to the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import zmq

from control.link.packets import LINK_PAYLOAD_MAX
from control.log import log

HWM_COUNT = 101_000  # messages that wait in a socket, each way (GRIP.md 2.3)
READ_COUNT = 100  # messages read before everybody else on the loop has a turn
MESSAGE_MAX_BYTES = LINK_PAYLOAD_MAX  # no item that is longer could be passed on
CLOSE_LINGER_MS = 200  # what has been sent just before the end still leaves
IPC = "ipc://"

Socket = zmq.Socket[bytes]
Take = Callable[[list[bytes]], None]
"""Takes the parts of one message."""
Flowing = Callable[[], Awaitable[None]]
"""Waits until messages may be read."""


class CannotOpen(OSError):
    """An address cannot be listened on, or connected to; the text names it."""


class Sockets:
    """All ZeroMQ sockets of this process, and what they share."""

    def __init__(self, *, ipc_mode: int | None) -> None:
        self._context = zmq.Context()
        self._ipc_mode = ipc_mode
        self._readings: list[Reading] = []
        self._sockets: list[Socket] = []

    def open(
        self,
        kind: int,
        specs: Sequence[str],
        *,
        name: str,
        connect: bool = False,
        send_max: int = HWM_COUNT,
    ) -> Socket:
        """Open a socket on addresses. CannotOpen names the one that cannot be had.

        `send_max` is how many messages wait to be sent to each peer, 0: any number.
        """
        socket: Socket = self._context.socket(kind)
        self._sockets.append(socket)
        socket.set(zmq.RCVHWM, HWM_COUNT)
        socket.set(zmq.SNDHWM, send_max)
        socket.set(zmq.MAXMSGSIZE, MESSAGE_MAX_BYTES)
        socket.set(zmq.LINGER, CLOSE_LINGER_MS)
        socket.set(zmq.IPV6, int(any("[" in spec for spec in specs)))
        if connect:  # a peer that is gone without a word is found out (GRIP.md 2.3)
            socket.set(zmq.TCP_KEEPALIVE, 1)
            socket.set(zmq.TCP_KEEPALIVE_IDLE, 30)
            socket.set(zmq.TCP_KEEPALIVE_CNT, 6)
            socket.set(zmq.TCP_KEEPALIVE_INTVL, 5)
        for spec in specs:
            try:
                if connect:
                    socket.connect(spec)
                else:
                    self._bind(socket, spec)
            except (zmq.ZMQError, OSError) as error:
                verb = "connect to" if connect else "listen on"
                why = (error.strerror or str(error)).lower()
                raise CannotOpen(f"{name}: cannot {verb} {spec}: {why}") from None
            log.info("zeromq_open", name=name, spec=spec if connect else endpoint(socket))
        return socket

    def _bind(self, socket: Socket, spec: str) -> None:
        path = Path(spec.removeprefix(IPC)) if spec.startswith(IPC) else None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        socket.bind(spec)
        if path is not None and self._ipc_mode is not None:
            path.chmod(self._ipc_mode)

    def read(self, socket: Socket, take: Take, flowing: Flowing) -> Reading:
        """Give every message of a socket to `take`, whenever `flowing` lets it."""
        reading = Reading(socket, take, flowing)
        self._readings.append(reading)
        return reading

    def close(self) -> None:
        """Stop reading, and close all sockets. Waits for what has been sent, CLOSE_LINGER_MS."""
        for reading in self._readings:
            reading.stop()
        for socket in self._sockets:
            socket.close()
        self._context.term()


class Reading:
    """Reads one socket, in a task of its own."""

    def __init__(self, socket: Socket, take: Take, flowing: Flowing) -> None:
        self._socket = socket
        self._take = take
        self._flowing = flowing
        self._readable = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(socket.fileno(), self.look)
        self._task = self._loop.create_task(self._read())
        self.look()  # of what came before there was a reader nobody is told

    def look(self) -> None:
        """Find out whether there is something to read. Due after whatever uses the socket.

        A send takes note of what has arrived too, and the descriptor no longer shows it then.
        """
        if cast(int, self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            self._readable.set()

    def stop(self) -> None:
        """Read no more."""
        self._task.cancel()
        self._loop.remove_reader(self._socket.fileno())

    async def _read(self) -> None:
        while True:
            await self._readable.wait()
            await self._flowing()
            if not self._read_some():
                self._readable.clear()
                self.look()
            await asyncio.sleep(0)

    def _read_some(self) -> bool:
        """Take messages, READ_COUNT at most. Whether there may be more."""
        for _ in range(READ_COUNT):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            try:
                self._take(parts)
            except Exception:
                log.exception("internal_error", where="zeromq")
        return True


def endpoint(socket: Socket) -> str:
    """The address that a socket really has, where it listens."""
    return cast(bytes, socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
