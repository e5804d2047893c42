"""How we prove who asks: a fixed token, or OAuth 2.0 client credentials (RFC 6749 §4.4) by secret or by signed assertion (RFC 7523).

Nothing here is ever shown: secrets and tokens are taken out of every message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from urllib.parse import quote, quote_plus, urlencode

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, OKPKey, RSAKey

from connectors.contract import Misconfigured, RateLimited, Secret, Unauthorised, Unreachable
from connectors.documents import Document, parsed, wait_of
from connectors.http import Wire, persist

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
ASSERTION_LASTS: Final = timedelta(minutes=5)
SMALLEST_RSA: Final = 2048
_PRIVATE: Final = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----.*?-----END (?:[A-Z]+ )?PRIVATE KEY-----", re.DOTALL)
RENEWED_BEFORE: Final = 120.0
"""Seconds. A token is replaced while it is still good, since a page may take a while."""
UNSAID: Final = 300.0


class FixedToken:
    """A token that an administrator made, such as Okta's `SSWS …`."""

    def __init__(self, token: Secret, *, name: str, scheme: str) -> None:
        text = token.reveal()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            # Checked here, since the header check further down would print the token.
            raise Misconfigured(f"{name}: the token is empty or holds characters that no token has")
        self._token = token
        self._scheme = scheme

    def header(self) -> str:
        return f"{self._scheme} {self._token.reveal()}"

    def renew(self) -> bool:
        return False

    def hide(self, text: str) -> str:
        return text.replace(self._token.reveal(), "…")


class Proof(Protocol):
    def fields(self, *, client_id: str, endpoint: str) -> Mapping[str, str]: ...

    def headers(self, *, client_id: str) -> Mapping[str, str]: ...

    def hide(self, text: str, *, client_id: str) -> str: ...


def without_secret(text: str, *, client_id: str, secret: str) -> str:
    """The text without a client's secret, in whichever way it was sent: as it is, as in a form, or joined with the id for HTTP Basic."""
    written = [(write(client_id), write(secret)) for write in (_as_in_an_address, quote_plus)]
    pairs = {base64.b64encode(f"{identity}:{said}".encode()).decode() for identity, said in written}
    for form in sorted({secret, *pairs, *(said for _, said in written)}, key=len, reverse=True):
        text = text.replace(form, "…")
    return text


def _as_in_an_address(text: str) -> str:
    return quote(text, safe="")


@dataclass(frozen=True, kw_only=True)
class BySecret:
    secret: Secret
    name: str

    def __post_init__(self) -> None:
        if not self.secret.reveal():
            raise Misconfigured(f"{self.name}: the client secret is empty")

    def fields(self, *, client_id: str, endpoint: str) -> Mapping[str, str]:
        return {"client_id": client_id, "client_secret": self.secret.reveal()}

    def headers(self, *, client_id: str) -> Mapping[str, str]:
        return {}

    def hide(self, text: str, *, client_id: str) -> str:
        return without_secret(text, client_id=client_id, secret=self.secret.reveal())


class BySecretInHeader(BySecret):
    """The same secret by HTTP Basic, and nothing of it in the body."""

    def fields(self, *, client_id: str, endpoint: str) -> Mapping[str, str]:
        return {}

    def headers(self, *, client_id: str) -> Mapping[str, str]:
        # RFC 6749 §2.3.1: both are written as in a form before they are joined.
        pair = f"{_as_in_an_address(client_id)}:{_as_in_an_address(self.secret.reveal())}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@dataclass(frozen=True, kw_only=True)
class ByKey:
    """private_key_jwt. `header` says which key it is: `kid` for Okta, `x5t#S256` for Entra."""

    key: Key
    header: Mapping[str, str]
    clock: Callable[[], datetime]

    def fields(self, *, client_id: str, endpoint: str) -> Mapping[str, str]:
        at = self.clock()
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": endpoint,
            "jti": secrets.token_urlsafe(24),
            "iat": int(at.timestamp()),
            "nbf": int(at.timestamp()),
            "exp": int((at + ASSERTION_LASTS).timestamp()),
        }
        token = jwt.encode({**self.header, "typ": "JWT"}, claims, self.key, algorithms=[self.header["alg"]])
        return {"client_id": client_id, "client_assertion_type": ASSERTION, "client_assertion": token}

    def headers(self, *, client_id: str) -> Mapping[str, str]:
        return {}

    def hide(self, text: str, *, client_id: str) -> str:
        return text


def proof_by_key(secret: Secret, *, name: str, clock: Callable[[], datetime], algorithm: str, kid: str, certificate: bool) -> ByKey:
    """From a private key in PEM or as a JWK; with `certificate`, the PEM holds the certificate of that key too. Raises Misconfigured."""
    text = secret.reveal()
    private, named = _private_key(text, name=name)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key: Key
    match private:
        case RSAPrivateKey():
            if private.key_size < SMALLEST_RSA:
                raise Misconfigured(f"{name}: the RSA key has less than {SMALLEST_RSA} bits")
            key, usual = RSAKey.import_key(pem), "PS256" if certificate else "RS256"
        case EllipticCurvePrivateKey():
            key, usual = ECKey.import_key(pem), "ES256"
        case _:
            key, usual = OKPKey.import_key(pem), "EdDSA"
    algorithm = algorithm or usual
    if algorithm not in ALGORITHMS:
        raise Misconfigured(f"{name}: algorithm is one of {', '.join(ALGORITHMS)}")
    header = {"alg": algorithm}
    if certificate:
        header["x5t#S256"] = _thumbprint(text, private, name=name)
    elif named := kid or named:
        header["kid"] = named
    proof = ByKey(key=key, header=header, clock=clock)
    try:
        proof.fields(client_id="trial", endpoint="trial")
    except (JoseError, ValueError, TypeError):
        raise Misconfigured(f"{name}: that key cannot sign with {algorithm}") from None
    return proof


def _private_key(text: str, *, name: str) -> tuple[RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey, str]:
    """And its `kid`, where a JWK says one. What a library says of a key it cannot read may hold the key, hence `from None`."""
    named = ""
    try:
        if text.lstrip().startswith("{"):
            read = json.loads(text)
            named = str(read.get("kid") or "")
            if read.get("kty") == "oct":
                raise ValueError
            key = JWKRegistry.import_key({part: value for part, value in read.items() if part != "alg"})
            assert not isinstance(key, OctKey)
            pem = key.as_pem(private=True)
        elif found := _PRIVATE.search(text):
            pem = found[0].encode()
        else:
            raise ValueError
        private = load_pem_private_key(pem, password=None)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        raise Misconfigured(f"{name}: the key is neither an open private key in PEM nor a JWK") from None
    if not isinstance(private, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise Misconfigured(f"{name}: that kind of key signs nothing")
    return private, named


def _thumbprint(text: str, private: RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey, *, name: str) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(text[text.index("-----BEGIN CERTIFICATE") :].encode())
    except ValueError:
        raise Misconfigured(f"{name}: the PEM holds no certificate beside the key; the vendor knows the key by it") from None
    if certificate.public_key() != private.public_key():
        raise Misconfigured(f"{name}: the certificate is not that of the key")
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class ClientCredentials:
    """A token fetched when it is needed, kept in memory only, and fetched anew before it runs out. Threads may share it."""

    def __init__(
        self, *, name: str, endpoint: str, client_id: str, scope: str, proof: Proof, wire: Wire, seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._name = name
        self._endpoint = endpoint
        self._client_id = client_id
        self._scope = scope
        self._proof = proof
        self._wire = wire
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def header(self) -> str:
        with self._lock:
            if not self._token or self._monotonic() >= self._until:
                self._fetch()
            return f"Bearer {self._token}"

    def renew(self) -> bool:
        with self._lock:
            self._token = ""
        return True

    def hide(self, text: str) -> str:
        hidden = self._proof.hide(text, client_id=self._client_id)
        return hidden.replace(self._token, "…") if self._token else hidden

    def _fetch(self) -> None:
        source = f"{self._name}: token"
        content = urlencode(
            {
                "grant_type": "client_credentials",
                **({"scope": self._scope} if self._scope else {}),
                **self._proof.fields(client_id=self._client_id, endpoint=self._endpoint),
            }
        )

        def attempt(deadline: float) -> tuple[int, Mapping[str, str], bytes]:
            response, body = self._wire.send(
                "POST",
                self._endpoint,
                content=content,
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                    **self._proof.headers(client_id=self._client_id),
                },
                deadline=deadline,
                source=source,
            )
            return response.status_code, response.headers, body

        status, headers, body = persist(attempt, "POST", total_seconds=self._seconds)
        if status == 429:
            wait = wait_of(headers.get("Retry-After"), None)
            raise RateLimited(f"{source}: too fast, wait {wait:g} s", wait=wait)
        if 300 <= status < 400:
            raise Misconfigured(f"{source}: answered {status}, a redirect, which is not followed")
        document = parsed(body, source=source)
        if document is None and status in (400, 401, 403):
            raise Unauthorised(f"{source}: answered {status}")
        if status >= 500 or document is None:
            raise Unreachable(f"{source}: answered {status}{'' if status >= 400 else ' with something that is no token'}", sent=True)
        if status >= 400:
            said = f"{document.text('error')} {document.text('error_description')}".split("\n", 1)[0].strip()
            raise Unauthorised(self.hide(f"{source}: {status} {said}")[:300])
        token, kind, lasts = document.text("access_token"), document.text("token_type"), _seconds(document, source=source)
        if not token or kind.lower() != "bearer" or not token.isascii() or not token.isprintable():
            raise Unreachable(f"{source}: the answer holds no bearer token", sent=True)
        self._token = token
        self._until = self._monotonic() + max(lasts - RENEWED_BEFORE, lasts / 2)


def _seconds(document: Document, *, source: str) -> float:
    """How long the token is good; some write the number as a text. RFC 6749 §5.1 lets it be left out."""
    said = document.plain().get("expires_in")
    try:
        lasts = UNSAID if said is None else float(str(said))
    except ValueError:
        lasts = math.nan
    if not math.isfinite(lasts):
        raise Unreachable(f"{source}: the answer does not say for how long the token is good", sent=True)
    return lasts
