"""The listening sockets, opened once by the supervisor and inherited by everybody else.

One SO_REUSEPORT socket a worker for each TCP address, so that the kernel spreads the connections;
one shared socket for each Unix path. Accepts nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from control.address import Address, TcpAddress, UnixAddress

BACKLOG_COUNT = 4096  # connections that wait to be accepted; the kernel caps it at somaxconn


class ListenError(Exception):
    """An address cannot be listened on; the text names it and says why."""


@dataclass(slots=True)
class Listeners:
    """Every listening socket of one Fanway."""

    workers: list[list[socket.socket]]  # [worker]; Unix sockets are in each of the lists
    control: list[socket.socket] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)  # of clients, as really bound
    control_addresses: list[Address] = field(default_factory=list)

    def close_clients(self) -> None:
        """Close the sockets of the workers, and remove the files of Unix sockets."""
        _close([sock for some in self.workers for sock in some], self.addresses)
        self.workers.clear()

    def close(self) -> None:
        """Close what is open. Twice is the same as once: another's socket file is never removed."""
        self.close_clients()
        _close(self.control, self.control_addresses)
        self.control.clear()


def open_listeners(
    clients: Sequence[Address], control: Sequence[Address], *, worker_count: int
) -> Listeners:
    """Listen on all addresses, or on none. Raises ListenError."""
    opened = Listeners([[] for _ in range(worker_count)])
    try:
        for address in clients:
            _open_for_workers(address, opened)
        for address in control:
            for bindable in _resolve(address):
                sock, bound = _open(bindable)
                opened.control.append(sock)
                opened.control_addresses.append(bound)
    except ListenError:
        opened.close()
        raise
    return opened


def _close(sockets: list[socket.socket], addresses: list[Address]) -> None:
    for sock in sockets:
        sock.close()
    for address in addresses:
        if isinstance(address, UnixAddress):
            Path(address.path).unlink(missing_ok=True)
    addresses.clear()


def _open_for_workers(address: Address, opened: Listeners) -> None:
    for bindable in _resolve(address):
        if isinstance(bindable, UnixAddress):
            sock, bound = _open(bindable)
            for some in opened.workers:
                some.append(sock)
        else:
            if bindable.port:
                # Two programs that both set SO_REUSEPORT share a port without an error. A socket
                # without it finds out whether the port is taken.
                _open(bindable)[0].close()
            bound = bindable
            for some in opened.workers:
                sock, bound = _open(bound, reuse_port=True)  # port 0: the first one chooses
                some.append(sock)
        opened.addresses.append(bound)


def _resolve(address: Address) -> list[Address]:
    """The numeric addresses of a name: `localhost` is usually two."""
    if isinstance(address, UnixAddress):
        return [address]
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ListenError(f"cannot listen on {address}: {_why(error)}") from None
    return list(dict.fromkeys(TcpAddress(str(at[0]), int(at[1])) for *_, at in found))


def _open(address: Address, *, reuse_port: bool = False) -> tuple[socket.socket, Address]:
    """One listening socket, and the address it really has."""
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        if isinstance(address, UnixAddress):
            _clear_stale(address.path)
            sock.bind(address.path)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address.host, address.port))
            address = TcpAddress(address.host, sock.getsockname()[1])
        sock.listen(BACKLOG_COUNT)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {address}: {_why(error)}") from None
    return sock, address


def _family(address: Address) -> socket.AddressFamily:
    if isinstance(address, UnixAddress):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _clear_stale(path: str) -> None:
    """Remove the file of a Unix socket on which nobody answers. Raises OSError if it must stay."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()
            else:
                raise OSError(errno.EADDRINUSE, "somebody answers on it")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return "not a host name"
