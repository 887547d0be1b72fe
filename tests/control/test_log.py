import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from control.log import configure, log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_is_one_line_of_keys_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "logfmt", role="control")
    log.info("started", workers=2, listen="0.0.0.0:7999")
    out, err = capsys.readouterr()
    assert out == ""
    time, rest = err.split(" ", 1)
    assert time.startswith("time=2")
    assert rest == "level=info role=control event=started workers=2 listen=0.0.0.0:7999\n"


def test_json_has_the_same_keys(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", role="control")
    log.info("started", workers=2)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time")
    assert line == {"level": "info", "role": "control", "event": "started", "workers": 2}


@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.parametrize("sent", ["a\r\nlevel=error", "\x1b[31m", "\x85", "\u2028", "\udcff"])
def test_a_stranger_cannot_write_a_line_of_their_own(
    form: str, sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info", form, role="control")  # type: ignore[arg-type]
    log.info("refused", path=sent)
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line.splitlines()) == 1


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning", "logfmt", role="control")
    log.info("started")
    log.warning("few_open_files")
    assert capsys.readouterr().err.count("event=") == 1


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "logfmt", role="control")
    logging.getLogger("aiohttp").info("chatter")
    logging.getLogger("aiohttp").warning("odd %s", "thing")
    err = capsys.readouterr().err
    assert 'level=warning role=control event=library source=aiohttp text="odd thing"' in err
    assert "chatter" not in err


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "logfmt", role="control")
    try:
        raise RuntimeError("ours")
    except RuntimeError:
        log.exception("bug")
    assert len(capsys.readouterr().err.splitlines()) == 1
