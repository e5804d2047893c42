"""Calls that a vendor signs with a key of its own: over the bytes, or as a JWT."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding as Written
from cryptography.hazmat.primitives.serialization import PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from app.intake.description_types import Encoding, Scheme, Signature
from app.intake.hr import BadSignature
from app.intake.schemes import Request, verify
from tests.hr_vendor import CLOCK

BODY = b'{"id": 1}'
NOW = int(CLOCK.timestamp())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Written.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


SIGNERS: dict[str, tuple[Callable[[], str], Callable[[bytes], bytes]]] = {
    "rsa": (lambda: pem(rsa_key()), lambda signed: rsa_key().sign(signed, padding.PKCS1v15(), hashes.SHA256())),
    "ec": (lambda: pem(ec_key()), lambda signed: ec_key().sign(signed, ec.ECDSA(hashes.SHA256()))),
    "ed25519": (lambda: pem(ed_key()), lambda signed: ed_key().sign(signed)),
}


def shown(signature: bytes) -> Request:
    headers = {"x-signature": base64.b64encode(signature).decode(), "x-time": str(NOW)}
    return Request(method="POST", headers=headers, body=BODY)


DESCRIBED = Signature(
    scheme=Scheme.PUBLIC_KEY, header="X-Signature", over=("timestamp", "'.'", "body"), timestamp="X-Time", encoding=Encoding.BASE64
)  # fmt: skip


@pytest.mark.parametrize("kind", SIGNERS)
@pytest.mark.parametrize("written", ["pem", "one line", "base64"])
def test_what_was_signed_with_the_other_half_of_a_key_is_good_and_nothing_else(kind: str, written: str) -> None:
    public, sign = SIGNERS[kind]
    key = {"pem": public(), "one line": public().replace("\n", " "), "base64": "".join(public().split("\n")[1:-2])}[written]
    signed = f"{NOW}.".encode() + BODY

    verify(DESCRIBED, shown(sign(signed)), [key], event_id=None, at=CLOCK)

    for spoilt in (signed + b" ", BODY):
        with pytest.raises(BadSignature):
            verify(DESCRIBED, shown(sign(spoilt)), [key], event_id=None, at=CLOCK)
    with pytest.raises(BadSignature):
        verify(DESCRIBED, shown(b"\0" * 64), [key], event_id=None, at=CLOCK)


def token(claims: dict[str, object], *, key: RSAKey | ECKey | OctKey, algorithm: str) -> str:
    return jws.serialize_compact({"alg": algorithm}, json.dumps(claims).encode(), key, algorithms=[algorithm])


def signed_by(kind: str, claims: dict[str, object]) -> tuple[str, str]:
    """A JWT, and what it is checked with."""
    if kind == "HS256":
        secret = "a text that both sides know, and nobody else"
        return token(claims, key=OctKey.import_key(secret), algorithm="HS256"), secret
    private = RSAKey.import_key(rsa_key()) if kind.startswith("RS256") else ECKey.import_key(ec_key())
    made = token(claims, key=private, algorithm=kind[:5])
    if kind.endswith("JWKS"):
        return made, json.dumps({"keys": [{**private.as_dict(private=False), "use": "sig"}]})
    return made, pem(rsa_key() if kind.startswith("RS256") else ec_key())


KINDS = ["HS256", "RS256 PEM", "RS256 JWKS", "ES256 PEM", "ES256 JWKS"]
BESIDE = Signature(scheme=Scheme.JWT, header="X-Token", body_claim="digest")
DIGEST = hashlib.sha256(BODY).digest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("digest", [DIGEST.hex(), base64.b64encode(DIGEST).decode(), base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")])
def test_a_jwt_that_names_the_digest_of_the_body_proves_it(kind: str, digest: str) -> None:
    made, key = signed_by(kind, {"digest": digest, "iat": NOW, "exp": NOW + 60})

    verify(BESIDE, Request(method="POST", headers={"x-token": f"Bearer {made}"}, body=BODY), [key], event_id=None, at=CLOCK)

    for changed in (Request(method="POST", headers={"x-token": made}, body=BODY + b" "), Request(method="POST", headers={"x-token": made[:-2]}, body=BODY)):
        with pytest.raises(BadSignature):
            verify(BESIDE, changed, [key], event_id=None, at=CLOCK)
    with pytest.raises(BadSignature, match="is over"):
        verify(BESIDE, Request(method="POST", headers={"x-token": made}, body=BODY), [key], event_id=None, at=CLOCK + timedelta(minutes=7))


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_a_jwt_is_checked_itself(kind: str) -> None:
    made, key = signed_by(kind, {"type": "left", "iat": NOW})
    described = Signature(scheme=Scheme.JWT)

    verify(described, Request(method="POST", headers={}, body=made.encode()), [key], event_id=None, at=CLOCK)
    head, claims, signature = made.split(".")
    other = base64.urlsafe_b64encode(b'{"type":"left","who":2}').decode().rstrip("=")
    for spoilt in (f"{head}.{other}.{signature}", f"{head}.{claims}.", "", "{}", f"eyJhbGciOiJub25lIn0.{claims}."):
        with pytest.raises(BadSignature):
            verify(described, Request(method="POST", headers={}, body=spoilt.encode()), [key], event_id=None, at=CLOCK)


@pytest.mark.parametrize("written", ["pem", "base64"])
def test_a_public_key_is_never_the_secret_of_an_hmac(written: str) -> None:
    """Whoever knows the public key could sign with it as with a text (RFC 8725 §2.1): what the key is decides, not the token."""
    key = pem(rsa_key()) if written == "pem" else "".join(pem(rsa_key()).split("\n")[1:-2])
    signed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"type":"left"}'))
    signature = base64.urlsafe_b64encode(hmac.digest(key.encode(), signed.encode(), "sha256")).decode().rstrip("=")

    with pytest.raises(BadSignature):
        verify(Signature(scheme=Scheme.JWT), Request(method="POST", headers={}, body=f"{signed}.{signature}".encode()), [key], event_id=None, at=CLOCK)
