"""`fanway` and its commands. Nothing but arguments: what they ask for is done elsewhere."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from control import check_command, convert_command, demo, log, publish_command, supervisor, zeromq
from control.config import Settings, SettingsError, about, words
from control.config_sources import did_you_mean, load, pushpin_conf_of
from control.config_text import example, explained, flag, groups
from control.errors import ConfigError
from control.listeners import ListenError
from control.routes_load import load_routes

WAIT_MAX_SECONDS = 3600
UNRECOGNIZED = "unrecognized argument: "
EXIT_CODES = "exit codes: 0 done; 1 it could not be done; 2 arguments, settings or routes are wrong"

RUN_EXAMPLES = """\
examples:
  fanway run --route "* localhost:8000"
  fanway run --config fanway.toml --workers 4
  fanway run --listen 0.0.0.0:80 --listen [::]:80 --routes /etc/fanway/routes

SIGHUP reads the routes again. SIGTERM or Ctrl-C stops in order, a second one at once.
"""
CHECK_EXAMPLES = """\
examples:
  fanway check --example > fanway.toml
  fanway check --config fanway.toml
"""
CONVERT_EXAMPLES = """\
examples:
  fanway convert /etc/pushpin/pushpin.conf > fanway.toml
"""
EXPLAIN_EXAMPLES = """\
examples:
  fanway explain http://localhost/events --route "* localhost:8000"
  fanway explain https://api.example.com/poll -H "Cookie: a=b" --config fanway.toml
  fanway explain ws://localhost/chat --route "* localhost:8000,over_http"

exit code 1 means that the client would be refused.
"""
PUBLISH_EXAMPLES = """\
examples:
  fanway publish news "hello"
  fanway publish news @article.html --id 7 --prev-id 6
  date | fanway publish time - --no-eol
  fanway publish news --close
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and that guesses what was meant."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and exit with code 2."""
        unknown = message.removeprefix(UNRECOGNIZED)
        guess = "" if unknown == message else did_you_mean(unknown.split("=")[0], self.known())
        self.exit(2, f"fanway: {message}{guess} ({self.prog} --help)\n")

    def known(self) -> list[str]:
        """Every flag of this command."""
        return [text for action in self._actions for text in action.option_strings]


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point. Returns the exit code."""
    parser, commands = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest:
        commands[args.command].error(UNRECOGNIZED + rest[0])
    try:
        return int(args.act(args))
    except SettingsError as error:
        for problem in error.problems:
            print(f"fanway: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="fanway",
        description="A push proxy that speaks GRIP.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands: dict[str, Parser] = {}

    def command(name: str, act: Any, what: str, examples: str) -> Parser:
        commands[name] = subparsers.add_parser(
            name,
            help=what,
            description=what[:1].upper() + what[1:] + ".",
            epilog=f"{examples}\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        commands[name].set_defaults(act=act)
        return commands[name]

    _add_settings(command("run", _run, "start the proxy", RUN_EXAMPLES))
    check = command(
        "check", _check, "check settings and routes, and say what was understood", CHECK_EXAMPLES
    )
    check.add_argument("--example", action="store_true", help="print a settings file, explained")
    _add_settings(check)
    explain = command(
        "explain", _explain, "ask an origin as the proxy would, and explain", EXPLAIN_EXAMPLES
    )
    _add_settings(explain)
    explain.usage = f"{explain.prog} URL [-H 'K: V'] [--config FILE] [SETTING ...]"
    _add_explain(explain)
    convert = command(
        "convert", _convert, "print a settings file made from Pushpin's", CONVERT_EXAMPLES
    )
    convert_command.add_arguments(convert)
    _add_instance(convert)
    publish = command("publish", publish_command.run, "publish one item", PUBLISH_EXAMPLES)
    publish_command.add_arguments(publish)
    demo.add_arguments(
        command("demo", demo.run, "start Fanway with an example origin and a page", "")
    )
    return parser, commands


def _add_settings(parser: Parser) -> None:
    """One flag a setting, from the model; values stay text, and the model reads them."""
    parser.usage = f"{parser.prog} [--config FILE] [SETTING ...]"
    about_file = "settings file: TOML, or a pushpin.conf"
    parser.add_argument("--config", type=Path, metavar="FILE", help=about_file)
    _add_instance(parser)
    for group, names in groups():
        section = parser.add_argument_group(group)
        for name in names:
            field = Settings.model_fields[name]
            how: dict[str, Any] = {"metavar": _metavar(name)}
            if field.annotation is bool:
                how = {"action": argparse.BooleanOptionalAction}
            elif field.annotation == list[str]:
                how["action"] = "append"
            default = _shown(field.default)
            note = f"{explained(name)} [{default}]" if default else explained(name)
            section.add_argument(
                flag(name),
                dest=name,
                default=argparse.SUPPRESS,
                help=note.replace("%", "%%"),
                **how,
            )


def _add_instance(parser: Parser) -> None:
    what = "as with Pushpin: all ports of a pushpin.conf are moved by 10 * N"
    parser.add_argument(
        "--id", dest="instance", type=int, choices=range(1000), default=0, metavar="N", help=what
    )


def _metavar(name: str) -> str:
    if metavar := about(name, "metavar"):
        return metavar.partition(", ")[0]
    return about(name, "unit").upper() or f"{{{','.join(words(name))}}}"


def _shown(value: Any) -> str:
    """A default, where it says something."""
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is False else str(value)


def _settings(args: argparse.Namespace) -> Settings:
    flags = {name: text for name, text in vars(args).items() if name in Settings.model_fields}
    return load(flags, os.environ, args.config, instance=args.instance)


def _run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    if why := zeromq.why_not(settings.zeromq_names):
        raise SettingsError([why])
    conf = pushpin_conf_of(args.config, args.instance) if args.config else None
    for meaning in conf.missed if conf else ():
        print(f"fanway: {meaning}", file=sys.stderr)
    load_routes(settings)  # fails here, in one line, rather than in control
    _try_keys(settings)
    log.configure(settings.log_level, settings.log_format, role="supervisor")
    try:
        return supervisor.run(settings)
    except ListenError as error:
        print(f"fanway: {error}", file=sys.stderr)
        return 1


def _try_keys(settings: Settings) -> None:
    """SettingsError if a key cannot be used: requests would go out unsigned, or none be trusted."""
    if not (settings.sig_key or settings.upstream_key):
        return
    # Brings cryptography; `fanway run` is to start quickly.
    from control.grip.sign import Key, Signer  # noqa: PLC0415

    try:
        key = Key.from_setting(settings.sig_key, Path())
        if key is not None:
            Signer(settings.sig_iss, key)
        Key.from_setting(settings.upstream_key, Path(), "upstream_key")
    except ConfigError as error:
        raise SettingsError([str(error)]) from None


def _check(args: argparse.Namespace) -> int:
    if args.example:
        print(example(), end="")
        return 0
    conf = pushpin_conf_of(args.config, args.instance) if args.config else None
    return check_command.run(_settings(args), conf)


def _convert(args: argparse.Namespace) -> int:
    return convert_command.run(args.file, args.instance)


def _explain(args: argparse.Namespace) -> int:
    # Brings aiohttp; `fanway run` is to start quickly.
    from control import explain_command  # noqa: PLC0415

    return explain_command.run(args, _settings(args))


def _add_explain(parser: Parser) -> None:
    add = parser.add_argument
    add("url", metavar="URL", help="what a client asks for: http://HOST/PATH, ws://…, or /PATH")
    add("-H", dest="header", metavar="K: V", action="append", default=[], help="of the client")
    add("-X", dest="method", metavar="METHOD", default="GET", help="GET unless given")
    add("-d", dest="content", metavar="TEXT", default="", help="the body of the request")
    wait = "give up after so many seconds [30]"
    add("--wait", type=_seconds, metavar="SECONDS", default=30, help=wait)


def _seconds(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= WAIT_MAX_SECONDS):
        raise argparse.ArgumentTypeError(f"{text!r}: must be from 1 to {WAIT_MAX_SECONDS}")
    return int(text)


def _version() -> str:
    try:
        return f"fanway {metadata.version('fanway')}"
    except metadata.PackageNotFoundError:
        return "fanway, run from its source"


if __name__ == "__main__":
    sys.exit(main())
