"""Signing in by SAML: asking a provider, and taking its answer as an answer to this browser, once."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lxml import etree
from onelogin.saml2.metadata import OneLogin_Saml2_Metadata
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.access.spent import spend
from app.database import in_transaction
from app.settings import Settings
from app.sso import logins
from app.sso.connections import directory_ids, settings_of
from app.sso.logins import Begun, local_path
from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import read_certificate
from app.sso.saml_checks import SKEW, Assertion, prove, read_assertion
from app.sso.saml_messages import authn_request_url, new_message_id
from app.sso.saml_settings import POST, Provider, provider_of
from app.sso.saml_xml import MD
from app.sso.verified import Verified

SIGN_IN: Final = "sign-in"
SIGN_OUT: Final = "sign-out"
ROUNDING: Final = timedelta(seconds=5)
"""What rounding to seconds, and a provider that is slow to answer, may make of a fresh sign-in."""
LONGEST_RELAY: Final = 80
"""Bytes of RelayState (Bindings §3.5.3)."""
_METHODS: Final = "http://schemas.microsoft.com/claims/authnmethodsreferences"
_EMAIL: Final = (
    "email", "mail", "emailAddress", "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
)  # fmt: skip
_DISPLAY: Final = ("displayName", "urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.microsoft.com/identity/claims/displayname", "name")


def begin(
    session: Session, settings: Settings, connection: Connection, *, browser: str, return_to: str, force: bool, at: datetime,
    acr_values: Sequence[str] = (),
) -> str:  # fmt: skip
    """Where to send this browser to sign in; with `force` the provider asks anew. Raises KeyMissing, Refused.

    No RelayState goes along: where the person wanted to go is kept here, under the request's ID. Of `acr_values` those
    that are URIs are asked for, as SAML names what it calls contexts; what was done is asked of the answer.
    """
    provider = provider_of(settings, connection)
    request_id = new_message_id()
    logins.begin(
        session, settings, connection, request_id=request_id, browser=browser, return_to=return_to, secrets={},
        asked={"purpose": SIGN_IN, "force": force}, at=at,
    )  # fmt: skip
    name_id_format = settings_of(connection).saml.get("name_id_format")
    contexts = [one for one in acr_values if ":" in one]
    return authn_request_url(provider, request_id=request_id, force=force, name_id_format=name_id_format, contexts=contexts, at=at)


def verify(
    settings: Settings, connection: Connection, message: str, *, browser: str | None, relay_state: str | None, at: datetime
) -> Verified:
    """Whom a provider's response vouches for. Raises Refused, KeyMissing. In transactions of its own: what was used stays used.

    `browser` is the cookie's value. A response that nobody asked for is only taken where the connection allows it; then
    anybody can have it shown by somebody else's browser, which is why that is off unless it is wanted.
    """
    try:
        provider = provider_of(settings, connection)
        proved = prove(provider, message, at=at)
        begun = _asked(settings, connection, proved.in_response_to, browser=browser, at=at)
        said = read_assertion(provider, proved, asked_at=None if begun is None else begun.created_at, at=at)
        _check_fresh(said, begun, at=at)
        if not in_transaction(lambda session: _spent_on_this(session, connection, said)):
            raise Refused(Reason.USED_BEFORE, "this assertion was shown before")
    except Refused as error:
        error.connection_id = connection.id
        raise
    return _verified(provider, connection, said, begun, relay_state=relay_state)


def _spent_on_this(session: Session, connection: Connection, said: Assertion) -> bool:
    # Nothing can be added to the end of the year 9999, which some write for *never*.
    until = min(said.good_until, datetime.max.replace(tzinfo=UTC) - SKEW) + SKEW
    return spend(session, connection.organization_id, sender=f"saml:{connection.id}", message_id=said.id, expires_at=until)


def _asked(settings: Settings, connection: Connection, request_id: str | None, *, browser: str | None, at: datetime) -> Begun | None:
    """The sign-in that this answers, used up; None where it answers none and may."""
    if request_id is None:
        if settings_of(connection).allow_idp_initiated:
            return None
        raise Refused(
            Reason.NOT_ASKED_FOR, "the response is to no request, and this connection does not allow sign-ins that begin at the provider"
        )
    begun = in_transaction(lambda session: logins.take(session, settings, connection, request_id=request_id, browser=browser, at=at))
    if begun.asked.get("purpose") != SIGN_IN:
        raise Refused(Reason.NOT_ASKED_FOR, "the response is to a request that was no sign-in")
    return begun


def _check_fresh(said: Assertion, begun: Begun | None, *, at: datetime) -> None:
    if begun is None or not begun.asked.get("force"):
        return
    # Told by the provider's clock alone: what passed there between the sign-in and the answer, against how long the person was away.
    if said.issued_at - said.authenticated_at > at - begun.created_at + ROUNDING:
        raise Refused(
            Reason.TOO_LATE,
            f"the provider was to ask the person anew, and names a sign-in of {said.authenticated_at:%Y-%m-%d %H:%M:%S} UTC in an answer of "
            f"{said.issued_at:%H:%M:%S}",
        )


def _verified(provider: Provider, connection: Connection, said: Assertion, begun: Begun | None, *, relay_state: str | None) -> Verified:
    qualifier = said.name_id.name_qualifier
    return Verified(
        organization_id=connection.organization_id, connection_id=connection.id, issuer=provider.entity_id, subject=said.name_id.value,
        # Core §8.3.7: a name means somebody within its qualifier, which is the provider itself where none is said.
        tenant=qualifier if qualifier and qualifier != provider.entity_id else "",
        directory_ids=directory_ids(connection, {**said.attributes, "NameID": (said.name_id.value,)}),
        email=_first(said.attributes, _EMAIL), display_name=_first(said.attributes, _DISPLAY), issued_at=said.issued_at,
        authenticated_at=said.authenticated_at, until=said.until, acr=said.acr, amr=said.attributes.get(_METHODS, ()),
        upstream_session=said.session_index, name_id=said.name_id.stored(), solicited=begun is not None,
        return_to=begun.return_to if begun is not None else local_path(_short(relay_state)), asked=dict(begun.asked) if begun is not None else {},
    )  # fmt: skip


def _first(attributes: Mapping[str, tuple[str, ...]], names: tuple[str, ...]) -> str | None:
    return next((attributes[name][0] for name in names if attributes.get(name)), None)


def _short(relay_state: str | None) -> str | None:
    return relay_state if relay_state and len(relay_state.encode("utf-8", "replace")) <= LONGEST_RELAY else None


def metadata(settings: Settings, connection: Connection) -> bytes:
    """What the provider has to know of us, good until our certificate ends. Raises KeyMissing, Refused."""
    provider = provider_of(settings, connection)
    ends = read_certificate(provider.our_certificate).not_after
    sp: dict[str, Any] = provider.toolkit.get_sp_data()
    text = OneLogin_Saml2_Metadata.builder(sp, authnsign=True, wsign=True, valid_until=f"{ends:%Y-%m-%dT%H:%M:%SZ}", cache_duration="P1D")
    tree = etree.fromstring(OneLogin_Saml2_Metadata.add_x509_key_descriptors(text, provider.toolkit.get_sp_cert(), True))
    by_redirect = next(tree.iter(f"{{{MD}}}SingleLogoutService"))
    by_redirect.addnext(etree.Element(f"{{{MD}}}SingleLogoutService", Binding=POST, Location=provider.ours.slo))
    return etree.tostring(tree, xml_declaration=True, encoding="UTF-8")
