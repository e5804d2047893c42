"""Assertions that OAuth clients sign instead of showing a secret (RFC 7523, `private_key_jwt`), and the keys they sign with."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from app.access.tokens import digest_of
from app.json_text import UnreadableJSON, UnstorableText, read_json

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
LONGEST_LIFE = timedelta(minutes=5)
SKEW = timedelta(seconds=30)
"""How far a client's clock may be ahead of ours."""
LONGEST = 8192
LEAST_RSA_BITS = 2048
MOST_KEYS = 10


class UnusableKeys(Exception):
    """The file holds no set of keys that assertions could be checked with; the message says why not."""


class BadAssertion(Exception):
    """The assertion does not prove who asks. The message is for whoever set the client up, and repeats nothing of it."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What has to be remembered of a good assertion: its `jti`, as a hash, until it expires."""

    digest: str
    expires_at: datetime


class _Registry(jws.JWSRegistry):
    """Only our algorithms. The name EdDSA is deprecated for being vague (RFC 9864); here it always means Ed25519."""

    algorithms = {name: jws.JWSRegistry.algorithms[name if name != "EdDSA" else "Ed25519"] for name in ALGORITHMS}  # noqa: RUF012  # as joserfc has it
    # Clients that name their certificate (x5c) need more than the 512 bytes that are usual.
    max_header_length = LONGEST


# RFC 7515 §4: header parameters that are not understood are ignored.
_REGISTRY: Final = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


def read_keys(text: str) -> dict[str, Any]:
    """A JWKS (RFC 7517 §5) of public keys, checked. Raises UnusableKeys."""
    try:
        found = read_json(text.encode())
    except UnstorableText as error:
        raise UnusableKeys(f"the file cannot be kept: {error}") from None
    except UnreadableJSON:
        raise UnusableKeys("the file is not JSON; it should be a JWKS: {\"keys\": [...]}") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys or len(keys) > MOST_KEYS:
        raise UnusableKeys(f"a JWKS is an object with a list of 1 to {MOST_KEYS} keys: {{\"keys\": [...]}}")
    for number, key in enumerate(keys, start=1):
        if (fault := _fault_of(key)) is not None:
            raise UnusableKeys(f"key {number} of the JWKS {fault}")
    names = [key.get("kid") for key in keys]
    if len(keys) > 1 and (None in names or len(set(names)) < len(names)):
        raise UnusableKeys("several keys in a JWKS each need a kid of their own")
    return {"keys": keys}


def _fault_of(said: Any) -> str | None:
    if not isinstance(said, dict):
        return "is no object"
    try:
        key = JWKRegistry.import_key(said)
        private = key.is_private
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return "cannot be read"
    if isinstance(key, RSAKey | ECKey | OKPKey) and private:
        return "is a private one: keep it to yourself, and give us the public part"
    if said.get("use", "sig") != "sig" or "verify" not in said.get("key_ops", ["verify"]):
        return "is not for signatures"
    if not (fits := _algorithms_of(key)):
        return f"must be RSA with at least {LEAST_RSA_BITS} bits, EC on P-256, or Ed25519"
    if said.get("alg", fits[0]) not in fits:
        return f"is for {str(said['alg'])[:20]}; we take {', '.join(fits)} with it"
    return None


def _algorithms_of(key: Key) -> tuple[str, ...]:
    match key:
        case RSAKey() if key.public_key.key_size >= LEAST_RSA_BITS:
            return ("RS256", "PS256")
        case ECKey() if key.curve_name == "P-256":
            return ("ES256",)
        case OKPKey() if key.curve_name == "Ed25519":
            return ("EdDSA",)
        case _:
            return ()


def client_named_in(assertion: str) -> str:
    """The client that an assertion claims to be of. Nothing is proved by it. Raises BadAssertion."""
    subject = _unproved(assertion)[1].get("sub")
    if not isinstance(subject, str):
        raise BadAssertion("the assertion must name the client in iss and in sub")
    return subject


def _unproved(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims, as nobody has vouched for them yet."""
    if len(assertion) > LONGEST:
        raise BadAssertion(f"the assertion is longer than {LONGEST} characters")
    try:
        signed = jws.extract_compact(assertion.encode(), registry=_REGISTRY)
        claims = json.loads(signed.payload or b"")
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise BadAssertion("the assertion is no JWT in compact form") from None
    if not isinstance(claims, dict):
        raise BadAssertion("the claims of the assertion must be an object")
    return signed.headers(), claims


def prove(assertion: str, jwks: Mapping[str, Any], *, client_id: str, audiences: Collection[str], at: datetime) -> Claims:
    """Check signature and claims. That it was not used before is not checked here. Raises BadAssertion."""
    header, claims = _unproved(assertion)
    if header.get("alg") not in ALGORITHMS:
        raise BadAssertion(f"the assertion must be signed with {', '.join(ALGORITHMS)}")
    if "b64" in header or "crit" in header:
        # RFC 7515 §4.1.11: but for what is critical, which has to be understood.
        raise BadAssertion("the header of the assertion says what has to be understood (crit, b64), and that is not understood here")
    if not any(_signed_by(assertion, key) for key in _candidates(jwks, header)):
        raise BadAssertion("the signature of the assertion fits no key of this client: has its JWKS changed, or its kid?")
    return _checked(claims, client_id=client_id, audiences=audiences, at=at)


def _candidates(jwks: Mapping[str, Any], header: Mapping[str, Any]) -> list[Key]:
    named = [said for said in jwks["keys"] if header.get("kid") is None or said.get("kid", header["kid"]) == header["kid"]]
    keys = [JWKRegistry.import_key(said) for said in named]
    return [key for key in keys if header["alg"] in _algorithms_of(key) and key.get("alg", header["alg"]) == header["alg"]]


def _signed_by(assertion: str, key: Key) -> bool:
    try:
        jws.deserialize_compact(assertion, key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return False
    return True


def _checked(claims: Mapping[str, Any], *, client_id: str, audiences: Collection[str], at: datetime) -> Claims:
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise BadAssertion("iss and sub of the assertion must both be the client id")
    audience = claims.get("aud")
    # Whoever else is named could show us the same assertion, so nobody else may be.
    named = audience if isinstance(audience, list) else [audience]
    if not named or any(one not in audiences for one in named):
        raise BadAssertion(f"aud of the assertion must be {' or '.join(audiences)}, and nobody else")
    second = at.timestamp()
    expires, issued, earliest = (_seconds(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or issued is None:
        raise BadAssertion("the assertion must say exp and iat, in seconds since 1970")
    if earliest is None and claims.get("nbf") is not None:
        # From when on it is good was said, and cannot be told.
        raise BadAssertion("nbf of the assertion, where it is said, must be in seconds since 1970")
    life, skew = LONGEST_LIFE.total_seconds(), SKEW.total_seconds()
    if not expires > second:
        raise BadAssertion("the assertion has expired; are the clocks right?")
    if expires - issued > life or expires > second + life + skew:
        raise BadAssertion(f"the assertion must expire within {life / 60:g} minutes of being made")
    if max(issued, earliest or 0) > second + skew:
        raise BadAssertion("the assertion is of a later time than it is here; are the clocks right?")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise BadAssertion("the assertion must have a jti, another one each time")
    # As JSON, since half a surrogate pair has no bytes of its own.
    return Claims(digest=digest_of(json.dumps(jti)), expires_at=datetime.fromtimestamp(math.ceil(expires), UTC))


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    """An instant as JWTs have it. What is no number, or none that a clock could show, counts as not said."""
    value = claims.get(name)
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11
    return float(value) if fits else None  # type: ignore[arg-type]  # checked just above
