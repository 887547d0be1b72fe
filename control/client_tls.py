"""What Fanway identifies itself with towards a target that wants to know (GRIP.md 7.5).

Reads the files that a route names. Never opens a connection.
"""

from __future__ import annotations

import ssl

from control.routes import Target


def client_context(target: Target) -> ssl.SSLContext:
    """Make the TLS settings for a target. Raises ValueError if a file of it is no use."""
    context = ssl.create_default_context()
    if target.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    files = f"{target.client_cert}, {target.client_key}"
    try:
        context.load_cert_chain(target.client_cert, target.client_key)
    except ssl.SSLError:
        raise ValueError(f"client_cert: {files}: not a certificate and its key") from None
    except OSError as error:
        raise ValueError(f"client_cert: {files}: {error.strerror}") from None
    return context


def check_target(target: Target) -> None:
    """See that the files of a target can be used. Raises ValueError."""
    if target.client_cert:
        client_context(target)
