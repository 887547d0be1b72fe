"""Why sessions end, and every sentence that Fanway says to a client in its own name.

The numbers are those of `fastpath/reasons.pxd`; statuses, close codes and texts live here only,
and reach the workers inside WELCOME. Nothing here knows how an answer is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus


class Reason(IntEnum):
    """One row a reason: code; HTTP status, WebSocket close code (None: not sent), text.

    A text with a status is the body of the answer, one line; the others are for logs. Where
    GRIP.md (1.13, 8.7) gives the text, it is that one. `{head_bytes_max}` is a setting.
    """

    status: int | None
    close_code: int | None
    text: str

    def __new__(cls, code: int, status: int | None, close_code: int | None, text: str) -> Reason:
        """Make an integer that carries its row."""
        row = int.__new__(cls, code)
        row._value_ = code
        row.status = status
        row.close_code = close_code
        row.text = text
        return row

    PEER_CLOSED = 1, None, None, "the client closed the connection"
    PEER_RESET = 2, None, 1006, "the connection was reset"
    BAD_REQUEST = 10, 400, 1002, "Failed to parse request: <why>\n"
    HEAD_TOO_BIG = 11, 431, None, "Request header size exceeded limit of {head_bytes_max} bytes.\n"
    BODY_TOO_BIG = 12, 413, 1009, "Request body too large.\n"
    HEAD_TIMEOUT = 13, 408, None, "Request header took too long.\n"
    BAD_UPGRADE = (
        *(14, 400, None),
        'Request contained an Upgrade header with value "websocket" but the request was not a '
        "valid WebSocket request.\n",
    )
    BAD_FRAME = 20, None, 1002, "malformed WebSocket frame"
    BAD_TEXT = 21, None, 1007, "text is not UTF-8"
    MESSAGE_TOO_BIG = 22, None, 1009, "message too large"
    SLOW = 30, None, 1013, "the client did not read fast enough"
    IDLE = 31, None, None, "the connection was idle for too long"
    ORDERED = 40, None, None, "closed by the origin"
    PUBLISHED_CLOSE = 41, None, None, "closed by a published action"
    ORIGIN_FAILED = 50, 502, 1014, "Error while proxying to origin.\n"
    LINK_LOST = 51, 503, 1012, "Accept service unavailable.\n"
    DRAINING = 60, 503, 1001, "Server is shutting down.\n"
    ORDER_REFUSED = 90, 500, 1011, "Internal error.\n"
    INTERNAL = 91, 500, 1011, "Internal error.\n"


def worker_table(*, head_bytes_max: int) -> dict[str, tuple[int, str, str, int]]:
    """What WELCOME tells a worker: code (a JSON key, so text) -> status, phrase, text, close code.

    A reason without a status has 0 and an empty phrase, one without a close code 0. `<why>` is for
    the worker to fill in.
    """
    return {
        str(int(reason)): (
            reason.status or 0,
            HTTPStatus(reason.status).phrase if reason.status else "",
            reason.text.format(head_bytes_max=head_bytes_max),
            reason.close_code or 0,
        )
        for reason in Reason
    }


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that control gives instead of the origin's: HTTP status and text."""

    status: int
    text: str

    @property
    def phrase(self) -> str:
        """The reason phrase of the status line."""
        return HTTPStatus(self.status).phrase

    def __call__(self, **values: str) -> Refusal:
        """The same refusal with the braces of its text filled in."""
        return Refusal(self.status, self.text.format(**values))


# GRIP.md 0.2, 1.11, 1.13, 4.2 and 8.7.
ROUTE_NOT_FOUND = Refusal(502, "Route not found\n")
ORIGIN_FAILED = Refusal(502, Reason.ORIGIN_FAILED.text)
REQUEST_TOO_LARGE_FOR_GRIP = Refusal(400, "Request too large to accept GRIP instruct.\n")
EVENTS_NOT_ALLOWED = Refusal(403, "Client not allowed to send WebSocket events directly.\n")
URI_TOO_LONG = Refusal(500, "Failed to process request.\n")
# A worker refuses such a target itself; `fanway explain` has no worker.
BAD_TARGET = Refusal(400, Reason.BAD_REQUEST.text.replace("<why>", "invalid request target"))

# GRIP.md 8.2.
JSONP_BAD_CALLBACK = Refusal(400, "Invalid callback parameter.\n")
JSONP_BAD_METHOD = Refusal(400, "Invalid _method parameter.\n")
JSONP_BAD_HEADERS = Refusal(400, "Invalid _headers parameter.\n")
JSONP_BAD_BODY = Refusal(400, "Invalid body parameter.\n")
JSONP_BAD_UNDERSCORE_BODY = Refusal(400, "Invalid _body parameter.\n")
JSONP_NOT_UTF8 = Refusal(500, "Upstream response could not be JSON-P encoded.\n")

# What a request sees in debug mode (setting or route option) instead of ORIGIN_FAILED.
BAD_INSTRUCT = Refusal(502, "Failed to parse accept instructions: {why}\n")
INSTRUCT_TOO_LARGE = Refusal(502, "GRIP instruct response too large from {target}\n")
TARGET_FORBIDDEN = Refusal(502, "Error: Origin host/IP blocked.\n")
NO_TARGET_CONNECTS = Refusal(502, "Unable to connect to any targets. Tried: {targets}\n")
