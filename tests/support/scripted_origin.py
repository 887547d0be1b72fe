"""Origins that play a script, and calls to them: real sockets, the bytes written by hand."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.address import TcpAddress
from control.origin import Origins, Request, Response
from control.routes import Target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeBody:
    """A request's body: all there, or in pieces."""

    content: bytes = b""
    parts: list[bytes] | None = None
    length: int = 0
    taken: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.length = self.length or len(self.content)

    def whole(self) -> bytes | None:
        """All of it, unless it comes in pieces."""
        return self.content if self.parts is None else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its parts, noted as they are taken."""
        for part in self.parts or ():
            self.taken.append(part)
            yield part


class ScriptedOrigin:
    """Plays one script a connection, the last again and again; notes what it was sent."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.connections_count = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        script = self.scripts[min(self.connections_count, len(self.scripts) - 1)]
        self.connections_count += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        """Read the head of a request."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    def answers(self, *answers: bytes) -> Script:
        """Read a head, say an answer, and so on; then close."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                await self.head(reader)
                writer.write(answer)
                await writer.drain()

        return script


async def inside(target: Target, request: Request, body: FakeBody) -> Response:
    """The answer of a target inside control."""
    return Response(target=target, status=200, reason=b"OK", headers=[], body=request.target)


@contextlib.asynccontextmanager
async def listening(
    origin: ScriptedOrigin, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Target]:
    """The origin, listening, as a target."""
    server = await asyncio.start_server(origin.play, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Target(TcpAddress("127.0.0.1", port), ssl=tls is not None)


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's TLS context whose certificate nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def closed_port() -> Target:
    """A target that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Target(TcpAddress("127.0.0.1", sock.getsockname()[1]))


def request(method: bytes = b"GET", target: bytes = b"/", *headers: tuple[bytes, bytes]) -> Request:
    """A request for a.test."""
    return Request(method, target, [(b"Host", b"a.test"), *headers], "a.test")


async def call(
    origins: Origins, *targets: Target, ask: Request | None = None, body: FakeBody | None = None
) -> Response:
    """Call the targets in order."""
    asked = ask or request()
    return await origins.call(targets, lambda target: asked, body or FakeBody())


async def read_all(response: Response) -> bytes:
    """The whole body."""
    here = response.all_here()
    if here is not None:
        return here
    pieces = []
    while piece := await response.read():
        pieces.append(piece)
    return b"".join(pieces)
