"""Pushpin's settings file: every option becomes a setting, or is listed (GRIP.md 9.4)."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from control.cli import main
from control.config import Settings, SettingsError
from control.config_sources import load
from control.pushpin_conf import is_pushpin, read
from support.pushpin import SHIPPED


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "pushpin.conf"


@pytest.fixture
def made(conf: Path) -> Any:
    """The settings that a file makes."""

    def made(text: str, **how: int) -> Settings:
        conf.write_text(text)
        return load({}, {}, conf, **how)

    return made


def test_the_shipped_file_makes_pushpins_ports_and_names(made: Any, tmp_path: Path) -> None:
    settings = made(SHIPPED)
    assert settings.listen == ["0.0.0.0:7999"]
    assert settings.control_listen == ["127.0.0.1:5561"]
    assert settings.push_in_spec == "tcp://127.0.0.1:5560"
    assert settings.push_in_sub_specs == ["tcp://127.0.0.1:5562"]
    assert settings.command_spec == "tcp://127.0.0.1:5563"
    assert settings.stats_spec == f"ipc://{tmp_path}/run/pushpin-stats"
    assert settings.routes == str(tmp_path / "routes")
    assert (settings.sig_iss, settings.sig_key, settings.log_level) == (
        "pushpin",
        "changeme",
        "info",
    )


def test_what_the_file_does_not_have_is_as_shipped(made: Any, tmp_path: Path) -> None:
    settings = made("[proxy]\nsig_iss=me\n")
    assert settings.sig_iss == "me"
    assert settings.sig_key == ""  # nobody is signed for with a key that everybody knows
    assert settings.listen == ["0.0.0.0:7999"]
    assert settings.push_in_spec == "tcp://127.0.0.1:5560"
    assert settings.stats_spec == f"ipc://{tmp_path}/run/pushpin-stats"


def test_what_is_empty_is_off(made: Any) -> None:
    settings = made("[handler]\npush_in_spec=\npush_in_sub_specs=\ncommand_spec=\nstats_spec=\n")
    assert settings.zeromq_names == []


def test_numbers_that_are_empty_are_at_their_default(made: Any) -> None:
    assert made("[handler]\nmessage_wait=\n").message_wait == 5000


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("[proxy]\ndebug=true", "debug", True),
        ("[proxy]\nx_forwarded_for=truncate:2,append", "x_forwarded_for", ["truncate:2", "append"]),
        ("[proxy]\norig_headers_need_mark=A, B", "orig_headers_need_mark", ["A", "B"]),
        ("[proxy]\nsig_key=base64:AAAA", "sig_key", "base64:AAAA"),
        ('[proxy]\nsig_key="a;b"', "sig_key", "a;b"),
        ("[proxy]\nset_x_forwarded_protocol=true", "set_x_forwarded_protocol", "true"),
        ("[handler]\nmessage_wait=10", "message_wait", 10),
        ("[handler]\nmessage_rate=2500", "message_rate", 2500),
        ("[handler]\nmessage_rate=-1", "message_rate", 0),
        ("[handler]\nmessage_hwm=25000", "message_hwm", 25_000),
        ("[handler]\nmessage_hwm=-1", "message_hwm", 100_000_000),
        ("[handler]\nmessage_block_size=2048", "message_block_size", 2048),
        ("[handler]\nstats_format=json", "stats_format", "json"),
        ("[handler]\nipc_file_mode=777", "ipc_file_mode", "777"),
        ("[handler]\nprometheus_port=9000", "prometheus_port", "0.0.0.0:9000"),
        ("[global]\nstats_connection_send=false", "stats_connection_send", False),
        ("[runner]\nallow_compression=true", "allow_compression", True),
        ("[runner]\nlog_level=0", "log_level", "error"),
        ("[runner]\nlog_level=5", "log_level", "debug"),
        ("[runner]\nlog_level=1,proxy:3", "log_level", "warning"),
        ("[runner]\nhttp_port=80,127.0.0.1:81", "listen", ["0.0.0.0:80", "127.0.0.1:81"]),
        ("[runner]\nhttp_port=[::1]:80", "listen", ["[::1]:80"]),
        ("[handler]\npush_in_http_addr=::1", "control_listen", ["[::1]:5561"]),
        ("[handler]\npush_in_http_port=80", "control_listen", ["127.0.0.1:80"]),
    ],
)
def test_an_option_means_what_it_meant(made: Any, option: str, name: str, value: Any) -> None:
    assert getattr(made(option), name) == value


def test_local_ports_are_listened_on_besides(made: Any, tmp_path: Path) -> None:
    settings = made("[runner]\nlocal_ports=/run/a?mode=777,b\n")
    assert settings.listen == ["unix:/run/a", f"unix:{tmp_path}/b", "0.0.0.0:7999"]
    assert made("[runner]\nhttp_port=\nlocal_ports=/run/a").listen == ["unix:/run/a"]


def test_paths_start_at_the_folder_of_the_file(made: Any, tmp_path: Path) -> None:
    settings = made("[global]\nrundir=r\n[proxy]\nroutesfile=x/y\nsig_key=file:key\n")
    assert settings.routes == str(tmp_path / "x/y")
    assert settings.sig_key == f"file:{tmp_path}/key"
    assert settings.stats_spec == f"ipc://{tmp_path}/r/pushpin-stats"


def test_223_port_offset_moves_the_ports_of_publishers_and_commands(made: Any) -> None:
    settings = made(SHIPPED.replace("port_offset=0", "port_offset=100"))
    assert settings.listen == ["0.0.0.0:7999"]
    assert settings.control_listen == ["127.0.0.1:5661"]
    assert settings.push_in_spec == "tcp://127.0.0.1:5660"
    assert settings.push_in_sub_specs == ["tcp://127.0.0.1:5662"]
    assert settings.command_spec == "tcp://127.0.0.1:5663"


def test_223_an_id_moves_all_ports_and_names(made: Any, tmp_path: Path) -> None:
    settings = made(SHIPPED, instance=2)
    assert settings.listen == ["0.0.0.0:8019"]
    assert settings.control_listen == ["127.0.0.1:5581"]
    assert settings.push_in_spec == "tcp://127.0.0.1:5580"
    assert settings.command_spec == "tcp://127.0.0.1:5583"
    assert settings.stats_spec == f"ipc://{tmp_path}/run/2-stats"


def test_an_included_file_says_what_the_file_does_not(made: Any, tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("[proxy]\nsig_iss=more\ndebug=true\n")
    settings = made("[global]\ninclude=more.conf\n[proxy]\nsig_iss=me\n")
    assert (settings.sig_iss, settings.debug) == ("me", True)


def test_what_has_no_meaning_is_listed(conf: Path) -> None:
    conf.write_text(SHIPPED)
    meanings = {meaning.option: str(meaning) for meaning in read(conf).meanings}
    assert meanings["runner/services"].endswith("-> no meaning here")
    assert meanings["runner/http_port"] == "runner/http_port = 7999 -> listen = ['0.0.0.0:7999']"
    written = {
        line.partition("=")[0] for line in SHIPPED.splitlines() if "=" in line and line[0] != "#"
    }
    told = {option.partition("/")[2] for option in meanings}
    helping = {"include", "rundir", "ipc_prefix", "port_offset", "push_in_http_port"}
    assert told - {"update_on_first_subscription"} == written - helping  # it came later


def test_what_would_be_missed_is_told_when_it_runs(conf: Path) -> None:
    conf.write_text("[runner]\nhttps_ports=443\nlogdir=log\n")
    assert [meaning.option for meaning in read(conf).missed] == ["runner/https_ports"]


def test_keys_are_not_shown(conf: Path) -> None:
    conf.write_text("[proxy]\nsig_key=hush\nupstream_key=hush\n")
    assert "hush" not in "".join(map(str, read(conf).meanings))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[proxy]\nnonsense\n",
            "pushpin.conf cannot be understood: Source contains parsing errors",
        ),
        ("[global]\nport_offset=x\n", "global/port_offset = x: must be a number"),
        ("[runner]\nhttp_port=x\n", "runner/http_port: 'x' has no port"),
        ("[runner]\nhttp_port=70000\n", "runner/http_port: port '70000'"),
        ("[handler]\nmessage_wait=soon\n", "message_wait = 'soon' in"),
        ("[handler]\npush_in_spec=5560\n", "neither tcp://ADDR:PORT nor ipc://PATH"),
        ("[global]\ninclude=gone.conf\n", "gone.conf: No such file or directory"),
    ],
)
def test_what_is_wrong_is_named(made: Any, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        made(text)
    assert problem in refused.value.problems[0]


def test_a_settings_file_of_ours_is_none_of_pushpins() -> None:
    assert not is_pushpin("# [proxy]\nworkers = 1\n[proxy]\n")
    assert not is_pushpin("")
    assert is_pushpin("# a comment\n; another\n\n[runner]\n")


# -- the commands


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FANWAY_")]:
        monkeypatch.delenv(name)


def test_convert_prints_a_settings_file_that_means_the_same(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf.write_text(SHIPPED)
    assert main(["convert", str(conf)]) == 0
    text = capsys.readouterr().out
    assert "# runner/services = condure,pushpin-proxy,pushpin-handler -> no meaning here" in text
    tomllib.loads(text)
    ours = tmp_path / "elsewhere.toml"
    ours.write_text(text)
    assert load({}, {}, ours) == load({}, {}, conf)


@pytest.mark.usefixtures("clean")
def test_check_says_what_each_option_became(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf.write_text(SHIPPED)
    (tmp_path / "routes").write_text("* localhost:80\n")
    assert main(["check", "--config", str(conf)]) == 0
    out = capsys.readouterr().out
    assert "proxy/debug = false -> debug = 'false'\n" in out
    assert "runner/services = condure,pushpin-proxy,pushpin-handler -> no meaning here\n" in out


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    "arguments", [("convert", "{}"), ("check", "--id", "2", "--route", "* a:1", "--config", "{}")]
)
def test_a_file_that_is_not_pushpins_is_refused_where_one_is_needed(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "fanway.toml"
    ours.write_text("workers = 1\n")
    assert main([word.format(ours) for word in arguments]) == 2
    assert str(ours) in capsys.readouterr().err
