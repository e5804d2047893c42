"""Messages that we send to SAML providers, built as trees so that nothing in them can be taken for markup, and signed.

All go by the Redirect binding, whose signature is over the query.
"""

import base64
import secrets
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from lxml import etree
from onelogin.saml2.auth import OneLogin_Saml2_Auth

from app.sso.saml_settings import POST, SIGNED_BY, UNSPECIFIED, Provider
from app.sso.saml_xml import NAMES, SAML, SAMLP, Element

LOGOUT_GOOD_FOR: Final = timedelta(minutes=5)
SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_PREFIXES: Final = {"samlp": NAMES["samlp"], "saml": NAMES["saml"]}


def new_message_id() -> str:
    """160 random bits (Core §1.3.4 asks for 128), beginning as an ID of XML has to."""
    return f"_{secrets.token_hex(20)}"


def authn_request_url(
    provider: Provider, *, request_id: str, force: bool, name_id_format: str | None, contexts: Sequence[str] = (), at: datetime
) -> str:
    """Where a browser is sent to sign in; with `contexts`, by one of these (Core §3.3.2.2.1)."""
    request = _message("AuthnRequest", provider, message_id=request_id, destination=provider.sso_url, at=at)
    request.set("ProtocolBinding", POST)
    request.set("AssertionConsumerServiceURL", provider.ours.acs)
    if force:
        request.set("ForceAuthn", "true")
    policy = etree.SubElement(request, f"{{{SAMLP}}}NameIDPolicy", AllowCreate="true")
    if name_id_format not in (None, UNSPECIFIED):
        policy.set("Format", str(name_id_format))
    if contexts:
        wanted = etree.SubElement(request, f"{{{SAMLP}}}RequestedAuthnContext", Comparison="exact")
        for one in contexts:
            etree.SubElement(wanted, f"{{{SAML}}}AuthnContextClassRef").text = one
    return _signed(provider, provider.sso_url, "SAMLRequest", request)


def logout_request_url(
    provider: Provider, *, request_id: str, name_id: Mapping[str, str | None], session_index: str | None, at: datetime
) -> str:
    """Where a browser is sent so that the provider signs it out too. The provider has an address for that."""
    assert provider.slo_url is not None
    request = _message("LogoutRequest", provider, message_id=request_id, destination=provider.slo_url, at=at)
    request.set("NotOnOrAfter", _instant(at + LOGOUT_GOOD_FOR))
    named = etree.SubElement(request, f"{{{SAML}}}NameID")
    for attribute, key in (("Format", "format"), ("NameQualifier", "name_qualifier"), ("SPNameQualifier", "sp_name_qualifier")):
        if value := name_id.get(key):
            named.set(attribute, value)
    named.text = name_id["value"]
    if session_index is not None:
        etree.SubElement(request, f"{{{SAMLP}}}SessionIndex").text = session_index
    return _signed(provider, provider.slo_url, "SAMLRequest", request)


def logout_response_url(provider: Provider, *, in_response_to: str, relay_state: str | None, at: datetime) -> str:
    """Where a browser is sent back to when the provider had asked us to sign somebody out. The provider has an address for that."""
    assert provider.slo_response_url is not None
    response = _message("LogoutResponse", provider, message_id=new_message_id(), destination=provider.slo_response_url, at=at)
    response.set("InResponseTo", in_response_to)
    etree.SubElement(etree.SubElement(response, f"{{{SAMLP}}}Status"), f"{{{SAMLP}}}StatusCode", Value=SUCCESS)
    # It is the provider's own, and goes back to it as it came (Bindings §3.4.3).
    return _signed(provider, provider.slo_response_url, "SAMLResponse", response, relay_state=relay_state)


def _message(name: str, provider: Provider, *, message_id: str, destination: str, at: datetime) -> Element:
    message = etree.Element(
        f"{{{SAMLP}}}{name}", ID=message_id, Version="2.0", IssueInstant=_instant(at), Destination=destination, nsmap=_PREFIXES
    )
    etree.SubElement(message, f"{{{SAML}}}Issuer").text = provider.ours.entity_id
    return message


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _signed(provider: Provider, url: str, kind: str, message: Element, *, relay_state: str | None = None) -> str:
    packing = zlib.compressobj(wbits=-15)
    packed = packing.compress(etree.tostring(message)) + packing.flush()
    parameters = {kind: base64.b64encode(packed).decode()}
    if relay_state:
        parameters["RelayState"] = relay_state
    # The library's own builder of signed queries; the request data that it also wants is for reading what comes in.
    auth = OneLogin_Saml2_Auth({"http_host": "", "script_name": "", "get_data": {}, "post_data": {}}, provider.toolkit)
    sign = auth.add_request_signature if kind == "SAMLRequest" else auth.add_response_signature
    sign(parameters, SIGNED_BY)
    signed: str = auth.redirect_to(url, parameters)
    return signed
