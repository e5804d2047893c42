"""Keys of identity providers and service providers in tests: certificates for SAML, key sets for OpenID Connect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, OKPKey, RSAKey

A_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Certified:
    """An RSA key with a certificate that it signed itself, both in PEM and both in files."""

    key_file: Path
    certificate_file: Path

    @property
    def key(self) -> str:
        return self.key_file.read_text()

    @property
    def certificate(self) -> str:
        return self.certificate_file.read_text()

    @property
    def bare_certificate(self) -> str:
        """As it stands in metadata: base64 without the lines around it."""
        return "".join(line for line in self.certificate.splitlines() if not line.startswith("-----"))


def certify(folder: Path, name: str, *, valid_for: timedelta = 3650 * A_DAY, bits: int = 2048) -> Certified:
    """A new pair in `folder`; a negative `valid_for` makes a certificate that has expired."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid_for) - A_DAY)
        .not_valid_after(now + valid_for)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    made = Certified(key_file=folder / f"{name}.key", certificate_file=folder / f"{name}.pem")
    made.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    made.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made


def signing_keys(generation: int = 1) -> list[dict[str, Any]]:
    """Private JWKs, one for each algorithm that a provider may sign with; `kid` says which, and of which generation."""
    made = []
    for algorithm in ("RS256", "PS256"):
        made.append(_jwk(RSAKey.generate_key(2048, private=True), algorithm, generation))
    made.append(_jwk(ECKey.generate_key("P-256", private=True), "ES256", generation))
    made.append(_jwk(OKPKey.generate_key("Ed25519", private=True), "Ed25519", generation))
    return made


def _jwk(key: RSAKey | ECKey | OKPKey, algorithm: str, generation: int) -> dict[str, Any]:
    return {**key.as_dict(private=True), "kid": f"{algorithm.lower()}-{generation}", "use": "sig", "alg": algorithm}
