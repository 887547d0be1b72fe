"""`fanway check`: validates settings, routes and keys, and says what it understood."""

from __future__ import annotations

import sys

from control import zeromq
from control.config import Settings
from control.pushpin_conf import PushpinConf
from control.routes import Routes, describe
from control.routes_load import load_routes


def run(settings: Settings, conf: PushpinConf | None = None) -> int:
    """Print what was understood. The exit code: 0, or 2 if a route or a key is wrong.

    `conf` is the file that the settings come from, if it is one of Pushpin's.

    Raises SettingsError if there is no route at all.
    """
    # Only here are keys read by this process; `fanway run` is to start quickly.
    from control.rewrite import Rewriter  # noqa: PLC0415

    routes, errors = load_routes(settings)
    bad_keys = Rewriter(settings, routes).problems
    print("\n".join(_understood(settings, routes, conf)))
    for error in errors:
        print(f"fanway: {error}{'' if error.is_warning else ' (line skipped)'}", file=sys.stderr)
    missing = zeromq.why_not(settings.zeromq_names)
    for problem in [*bad_keys, *([missing] if missing else [])]:
        print(f"fanway: {problem}", file=sys.stderr)
    return 2 if bad_keys or missing or not all(error.is_warning for error in errors) else 0


def _understood(settings: Settings, routes: Routes, conf: PushpinConf | None) -> list[str]:
    _, name = settings.routes_text()
    signed = f"Grip-Sig by {settings.sig_iss}" if settings.sig_key and settings.sig_iss else "none"
    rows = [("clients", str(address)) for address in settings.client_addresses]
    rows += [("control", str(address)) for address in settings.control_addresses]
    rows += [("workers", str(settings.worker_count)), ("signature", signed)]
    if settings.upstream_key:
        rows.append(("trusted", "clients whose Grip-Sig is by upstream_key"))
    rows += [("settings", text) for text in _changed(settings)]
    rows += [("option", str(meaning)) for meaning in (conf.meanings if conf else ())]
    rows += [("routes", f"{len(routes)} from {name}"), *(("", describe(one)) for one in routes)]
    lines = []
    previous = ""
    for title, text in rows:
        lines.append(f"{'' if title == previous else title:<10} {text}")
        previous = title
    return lines


def _changed(settings: Settings) -> list[str]:
    """The settings that are not at their default and are not shown otherwise."""
    shown = {"listen", "control_listen", "workers", "routes", "route", "sig_key", "sig_iss"}
    shown.add("upstream_key")
    return [
        f"{name} = {getattr(settings, name)}"
        for name, field in Settings.model_fields.items()
        if name not in shown and getattr(settings, name) != field.default
    ]
