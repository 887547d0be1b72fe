import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from control import publish_command
from control.cli import main


class Api:
    """A publish API that remembers what it was asked, and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.answer = (200, b"Published\n")
        api = self

        class Asked(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.requests.append((self.path, dict(self.headers), json.loads(body)))
                status, text = api.answer
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def item(self) -> dict[str, Any]:
        ((path, headers, body),) = self.requests
        assert path == "/publish/"
        assert headers["Content-Type"] == "application/json"
        (item,) = body["items"]
        return dict(item)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()
    monkeypatch.setenv("GRIP_URL", api.url)
    yield api
    api.server.shutdown()
    api.thread.join()
    api.server.server_close()


def test_221_content_goes_out_in_all_three_formats(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", "news", "hello"]) == 0
    assert capsys.readouterr().out == "Published\n"
    assert api.item() == {
        "channel": "news",
        "formats": {
            "http-response": {"code": 200, "body": "hello\n"},
            "http-stream": {"content": "hello\n"},
            "ws-message": {"content": "hello"},
        },
    }


def test_221_no_eol_leaves_the_content_as_it_is(api: Api) -> None:
    main(["publish", "news", "hello", "--no-eol"])
    assert api.item()["formats"]["http-stream"] == {"content": "hello"}


def test_221_ids_meta_and_no_seq(api: Api) -> None:
    options = ["--id", "2", "--prev-id", "1", "--sender", "me", "-M", "a=b=c", "--no-seq"]
    main(["publish", "news", "x", *options])
    item = api.item()
    assert (item["id"], item["prev-id"], item["no-seq"]) == ("2", "1", True)
    assert item["meta"] == {"a": "b=c", "sender": "me"}


def test_221_code_and_headers_are_those_of_http_response(api: Api) -> None:
    main(["publish", "news", "x", "--code", "404", "-H", "X-A: 1", "-H", "X-A:2"])
    assert api.item()["formats"]["http-response"] == {
        "code": 404,
        "headers": [["X-A", "1"], ["X-A", "2"]],
        "body": "x\n",
    }


def test_221_hint_and_close_are_actions(api: Api) -> None:
    main(["publish", "news", "--hint"])
    assert api.item()["formats"] == {
        name: {"action": "hint"} for name in ("http-response", "http-stream", "ws-message")
    }
    api.requests.clear()
    main(["publish", "news", "--close"])
    assert api.item()["formats"] == {
        name: {"action": "close"} for name in ("http-stream", "ws-message")
    }


def test_221_a_patch_is_for_http_response_only(api: Api) -> None:
    main(["publish", "news", '[{"op": "remove", "path": "/a"}]', "--patch"])
    assert api.item()["formats"] == {
        "http-response": {"code": 200, "body-patch": [{"op": "remove", "path": "/a"}]}
    }


def test_221_a_file_is_taken_as_it_is_and_bytes_that_are_no_text_as_base64(
    api: Api, tmp_path: Path
) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"\xff")
    main(["publish", "news", f"@{path}", "--no-eol"])
    assert api.item()["formats"] == {
        "http-response": {"code": 200, "body-bin": "/w=="},
        "http-stream": {"content-bin": "/w=="},
        "ws-message": {"content-bin": "/w=="},
    }


def test_a_dash_is_standard_input(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    main(["publish", "news", "-"])
    assert api.item()["formats"]["ws-message"] == {"content": "from a pipe"}


@pytest.mark.parametrize("tail", ["", "/", "?iss=me&key=secret"])
def test_222_grip_url_is_where_it_publishes(
    api: Api, monkeypatch: pytest.MonkeyPatch, tail: str
) -> None:
    monkeypatch.setenv("GRIP_URL", f"{api.url}/base{tail}")
    main(["publish", "news", "x"])
    assert api.requests[0][0] == "/base/publish/"


def test_222_spec_beats_grip_url(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIP_URL", "http://127.0.0.1:1")
    assert main(["publish", "news", "x", "--spec", api.url]) == 0


def test_a_refusal_is_shown(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.answer = (400, b"Invalid format: no\n")
    assert main(["publish", "news", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Error: {api.url} answered 400 Bad Request: Invalid format: no\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["x", "--spec", "http://127.0.0.1:1"], "cannot publish to http://127.0.0.1:1: Connection"),
        (
            ["x", "--spec", "tcp://127.0.0.1:1", "-u", "me:secret"],
            "Authentication requires https",
        ),
        (["x", "--spec", "tcp://nonsense"], "cannot publish to tcp://nonsense: Invalid argument"),
        (["x", "--spec", "localhost:5561"], "'localhost:5561' is neither http://HOST:PORT nor"),
        (["x", "--spec", "http://a:b"], "'http://a:b' is not a URL: Port could not be"),
        (["x", "--spec", "http://a", "-u", "me:secret"], "Authentication requires https"),
        (["x", "--spec", "http://a", "-B", "token"], "Authentication requires https"),
        ([], "there is no CONTENT (- reads it from standard input)"),
        (["@/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["x", "-M", "novalue"], "--meta 'novalue': must be NAME=VALUE"),
        (["x", "-H", "novalue"], "--header 'novalue': must be NAME:VALUE"),
        (["x", "--code", "1000"], "--code 1000: must be 0 to 999"),
        (["{}", "--patch"], "the patch is not a JSON array"),
        (["{", "--patch"], "the patch is not JSON: "),
    ],
)
def test_221_failure_is_one_line_and_exit_code_1(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", "news", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {error}")
    assert err.count("\n") == 1


def test_hint_and_close_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["publish", "news", "--hint", "--close"])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("fanway: argument --close: not allowed with")


def test_221_over_zeromq_somebody_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish_command, "ZEROMQ_SECONDS", 0)
    assert main(["publish", "c", "x", "--spec", "tcp://127.0.0.1:1"]) == 1
    error = capsys.readouterr().err
    assert error == "Error: cannot publish to tcp://127.0.0.1:1: nobody is there\n"


def test_over_zeromq_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    assert main(["publish", "c", "x", "--spec", "tcp://127.0.0.1:1"]) == 1
    error = capsys.readouterr().err
    assert error == "Error: --spec: ZeroMQ is not installed; pip install 'fanway[zmq]'\n"
