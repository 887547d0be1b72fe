"""Everything that speaks ZeroMQ, as far as the settings ask for it: opened, wired, closed."""

from __future__ import annotations

from collections.abc import Callable

from control.config import Settings
from control.link.server import LinkServer
from control.publish import Publisher
from control.websockets import WebSockets
from control.zeromq.command import Commands, CommandServer
from control.zeromq.ingest import PullIngest, SubIngest
from control.zeromq.sockets import Sockets


class Doors:
    """The ZeroMQ sockets of control."""

    def __init__(
        self,
        settings: Settings,
        *,
        publisher: Publisher,
        websockets: WebSockets,
        links: LinkServer,
        is_alive: Callable[[str], bool],
    ) -> None:
        """Open what is asked for, in a running loop. CannotOpen.

        `is_alive` knows the connections whose ids statistics have named.
        """
        self._sockets = sockets = Sockets(ipc_mode=settings.ipc_mode)
        self._sub: SubIngest | None = None
        addresses: dict[str, str] = {}
        try:
            if settings.push_in_spec:
                pull = PullIngest(sockets, settings.push_in_spec, publisher=publisher, links=links)
                addresses["publish-pull"] = pull.address
            if settings.push_in_sub_specs:
                self._sub = SubIngest(
                    sockets,
                    settings.push_in_sub_specs,
                    connect=settings.push_in_sub_connect,
                    publisher=publisher,
                    links=links,
                )
                if self._sub.address:
                    addresses["publish-sub"] = self._sub.address
            if settings.command_spec:
                commands = Commands(
                    publisher=publisher,
                    websockets=websockets,
                    is_alive=is_alive,
                    addresses=addresses,
                )
                server = CommandServer(
                    sockets, settings.command_spec, commands=commands, links=links
                )
                addresses["command"] = server.address
        except OSError:
            sockets.close()
            raise

    def gained(self, channel: str) -> None:
        """Take note that a channel is subscribed."""
        if self._sub is not None:
            self._sub.subscribe(channel)

    def forgotten(self, channel: str) -> None:
        """Take note that a channel is subscribed no longer."""
        if self._sub is not None:
            self._sub.unsubscribe(channel)

    def close(self) -> None:
        """Close everything."""
        self._sockets.close()
