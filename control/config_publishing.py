"""The settings of what is published, and of how it is delivered.

Part of the model of `config.py`, which says how settings are declared. Names are Pushpin's where it
has the same thing.
"""

from __future__ import annotations

from pydantic_settings import BaseSettings

from control.config_field import setting

GROUP = "Publishing"
MESSAGE_HWM_MAX = 100_000_000  # deliveries; each takes some 200 bytes while it waits


class PublishingSettings(BaseSettings):
    """From the publish API to the clients."""

    push_in_http_max_headers_size: int = setting(
        10_000,
        GROUP,
        "The longest head of a publish request.",
        unit="bytes",
        ge=1024,
        le=131_072,
    )
    push_in_http_max_body_size: int = setting(
        1_000_000,
        GROUP,
        "The longest body of a publish request.",
        unit="bytes",
        ge=1024,
        le=3_000_000,  # so that an item fits a packet of the link, fastpath/LINK.md
    )
    id_cache_ttl: int = setting(
        60,
        GROUP,
        "How long an item's id is remembered, so that a second one with it is dropped. 0: not.",
        unit="seconds",
        ge=0,
        le=86_400,
    )
    message_wait: int = setting(
        5000,
        GROUP,
        "How long an item waits for the one that its prev-id names.",
        unit="milliseconds",
        ge=0,
        le=600_000,
    )
    message_rate: int = setting(
        0,
        GROUP,
        "Deliveries to clients in a second, shared evenly among the workers; the others wait for "
        "their turn. 0: no limit.",
        unit="deliveries",
        ge=0,
        le=100_000_000,
    )
    message_hwm: int = setting(
        25_000,
        GROUP,
        "With message_rate: how many deliveries may wait, shared evenly among the workers, for "
        "each route with an id, and for all others together; more are dropped.",
        unit="deliveries",
        ge=1,
        le=MESSAGE_HWM_MAX,
    )
    message_block_size: int = setting(
        0,
        GROUP,
        "With message_rate: a delivery counts as one for each so many bytes of its content. "
        "0: as one, whatever its size. The stats socket is then told of blocks too.",
        unit="bytes",
        ge=0,
        le=1_000_000_000,
    )
    subscription_linger: int = setting(
        60,
        GROUP,
        "How long the last id of a channel is kept after its last subscriber has left.",
        unit="seconds",
        ge=0,
        le=86_400,
    )
    update_on_first_subscription: bool = setting(
        False,
        GROUP,
        "A second after the first subscription to a channel, ask the origins of its HTTP sessions "
        "again: for publishers who look for subscribers before they publish.",
    )
    link_backlog_max_bytes: int = setting(
        16 * 1024 * 1024,
        GROUP,
        "What may wait for one worker; beyond it, publishers wait.",
        unit="bytes",
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
    )
