"""What relying parties are given on somebody's behalf: grants, and the codes and tokens that come of them.

All are opaque and kept as hashes, so each use asks here again. Nothing is given without the rows of grant and person in hand:
a departure that is committed at that moment comes either before, and then nothing is given, or after, and then finds what was.
"""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, select, update
from sqlalchemy.orm import Session

from app.access.closed import is_closed
from app.access.session_tables import Grant, IssuedToken, RelyingParty, TokenKind, WebSession
from app.access.sessions import Present, lets_in, of_person
from app.access.tokens import digest_of
from app.database import Instant, new_id
from app.directory.tables import Person

PREFIXES: Final = {TokenKind.CODE: "dl_pc_", TokenKind.ACCESS: "dl_pa_", TokenKind.REFRESH: "dl_pr_"}
CODE_LIVES: Final = timedelta(seconds=60)
"""The most that IPSIE SL1 allows."""
ACCESS_LIVES: Final = timedelta(minutes=15)
REFRESH_LIVES: Final = timedelta(days=30)
"""How long a refresh token waits to be used; the grant's own end is the last."""
GRANT_LIVES: Final = timedelta(days=180)
"""How long a device or an application that may work without its person's browser stays in without a new sign-in."""
OFFLINE: Final = "offline_access"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """On whose behalf somebody asks with a good access token, and what it is good for."""

    organization_id: str
    person_id: str
    client_id: str
    grant_id: str
    sid: str
    session_id: str | None
    device_id: str | None
    scope: frozenset[str]
    epoch: int
    user_name: str
    display_name: str
    authenticated_at: datetime
    acr: str | None
    amr: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime


def of_token() -> ColumnElement[bool]:
    """How a token is joined to its grant."""
    return and_(Grant.organization_id == IssuedToken.organization_id, Grant.id == IssuedToken.grant_id)


def of_client(held: type[Grant] | type[IssuedToken]) -> ColumnElement[bool]:
    """How what was granted is joined to the relying party, which may have ended since."""
    return and_(RelyingParty.organization_id == held.organization_id, RelyingParty.id == held.client_id, RelyingParty.ended_at.is_(None))


def still_good(kind: TokenKind, at: ColumnElement[Any] | datetime) -> ColumnElement[bool]:
    """The condition under which an issued secret counts: itself, its grant, its person and its client, all looked at together."""
    return and_(
        IssuedToken.kind == kind, lets_in(IssuedToken, at), IssuedToken.expires_at > at, IssuedToken.used_at.is_(None),
        lets_in(Grant, at), Grant.expires_at > at,
    )  # fmt: skip


def held_by(*columns: Any) -> Select[Any]:
    """SELECT of an issued secret with its grant, person and client, to be given its conditions."""
    return select(*columns).select_from(IssuedToken).join(Grant, of_token()).join(Person, of_person(IssuedToken)).join(RelyingParty, of_client(IssuedToken))


_AT: Final = bindparam("at", type_=Instant())
_HOLDER: Final = held_by(
    IssuedToken.digest, IssuedToken.organization_id, IssuedToken.person_id, IssuedToken.client_id, IssuedToken.grant_id, Grant.sid,
    Grant.session_id, Grant.device_id, IssuedToken.scope, IssuedToken.epoch, Person.user_name, Person.display_name, Grant.authenticated_at,
    Grant.acr, Grant.amr, IssuedToken.created_at, IssuedToken.expires_at,
).where(IssuedToken.digest == bindparam("digest"), still_good(TokenKind.ACCESS, _AT))  # fmt: skip


def find_access_token(session: Session, token: str, *, at: datetime) -> Holder | None:
    """Whose access token this is; None where it is unknown, over, or its person, grant or client no longer may. Writes nothing."""
    digest = digest_of(token)
    row = None if is_closed(session) else session.execute(_HOLDER, {"digest": digest, "at": at}).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return Holder(
        organization_id=row.organization_id, person_id=row.person_id, client_id=row.client_id, grant_id=row.grant_id, sid=row.sid,
        session_id=row.session_id, device_id=row.device_id, scope=frozenset(row.scope.split()), epoch=row.epoch, user_name=row.user_name,
        display_name=row.display_name, authenticated_at=row.authenticated_at, acr=row.acr, amr=tuple(row.amr), issued_at=row.created_at,
        expires_at=row.expires_at,
    )  # fmt: skip


def hold_session(session: Session, present: Present, *, at: datetime) -> bool:
    """Whether this browser session still lets its person in, now that neither can be ended before the transaction is over."""
    if is_closed(session):
        return False
    held = session.scalar(
        select(WebSession.id)
        .join(Person, of_person(WebSession))
        .where(
            WebSession.organization_id == present.organization_id, WebSession.id == present.session_id, lets_in(WebSession, at),
            WebSession.expires_at > at,
        )
        .with_for_update(read=True, of=[WebSession, Person])
    )  # fmt: skip
    return held is not None


def open_grant(
    session: Session, present: Present, client: RelyingParty, *, scope: str, own: bool, at: datetime, acr: str | None = None,
    amr: Sequence[str] | None = None,
) -> Grant:  # fmt: skip
    """What somebody who is signed in lets a client have; `acr` and `amr` unless the session's. To be called with their session held.

    One that is the client's `own` outlives the browser: a device, or an application that may work while nobody looks.
    """
    # What break-glass lets in ends with it: nothing of it works on by itself.
    stays = (own or OFFLINE in scope.split()) and not present.break_glass
    grant = Grant(
        organization_id=present.organization_id, id=new_id(), person_id=present.person_id, client_id=client.id,
        session_id=None if own else present.session_id, connection_id=present.connection_id, epoch=present.epoch, scope=scope, sid="",
        authenticated_at=present.authenticated_at, acr=acr or present.acr, amr=list(present.amr if amr is None else amr), created_at=at,
        expires_at=at + GRANT_LIVES if stays else present.expires_at,
    )  # fmt: skip
    # One name for one session with one client, however often it asks: a party is told of each name once.
    grant.sid = digest_of(f"{grant.id if own else present.session_id} {client.id}")[:32]
    session.add(grant)
    session.flush()
    return grant


def hold_grant(session: Session, organization_id: str, grant_id: str, *, at: datetime) -> tuple[Grant, Person] | None:
    """A grant and its person, if they still let somebody in; neither can be ended before the transaction is over.

    Two who come with secrets of one grant come one after the other, so that each sees what the other used up.
    """
    grant = session.scalar(
        select(Grant)
        .where(Grant.organization_id == organization_id, Grant.id == grant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if grant is None or is_closed(session):
        return None
    person = session.scalar(
        select(Person)
        .join(Grant, of_person(Grant))
        .join(RelyingParty, of_client(Grant))
        .where(Grant.organization_id == organization_id, Grant.id == grant_id, lets_in(Grant, at), Grant.expires_at > at)
        .with_for_update(read=True, of=[Person, RelyingParty])
        .execution_options(populate_existing=True)
    )
    return None if person is None else (grant, person)


def issue(session: Session, grant: Grant, kind: TokenKind, *, at: datetime, scope: str | None = None, bound: Mapping[str, Any] | None = None) -> str:
    """A new secret of a grant that is held, told this once. What has run out of the grant's earlier ones is forgotten."""
    session.execute(
        delete(IssuedToken)
        .where(IssuedToken.organization_id == grant.organization_id, IssuedToken.grant_id == grant.id, IssuedToken.expires_at <= at)
        .execution_options(synchronize_session=False)
    )
    secret = PREFIXES[kind] + secrets.token_urlsafe(32)
    lives = {TokenKind.CODE: CODE_LIVES, TokenKind.ACCESS: ACCESS_LIVES, TokenKind.REFRESH: REFRESH_LIVES}[kind]
    session.add(
        IssuedToken(
            organization_id=grant.organization_id, digest=digest_of(secret), kind=kind, grant_id=grant.id, client_id=grant.client_id,
            person_id=grant.person_id, epoch=grant.epoch, scope=grant.scope if scope is None else scope, created_at=at,
            expires_at=min(at + lives, grant.expires_at), bound=None if bound is None else dict(bound),
        )
    )  # fmt: skip
    session.flush()
    return secret


def find_issued(session: Session, secret: str, *kinds: TokenKind) -> IssuedToken | None:
    """The row of an issued secret, good or not: whoever asks has to judge it with its grant held."""
    digest = digest_of(secret)
    row = session.scalar(
        select(IssuedToken).where(IssuedToken.digest == digest, IssuedToken.kind.in_(kinds)).execution_options(populate_existing=True)
    )
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def is_good(token: IssuedToken, *, at: datetime) -> bool:
    """Whether a secret of a grant that is held may be used; its grant and person were judged when they were taken hold of."""
    return token.used_at is None and token.ended_at is None and token.expires_at > at


def use_up(session: Session, token: IssuedToken, *, at: datetime) -> None:
    """A code was exchanged, a refresh token rotated: from now on, whoever shows it again gives themselves away."""
    _set(session, token, used_at=at)


def end_token(session: Session, token: IssuedToken, *, at: datetime) -> None:
    """This one secret is good no more; the others of its grant are. Ending twice is once."""
    if token.ended_at is None:
        _set(session, token, ended_at=at)


def _set(session: Session, token: IssuedToken, **columns: datetime) -> None:
    session.execute(
        update(IssuedToken)
        .where(IssuedToken.organization_id == token.organization_id, IssuedToken.digest == token.digest)
        .values(**columns)
        .execution_options(synchronize_session=False)
    )
    session.expire(token)
