"""`fanway publish`: one item, to a publish API or a PULL socket (GRIP.md 9.3).

`item_of` is pure: from what was asked for to the JSON that is posted (GRIP.md 2.4, 2.5).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from control import zeromq

DEFAULT_URL = "http://localhost:5561"
TIMEOUT_SECONDS = 30
ANSWER_MAX_BYTES = 10_000  # of an answer that is shown
ZEROMQ = ("tcp://", "ipc://")
ZEROMQ_SECONDS = 5  # for a proxy to be found at the other end


class PublishError(Exception):
    """Why nothing was published, in a sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command. Names are those of pushpin-publish."""
    add = parser.add_argument
    add("channel", metavar="CHANNEL", help="where to publish")
    add("content", metavar="CONTENT", nargs="?", help="text; @FILE: a file as it is; -: stdin")
    add("--id", metavar="ID", help="the id of the item")
    add("--prev-id", metavar="ID", help="the id of the item before it")
    add("--sender", metavar="NAME", help="the same as --meta sender=NAME")
    add("-M", "--meta", metavar="K=V", action="append", default=[], help="metadata for filters")
    add("--code", type=int, default=200, metavar="N", help="status of http-response (200)")
    add("-H", "--header", metavar="K: V", action="append", default=[], help="of http-response")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--hint", action="store_true", help="clients ask their origin again")
    kind.add_argument("--close", action="store_true", help="streams and WebSockets are closed")
    kind.add_argument("--patch", action="store_true", help="CONTENT is a JSON patch of the body")
    add("--no-seq", action="store_true", help="deliver at once, whatever the ids say")
    add("--no-eol", action="store_true", help="no line end after the content in HTTP formats")
    add(
        "--spec",
        metavar="URL",
        help=f"http(s)://…, or tcp://… for ZeroMQ (GRIP_URL, else {DEFAULT_URL})",
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("-u", "--user", metavar="USER:PASS", help="Basic authorization, https only")
    who.add_argument("-B", "--bearer", metavar="TOKEN", help="Bearer authorization, https only")


def run(args: argparse.Namespace) -> int:
    """Publish, and say so. The exit code: 0, or 1 with a line on standard error."""
    try:
        item = item_of(args, _content(args))
        url = args.spec or os.environ.get("GRIP_URL") or DEFAULT_URL
        authorization = _authorization(args, url)
        if url.startswith(ZEROMQ):
            push(url, item)
        else:
            post(url, {"items": [item]}, authorization)
    except PublishError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print("Published")
    return 0


def item_of(args: argparse.Namespace, content: bytes) -> dict[str, Any]:
    """The item as JSON. Raises PublishError for what cannot be one."""
    if not 0 <= args.code <= 999:
        raise PublishError(f"--code {args.code}: must be 0 to 999")
    item: dict[str, Any] = {"channel": args.channel, "formats": _formats(args, content)}
    if args.id is not None:
        item["id"] = args.id
    if args.prev_id is not None:
        item["prev-id"] = args.prev_id
    meta = dict(_pair(text, "=", "--meta") for text in args.meta)
    if args.sender is not None:
        meta["sender"] = args.sender
    if meta:
        item["meta"] = meta
    if args.no_seq:
        item["no-seq"] = True
    return item


def _formats(args: argparse.Namespace, content: bytes) -> dict[str, Any]:
    if args.hint:
        return {name: {"action": "hint"} for name in ("http-response", "http-stream", "ws-message")}
    if args.close:
        return {name: {"action": "close"} for name in ("http-stream", "ws-message")}
    response: dict[str, Any] = {"code": args.code}
    headers = [list(_pair(text, ":", "--header")) for text in args.header]
    if headers:
        response["headers"] = [[name, value.lstrip()] for name, value in headers]
    if args.patch:
        response["body-patch"] = _patch(content)
        return {"http-response": response}
    line = content if args.no_eol else content + b"\n"
    response |= _text_or_bytes("body", line)
    return {
        "http-response": response,
        "http-stream": _text_or_bytes("content", line),
        "ws-message": _text_or_bytes("content", content),
    }


def _text_or_bytes(name: str, content: bytes) -> dict[str, str]:
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}-bin": base64.b64encode(content).decode()}


def _patch(content: bytes) -> list[Any]:
    try:
        patch = json.loads(content)
    except ValueError as error:
        raise PublishError(f"the patch is not JSON: {error}") from None
    if not isinstance(patch, list):
        raise PublishError("the patch is not a JSON array")
    return patch


def _pair(text: str, separator: str, flag: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not name or not found:
        raise PublishError(f"{flag} {text!r}: must be NAME{separator}VALUE")
    return name, value


def _content(args: argparse.Namespace) -> bytes:
    if args.content is None:
        if args.hint or args.close:
            return b""
        raise PublishError("there is no CONTENT (- reads it from standard input)")
    if args.content == "-":
        return sys.stdin.buffer.read()
    if args.content.startswith("@"):
        path = args.content[1:]
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise PublishError(f"cannot read {path}: {error.strerror}") from None
    return os.fsencode(args.content)


def _authorization(args: argparse.Namespace, url: str) -> dict[str, str]:
    if args.user is None and args.bearer is None:
        return {}
    if urlsplit(url).scheme != "https":
        raise PublishError("Authentication requires https")
    if args.bearer is not None:
        return {"Authorization": f"Bearer {args.bearer}"}
    return {"Authorization": f"Basic {base64.b64encode(args.user.encode()).decode()}"}


def post(url: str, body: Any, headers: Mapping[str, str]) -> None:
    """POST to the publish API below `url`. Raises PublishError unless it answers 200."""
    host, port, path, make = _endpoint(url)
    connection = make(host, port, timeout=TIMEOUT_SECONDS)
    sent = {"Content-Type": "application/json", "Connection": "close", **headers}
    try:
        connection.request("POST", path, json.dumps(body).encode(), sent)
        answer = connection.getresponse()
        text = answer.read(ANSWER_MAX_BYTES).decode("utf-8", "replace").strip()
    except (OSError, HTTPException, ValueError) as error:
        _unreachable(url, error)
    finally:
        connection.close()
    if answer.status != 200:
        raise PublishError(f"{url} answered {answer.status} {answer.reason}: {text}")


def push(spec: str, item: Any) -> None:
    """PUSH an item over ZeroMQ. Nobody says what became of it, but that there was somebody.

    Raises PublishError.
    """
    if why := zeromq.why_not(["--spec"]):
        raise PublishError(why)
    import zmq  # noqa: PLC0415  # an extra

    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.set(zmq.IMMEDIATE, 1)  # to who is there, not to who may come
        socket.set(zmq.SNDTIMEO, ZEROMQ_SECONDS * 1000)
        socket.set(zmq.LINGER, TIMEOUT_SECONDS * 1000)
        socket.set(zmq.IPV6, int("[" in spec))
        try:
            socket.connect(spec)
            socket.send(b"J" + json.dumps(item).encode())
        except zmq.Again:
            raise PublishError(f"cannot publish to {spec}: nobody is there") from None
        except zmq.ZMQError as error:
            raise PublishError(f"cannot publish to {spec}: {error}") from None


def _endpoint(url: str) -> tuple[str, int | None, str, type[HTTPConnection]]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise PublishError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise PublishError(f"{url!r} is neither http://HOST:PORT nor https://HOST:PORT")
    # A GRIP_URL may carry keys for hosted services in its query (GRIP.md 10): not for this API.
    path = f"{parts.path.rstrip('/')}/publish/"
    return host, port, path, HTTPSConnection if parts.scheme == "https" else HTTPConnection


def _unreachable(url: str, error: Exception) -> NoReturn:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    raise PublishError(f"cannot publish to {url}: {why or type(error).__name__}") from None
