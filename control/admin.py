"""What an operator asks of a running Fanway: its health and its metrics.

Answers as values; `ingest` carries them. Looks at everything and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def metrics(registry: CollectorRegistry, accept: str) -> tuple[str, bytes]:
    """Content type and body for GET /metrics, in the format that the scraper accepts."""
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


def health(linked: Collection[int], silent: Sequence[int], worker_count: int) -> tuple[int, bytes]:
    """Status and JSON body for GET /healthz: 200 while every worker is linked and answers."""
    missing = [worker for worker in range(worker_count) if worker not in linked]
    is_ok = not missing and not silent
    body = {
        "status": "ok" if is_ok else "degraded",
        "workers": worker_count,
        "missing_workers": missing,
        "silent_workers": silent,
    }
    return (200 if is_ok else 503), orjson.dumps(body) + b"\n"
