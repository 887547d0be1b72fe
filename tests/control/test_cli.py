import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from control.cli import main
from control.config import Settings
from control.config_text import example, flag
from support.fanway import run_command

Outcome = tuple[int, str, str]
Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs the command in an empty folder; its exit code, output and errors."""
    for name in [name for name in os.environ if name.startswith("FANWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def cli(*arguments: str) -> Outcome:
        try:
            code = main(arguments)
        except SystemExit as left:
            code = int(left.code or 0)
        return code, *capsys.readouterr()

    return cli


# -- check -----------------------------------------------------------------------------------------


def test_check_says_what_it_understood(cli: Cli) -> None:
    code, out, err = cli(
        *("check", "--workers", "2", "--listen", "80", "--listen", "unix:/s", "--debug"),
        *("--sig-key", "hush", "--route", "* a:1", "--route", "b.test,path_beg=/x c:2,ssl d:3"),
    )
    assert (code, err) == (0, "")
    assert out == (
        "clients    0.0.0.0:80\n"
        "           unix:/s\n"
        "control    127.0.0.1:5561\n"
        "workers    2\n"
        "signature  Grip-Sig by pushpin\n"
        "settings   debug = True\n"
        "routes     2 from --route\n"
        "           any host -> http://a:1\n"
        "           b.test, paths that begin with /x -> https://c:2, then http://d:3\n"
    )


def test_check_reports_every_bad_line_of_the_routes_file(cli: Cli) -> None:
    Path("routes").write_text("* a:1\nb.test c\nd.test,session e:1\n")
    code, out, err = cli("check")
    assert code == 2
    assert "routes     2 from routes\n" in out
    assert err == (
        "fanway: routes:2: target 'c' has no port (line skipped)\n"
        "fanway: routes:3: option 'session' has no effect: "
        "sessions of old clients are not tracked\n"
    )


def test_check_reports_a_key_that_cannot_be_used(cli: Cli) -> None:
    code, out, err = cli("check", "--route", "* a:1", "--sig-key", "file:missing.pem")
    assert code == 2
    assert "any host -> http://a:1" in out
    assert err == (
        "fanway: sig_key: cannot read file:missing.pem: No such file or directory"
        " (requests are not signed)\n"
    )


def test_an_option_without_effect_is_a_warning(cli: Cli) -> None:
    code, _, err = cli("check", "--route", "*,session a:1")
    why = "sessions of old clients are not tracked"
    assert (code, err) == (0, f"fanway: --route:1: option 'session' has no effect: {why}\n")


def test_check_says_who_is_trusted_and_keeps_the_key(cli: Cli) -> None:
    code, out, _ = cli("check", "--route", "* a:1", "--upstream-key", "hush")
    assert code == 0
    assert "trusted    clients whose Grip-Sig is by upstream_key\n" in out
    assert "hush" not in out


def test_check_reports_a_client_certificate_that_cannot_be_used(cli: Cli) -> None:
    Path("routes").write_text("* a:1\n* b:2,ssl,client_cert=c.pem,client_key=k.pem\n")
    code, _, err = cli("check")
    why = "routes:2: client_cert: c.pem, k.pem: No such file or directory (line skipped)"
    assert (code, err) == (2, f"fanway: {why}\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--route", "* a"], "fanway: --route:1: target 'a' has no port\n"),
        (["--route", "* a:1", "--route", "*"], "fanway: --route:2: must specify condition and at"),
        (["--route", "# nothing"], "fanway: no route: --route has none\n"),
        ([], 'fanway: no route: there is no file routes; give --route "* localhost:8000", or'),
        (["--routes", "."], "fanway: routes: cannot read .: Is a directory\n"),
        (["--config", "x.toml"], "fanway: cannot read x.toml: No such file or directory\n"),
        (["--workers", "many"], "fanway: workers = 'many' on the command line: must be 0 to 1024"),
        (["--wrokers=2"], "fanway: unrecognized argument: --wrokers=2; did you mean --workers?"),
        (["--work", "2"], "fanway: unrecognized argument: --work"),
        (["--workers"], "fanway: argument --workers: expected one argument"),
        (["surplus"], "fanway: unrecognized argument: surplus"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_whatever_is_wrong_is_one_line_and_exit_code_2(
    cli: Cli, command: str, arguments: list[str], error: str
) -> None:
    code, out, err = cli(command, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(error)
    assert err.count("\n") == 1


def test_an_unknown_variable_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANWAY_LOGLEVEL", "debug")
    code, _, err = cli("check", "--route", "* a:1")
    assert code == 2
    assert err == (
        "fanway: unknown setting FANWAY_LOGLEVEL in the environment; "
        "did you mean FANWAY_LOG_LEVEL?\n"
    )


def test_the_example_file_checks(cli: Cli) -> None:
    code, out, _ = cli("check", "--example")
    assert (code, out) == (0, example())
    Path("fanway.toml").write_text(out)
    assert cli("check", "--config", "fanway.toml", "--route", "* a:1")[0] == 0


# -- help ------------------------------------------------------------------------------------------


def test_run_has_a_flag_for_every_setting(cli: Cli) -> None:
    code, out, _ = cli("run", "--help")
    assert code == 0
    assert [name for name in Settings.model_fields if flag(name) not in out] == []


@pytest.mark.parametrize("command", ["run", "check", "publish"])
def test_help_has_examples_and_exit_codes(cli: Cli, command: str) -> None:
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert f"fanway {command} " in out.partition("examples:")[2]
    assert "exit codes: 0 " in out


def test_without_a_command_it_says_so(cli: Cli) -> None:
    code, _, err = cli()
    assert (code, err) == (
        2,
        "fanway: the following arguments are required: COMMAND (fanway --help)\n",
    )


def test_version(cli: Cli) -> None:
    code, out, _ = cli("--version")
    assert (code, out.startswith("fanway")) == (0, True)


# -- run, as a user does ---------------------------------------------------------------------------


def test_a_taken_port_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        taken = f"127.0.0.1:{owner.getsockname()[1]}"
        ended = run_command("run", "--route", "* a:1", "--listen", taken, "--client-maxconn", "1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"fanway: cannot listen on {taken}: address already in use\n"


# -- extras


@pytest.mark.parametrize("command", ["run", "check"])
def test_without_the_extra_zeromq_is_refused_in_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    flags = ("--push-in-spec", "tcp://127.0.0.1:5560", "--command-spec", "ipc:///run/c")
    code, _, err = cli(command, *flags, "--route", "* a:1")
    assert code == 2
    assert err == (
        "fanway: push_in_spec, command_spec: ZeroMQ is not installed; pip install 'fanway[zmq]'\n"
    )
