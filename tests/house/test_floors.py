"""Who may import whom. The plan of the house is data here; every import line is held against it."""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from support.sources import PLANES, ROOT, imports, module_of, modules, shown, sources

FLOORS = {
    0: "limits outcome variants reasons",
    1: "view http_wire ws_wire ws_deflate ws_handshake link_wire"
    " link_orders link_reports patch jsonp cors",
    2: "table frame wheel tally route_tally limiter settings http_reader",
    3: "row lots session http_answer http_hold http_session ws_sender ws_session",
    4: "account inquiry fanout link handoff",
    5: "worker __main__",
}
SIDEWAYS = {  # the only imports that stay on a floor
    "ws_wire": {"view"},
    "link_wire": {"view"},
    "link_orders": {"view", "link_wire"},
    "link_reports": {"link_wire"},
    "session": {"row"},
    "http_answer": {"row", "session"},
    "http_hold": {"row", "session", "http_answer"},
    "http_session": {"row", "session", "http_answer", "http_hold"},
    "ws_sender": {"row", "session"},
    "ws_session": {"row", "session", "ws_sender"},
    "fanout": {"inquiry"},
    "link": {"account", "fanout"},
    "handoff": {"fanout", "link"},
    "__main__": {"worker"},
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
PROBES = re.compile(r"fastpath\.probe_?\w*")  # doors for tests; no floor, nobody comes in by them

# What floors 0 to 2 do without: a loop, a socket, a clock, a logger.
WORLD = {
    "asyncio", "datetime", "http", "logging", "os", "select", "selectors", "socket", "ssl",
    "structlog", "subprocess", "threading", "time", "uvloop", "posix", "libc.time", "cpython.time",
}  # fmt: skip
WORLD_HEADERS = ("clock.h", "peer.h", "sys/", "time.h", "unistd.h", "poll.h")

# Rooms of control that import nothing of it but what is named; a folder stands for its modules.
ROOMS = {
    "control.grip": {"control.grip", "control.errors"},
    "control.link": {"control.link", "control.errors", "control.log"},
    "control.routes": {"control.routes_line", "control.routes_options", "control.address"},
    "control.routes_line": set(),
    "control.routes_options": {"control.routes_line", "control.address"},
    "control.interest": {"control.link.packets"},
    "control.links": {"control.grip", "control.errors"},
    "control.limiter": set(),
    "control.watched_interest": {"control.interest", "control.link.packets"},
    "control.account": {
        "control.connection_id",
        "control.grip.fields",
        "control.link.packets",
        "control.traffic",
    },
    "control.traffic": {"control.grip.item", "control.link.packets", "control.link.weight"},
    "control.address": set(),
    "control.reasons": set(),
    "control.errors": {"control.reasons"},
    "control.log": set(),
}
PURE = (
    "control.grip",
    "control.routes",
    "control.routes_options",
    "control.interest",
    "control.watched_interest",
    "control.account",
    "control.traffic",
    "control.links",
    "control.link.codec",
    "control.link.reports",
)
IMPURE = {"asyncio", "aiohttp", "socket", "time"}
ROOFS = {  # entry points: nobody imports them, but for these
    "control.__main__": set(),
    "control.app": {"control.__main__"},
    "control.cli": set(),
    "control.demo": {"control.cli"},
    "control.demo_origin": {"control.demo"},
    "control.supervisor": {"control.cli", "control.demo"},
}

IMPORT_EACH = """
import importlib, os, sys
import aiohttp.web, orjson, prometheus_client, pydantic_settings, structlog, uvloop  # once
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
            status = 0
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            status = 1
        os._exit(status)
    os.waitpid(child, 0)
"""


def _within(module: str, places: set[str] | tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def _imports_by_module() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in modules()}
    for path in sources(*PLANES, suffixes=(".py", ".pyx", ".pxd")):
        found[module_of(path)] |= imports(path) - {module_of(path)}
    return found


IMPORTS = _imports_by_module()


def _rooms_of_fastpath() -> list[str]:
    return [
        name.removeprefix("fastpath.")
        for name in sorted(IMPORTS)
        if name.startswith("fastpath.") and not PROBES.fullmatch(name)
    ]


@pytest.mark.parametrize("room", _rooms_of_fastpath())
def test_a_room_of_the_data_plane_imports_downwards_only(room: str) -> None:
    assert room in FLOOR_OF, f"give {room} a floor"
    for imported in IMPORTS[f"fastpath.{room}"]:
        below = imported.removeprefix("fastpath.")
        if below != imported:
            assert below in FLOOR_OF, f"{room} imports {below}, which has no floor"
            lower = FLOOR_OF[below] < FLOOR_OF[room]
            assert lower or below in SIDEWAYS.get(room, ()), f"{room} imports {below}"


@pytest.mark.parametrize("room", [r for r in _rooms_of_fastpath() if FLOOR_OF.get(r, 9) <= 2])
def test_the_lower_floors_know_no_loop_no_socket_no_clock_and_no_logger(room: str) -> None:
    met = {name for name in IMPORTS[f"fastpath.{room}"] if _within(name, tuple(WORLD))}
    assert not met, f"{room} imports {met}"
    for path in ROOT.glob(f"fastpath/{room}.p[xy][dx]"):
        headers = re.findall(r'(?:extern from|include)\s+["<]([^">]+)', path.read_text())
        assert not [h for h in headers if h.startswith(WORLD_HEADERS)], shown(path)


def test_the_planes_never_import_each_other() -> None:
    for module, imported in IMPORTS.items():
        other = "control" if module.startswith("fastpath") else "fastpath"
        assert not {name for name in imported if _within(name, (other,))}, module


def test_nobody_imports_a_probe_or_a_test() -> None:
    for module, imported in IMPORTS.items():
        if not PROBES.fullmatch(module):
            assert not {name for name in imported if PROBES.fullmatch(name)}, module
        assert not {name for name in imported if _within(name, ("tests", "support"))}, module


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_control_imports_only_what_it_may(room: str) -> None:
    for module in (name for name in IMPORTS if _within(name, (room,))):
        ours = {name for name in IMPORTS[module] if _within(name, ("control",))}
        strangers = {name for name in ours if not _within(name, ROOMS[room])} - {"control"}
        assert not strangers, f"{module} imports {strangers}"


@pytest.mark.parametrize("room", PURE)
def test_the_rules_of_control_know_no_loop_and_no_client(room: str) -> None:
    for module in (name for name in IMPORTS if _within(name, (room,))):
        met = {name for name in IMPORTS[module] if _within(name, tuple(IMPURE))}
        assert not met, f"{module} imports {met}"


@pytest.mark.parametrize("roof", ROOFS)
def test_nobody_imports_what_assembles_him(roof: str) -> None:
    importers = {module for module, imported in IMPORTS.items() if roof in imported}
    assert importers <= ROOFS[roof]


def test_no_module_imports_itself_by_a_detour() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_each_module_can_be_the_first_that_is_imported() -> None:
    names = sorted(name for name in IMPORTS if not name.endswith("__main__"))
    # A room that is only a .pxd is compiled into those who cimport it.
    names = [n for n in names if list(ROOT.glob(f"{n.replace('.', '/')}.py*")) or n in PLANES]
    names = [n for n in names if not (ROOT / f"{n.replace('.', '/')}.pxd").exists()
             or (ROOT / f"{n.replace('.', '/')}.pyx").exists()]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_EACH, *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stdout + done.stderr == ""
