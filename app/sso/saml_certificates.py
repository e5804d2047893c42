"""Certificates of identity providers: whose signatures count, until when, and how they are named to an administrator."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import xmlsec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

RSA_BITS: Final = 2048
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What reading a certificate raises where it is none."""
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class BadCertificate(Exception):
    """A certificate that no signature may be checked with; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate that one provider signs with. Its own signature, and who issued it, say nothing in SAML: it is known or it is not."""

    pem: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    key: Any = field(repr=False, compare=False)
    """As xmlsec takes it: read once, since reading it costs as much as checking a signature."""

    @property
    def short(self) -> str:
        """As administrators compare it: the beginning of the SHA-256 fingerprint."""
        return self.fingerprint[:23]


def read_certificate(text: str) -> Certificate:
    """A certificate as PEM or as the bare base64 of metadata. Raises BadCertificate: unreadable, or a key too weak to count."""
    bare = re.sub(r"-----(BEGIN|END) CERTIFICATE-----|\s", "", text)
    try:
        der = base64.b64decode(bare, validate=True)
        found = x509.load_der_x509_certificate(der)
        key = found.public_key()
    except _UNREADABLE as error:
        raise BadCertificate("a certificate cannot be read") from error
    fingerprint = fingerprint_of(der)
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS:
            raise BadCertificate(
                f"the certificate {fingerprint[:23]} has an RSA key of {key.key_size} bits; at least {RSA_BITS} are wanted"
            )
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise BadCertificate(f"the certificate {fingerprint[:23]} has a key that is neither RSA nor on the curves P-256, P-384 or P-521")
    pem = found.public_bytes(Encoding.PEM).decode()
    return Certificate(
        pem=pem, fingerprint=fingerprint, not_before=found.not_valid_before_utc, not_after=found.not_valid_after_utc,
        key=xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.CERT_PEM, None),
    )  # fmt: skip


def fingerprint_of(der: bytes) -> str:
    """SHA-256 over the certificate as it is encoded, as consoles show it."""
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())
