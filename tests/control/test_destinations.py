"""Where an untrusted target may be, and what identifies Fanway to a target."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.address import TcpAddress
from control.client_tls import check_target
from control.destinations import is_forbidden
from control.errors import OriginError
from control.origin import Body, Origins, Request, Response
from control.routes import Target


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "0.0.0.0", "::", "::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%lo"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    ],
)
def test_200_private_networks_are_forbidden(address: str) -> None:
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "172.32.0.1", "11.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"]
)
def test_200_others_are_not(address: str) -> None:
    assert not is_forbidden(address)


def write_certificate(folder: Path, name: str) -> None:
    """NAME.pem and NAME.key: a certificate for a.test that nobody but itself has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(1)
    certificate = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, until).sign(
        key, hashes.SHA256()
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class NoBody:
    length = 0

    def whole(self) -> bytes:
        return b""

    async def pieces(self):
        for piece in ():
            yield piece


async def nowhere(target: Target, request: Request, body: Body) -> Response:
    raise AssertionError("no built-in target was asked")


async def test_a_target_may_ask_who_fanway_is(tmp_path: Path) -> None:
    for name in ("server", "fanway"):
        write_certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "fanway.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    seen: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(writer.get_extra_info("peercert")["subject"])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    address = TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    cert, key = str(tmp_path / "fanway.pem"), str(tmp_path / "fanway.key")
    named = Target(address, ssl=True, insecure=True, client_cert=cert, client_key=key)
    check_target(named)
    origins = Origins(
        connect_timeout_seconds=5,
        silence_timeout_seconds=5,
        called=lambda *call: None,
        built_in=nowhere,
    )
    request = Request(b"GET", b"/", [(b"Host", b"a.test")], tls_name="a.test")
    async with server:
        response = await origins.call([named], lambda _: request, NoBody())
        assert (await response.read_up_to(10))[0] == b"ok"
        assert seen == [((("commonName", "fanway"),),)]
        unnamed = Target(address, ssl=True, insecure=True)
        with pytest.raises(OriginError):
            await origins.call([unnamed], lambda _: request, NoBody())
    await origins.close()


def test_files_that_are_no_certificate_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nonsense")
    files = str(tmp_path / "c.pem")
    target = Target(TcpAddress("a", 1), ssl=True, client_cert=files, client_key=files)
    with pytest.raises(ValueError, match="not a certificate and its key"):
        check_target(target)
