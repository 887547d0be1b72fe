"""What an exception of aiohttp says of an origin: in words for the log, and by GRIP.md's names.

Never shows what the origin has sent: heads and bodies carry secrets.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientSSLError,
    ServerDisconnectedError,
)
from aiohttp.http_exceptions import ContentLengthError, HttpProcessingError, TransferEncodingError

# Whatever an origin, or the way to it, may do wrong.
FAILURES = (ClientError, HttpProcessingError, OSError, asyncio.TimeoutError)

_QUOTED = re.compile(r":?\s+b['\"]")  # where aiohttp begins to show what it could not read


def in_words(error: BaseException) -> str:
    """Say in a few words what went wrong."""
    match error:
        case asyncio.TimeoutError():
            return "timed out"
        case ServerDisconnectedError():
            return "the connection was closed before the head of the answer was complete"
        case ClientPayloadError():
            return in_words(error.__cause__) if error.__cause__ else "incomplete"
        case ContentLengthError():
            return "shorter than its Content-Length"
        case TransferEncodingError(message=message) if message.startswith("Not enough data"):
            return "ended without its last chunk"
        case HttpProcessingError(message=message):
            return f"malformed: {_first_sentence(message)}"
        case ClientConnectorCertificateError():
            return in_words(error.certificate_error)
        case ClientConnectorError():
            return in_words(error.os_error)
        case OSError(errno=int(number)) if number > 0 and not isinstance(error, ssl.SSLError):
            return os.strerror(number)
        case OSError(strerror=str(text)):
            return text
    return str(error) or type(error).__name__


def when_unconnected(error: BaseException) -> str:
    """Name, as GRIP.md 3.7 does, why there is no connection."""
    if isinstance(error, ClientSSLError | ssl.SSLError):
        return "tls error"
    if isinstance(error, asyncio.TimeoutError):
        return "connection timed out"
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    return "connection refused" if isinstance(cause, ConnectionRefusedError) else "general error"


def when_unanswered(error: BaseException) -> str:
    """Name, as GRIP.md 3.7 does, why there is no answer on a connection."""
    return "request timed out" if isinstance(error, asyncio.TimeoutError) else "disconnected"


def _first_sentence(message: str) -> str:
    unquoted = _QUOTED.split(message, maxsplit=1)[0]
    return " ".join(unquoted.split()).rstrip(":")
