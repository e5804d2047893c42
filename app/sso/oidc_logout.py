"""Signing out across an OpenID provider: it is told by us with the browser, and tells us over the back channel.

Its word ends sessions, and is never a departure: who stays may sign in again at once (OpenID Connect Back-Channel Logout 1.0
§2.7 leaves refresh tokens for offline access alone, too).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.connection_tables import Connection
from app.access.sealing import KeyMissing, unseal
from app.access.session_tables import WebSession
from app.access.signed_tokens import BadToken, SignedToken, instant
from app.access.spent import spend
from app.actors import Actor, ActorKind
from app.journal import entries
from app.journal.tables import Lane
from app.revocation.telling import tell_parties
from app.settings import Settings
from app.sso.connections import UnusableConnection, hold
from app.sso.oidc_checks import SKEW, check_issuer_and_audience
from app.sso.oidc_setup import OIDCSettings, read
from app.sso.refusals import Reason, Refused

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
OLDEST: Final = timedelta(minutes=10)
"""How old a logout token may be. Not every provider gives it an end."""
LONGEST_HINT: Final = 6000


def signed_out_uri(settings: Settings, connection_id: str) -> str:
    """Where the provider sends people after it has signed them out; to be registered there."""
    return f"{settings.public_url}/oidc/{connection_id}/signed-out"


def end_session_url(settings: Settings, connection: Connection, held: WebSession) -> str | None:
    """Where to send somebody whose session here was just ended, so that the provider ends its own (RP-Initiated Logout 1.0 §2).

    None where the provider has no such place: they stay signed in there.
    """
    try:
        provider = read(connection)
    except UnusableConnection:
        return None
    endpoint = provider.end_session_endpoint
    if endpoint is None:
        return None
    asked = {"client_id": provider.client_id, "post_logout_redirect_uri": signed_out_uri(settings, connection.id)}
    hint = _id_token(settings, held)
    if hint is not None and len(hint) <= LONGEST_HINT:
        asked["id_token_hint"] = hint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def _id_token(settings: Settings, held: WebSession) -> str | None:
    if held.sealed_id_token is None:
        return None
    try:
        return unseal(settings, held.sealed_id_token)
    except KeyMissing:
        return None


@dataclass(frozen=True, kw_only=True)
class LogoutNotice:
    """A logout token that has been checked, but for whether it was used before. Of `subject` and `session` one is there."""

    jti: str
    subject: str | None
    session: str | None
    good_until: datetime


def notice_of(token: SignedToken, connection: Connection, provider: OIDCSettings, *, at: datetime) -> LogoutNotice:
    """Check a logout token (§2.6). Raises Refused.

    Neither `typ` nor `exp` is demanded, since providers leave them out; what is there has to be right.
    """

    def bad(message: str) -> Refused:
        return Refused(Reason.BAD_MESSAGE, message, connection_id=connection.id)

    claims = token.claims
    if token.typ not in (None, "jwt", "logout+jwt"):
        raise bad("the message is of another kind than a logout token")
    check_issuer_and_audience(connection.id, claims, provider, at=at)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise bad("the message has no event of a back-channel logout")
    if "nonce" in claims:
        # §2.4: so that no logout token passes for an ID token, and no ID token for this.
        raise bad("a logout token must have no nonce")
    good_until = _times(claims, connection, at=at)
    jti, subject, session = (_name(claims, key) for key in ("jti", "sub", "sid"))
    if jti is None:
        raise bad("the logout token has no jti")
    if subject is None and session is None:
        raise bad("the logout token names neither a subject nor a session")
    return LogoutNotice(jti=jti, subject=subject, session=session, good_until=good_until)


def _times(claims: Mapping[str, Any], connection: Connection, *, at: datetime) -> datetime:
    try:
        made, expires = instant(claims, "iat"), instant(claims, "exp")
    except BadToken as error:
        raise Refused(Reason.BAD_MESSAGE, str(error), connection_id=connection.id) from error
    if made is None:
        raise Refused(Reason.BAD_MESSAGE, "the logout token does not say iat", connection_id=connection.id)
    if not at - OLDEST <= made <= at + SKEW:
        raise Refused(Reason.CLOCK_SKEW, "the logout token is older than ten minutes or of a later time: are the clocks right?", connection_id=connection.id)
    if expires is not None and expires <= at - SKEW:
        raise Refused(Reason.CLOCK_SKEW, "the logout token has run out: are the clocks right?", connection_id=connection.id)
    return made + OLDEST + SKEW


def _name(claims: Mapping[str, Any], key: str) -> str | None:
    said = claims.get(key)
    return said if isinstance(said, str) and 0 < len(said) <= 1000 and said.isprintable() else None


def end_sessions(session: Session, connection: Connection, provider: OIDCSettings, notice: LogoutNotice, *, at: datetime) -> int:
    """End the sessions that a notice names, and tell the relying parties that rest on them. Raises Refused for one used before.

    Returns how many were open: none is no error, since the person may have signed out here first.
    """
    if not spend(
        session, connection.organization_id, sender=f"oidc logout {connection.id}", message_id=notice.jti, expires_at=notice.good_until
    ):
        raise Refused(Reason.USED_BEFORE, "this logout token was used before", connection_id=connection.id)
    hold(session, connection)
    found = session.execute(
        select(WebSession.id, WebSession.person_id).where(
            WebSession.connection_id == connection.id, WebSession.organization_id == connection.organization_id, _named(notice, provider),
            WebSession.ended_at.is_(None), WebSession.expires_at > at,
        )
    ).all()  # fmt: skip
    actor = Actor(kind=ActorKind.SOURCE, name=connection.name)
    for person_id in sorted({row.person_id for row in found}):
        theirs = [row.id for row in found if row.person_id == person_id]
        entry = entries.write(
            session, connection.organization_id, at=at, actor=actor, verb="signed out by provider", because="back-channel logout",
            subject_kind="person", subject_id=person_id, after={"sessions": len(theirs)},
        )  # fmt: skip
        for one in theirs:
            sessions.end(session, connection.organization_id, one, why=sessions.SIGNED_OUT_THERE, at=at)
        tell_parties(session, connection.organization_id, person_id, because=entry, at=at, lane=Lane.SYNC)
    return len(found)


def _named(notice: LogoutNotice, provider: OIDCSettings) -> ColumnElement[bool]:
    """Which sessions of its connection a notice means."""
    theirs, this_one = WebSession.subject == notice.subject, WebSession.upstream_session == notice.session
    if notice.session is None:
        return theirs
    # Where people are known by another claim than `sub`, only the session can be compared.
    if notice.subject is None or provider.subject_claim != "sub":
        return this_one
    # Whose ID token said no `sid` may be the one that is meant, and nothing else will ever name it.
    return and_(theirs, or_(this_one, WebSession.upstream_session.is_(None)))
