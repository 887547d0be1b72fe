"""Keys that sign requests, and the reading of what they signed."""

from __future__ import annotations

from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

SIG_KEY = "a secret that is longer than thirty-two bytes"
HEX_SECRET = b"a secret that is written in hex digits"


def write_keys(folder: Path) -> None:
    """`ec.pem`, `rsa.pem` and `hex.txt`."""
    folder.joinpath("ec.pem").write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    folder.joinpath("rsa.pem").write_bytes(RSAKey.generate_key(2048).as_pem(private=True))
    folder.joinpath("hex.txt").write_text(HEX_SECRET.hex() + "\n")


def read_token(token: str, key: Key) -> jwt.Token:
    """The token, if the key signed it. Raises joserfc's error if not."""
    return jwt.decode(token, key, algorithms=["HS256", "ES256", "RS256"])


def secret(text: bytes | str) -> OctKey:
    """A shared secret."""
    return OctKey.import_key(text)
