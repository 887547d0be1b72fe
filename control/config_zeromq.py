"""The settings of what speaks ZeroMQ, and of the statistics that are published over it.

Part of the model of `config.py`, which says how settings are declared. Names are Pushpin's.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import field_validator
from pydantic_settings import BaseSettings

from control.address import Address, parse_address
from control.config_field import TextList, setting

ALL_IPV4 = "0.0.0.0"
GROUP = "ZeroMQ"
STATS_GROUP = "Statistics"
SPEC = "tcp://ADDR:PORT, or ipc://PATH"
SPEC_SHAPE = re.compile(r"tcp://\S+:(\d{1,5}|\*)|ipc://\S+")


class ZeroMqSettings(BaseSettings):
    """Off as long as no address is given; needs the extra `fanway[zmq]`."""

    push_in_spec: str = setting(
        "",
        GROUP,
        "Where publishers PUSH items over ZeroMQ. Empty: nowhere.",
        metavar=SPEC,
    )
    push_in_sub_specs: TextList = setting(
        [],
        GROUP,
        "Where publishers publish items over ZeroMQ to channels that are subscribed to. "
        "Empty: nowhere.",
        metavar=SPEC,
    )
    push_in_sub_connect: bool = setting(
        False,
        GROUP,
        "Connect to the addresses of push_in_sub_specs instead of listening on them.",
    )
    command_spec: str = setting(
        "",
        GROUP,
        "Where commands are answered over ZeroMQ: get-zmq-uris, publish, recover, refresh, "
        "conncheck. Empty: nowhere.",
        metavar=SPEC,
    )
    stats_spec: str = setting(
        "",
        GROUP,
        "Where statistics are published over ZeroMQ as they happen. Empty: nowhere, and nothing "
        "is kept of single connections.",
        metavar=SPEC,
    )
    ipc_file_mode: str = setting(
        "",
        GROUP,
        "The mode of the files of ipc:// addresses. Empty: whatever umask leaves.",
        metavar="MODE, such as 660",
    )

    stats_format: Literal["tnetstring", "json"] = setting(
        "tnetstring", STATS_GROUP, "How statistics are written on stats_spec."
    )
    stats_connection_send: bool = setting(
        True, STATS_GROUP, "Tell stats_spec of each connection that comes and goes."
    )
    stats_connection_ttl: int = setting(
        120,
        STATS_GROUP,
        "How long what is told of a connection holds; it is repeated after three quarters of it.",
        unit="seconds",
        ge=1,
        le=86_400,
    )
    stats_subscription_ttl: int = setting(
        60,
        STATS_GROUP,
        "How long what is told of a channel holds; it is repeated after three quarters of it.",
        unit="seconds",
        ge=1,
        le=86_400,
    )
    stats_report_interval: int = setting(
        10,
        STATS_GROUP,
        "How often stats_spec is told the sums.",
        unit="seconds",
        ge=1,
        le=86_400,
    )
    prometheus_port: str = setting(
        "",
        STATS_GROUP,
        "Where Pushpin's five metrics are served too, for dashboards that know them. "
        "Empty: only /metrics of control_listen. A lone PORT means all IPv4 addresses.",
        metavar="ADDR:PORT, [V6]:PORT, PORT or unix:PATH",
    )
    prometheus_prefix: str = setting(
        "", STATS_GROUP, "What the names of those five metrics begin with.", metavar="PREFIX"
    )

    @field_validator("push_in_spec", "push_in_sub_specs", "command_spec", "stats_spec")
    @classmethod
    def _specs(cls, value: str | list[str]) -> str | list[str]:
        for text in [value] if isinstance(value, str) else value:
            if text and not SPEC_SHAPE.fullmatch(text):
                raise ValueError(f"{text!r} is neither tcp://ADDR:PORT nor ipc://PATH")
        return value

    @field_validator("ipc_file_mode")
    @classmethod
    def _mode(cls, value: str) -> str:
        if value and not re.fullmatch(r"0?[0-7]{3}", value):
            raise ValueError(f"{value!r} is not an octal mode, such as 660")
        return value

    @field_validator("prometheus_port")
    @classmethod
    def _prometheus_address(cls, value: str) -> str:
        if value:
            parse_address(value, default_host=ALL_IPV4, port_min=0)
        return value

    @field_validator("prometheus_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if not re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?", value):
            raise ValueError(f"{value!r} cannot begin the name of a metric")
        return value

    @field_validator("push_in_sub_specs", mode="before")
    @classmethod
    def _split_specs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [part for part in re.split(r"[,\s]+", value) if part]

    # -- what the settings mean

    @property
    def prometheus_address(self) -> Address | None:
        """`prometheus_port`, parsed."""
        text = self.prometheus_port
        return parse_address(text, default_host=ALL_IPV4, port_min=0) if text else None

    @property
    def zeromq_names(self) -> list[str]:
        """The settings that ask for ZeroMQ."""
        names = ("push_in_spec", "push_in_sub_specs", "command_spec", "stats_spec")
        return [name for name in names if getattr(self, name)]

    @property
    def ipc_mode(self) -> int | None:
        """`ipc_file_mode` as a number."""
        return int(self.ipc_file_mode, 8) if self.ipc_file_mode else None
