"""A SAML connection as it is used: the provider's addresses and certificates, our own addresses, key and certificate.

Reading certificates and settings costs as much as checking a message, so what was read is kept until the connection changes.
"""

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from onelogin.saml2.settings import OneLogin_Saml2_Settings

from app.access.connection_tables import Connection
from app.access.sealing import unseal
from app.settings import Settings
from app.sso.connections import settings_of
from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import BadCertificate, Certificate, read_certificate

POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
UNSPECIFIED: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
SIGNED_BY: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_KEPT: Final = 256


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where we are reached for one connection. Our name to the provider is the address of our metadata."""

    entity_id: str
    acs: str
    slo: str


def addresses(settings: Settings, connection_id: str) -> Addresses:
    """The addresses of a connection: from our own setting and its id, never from a request."""
    ours = f"{settings.public_url}/saml/{connection_id}"
    return Addresses(entity_id=f"{ours}/metadata", acs=f"{ours}/acs", slo=f"{ours}/slo")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Both sides of one connection. `toolkit` is the same as python3-saml takes it."""

    organization_id: str
    connection_id: str
    entity_id: str
    sso_url: str
    slo_url: str | None
    slo_response_url: str | None
    certificates: tuple[Certificate, ...]
    ours: Addresses
    our_certificate: str
    private_key: str = field(repr=False)
    toolkit: Any = field(repr=False, compare=False)


_providers: OrderedDict[tuple[str, str], Provider] = OrderedDict()
_lock = Lock()


def provider_of(settings: Settings, connection: Connection) -> Provider:
    """The provider behind a connection. Raises KeyMissing, and Refused where what is stored cannot be used."""
    version = hashlib.sha256(
        json.dumps([settings.public_url, connection.issuer, connection.settings], sort_keys=True).encode()
        + (connection.sealed_secret or b"")
    ).hexdigest()
    key = (connection.id, version)
    with _lock:
        if key in _providers:
            _providers.move_to_end(key)
            return _providers[key]
    found = _read(settings, connection)
    with _lock:
        _providers[key] = found
        while len(_providers) > _KEPT:
            _providers.popitem(last=False)
    return found


def _read(settings: Settings, connection: Connection) -> Provider:
    kept = settings_of(connection).saml
    try:
        certificates = tuple(read_certificate(one) for one in kept["certificates"])
        if not certificates or connection.sealed_secret is None:
            raise KeyError("certificates")
        private_key = unseal(settings, connection.sealed_secret)
        ours = addresses(settings, connection.id)
        slo_url = kept.get("slo_url")
        return Provider(
            organization_id=connection.organization_id, connection_id=connection.id, entity_id=connection.issuer, sso_url=kept["sso_url"],
            slo_url=slo_url, slo_response_url=kept.get("slo_response_url") or slo_url,
            certificates=certificates, ours=ours, our_certificate=kept["our_certificate"], private_key=private_key,
            toolkit=_toolkit(connection.issuer, kept, certificates, ours, private_key),
        )  # fmt: skip
    except (KeyError, BadCertificate) as error:
        raise Refused(
            Reason.UNKNOWN_CONNECTION, f"the connection {connection.name!r} lacks what a SAML connection needs: {error}",
            connection_id=connection.id,
        ) from error  # fmt: skip


def _toolkit(issuer: str, kept: Any, certificates: tuple[Certificate, ...], ours: Addresses, private_key: str) -> Any:
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {
                "entityId": ours.entity_id,
                "assertionConsumerService": {"url": ours.acs, "binding": POST},
                "singleLogoutService": {"url": ours.slo, "binding": REDIRECT},
                # Which name is sent is the provider's setting; asking for one it does not have would end every sign-in.
                "NameIDFormat": kept.get("name_id_format") or UNSPECIFIED,
                "x509cert": kept["our_certificate"],
                "privateKey": private_key,
            },
            "idp": {
                "entityId": issuer,
                "singleSignOnService": {"url": kept["sso_url"], "binding": REDIRECT},
                "singleLogoutService": {"url": kept["slo_url"], "binding": REDIRECT} if kept.get("slo_url") else {},
                "x509certMulti": {"signing": [one.pem for one in certificates]},
            },
            "security": dict(SECURITY),
        }
    )


SECURITY: Final = {
    "authnRequestsSigned": True,
    "logoutRequestSigned": True,
    "logoutResponseSigned": True,
    "wantAssertionsSigned": True,
    "rejectDeprecatedAlgorithm": True,
    "signatureAlgorithm": SIGNED_BY,
    "digestAlgorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
    # The library would ask for a password over TLS and nothing else, which providers with a second factor refuse.
    "requestedAuthnContext": False,
    "wantAttributeStatement": False,
    "allowRepeatAttributeName": True,
    # Hosts of tests and of inner networks have no dot.
    "allowSingleLabelDomains": True,
}
