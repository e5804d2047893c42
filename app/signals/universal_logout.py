"""Global Token Revocation (draft-parecki-oauth-global-token-revocation), which Okta calls Universal Logout.

A provider asks us to end everything that somebody has here. It proves itself by a JWT that it signs with a key of its
connection: those it signs sign-ins with, or those it publishes for such calls. Whom it may name are the people of that
connection's organisation and no others: by the subjects of its own sign-ins, or by an e-mail address that exactly one of them has.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from flask import Blueprint, Response, current_app, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.callers import address_of_caller
from app.access.connection_keys import prove_of
from app.access.connection_tables import Connection
from app.access.published_keys import KEYS
from app.access.rates import Buckets
from app.access.signed_tokens import ALGORITHMS, BadToken, instant, texts, unproved
from app.access.spent import spend
from app.clock import now
from app.database import in_transaction, reading
from app.lifecycle.signing_out import sign_out_everywhere
from app.revocation.stream_tables import Outcome, Received
from app.settings import Settings
from app.signals.effects import Sender, because_of
from app.signals.events import LONGEST_JTI, SecurityEvent
from app.signals.receiving import alarm_of_flood, kept
from app.signals.subjects import BadSubject, Email, IssSub, Opaque, read_subject
from app.signals.whom import Nobody, One, Scope, find
from connectors.contract import ConnectorError

log = logging.getLogger(__name__)
logout_routes = Blueprint("signals_universal_logout", __name__)

PATH: Final = "/signals/global-token-revocation/"
TYPE: Final = "global-token-revocation+jwt"
EVENT: Final = "global-token-revocation"
LONGEST_LIFE: Final = timedelta(minutes=10)
"""Okta's last five minutes, and begin five minutes in the past."""
SKEW: Final = timedelta(seconds=60)
FAILURES: Final = Buckets(rate=1.0, burst=20.0)
"""For those who prove nothing. A provider that does is never slowed down: what it asks for takes access away."""


class Refusal(Exception):
    """The call is not obeyed. The message is for the provider's log, and repeats nothing of what was sent."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Party:
    """What has to stand in the JWTs of one connection's provider: its own name, and what it calls us."""

    issuer: str
    subject: str
    external_ids: bool


@dataclass(frozen=True, kw_only=True)
class Proved:
    jti: str
    issued_at: datetime
    expires_at: datetime


@logout_routes.post(PATH + "<connection_id>")
def revoke(connection_id: str) -> Response:
    """Sign one person out everywhere; 204 once that is in force here, and on its way everywhere else."""
    settings: Settings = current_app.config["DOORLIST"]
    at = now()
    with reading() as session:
        connection = session.scalar(select(Connection).where(Connection.id == connection_id, Connection.ended_at.is_(None)))
    try:
        proved, party = _prove(settings, connection, at=at)
        assert connection is not None
        return _obey(settings, connection, party, proved, request.get_data(cache=False), at=at)
    except Refusal as error:
        log.warning("global token revocation %s: %s: %s", connection_id[:40], error.status, error)
        wait = FAILURES.take(address_of_caller()) if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) else 0
        return _refused(Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many calls that prove nothing")) if wait else _refused(error)
    except ConnectorError as error:
        log.error("global token revocation: connection %s: %s", connection_id[:40], error)
        return _refused(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the keys to check this with cannot be fetched just now; try again"))


def _prove(settings: Settings, connection: Connection | None, *, at: datetime) -> tuple[Proved, Party]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # An address that leads nowhere is answered as a wrong token is, so that nobody learns which connections there are.
    party = None if connection is None else party_of(connection)
    if scheme.lower() != "bearer" or not token or connection is None or party is None:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "no JWT of this connection's provider")
    try:
        shown = unproved(token.strip())
        if shown.typ != TYPE:
            # Else whoever can have an ID token made, for themselves, could call with it.
            raise BadToken(f"typ of the header must be {TYPE}")
        # As for sign-in: whatever its keys can do. SHA-1 and shared secrets are not among it.
        claims = prove_of(connection, shown, algorithms=ALGORITHMS, came=KEYS.clock()).claims
        proved = _checked(claims, party, audience=f"{settings.public_url}{PATH}{connection.id}", at=at)
    except BadToken as error:
        raise Refusal(HTTPStatus.UNAUTHORIZED, f"the JWT is not taken: {error}") from error
    if claims.get("sub") != party.subject:
        raise Refusal(HTTPStatus.FORBIDDEN, "sub of the JWT is not what this connection is known by over there")
    return proved, party


def party_of(connection: Connection) -> Party | None:
    """Who may call for this connection; None where that was never said. A SAML provider signs its JWTs under another name than its assertions."""
    said = connection.settings.get("universal_logout")
    said = said if isinstance(said, dict) else {}
    oidc = connection.settings.get("oidc")
    oidc = oidc if isinstance(oidc, dict) else {}
    issuer = said.get("issuer") or (connection.issuer if oidc else None)
    subject = said.get("subject") or oidc.get("client_id")
    if not isinstance(issuer, str) or not isinstance(subject, str) or said.get("off") is True:
        return None
    return Party(issuer=issuer, subject=subject, external_ids=said.get("external_ids") is True)


def _checked(claims: Mapping[str, Any], party: Party, *, audience: str, at: datetime) -> Proved:
    if claims.get("iss") != party.issuer:
        raise BadToken("iss is not this connection's provider")
    if texts(claims, "aud") != (audience,):
        raise BadToken(f"aud must be {audience} and nothing else")
    issued, not_before, expires = (instant(claims, name) for name in ("iat", "nbf", "exp"))
    if expires is None or expires <= at:
        raise BadToken("it has expired, or never does; are the clocks right?")
    if any(begins is not None and begins > at + SKEW for begins in (issued, not_before)):
        raise BadToken("it is of a later time than it is here; are the clocks right?")
    if expires > at + LONGEST_LIFE:
        raise BadToken(f"it must expire within {LONGEST_LIFE.seconds // 60} minutes")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI or not jti.isprintable():
        raise BadToken(f"jti must be a text of 1 to {LONGEST_JTI} characters")
    return Proved(jti=jti, issued_at=min(issued or at, at), expires_at=expires)


def _obey(settings: Settings, connection: Connection, party: Party, proved: Proved, body: bytes, *, at: datetime) -> Response:
    sender = sender_of(connection, party, settings)

    def act(session: Session) -> Refusal | None:
        organization_id = connection.organization_id
        fresh = spend(session, organization_id, sender=f"gtr:{connection.id}", message_id=proved.jti, expires_at=proved.expires_at + SKEW)
        if not fresh or session.get(Received, (organization_id, connection.id, proved.jti)) is not None:
            return Refusal(HTTPStatus.UNAUTHORIZED, "the JWT was used before; each call needs a jti of its own")
        try:
            subject = _subject(body)
        except Refusal as error:
            return error
        event = SecurityEvent(
            jti=proved.jti, txn=None, event=EVENT, said={}, subject=subject, issued_at=proved.issued_at, happened_at=proved.issued_at
        )
        row = kept(session, sender, event, sha256=hashlib.sha256(body).hexdigest(), at=at)
        whom = find(session, subject, sender.scope)
        if not isinstance(whom, One):
            row.outcome, row.why = Outcome.PARKED, whom.why if isinstance(whom, Nobody) else "it means everybody"
            several = isinstance(whom, Nobody) and whom.known > 1
            return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY if several else HTTPStatus.NOT_FOUND, "that is not exactly one person here")
        sign_out_everywhere(
            session, organization_id, whom.person_id, actor=sender.actor, at=at, because=because_of(EVENT, jti=proved.jti, txn=None)
        )
        row.outcome, row.why, row.person_id = Outcome.APPLIED, "signed out everywhere", whom.person_id
        alarm_of_flood(session, sender, at=at)
        return None

    # What is refused is committed too: its jti is spent, and what was asked can be seen.
    refusal = in_transaction(act)
    if refusal is not None:
        raise refusal
    return Response(status=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})


def sender_of(connection: Connection, party: Party, settings: Settings) -> Sender:
    """On whose word it is done. Subjects have to be its own, under its name at sign-ins or at these calls."""
    return Sender(
        sender_id=connection.id, name=connection.name,
        scope=Scope(
            organization_id=connection.organization_id, issuer=connection.issuer, issuers=frozenset({connection.issuer, party.issuer}),
            external_ids=party.external_ids,
        ),
    )  # fmt: skip


def _subject(body: bytes) -> Email | IssSub | Opaque:
    """Of whom the body speaks: `sub_id` since draft -03, `subject` before it and in Okta's guide. Raises Refusal."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
    named = [name for name in ("sub_id", "subject") if isinstance(said, dict) and name in said]
    if len(named) != 1:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body must be an object with sub_id or subject, and not with both")
    try:
        subject = read_subject(said[named[0]])
    except BadSubject as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
    if not isinstance(subject, Email | IssSub | Opaque):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the format of the subject must be email, iss_sub or opaque")
    return subject


def _refused(refusal: Refusal) -> Response:
    # Okta reads the status alone; the words are for whoever looks into its log.
    words = {"error": "invalid_token" if refusal.status == HTTPStatus.UNAUTHORIZED else "invalid_request", "error_description": str(refusal)}
    headers = {"Cache-Control": "no-store"}
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    if refusal.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = "5"
    return Response(json.dumps(words), status=refusal.status, headers=headers, content_type="application/json")
