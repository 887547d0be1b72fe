"""The ids of WebSocket clients, as origins, commands and statistics know them (GRIP.md 4.2, 9.1).

Those of other clients are the account's own: nobody else has to know them.
"""

from __future__ import annotations

from uuid import uuid4, uuid5

_NAMESPACE = uuid4()  # of this process: nobody can guess an id, and no other control has it


def connection_id(worker_pid: int, ref: int) -> str:
    """Give the id of a session: the same for whoever asks, without a table of them."""
    return str(uuid5(_NAMESPACE, f"{worker_pid}-{ref}"))
