"""Bearer tokens of SCIM clients and operators: made once, shown once, kept as a hash."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.tables import BearerToken, Operator
from app.database import new_id
from app.directory.tables import Source

VALID_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class SourceClient:
    """A SCIM client that showed a good token."""

    organization_id: str
    source_id: str
    source_name: str


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def issue(session: Session, organization_id: str, *, holder_kind: str, holder_id: str, at: datetime) -> str:
    """A new token. The holder's older ones stay valid up to two at once, so that a client can be changed over without a gap."""
    token = "dl_" + secrets.token_urlsafe(32)
    standing = session.scalars(
        select(BearerToken)
        .where(BearerToken.organization_id == organization_id, BearerToken.holder_id == holder_id, BearerToken.revoked_at.is_(None))
        .order_by(BearerToken.created_at.desc(), BearerToken.id.desc())
    ).all()
    for old in standing[VALID_AT_ONCE - 1 :]:
        old.revoked_at = at
    session.add(
        BearerToken(
            organization_id=organization_id, id=new_id(), digest=_digest(token), holder_kind=holder_kind, holder_id=holder_id, created_at=at
        )
    )
    session.flush()
    return token


def revoke_all(session: Session, organization_id: str, *, holder_id: str, at: datetime) -> None:
    """No token of this holder is good any more."""
    session.execute(
        update(BearerToken)
        .where(BearerToken.organization_id == organization_id, BearerToken.holder_id == holder_id, BearerToken.revoked_at.is_(None))
        .values(revoked_at=at)
    )


def _find(session: Session, token: str, *, holder_kind: str) -> BearerToken | None:
    digest = _digest(token)
    row = session.scalar(select(BearerToken).where(BearerToken.digest == digest))
    if row is None or not hmac.compare_digest(row.digest, digest) or row.revoked_at is not None or row.holder_kind != holder_kind:
        return None
    return row


def find_source(session: Session, token: str) -> SourceClient | None:
    """The SCIM client whose token this is; None where it is unknown, revoked, or the source has ended."""
    row = _find(session, token, holder_kind="source")
    if row is None:
        return None
    source = session.get(Source, (row.organization_id, row.holder_id))
    if source is None or source.ended_at is not None:
        return None
    return SourceClient(organization_id=row.organization_id, source_id=source.id, source_name=source.name)


def find_operator(session: Session, token: str) -> Operator | None:
    """The operator whose token this is; None where it is unknown, revoked, or the operator has ended."""
    row = _find(session, token, holder_kind="operator")
    if row is None:
        return None
    operator = session.get(Operator, (row.organization_id, row.holder_id))
    return None if operator is None or operator.ended_at is not None else operator
