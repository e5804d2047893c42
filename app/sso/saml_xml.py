"""Messages of SAML as one tree of XML, or not at all: what could be read in two ways is refused before anything is looked for in it.

There is one parser and one tree: what is checked, what a signature covers and what is used in the end are the same nodes.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Final

from lxml import etree

from app.sso.refusals import Reason, Refused

LARGEST: Final = 256 * 1024
"""Bytes of XML in one message. What real providers send has some 10 kB."""
MOST_ELEMENTS: Final = 5000
DEEPEST: Final = 24
MOST_NAMESPACES: Final = 1000
"""Declarations. Each may count once more for every element below it."""

SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
MD: Final = "urn:oasis:names:tc:SAML:2.0:metadata"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
XENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XENC11: Final = "http://www.w3.org/2009/xmlenc11#"
XML: Final = "http://www.w3.org/XML/1998/namespace"
NAMES: Final = {"saml": SAML, "samlp": SAMLP, "md": MD, "ds": DS, "xenc": XENC, "xenc11": XENC11}

Element = etree._Element
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*={0,2}\s*")
_ABSOLUTE = re.compile(r"(https?://|urn:)[\x21-\x7e]+")
_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,255}")
_TOO_DEEP: Final = "boolean(" + "/*" * (DEEPEST + 1) + ")"
_IDS: Final = "//@*[translate(local-name(),'ID','id')='id']"
# Whatever calls itself so, in whatever namespace and spelling: a second one is there to be mistaken for the first.
_LOOK_ALIKES: Final = "//*[contains('|assertion|encryptedassertion|response|logoutrequest|logoutresponse|', concat('|', translate(local-name(), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz'), '|'))]"


def bad(message: str, reason: Reason = Reason.BAD_MESSAGE) -> Refused:
    """A refusal for what the message itself is; whoever knows the connection adds it."""
    return Refused(reason, message)


def from_post(text: str) -> bytes:
    """What the POST binding carries (Bindings §3.5.4). Raises Refused."""
    if len(text) > LARGEST * 4 // 3 + 4096:
        raise bad(f"the message has more than {LARGEST} bytes")
    if not _BASE64.fullmatch(text):
        # Python's decoder leaves out what is not base64, so that two texts would be one message.
        raise bad("the message is not base64")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise bad("the message is not base64") from error


def from_redirect(text: str) -> bytes:
    """What the Redirect binding carries: DEFLATE inside base64 (Bindings §3.4.4.1). Raises Refused; a bomb is not unpacked."""
    packed = from_post(text)
    unpacking = zlib.decompressobj(-15)
    try:
        content = unpacking.decompress(packed, LARGEST + 1)
    except zlib.error as error:
        raise bad("the message is not deflated as the Redirect binding wants it") from error
    if len(content) > LARGEST or unpacking.unconsumed_tail:
        raise bad(f"the message has more than {LARGEST} bytes once it is unpacked")
    if not unpacking.eof or unpacking.unused_data:
        raise bad("the message is not deflated as the Redirect binding wants it")
    return content


def read(content: bytes, *, root: str) -> Element:
    """The tree of a message whose outermost element has this name. Raises Refused."""
    if len(content) > LARGEST:
        raise bad(f"the message has more than {LARGEST} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad("the message is not UTF-8") from error
    # `<!` begins a DOCTYPE, a comment or a CDATA section, `<?` a processing instruction; in text and in values `<` is
    # always escaped. No provider needs any of them, and each has been used to have two readers see two messages.
    if "<!" in text or "<?" in text[1:]:
        raise bad("the message has a DOCTYPE, a comment, a CDATA section or a processing instruction")
    if text.startswith("<?") and not text.startswith(("<?xml ", "<?xml\t", "<?xml\r", "<?xml\n")):
        raise bad("the message begins with a processing instruction")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, strip_cdata=False)
    try:
        found = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise bad(f"the message is not XML: {str(error)[:200]}") from error
    encoding = (found.getroottree().docinfo.encoding or "UTF-8").upper()
    if encoding not in ("UTF-8", "UTF8", "US-ASCII", "ASCII"):
        raise bad(f"the message says to be in {encoding}; only UTF-8 is read")
    if found.tag != root:
        raise bad(f"the message is a {local_name(found)}, not a {root.rpartition('}')[2]}")
    check_tree(found)
    return found


def check_tree(root: Element) -> None:
    """Refuse a tree that could be read in two ways. Asked once more after an assertion in it was decrypted."""
    if _number(root, "count(//*)") > MOST_ELEMENTS or root.xpath(_TOO_DEEP):
        raise bad(f"the message has more than {MOST_ELEMENTS} elements, or more than {DEEPEST} inside one another")
    if root.xpath("boolean(//comment() | //processing-instruction())"):
        raise bad("the message has a comment or a processing instruction")
    # A relative namespace cannot be canonicalised; readers that go on then take the digest of nothing for that of everything.
    for number, (_, declared) in enumerate(etree.iterwalk(root, events=("start-ns",))):
        if number >= MOST_NAMESPACES or declared is None or not _ABSOLUTE.fullmatch(declared[1]):
            raise bad(f"the message has a namespace that is no absolute URI, or more than {MOST_NAMESPACES} of them")
    if root.xpath("boolean(//@xml:*[local-name() != 'lang'])", namespaces={"xml": XML}):
        raise bad("the message uses xml:id, xml:base or xml:space")
    _check_ids(root)
    alike = elements(root, _LOOK_ALIKES)
    own = [
        one
        for one in alike
        if one is root or (one.getparent() is root and one.tag in (f"{{{SAML}}}Assertion", f"{{{SAML}}}EncryptedAssertion"))
    ]
    if len(alike) != len(own) or len(own) > 2:
        raise bad("the message holds more than one message or assertion, or has it in a place where none belongs")


def _check_ids(root: Element) -> None:
    seen: set[str] = set()
    for found in values(root, _IDS):
        owner = found.getparent()
        name = found.attrname
        place = name_space(owner) if owner is not None else ""
        mine = name == "ID" and (owner is root or (owner is not None and owner.tag == f"{{{SAML}}}Assertion" and owner.getparent() is root))
        if not mine and not (name == "Id" and place in (DS, XENC)):
            raise bad(f"the message has an attribute {str(name)[:80]!r} in a place where it could pass for the ID of something else")
        if not _NCNAME.fullmatch(found):
            raise bad("the message has an ID that is no name")
        if found in seen:
            raise bad("two parts of the message have the same ID")
        seen.add(str(found))


def values(root: Element, path: str) -> Iterator[etree._ElementUnicodeResult]:
    """The values of the attributes that a path finds."""
    found = root.xpath(path)
    assert isinstance(found, list)
    for one in found:
        assert isinstance(one, etree._ElementUnicodeResult)
        yield one


def _number(root: Element, path: str) -> float:
    found = root.xpath(path)
    assert isinstance(found, float)
    return found


def elements(root: Element, path: str) -> list[Element]:
    """The elements that a path finds."""
    found = root.xpath(path, namespaces=NAMES)
    assert isinstance(found, list)
    return [one for one in found if isinstance(one, Element)]


def local_name(element: Element) -> str:
    """What an element is called within its namespace."""
    return str(element.tag).rpartition("}")[2]


def name_space(element: Element) -> str:
    return str(element.tag).rpartition("}")[0][1:]


def only(parent: Element, name: str) -> Element:
    """The one child of that name. Raises Refused where there is none, or more than one."""
    found = children(parent, name)
    if len(found) != 1:
        raise bad(f"the message has {len(found) or 'no'} {name.partition(':')[2]} where it has to have one")
    return found[0]


def children(parent: Element, name: str) -> list[Element]:
    """The children of that name, such as `saml:Issuer`."""
    prefix, _, local = name.partition(":")
    tag = f"{{{NAMES[prefix]}}}{local}"
    # Not by lxml's own search: it compares where names are kept, and so misses elements that xmlsec put into the tree.
    return [child for child in parent if child.tag == tag]


def text_of(element: Element) -> str:
    """The text of an element that holds nothing else. Raises Refused where it does."""
    if len(element):
        raise bad(f"the message has a {local_name(element)} with more than text in it")
    return element.text or ""
