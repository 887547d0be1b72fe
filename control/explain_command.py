"""`fanway explain`: asks an origin as the proxy would, and says what would become of its answer.

Holds nothing, starts nothing: one request, or one WebSocket that is left again, in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from dataclasses import replace
from urllib.parse import urlsplit

from control import test_target
from control.bodies import Whole
from control.config import Settings, SettingsError
from control.errors import OriginError
from control.exchange import decide_refusal
from control.explain import Answer, Verdict, explain, header_lines, told
from control.explain_handshake import Asking
from control.grip.instruct import GRIP_BODY_MAX_BYTES
from control.jsonp import BadQuery, read_query
from control.link.packets import Opened
from control.origin import Origins, Request, Response
from control.rewrite import Matched, Refused, Rewriter
from control.routes import Target, describe
from control.routes_load import load_routes
from control.sockjs import is_framed, rest_of
from control.wscalls import BadAnswer
from control.wspass import new_key

SCHEMES = ("", "http", "https", "ws", "wss")
PEER = b"127.0.0.1"  # the client that is played
HANDSHAKE = (
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Version", b"13"),
)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print what would happen. The exit code: 0, or 1 if the client would be refused."""
    routes, _ = load_routes(settings)
    rewriter = Rewriter(settings, routes)
    try:
        verdict = asyncio.run(_explain_in_time(rewriter, settings, _opened(args), args.wait))
    except TimeoutError:
        print(f"fanway: no whole answer within {args.wait} s (--wait)", file=sys.stderr)
        return 1
    _print("verdict", [verdict.what])
    _print("because", verdict.why)
    _print("client", verdict.client)
    return 1 if verdict.is_refused else 0


def _opened(args: argparse.Namespace) -> Opened:
    """The request of a client. SettingsError if it cannot be one."""
    try:
        parts = urlsplit(args.url)
        _ = parts.port
    except ValueError:
        raise SettingsError([f"{args.url!r} is not a URL"]) from None
    if parts.scheme not in SCHEMES or (parts.scheme and not parts.netloc):
        raise SettingsError([f"{args.url!r}: give http://HOST/PATH, ws://HOST/PATH or /PATH"])
    is_websocket = parts.scheme in ("ws", "wss")
    if is_websocket and (args.method != "GET" or args.content):
        raise SettingsError(["-X and -d are not for a WebSocket"])
    headers = [(b"Host", (parts.netloc or "localhost").encode())]
    for text in args.header:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not text.isprintable():
            raise SettingsError([f"-H {text!r}: must be NAME: VALUE"])
        if name.strip().lower() == "host":
            headers = headers[1:]
        headers.append((name.strip().encode(), value.strip().encode()))
    if is_websocket:
        headers += [*HANDSHAKE, (b"Sec-WebSocket-Key", new_key())]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    body = args.content.encode("utf-8", "surrogateescape")
    return Opened(
        ref=0,
        again=False,
        length=len(body),
        lasts=[],
        body=body,
        websocket=is_websocket,
        minor=1,
        tls=parts.scheme in ("https", "wss"),
        peer=PEER,
        method=args.method.encode(),
        target=target.encode(),
        headers=headers,
        more=False,
    )


async def _explain_in_time(
    rewriter: Rewriter, settings: Settings, opened: Opened, limit_seconds: int
) -> Verdict:
    async with asyncio.timeout(limit_seconds):
        return await _explain(rewriter, settings, opened)


async def _explain(rewriter: Rewriter, settings: Settings, opened: Opened) -> Verdict:
    try:
        matched = rewriter.match(opened)
    except Refused as error:
        return Verdict("refused", [f"{error} (7.3)"], told(error.refusal), is_refused=True)
    route = matched.route
    _print("route", [describe(route)])
    rest = rest_of(matched.path, route.sockjs)
    if rest is not None and opened.websocket and not is_framed(rest):
        matched = replace(matched, path=route.sockjs_as_path or matched.path)
    elif rest is not None:
        why = [f"the route serves SockJS at {route.sockjs} (8.3)"]
        return Verdict("answered as SockJS", why)
    is_cross_origin = settings.auto_cross_origin or route.aco
    try:
        meant = read_query(route, opened) if is_cross_origin else None
    except BadQuery as error:
        why = ["it is a request by JSON-P, with a parameter that cannot be used (8.2)"]
        return Verdict("refused", why, told(error.refusal), is_refused=True)
    if meant is not None:
        opened = meant[1]
        _, mark, query = opened.target.partition(b"?")
        matched = replace(matched, query=mark + query)
    async with contextlib.AsyncExitStack() as stack:
        origins = Origins(
            connect_timeout_seconds=settings.origin_connect_timeout_seconds,
            silence_timeout_seconds=settings.origin_timeout_seconds,
            called=lambda _outcome, _seconds: None,
            built_in=test_target.answer,
        )
        stack.push_async_callback(origins.close)
        try:
            if opened.websocket:
                asking = Asking(origins, rewriter, matched, opened, _print)
                return await asking.explain(channels_max=settings.connection_subscription_max)
            response = await _call(origins, rewriter, matched, opened)
            stack.callback(response.close)
            answer = await _read(response)
        except OriginError as error:
            refusal = decide_refusal(error, is_debug=settings.debug or route.debug)
            why = [f"{error} ({_rule_of(error, opened)})"]
            return Verdict("refused", why, told(refusal), is_refused=True)
    verdict = explain(
        matched,
        opened,
        answer,
        channels_max=settings.connection_subscription_max,
        is_debug=settings.debug or route.debug,
    )
    if meant is not None:
        verdict.why.append(f"the answer is wrapped in a call of {meant[0].name.decode()} (8.2)")
    if is_cross_origin:
        verdict.why.append("CORS headers are added where the answer lacks them (8.1)")
    return verdict


def _rule_of(error: OriginError, opened: Opened) -> str:
    if isinstance(error, BadAnswer):
        return "4.3"
    return "7.7" if error.tried or not opened.websocket else "5.1"


async def _call(origins: Origins, rewriter: Rewriter, matched: Matched, opened: Opened) -> Response:
    make = rewriter.requests(matched, opened, [])

    def ask(target: Target) -> Request:
        request = make(target)
        head = f"{request.method.decode()} {request.target.decode('latin-1')} HTTP/1.1"
        _print("asked", [str(target), head, *header_lines(request.headers)])
        return request

    return await origins.call(matched.route.targets, ask, Whole(opened.body))


async def _read(response: Response) -> Answer:
    body, is_whole = await response.read_up_to(GRIP_BODY_MAX_BYTES)
    status = f"{response.status} {response.reason.decode('utf-8', 'backslashreplace')}"
    size = f"{len(body)} bytes" if is_whole else f"more than {GRIP_BODY_MAX_BYTES} bytes"
    _print("answered", [status, *header_lines(response.headers), size])
    return Answer(
        target=response.target,
        status=response.status,
        reason=response.reason,
        headers=response.headers,
        body=body,
        is_whole=is_whole,
    )


def _print(title: str, lines: list[str]) -> None:
    """Print a section; control characters that an origin sent do not reach the terminal."""
    for number, line in enumerate(lines or [""]):
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        print(f"{'' if number else title:<10} {shown}".rstrip())
