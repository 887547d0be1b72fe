"""The example origin of `fanway demo`, in a thread of its own, and the word that all is ready.

Serves the application that it is given, on a socket that it is given. Knows no route, no setting
and no child process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

HEALTH_POLL_SECONDS = 0.02
HEALTH_TIMEOUT_SECONDS = 1.0  # of one question; it is asked again


@contextlib.contextmanager
def in_thread(
    app: web.Application, listener: socket.socket, *, health: str, ready: str
) -> Iterator[None]:
    """Serve `app` on `listener`. `ready` is printed once the URL `health` answers 200."""
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_serve(app, listener, stopping, _announce(health, ready)))

    thread = threading.Thread(target=run, name="origin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


async def _serve(
    app: web.Application,
    listener: socket.socket,
    stopping: asyncio.Event,
    announcing: Coroutine[Any, Any, None],
) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    announced = asyncio.create_task(announcing)
    await stopping.wait()
    announced.cancel()
    await runner.cleanup()


async def _announce(health: str, ready: str) -> None:
    """Print where to look, once every part of Fanway is there."""
    async with ClientSession(timeout=ClientTimeout(total=HEALTH_TIMEOUT_SECONDS)) as session:
        while True:
            with contextlib.suppress(ClientError, TimeoutError):
                async with session.get(health) as answer:
                    if answer.status == 200:
                        print(ready, flush=True)
                        return
            await asyncio.sleep(HEALTH_POLL_SECONDS)
