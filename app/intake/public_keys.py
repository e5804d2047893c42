"""Calls that a vendor signs with a key of its own, whose public half we were given: over the bytes, or as a JWT. Pure."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key, load_pem_public_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, OctKey

from app.access import signed_tokens
from app.access.signed_tokens import BadToken, KeySet, PublishedKey, UnusableKeySet, algorithms_of
from app.intake.description_types import Signature
from app.intake.hr import BadSignature

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
SYMMETRIC: Final = ("HS256", "HS384", "HS512")
_HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
_ARMOUR = re.compile(r"-----BEGIN [A-Z ]+-----.*-----END [A-Z ]+-----", re.DOTALL)


def public_key_of(text: str) -> PublicKey:
    """A public key as vendors show them: PEM, perhaps on one line, or the base64 inside it. Raises ValueError."""
    if _ARMOUR.search(text):
        # Written on one line, the armour still tells where the key begins.
        inner = re.sub(r"-----[A-Z ]+-----|\\n", "\n", text).split()
        pem = text if "\n" in text.strip() else f"-----BEGIN PUBLIC KEY-----\n{''.join(inner)}\n-----END PUBLIC KEY-----\n"
        key = load_pem_public_key(pem.encode())
    else:
        der = base64.b64decode(text, validate=True)
        key = ed25519.Ed25519PublicKey.from_public_bytes(der) if len(der) == 32 else load_der_public_key(der)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < signed_tokens.LEAST_RSA_BITS:
        raise ValueError(f"an RSA key has {signed_tokens.LEAST_RSA_BITS} bits at least")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise ValueError("it is no key of RSA, of an elliptic curve or of Ed25519")
    return key


def signed_by(key: PublicKey, signature: bytes, signed: bytes, *, algorithm: str) -> bool:
    """Whether these bytes were signed with the other half of this key: RSA with PKCS #1 v1.5, ECDSA, Ed25519."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), _HASHES[algorithm]())
        else:
            key.verify(signature, signed, ec.ECDSA(_HASHES[algorithm]()))
    except InvalidSignature:
        return False
    return True


def verify_jwt(signature: Signature, token: str, body: bytes, secrets: Sequence[str], *, at: datetime) -> None:
    """Check a JWT: signed by one of these keys, not over, and, where it stands beside the body, over this body. Raises BadSignature.

    A key is a JWKS, a public key as PEM, or a text that both sides know: what it is decides how it may have signed, never the token.
    """
    claims = next((found for secret in secrets if secret and (found := _claims(token.strip(), secret)) is not None), None)
    if claims is None:
        raise BadSignature("the JWT fits no key of this vendor")
    try:
        ends, begins = signed_tokens.instant(claims, "exp"), signed_tokens.instant(claims, "nbf") or signed_tokens.instant(claims, "iat")
    except BadToken as error:
        raise BadSignature(str(error)) from None
    if (ends is not None and at > ends + signature.tolerance) or (begins is not None and at < begins - signature.tolerance):
        raise BadSignature("the JWT is over, or has not begun")
    if signature.body_claim is not None and not _same_digest(claims.get(signature.body_claim), body):
        raise BadSignature(f"the claim {signature.body_claim} of the JWT is not the SHA-256 of this body")


def claims_of(body: bytes) -> Mapping[str, Any]:
    """What a body says that is a JWT, once it has been verified. Raises BadToken."""
    return signed_tokens.unproved(body.decode("ascii", "replace").strip()).claims


def _claims(token: str, key: str) -> Mapping[str, Any] | None:
    try:
        if key.lstrip().startswith("{") or _is_public(key):
            keys = _one_key(key) if _is_public(key) else signed_tokens.key_set_of(key.encode())
            return signed_tokens.verify(token, keys, algorithms=signed_tokens.ALGORITHMS).claims
        found = jws.deserialize_compact(token, OctKey.import_key(key), algorithms=list(SYMMETRIC))
        claims = json.loads(found.payload)
    except (BadToken, UnusableKeySet, JoseError, ValueError, TypeError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _is_public(text: str) -> bool:
    """Whether this is a public key, which everybody may know: then it is never a secret that both sides share."""
    if _ARMOUR.search(text):
        return True
    try:
        load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _one_key(pem: str) -> KeySet:
    key = JWKRegistry.import_key(
        public_key_of(pem).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), _key_type(pem)
    )  # fmt: skip
    return KeySet(keys=(PublishedKey(key=key, kid=None, algorithm=None),) if algorithms_of(key) else ())


def _key_type(pem: str) -> Literal["RSA", "EC", "OKP"]:
    key = public_key_of(pem)
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    return "EC" if isinstance(key, ec.EllipticCurvePublicKey) else "OKP"


def _same_digest(said: object, body: bytes) -> bool:
    """Whether a claim is the SHA-256 of a body: in hex, or in base64 of either alphabet."""
    digest = hashlib.sha256(body).digest()
    plain = base64.b64encode(digest).decode()
    written = (digest.hex(), plain, plain.rstrip("="), plain.translate(_TO_URL), plain.translate(_TO_URL).rstrip("="))
    return isinstance(said, str) and any([hmac.compare_digest(said.encode(), one.encode()) for one in written])


_TO_URL: Final = str.maketrans("+/", "-_")
