"""Receivers of our signals: adding and ending them, and how they prove who they are."""

import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.keys import ALGORITHMS, Purpose
from app.access.tables import BearerToken
from app.actors import Actor
from app.database import new_id
from app.journal import entries
from app.lifecycle.errors import NotFound, Taken
from app.revocation import streams
from app.revocation.stream_tables import Receiver, Stream

HOLDER: Final = "receiver"
CLIENT: Final = "receiver_client"
LIFE: Final = timedelta(minutes=60)
"""How long an access token is good (the CAEP Interoperability Profile allows no longer)."""
_ID: Final = re.compile(r"[0-9a-f-]{36}")


class Scope(StrEnum):
    """What a receiver may do with its stream (CAEP Interoperability Profile). Whoever may manage it may read it."""

    READ = "ssf.read"
    MANAGE = "ssf.manage"


class SubjectFormat(StrEnum):
    ISS_SUB = "iss_sub"
    EMAIL = "email"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A receiver as it is asked for. `secret` has it ask for access tokens, each good for an hour; else it gets one token of its own."""

    name: str
    audience: str | None = None
    algorithm: str = "ES256"
    subject_format: SubjectFormat = SubjectFormat.ISS_SUB
    scopes: tuple[Scope, ...] = (Scope.READ, Scope.MANAGE)
    private_network: bool = False
    secret: bool = False


def add(session: Session, organization_id: str, draft: Draft, *, actor: Actor, at: datetime) -> tuple[Receiver, str]:
    """A new receiver, and its token or client secret, which is told this once. Raises Taken, ValueError for an algorithm that we have no key for."""
    if draft.algorithm not in ALGORITHMS[Purpose.TOKENS]:
        raise ValueError(f"events are signed with {', '.join(ALGORITHMS[Purpose.TOKENS])}, not {draft.algorithm}")
    if _named(session, organization_id, draft.name) is not None:
        raise Taken("name", draft.name, f"there is a receiver named {draft.name!r} already")
    id = new_id()
    row = Receiver(
        organization_id=organization_id, id=id, name=draft.name, audience=draft.audience or f"urn:doorlist:receiver:{id}", algorithm=draft.algorithm,
        subject_format=draft.subject_format, scopes=[one.value for one in draft.scopes], private_network=draft.private_network, created_at=at,
    )  # fmt: skip
    session.add(row)
    secret = tokens.issue(session, organization_id, holder_kind=CLIENT if draft.secret else HOLDER, holder_id=id, at=at)
    _journal(session, row, "signal receiver added", actor=actor, at=at, after={"name": row.name, "audience": row.audience, "scopes": row.scopes})
    session.flush()
    return row, secret


def end(session: Session, organization_id: str, text: str, *, actor: Actor, at: datetime) -> Receiver:
    """It hears nothing more, and nothing that it holds is good any more. Raises NotFound."""
    row = find_named(session, organization_id, text)
    row.ended_at = at
    tokens.revoke_all(session, organization_id, holder_id=row.id, at=at)
    stream = stream_of(session, row)
    dropped = 0 if stream is None else streams.end_stream(session, stream, at=at)
    _journal(session, row, "signal receiver ended", actor=actor, at=at, after={"name": row.name, "dropped": dropped})
    session.flush()
    return row


def find_named(session: Session, organization_id: str, text: str) -> Receiver:
    """A standing receiver by its name or id. Raises NotFound."""
    found = _named(session, organization_id, text)
    if found is None:
        raise NotFound("receiver", text)
    return found


def _named(session: Session, organization_id: str, text: str) -> Receiver | None:
    return session.scalar(
        select(Receiver).where(
            Receiver.organization_id == organization_id, (Receiver.name == text) | (Receiver.id == text), Receiver.ended_at.is_(None)
        )
    )


def standing(session: Session, organization_id: str) -> Sequence[tuple[Receiver, Stream | None]]:
    """The receivers of an organisation, by name, each with its stream."""
    rows = session.scalars(
        select(Receiver).where(Receiver.organization_id == organization_id, Receiver.ended_at.is_(None)).order_by(Receiver.name)
    ).all()
    return [(row, stream_of(session, row)) for row in rows]


def stream_of(session: Session, receiver: Receiver) -> Stream | None:
    """The one stream that a receiver has set up, if any."""
    return session.scalar(
        select(Stream).where(
            Stream.organization_id == receiver.organization_id, Stream.receiver_id == receiver.id, Stream.ended_at.is_(None)
        )
    )


def find_by_token(session: Session, token: str, *, at: datetime) -> Receiver | None:
    """Whose token this is; None where it is unknown, expired, revoked, or the receiver has ended."""
    row = tokens.find_secret(session, token, holder_kind=HOLDER, at=at)
    receiver = None if row is None else session.get(Receiver, (row.organization_id, row.holder_id))
    return None if receiver is None or receiver.ended_at is not None else receiver


def find_by_secret(session: Session, client_id: str, secret: str, *, at: datetime) -> Receiver | None:
    """The receiver of this id, where the secret is its own."""
    row = tokens.find_secret(session, secret, holder_kind=CLIENT, at=at)
    if row is None or not _ID.fullmatch(client_id) or not hmac.compare_digest(row.holder_id, client_id):
        return None
    receiver = session.get(Receiver, (row.organization_id, row.holder_id))
    return None if receiver is None or receiver.ended_at is not None else receiver


def grant(session: Session, receiver: Receiver, *, at: datetime) -> str:
    """An access token for an hour. What has run out of the earlier ones is forgotten. Its scopes are the receiver's."""
    mine = (BearerToken.organization_id == receiver.organization_id, BearerToken.holder_id == receiver.id, BearerToken.client_id == receiver.id)
    session.execute(delete(BearerToken).where(*mine, BearerToken.expires_at <= at).execution_options(synchronize_session=False))
    token = f"dl_at_{secrets.token_urlsafe(32)}"
    session.add(
        BearerToken(
            organization_id=receiver.organization_id, id=new_id(), digest=tokens.digest_of(token), holder_kind=HOLDER, holder_id=receiver.id,
            client_id=receiver.id, created_at=at, expires_at=at + LIFE,
        )
    )  # fmt: skip
    session.flush()
    return token


def may(receiver: Receiver, scope: Scope) -> bool:
    """Whether its scopes allow this."""
    held: Collection[str] = receiver.scopes
    return Scope.MANAGE in held or scope in held


def _journal(session: Session, row: Receiver, verb: str, *, actor: Actor, at: datetime, after: dict[str, Any]) -> None:
    entries.write(
        session, row.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="signal receiver", subject_id=row.id, after=after
    )
