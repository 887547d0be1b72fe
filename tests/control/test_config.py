import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from control.address import TcpAddress, UnixAddress
from control.config import Settings, SettingsError
from control.config_sources import load
from control.config_text import example, flag, page
from control.rewrite import forwarded_for_rule

DOCS = Path(__file__).parents[2] / "docs"


def problems(
    flags: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    file: Path | None = None,
) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(flags or {}, environ or {}, file)
    return refused.value.problems


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fanway.toml"


# -- sources ---------------------------------------------------------------------------------------


def test_flags_beat_the_environment_which_beats_the_file(file: Path) -> None:
    file.write_text('workers = 1\nsig_iss = "file"\nsig_key = "file"\n')
    environ = {"FANWAY_WORKERS": "2", "FANWAY_SIG_ISS": "environment", "HOME": "/"}
    settings = load({"workers": "3"}, environ, file)
    assert (settings.workers, settings.sig_iss, settings.sig_key) == (3, "environment", "file")


def test_a_list_in_the_environment_is_separated_by_commas_or_blanks() -> None:
    settings = load(
        {}, {"FANWAY_LISTEN": "80, [::1]:81 unix:/s", "FANWAY_X_FORWARDED_FOR": "append"}
    )
    assert settings.listen == ["80", "[::1]:81", "unix:/s"]
    assert settings.x_forwarded_for == ["append"]


def test_routes_in_the_environment_are_separated_by_lines() -> None:
    settings = load({}, {"FANWAY_ROUTE": "* a:1\nb.test c:1,ssl\n"})
    assert settings.route == ["* a:1", "b.test c:1,ssl"]


def test_paths_in_the_file_start_at_its_folder(file: Path) -> None:
    file.write_text('routes = "conf/routes"\nsig_key = "file:key.pem"\n')
    settings = load({}, {}, file)
    assert settings.routes == str(file.parent / "conf/routes")
    assert settings.sig_key == f"file:{file.parent}/key.pem"


def test_control_understands_what_the_supervisor_hands_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load({"workers": "3", "route": ["* a:1"], "debug": True}, {})
    monkeypatch.setenv("FANWAY_WORKERS", "7")
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("workers", "-1", "must be 0 to 1024 processes"),
        ("workers", "two", "must be 0 to 1024 processes"),
        ("workers", "", "must be 0 to 1024 processes"),
        ("head_timeout_seconds", "0", "must be 1 to 3600 seconds"),
        ("push_in_http_max_body_size", "3000001", "must be 1024 to 3000000 bytes"),
        ("debug", "perhaps", "must be true or false"),
        ("log_level", "loud", "must be debug, info, warning or error"),
        ("set_x_forwarded_protocol", "x", "must be proto-only, true or false"),
        ("listen", ["7999", "localhost"], "'localhost' has no port"),
        ("listen", [], "needs at least one address"),
        ("control_listen", ["::1:1"], "'::1:1': an IPv6 address is written [ADDR]:PORT"),
        ("x_forwarded_for", ["truncate"], "'truncate' is neither truncate:N nor append"),
    ],
)
def test_a_bad_value_names_the_setting_the_value_the_place_and_what_is_allowed(
    name: str, value: Any, why: str
) -> None:
    assert problems({name: value}) == [f"{name} = {value!r} on the command line: {why}"]


def test_the_place_of_a_bad_value_is_where_the_strongest_one_came_from(file: Path) -> None:
    file.write_text("workers = 5000\n")
    assert problems({}, {}, file)[0].startswith(f"workers = 5000 in {file}: ")
    assert problems({}, {"FANWAY_WORKERS": "x"}, file)[0].startswith("workers = 'x' in the environ")


def test_every_bad_value_is_reported() -> None:
    assert len(problems({"workers": "x", "log_level": "y"}, {"FANWAY_MESSAGE_WAIT": "z"})) == 3


def test_an_unknown_setting_in_the_file_is_refused_with_a_guess(file: Path) -> None:
    file.write_text("wrokers = 1\n[proxy]\ndebug = true\n")
    assert problems(file=file) == [
        f"unknown setting wrokers in {file}; did you mean workers?",
        f"unknown setting proxy in {file}",
    ]


def test_a_variable_of_nobody_we_know_is_left_alone() -> None:
    load({}, {"FANWAY_RUN": "folder", "FANWAY_ARGS": "--workers 1", "FANWAY": "path"})


def test_a_misspelt_variable_is_refused_with_a_guess() -> None:
    assert problems(environ={"FANWAY_SIGKEY": "x"}) == [
        "unknown setting FANWAY_SIGKEY in the environment; did you mean FANWAY_SIG_KEY?"
    ]


def test_a_file_that_cannot_be_used_is_named_with_the_reason(file: Path) -> None:
    assert problems(file=file) == [f"cannot read {file}: No such file or directory"]
    file.write_text("[global")
    assert problems(file=file)[0].startswith(f"{file} is not TOML: ")
    file.write_bytes(b"sig_key = '\xff'")
    assert problems(file=file) == [f"cannot read {file}: not UTF-8"]
    assert problems(file=file.parent) == [f"cannot read {file.parent}: Is a directory"]


# -- what the settings mean ------------------------------------------------------------------------


def test_a_lone_port_is_public_for_clients_and_private_for_control() -> None:
    settings = load({"listen": ["80", "unix:/s"], "control_listen": ["81"]}, {})
    assert settings.client_addresses == [TcpAddress("0.0.0.0", 80), UnixAddress("/s")]
    assert settings.control_addresses == [TcpAddress("127.0.0.1", 81)]


def test_there_are_as_many_workers_as_cores_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert load({}, {}).worker_count == 3
    assert load({"workers": "5"}, {}).worker_count == 5


def test_connections_are_shared_among_the_workers() -> None:
    assert load({"workers": "3", "client_maxconn": "100"}, {}).for_worker()["client_max"] == 34


def test_welcome_carries_milliseconds_and_reasons() -> None:
    welcome = load({"head_timeout_seconds": "7", "client_buffer_size": "2048"}, {}).for_worker()
    assert welcome["head_timeout_ms"] == 7000
    assert welcome["head_bytes_max"] == 2048
    assert "2048 bytes" in welcome["reasons"]["11"][2]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("", (None, False)),
        ("append", (None, True)),
        ("truncate:0", (0, False)),
        ("truncate:2,append", (2, True)),
    ],
)
def test_209_x_forwarded_for_words(words: str, rule: tuple[int | None, bool]) -> None:
    assert forwarded_for_rule(load({"x_forwarded_for": words}, {}).x_forwarded_for) == rule


@pytest.mark.parametrize(("value", "word"), [("true", "true"), ("false", "false")])
def test_true_without_quotes_is_the_word_true(value: str, word: str, file: Path) -> None:
    file.write_text(f"set_x_forwarded_protocol = {value}\n")
    assert load({}, {}, file).set_x_forwarded_protocol == word


def test_routes_on_the_command_line_replace_the_file(tmp_path: Path) -> None:
    flags: dict[str, Any] = {"routes": str(tmp_path / "missing"), "route": ["* a:1", "b.test b:2"]}
    assert load(flags, {}).routes_text() == ("* a:1\nb.test b:2", "--route")


def test_the_routes_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    settings = load({"routes": str(path)}, {})
    for text in ("* a:1\n", "* b:1\n"):
        path.write_text(text)
        assert settings.routes_text() == (text, str(path))


def test_a_mark_at_the_beginning_of_the_routes_file_is_no_part_of_a_route(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    path.write_text("* a:1\n", encoding="utf-8-sig")
    assert load({"routes": str(path)}, {}).routes_text()[0] == "* a:1\n"


def test_without_a_routes_file_it_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    with pytest.raises(SettingsError, match=re.escape(f"no route: there is no file {path}; give")):
        load({"routes": str(path)}, {}).routes_text()


# -- what is derived from the model ----------------------------------------------------------------


def test_the_example_is_a_settings_file_with_every_setting_at_its_default() -> None:
    uncommented = re.sub(r"^#(?=[a-z])", "", example(), flags=re.MULTILINE)
    values = tomllib.loads(uncommented)
    assert sorted(values) == sorted(Settings.model_fields)
    assert load(values, {}) == load({}, {})
    assert tomllib.loads(example()) == {}


def test_the_reference_page_is_up_to_date() -> None:
    assert (DOCS / "settings.md").read_text() == page()


def test_every_setting_has_a_sentence_and_every_number_a_unit_and_bounds() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation is int:
            assert re.search(rf"`{name}` \| `\d+` \| \d+ to \d+ [a-z]+ \|", page()), name


def test_a_flag_is_the_name_with_dashes() -> None:
    assert flag("x_forwarded_for") == "--x-forwarded-for"
