"""Encrypted assertions: opened with our key, where the algorithms leave nothing to be guessed from how we answer."""

from copy import deepcopy
from typing import Any, Final

import xmlsec
from lxml import etree
from onelogin.saml2.response import OneLogin_Saml2_Response

from app.sso.refusals import Reason
from app.sso.saml_settings import Provider
from app.sso.saml_xml import DS, XENC, XENC11, Element, bad, check_tree, children, elements, only

_GCM: Final = frozenset(f"{XENC11}aes{bits}-gcm" for bits in (128, 192, 256))
_CBC: Final = frozenset(f"{XENC}aes{bits}-cbc" for bits in (128, 192, 256))
_TRANSPORT: Final = frozenset((f"{XENC}rsa-oaep-mgf1p", f"{XENC11}rsa-oaep"))
"""RSA with OAEP. RSA 1.5 tells an attacker who sends many messages what is in one of them (Bleichenbacher)."""


class _Message(OneLogin_Saml2_Response):  # type: ignore[misc]  # the library ships no types
    """The library's response around a tree that was read and checked already, instead of bytes that it would read again."""

    def __init__(self, toolkit: Any, tree: Element) -> None:
        self._settings = toolkit
        self._error = None
        self.document = tree
        self.decrypted_document = None
        self.encrypted = None

    def opened(self) -> Element:
        tree: Element = self._decrypt_assertion(deepcopy(self.document))
        return tree


def opened(provider: Provider, root: Element, *, response_is_signed: bool) -> Element:
    """A copy of the message with its assertion decrypted in place, looked at as any other. Raises Refused.

    AES-CBC is only opened where a signature over the whole message was checked first: with it, an attacker who may
    alter what is encrypted can read it from how each alteration fails. Whatever fails in here is one and the same refusal.
    """
    _check_form(only(root, "saml:EncryptedAssertion"), response_is_signed=response_is_signed)
    try:
        tree = _Message(provider.toolkit, root).opened()
    except (xmlsec.Error, etree.LxmlError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad("the encrypted assertion cannot be opened with this connection's key") from error
    check_tree(tree)
    found = children(tree, "saml:Assertion")
    if len(found) != 1 or elements(tree, "//saml:EncryptedAssertion"):
        raise bad("the encrypted assertion cannot be opened with this connection's key")
    return tree


def _check_form(sealed: Element, *, response_is_signed: bool) -> None:
    data = only(sealed, "xenc:EncryptedData")
    keys = elements(sealed, ".//xenc:EncryptedKey")
    if len(keys) != 1 or len(elements(sealed, ".//xenc:EncryptedData")) != 1 or elements(sealed, ".//xenc:CipherReference"):
        raise bad("the encrypted assertion is not one of one key, with what is encrypted inside it")
    for found in elements(sealed, ".//ds:RetrievalMethod"):
        if found.get("URI") != f"#{keys[0].get('Id')}":
            raise bad("the encrypted assertion has its key somewhere else")
    by = only(data, "xenc:EncryptionMethod").get("Algorithm", "")
    if by not in _GCM and not (by in _CBC and response_is_signed):
        also = "" if by not in _CBC else " unless the whole response is signed too"
        raise bad(f"the assertion is encrypted with {by[:120]!r}, which is not taken{also}", Reason.WEAK_ALGORITHM)
    method = only(keys[0], "xenc:EncryptionMethod")
    if method.get("Algorithm") not in _TRANSPORT:
        raise bad(f"the assertion's key is encrypted with {method.get('Algorithm', '')[:120]!r}, which is not taken", Reason.WEAK_ALGORITHM)
    for part in method:
        # SHA-1 inside OAEP needs no resistance to collisions, and is what most providers send.
        if part.tag not in (f"{{{DS}}}DigestMethod", f"{{{XENC11}}}MGF", f"{{{XENC}}}OAEPparams", f"{{{XENC}}}KeySize"):
            raise bad("the assertion's key is encrypted in another form")


def is_sealed(root: Element) -> bool:
    """Whether the message's assertion is encrypted."""
    return bool(children(root, "saml:EncryptedAssertion"))
