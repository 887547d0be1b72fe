"""Loads the routes that the settings name, and decides whether they are good enough to use."""

from __future__ import annotations

from control.client_tls import check_target
from control.config import Settings, SettingsError
from control.routes import RouteError, Routes


def load_routes(settings: Settings) -> tuple[Routes, list[RouteError]]:
    """The routes as they stand now, and what is wrong with the other lines.

    A file may have bad lines, which are skipped (GRIP.md 7.1); `--route` may not. Raises
    SettingsError for that, if a file cannot be read, and if no route is left.
    """
    text, name = settings.routes_text()
    routes, errors = Routes.parse(text, name, check_target)
    fatal = [str(error) for error in errors if not error.is_warning]
    if fatal and (settings.route or not len(routes)):
        raise SettingsError(fatal)
    if not len(routes):
        raise SettingsError([f"no route: {name} has none"])
    return routes, errors
