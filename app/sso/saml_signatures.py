"""Signatures of SAML messages: their shape is prescribed to the last element, and only certificates known here count.

XML Signature lets the signer say what is signed, how it is to be changed before that, with which algorithm and by which
key. All of it is said by a message that nobody has checked yet, so none of it is taken from there: one reference, to the
element that holds the signature; two transforms; algorithms from a short list; keys from the connection.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_plus

import xmlsec

from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import Certificate, fingerprint_of
from app.sso.saml_xml import DS, SAML, Element, bad, children, elements, from_post, local_name, only, text_of

_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED: Final = f"{DS}enveloped-signature"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_SIGNATURES: Final = {
    f"{_MORE}rsa-sha256": xmlsec.Transform.RSA_SHA256,
    f"{_MORE}rsa-sha384": xmlsec.Transform.RSA_SHA384,
    f"{_MORE}rsa-sha512": xmlsec.Transform.RSA_SHA512,
    f"{_MORE}ecdsa-sha256": xmlsec.Transform.ECDSA_SHA256,
    f"{_MORE}ecdsa-sha384": xmlsec.Transform.ECDSA_SHA384,
    f"{_MORE}ecdsa-sha512": xmlsec.Transform.ECDSA_SHA512,
}
_DIGESTS: Final = {
    "http://www.w3.org/2001/04/xmlenc#sha256": ("sha256", xmlsec.Transform.SHA256),
    f"{_MORE}sha384": ("sha384", xmlsec.Transform.SHA384),
    "http://www.w3.org/2001/04/xmlenc#sha512": ("sha512", xmlsec.Transform.SHA512),
}
_PREFIXES: Final = re.compile(r"[A-Za-z_#][A-Za-z0-9._-]{0,39}( [A-Za-z_#][A-Za-z0-9._-]{0,39}){0,9}")
_MAY_SIGN: Final = 2
"""The message and the one assertion in it."""


def check_places(root: Element, assertion: Element | None) -> None:
    """Every signature belongs to the message or to its one assertion, as the schema wants it: right behind the issuer."""
    found = elements(root, "//*[local-name()='Signature']")
    if len(found) > _MAY_SIGN:
        raise bad("the message has more signatures than it has parts that may be signed")
    for signature in found:
        owner = signature.getparent()
        if signature.tag != f"{{{DS}}}Signature" or owner is None or owner not in (root, assertion):
            raise bad("the message has a signature in a place where none belongs", Reason.BAD_SIGNATURE)
        before = signature.getprevious()
        if before is None or before.tag != f"{{{SAML}}}Issuer" or len(children(owner, "ds:Signature")) != 1:
            raise bad("the message has a signature in a place where none belongs", Reason.BAD_SIGNATURE)


def signature_of(signed: Element) -> Element | None:
    """The signature of this element itself."""
    found = children(signed, "ds:Signature")
    return found[0] if found else None


def check_signature(signed: Element, known: Sequence[Certificate], *, at: datetime) -> Certificate:
    """The certificate by which this very element is signed. Raises Refused: not signed, signed weakly, by another key, altered."""
    what = local_name(signed)
    signature = signature_of(signed)
    if signature is None:
        raise bad(f"the {what} is not signed", Reason.BAD_SIGNATURE)
    digest = _check_shape(signature, signed, what)
    method = only(only(signature, "ds:SignedInfo"), "ds:SignatureMethod").get("Algorithm", "")
    good = usable(known, at=at)
    xmlsec.tree.add_ids(signed, ["ID"])
    for certificate in good:
        context = xmlsec.SignatureContext()
        context.key = certificate.key
        # The shape was checked above; this keeps xmlsec from taking any other even so.
        for transform in (xmlsec.Transform.ENVELOPED, xmlsec.Transform.EXCL_C14N, digest):
            context.enable_reference_transform(transform)
        for transform in (xmlsec.Transform.EXCL_C14N, _SIGNATURES[method]):
            context.enable_signature_transform(transform)
        try:
            context.verify(signature)
        except xmlsec.Error:
            continue
        return certificate
    raise _by_none(what, _named(signature), known, good)


def _check_shape(signature: Element, signed: Element, what: str) -> Any:
    """What the signature covers and how, held against the only form that is taken. Returns the digest's algorithm."""
    names = [local_name(child) for child in signature]
    if names not in (["SignedInfo", "SignatureValue"], ["SignedInfo", "SignatureValue", "KeyInfo"]):
        raise bad(f"the signature of the {what} has other parts than SignedInfo, SignatureValue and KeyInfo", Reason.BAD_SIGNATURE)
    info = only(signature, "ds:SignedInfo")
    if [local_name(child) for child in info] != ["CanonicalizationMethod", "SignatureMethod", "Reference"]:
        raise bad(f"the signature of the {what} has not exactly one Reference", Reason.BAD_SIGNATURE)
    _exclusive(only(info, "ds:CanonicalizationMethod"), what)
    method = only(info, "ds:SignatureMethod")
    if method.get("Algorithm") not in _SIGNATURES or len(method):
        raise _weak(what, "signature", method.get("Algorithm"))
    reference = only(info, "ds:Reference")
    if not signed.get("ID") or reference.get("URI") != f"#{signed.get('ID')}":
        raise bad(f"the signature of the {what} covers something else", Reason.BAD_SIGNATURE)
    if [local_name(child) for child in reference] != ["Transforms", "DigestMethod", "DigestValue"]:
        raise bad(f"the signature of the {what} has a Reference of another form", Reason.BAD_SIGNATURE)
    steps = list(only(reference, "ds:Transforms"))
    if len(steps) != 2 or steps[0].get("Algorithm") != _ENVELOPED or len(steps[0]):
        raise bad(f"the signature of the {what} changes what is signed by other steps than the two allowed", Reason.BAD_SIGNATURE)
    _exclusive(steps[1], what)
    digest = only(reference, "ds:DigestMethod")
    if digest.get("Algorithm") not in _DIGESTS or len(digest):
        raise _weak(what, "digest", digest.get("Algorithm"))
    name, transform = _DIGESTS[digest.get("Algorithm", "")]
    _check_digest(only(reference, "ds:DigestValue"), name, what)
    return transform


def _exclusive(step: Element, what: str) -> None:
    if step.get("Algorithm") != _EXCLUSIVE:
        raise bad(f"the signature of the {what} is not by exclusive canonicalisation", Reason.BAD_SIGNATURE)
    for child in step:
        if child.tag != f"{{{_EXCLUSIVE}}}InclusiveNamespaces" or len(step) != 1 or not _PREFIXES.fullmatch(child.get("PrefixList", "")):
            raise bad(f"the signature of the {what} has a canonicalisation of another form", Reason.BAD_SIGNATURE)


def _check_digest(value: Element, name: str, what: str) -> None:
    try:
        digest = base64.b64decode("".join(text_of(value).split()), validate=True)
    except ValueError as error:
        raise bad(f"the signature of the {what} has a digest that is not base64", Reason.BAD_SIGNATURE) from error
    empty = hashlib.new(name)
    if len(digest) != empty.digest_size or digest == empty.digest():
        raise bad(f"the signature of the {what} has the digest of nothing, or none of that length", Reason.BAD_SIGNATURE)


def fields_of(query: str) -> dict[str, str]:
    """The fields of a query of the Redirect binding as they came, still escaped. Raises Refused where one is there twice.

    Message and signature are both read from this. A name that is itself escaped is another one here, though a web
    framework would read it as the same.
    """
    raw: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in raw:
            raise bad(f"the query has {name[:80]!r} twice")
        raw[name] = value
    return raw


def check_query(query: str, kind: str, known: Sequence[Certificate], *, at: datetime) -> Certificate:
    """The certificate by which a query of the Redirect binding is signed, over the text that came (Bindings §3.4.4.1). Raises Refused."""
    raw = fields_of(query)
    if "Signature" not in raw or "SigAlg" not in raw:
        raise bad(f"the {kind} is not signed", Reason.BAD_SIGNATURE)
    algorithm = unquote_plus(raw["SigAlg"])
    if algorithm not in _SIGNATURES:
        raise _weak(kind, "signature", algorithm)
    signed = "&".join(f"{name}={raw[name]}" for name in (kind, "RelayState", "SigAlg") if name in raw).encode()
    signature = from_post(unquote_plus(raw["Signature"]))
    good = usable(known, at=at)
    for certificate in good:
        context = xmlsec.SignatureContext()
        context.key = certificate.key
        try:
            context.verify_binary(signed, _SIGNATURES[algorithm], signature)
        except xmlsec.Error:
            continue
        return certificate
    raise _by_none(kind, None, known, good)


def usable(known: Sequence[Certificate], *, at: datetime) -> list[Certificate]:
    """Those that have not ended."""
    return [one for one in known if one.not_after > at]


def _weak(what: str, part: str, algorithm: str | None) -> Refused:
    return bad(f"the {part} of the {what} is by {(algorithm or 'nothing')[:120]!r}, which is not taken", Reason.WEAK_ALGORITHM)


def _named(signature: Element) -> str | None:
    """The fingerprint of the certificate that a signature says to be by. It is told to an administrator, and counts for nothing.

    Only its bytes are looked at: it is anybody's.
    """
    found = elements(signature, "./ds:KeyInfo/ds:X509Data/ds:X509Certificate")
    try:
        return fingerprint_of(base64.b64decode(text_of(found[0]))) if found else None
    except (ValueError, Refused):
        return None


def _by_none(what: str, named: str | None, known: Sequence[Certificate], good: Sequence[Certificate]) -> Refused:
    list_of = ", ".join(f"{one.short} until {one.not_after:%Y-%m-%d}" for one in known) or "none"
    if named is not None and named in {one.fingerprint for one in known} - {one.fingerprint for one in good}:
        return bad(f"the {what} is signed with the certificate {named}, which has ended; known are: {list_of}", Reason.KEY_CHANGED)
    if named is not None and named not in {one.fingerprint for one in known}:
        return bad(
            f"the {what} says to be signed with the certificate {named}, which is not known; known are: {list_of}", Reason.KEY_CHANGED
        )
    if known and not good:
        return bad(f"every certificate of this connection has ended: {list_of}", Reason.KEY_CHANGED)
    return bad(
        f"the signature of the {what} is by none of the certificates known, or what it covers was altered; known are: {list_of}",
        Reason.BAD_SIGNATURE,
    )
