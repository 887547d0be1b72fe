"""A start that cannot be: one clear line, and an exit code that is not zero."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from support.fanway import Fanway, run_command

ROUTE = ("--route", "* localhost:8000")
ANYWHERE = ("--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--workers", "1")


def assert_refused(*arguments: str, names: tuple[str, ...], **environment: str) -> str:
    """`fanway run` ends with one line on standard error that names these."""
    ended = run_command("run", *arguments, **environment)
    assert ended.returncode not in {0, -9}
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    for name in names:
        assert name in lines[0]
    return lines[0]


@pytest.mark.parametrize("flag", ["--listen", "--control-listen"])
def test_a_taken_port(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = "--control-listen" if flag == "--listen" else "--listen"
        assert_refused(*ROUTE, free, "127.0.0.1:0", flag, address, names=(address, "in use"))


def test_a_port_that_another_fanway_has() -> None:
    with Fanway(routes=["* localhost:8000"]) as fanway:
        host, port = fanway.addresses[0]
        address = f"{host}:{port}"
        control = ("--control-listen", "127.0.0.1:0")
        assert_refused(*ROUTE, *control, "--listen", address, names=(address, "in use"))


def test_an_address_that_is_not_ours() -> None:
    control = ("--control-listen", "127.0.0.1:0")
    assert_refused(*ROUTE, *control, "--listen", "192.0.2.1:80", names=("192.0.2.1:80",))


@pytest.mark.parametrize("address", ["nonsense", "1.2.3.4:port", "[::1:80", "127.0.0.1:70000", ""])
def test_an_address_that_is_none(address: str) -> None:
    assert_refused(*ROUTE, "--listen", address, names=("listen",))


def test_a_settings_file_that_is_not_there(tmp_path: Path) -> None:
    file = str(tmp_path / "missing.toml")
    assert_refused("--config", file, names=(file, "No such file"))


def test_a_settings_file_that_is_no_toml(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("listen = [")
    assert_refused("--config", str(file), names=(str(file), "TOML"))


def test_a_settings_file_of_bytes(tmp_path: Path) -> None:
    file = tmp_path / "bytes.toml"
    file.write_bytes(bytes(range(256)))
    assert_refused("--config", str(file), names=(str(file),))


def test_a_routes_file_that_is_not_there(tmp_path: Path) -> None:
    file = str(tmp_path / "missing")
    assert_refused("--routes", file, *ANYWHERE, names=(file,))


def test_a_routes_file_that_is_a_folder(tmp_path: Path) -> None:
    assert_refused("--routes", str(tmp_path), *ANYWHERE, names=(str(tmp_path),))


def test_a_routes_file_without_a_route(tmp_path: Path) -> None:
    file = tmp_path / "routes"
    file.write_text("# none yet\n\n")
    assert_refused("--routes", str(file), *ANYWHERE, names=("no route", str(file)))


def test_a_route_that_cannot_be_read() -> None:
    assert_refused("--route", "* nonsense", *ANYWHERE, names=("nonsense",))


@pytest.mark.parametrize("setting", ["sig_key", "upstream_key"])
def test_a_key_file_that_is_not_there(setting: str, tmp_path: Path) -> None:
    file = str(tmp_path / "missing.pem")
    flag = f"--{setting.replace('_', '-')}"
    assert_refused(*ROUTE, flag, f"file:{file}", names=(setting, file, "No such file"))


@pytest.mark.parametrize("setting", ["sig_key", "upstream_key"])
def test_a_file_that_is_no_key(setting: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("to do")
    flag = f"--{setting.replace('_', '-')}"
    assert_refused(*ROUTE, flag, f"file:{file}", names=(setting, str(file), "neither PEM"))


def test_a_public_key_to_sign_with(tmp_path: Path) -> None:
    file = tmp_path / "public.pem"
    file.write_bytes(ECKey.generate_key("P-256").as_pem(private=False))
    assert_refused(*ROUTE, "--sig-key", f"file:{file}", names=("sig_key", "private"))


def test_an_unknown_flag() -> None:
    line = assert_refused(*ROUTE, "--worker", "1", names=("--worker",))
    assert "--workers" in line, "it says what may have been meant"


def test_an_unknown_setting_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('lissten = "127.0.0.1:0"\n')
    assert_refused("--config", str(file), names=("lissten", "listen", str(file)))


def test_an_unknown_setting_in_the_environment() -> None:
    assert_refused(*ROUTE, names=("FANWAY_WORKER",), FANWAY_WORKER="1")


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--workers", "many", "1024"),
        ("--workers", "-1", "1024"),
        ("--client-buffer-size", "0", "1024"),
        ("--log-level", "loud", "debug"),
        ("--x-forwarded-for", "shuffle", "truncate"),
    ],
)
def test_a_bad_value_names_the_setting_the_value_and_what_is_allowed(
    flag: str, value: str, allowed: str
) -> None:
    name = flag.removeprefix("--").replace("-", "_")
    assert_refused(*ROUTE, f"{flag}={value}", names=(name, value, allowed))


def test_a_bad_value_in_the_environment_names_the_place() -> None:
    assert_refused(*ROUTE, names=("workers", "many", "environment"), FANWAY_WORKERS="many")
