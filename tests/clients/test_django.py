"""A Django project with django-grip and django-eventstream, unmodified, behind Fanway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from support.client import Client, Reply
from support.fanway import Fanway
from support.keys import SIG_KEY
from support.programs import CLIENTS, Program, reserved_port
from support.spelling import request

EVENTS_COUNT = 40
EVENTS_PER_CONNECTION = 3  # then the client loses it

MANAGE = [sys.executable, str(CLIENTS / "django_app" / "manage.py")]
Ask = Callable[..., Client]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fanway, int]]:
    """Fanway before the project, and the project's own port."""
    database = str(tmp_path_factory.mktemp("django") / "db.sqlite3")
    with reserved_port() as port:
        routes = [f"* 127.0.0.1:{port}"]
        with Fanway("--sig-key", SIG_KEY, "--sig-iss", "fanway", routes=routes) as fanway:
            # django-grip looks for `key` even where there is a `verify-key`.
            keys = f"key={SIG_KEY}&verify-key={SIG_KEY}&verify-iss=fanway"
            grip_url = f"{fanway.publish_url}?{keys}"
            settings = {"DATABASE": database, "GRIP_URL": grip_url, "PYTHONUNBUFFERED": "1"}
            subprocess.run([*MANAGE, "migrate", "-v0"], env={**os.environ, **settings}, check=True)
            serve = [*MANAGE, "runserver", f"127.0.0.1:{port}", "--noreload", "--skip-checks"]
            with Program(serve, **settings) as program:
                while "Starting development server" not in program.line():
                    pass
                yield fanway, port


@pytest.fixture
def ask(application: tuple[Fanway, int]) -> Iterator[Ask]:
    clients: list[Client] = []

    def ask(target: str, *headers: str, **spelling: object) -> Client:
        clients.append(Client(application[0].address))
        return clients[-1].send(request("a.test", target, *headers, **spelling))

    yield ask
    for client in clients:
        client.close()


class Events:
    """What an EventSource makes of a response: events, and the id to resume from."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._text = ""
        self.last_id = ""

    def next(self) -> tuple[str, str]:
        """Type and content of the next event."""
        while True:
            while "\n\n" not in self._text:
                piece = self._reply.piece()
                assert piece, "the stream ended"
                self._text += piece.decode()
            block, _, self._text = self._text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                return fields.get("event", "message"), fields["data"]


def _send(ask: Ask, text: str) -> None:
    assert ask("/send/", method="POST", body=text.encode()).response("POST").status == 204


def test_it_refuses_what_the_proxy_has_not_signed(application: tuple[Fanway, int]) -> None:
    client = Client(("127.0.0.1", application[1]))
    unsigned = client.send(request("a.test", "/events/")).response()
    client.close()
    assert unsigned.status == 403


def test_an_event_reaches_an_event_stream(ask: Ask) -> None:
    events = Events(ask("/events/").reply())
    for text in ("first", "second", "100 %"):
        _send(ask, text)
        assert events.next() == ("message", json.dumps(text))


def test_who_comes_back_gets_every_event_once_and_in_order(ask: Ask) -> None:
    events = Events(client_reply := ask("/events/").reply())
    _send(ask, "begin")
    assert events.next() == ("message", '"begin"')
    sender = threading.Thread(
        target=lambda: [_send(ask, f"{number}") for number in range(EVENTS_COUNT)]
    )
    sender.start()
    received: list[str] = []
    while len(received) < EVENTS_COUNT:
        client_reply.client.close()
        last_id = events.last_id
        events = Events(client_reply := ask("/events/", f"Last-Event-ID: {last_id}").reply())
        events.last_id = last_id
        for _ in range(min(EVENTS_PER_CONNECTION, EVENTS_COUNT - len(received))):
            received.append(json.loads(events.next()[1]))
    sender.join()
    assert received == [str(number) for number in range(EVENTS_COUNT)]
