"""Where one listens and where one connects: `ADDR:PORT`, `[v6]:PORT`, `PORT`, `unix:/path`.

Pure: understands the text, opens nothing, resolves no name.
"""

from __future__ import annotations

from dataclasses import dataclass

PORT_MAX = 65535
UNIX_PREFIX = "unix:"
UNIX_PATH_MAX_BYTES = 107  # sockaddr_un: 108 with its NUL


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host, as a name or a literal without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix stream socket."""

    path: str

    def __str__(self) -> str:
        return f"{UNIX_PREFIX}{self.path}"


Address = TcpAddress | UnixAddress


def parse_address(text: str, *, default_host: str | None = None, port_min: int = 1) -> Address:
    """Read one address.

    A lone `PORT` means `default_host`; without one it is an error. `port_min` is 0 for listeners,
    where port 0 asks the kernel for a free one. Raises ValueError with a sentence for people.
    """
    if text.startswith(UNIX_PREFIX):
        return _unix(text.removeprefix(UNIX_PREFIX))
    host, colon, port_text = text.rpartition(":")
    if not colon and default_host is not None and port_text.isascii() and port_text.isdigit():
        host = default_host
    elif not colon:
        raise ValueError(f"{text!r} has no port")
    elif host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif not host:
        raise ValueError(f"{text!r} has no host")
    elif ":" in host or "[" in host or "]" in host:
        raise ValueError(f"{text!r}: an IPv6 address is written [ADDR]:PORT")
    if any(c.isspace() or c in "/?#@" for c in host):
        raise ValueError(f"{text!r}: {host!r} is not a host")
    return TcpAddress(host, _port(port_text, port_min))


def ascii_host(host: str) -> str:
    """Give a host, or host and port, as it is said on the wire (RFC 5890 2.3.2.1). ValueError."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{host!r} is not a host") from None


def _unix(path: str) -> UnixAddress:
    if not path:
        raise ValueError(f"{UNIX_PREFIX} needs a path")
    if len(path.encode()) > UNIX_PATH_MAX_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {UNIX_PATH_MAX_BYTES} bytes")
    return UnixAddress(path)


def _port(text: str, port_min: int) -> int:
    if not (text.isascii() and text.isdigit() and port_min <= int(text) <= PORT_MAX):
        raise ValueError(f"port {text!r} is not a number from {port_min} to {PORT_MAX}")
    return int(text)
