"""`python -m control`, started as the supervisor starts it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from control.config import Settings
from support.waiting import until


def test_control_serves_what_it_inherits_and_ends_with_the_supervisor(tmp_path: Path) -> None:
    settings = os.memfd_create("settings")
    os.write(settings, Settings(route=["* a:1"], workers=1).model_dump_json().encode())
    lifeline, write_end = os.pipe()
    link = tmp_path / "of-the-supervisor" / "link"
    link.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fds = [settings, listener.fileno()]
        flags = ["--settings-fd", str(fds[0]), "--listen-fd", str(fds[1]), "--link", str(link)]
        running = subprocess.Popen(
            [sys.executable, "-m", "control", *flags],
            stdin=lifeline,
            pass_fds=fds,
            stderr=subprocess.PIPE,
            text=True,
        )
    os.close(settings)
    os.close(lifeline)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 503"  # no worker has come
        until(link.is_socket, "the link is there")
        os.close(write_end)
        _, log = running.communicate(timeout=10)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0, log
    assert "Traceback" not in log
    assert not link.parent.exists()  # nobody else is left to remove it
