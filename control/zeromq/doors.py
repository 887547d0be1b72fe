"""Everything that speaks ZeroMQ, as far as the settings ask for it: opened, wired, closed."""

from __future__ import annotations

import os

from control.config import Settings
from control.link.server import LinkServer
from control.publish import Publisher
from control.pushpin_metrics import Summing
from control.traffic import RouteOf
from control.websockets import WebSockets
from control.zeromq.command import Commands, CommandServer
from control.zeromq.ingest import PullIngest, SubIngest
from control.zeromq.sockets import Sockets
from control.zeromq.stats_out import Telling


class Doors:
    """The ZeroMQ sockets of control."""

    def __init__(
        self,
        settings: Settings,
        *,
        publisher: Publisher,
        websockets: WebSockets,
        links: LinkServer,
        summing: Summing,
        route_of: RouteOf,
    ) -> None:
        """Open what is asked for, in a running loop. CannotOpen."""
        self._sockets = sockets = Sockets(ipc_mode=settings.ipc_mode)
        self._sub: SubIngest | None = None
        self.telling: Telling | None = None
        addresses: dict[str, str] = {}
        try:
            if settings.stats_spec:
                self.telling = Telling(
                    sockets,
                    settings,
                    instance=f"fanway_{os.getpid()}",
                    summing=summing,
                    route_of=route_of,
                )
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
                    is_alive=self.telling.account.is_alive if self.telling else _nobody,
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
        if self.telling is not None:
            self.telling.close()
        self._sockets.close()


def _nobody(_connection_id: str) -> bool:
    return False
