"""A small program in the place of `-m control` or `-m fastpath`, for tests of the supervisor.

It takes their arguments, writes down what happens to it (a line in the file `TOLD`), answers each
client with the number of its worker and its pid, and otherwise behaves as `BEHAVIOUR` says.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="role")
    parser.add_argument("--worker", default="")
    parser.add_argument("--listen-fd", type=int, action="append", default=[])
    parser.add_argument("--settings-fd", type=int)
    args, _ = parser.parse_known_args()
    name = f"{args.role}{args.worker}"
    behaviour = os.environ["BEHAVIOUR"]

    def tell(what: str) -> None:
        with Path(os.environ["TOLD"]).open("a") as told:
            told.write(f"{name} {os.getpid()} {what}\n")

    def end(*_: object) -> None:
        tell("TERM")
        if f"{name} stays" not in behaviour:
            sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, lambda *_: tell("HUP"))
    if f"{name} fails" in behaviour:
        sys.exit(3)
    if args.settings_fd:
        size = os.fstat(args.settings_fd).st_size
        tell(f"settings {os.pread(args.settings_fd, size, 0).decode()}")
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    for fd in args.listen_fd:
        waiting.register(socket.socket(fileno=fd), selectors.EVENT_READ)
    tell("ready")
    while True:
        for key, _ in waiting.select():
            if key.fileobj == 0:
                tell("EOF")
                sys.exit(0)
            try:
                client, _ = key.fileobj.accept()  # type: ignore[union-attr]
            except BlockingIOError:  # another worker was faster
                continue
            with client:
                client.sendall(f"{name} {os.getpid()}".encode())


if __name__ == "__main__":
    main()
