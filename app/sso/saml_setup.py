"""Setting up a SAML connection: the provider's metadata read, our own key and certificate made."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree

from app.access.sealing import seal
from app.settings import Settings
from app.sso.refusals import Refused
from app.sso.saml_certificates import BadCertificate, Certificate, read_certificate
from app.sso.saml_settings import POST, REDIRECT
from app.sso.saml_settings import addresses as our_addresses
from app.sso.saml_signatures import check_signature, signature_of
from app.sso.saml_xml import MD, Element, children, elements, values
from connectors.visits import Visitor

LARGEST_METADATA: Final = 4 * 1024 * 1024
OUR_KEY_BITS: Final = 3072
OUR_CERTIFICATE_LASTS: Final = timedelta(days=3650)
_ENTITY_ID_LENGTH: Final = 1024
"""Metadata §2.2.1."""


class BadMetadata(ValueError):
    """Metadata that no connection can be made from; the message says why, to the operator who gave it."""


@dataclass(frozen=True, kw_only=True)
class NewSAML:
    """What a new connection is made of."""

    issuer: str
    saml: dict[str, Any]
    sealed_secret: bytes = field(repr=False)


def new_connection(
    settings: Settings, metadata: str, *, connection_id: str, metadata_url: str | None = None, allow_private: bool = False, at: datetime
) -> NewSAML:
    """A connection to the provider that this metadata describes, with a key and certificate of its own. Raises BadMetadata, KeyMissing."""
    kept = read_metadata(metadata, at=at)
    private_key, certificate = _new_key(our_addresses(settings, connection_id).entity_id, at=at)
    issuer = str(kept.pop("entity_id"))
    saml = {**kept, "our_certificate": certificate, "metadata_url": metadata_url, "allow_private": allow_private}
    return NewSAML(issuer=issuer, saml=saml, sealed_secret=seal(settings, private_key))


def addresses(settings: Settings, connection_id: str) -> dict[str, str]:
    """What is to be entered at the provider."""
    ours = our_addresses(settings, connection_id)
    # Our name and the address of our metadata are one and the same.
    return {"entity_id": ours.entity_id, "acs_url": ours.acs, "metadata_url": ours.entity_id, "slo_url": ours.slo}


def fetch_metadata(url: str, *, allow_private: bool = False) -> str:
    """A provider's metadata from its address. Raises BadMetadata, and the errors of connectors."""
    reply = Visitor(name="SAML metadata", allow_private=allow_private, largest=LARGEST_METADATA).get(
        url, headers={"Accept": "application/samlmetadata+xml, application/xml, text/xml"}
    )
    if reply.status != 200:
        raise BadMetadata(f"{reply.source}: answered {reply.status}")
    try:
        return reply.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadMetadata("the metadata is not UTF-8") from error


def read_metadata(text: str, *, at: datetime) -> dict[str, Any]:
    """What a connection keeps of a provider's metadata. Raises BadMetadata.

    `entity_id`, `sso_url`, `slo_url`, `slo_response_url`, `slo_binding`, `certificates` (PEM), and `metadata_signer`: the
    fingerprint of the certificate that signed it, where it was signed. That one has to sign what replaces it.
    """
    entity = _entity(text, at=at)
    entity_id = str(entity.get("entityID") or "")
    if not entity_id or len(entity_id) > _ENTITY_ID_LENGTH or entity_id != entity_id.strip() or not entity_id.isprintable():
        raise BadMetadata("the metadata gives no entityID that can be used")
    services = elements(entity, "./md:IDPSSODescriptor/md:SingleSignOnService")
    sso_url = next((one.get("Location") for one in services if one.get("Binding") == REDIRECT), None)
    if sso_url is None:
        raise BadMetadata(f"{entity_id} offers no SingleSignOnService by HTTP-Redirect")
    slo_url, slo_response_url, slo_binding = _logout(entity)
    for url in (sso_url, slo_url, slo_response_url):
        _check_url(url)
    return {
        "entity_id": entity_id, "sso_url": sso_url, "slo_url": slo_url, "slo_response_url": slo_response_url, "slo_binding": slo_binding,
        "certificates": [one.pem for one in _signing_certificates(entity, at=at)], "metadata_signer": signer_of(entity, at=at),
    }  # fmt: skip


def _entity(text: str, *, at: datetime) -> Element:
    """The description of the one provider that the metadata is about."""
    content = text.encode()
    if len(content) > LARGEST_METADATA or "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise BadMetadata(f"the metadata has more than {LARGEST_METADATA} bytes, or a DOCTYPE")
    try:
        # Read as what was looked at: in the UTF-7 that a declaration may name, a DOCTYPE has another spelling.
        root = etree.fromstring(
            content,
            etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True),
        )
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadMetadata(f"the metadata is not XML: {str(error)[:200]}") from error
    found = [one for one in root.iter(f"{{{MD}}}EntityDescriptor") if children(one, "md:IDPSSODescriptor")]
    if len(found) != 1:
        raise BadMetadata(f"the metadata describes {len(found) or 'no'} identity providers; give that of the one alone")
    # Metadata §2.4.1: what describes the role may end before what describes its provider, and each list around it as well.
    for part in (*found[0].iterancestors(), found[0], *children(found[0], "md:IDPSSODescriptor")):
        until = part.get("validUntil")
        if until is not None and _instant(until) <= at:
            raise BadMetadata(f"the metadata was good until {until}; have the provider make it anew")
    return found[0]


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadMetadata(f"the metadata has a validUntil that is no instant: {text[:60]!r}") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _logout(entity: Element) -> tuple[str | None, str | None, str | None]:
    """Where logout goes, by HTTP-Redirect: requests, and answers where they go elsewhere. With POST alone, only the binding is told."""
    services = elements(entity, "./md:IDPSSODescriptor/md:SingleLogoutService")
    for one in services:
        if one.get("Binding") == REDIRECT:
            return one.get("Location"), one.get("ResponseLocation"), REDIRECT
    return None, None, POST if any(one.get("Binding") == POST for one in services) else None


def _check_url(url: str | None) -> None:
    if url is None:
        return
    try:
        address = urlsplit(url)
    except ValueError as error:
        raise BadMetadata(f"the metadata gives an address that cannot be used: {url[:200]!r}") from error
    if address.scheme not in ("https", "http") or not address.hostname or "@" in address.netloc or re.search(r"[\s\\<>\"]", url):
        raise BadMetadata(f"the metadata gives an address that cannot be used: {url[:200]!r}")


def _signing_certificates(entity: Element, *, at: datetime) -> list[Certificate]:
    good: list[Certificate] = []
    wrong: list[str] = []
    for found in elements(
        entity, "./md:IDPSSODescriptor/md:KeyDescriptor[not(@use='encryption')]/ds:KeyInfo/ds:X509Data/ds:X509Certificate"
    ):
        try:
            certificate = read_certificate(found.text or "")
        except BadCertificate as error:
            wrong.append(str(error))
            continue
        if certificate.not_after <= at:
            wrong.append(f"the certificate {certificate.short} ended on {certificate.not_after:%Y-%m-%d}")
        elif certificate not in good:
            good.append(certificate)
    if not good:
        raise BadMetadata("; ".join(wrong) or "the metadata has no certificate that signatures could be checked with")
    return good


def signer_of(entity: Element, *, at: datetime) -> str | None:
    """The fingerprint of the certificate that signed this metadata; None where it is not signed. Raises BadMetadata where the signature fails.

    It is the one that stands in the signature itself: whoever adds a connection takes it on their own word, and what
    replaces this metadata then has to be signed by the same.
    """
    root = entity.getroottree().getroot()
    signed = [part for part in dict.fromkeys((root, entity)) if signature_of(part) is not None]
    if not signed:
        return None
    ids = [str(one) for one in values(root, "//@ID")]
    named = elements(signed[0], "./ds:Signature/ds:KeyInfo/ds:X509Data/ds:X509Certificate")
    if not named or len(ids) != len(set(ids)):
        raise BadMetadata("the metadata is signed in a form that is not known")
    try:
        return check_signature(signed[0], [read_certificate(named[0].text or "")], at=at).fingerprint
    except (BadCertificate, Refused) as error:
        raise BadMetadata(f"the metadata is signed, but {error}") from error


def _new_key(name: str, *, at: datetime) -> tuple[str, str]:
    """A private key and a certificate around it, as PEM. Nobody checks who issued it: providers take it from our metadata."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=OUR_KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Doorlist {name.rpartition('/saml/')[2][:36]}")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + OUR_CERTIFICATE_LASTS)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, made.public_bytes(Encoding.PEM).decode()
