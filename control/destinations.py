"""Connections to targets: their pools, TLS, and the networks where an untrusted target may not be.

Opens connections and keeps idle ones; never sends or reads a byte of HTTP.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from aiohttp import (
    BaseConnector,
    ClientRequest,
    ClientTimeout,
    TCPConnector,
    ThreadedResolver,
    UnixConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from control.address import TcpAddress, UnixAddress
from control.client_tls import client_context
from control.routes import Target

DESTINATIONS_MAX = 1024  # prepared connection keys that are remembered
# Connections to one destination that are set up at a time. A burst of requests then takes over
# connections as they come free, instead of opening one each.
DIALS_MAX = 16

# GRIP.md 7.5, and the unspecified addresses, by which Linux connects to itself.
FORBIDDEN_NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("169.254.0.0/16", "::/128", "::1/128", "fc00::/7", "fe80::/10"),
    )
]


class ForbiddenAddress(OSError):
    """An untrusted target is on a network where it may not be."""


def is_forbidden(address: str) -> bool:
    """Whether an untrusted target may not be at this IP address (GRIP.md 7.5)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in FORBIDDEN_NETWORKS)


class Destinations:
    """The pools of connections: one for trusted targets, one for the others, one a Unix socket."""

    def __init__(
        self, protocol: Callable[[], ResponseHandler], connect_timeout_seconds: float
    ) -> None:
        """Must be made in a running loop. `protocol` makes what reads a connection."""
        self._protocol = partial(protocol)  # aiohttp insists
        self._timeout = ClientTimeout(total=None, connect=connect_timeout_seconds)
        self._trusted = TCPConnector(limit=0, resolver=ThreadedResolver())
        # The address is checked when the socket is made, after names have been resolved.
        self._untrusted = TCPConnector(
            limit=0, resolver=ThreadedResolver(), socket_factory=_socket_outside
        )
        for connector in (self._trusted, self._untrusted):
            connector._factory = self._protocol
        self._unix: dict[str, UnixConnector] = {}  # one a path that a route names
        self._destination = lru_cache(DESTINATIONS_MAX)(Destination)

    async def connect(self, target: Target, tls_name: str) -> Connection:
        """Connect to a target, or take a connection that is there.

        Raises ForbiddenAddress, or OSError, ClientError, TimeoutError, ValueError.
        """
        destination = self._destination(target, tls_name if target.ssl else "")
        connector = self._connector(target)
        try:
            async with destination.dialing:
                return await connector.connect(destination.key, [], self._timeout)
        except OSError as error:
            if isinstance(cause := error.__cause__, ForbiddenAddress):
                raise cause from None
            raise

    def forget(self) -> None:
        """Read the files of targets again when they are next connected to."""
        self._destination.cache_clear()

    async def close(self) -> None:
        """Close every connection."""
        for connector in (self._trusted, self._untrusted, *self._unix.values()):
            await connector.close()

    def _connector(self, target: Target) -> BaseConnector:
        if not isinstance(target.address, UnixAddress):
            return self._untrusted if target.untrusted else self._trusted
        path = target.address.path
        connector = self._unix.get(path)
        if connector is None:
            connector = self._unix[path] = UnixConnector(path, limit=0)
            connector._factory = self._protocol
        return connector


class Destination:
    """Where connections go: their key for aiohttp's connector, and who may open one now."""

    def __init__(self, target: Target, tls_name: str) -> None:
        """Raises ValueError if a file of the target is no use any more."""
        if isinstance(target.address, TcpAddress):
            host, port = target.address.host, target.address.port
        else:
            host, port = "localhost", None
        self.dialing = asyncio.Semaphore(DIALS_MAX)
        self.key = ClientRequest(  # nothing of it is ever sent
            "GET",
            URL.build(scheme="https" if target.ssl else "http", host=host, port=port),
            loop=asyncio.get_running_loop(),
            ssl=client_context(target) if target.client_cert else not target.insecure,
            server_hostname=tls_name or None,
        )


def _socket_outside(address: Any) -> socket.socket:
    """Make the socket for an address that is not on a private network."""
    family, kind, protocol, _, sockaddr = address
    if is_forbidden(sockaddr[0]):
        raise ForbiddenAddress("the address is on a private network")
    return socket.socket(family, kind, protocol)
