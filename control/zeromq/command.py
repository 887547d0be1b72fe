"""The command socket: requests and replies over ZeroMQ (GRIP.md 9.2).

`Commands.answer` is from the bytes of a request to those of its reply; `CommandServer` has the
socket. Decides nothing that the rooms behind the commands decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import zmq

from control.errors import ItemError
from control.grip.fields import to_text
from control.grip.item import Item
from control.grip.payload import item_shape, read_tnetstring, shape, write_tnetstring
from control.grip.values import BadValue
from control.link.server import LinkServer
from control.log import log
from control.publish import Publisher
from control.websockets import WebSockets
from control.zeromq.sockets import Sockets, endpoint

Args = Mapping[bytes, Any]


class Refusal(Exception):
    """A command is not carried out: the condition of the reply, and its value."""

    def __init__(self, condition: str, value: object = None) -> None:
        super().__init__(condition)
        self.condition = condition
        self.value = value


class Commands:
    """What can be asked for, by name."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        websockets: WebSockets,
        is_alive: Callable[[str], bool],
        addresses: Mapping[str, str],
    ) -> None:
        """Take `addresses` by what is to be found there; they may be known later.

        `is_alive` knows the connections whose ids statistics have named.
        """
        self._publisher = publisher
        self._websockets = websockets
        self._is_alive = is_alive
        self._addresses = addresses
        self._methods: dict[bytes, Callable[[Args], object]] = {
            b"get-zmq-uris": self._get_zmq_uris,
            b"publish": self._publish,
            b"recover": self._recover,
            b"refresh": self._refresh,
            b"conncheck": self._conncheck,
        }

    def answer(self, request: bytes) -> bytes:
        """Carry out one command, and word the reply."""
        reply: dict[str, Any] = {}
        try:
            asked = read_tnetstring(request)
            if not isinstance(asked, dict):
                raise BadValue("not a map")
            if isinstance(asked.get(b"id"), bytes):
                reply["id"] = to_text(asked[b"id"])
            value = self._carry_out(asked)
        except BadValue as error:
            reply |= {"success": False, "condition": "bad-request", "value": str(error)}
        except Refusal as refusal:
            reply |= {"success": False, "condition": refusal.condition}
            if refusal.value is not None:
                reply["value"] = refusal.value
        else:
            reply |= {"success": True, "value": value}
        return write_tnetstring(reply)

    def _carry_out(self, asked: Args) -> object:
        method = self._methods.get(asked.get(b"method", b""))
        if method is None:
            raise Refusal("method-not-found")
        args = asked.get(b"args", {})
        if not isinstance(args, dict):
            raise Refusal("bad-request")
        return method(args)

    def _get_zmq_uris(self, _args: Args) -> object:
        return dict(self._addresses)

    def _publish(self, args: Args) -> object:
        items = args.get(b"items")
        if b"items" not in args:
            raise BadValue("Invalid format: object does not contain 'items'")
        if not isinstance(items, list):
            raise BadValue("Invalid format: object contains 'items' with wrong type")
        try:
            checked = [Item.from_json(item_shape(item)) for item in items]
        except (ItemError, BadValue) as error:
            raise BadValue(f"Invalid format: {error}") from None
        self._publisher.publish(checked)
        return None

    def _recover(self, _args: Args) -> object:
        self._publisher.recover()
        return None

    def _refresh(self, args: Args) -> object:
        cid, channel = args.get(b"cid"), args.get(b"channel")
        if isinstance(cid, bytes):
            if not self._websockets.refresh(cid):
                raise Refusal("item-not-found")
        elif isinstance(channel, bytes):
            self._publisher.refresh(to_text(channel))
        else:
            raise Refusal("bad-request")
        return None

    def _conncheck(self, args: Args) -> object:
        ids = shape(args.get(b"ids"))
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise Refusal("bad-request")
        conversing = self._websockets.ids()
        return [one for one in ids if one in conversing or self._is_alive(one)]


class CommandServer:
    """The socket of the commands: REQ clients, and DEALER clients that do not wait for replies."""

    def __init__(
        self, sockets: Sockets, spec: str, *, commands: Commands, links: LinkServer
    ) -> None:
        """Listen. CannotOpen."""
        self._commands = commands
        # ROUTER, since REP would take one request at a time.
        self._socket = sockets.open(zmq.ROUTER, [spec], name="command_spec")
        sockets.read(self._socket, self._take, links.uncongested)
        self.address = endpoint(self._socket)

    def _take(self, parts: list[bytes]) -> None:
        """Answer one request: who asks, an empty part, and the request."""
        envelope, request = parts[:-1], parts[-1]
        if len(envelope) < 2 or envelope[-1]:
            log.warning(
                "command_refused", reason=f"a message of {len(parts)} parts, or no empty one"
            )
            return
        try:
            self._socket.send_multipart([*envelope, self._commands.answer(request)], zmq.NOBLOCK)
        except zmq.Again:  # who asks does not read: ROUTER drops what it cannot send
            log.warning("command_reply_dropped")
