"""docs/compatibility.md says of Pushpin what `make differential` found, and explains it."""

from __future__ import annotations

from contextlib import closing

import pytest

from differential import pushpin, report
from support.client import Client
from support.origin import Hub, Origin
from support.sources import ROOT, sources
from support.spelling import answer, request


def test_every_difference_is_explained_and_every_explanation_needed() -> None:
    assert report.faults(report.Record.read().tests, report.differences()) == []


def test_the_page_has_the_tables_of_the_record() -> None:
    assert report.PAGE.read_text() == report.page_with(report.Record.read(), report.differences())


def test_what_is_explained_is_still_a_conversation() -> None:
    there = {path.name: path.read_text() for path in sources("tests/conversations")}
    gone = [
        test
        for difference in report.differences()
        for test in difference.tests
        for file, _, function in [test.partition("::")]
        if f"def {function}(" not in there.get(file, "")
    ]
    assert not gone, f"explained in {report.DIFFERENCES.relative_to(ROOT)}, and gone: {gone}"


@pytest.mark.skipif(not pushpin.is_installed(), reason="Pushpin is not installed")
def test_pushpin_takes_the_place_of_fanway(hub: Hub, origin: Origin, channel: str) -> None:
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}", body=b"open"))
    with pushpin.Pushpin("--sig-iss", "one, two", routes=[f"* {hub.target}"]) as proxy:
        with closing(Client(proxy.address)) as client:
            reply = client.send(request(origin.host)).reply()
            reply.expect(b"open")
            proxy.publish_stream(channel, " and more")
            reply.expect(b" and more")
