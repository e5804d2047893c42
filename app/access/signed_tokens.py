"""Signed messages of others: read as JWTs only where they are signed with an algorithm that we chose, by a key that they published.

What a message says about its own key (`jwk`, `jku`, `x5c`, `x5u`) is never looked at, and neither is what metadata say
about algorithms: both are written by whoever would like to be believed (RFC 8725 §3.1, §3.10).

Who has several who could have signed first takes a message apart (`unproved`), to learn whose keys to ask, and then has it
proved: only `prove` and `verify` make a `SignedToken`.
"""

import json
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

ALGORITHMS: Final = ("ES256", "PS256", "EdDSA", "RS256")
"""All that are ever taken. IPSIE allows the first three; RS256 is what Entra, Google and most others sign with unless asked."""
_ALSO_CALLED: Final = {"Ed25519": "EdDSA"}
LONGEST: Final = 64 * 1024
LONGEST_KID: Final = 1000
LATEST: Final = 1e11
"""Seconds beyond this, in the year 5138, are milliseconds or a mistake."""
LEAST_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8200
MOST_KEYS: Final = 100


class BadToken(Exception):
    """It is not a signed message of whom it should be of. The text is for an administrator, and repeats nothing secret."""


class WeakAlgorithm(BadToken):
    """It is signed in a way that is not taken, or not at all."""


class NoSuchKey(BadToken):
    """It names a key that is not in the set: the keys have changed, or somebody made it up."""


class BadSignature(BadToken):
    """The signature fits no key."""


class UnusableKeySet(Exception):
    """What is published is no key set, or too large to be one."""


@dataclass(frozen=True, kw_only=True)
class PublishedKey:
    """A public key for signatures, with the name and the one algorithm that it may have been given."""

    key: Key = field(repr=False)
    kid: str | None
    algorithm: str | None

    def may_sign(self, kid: str | None, algorithm: str) -> bool:
        """Whether a message may mean this key: one of that name, or any where either has none."""
        named = kid is None or self.kid is None or self.kid == kid
        return named and algorithm in algorithms_of(self.key) and self.algorithm in (None, algorithm)


@dataclass(frozen=True, kw_only=True)
class KeySet:
    """Public keys as somebody published them; what is of no use for signatures is left out."""

    keys: tuple[PublishedKey, ...]


@dataclass(frozen=True, kw_only=True)
class Unproved:
    """A message taken apart: what it says of itself, for finding whose it should be. Nothing of this is to be believed."""

    token: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any] = field(repr=False)

    @property
    def typ(self) -> str | None:
        return _typ(self.header)


@dataclass(frozen=True, kw_only=True)
class SignedToken:
    """A message whose signature is good. What it claims is still to be checked."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any] = field(repr=False)

    @property
    def algorithm(self) -> str:
        """By the name that it has here."""
        said = str(self.header["alg"])
        return _ALSO_CALLED.get(said, said)

    @property
    def typ(self) -> str | None:
        return _typ(self.header)


def _typ(header: Mapping[str, Any]) -> str | None:
    """What kind it says it is: in lower case, without `application/` (RFC 7515 §4.1.9)."""
    said = header.get("typ")
    return said.lower().removeprefix("application/") if isinstance(said, str) else None


def _known_as(name: str) -> Any:
    # The name EdDSA is deprecated for being vague (RFC 9864); it is what everybody signs under, and here always means Ed25519.
    model = copy(jws.JWSRegistry.algorithms[name if name != "EdDSA" else "Ed25519"])
    model.name = name
    return model


class _Registry(jws.JWSRegistry):
    """Only our algorithms."""

    algorithms = {name: _known_as(name) for name in (*ALGORITHMS, "Ed25519")}  # noqa: RUF012  # as joserfc has it
    # Some name their whole chain of certificates (x5c); it is not looked at.
    max_header_length = 8192


def key_set_of(content: bytes) -> KeySet:
    """A JWKS as it was published (RFC 7517 §5). Keys of kinds that we do not take are passed over. Raises UnusableKeySet."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise UnusableKeySet("the key set is not JSON") from None
    said = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(said, list) or len(said) > MOST_KEYS:
        raise UnusableKeySet(f"the key set is not an object with a list of at most {MOST_KEYS} keys")
    return KeySet(keys=tuple(key for one in said if isinstance(one, dict) and (key := _usable(one)) is not None))


def _usable(said: dict[str, Any]) -> PublishedKey | None:
    if said.get("use", "sig") != "sig" or not isinstance(said.get("kid", ""), str) or not _of_usual_size(said):
        return None
    try:
        # Only the public members: whoever publishes a private key by mistake shall not have it kept here.
        key = JWKRegistry.import_key({name: value for name, value in said.items() if name in _PUBLIC_MEMBERS})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    algorithm = said.get("alg")
    known = None if algorithm is None else _ALSO_CALLED.get(str(algorithm), str(algorithm))
    return PublishedKey(key=key, kid=said.get("kid"), algorithm=known) if algorithms_of(key) else None


def _of_usual_size(said: dict[str, Any]) -> bool:
    """Looked at before a key is read: a short one proves nothing, and one of a million bits would keep us busy for minutes."""
    match said.get("kty"):
        case "EC" | "OKP":
            return True
        case "RSA":
            modulus, exponent = said.get("n"), said.get("e")
            return isinstance(modulus, str) and isinstance(exponent, str) and len(exponent) <= 11 and (
                LEAST_RSA_BITS <= len(modulus.rstrip("=")) * 6 <= MOST_RSA_BITS
            )
        case _:
            return False


_PUBLIC_MEMBERS: Final = frozenset({"kty", "crv", "x", "y", "n", "e"})


def algorithms_of(key: Key) -> tuple[str, ...]:
    """What a key may be used for here."""
    match key:
        case RSAKey() if key.public_key.key_size >= LEAST_RSA_BITS:
            return ("RS256", "PS256")
        case ECKey() if key.curve_name == "P-256":
            return ("ES256",)
        case OKPKey() if key.curve_name == "Ed25519":
            return ("EdDSA",)
        case _:
            return ()


def unproved(token: str) -> Unproved:
    """Take a compact JWS apart. Nothing is proved by it. Raises BadToken."""
    if not token or len(token) > LONGEST or not token.isascii():
        raise BadToken(f"the message is empty, longer than {LONGEST} characters or not ASCII")
    if token.count(".") == 4:
        raise BadToken("the message is encrypted, which is not understood here")
    try:
        found = jws.extract_compact(token.encode(), registry=_Registry(strict_check_header=False))
        header: Any = found.headers()
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise BadToken("the message is no signed JWT in compact form") from None
    try:
        claims = json.loads(found.payload or b"")
    except (ValueError, RecursionError):
        raise BadToken("the claims of the message are not JSON") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise BadToken("the header and the claims of the message are not both objects")
    return Unproved(token=token, header=header, claims=claims)


def verify(token: str, keys: KeySet, *, algorithms: Collection[str]) -> SignedToken:
    """Check the signature of a compact JWS (RFC 7515 §5.2) and read its claims. Raises BadToken and its kinds."""
    return prove(unproved(token), keys, algorithms=algorithms)


def prove(shown: Unproved, keys: KeySet, *, algorithms: Collection[str]) -> SignedToken:
    """Check the signature of what was taken apart. Raises BadToken and its kinds."""
    header = shown.header
    algorithm = header.get("alg")
    # RFC 9864 gives EdDSA with Ed25519 a name of its own; both are read, and mean the same here.
    meant = _ALSO_CALLED.get(algorithm, algorithm) if isinstance(algorithm, str) else None
    if not isinstance(algorithm, str) or meant is None or meant not in algorithms or meant not in ALGORITHMS:
        named = algorithm[:20] if isinstance(algorithm, str) and algorithm.isprintable() else "?"
        raise WeakAlgorithm(f"the message is signed with {named!r}; taken are {', '.join(sorted(algorithms))}")
    if "b64" in header or "crit" in header:
        # RFC 7515 §4.1.11: what is critical has to be understood, and we understand no extension.
        raise BadToken("the message has a header that must be understood and is not")
    kid = header.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= LONGEST_KID):
        raise BadToken("the kid of the message is not a text")
    candidates = [one.key for one in keys.keys if one.may_sign(kid, meant)]
    if not candidates:
        raise NoSuchKey("the message names a key that is not published")
    # RFC 7515 §4: header parameters that are not understood are ignored.
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)
    if not any(_fits(shown.token, key, registry) for key in candidates):
        raise BadSignature("the signature of the message fits none of the published keys")
    return SignedToken(header=header, claims=shown.claims)


def _fits(token: str, key: Key, registry: _Registry) -> bool:
    try:
        jws.deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False
    return True


def instant(claims: Mapping[str, Any], name: str) -> datetime | None:
    """An instant as JWTs have it (RFC 7519 §2, NumericDate). None where it is not said; raises BadToken where it is no such number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
        raise BadToken(f"{name} of the message is no instant: it should be seconds since 1970")
    return datetime.fromtimestamp(value, UTC)


def texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A claim that may be one text or several, such as `aud` (RFC 7519 §4.1.3). What is neither is nothing."""
    value = claims.get(name)
    said = value if isinstance(value, list) else [value]
    found = tuple(one for one in said if isinstance(one, str))
    return found if len(found) == len(said) else ()
