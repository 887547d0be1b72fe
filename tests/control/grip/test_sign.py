"""Grip-Sig: keys, tokens, trust (GRIP.md 6; checklist 2 to 6, 185, 186)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from control.errors import ConfigError
from control.grip.sign import Key, Signer, Verifier

NOW = 1_900_000_000 - 3600
# GRIP.md 1.2: HS256 with the secret `changeme`.
GRIP_MD_TOKEN = (
    b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."
    b"eyJleHAiOjE5MDAwMDAwMDAsImlzcyI6InB1c2hwaW4ifQ."
    b"MvonaDDGDxsx19xEnZJ4VqmsexWi8s4TXVtZGoNp7Vg"
)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_of(text: str, folder: Path = Path()) -> Key:
    key = Key.from_setting(text, folder)
    assert key is not None
    return key


def decoded(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, unverified."""
    header, claims, _ = token.split(b".")
    first, second = (json.loads(base64.urlsafe_b64decode(p + b"==")) for p in (header, claims))
    return first, second


# -- keys


def test_4_a_plain_text_key_signs_hs256() -> None:
    token = Signer("pushpin", key_of("changeme")).token(NOW)
    signed, _, signature = token.rpartition(b".")
    expected = hmac.new(b"changeme", signed, hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + b"=") == expected


@pytest.mark.parametrize(
    ("key", "algorithm"), [(EC_KEY, "ES256"), (RSA_KEY, "RS256")], ids=["ec", "rsa"]
)
def test_4_a_pem_key_signs_by_its_kind(key: PrivateKey, algorithm: str, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    token = Signer("pushpin", key_of("file:key.pem", tmp_path)).token(NOW)
    claims = pyjwt.decode(
        token,
        public_pem(key),
        algorithms=[algorithm],
        options={"verify_exp": False},
    )
    assert claims["iss"] == "pushpin"


@pytest.mark.parametrize("text", ["base64:Y2hhbmdlbWU=", "base64:Y2hhbmdlbWU", "file:secret"])
def test_5_base64_and_hex_files_are_decoded(text: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("6368616e67656d65\n")
    assert Verifier(key_of(text, tmp_path)).trusts(GRIP_MD_TOKEN, NOW)


def test_6_an_empty_key_is_no_key(tmp_path: Path) -> None:
    assert Key.from_setting("", tmp_path) is None


@pytest.mark.parametrize(
    ("text", "content", "why"),
    [
        ("file:none", None, "cannot read file:none: No such file or directory"),
        ("base64:", None, "the secret is empty"),
        ("base64:!!", None, "the secret is empty"),
        ("file:key", b"", "file:key is empty"),
        ("file:key", b"not hex", "file:key holds neither PEM nor a secret in hex"),
        ("file:key", b"\xff", "file:key holds neither PEM nor a secret in hex"),
        (
            "file:key",
            b"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n",
            "file:key holds PEM, but neither an RSA key nor an EC key on the curve P-256",
        ),
        (
            "file:key",
            private_pem(ec.generate_private_key(ec.SECP384R1())),
            "file:key holds PEM, but neither an RSA key nor an EC key on the curve P-256",
        ),
        (
            "file:key",
            private_pem(ed25519.Ed25519PrivateKey.generate()),
            "file:key holds PEM, but neither an RSA key nor an EC key on the curve P-256",
        ),
        (
            "file:key",
            private_pem(EC_KEY, b"password"),
            "file:key is encrypted, which is not supported",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_its_setting(
    text: str, content: bytes | None, why: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Key.from_setting(text, tmp_path, "upstream_key")
    assert str(caught.value) == f"upstream_key: {why}"


def test_a_public_key_cannot_sign(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(public_pem(EC_KEY))
    with pytest.raises(ConfigError, match="sig_key: a public key cannot sign"):
        Signer("pushpin", key_of("file:key", tmp_path))


# -- tokens


def test_3_a_token_has_exactly_issuer_and_expiry() -> None:
    header, claims = decoded(Signer("pushpin", key_of("changeme")).token(NOW + 0.9))
    assert header == {"typ": "JWT", "alg": "HS256"}
    assert claims == {"iss": "pushpin", "exp": NOW + 3600}


def test_a_token_is_made_once_a_second() -> None:
    signer = Signer("pushpin", key_of("changeme"))
    first = signer.token(NOW)
    assert signer.token(NOW + 0.9) is first
    assert decoded(signer.token(NOW + 1))[1]["exp"] == NOW + 3601


# -- trust


def signed(claims: object, secret: str = "changeme") -> bytes:
    # By hand: PyJWT warns of a secret as short as this one, and refuses odd claims.
    def part(value: object) -> bytes:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    text = part({"typ": "JWT", "alg": "HS256"}) + b"." + part(claims)
    mac = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")


def test_185_a_valid_token_is_trusted() -> None:
    assert Verifier(key_of("changeme")).trusts(GRIP_MD_TOKEN, NOW)


def test_the_issuer_does_not_matter() -> None:
    assert Verifier(key_of("changeme")).trusts(signed({"exp": NOW + 1}), NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": 0},
        {"exp": -1},
        {"exp": str(NOW + 1)},
        {"exp": True},
        {"exp": None},
        {"exp": NOW + 1, "aud": "somebody"},
        [],
        b"\xff",
        b"[" * 5000,
    ],
)
def test_186_a_token_that_is_not_valid_now_is_not_trusted(claims: object) -> None:
    assert not Verifier(key_of("changeme")).trusts(signed(claims), NOW)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"a.b.c",
        b"\xff",
        GRIP_MD_TOKEN[:-1] + b"A",
        GRIP_MD_TOKEN + b".x",
        signed({"exp": NOW + 1}, "another key"),
        b"eyJhbGciOiJub25lIn0.eyJleHAiOjE5MDAwMDAwMDB9.",
    ],
)
def test_186_a_token_signed_by_nobody_we_know_is_not_trusted(token: bytes) -> None:
    assert not Verifier(key_of("changeme")).trusts(token, NOW)


def test_a_public_key_is_not_taken_for_a_secret(tmp_path: Path) -> None:
    pem = public_pem(RSA_KEY)
    (tmp_path / "key").write_bytes(pem)
    forged = signed({"exp": NOW + 1}, pem.decode())
    assert not Verifier(key_of("file:key", tmp_path)).trusts(forged, NOW)


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY], ids=["ec", "rsa"])
def test_185_a_public_key_verifies_what_its_private_key_signed(
    key: PrivateKey, tmp_path: Path
) -> None:
    (tmp_path / "private").write_bytes(private_pem(key))
    (tmp_path / "public").write_bytes(public_pem(key))
    token = Signer("pushpin", key_of("file:private", tmp_path)).token(NOW)
    assert Verifier(key_of("file:public", tmp_path)).trusts(token, NOW)
