"""Tokens of SCIM clients and operators: made once, shown once, kept as a hash, good until they expire or are revoked."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from app.access.tables import BearerToken, OAuthClient, Operator
from app.clock import now
from app.database import Instant, new_id
from app.directory.tables import Source
from app.journal.tables import Organization

VALID_AT_ONCE = 2
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class SourceClient:
    """A SCIM client that showed a good token. `schemas_version` is that of its organisation."""

    organization_id: str
    source_id: str
    source_name: str
    schemas_version: int | None


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    # One that is no UTF-8, or half a surrogate pair of JSON, is a wrong one and no fault.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def good(at: ColumnElement[Any] | datetime) -> ColumnElement[bool]:
    """The condition under which a row of `bearer_token` still lets somebody in, to be joined to whatever else is asked."""
    return and_(BearerToken.revoked_at.is_(None), or_(BearerToken.expires_at.is_(None), BearerToken.expires_at > at))


def issue(
    session: Session, organization_id: str, *, holder_kind: str, holder_id: str, at: datetime, expires_at: datetime | None = None
) -> str:
    """A new token. The holder's older ones stay valid up to two at once, so that a client can be changed over without a gap."""
    for old in standing(session, organization_id, holder_id=holder_id, at=at)[VALID_AT_ONCE - 1 :]:
        old.revoked_at = at
    return _add(session, organization_id, "dl_", holder_kind=holder_kind, holder_id=holder_id, created_at=at, expires_at=expires_at)


def issue_access(session: Session, client: OAuthClient, *, at: datetime, expires_at: datetime) -> str:
    """A short-lived token for this client's directory. What has run out of its earlier ones is forgotten."""
    session.execute(
        delete(BearerToken).where(
            BearerToken.organization_id == client.organization_id, BearerToken.holder_id == client.source_id,
            BearerToken.client_id == client.id, BearerToken.expires_at <= at,
        )
    )  # fmt: skip
    return _add(
        session, client.organization_id, "dl_at_", holder_kind="source", holder_id=client.source_id, client_id=client.id, created_at=at,
        expires_at=expires_at,
    )  # fmt: skip


def _add(session: Session, organization_id: str, prefix: str, **columns: Any) -> str:
    token = prefix + secrets.token_urlsafe(32)
    session.add(BearerToken(organization_id=organization_id, id=new_id(), digest=digest_of(token), **columns))
    session.flush()
    return token


def standing(session: Session, organization_id: str, *, holder_id: str, at: datetime) -> Sequence[BearerToken]:
    """The holder's own tokens that are good now, newest first; access tokens are not among them."""
    return session.scalars(
        select(BearerToken)
        .where(BearerToken.organization_id == organization_id, BearerToken.holder_id == holder_id, BearerToken.client_id.is_(None), good(at))
        .order_by(BearerToken.created_at.desc(), BearerToken.id.desc())
    ).all()


def limit(
    session: Session, organization_id: str, *, holder_id: str, at: datetime, newest_until: datetime | None = None,
    older_until: datetime | None = None,
) -> None:  # fmt: skip
    """Let the newest token, and the older ones, be good no longer than until then. None leaves them; no end is ever moved on."""
    newest, *older = standing(session, organization_id, holder_id=holder_id, at=at)
    for tokens, until in (([newest], newest_until), (older, older_until)):
        for token in tokens:
            token.expires_at = min((one for one in (token.expires_at, until) if one is not None), default=None)
    session.flush()


def revoke_all(session: Session, organization_id: str, *, holder_id: str, at: datetime) -> None:
    """Nothing that this holder has is good any more: tokens, access tokens, OAuth clients and their secrets."""
    # Clients first: a token that is being issued at this moment holds its client's row, and is there once we have it.
    session.execute(
        update(OAuthClient)
        .where(OAuthClient.organization_id == organization_id, OAuthClient.source_id == holder_id, OAuthClient.ended_at.is_(None))
        .values(ended_at=at)
    )
    clients = session.scalars(
        select(OAuthClient.id).where(OAuthClient.organization_id == organization_id, OAuthClient.source_id == holder_id)
    ).all()
    session.execute(
        update(BearerToken)
        .where(
            BearerToken.organization_id == organization_id, BearerToken.holder_id.in_([holder_id, *clients]), BearerToken.revoked_at.is_(None)
        )
        .values(revoked_at=at)
    )


def find_source(session: Session, token: str) -> SourceClient | None:
    """The SCIM client whose token this is; None where it is unknown, expired, revoked, or the source has ended."""
    digest = digest_of(token)
    row = session.execute(_CLIENT, {"digest": digest, "at": now()}).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return SourceClient(
        organization_id=row.organization_id, source_id=row.source_id, source_name=row.source_name, schemas_version=row.schemas_version
    )


_CLIENT: Final = (
    select(
        BearerToken.organization_id, BearerToken.digest, Source.id.label("source_id"), Source.name.label("source_name"),
        Organization.schemas_version,
    )
    .join(Source, and_(Source.organization_id == BearerToken.organization_id, Source.id == BearerToken.holder_id))
    .join(Organization, Organization.id == BearerToken.organization_id)
    .where(
        BearerToken.digest == bindparam("digest"), BearerToken.holder_kind == "source", good(bindparam("at", type_=Instant)),
        Source.ended_at.is_(None),
    )
)  # fmt: skip


def was_let_out(session: Session, client: SourceClient, digest: str) -> bool:
    """Whether the token that let this client in was revoked since, or its source ended. One that has merely run out let in what was under way."""
    return session.scalar(_LET_IN, {"organization": client.organization_id, "source": client.source_id, "digest": digest}) is None


_LET_IN: Final = select(Source.id).where(
    Source.organization_id == bindparam("organization"), Source.id == bindparam("source"), Source.ended_at.is_(None),
    ~exists().where(BearerToken.digest == bindparam("digest"), BearerToken.revoked_at.is_not(None)),
)  # fmt: skip


def find_secret(session: Session, secret: str, *, holder_kind: str, at: datetime) -> BearerToken | None:
    """The row of a good secret of such a holder. The holder itself is not looked at."""
    digest = digest_of(secret)
    row = session.scalar(select(BearerToken).where(BearerToken.digest == digest, BearerToken.holder_kind == holder_kind, good(at)))
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def find_operator(session: Session, token: str) -> Operator | None:
    """The operator whose token this is; None where it is unknown, expired, revoked, or the operator has ended."""
    row = find_secret(session, token, holder_kind="operator", at=now())
    if row is None:
        return None
    operator = session.get(Operator, (row.organization_id, row.holder_id))
    return None if operator is None or operator.ended_at is not None else operator


def note_use(session: Session, digest: str, *, at: datetime) -> None:
    """Write down that this good token was used, unless somebody did so within the last minute."""
    session.execute(
        update(BearerToken)
        .where(BearerToken.digest == digest, or_(BearerToken.last_used_at.is_(None), BearerToken.last_used_at <= at - USE_NOTED_EVERY))
        .values(last_used_at=at)
        .execution_options(synchronize_session=False)
    )
