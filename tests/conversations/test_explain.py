"""`fanway explain`: what would become of an origin's answer, and why."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support.fanway import run_command
from support.origin import Hub, Origin
from support.spelling import answer, instruct

Explained = tuple[int, dict[str, list[str]]]


@pytest.fixture
def explain(hub: Hub, origin: Origin) -> Callable[..., Explained]:
    """Runs the command for this test's origin: its exit code, and its sections."""

    def explain(path: str = "/", *more: str, route: str = "*", target: str = "") -> Explained:
        line = f"{route} {hub.target}{target}"
        done = run_command("explain", f"http://{origin.host}{path}", *more, "--route", line)
        assert done.stderr == ""
        sections: dict[str, list[str]] = {}
        for printed in done.stdout.splitlines():
            title, text = printed[:10].strip(), printed[11:]
            if title:
                sections[title] = lines = []
            lines.append(text)
        return done.returncode, sections

    return explain


def test_an_ordinary_answer_is_passed_on(explain: Callable[..., Explained], origin: Origin) -> None:
    origin.answers(answer("X-A: 1", body=b"hello", status="201 Made"))
    code, told = explain("/a?b", "-H", "Cookie: c=d", "--sig-key", "secret")
    assert (code, told["verdict"]) == (0, ["passed on as it is"])
    assert "no header begins with Grip-" in told["because"][0]
    assert told["client"] == ["201 Made", "X-A: 1", "Content-Length: 5", "", "hello"]
    (sent,) = origin.requests
    assert (sent.target, sent.one("Cookie")) == ("/a?b", "c=d")
    assert sent.one("Grip-Sig") is not None
    assert f"Grip-Sig: {sent.one('Grip-Sig')}" not in told["asked"]


def test_a_hold_is_explained_channel_by_channel(
    explain: Callable[..., Explained], origin: Origin
) -> None:
    grip = ("Grip-Hold: response", "Grip-Channel: a; prev-id=7, b; filter=skip-self")
    origin.answers(answer(*grip, "Grip-Timeout: 1", body=b"nothing"))
    code, told = explain(route="*,prefix=p-", target=",sub=always")
    assert (code, told["verdict"]) == (0, ["held, for one response"])
    because = "\n".join(told["because"])
    for words in ("'always'", "sub=", "'p-a', which must be at id '7'", "'p-b', filters skip-self"):
        assert words in because
    assert "5 s" in because
    assert told["client"][0] == "after the time:"
    assert told["client"][-1] == "nothing"


def test_a_stream_is_explained_with_its_keep_alive(
    explain: Callable[..., Explained], origin: Origin
) -> None:
    alive = r"Grip-Keep-Alive: \n; format=cstring; timeout=20"
    origin.answers(answer("Grip-Hold: stream", "Grip-Channel: a", alive, body=b"open"))
    code, told = explain()
    assert (code, told["verdict"]) == (0, ["held, as a stream"])
    assert any("every 20 s of silence" in line for line in told["because"])


def test_links_are_explained_by_where_they_lead(
    explain: Callable[..., Explained], origin: Origin
) -> None:
    links = ("Grip-Link: <next>; rel=next; timeout=7", "Grip-Link: </bye>; rel=gone")
    origin.answers(answer("Grip-Hold: stream", "Grip-Channel: a; prev-id=1", *links))
    _, told = explain()
    because = "\n".join(told["because"])
    assert f"http://{origin.host}/next is asked for what follows" in because
    assert "7 s" in because
    assert f"http://{origin.host}/bye is told" in because
    origin.answers(answer(links[0], body=b"one"))
    _, told = explain()
    assert told["verdict"] == ["answered, and continued"]


def test_a_json_instruct_is_explained(explain: Callable[..., Explained], origin: Origin) -> None:
    channels = [{"name": str(number)} for number in range(25)]
    hold = {"mode": "stream", "channels": channels}
    origin.answers(instruct({"hold": hold, "response": {"body": "open"}}))
    _, told = explain()
    assert "it instructs: its body is the instruct (1.5)" in told["because"]
    assert any(line.startswith("5 more channels are ignored") for line in told["because"])


def test_an_invalid_instruct_is_refused_with_its_reason(
    explain: Callable[..., Explained], origin: Origin
) -> None:
    origin.answers(answer("Grip-Hold: forever"))
    code, told = explain()
    assert (code, told["verdict"]) == (1, ["refused with 502"])
    assert "must be set to either 'response' or 'stream'" in told["because"][0]
    assert told["client"][-1] == "Error while proxying to origin."
    code, told = explain(route="*,debug")
    assert told["client"][-1].startswith("Failed to parse accept instructions: Grip-Hold must")


@pytest.mark.parametrize(
    ("route", "why"), [("*,no_grip", "the route has no_grip"), ("*", "no header begins")]
)
def test_why_an_answer_is_not_grips(
    explain: Callable[..., Explained], origin: Origin, route: str, why: str
) -> None:
    origin.answers(answer("Grip-Hold: stream") if "no_grip" in route else answer())
    code, told = explain(route=route)
    assert code == 0
    assert told["because"][0].startswith(why)


def test_no_route_and_no_origin_are_refusals(origin: Origin, refused: tuple[str, str]) -> None:
    done = run_command("explain", "/", "--route", f"b.test {refused[0]}")
    assert done.returncode == 1
    assert "no route for 'localhost'" in done.stdout
    done = run_command("explain", "/", "--debug", "--route", f"* {refused[0]}")
    assert done.returncode == 1
    assert f"Unable to connect to any targets. Tried: {refused[0]}" in done.stdout


@pytest.mark.parametrize("url", ["ftp://a.test/", "http://", "http://a.test:x/"])
def test_what_is_no_url_is_an_error_of_the_arguments(url: str) -> None:
    done = run_command("explain", url, "--route", "* test")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fanway: '{url}'")


def test_what_an_origin_sends_does_not_reach_the_terminal(
    explain: Callable[..., Explained], origin: Origin
) -> None:
    origin.answers(answer(body=json.dumps("x").encode() + b"\x1b[2J"))
    _, told = explain()
    assert told["client"][-1] == r'"x"\x1b[2J'
