"""`fanway demo`: Fanway and the example origin, running, with one URL to open.

Runs the supervisor as `fanway run` does, and beside it, in a thread, the web application of
`examples/`. Both end together. It is for looking at: nothing here is used in production.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from control import log, supervisor
from control.config import Settings
from control.listeners import ListenError

CLIENT_PORT = 7999
CONTROL_PORT = 5561
PORTS_TRIED_COUNT = 100  # from the wanted one upwards
CLIENTS_MAX = 1000  # a machine to try things on may allow few open files
HEALTH_POLL_SECONDS = 0.02
HEALTH_TIMEOUT_SECONDS = 1.0  # of one question; it is asked again

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo until a signal. The exit code, as that of `fanway run`."""
    parser = argparse.ArgumentParser(
        prog="fanway demo",
        description="Start Fanway with an example origin and a page to look at.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


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
        route=[f"* 127.0.0.1:{origin.getsockname()[1]}"],
        client_maxconn=CLIENTS_MAX,
        log_level="warning",
    )
    log.configure(settings.log_level, settings.log_format, role="supervisor")
    app = example.create_app(f"http://127.0.0.1:{control_port}")
    ready = READY.format(url=f"http://localhost:{port}")
    with _in_thread(_Origin(app, origin, f"http://127.0.0.1:{control_port}/healthz", ready)):
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


class _Origin:
    """The example origin in a loop of its own, and the word that all is ready."""

    def __init__(self, app: web.Application, sock: socket.socket, health: str, ready: str) -> None:
        self._app = app
        self._sock = sock
        self._health = health
        self._ready = ready
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def run(self) -> None:
        """Serve until told to stop."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """Stop; called from another thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self) -> None:
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.SockSite(runner, self._sock).start()
        announced = asyncio.create_task(self._announce())
        await self._stopping.wait()
        announced.cancel()
        await runner.cleanup()

    async def _announce(self) -> None:
        """Print where to look, once every part of Fanway is there."""
        timeout = ClientTimeout(total=HEALTH_TIMEOUT_SECONDS)
        async with ClientSession(timeout=timeout) as session:
            while True:
                with contextlib.suppress(ClientError, TimeoutError):
                    async with session.get(self._health) as answer:
                        if answer.status == 200:
                            print(self._ready, flush=True)
                            return
                await asyncio.sleep(HEALTH_POLL_SECONDS)


@contextlib.contextmanager
def _in_thread(origin: _Origin) -> Iterator[None]:
    thread = threading.Thread(target=origin.run, name="origin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        origin.stop()
        thread.join()
