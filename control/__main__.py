"""`python -m control`: the control process, as the supervisor starts it. Nothing but glue."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import threading
from pathlib import Path

from control.app import run
from control.config import Settings
from control.log import configure


def main() -> None:
    """Take what the supervisor hands over, and run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m control", allow_abbrev=False)
    parser.add_argument("--settings-fd", type=int, required=True, metavar="FD")
    parser.add_argument("--link", required=True, metavar="PATH")
    parser.add_argument("--listen-fd", type=int, action="append", default=[], metavar="FD")
    args = parser.parse_args()
    # Read from its start whatever was read before: a control that is started again shares it.
    text = os.pread(args.settings_fd, os.fstat(args.settings_fd).st_size, 0)
    os.close(args.settings_fd)
    settings = Settings.model_validate_json(text)
    configure(settings.log_level, settings.log_format, role="control")
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    sockets = [socket.socket(fileno=fd) for fd in args.listen_fd]
    run(settings, args.link, sockets, settings.worker_count)
    if _supervisor_has_ended(wait_seconds=0):
        _remove(Path(args.link))  # it was killed, or it would still be waiting for us


def _end_with_supervisor() -> None:
    _supervisor_has_ended(wait_seconds=None)
    os.kill(os.getpid(), signal.SIGTERM)


def _supervisor_has_ended(wait_seconds: float | None) -> bool:
    """Standard input ends when the supervisor does, however it ended. None: wait until then."""
    # Not a read: the workers have the same pipe, and do not block on it.
    return bool(select.select([0], [], [], wait_seconds)[0])


def _remove(link: Path) -> None:
    """Remove the link and its folder, unless there is something else in it."""
    with contextlib.suppress(OSError):
        link.unlink(missing_ok=True)
        link.parent.rmdir()


if __name__ == "__main__":
    main()
