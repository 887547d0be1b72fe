"""From a client's request to the request that an origin is sent (GRIP.md 1.2, 7.6, 8.4).

Finds the route, and renders target and headers for each of its targets. Pure but for the clock
that a signature needs; opens nothing, and forgets a request as soon as it is rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from control import reasons
from control.config import Settings
from control.errors import ConfigError
from control.grip.headers import Forwarding, claims_tls, grip_feature, grip_last, to_origin
from control.grip.sign import Key, Signer
from control.link.packets import Opened
from control.origin import Headers, Request
from control.reasons import Reason, Refusal
from control.routes import Route, Routes, Target

URI_MAX_BYTES = 4096  # of the absolute URI, GRIP.md 8.7
FEATURES = ("status",)  # what works here, in the order of GRIP.md 1.2
HOST_OF_THE_HOSTLESS = b"localhost"  # GRIP.md 8.7
FORWARDED_PROTOCOL_NAMES = {
    "proto-only": (b"X-Forwarded-Proto",),
    "true": (b"X-Forwarded-Proto", b"X-Forwarded-Protocol"),
    "false": (),
}

Lasts = Sequence[tuple[str, str]]  # (name of a channel without its route's prefix, last id)


class Refused(Exception):
    """A request ends with an answer of our own; the text is for the log."""

    def __init__(self, refusal: Refusal, why: str) -> None:
        self.refusal = refusal
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Matched:
    """A request that has a route."""

    route: Route
    authority: bytes  # host, and port if the client named one
    path: str  # raw, its bytes as latin-1
    query: bytes  # with its question mark; empty if there is none
    is_tls: bool


class Rewriter:
    """The routes, and all that the settings say about requests to origins. Never changed."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        """Read the keys. `problems` has a sentence for each that cannot be used; GRIP.md 6.2:
        its requests are then not signed.
        """
        self.problems: list[str] = []
        self._routes = routes
        self._forwarding = Forwarding(
            FORWARDED_PROTOCOL_NAMES[settings.set_x_forwarded_protocol],
            settings.accept_x_forwarded_protocol,
            *settings.x_forwarded_for_rule,
        )
        self._sig_defaults = settings.sig_iss, settings.sig_key
        self._signers = {
            sig: self._make_signer(*sig) for sig in dict.fromkeys(map(self._sig_of, routes))
        }

    def _sig_of(self, route: Route) -> tuple[str, str]:
        iss, key = self._sig_defaults
        return (
            iss if route.sig_iss is None else route.sig_iss,
            key if route.sig_key is None else route.sig_key,
        )

    def _make_signer(self, iss: str, text: str) -> Signer | None:
        try:
            key = Key.from_setting(text, Path())
            return Signer(iss, key) if key is not None and iss else None
        except ConfigError as error:
            self.problems.append(str(error))
            return None

    def match(self, opened: Opened) -> Matched:
        """Find the route of a request. Refused if it has none, or is none."""
        authority, target = split_target(opened)
        if len("https://") + len(authority) + len(target) > URI_MAX_BYTES:
            raise Refused(reasons.URI_TOO_LONG, "URI too long")
        path, mark, query = target.partition(b"?")
        text = path.decode("latin-1")
        claim = self._forwarding.accepts_protocol and claims_tls(opened.headers)
        is_tls = opened.tls or claim
        route = self._routes.match(host_of(authority), text, opened.websocket, is_tls)
        if route is None:
            raise Refused(reasons.ROUTE_NOT_FOUND, f"no route for {host_of(authority)!r}")
        return Matched(route, authority, text, mark + query, is_tls)

    def requests(
        self, matched: Matched, opened: Opened, lasts: Lasts
    ) -> Callable[[Target], Request]:
        """Make what makes the request for a target. `lasts` become Grip-Last."""
        return self.requests_with(matched, opened, self.own_headers(matched.route, lasts))

    def requests_with(
        self, matched: Matched, opened: Opened, own: Headers
    ) -> Callable[[Target], Request]:
        """Make what makes the request for a target, `own` being the headers that are ours."""
        route = matched.route
        headers = _with_options(
            [h for h in opened.headers if h[0].lower() != b"content-length"], route
        )
        scheme = b"wss" if opened.websocket else b"https"
        path = route.origin_path(matched.path).encode("latin-1")

        def request(target: Target) -> Request:
            named = target.host or route.as_host
            host = named.encode() if named else matched.authority
            return Request(
                opened.method,
                path + matched.query,
                to_origin(
                    headers,
                    host=host,
                    peer=opened.peer.decode("latin-1"),
                    tls_scheme=scheme if matched.is_tls else b"",
                    forwarding=self._forwarding,
                    own=own,
                ),
                tls_name=host_of(host),
            )

        return request

    def own_headers(self, route: Route, lasts: Lasts = ()) -> list[tuple[bytes, bytes]]:
        """Make the headers that tell an origin of us (GRIP.md 1.2). The signature is of now."""
        if route.no_grip:
            return []
        own = [grip_feature(FEATURES)]
        signer = self._signers[self._sig_of(route)]
        if signer is not None:
            own.append((b"Grip-Sig", signer.token(time.time())))
        return own + [grip_last(channel, last_id) for channel, last_id in lasts]


def split_target(opened: Opened) -> tuple[bytes, bytes]:
    """Split what was asked for into authority and origin form (RFC 9112 3.2). Refused if neither.

    Both are as the client wrote them.
    """
    target = opened.target
    if target.startswith(b"/") or target == b"*":
        for name, value in opened.headers:
            if name.lower() == b"host":
                return value.strip() or HOST_OF_THE_HOSTLESS, target
        return HOST_OF_THE_HOSTLESS, target
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
        authority, path = rest[:end], rest[end:]
        if authority and b"@" not in authority:
            return authority, path if path.startswith(b"/") else b"/" + path
    raise Refused(Refusal(400, Reason.BAD_REQUEST.text), f"target {target[:80]!r}")


def host_of(authority: bytes) -> str:
    """Give the host of an authority as routes know it: lower-case, no port, no brackets."""
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _with_options(headers: list[tuple[bytes, bytes]], route: Route) -> list[tuple[bytes, bytes]]:
    for name, value in route.header:
        lower = name.lower()
        headers = [header for header in headers if header[0].lower() != lower]
        if value is not None:
            headers.append((name, value))
    return headers
