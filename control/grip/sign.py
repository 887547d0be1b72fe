"""Grip-Sig: keys, signing requests to origins, trusting requests of other proxies (GRIP.md 6).

Reads key files when it is asked for a key, and never afterwards. Time is an argument, in seconds
since 1970. Tokens are joserfc's: it is typed, takes one algorithm for each key, and has no
dependency but `cryptography`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, RSAKey

from control.errors import ConfigError
from control.grip.values import decode_base64

TOKEN_SECONDS = 3600  # how long a token is valid, GRIP.md 6.1

_PEM_BEGIN = b"-----BEGIN"


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the one algorithm it is used with: a token cannot choose another."""

    algorithm: str
    jwk: OctKey | RSAKey | ECKey

    @classmethod
    def from_setting(cls, text: str, base_folder: Path, setting: str = "sig_key") -> Key | None:
        """Read a key in one of the forms of GRIP.md 6.2; None for an empty setting.

        `file:` paths start at `base_folder`. Raises ConfigError, by the name of the setting, if
        there is no such file or no key in it.
        """
        if not text:
            return None
        form, _, rest = text.partition(":")
        try:
            if form == "base64":
                return _from_secret(decode_base64(rest))
            if form == "file":
                return _from_file((base_folder / rest).read_bytes())
            return _from_secret(text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise ConfigError(setting, f"cannot read {text}: {error.strerror}") from None
        except ValueError as error:
            what = text if form == "file" else "the secret"  # which stays out of logs
            raise ConfigError(setting, f"{what} {error}") from None

    @property
    def is_private(self) -> bool:
        """Whether the key can sign."""
        return self.jwk.is_private


class Signer:
    """Makes Grip-Sig tokens. All requests of one second share one."""

    def __init__(self, iss: str, key: Key, setting: str = "sig_key") -> None:
        """Raises ConfigError for a public key."""
        if not key.is_private:
            raise ConfigError(setting, "a public key cannot sign; the private one is needed")
        self._iss = iss
        self._key = key
        self._second = -1
        self._token = b""

    def token(self, now: float) -> bytes:
        """The value of Grip-Sig for a request at that time."""
        second = int(now)
        if second != self._second:
            header = {"typ": "JWT", "alg": self._key.algorithm}
            claims = {"iss": self._iss, "exp": second + TOKEN_SECONDS}
            self._token = jwt.encode(
                header, claims, self._key.jwk, algorithms=[self._key.algorithm]
            ).encode()
            self._second = second
        return self._token


class Verifier:
    """Tells whether a client is a GRIP proxy that is trusted (GRIP.md 6.4)."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def trusts(self, token: bytes, now: float) -> bool:
        """Whether a Grip-Sig was signed with the key and has not expired."""
        try:
            claims = jwt.decode(token, self._key.jwk, algorithms=[self._key.algorithm]).claims
        except (JoseError, ValueError, RecursionError):
            return False
        expires = claims.get("exp")
        return isinstance(expires, int | float) and now < expires and "aud" not in claims


def _from_file(content: bytes) -> Key:
    if not content.startswith(_PEM_BEGIN):
        return _from_secret(_from_hex(content))
    for kind, algorithm in ((ECKey, "ES256"), (RSAKey, "RS256")):
        try:
            key = kind.import_key(content)
        except TypeError:
            raise ValueError("is encrypted, which is not supported") from None
        except (ValueError, JoseError):
            continue
        if isinstance(key, RSAKey) or key.curve_name == "P-256":
            return Key(algorithm, key)
    raise ValueError("holds PEM, but neither an RSA key nor an EC key on the curve P-256")


def _from_hex(content: bytes) -> bytes:
    try:
        return bytes.fromhex(content.decode("ascii"))
    except ValueError:
        raise ValueError("holds neither PEM nor a secret in hex") from None


def _from_secret(secret: bytes) -> Key:
    if not secret:
        raise ValueError("is empty")
    with warnings.catch_warnings():
        # GRIP's stock secret is shorter than RFC 7518 wants; the choice is the operator's.
        warnings.simplefilter("ignore", SecurityWarning)
        return Key("HS256", OctKey.import_key(secret))
