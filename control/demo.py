"""`fanway demo`: Fanway and the example origin, running, with one URL to open.

Chooses ports, and runs the supervisor as `fanway run` does, beside the web application of
`examples/`. Both end together. It is for looking at: nothing here is used in production.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import socket
import sys
from pathlib import Path
from types import ModuleType

from control import log, supervisor
from control.config import Settings
from control.listeners import ListenError

CLIENT_PORT = 7999
CONTROL_PORT = 5561
PORTS_TRIED_COUNT = 100  # from the wanted one upwards
CLIENTS_MAX = 1000  # a machine to try things on may allow few open files

# In a checkout the folder lies beside this package; a package built elsewhere is run in a checkout.
EXAMPLES = (Path(__file__).resolve().parent.parent / "examples", Path("examples").resolve())

READY = """
  Fanway is running.

    open      {url}/
    or        curl -N {url}/sse

  Ctrl-C stops it.
"""


class DemoError(Exception):
    """Why there is no demo, in a sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    what = "0: any free one; else the next free one from N up"
    for flag, default, who in (
        ("--port", CLIENT_PORT, "clients"),
        ("--control-port", CONTROL_PORT, "publishers"),
    ):
        about = f"port for {who} ({default}); {what}"
        parser.add_argument(flag, type=int, default=default, metavar="N", help=about)


def run(args: argparse.Namespace) -> int:
    """Run the demo until a signal. The exit code, as that of `fanway run`."""
    # Only here is aiohttp needed; the other commands are to start quickly.
    from control.demo_origin import in_thread  # noqa: PLC0415

    try:
        example = load_example()
        port = free_port(args.port)
        control_port = free_port(args.control_port, taken=port)
        origin = socket.create_server(("127.0.0.1", 0))
    except (DemoError, OSError) as error:
        print(f"fanway: {error}", file=sys.stderr)
        return 1
    for wanted, found in ((args.port, port), (args.control_port, control_port)):
        if wanted not in (0, found):
            print(f"Port {wanted} is taken; using {found}.")
    settings = Settings(
        listen=[f"127.0.0.1:{port}"],
        control_listen=[f"127.0.0.1:{control_port}"],
        route=[f"* 127.0.0.1:{origin.getsockname()[1]},over_http"],
        client_maxconn=CLIENTS_MAX,
        log_level="warning",
    )
    log.configure(settings.log_level, settings.log_format, role="supervisor")
    control_url = f"http://127.0.0.1:{control_port}"
    app = example.create_app(control_url)
    ready = READY.format(url=f"http://localhost:{port}")
    with in_thread(app, origin, health=f"{control_url}/healthz", ready=ready):
        try:
            return supervisor.run(settings)
        except ListenError as error:
            print(f"fanway: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:  # before the supervisor listens to signals
            return 0


def free_port(wanted: int, *, taken: int = 0) -> int:
    """The first free port of 127.0.0.1 from `wanted` up, other than `taken`. 0: any free one.

    Raises DemoError.
    """
    if not 0 <= wanted <= 65535:
        raise DemoError(f"{wanted} is not a port: a port is a number from 0 to 65535")
    last = min(wanted + PORTS_TRIED_COUNT, 65536)
    for port in range(wanted, last) if wanted else (0,) * PORTS_TRIED_COUNT:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as found:
            chosen: int = found.getsockname()[1]
            if chosen != taken:
                return chosen
    raise DemoError(f"no port from {wanted} to {last - 1} is free")


def load_example() -> ModuleType:
    """`examples/origin.py`, as a module. Raises DemoError."""
    for folder in EXAMPLES:
        spec = importlib.util.spec_from_file_location("origin", folder / "origin.py")
        if spec and spec.loader and (folder / "origin.py").is_file():
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise DemoError("the demo needs the examples/ folder: run it in a checkout of the source")
