"""Which headers cross the proxy, and which are its own (GRIP.md 1.2, 1.12, 8.4).

Header blocks in, header blocks out. Knows neither routes nor settings: what varies is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from control.grip.fields import Headers, first, split_all, to_bytes

# What a proxy may not pass on (RFC 9110 7.6.1), and Expect, which Fanway itself has answered.
# Accept-Encoding goes so that origins answer uncompressed. Content-Encoding of a request stays:
# it is the label of the body, and GRIP.md 11 (20) leaves the choice.
REQUEST_HOP_HEADERS = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"accept-encoding",
    }
)

RESPONSE_HOP_HEADERS = frozenset(
    {b"connection", b"keep-alive", b"content-encoding", b"transfer-encoding"}
)

_FORWARDED_PROTOCOL = (b"x-forwarded-proto", b"x-forwarded-protocol")
_FORWARDED_FOR = b"x-forwarded-for"
_CDN_LOOP = b"cdn-loop"
# Written anew, whoever says them: a route may set any header, but not the length of a body.
_ANEW = frozenset({b"host", b"content-length", _FORWARDED_FOR})
_MARK = b"eb9bf0f5-"  # before the name of a header: it is the original client's (GRIP.md 8.6)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What origins are told about the client (GRIP.md 8.4).

    `protocol_names` are the headers that name the scheme of a TLS client; `accepts_protocol`
    says that the client's own ones are believed. `keep_max` is how many of the last addresses in
    X-Forwarded-For are kept, None for all; `appends_peer` adds the client's. `cdn_loop` is what is
    added to CDN-Loop (8.5), if anything.
    """

    protocol_names: tuple[bytes, ...] = (b"X-Forwarded-Proto",)
    accepts_protocol: bool = False
    keep_max: int | None = None
    appends_peer: bool = False
    cdn_loop: bytes = b""


def to_origin(
    headers: Headers,
    *,
    host: bytes,
    peer: str,
    tls_scheme: bytes,
    forwarding: Forwarding,
    own: Headers,
    keeps_grip: bool = False,
) -> list[tuple[bytes, bytes]]:
    """The headers of a client's request as its origin gets them.

    `host` is the authority of the effective URI; `peer` the client's address; `tls_scheme` is
    https or wss, or empty for a client without TLS. `own` are Grip-Sig, Grip-Feature and
    Grip-Last: the client's are passed on only if `keeps_grip`, where ours do not replace them.
    """
    own_names = {name.lower() for name, _ in own}
    dropped = REQUEST_HOP_HEADERS | named_by_connection(headers) | _ANEW
    if forwarding.protocol_names or forwarding.accepts_protocol:
        dropped |= set(_FORWARDED_PROTOCOL)
    block = [(b"Host", host)]
    block += [
        (name, value)
        for name, value in headers
        if not (
            (lower := name.lower()) in dropped
            or (lower.startswith(b"grip-") and (not keeps_grip or lower in own_names))
        )
    ]
    if forwarding.cdn_loop:
        tokens = split_all(headers, _CDN_LOOP)
        block = [header for header in block if header[0].lower() != _CDN_LOOP]
        block.append((b"CDN-Loop", b", ".join([*tokens, forwarding.cdn_loop])))
    if tls_scheme:
        block += [(name, tls_scheme) for name in forwarding.protocol_names]
    if addresses := _forwarded_for(headers, peer, forwarding):
        block.append((b"X-Forwarded-For", addresses))
    return [*block, *own]


def marked(headers: Headers, need_mark: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """A client's headers, and a marked copy of each (GRIP.md 8.6).

    Those that are marked already stay as they are; those that `need_mark` (names in lower case)
    are not the original client's unless marked.
    """
    there = {name.lower() for name, _ in headers}
    copies = [
        (_MARK + name, value)
        for name, value in headers
        if not (lower := name.lower()).startswith(_MARK)
        and lower not in need_mark
        and _MARK + lower not in there
    ]
    return [*headers, *copies]


def unmarked(headers: Headers) -> list[tuple[bytes, bytes]]:
    """A client's headers without marked ones (GRIP.md 8.6)."""
    return [header for header in headers if not header[0].lower().startswith(_MARK)]


def to_client(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An origin's headers without those of its hop (GRIP.md 1.12). All others stay as they are."""
    dropped = RESPONSE_HOP_HEADERS | named_by_connection(headers)
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def claims_tls(headers: Headers) -> bool:
    """Whether the client's forwarding headers say that it came by TLS (GRIP.md 8.4)."""
    claim = first(headers, b"x-forwarded-proto") or first(headers, b"x-forwarded-protocol")
    return claim in (b"https", b"wss")


def grip_feature(features: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The header that lists what works here, in GRIP.md's order (1.2)."""
    return b"Grip-Feature", ", ".join(features).encode()


def grip_last(channel: str, last_id: str) -> tuple[bytes, bytes]:
    """The header that says which id of a channel was seen last (GRIP.md 1.8)."""
    return b"Grip-Last", to_bytes(f"{channel}; last-id={last_id}")


def named_by_connection(headers: Headers) -> set[bytes]:
    """The headers that `Connection` declares to be of this hop, in lower case (RFC 9110 7.6.1).

    Content-Length and Host describe the message itself, and stay whatever Connection says.
    """
    named = {name.lower() for name in split_all(headers, b"connection")}
    return named - {b"content-length", b"host"}


def _forwarded_for(headers: Headers, peer: str, forwarding: Forwarding) -> bytes:
    addresses = [a for a in split_all(headers, _FORWARDED_FOR) if a]
    if forwarding.keep_max is not None:
        addresses = addresses[-forwarding.keep_max :] if forwarding.keep_max else []
    if forwarding.appends_peer:
        addresses.append(peer.encode())
    return b", ".join(addresses)
