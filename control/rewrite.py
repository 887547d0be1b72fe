"""From a client's request to the request that an origin is sent (GRIP.md 1.2, 7.6, 8.4).

Finds the route, and renders target and headers for each of its targets. Pure but for the clock
that a signature needs; opens nothing, and forgets a request as soon as it is rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from control import reasons
from control.address import TcpAddress
from control.config import Settings
from control.errors import ConfigError, OriginError
from control.grip.fields import first, to_text
from control.grip.headers import (
    Forwarding,
    claims_tls,
    grip_feature,
    grip_last,
    marked,
    to_origin,
    unmarked,
)
from control.grip.sign import Key, Signer, Verifier
from control.link.packets import Opened
from control.links import Home, address_of, escaped, is_at_home
from control.origin import Headers, Request
from control.reasons import Refusal
from control.routes import BuiltIn, Route, Routes, Target

URI_MAX_BYTES = 4096  # of the absolute URI, GRIP.md 8.7
# What works here, in the order of GRIP.md 1.2. `session` is what every origin library expects to
# see; the sessions of 1.14 it stood for are not there.
FEATURES = (
    "status",
    "session",
    "link:next",
    "link:gone",
    "filter:skip-self",
    "filter:skip-users",
    "filter:require-sub",
    "filter:build-id",
    "filter:var-subst",
    "filter:http-check",
    "filter:http-modify",
)
ROUTE_HEADER = b"pushpin-route"  # by which a client names a route
HOST_OF_THE_HOSTLESS = b"localhost"  # GRIP.md 8.7
FORWARDED_PROTOCOL_NAMES = {
    "proto-only": (b"X-Forwarded-Proto",),
    "true": (b"X-Forwarded-Proto", b"X-Forwarded-Protocol"),
    "false": (),
}

# The client of a request of our own.
NOBODY = Opened(
    ref=0,
    again=False,
    length=0,
    lasts=[],
    body=b"",
    websocket=False,
    minor=1,
    tls=False,
    peer=b"",
    method=b"GET",
    target=b"/",
    headers=[],
    more=False,
)

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
    is_trusted: bool = False  # the client is a GRIP proxy: what is GRIP's is its business (6.4)


class Rewriter:
    """The routes, and all that the settings say about requests to origins. Never changed."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        """Read the keys. `problems` has a sentence for each that cannot be used; GRIP.md 6.2:
        its requests are then not signed, or no client trusted.
        """
        self.problems: list[str] = []
        self.routes = routes
        self._accepts_route = settings.accept_pushpin_route
        self._by_rule = {route.rule: route for route in routes}
        self._need_mark = frozenset(n.lower().encode() for n in settings.orig_headers_need_mark)
        self._forwarding, self._forwarding_trusted = (
            Forwarding(
                FORWARDED_PROTOCOL_NAMES[settings.set_x_forwarded_protocol],
                settings.accept_x_forwarded_protocol,
                *forwarded_for_rule(words),
                settings.cdn_loop.encode(),
            )
            for words in (settings.x_forwarded_for, settings.x_forwarded_for_trusted)
        )
        upstream_key = self._read_key(settings.upstream_key, "upstream_key")
        self._verifier = None if upstream_key is None else Verifier(upstream_key)
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
        key = self._read_key(text, "sig_key")
        try:
            return Signer(iss, key) if key is not None and iss else None
        except ConfigError as error:
            self.problems.append(f"{error} (requests are not signed)")
            return None

    def _read_key(self, text: str, setting: str) -> Key | None:
        try:
            return Key.from_setting(text, Path(), setting)
        except ConfigError as error:
            without = "requests are not signed" if setting == "sig_key" else "no client is trusted"
            self.problems.append(f"{error} ({without})")
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
        wanted = first(opened.headers, ROUTE_HEADER) if self._accepts_route else None
        route = self.routes.match(
            host_of(authority), text, opened.websocket, is_tls, to_text(wanted or b"")
        )
        if route is None:
            raise Refused(reasons.ROUTE_NOT_FOUND, f"no route for {host_of(authority)!r}")
        is_trusted = self._trusts(opened)
        return Matched(route, authority, text, mark + query, is_tls, is_trusted)

    def _trusts(self, opened: Opened) -> bool:
        """Whether the client is a GRIP proxy (GRIP.md 6.4)."""
        if self._verifier is None:
            return False
        token = first(opened.headers, b"grip-sig")
        return token is not None and self._verifier.trusts(token, time.time())

    def requests(
        self, matched: Matched, opened: Opened, lasts: Lasts
    ) -> Callable[[Target], Request]:
        """Make what makes the request for a target. `lasts` become Grip-Last."""
        own = [] if matched.is_trusted else self.own_headers(matched.route, lasts)
        return self.requests_with(matched, opened, own)

    def requests_with(
        self, matched: Matched, opened: Opened, own: Headers
    ) -> Callable[[Target], Request]:
        """Make what makes the request for a target, `own` being the headers that are ours."""
        route = matched.route
        headers = _with_options(self._clients_headers(matched, opened), route)
        forwarding = self._forwarding_trusted if matched.is_trusted else self._forwarding
        scheme = b"wss" if opened.websocket else b"https"
        path = route.origin_path(matched.path)
        test_path = "/" + matched.path[len(route.path_beg) :].lstrip("/")

        def request(target: Target) -> Request:
            named = target.host or route.as_host
            host = named.encode() if named else matched.authority
            sent_path = test_path if target.address is BuiltIn.TEST else path
            return Request(
                opened.method,
                sent_path.encode("latin-1") + matched.query,
                to_origin(
                    headers,
                    host=host,
                    peer=opened.peer.decode("latin-1"),
                    tls_scheme=scheme if matched.is_tls else b"",
                    forwarding=forwarding,
                    own=own,
                    keeps_grip=matched.is_trusted,
                ),
                tls_name=certified_name(target, host),
                route=route.given_id,
            )

        return request

    # -- on behalf of a client, later

    def route_of(self, home: Home) -> Route | None:
        """Find the route again, if it is still there."""
        return self._by_rule.get(home.rule)

    def subrequests(
        self, home: Home, uri: str, method: bytes, lasts: Lasts = (), headers: Headers = ()
    ) -> tuple[Sequence[Target], Callable[[Target], Request]]:
        """Choose the targets of a request of our own, and make what makes it (GRIP.md 1.9.2).

        It goes by the route of the client's if it is for the same authority, otherwise straight to
        its host. It has nothing of the client's. OriginError if the route is no more.
        """
        route = self.route_of(home)
        if route is None:
            raise OriginError(f"the route {home.rule!r} is no more")
        scheme, host, port = address_of(uri)
        authority, slash, rest = uri.partition("://")[2].partition("/")
        path, mark, query = (slash + rest).partition("?")
        at_home = is_at_home(home, uri)
        if not at_home or not path.startswith(route.path_beg):
            if not at_home or not route.rewrites_path:
                direct = TcpAddress(host, port)
                targets = (Target(direct, scheme == "https", untrusted=home.is_untrusted),)
                route = replace(route, targets=targets, as_host=None)
            # Else it is relative to a path that has been rewritten: it stays as it is.
            route = replace(route, path_beg="", path_rem=0, replace_beg=None)
        is_tls = home.base.startswith("https:")
        host_header, raw_query = authority.encode(), (mark + query).encode()
        matched = Matched(route, host_header, path, raw_query, is_tls)
        nobody = replace(NOBODY, method=method)
        own = [*headers, *self.own_headers(route, lasts)]
        return route.targets, self.requests_with(matched, nobody, own)

    def _clients_headers(self, matched: Matched, opened: Opened) -> list[tuple[bytes, bytes]]:
        """Give the client's headers before any rule of the route is applied."""
        dropped = {b"content-length"}
        if self._accepts_route:
            dropped.add(ROUTE_HEADER)
        headers = [h for h in opened.headers if h[0].lower() not in dropped]
        if not matched.route.orig_headers:
            return unmarked(headers)
        return headers if matched.is_trusted else marked(headers, self._need_mark)

    def own_headers(self, route: Route, lasts: Lasts = ()) -> list[tuple[bytes, bytes]]:
        """Make the headers that tell an origin of us (GRIP.md 1.2). The signature is of now."""
        if route.no_grip:
            return []
        grip_lasts = [grip_last(channel, last_id) for channel, last_id in lasts]
        return [grip_feature(FEATURES), *self.signature(route), *grip_lasts]

    def signature(self, route: Route) -> list[tuple[bytes, bytes]]:
        """Make the header that signs a request now (GRIP.md 6.1); none where nothing is signed."""
        signer = None if route.no_grip else self._signers[self._sig_of(route)]
        return [] if signer is None else [(b"Grip-Sig", signer.token(time.time()))]


def base_of(matched: Matched) -> str:
    """Give scheme and authority of a request as its origin gets it."""
    authority = matched.route.as_host or matched.authority.decode("latin-1")
    return f"{'https' if matched.is_tls else 'http'}://{authority}"


def home_of(matched: Matched, target: Target) -> Home:
    """Note where a request went, for what is asked on its behalf once it is held."""
    route = matched.route
    return Home(route.rule, base_of(matched), target.untrusted)


def uri_of(matched: Matched) -> str:
    """Give the URI of a request as its origin gets it: that is where relative links start."""
    path = matched.route.origin_path(matched.path).encode("latin-1")
    return base_of(matched) + escaped(path + matched.query)


def forwarded_for_rule(words: Sequence[str]) -> tuple[int | None, bool]:
    """Read the words of `x_forwarded_for` (GRIP.md 8.4).

    How many of the last addresses to keep (None: all), and whether to append the peer's.
    """
    counts = [int(word.partition(":")[2]) for word in words if word != "append"]
    return (counts[-1] if counts else None, "append" in words)


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
    raise Refused(reasons.BAD_TARGET, f"target {target[:80]!r}")


def certified_name(target: Target, host: bytes) -> str:
    """Name what a target's certificate must be for (GRIP.md 7.5); `host` is what it is sent."""
    if target.trust_connect_host and isinstance(target.address, TcpAddress):
        return target.address.host
    return host_of(host)


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
