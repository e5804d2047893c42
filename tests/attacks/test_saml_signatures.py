"""What is done to the XML of a SAML response and to its signatures, so that two readers read two things, or a weak key will do."""

from __future__ import annotations

import base64
import hashlib
import re
from copy import deepcopy

import pytest
import xmlsec
from lxml import etree

from app.sso.refusals import Reason, Refused
from app.sso.saml_setup import BadMetadata, read_metadata
from tests.attacks.saml_door import ADA, MALLORY, Door
from tests.company import NOW
from tests.saml_provider import (
    DS,
    SAML,
    SAMLP,
    Element,
    SAMLProvider,
    assertion_of,
    encrypt,
    keys,
    seal,
    sign,
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("saml"))


def _signature(element: Element) -> Element:
    found = element.find(f"{{{DS}}}Signature")
    assert found is not None
    return found


@pytest.mark.parametrize(
    "before",
    [
        b'<!DOCTYPE r [<!ENTITY x "im-ceo-0001">]>',
        b'<!DOCTYPE r SYSTEM "http://evil.example/r.dtd">',
        b'<?xml version="1.0"?><!DOCTYPE r [<!ATTLIST samlp:Response ID ID #IMPLIED>]>',
        b'<?xml-stylesheet href="x"?>',
        b'\xef\xbb\xbf<?xml version="1.0"?><?pi x?>',
    ],
)
def test_s13_whatever_stands_before_the_message_is_refused(door: Door, before: bytes) -> None:
    """S13: a DOCTYPE, with entities or attribute types of its own, that one reader heeds and another does not."""
    door.refuses(before + etree.tostring(door.says()), Reason.BAD_MESSAGE, "DOCTYPE|processing instruction")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "iso-8859-1", "utf-7"])
def test_s13_only_utf_8_is_read(door: Door, encoding: str) -> None:
    """S13: the same bytes in another encoding are another message."""
    text = f"<?xml version='1.0' encoding='{encoding}'?>" + etree.tostring(door.says()).decode()

    with pytest.raises(Refused) as refused:
        door.takes(text.encode(encoding))
    assert refused.value.reason is Reason.BAD_MESSAGE


def test_s13_an_encoding_that_the_bytes_do_not_have_is_refused(door: Door) -> None:
    """S13: declared as one thing, readable as another."""
    content = b"<?xml version='1.0' encoding='iso-8859-1'?>" + etree.tostring(door.says())

    door.refuses(content, Reason.BAD_MESSAGE, "only UTF-8")


def test_s14_a_relative_name_space_is_refused(door: Door) -> None:
    """S14: it cannot be canonicalised, and some readers then take the digest of nothing (CVE-2025-66568)."""
    content = etree.tostring(door.says()).replace(b"<saml:Subject>", b'<saml:Subject xmlns:x="1">')

    door.refuses(content, Reason.BAD_MESSAGE, "no absolute URI")


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_s14_the_digest_of_nothing_is_refused(door: Door, name: str) -> None:
    """S14: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= is SHA-256 of no bytes at all."""
    tree = door.unsigned()
    signature = sign(assertion_of(tree), door.idp.key, digest=name.upper())
    value = signature.find(f".//{{{DS}}}DigestValue")
    assert value is not None
    value.text = base64.b64encode(hashlib.new(name).digest()).decode()

    door.refuses(tree, Reason.BAD_SIGNATURE, "digest of nothing")


@pytest.mark.parametrize("text", ["é", "=", "AAA", "A" * 43 + "٣"])
def test_s14_a_digest_that_is_no_base64_is_refused(door: Door, text: str) -> None:
    """S14: what makes a reader stumble is told like anything else that is wrong, and nobody sees a stack trace."""
    tree = door.says()
    next(tree.iter(f"{{{DS}}}DigestValue")).text = text

    door.refuses(tree, Reason.BAD_SIGNATURE, "digest")


@pytest.mark.parametrize(
    ("attribute", "because"),
    [
        ("Id", "could pass for the ID"),
        ("id", "could pass for the ID"),
        (f"{{{SAML}}}ID", "could pass for the ID"),
        ("{http://www.w3.org/XML/1998/namespace}id", "xml:id"),
        ("{http://www.w3.org/XML/1998/namespace}base", "xml:id, xml:base"),
    ],
)
def test_s15_only_one_attribute_is_an_id(door: Door, attribute: str, because: str) -> None:
    """S15: a second one, and readers may disagree about which element is signed."""
    tree = door.unsigned()
    assertion_of(tree).set(attribute, "_response2")
    sign(assertion_of(tree), door.idp.key)

    door.refuses(tree, Reason.BAD_MESSAGE, because)


def test_s15_two_parts_of_one_id_are_refused(door: Door) -> None:
    """S15: the same ID twice."""
    door.refuses(door.says(response_id="_assertion"), Reason.BAD_MESSAGE, "the same ID")


def test_s16_two_references_are_refused(door: Door) -> None:
    """S16: the second one covers nothing that is read."""
    tree = door.unsigned()
    tree.set("ID", "_response")
    signature = sign(assertion_of(tree), door.idp.key)
    reference = signature.find(f".//{{{DS}}}Reference")
    assert reference is not None
    reference.addnext(deepcopy(reference))

    door.refuses(tree, Reason.BAD_SIGNATURE, "exactly one Reference")


def test_s16_two_signed_parts_are_refused(door: Door) -> None:
    """S16: several SignedInfo, of which one is verified and another used (CVE-2025-29774)."""
    tree = door.says()
    info = _signature(assertion_of(tree)).find(f"{{{DS}}}SignedInfo")
    assert info is not None
    info.addnext(deepcopy(info))

    door.refuses(tree, Reason.BAD_SIGNATURE, "other parts")


def test_s16_a_comment_in_the_digest_is_refused(door: Door) -> None:
    """S16: what is before it is read as the whole digest (CVE-2025-29775)."""
    content = re.sub(rb"<ds:DigestValue>", b"<ds:DigestValue>AAAA<!--x-->", etree.tostring(door.says()))

    door.refuses(content, Reason.BAD_MESSAGE, "a comment")


def test_s16_an_element_in_the_digest_is_refused(door: Door) -> None:
    """S16: the same with an element."""
    tree = door.says()
    value = next(tree.iter(f"{{{DS}}}DigestValue"))
    etree.SubElement(value, f"{{{DS}}}Object")

    door.refuses(tree, Reason.BAD_MESSAGE, "more than text")


_TRANSFORMS = {
    "xpath": "http://www.w3.org/TR/1999/REC-xpath-19991116",
    "xslt": "http://www.w3.org/TR/1999/REC-xslt-19991116",
    "base64": "http://www.w3.org/2000/09/xmldsig#base64",
    "inclusive": "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    "with comments": "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
}


@pytest.mark.parametrize("which", _TRANSFORMS)
def test_s17_only_two_transforms_are_known(door: Door, which: str) -> None:
    """S17: XSLT and XPath change what is signed, or leave most of it out."""
    tree = door.says()
    step = tree.findall(f".//{{{DS}}}Transform")[1]
    step.set("Algorithm", _TRANSFORMS[which])

    door.refuses(tree, Reason.BAD_SIGNATURE, "not by exclusive canonicalisation")


def test_s17_a_third_transform_is_refused(door: Door) -> None:
    """S17: one more, before the digest."""
    tree = door.says()
    steps = tree.find(f".//{{{DS}}}Transforms")
    assert steps is not None
    etree.SubElement(steps, f"{{{DS}}}Transform", Algorithm=_TRANSFORMS["xpath"])

    door.refuses(tree, Reason.BAD_SIGNATURE, "other steps")


def test_s17_canonicalisation_of_the_signature_is_the_one_known(door: Door) -> None:
    """S17: the same for the signed part itself."""
    tree = door.unsigned()
    sign(assertion_of(tree), door.idp.key, canonical="C14N")

    door.refuses(tree, Reason.BAD_SIGNATURE, "not by exclusive canonicalisation")


@pytest.mark.parametrize("prefixes", ["x" * 5000, " ".join(["a"] * 50), "a\nb", "1", ""])
def test_s17_inclusive_name_spaces_are_few_and_names(door: Door, prefixes: str) -> None:
    """S17: a list of prefixes that is none."""
    tree = door.says()
    step = tree.findall(f".//{{{DS}}}Transform")[1]
    etree.SubElement(step, "{http://www.w3.org/2001/10/xml-exc-c14n#}InclusiveNamespaces", PrefixList=prefixes)

    door.refuses(tree, Reason.BAD_SIGNATURE, "another form")


def test_s18_nothing_is_read_from_beside_the_signed_assertion(door: Door) -> None:
    """S18: a plain assertion beside the encrypted one, or in its place once that was checked."""
    tree = door.says()
    encrypt(tree, door.to.certificate)
    tree.append(assertion_of(door.unsigned(name_id=MALLORY)))

    door.refuses(tree, Reason.BAD_MESSAGE, "more than one message or assertion")


def test_s18_what_is_used_is_the_node_that_was_verified(door: Door) -> None:
    """S18: the reader is given the signed element itself, so what stands outside it is not there."""
    tree = door.says(attributes={"groups": ["staff"]})
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    statement = etree.SubElement(extensions, f"{{{SAML}}}AttributeStatement")
    attribute = etree.SubElement(statement, f"{{{SAML}}}Attribute", Name="groups")
    etree.SubElement(attribute, f"{{{SAML}}}AttributeValue").text = "admins"
    tree[0].addnext(extensions)

    assert door.takes(tree).attributes == {"groups": ("staff",)}


def test_s19_a_key_that_comes_along_is_not_believed(door: Door) -> None:
    """S19: signed with the attacker's key, whose certificate stands in the signature; the administrator reads which it was."""
    stranger = keys("stranger")
    tree = door.unsigned(name_id=MALLORY)
    sign(assertion_of(tree), stranger)

    door.refuses(tree, Reason.KEY_CHANGED, "is not known; known are: ([0-9A-F]{2}:)+")


def test_s19_a_stranger_who_shows_our_providers_certificate_is_refused(door: Door) -> None:
    """S19: the certificate of the real provider beside a signature by another key."""
    tree = door.unsigned(name_id=MALLORY)
    signature = sign(assertion_of(tree), keys("stranger"))
    shown = signature.find(f".//{{{DS}}}X509Certificate")
    assert shown is not None
    shown.text = door.idp.key.bare_certificate

    door.refuses(tree, Reason.BAD_SIGNATURE, "by none of the certificates known")


def test_s20_a_public_key_is_no_shared_secret(door: Door) -> None:
    """S20: HMAC with the certificate as its secret."""
    tree = door.unsigned(name_id=MALLORY)
    _hmac(assertion_of(tree), door.idp.key.certificate.encode())

    door.refuses(tree, Reason.WEAK_ALGORITHM, "hmac-sha256")


def _hmac(assertion: Element, secret: bytes) -> None:
    signature = xmlsec.template.create(assertion, xmlsec.Transform.EXCL_C14N, xmlsec.Transform.HMAC_SHA256, ns="ds")
    assertion.insert(1, signature)
    reference = xmlsec.template.add_reference(signature, xmlsec.Transform.SHA256, uri=f"#{assertion.get('ID')}")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    xmlsec.template.add_transform(reference, xmlsec.Transform.EXCL_C14N)
    xmlsec.tree.add_ids(assertion, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_binary_data(xmlsec.KeyData.HMAC, secret)
    context.sign(signature)


def test_s20_a_shortened_hmac_is_refused(door: Door) -> None:
    """S20: HMACOutputLength of one bit (CVE-2009-0217)."""
    tree = door.says()
    method = next(tree.iter(f"{{{DS}}}SignatureMethod"))
    etree.SubElement(method, f"{{{DS}}}HMACOutputLength").text = "1"

    door.refuses(tree, Reason.WEAK_ALGORITHM, "signature of the Assertion")


@pytest.mark.parametrize(("algorithm", "digest"), [("RSA_SHA1", "SHA256"), ("RSA_SHA256", "SHA1"), ("RSA_SHA1", "SHA1")])
def test_s21_sha_1_is_refused(door: Door, algorithm: str, digest: str) -> None:
    """S21: in the signature and in the digest."""
    tree = door.unsigned()
    sign(assertion_of(tree), door.idp.key, algorithm=algorithm, digest=digest)

    door.refuses(tree, Reason.WEAK_ALGORITHM, "sha1")


def test_s21_md5_is_refused(door: Door) -> None:
    """S21: MD5."""
    tree = door.says()
    next(tree.iter(f"{{{DS}}}SignatureMethod")).set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#rsa-md5")

    door.refuses(tree, Reason.WEAK_ALGORITHM, "rsa-md5")


def test_s21_a_short_key_is_refused() -> None:
    """S21: a certificate of 1024 bits makes no connection."""
    weak = keys("weak", bits=1024)
    idp = SAMLProvider(key=weak, certificates=(weak,))

    with pytest.raises(BadMetadata, match="1024 bits"):
        read_metadata(idp.metadata(), at=NOW)


def test_a_signature_is_as_its_owner_left_it(door: Door) -> None:
    """A signature sealed anew over what was signed is a good one: the tests above fail for what they change."""
    tree = door.says()
    seal(assertion_of(tree), _signature(assertion_of(tree)), door.idp.key)

    assert door.takes(tree).name_id.value == ADA
