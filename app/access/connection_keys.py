"""The keys of a connection's provider, for what it signs beside its sign-ins: those it publishes, or those of its certificates."""

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import RSAKey

from app.access.connection_tables import Connection, ConnectionKind
from app.access.published_keys import KEYS
from app.access.signed_tokens import (
    LEAST_RSA_BITS,
    MOST_RSA_BITS,
    BadSignature,
    KeySet,
    NoSuchKey,
    PublishedKey,
    SignedToken,
    Unproved,
    prove,
)

MOST_CERTIFICATES: Final = 20


def prove_of(connection: Connection, shown: Unproved, *, algorithms: Collection[str], came: float | None = None) -> SignedToken:
    """Have a message proved by the keys of this connection's provider, and no other's. Raises BadToken and its kinds, ConnectorError.

    A provider that speaks SAML to us signs its JWTs with the key of its certificate; it may publish keys for them as well. `came`
    is as `PublishedKeys.prove` has it.
    """
    own = _part(connection, "oidc" if connection.kind == ConnectionKind.OIDC else "saml")
    jwks_uri = _part(connection, "universal_logout").get("jwks_uri") or own.get("jwks_uri")
    if connection.kind == ConnectionKind.SAML:
        try:
            return prove(shown, keys_of_certificates(_texts(own.get("certificates"))), algorithms=algorithms)
        except (NoSuchKey, BadSignature):
            if not isinstance(jwks_uri, str):
                raise
    if not isinstance(jwks_uri, str):
        raise NoSuchKey("nobody has said where the keys of this connection's provider are")
    return KEYS.prove(shown, jwks_uri, algorithms=algorithms, allow_private=own.get("allow_private") is True, came=came)


def keys_of_certificates(certificates: Iterable[str]) -> KeySet:
    """The RSA keys of X.509 certificates, as PEM or as the bare base64 of SAML metadata. What cannot be read proves nothing.

    Their dates are not looked at: a certificate in metadata only carries a key (SAML V2.0 Metadata Interoperability §2.6.1).
    """
    found = []
    for text in list(certificates)[:MOST_CERTIFICATES]:
        try:
            public = _certificate(text).public_key()
        except (ValueError, binascii.Error):
            continue
        if isinstance(public, RSAPublicKey) and LEAST_RSA_BITS <= public.key_size <= MOST_RSA_BITS:
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            found.append(PublishedKey(key=RSAKey.import_key(pem), kid=None, algorithm=None))
    return KeySet(keys=tuple(found))


def _certificate(text: str) -> x509.Certificate:
    if "-----BEGIN" in text:
        return x509.load_pem_x509_certificate(text.encode())
    return x509.load_der_x509_certificate(base64.b64decode("".join(text.split()), validate=True))


def _part(connection: Connection, name: str) -> Mapping[str, Any]:
    part = connection.settings.get(name)
    return part if isinstance(part, dict) else {}


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
