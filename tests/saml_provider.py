"""A SAML identity provider in this process: it says what it is told to say, and signs it with the key it is told to use."""

from __future__ import annotations

import atexit
import base64
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlsplit

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree

from tests.servers.idp_keys import Certified, certify

Element = etree._Element
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
MD = "urn:oasis:names:tc:SAML:2.0:metadata"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
NAMES = {"saml": SAML, "samlp": SAMLP, "ds": DS, "xenc": XENC, "md": MD}
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
RESPONDER = "urn:oasis:names:tc:SAML:2.0:status:Responder"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
HOLDER_OF_KEY = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"


def _folder() -> Path:
    """For keys of a whole run; gone with it."""
    folder = tempfile.mkdtemp(prefix="doorlist-saml-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def keys(name: str, *, days: float = 3650, bits: int = 2048) -> Certified:
    """A key and certificate, made once in a run: making one takes longer than most tests."""
    return certify(_folder(), name, valid_for=timedelta(days=days), bits=bits)


@cache
def elliptic_keys(name: str) -> Certified:
    """The same on the curve P-256."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2045, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    folder = _folder()
    made = Certified(key_file=folder / f"{name}.key", certificate_file=folder / f"{name}.pem")
    plain = serialization.NoEncryption()
    made.key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    made.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made


@dataclass(frozen=True, kw_only=True)
class ServiceProvider:
    """The other side, as the provider knows it from its metadata."""

    entity_id: str
    acs: str
    slo: str
    certificate: str


def service_provider(metadata: bytes) -> ServiceProvider:
    """Read what a service provider publishes."""
    tree = etree.fromstring(metadata)

    def location(of: str) -> str:
        return str(tree.find(f".//{{{MD}}}{of}").get("Location"))  # type: ignore[union-attr]  # a test fails where it is absent

    bare = tree.findtext(f".//{{{DS}}}X509Certificate") or ""
    certificate = f"-----BEGIN CERTIFICATE-----\n{bare.strip()}\n-----END CERTIFICATE-----\n"
    return ServiceProvider(
        entity_id=str(tree.get("entityID")),
        acs=location("AssertionConsumerService"),
        slo=location("SingleLogoutService"),
        certificate=certificate,
    )


@dataclass(frozen=True, kw_only=True)
class Says:
    """A response, before it is written: what a good provider would say, unless a test changes it. None leaves a thing out."""

    at: datetime
    issuer: str
    response_issuer: str | None
    destination: str | None
    recipient: str | None
    audiences: Sequence[Sequence[str]]
    in_response_to: str | None
    confirms: str | None
    name_id: str = "im-ada-1001"
    name_id_format: str | None = PERSISTENT
    name_qualifier: str | None = None
    sp_name_qualifier: str | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    acr: str = PASSWORD
    session_index: str | None = "session-1"
    status: str = SUCCESS
    method: str = BEARER
    version: str = "2.0"
    assertion_id: str = "_assertion"
    response_id: str = "_response"
    issued_at: datetime | None = None
    authenticated_at: datetime | None = None
    not_before: datetime | None = None
    not_on_or_after: datetime | None = None
    confirmed_until: datetime | None = None
    session_ends: datetime | None = None

    def written(self) -> Element:
        """The response as a tree, unsigned."""
        a, p = f"{{{SAML}}}", f"{{{SAMLP}}}"
        issued = stamp(self.issued_at or self.at)
        response = etree.Element(f"{p}Response", nsmap={"samlp": SAMLP, "saml": SAML})
        response.set("ID", self.response_id)
        response.set("Version", self.version)
        response.set("IssueInstant", issued)
        _set(response, Destination=self.destination, InResponseTo=self.in_response_to)
        if self.response_issuer is not None:
            etree.SubElement(response, f"{a}Issuer").text = self.response_issuer
        etree.SubElement(etree.SubElement(response, f"{p}Status"), f"{p}StatusCode", Value=self.status)
        assertion = etree.SubElement(response, f"{a}Assertion", ID=self.assertion_id, Version="2.0", IssueInstant=issued)
        etree.SubElement(assertion, f"{a}Issuer").text = self.issuer
        subject = etree.SubElement(assertion, f"{a}Subject")
        named = etree.SubElement(subject, f"{a}NameID")
        named.text = self.name_id
        _set(named, Format=self.name_id_format, NameQualifier=self.name_qualifier, SPNameQualifier=self.sp_name_qualifier)
        data = etree.SubElement(etree.SubElement(subject, f"{a}SubjectConfirmation", Method=self.method), f"{a}SubjectConfirmationData")
        _set(
            data, Recipient=self.recipient, InResponseTo=self.confirms,
            NotOnOrAfter=stamp(self.confirmed_until or self.at + timedelta(minutes=5)),
        )  # fmt: skip
        conditions = etree.SubElement(
            assertion, f"{a}Conditions", NotBefore=stamp(self.not_before or self.at - timedelta(minutes=1)),
            NotOnOrAfter=stamp(self.not_on_or_after or self.at + timedelta(minutes=5)),
        )  # fmt: skip
        for names in self.audiences:
            restriction = etree.SubElement(conditions, f"{a}AudienceRestriction")
            for name in names:
                etree.SubElement(restriction, f"{a}Audience").text = name
        statement = etree.SubElement(assertion, f"{a}AuthnStatement", AuthnInstant=stamp(self.authenticated_at or self.at))
        _set(
            statement, SessionIndex=self.session_index, SessionNotOnOrAfter=None if self.session_ends is None else stamp(self.session_ends)
        )
        context = etree.SubElement(statement, f"{a}AuthnContext")
        etree.SubElement(context, f"{a}AuthnContextClassRef").text = self.acr
        if self.attributes:
            attributes = etree.SubElement(assertion, f"{a}AttributeStatement")
            for name, values in self.attributes.items():
                attribute = etree.SubElement(attributes, f"{a}Attribute", Name=name)
                for value in values:
                    etree.SubElement(attribute, f"{a}AttributeValue").text = value
        return response


def _set(element: Element, **values: str | None) -> None:
    for name, value in values.items():
        if value is not None:
            element.set(name, value)


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, kw_only=True)
class SAMLProvider:
    """One provider. `certificates` are those that its metadata shows; it signs with `key`."""

    entity_id: str = "https://idp.acme.example/saml"
    key: Certified
    certificates: tuple[Certified, ...]

    def metadata(self, *, valid_until: datetime | None = None, logout: str | None = REDIRECT, signed_by: Certified | None = None) -> str:
        shown = "".join(
            f"<md:KeyDescriptor use='signing'><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{one.bare_certificate}</ds:X509Certificate>"
            "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            for one in self.certificates
        )
        host = "https://" + urlsplit(self.entity_id).netloc
        slo = f"<md:SingleLogoutService Binding='{logout}' Location='{host}/slo'/>" if logout else ""
        until = f" validUntil='{stamp(valid_until)}'" if valid_until is not None else ""
        text = (
            f"<md:EntityDescriptor xmlns:md='{MD}' xmlns:ds='{DS}' ID='_metadata' entityID='{self.entity_id}'{until}>"
            f"<md:IDPSSODescriptor protocolSupportEnumeration='{SAMLP}'>{shown}{slo}"
            f"<md:SingleSignOnService Binding='{REDIRECT}' Location='{host}/sso'/></md:IDPSSODescriptor></md:EntityDescriptor>"
        )
        if signed_by is None:
            return text
        tree = etree.fromstring(text)
        sign(tree, signed_by, after=None)
        return etree.tostring(tree).decode()

    def says(self, to: ServiceProvider, *, at: datetime, in_response_to: str | None = None, **changes: object) -> Says:
        """What a good provider says to this service provider, but for what a test changes."""
        good = Says(
            at=at, issuer=self.entity_id, response_issuer=self.entity_id, destination=to.acs, recipient=to.acs, audiences=[[to.entity_id]],
            in_response_to=in_response_to, confirms=in_response_to,
        )  # fmt: skip
        return replace(good, **changes)  # type: ignore[arg-type]  # a test names fields of Says

    def responds(self, to: ServiceProvider, *, at: datetime, in_response_to: str | None = None, **changes: object) -> Element:
        """A good response, its assertion signed."""
        tree = self.says(to, at=at, in_response_to=in_response_to, **changes).written()
        sign(assertion_of(tree), self.key)
        return read_again(tree)


def provider(name: str = "idp", *, entity_id: str = "https://idp.acme.example/saml") -> SAMLProvider:
    return SAMLProvider(entity_id=entity_id, key=keys(name), certificates=(keys(name),))


def read_again(tree: Element) -> Element:
    """The same tree, all of it lxml's own: its searches miss elements that xmlsec put there."""
    return etree.fromstring(etree.tostring(tree))


def assertion_of(tree: Element) -> Element:
    found = tree.find(f"{{{SAML}}}Assertion")
    assert found is not None
    return found


def sign(
    element: Element, by: Certified, *, after: str | None = "Issuer", algorithm: str = "RSA_SHA256", digest: str = "SHA256",
    canonical: str = "EXCL_C14N", uri: str | None = None, key_info: bool = True,
) -> Element:  # fmt: skip
    """Sign an element by its ID, the signature right behind its issuer; returns the signature."""
    signature: Element = xmlsec.template.create(
        element, getattr(xmlsec.Transform, canonical), getattr(xmlsec.Transform, algorithm), ns="ds"
    )
    if after is None:
        element.insert(0, signature)
    else:
        issuer = element.find(f"{{{SAML}}}{after}")
        assert issuer is not None
        issuer.addnext(signature)
    reference = xmlsec.template.add_reference(
        signature, getattr(xmlsec.Transform, digest), uri=f"#{element.get('ID')}" if uri is None else uri
    )
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    xmlsec.template.add_transform(reference, getattr(xmlsec.Transform, canonical))
    if key_info:
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    seal(element, signature, by)
    return signature


def seal(element: Element, signature: Element, by: Certified) -> None:
    """Put digest and signature value into a signature whose form is there already."""
    xmlsec.tree.add_ids(element, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(by.key, xmlsec.KeyFormat.PEM, None)
    context.key.load_cert_from_memory(by.certificate, xmlsec.KeyFormat.PEM)
    context.sign(signature)


def encrypt(tree: Element, to: str, *, data: str = "AES256_GCM", transport: str = "RSA_OAEP", bits: int = 256) -> None:
    """Put the assertion into an EncryptedAssertion that only the holder of this certificate's key can open."""
    assertion = assertion_of(tree)
    place = etree.Element(f"{{{SAML}}}EncryptedAssertion", nsmap={"saml": SAML})
    assertion.addprevious(place)
    place.append(assertion)
    form = xmlsec.template.encrypted_data_create(place, getattr(xmlsec.Transform, data), type=xmlsec.constants.TypeEncElement, ns="xenc")
    xmlsec.template.encrypted_data_ensure_cipher_value(form)
    info = xmlsec.template.encrypted_data_ensure_key_info(form, ns="ds")
    wrapped = xmlsec.template.add_encrypted_key(info, getattr(xmlsec.Transform, transport))
    xmlsec.template.encrypted_data_ensure_cipher_value(wrapped)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(to, xmlsec.KeyFormat.CERT_PEM, None))
    context = xmlsec.EncryptionContext(manager)
    kind = xmlsec.KeyData.DES if data.startswith("DES3") else xmlsec.KeyData.AES
    context.key = xmlsec.Key.generate(kind, bits, xmlsec.KeyDataType.SESSION)
    context.encrypt_xml(form, assertion)


def posted(tree: Element | bytes) -> str:
    """As the POST binding carries it."""
    return base64.b64encode(tree if isinstance(tree, bytes) else etree.tostring(tree)).decode()


def deflated(content: bytes) -> str:
    """As the Redirect binding carries it, before it is escaped."""
    packing = zlib.compressobj(wbits=-15)
    return base64.b64encode(packing.compress(content) + packing.flush()).decode()


def query(
    kind: str, tree: Element | bytes, by: Certified | None, *, relay_state: str | None = None, algorithm: str = RSA_SHA256,
    transform: str = "RSA_SHA256",
) -> str:  # fmt: skip
    """A query of the Redirect binding, signed unless nobody signs."""
    parts = [f"{kind}={quote_plus(deflated(tree if isinstance(tree, bytes) else etree.tostring(tree)))}"]
    if relay_state is not None:
        parts.append(f"RelayState={quote_plus(relay_state)}")
    if by is not None:
        parts.append(f"SigAlg={quote_plus(algorithm)}")
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(by.key, xmlsec.KeyFormat.PEM, None)
        signature = context.sign_binary("&".join(parts).encode(), getattr(xmlsec.Transform, transform))
        parts.append(f"Signature={quote_plus(base64.b64encode(signature).decode())}")
    return "&".join(parts)


def unpacked(url: str, kind: str = "SAMLRequest") -> Element:
    """The message in a URL that sends a browser to the provider."""
    packed = parse_qs(urlsplit(url).query)[kind][0]
    return etree.fromstring(zlib.decompress(base64.b64decode(packed), -15))


def logout_request(
    issuer: str, to: ServiceProvider, *, at: datetime, name_id: str = "im-ada-1001", indexes: Sequence[str] = ("session-1",),
    destination: str | None = None, message_id: str = "_logout", name_qualifier: str | None = None,
) -> Element:  # fmt: skip
    """A LogoutRequest, unsigned."""
    request = etree.Element(
        f"{{{SAMLP}}}LogoutRequest", ID=message_id, Version="2.0", IssueInstant=stamp(at), Destination=destination or to.slo,
        nsmap={"samlp": SAMLP, "saml": SAML},
    )  # fmt: skip
    etree.SubElement(request, f"{{{SAML}}}Issuer").text = issuer
    named = etree.SubElement(request, f"{{{SAML}}}NameID", Format=PERSISTENT)
    named.text = name_id
    _set(named, NameQualifier=name_qualifier)
    for index in indexes:
        etree.SubElement(request, f"{{{SAMLP}}}SessionIndex").text = index
    return request


def logout_response(issuer: str, to: ServiceProvider, *, at: datetime, in_response_to: str, status: str = SUCCESS) -> Element:
    """A LogoutResponse, unsigned."""
    response = etree.Element(
        f"{{{SAMLP}}}LogoutResponse", ID="_logged_out", Version="2.0", IssueInstant=stamp(at), Destination=to.slo,
        InResponseTo=in_response_to, nsmap={"samlp": SAMLP, "saml": SAML},
    )  # fmt: skip
    etree.SubElement(response, f"{{{SAML}}}Issuer").text = issuer
    etree.SubElement(etree.SubElement(response, f"{{{SAMLP}}}Status"), f"{{{SAMLP}}}StatusCode", Value=status)
    return response
