"""What is done to a SAML response to have somebody else come in: every form that was seen in the wild, and none is taken."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
from lxml import etree

from app.sso.refusals import Reason
from tests.attacks.saml_door import ADA, MALLORY, Door
from tests.saml_provider import (
    DS,
    SAML,
    SAMLP,
    Element,
    assertion_of,
    sign,
)

Forged = Callable[[Element], Element]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("saml"))


def test_what_is_attacked_here_is_taken_when_it_is_left_alone(door: Door) -> None:
    assert door.takes(door.says()).name_id.value == ADA
    assert door.takes(door.both()).name_id.value == ADA


def _evil(original: Element, assertion_id: str = "_evil") -> Element:
    """The forged one: a copy that names somebody else, without a signature."""
    evil = deepcopy(original)
    for signature in evil.findall(f"{{{DS}}}Signature"):
        evil.remove(signature)
    evil.set("ID", assertion_id)
    for name in evil.iter(f"{{{SAML}}}NameID"):
        name.text = MALLORY
    return evil


def _signature(element: Element) -> Element:
    found = element.find(f"{{{DS}}}Signature")
    assert found is not None
    return found


def _object(signature: Element) -> Element:
    return etree.SubElement(signature, f"{{{DS}}}Object")


def _xsw1(tree: Element) -> Element:
    """A forged response whose signature holds the signed one."""
    evil = _evil(tree, "_evil_response")
    evil.insert(1, _signature(tree))
    original = deepcopy(tree)
    original.remove(_signature(original)) if original.find(f"{{{DS}}}Signature") is not None else None
    _signature(evil).append(original)
    return evil


def _xsw2(tree: Element) -> Element:
    """A forged response with the signed one before a signature that stands apart."""
    evil = _evil(tree, "_evil_response")
    signature = _signature(tree)
    tree.remove(signature)
    evil.insert(1, tree)
    evil.insert(2, signature)
    return evil


def _xsw3(tree: Element) -> Element:
    """A forged assertion before the signed one."""
    assertion_of(tree).addprevious(_evil(assertion_of(tree)))
    return tree


def _xsw4(tree: Element) -> Element:
    """A forged assertion around the signed one."""
    original = assertion_of(tree)
    evil = _evil(original)
    tree.replace(original, evil)
    evil.append(original)
    return tree


def _xsw5(tree: Element) -> Element:
    """A forged assertion that took the signature, and the signed one at the end without it."""
    original = assertion_of(tree)
    evil = _evil(original)
    signature = _signature(original)
    original.remove(signature)
    evil.insert(1, signature)
    original.addprevious(evil)
    return tree


def _xsw6(tree: Element) -> Element:
    """A forged assertion whose signature holds the signed one."""
    original = assertion_of(tree)
    evil = _evil(original)
    signature = _signature(original)
    tree.replace(original, evil)
    original.remove(signature)
    evil.insert(1, signature)
    signature.append(original)
    return tree


def _xsw7(tree: Element) -> Element:
    """A forged assertion of the same ID among the extensions."""
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    tree[0].addnext(extensions)
    extensions.append(_evil(assertion_of(tree), "_assertion"))
    return tree


def _xsw8(tree: Element) -> Element:
    """A forged assertion whose signature holds the signed one in an object."""
    original = assertion_of(tree)
    evil = _evil(original)
    signature = _signature(original)
    tree.replace(original, evil)
    original.remove(signature)
    evil.insert(1, signature)
    _object(signature).append(original)
    return tree


@pytest.mark.parametrize("wrap", [_xsw1, _xsw2, _xsw3, _xsw4, _xsw5, _xsw6, _xsw7, _xsw8], ids=lambda one: one.__name__[1:])
def test_s01_to_s08_a_signature_covers_what_is_read(door: Door, wrap: Forged) -> None:
    """S01 S02 S03 S04 S05 S06 S07 S08: eight ways to put a forged message beside, around or inside the signed one."""
    tree = door.says()
    if wrap in (_xsw1, _xsw2):
        sign(tree, door.idp.key)

    door.refuses(
        wrap(tree),
        Reason.BAD_MESSAGE,
        "two parts of the message have the same ID|more than one message or assertion|place where it could pass",
    )


def test_s01_a_second_message_is_seen_under_any_name_space(door: Door) -> None:
    """S01: what is called an assertion elsewhere is there to be mistaken for one."""
    tree = door.both()
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    etree.SubElement(extensions, "{urn:example:other}ASSERTION")
    tree[0].addnext(extensions)

    door.refuses(tree, Reason.BAD_MESSAGE, "more than one message or assertion")


def test_s05_a_signature_belongs_to_what_holds_it(door: Door) -> None:
    """S05: the signature of an earlier assertion, taken over by a forged one."""
    signature = _signature(assertion_of(door.says()))
    tree = door.unsigned(name_id=MALLORY, assertion_id="_evil")
    assertion_of(tree).insert(1, signature)

    door.refuses(tree, Reason.BAD_SIGNATURE, "covers something else")


def test_s05_a_signature_covers_this_very_text(door: Door) -> None:
    """S05: the same, under the same ID."""
    signature = _signature(assertion_of(door.says()))
    tree = door.unsigned(name_id=MALLORY)
    assertion_of(tree).insert(1, signature)

    door.refuses(tree, Reason.BAD_SIGNATURE, "was altered")


def test_s08_a_signature_holds_nothing_but_what_it_needs(door: Door) -> None:
    """S08: an object inside the signature is where wrapped messages are hidden."""
    tree = door.says()
    _object(_signature(assertion_of(tree))).text = "room for more"

    door.refuses(tree, Reason.BAD_SIGNATURE, "other parts")


def test_s09_a_response_without_signatures_is_refused(door: Door) -> None:
    """S09: signatures removed."""
    door.refuses(door.unsigned(), Reason.BAD_SIGNATURE, "Assertion is not signed")


def test_s09_a_signature_somewhere_else_is_none(door: Door) -> None:
    """S09: one in a place where the schema has none."""
    tree = door.says()
    subject = assertion_of(tree).find(f"{{{SAML}}}Subject")
    assert subject is not None
    subject.append(_signature(assertion_of(tree)))

    door.refuses(tree, Reason.BAD_SIGNATURE, "in a place where none belongs")


def test_s09_a_signature_belongs_to_a_message_or_an_assertion(door: Door) -> None:
    """S09: one that stands rightly, behind an issuer, in something that is neither."""
    tree = door.says()
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    place = etree.SubElement(extensions, "{urn:example:other}place")
    etree.SubElement(place, f"{{{SAML}}}Issuer").text = door.idp.entity_id
    place.append(deepcopy(_signature(assertion_of(tree))))
    tree[0].addnext(extensions)

    door.refuses(tree, Reason.BAD_SIGNATURE, "in a place where none belongs")


def test_s10_a_signed_response_does_not_sign_for_its_assertion(door: Door) -> None:
    """S10: only the response is signed."""
    tree = door.unsigned()
    sign(tree, door.idp.key)

    door.refuses(tree, Reason.BAD_SIGNATURE, "Assertion is not signed")


def test_s10_an_assertion_swapped_within_a_signed_response_is_refused(door: Door) -> None:
    """S10: a signed response around another assertion, itself signed rightly."""
    tree = door.both()
    tree.replace(assertion_of(tree), assertion_of(door.says(name_id="im-eve-1002")))

    door.refuses(tree, Reason.BAD_SIGNATURE, "signature of the Response .* was altered")


def test_s10_what_an_unsigned_response_answers_is_held_against_its_assertion(door: Door) -> None:
    """S10: InResponseTo exchanged outside the signed assertion."""
    tree = door.says()
    tree.set("InResponseTo", "_another")

    door.refuses(tree, Reason.NOT_ASKED_FOR, "another request")


def _within(name: str, node: Callable[[], Element]) -> Forged:
    def forge(tree: Element) -> Element:
        element = next(assertion_of(tree).iter(f"{{{SAML}}}{name}"))
        text = element.text or ""
        element.text = text[:3]
        inside = node()
        inside.tail = text[3:]
        element.insert(0, inside)
        return tree

    return forge


@pytest.mark.parametrize("name", ["NameID", "AttributeValue", "Audience"])
def test_s11_a_comment_is_refused_though_no_signature_covers_it(door: Door, name: str) -> None:
    """S11: canonicalisation leaves comments out, and readers that stop at one read half a name (CVE-2017-11427)."""
    tree = _within(name, lambda: etree.Comment("x"))(door.says(attributes={"mail": ["ada@acme.example"]}))

    door.refuses(tree, Reason.BAD_MESSAGE, "a comment")


def test_s12_a_processing_instruction_is_refused_though_it_is_signed(door: Door) -> None:
    """S12: readers that skip it read another name."""
    tree = _within("NameID", lambda: etree.ProcessingInstruction("x", "y"))(door.unsigned())
    sign(assertion_of(tree), door.idp.key)

    door.refuses(tree, Reason.BAD_MESSAGE, "processing instruction")


def test_s11_a_cdata_section_is_refused(door: Door) -> None:
    """S11: to the signature it is text, to some readers a node of its own."""
    content = etree.tostring(door.says()).replace(b"im-ada", b"im<![CDATA[-]]>ada")

    door.refuses(content, Reason.BAD_MESSAGE, "CDATA")
