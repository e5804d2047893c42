"""A SAML response with a good signature that was made for somebody else, some other time, some other place, or shown twice."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lxml import etree

from app.sso.refusals import Reason, Refused
from app.sso.saml_checks import check
from app.sso.saml_xml import LARGEST, from_post, from_redirect
from tests.attacks.saml_door import Door
from tests.company import NOW, later
from tests.saml_provider import (
    EMAIL,
    HOLDER_OF_KEY,
    RESPONDER,
    SAML,
    TRANSIENT,
    assertion_of,
    encrypt,
    read_again,
    sign,
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("saml"))


OURS = "https://doorlist.acme.example/saml/acme"


@pytest.mark.parametrize(
    "audiences",
    [
        [],
        [["https://other.example/metadata"]],
        [[f"{OURS}/metadata", "https://other.example/metadata"]],
        [[f"{OURS}/metadata"], ["https://other.example/metadata"]],
        [[f" {OURS}/metadata"]],
        [[f"{OURS}/metadata\n"]],
        [[f"{OURS}/metadata/"]],
        [[f"{OURS}/metadata".upper()]],
        [[f"{OURS}/metadatа"]],  # the last letter is Cyrillic
        [["https://doorlist.acme.example/saml/other/metadata"]],
        [[""]],
        [[]],
    ],
)
def test_s23_an_assertion_is_for_us_and_nobody_else(door: Door, audiences: list[list[str]]) -> None:
    """S23: none, another, several; a space, another case, another alphabet."""
    with pytest.raises(Refused) as refused:
        door.takes(door.says(audiences=audiences))
    assert refused.value.reason in (Reason.OTHER_AUDIENCE, Reason.BAD_MESSAGE)


@pytest.mark.parametrize(
    "place",
    [None, "", "https://other.example/acs", f"{OURS}/acs/x", f"{OURS}/acs?x=1", f"https://other.example/?{OURS}/acs", f"{OURS}/ACS"],
)
def test_s24_an_assertion_is_shown_where_it_was_sent(door: Door, place: str | None) -> None:
    """S24: Recipient, to the letter; the library would take one that contains ours."""
    door.refuses(door.says(recipient=place), Reason.OTHER_AUDIENCE, "is to be shown at")


@pytest.mark.parametrize(
    "place", ["", "https://other.example/acs", f"{OURS}/acs/x", f"{OURS}/acs?x=1", "https://doorlist.acme.example/saml/other/acs"]
)
def test_s24_a_response_goes_where_it_says(door: Door, place: str) -> None:
    """S24: Destination, to the letter; the library would take one that begins like ours."""
    door.refuses(door.says(destination=place), Reason.OTHER_AUDIENCE, "the message is for")


def test_s24_a_signed_response_says_where_it_goes(door: Door) -> None:
    """S24: Bindings §3.5.5.2."""
    door.refuses(door.both(destination=None), Reason.OTHER_AUDIENCE, "is for 'nowhere'")


@pytest.mark.parametrize(("response", "assertion"), [("_asked", None), (None, "_asked"), ("_asked", "_other"), ("", "")])
def test_s25_response_and_assertion_answer_the_same(door: Door, response: str | None, assertion: str | None) -> None:
    """S25: InResponseTo in one and not in the other would make an answer out of what was none."""
    with pytest.raises(Refused) as refused:
        door.takes(_answers(door, response, assertion))
    assert refused.value.reason in (Reason.NOT_ASKED_FOR, Reason.BAD_MESSAGE)


def _answers(door: Door, response: str | None, assertion: str | None) -> bytes:
    tree = door.idp.says(door.to, at=NOW).written()
    if response is not None:
        tree.set("InResponseTo", response)
    data = next(tree.iter(f"{{{SAML}}}SubjectConfirmationData"))
    if assertion is not None:
        data.set("InResponseTo", assertion)
    sign(assertion_of(tree), door.idp.key)
    return etree.tostring(tree)


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_on_or_after": NOW - 3 * MINUTE}, Reason.TOO_LATE),
        ({"confirmed_until": NOW - 3 * MINUTE}, Reason.TOO_LATE),
        ({"session_ends": NOW}, Reason.TOO_LATE),
        ({"not_before": NOW + 4 * MINUTE}, Reason.CLOCK_SKEW),
        ({"issued_at": NOW + 4 * MINUTE}, Reason.CLOCK_SKEW),
        ({"authenticated_at": NOW + 4 * MINUTE}, Reason.CLOCK_SKEW),
    ],
    ids=lambda one: ",".join(one) if isinstance(one, dict) else str(one),
)
def test_s26_an_assertion_has_its_time(door: Door, changes: Mapping[str, Any], reason: Reason) -> None:
    """S26: too late, or from a clock that is ahead; each says so to the administrator, with both times."""
    door.refuses(door.says(**changes), reason, "2025-06-02 1[12]:..:.. UTC")


@pytest.mark.parametrize("changes", [{"not_on_or_after": later(-179)}, {"not_before": later(180)}, {"issued_at": later(180)}])
def test_s26_three_minutes_are_forgiven(door: Door, changes: Mapping[str, Any]) -> None:
    """S26: the edge, from the inside."""
    assert door.takes(door.says(**changes)).id == "_assertion"


@pytest.mark.parametrize("field", ["not_on_or_after", "confirmed_until", "session_ends"])
def test_s26_what_never_ends_is_taken(door: Door, field: str) -> None:
    """S26: the last instant that there is, as some write it for *never*."""
    assert door.takes(door.says(**{field: datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)})).id == "_assertion"


@pytest.mark.parametrize(
    "text",
    ["2025-06-02T12:00:00", "2025-06-02", "20250602T120000Z", "٢٠٢٥-06-02T12:00:00Z", "2025-13-02T12:00:00Z", "0000-00-00T00:00:00Z", ""],
)
def test_s26_an_instant_has_a_zone_and_a_form(door: Door, text: str) -> None:
    """S26: what could be read as another moment."""
    tree = door.unsigned()
    assertion_of(tree).set("IssueInstant", text)
    sign(assertion_of(tree), door.idp.key)

    with pytest.raises(Refused) as refused:
        door.takes(tree)
    assert refused.value.reason is Reason.BAD_MESSAGE


@pytest.mark.parametrize(
    "text",
    ["<x/>", "PD94bWw", "!!!!", "Zm9v" * 3 + "*", "", "====", "\x00", "é"],
    ids=["markup", "cut off", "marks", "a star", "nothing", "padding", "NUL", "é"],
)
def test_s29_what_is_not_a_message_is_refused(door: Door, text: str) -> None:
    """S29: base64 rubbish."""
    with pytest.raises(Refused) as refused:
        check(door.provider, text, at=NOW)
    assert refused.value.reason is Reason.BAD_MESSAGE


def test_s29_files_and_addresses_are_not_fetched(door: Door) -> None:
    """S29: XXE."""
    content = etree.tostring(door.says()).replace(b"im-ada-1001", b"&x;")

    door.refuses(b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + content, Reason.BAD_MESSAGE, "DOCTYPE")
    door.refuses(content, Reason.BAD_MESSAGE, "not XML")


def test_s29_laughs_do_not_grow(door: Door) -> None:
    """S29: entities of entities."""
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))

    door.refuses(f'<!DOCTYPE r [<!ENTITY l0 "ha">{lines}]><r>&l11;</r>'.encode(), Reason.BAD_MESSAGE, "DOCTYPE")


def test_s29_a_message_has_a_bound(door: Door) -> None:
    """S29: 10 MB, deep, or of very many parts."""
    door.refuses(b"<r>" + b"x" * 10_000_000 + b"</r>", Reason.BAD_MESSAGE, "more than 262144 bytes")
    door.refuses(etree.tostring(door.says()).ljust(LARGEST + 1), Reason.BAD_MESSAGE, "more than 262144 bytes")
    door.refuses(_with(door, b"<a>" * 10_000 + b"</a>" * 10_000), Reason.BAD_MESSAGE, "not XML")
    door.refuses(_with(door, b"<a>" * 100 + b"</a>" * 100), Reason.BAD_MESSAGE, "inside one another")
    door.refuses(_with(door, b"<a/>" * 10_000), Reason.BAD_MESSAGE, "5000 elements")
    many = b"".join(b' xmlns:a%d="urn:a"' % number for number in range(6_000))
    door.refuses(_with(door, b"<a%s>" % many + b"<b/>" * 4_000 + b"</a>"), Reason.BAD_MESSAGE, "more than 1000 of them")


def _with(door: Door, more: bytes) -> bytes:
    return etree.tostring(door.says()).replace(b"</samlp:Response>", more + b"</samlp:Response>")


def test_s29_what_unpacks_without_end_is_not_unpacked() -> None:
    """S29: a bomb in the Redirect binding."""
    packing = zlib.compressobj(9, wbits=-15)
    packed = packing.compress(b"<r>" + b" " * 200_000_000) + packing.flush()
    assert len(packed) < LARGEST

    message = base64.b64encode(packed).decode()
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="once it is unpacked"):
            from_redirect(message)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("text", [b"not deflated", b"", zlib.compress(b"<r/>")])
def test_s29_what_is_packed_otherwise_is_refused(text: bytes) -> None:
    """S29: zlib's own header, cut off, or not packed at all."""
    with pytest.raises(Refused, match="not deflated"):
        from_redirect(base64.b64encode(text).decode())


def test_s29_two_texts_are_not_one_message() -> None:
    """S29: Python's decoder leaves out what is no base64."""
    with pytest.raises(Refused):
        from_post("PHI-_Lz4=")


def test_s30_another_provider_cannot_speak_for_this_one(door: Door) -> None:
    """S30: the issuer of another organisation's provider, in the response or in the assertion."""
    other = "https://idp.other.example/saml"

    door.refuses(door.says(issuer=other), Reason.OTHER_ISSUER, "from 'https://idp.other.example/saml'")
    door.refuses(door.says(response_issuer=other), Reason.OTHER_ISSUER, "from 'https://idp.other.example/saml'")
    door.refuses(door.says(issuer="https://idp.acme.example/saml "), Reason.OTHER_ISSUER, "this connection is to")


def test_s32_an_encrypted_assertion_is_signed_as_any_other(door: Door) -> None:
    """S32: encryption proves nothing: anybody has our certificate."""
    tree = door.unsigned()
    encrypt(tree, door.to.certificate)
    sign(tree, door.idp.key)

    door.refuses(tree, Reason.BAD_SIGNATURE, "Assertion is not signed")


def test_s32_cbc_is_opened_only_in_a_signed_response(door: Door) -> None:
    """S32: else whoever alters it could read it from our answers."""
    tree = door.says()
    encrypt(tree, door.to.certificate, data="AES256")

    door.refuses(tree, Reason.WEAK_ALGORITHM, "aes256-cbc.* unless the whole response is signed")

    sign(tree, door.idp.key)
    assert door.takes(tree).id == "_assertion"


@pytest.mark.parametrize(("data", "transport", "bits"), [("AES256_GCM", "RSA_PKCS1", 256), ("DES3", "RSA_OAEP", 192)])
def test_s32_old_ways_to_encrypt_are_refused(door: Door, data: str, transport: str, bits: int) -> None:
    """S32: RSA 1.5 and triple DES, in a signed response too."""
    tree = door.says()
    encrypt(tree, door.to.certificate, data=data, transport=transport, bits=bits)
    sign(tree, door.idp.key)

    door.refuses(tree, Reason.WEAK_ALGORITHM, "which is not taken")


def test_s32_every_way_to_fail_at_opening_is_the_same(door: Door) -> None:
    """S32: another key, an altered text, an altered key, something else inside: one and the same sentence."""
    cannot = "cannot be opened with this connection's key"
    foreign = door.says()
    encrypt(foreign, door.idp.key.certificate)
    door.refuses(foreign, Reason.BAD_MESSAGE, cannot)
    for which in (0, 1):
        altered = door.says()
        encrypt(altered, door.to.certificate)
        altered = read_again(altered)
        value = list(altered.iter("{http://www.w3.org/2001/04/xmlenc#}CipherValue"))[which]
        value.text = base64.b64encode(bytes(byte ^ 1 for byte in base64.b64decode(value.text or ""))).decode()
        door.refuses(altered, Reason.BAD_MESSAGE, cannot)


def test_s32_a_comment_inside_what_is_encrypted_is_refused(door: Door) -> None:
    """S32 S11: what comes out is looked at as what came in."""
    tree = door.says()
    name = next(assertion_of(tree).iter(f"{{{SAML}}}NameID"))
    name.text = "im-ada"
    comment = etree.Comment("x")
    comment.tail = "-1001"
    name.append(comment)
    encrypt(tree, door.to.certificate)

    door.refuses(tree, Reason.BAD_MESSAGE, "a comment")


def test_s33_an_assertion_is_one_for_its_bearer(door: Door) -> None:
    """S33: bound to a key that the bearer would have to show, or to nothing."""
    door.refuses(door.says(method=HOLDER_OF_KEY), Reason.BAD_MESSAGE, "its bearer may show")
    tree = door.unsigned()
    confirmation = next(tree.iter(f"{{{SAML}}}SubjectConfirmation"))
    confirmation.getparent().remove(confirmation)  # type: ignore[union-attr]  # it stands in the subject
    sign(assertion_of(tree), door.idp.key)
    door.refuses(tree, Reason.BAD_MESSAGE, "its bearer may show")


def test_s33_a_confirmation_ends(door: Door) -> None:
    """S33: without an end it could be shown for ever."""
    tree = door.unsigned()
    data = next(tree.iter(f"{{{SAML}}}SubjectConfirmationData"))
    del data.attrib["NotOnOrAfter"]
    sign(assertion_of(tree), door.idp.key)

    door.refuses(tree, Reason.BAD_MESSAGE, "until when it may be shown")


def test_s33_a_condition_that_is_not_known_is_not_met(door: Door) -> None:
    """S33: Core §2.5.1.1."""
    tree = door.unsigned()
    conditions = next(tree.iter(f"{{{SAML}}}Conditions"))
    etree.SubElement(conditions, f"{{{SAML}}}Condition", {"{http://www.w3.org/2001/XMLSchema-instance}type": "saml:OneTimeUseType"})
    sign(assertion_of(tree), door.idp.key)

    door.refuses(tree, Reason.BAD_MESSAGE, "a condition that is not known")


@pytest.mark.parametrize("name", ["", " ", " im-ada-1001", "im-ada-1001\n", "im-ada\u200b-1001", "a" * 257, "im\u00a0ada"])
def test_s34_a_name_is_not_mistaken(door: Door, name: str) -> None:
    """S34: empty, spaces, what is not seen, too long."""
    door.refuses(door.says(name_id=name), Reason.BAD_MESSAGE, "the NameID is empty")


def test_s34_a_name_for_one_time_binds_nobody(door: Door) -> None:
    """S34: transient."""
    door.refuses(door.says(name_id_format=TRANSIENT), Reason.BAD_MESSAGE, "transient")


def test_s34_a_name_for_another_service_is_refused(door: Door) -> None:
    """S34: SPNameQualifier."""
    door.refuses(door.says(sp_name_qualifier="https://other.example"), Reason.OTHER_AUDIENCE, "one for 'https://other.example'")


def test_s34_an_encrypted_name_is_refused(door: Door) -> None:
    """S34: EncryptedID; the whole assertion may be encrypted instead."""
    tree = door.unsigned()
    subject = next(tree.iter(f"{{{SAML}}}Subject"))
    subject.replace(subject[0], etree.Element(f"{{{SAML}}}EncryptedID"))
    sign(assertion_of(tree), door.idp.key)

    with pytest.raises(Refused) as refused:
        door.takes(tree)
    assert refused.value.reason is Reason.BAD_MESSAGE


def test_s34_an_e_mail_address_is_a_name_like_another(door: Door) -> None:
    """S34: it is the subject to the letter; nobody is looked up by it here."""
    assert door.takes(door.says(name_id="Ada@acme.example", name_id_format=EMAIL)).name_id.value == "Ada@acme.example"


def test_s36_an_assertion_in_a_refusal_is_not_taken(door: Door) -> None:
    """S36: the provider said no, and there is an assertion all the same."""
    door.refuses(door.says(status=RESPONDER), Reason.PROVIDER_SAID_NO, "the provider refused: Responder")


def test_a_message_of_another_version_or_kind_is_refused(door: Door) -> None:
    door.refuses(door.says(version="1.1"), Reason.BAD_MESSAGE, "not of SAML 2.0")
    door.refuses(b"<Response/>", Reason.BAD_MESSAGE, "the message is a Response")


def test_a_message_follows_the_schema_though_its_provider_signed_it(door: Door) -> None:
    tree = door.unsigned()
    etree.SubElement(assertion_of(tree), f"{{{SAML}}}Remark").text = "more"
    sign(assertion_of(tree), door.idp.key)

    door.refuses(tree, Reason.BAD_MESSAGE, "does not follow the schema")
