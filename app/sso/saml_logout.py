"""Single Logout by SAML, both ways: the end of sessions, never of anybody's access.

It rides on the person's own browser, so it says nothing about who has left; a departure does not wait for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote_plus

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.connection_tables import Connection
from app.access.session_tables import WebSession
from app.access.spent import spend
from app.actors import Actor, ActorKind
from app.database import in_transaction
from app.journal import entries
from app.journal.tables import Lane
from app.revocation.telling import tell_parties
from app.settings import Settings
from app.sso import logins
from app.sso.connections import hold
from app.sso.refusals import Reason, Refused
from app.sso.saml import SIGN_OUT
from app.sso.saml_checks import SKEW, NameID, check_message, check_schema, instant, read_name_id
from app.sso.saml_messages import SUCCESS, logout_request_url, logout_response_url, new_message_id
from app.sso.saml_settings import Provider, provider_of
from app.sso.saml_signatures import check_places, check_query, check_signature, fields_of
from app.sso.saml_xml import SAMLP, Element, bad, children, from_post, from_redirect, only, read, text_of

ASKS: Final = "SAMLRequest"
ANSWERS: Final = "SAMLResponse"
GOOD_FOR: Final = timedelta(minutes=5)
"""How old a message of logout may be that does not say until when it is good."""
_REQUEST: Final = f"{{{SAMLP}}}LogoutRequest"
_RESPONSE: Final = f"{{{SAMLP}}}LogoutResponse"


@dataclass(frozen=True, kw_only=True)
class Came:
    """A message as it came. `query` is the text of the query, over which the Redirect binding signs; None for the POST binding."""

    kind: str
    message: str
    relay_state: str | None
    query: str | None = None


def by_query(query: str) -> Came:
    """What the Redirect binding brings: read from the very text that is signed. Raises Refused."""
    fields = {name: unquote_plus(value) for name, value in fields_of(query).items()}
    kind = kind_of(fields)
    return Came(kind=kind, message=fields.get(kind, ""), relay_state=fields.get("RelayState"), query=query)


def by_form(fields: Mapping[str, str]) -> Came:
    """What the POST binding brings. Raises Refused."""
    kind = kind_of(fields)
    return Came(kind=kind, message=fields.get(kind, ""), relay_state=fields.get("RelayState"))


def kind_of(fields: Mapping[str, str]) -> str:
    """Whether it is asked of us or answered to us. Raises Refused where it is neither, or both."""
    found = [kind for kind in (ASKS, ANSWERS) if kind in fields]
    if len(found) != 1:
        raise bad(f"the message is neither a {ASKS} nor a {ANSWERS}, or both")
    return found[0]


@dataclass(frozen=True, kw_only=True)
class SignedOut:
    """The sessions that a provider's request ended, and where the browser is to be sent with our answer."""

    session_ids: tuple[str, ...]
    answer_url: str | None


def begin(
    session: Session, settings: Settings, connection: Connection, web_session: WebSession, *, browser: str, return_to: str, at: datetime
) -> str | None:
    """Where to send this browser so that it is signed out at the provider too; None where the provider has no such address.

    Our own session is ended by the caller, and before the browser leaves: what the provider does about it is its affair.
    """
    provider = provider_of(settings, connection)
    name_id = web_session.name_id
    if provider.slo_url is None or name_id is None or web_session.connection_id != connection.id:
        return None
    request_id = new_message_id()
    logins.begin(
        session, settings, connection, request_id=request_id, browser=browser, return_to=return_to, secrets={},
        asked={"purpose": SIGN_OUT}, at=at,
    )  # fmt: skip
    return logout_request_url(provider, request_id=request_id, name_id=name_id, session_index=web_session.upstream_session, at=at)


def take_request(settings: Settings, connection: Connection, came: Came, *, at: datetime) -> SignedOut:
    """End what a provider's signed LogoutRequest is about. Raises Refused, KeyMissing. Asked again, it is refused as used."""
    provider = provider_of(settings, connection)
    try:
        root = _checked(provider, came, _REQUEST, at=at)
        name_id = read_name_id(provider, root)
        indexes = [text_of(one) for one in children(root, "samlp:SessionIndex")]
        expires_at = _good_until(root, at=at)

        def act(session: Session) -> tuple[str, ...]:
            if not spend(
                session, connection.organization_id, sender=f"saml:{connection.id}", message_id=root.get("ID", ""), expires_at=expires_at + SKEW,
            ):  # fmt: skip
                raise Refused(Reason.USED_BEFORE, "this request was shown before")
            return _end(session, connection, provider, name_id, indexes, at=at)

        ended = in_transaction(act)
    except Refused as error:
        error.connection_id = connection.id
        raise
    answer_url = None
    if provider.slo_response_url is not None:
        answer_url = logout_response_url(provider, in_response_to=root.get("ID", ""), relay_state=came.relay_state, at=at)
    return SignedOut(session_ids=ended, answer_url=answer_url)


def take_response(settings: Settings, connection: Connection, came: Came, *, browser: str | None, at: datetime) -> str:
    """Where to go after the provider has signed out whom we asked it to. Raises Refused, KeyMissing."""
    provider = provider_of(settings, connection)
    try:
        root = _checked(provider, came, _RESPONSE, at=at)
        _good_until(root, at=at)
        request_id = root.get("InResponseTo", "")
        begun = in_transaction(lambda session: logins.take(session, settings, connection, request_id=request_id, browser=browser, at=at))
        if begun.asked.get("purpose") != SIGN_OUT:
            raise Refused(Reason.NOT_ASKED_FOR, "the response is to a request that was no sign-out")
        code = only(only(root, "samlp:Status"), "samlp:StatusCode").get("Value", "")
        if code != SUCCESS:
            raise Refused(Reason.PROVIDER_SAID_NO, f"the provider did not sign the person out: {code.rpartition(':')[2][:60]}")
    except Refused as error:
        error.connection_id = connection.id
        raise
    return begun.return_to


def _checked(provider: Provider, came: Came, name: str, *, at: datetime) -> Element:
    """A message whose signature holds: over the query where it came in one, else inside it. There is none without."""
    by_redirect = came.query is not None
    root = read(from_redirect(came.message) if by_redirect else from_post(came.message), root=name)
    check_message(provider, root, at=at, address=provider.ours.slo)
    if not children(root, "saml:Issuer"):
        raise bad("the message does not say who it is from", Reason.OTHER_ISSUER)
    check_places(root, None)
    if came.query is not None:
        check_query(came.query, came.kind, provider.certificates, at=at)
        if root.get("Destination") != provider.ours.slo:
            raise bad(f"the message is signed and does not say that it is for {provider.ours.slo}", Reason.OTHER_AUDIENCE)
    else:
        check_signature(root, provider.certificates, at=at)
    check_schema(root)
    return root


def _good_until(root: Element, *, at: datetime) -> datetime:
    issued_at = instant(root, "IssueInstant")
    # However long its sender thinks it good for: whoever holds a message for later could sign people out when they like.
    until = issued_at + GOOD_FOR if root.get("NotOnOrAfter") is None else min(issued_at + GOOD_FOR, instant(root, "NotOnOrAfter"))
    if until + SKEW <= at:
        raise bad(f"the message was good until {until:%Y-%m-%d %H:%M:%S} UTC", Reason.TOO_LATE)
    return until


def _end(
    session: Session, connection: Connection, provider: Provider, name_id: NameID, indexes: Sequence[str], *, at: datetime
) -> tuple[str, ...]:
    """End the sessions of this name that came through this very connection: all of them, where no index is said (Core §3.7.1)."""
    hold(session, connection)
    found = session.scalars(
        select(WebSession).where(
            WebSession.organization_id == connection.organization_id, WebSession.connection_id == connection.id,
            WebSession.subject == name_id.value, WebSession.ended_at.is_(None),
        )
    ).all()  # fmt: skip
    meant = [
        one for one in found if (not indexes or one.upstream_session in indexes) and _same_qualifier(provider, one.name_id or {}, name_id)
    ]
    actor = Actor(kind=ActorKind.SOURCE, name=connection.name)
    for person_id in sorted({one.person_id for one in meant}):
        theirs = [one.id for one in meant if one.person_id == person_id]
        entry = entries.write(
            session, connection.organization_id, at=at, actor=actor, verb="signed out by provider", because="SAML Single Logout",
            subject_kind="person", subject_id=person_id, after={"sessions": len(theirs)},
        )  # fmt: skip
        for one in theirs:
            sessions.end(session, connection.organization_id, one, why=sessions.SIGNED_OUT_THERE, at=at)
        tell_parties(session, connection.organization_id, person_id, because=entry, at=at, lane=Lane.SYNC)
    return tuple(one.id for one in meant)


def _same_qualifier(provider: Provider, held: dict[str, str | None], said: NameID) -> bool:
    # A provider may leave its own name out, or say it: either means itself.
    return (held.get("name_qualifier") or provider.entity_id) == (said.name_qualifier or provider.entity_id)
