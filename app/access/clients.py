"""How a directory gets in: with a bearer token, or as an OAuth client with a secret or keys of its own; and until when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.tables import BearerToken, OAuthClient
from app.actors import Actor
from app.clock import iso
from app.command_lines import to_type
from app.database import new_id
from app.directory.tables import Source
from app.journal import entries

WARNED_BEFORE = timedelta(days=30)


class Way(StrEnum):
    """What a directory shows. The last two are the names of RFC 8414 for what an OAuth client proves itself with."""

    BEARER = "bearer"
    SECRET = "client_secret"
    SIGNED = "private_key_jwt"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An OAuth client, and its new secret where it has one: shown this once."""

    client_id: str
    secret: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A token or a client's secret, without what it is."""

    since: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class WayIn:
    """How one directory gets in now. `keys` are those that nobody revoked, newest first, expired ones too."""

    source_id: str
    source_name: str
    way: Way
    client_id: str | None
    keys: tuple[Key, ...]
    last_used_at: datetime | None
    shut: bool


def open_client(
    session: Session, organization_id: str, source_id: str, *, jwks: Mapping[str, Any] | None, actor: Actor, at: datetime,
    expires_at: datetime | None = None,
) -> Opened:  # fmt: skip
    """Make this directory an OAuth client: with these keys, else with a secret. Whatever let it in before lets it in no more."""
    tokens.revoke_all(session, organization_id, holder_id=source_id, at=at)
    client = OAuthClient(
        organization_id=organization_id, id=new_id(), source_id=source_id, jwks=None if jwks is None else dict(jwks), created_at=at
    )
    session.add(client)
    session.flush()
    said = {"client_id": client.id, "way": Way.SECRET if jwks is None else Way.SIGNED, "expires_at": iso(expires_at)}
    _journal(session, organization_id, source_id, "client opened", actor=actor, at=at, after=said)
    return Opened(client_id=client.id, secret=_new_secret(session, client, at=at, expires_at=expires_at))


def client_of(session: Session, organization_id: str, source_id: str) -> OAuthClient | None:
    """The directory's latest OAuth client, ended or not; None where it has a bearer token."""
    return session.scalars(
        select(OAuthClient)
        .where(OAuthClient.organization_id == organization_id, OAuthClient.source_id == source_id)
        .order_by(OAuthClient.created_at.desc(), OAuthClient.id.desc())
        .limit(1)
    ).first()


def way_of(client: OAuthClient | None) -> Way:
    """How a directory whose latest client this is gets in."""
    if client is None:
        return Way.BEARER
    return Way.SECRET if client.jwks is None else Way.SIGNED


def to_renew(way: Way, source_name: str) -> str:
    """The command by which a directory gets another token or secret, or other keys."""
    return to_type("source rotate", source_name, "--jwks-file FILE" if way is Way.SIGNED else "")


def renew_client(
    session: Session, client: OAuthClient, *, jwks: Mapping[str, Any] | None, actor: Actor, at: datetime, expires_at: datetime | None = None,
    overlap: timedelta | None = None,
) -> Opened:  # fmt: skip
    """Another secret, or these keys instead of those before; a new client where this one has ended.

    The secret before stays good for the overlap, without one until the next renewal. Access tokens run out by themselves.
    """
    # Two at once would each leave the one before good.
    session.refresh(client, with_for_update=True)
    if client.ended_at is not None:
        return open_client(session, client.organization_id, client.source_id, jwks=jwks, actor=actor, at=at, expires_at=expires_at)
    if jwks is not None:
        client.jwks = dict(jwks)
    said = {"client_id": client.id, "expires_at": iso(expires_at), "older_until": _iso_after(at, overlap)}
    _journal(session, client.organization_id, client.source_id, "client renewed", actor=actor, at=at, after=said)
    secret = _new_secret(session, client, at=at, expires_at=expires_at)
    if secret is not None and overlap is not None:
        tokens.limit(session, client.organization_id, holder_id=client.id, at=at, older_until=at + overlap)
    return Opened(client_id=client.id, secret=secret)


def limit_tokens(
    session: Session, organization_id: str, source_id: str, *, actor: Actor, at: datetime, expires_at: datetime | None, overlap: timedelta | None
) -> None:
    """Say until when the directory's newest token is good, and for how long the one before it still is."""
    if expires_at is None and overlap is None:
        return
    older_until = None if overlap is None else at + overlap
    tokens.limit(session, organization_id, holder_id=source_id, at=at, newest_until=expires_at, older_until=older_until)
    said = {"expires_at": iso(expires_at), "older_until": iso(older_until)}
    _journal(session, organization_id, source_id, "token limited", actor=actor, at=at, after=said)


def _iso_after(at: datetime, overlap: timedelta | None) -> str | None:
    return None if overlap is None else iso(at + overlap)


def _new_secret(session: Session, client: OAuthClient, *, at: datetime, expires_at: datetime | None) -> str | None:
    if client.jwks is not None:
        return None
    return tokens.issue(session, client.organization_id, holder_kind="client", holder_id=client.id, at=at, expires_at=expires_at)


def _journal(
    session: Session, organization_id: str, source_id: str, verb: str, *, actor: Actor, at: datetime, after: Mapping[str, object]
) -> None:
    entries.write(
        session, organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="source", subject_id=source_id, after=dict(after)
    )


def ways_in(session: Session, organization_id: str) -> list[WayIn]:
    """How each connected directory gets in, by name."""
    sources = session.scalars(
        select(Source).where(Source.organization_id == organization_id, Source.kind == "scim", Source.ended_at.is_(None)).order_by(Source.name)
    ).all()
    return [_way_in(session, one) for one in sources]


def _way_in(session: Session, source: Source) -> WayIn:
    client = client_of(session, source.organization_id, source.id)
    holder_id = source.id if client is None else client.id
    rows = session.scalars(
        select(BearerToken)
        .where(
            BearerToken.organization_id == source.organization_id, BearerToken.holder_id == holder_id, BearerToken.client_id.is_(None),
            BearerToken.revoked_at.is_(None),
        )
        .order_by(BearerToken.created_at.desc(), BearerToken.id.desc())
    ).all()  # fmt: skip
    used = session.scalar(
        select(func.max(BearerToken.last_used_at)).where(
            BearerToken.organization_id == source.organization_id, BearerToken.holder_id == source.id
        )
    )
    uses = [one for one in (used, None if client is None else client.last_used_at) if one is not None]
    return WayIn(
        source_id=source.id, source_name=source.name, way=way_of(client), client_id=None if client is None else client.id, last_used_at=max(uses, default=None),
        keys=tuple(Key(since=row.created_at, expires_at=row.expires_at, last_used_at=row.last_used_at) for row in rows),
        shut=client.ended_at is not None if client is not None else not rows,
    )  # fmt: skip


def expiry_of(one: WayIn, *, at: datetime) -> str | None:
    """What an admin should know about when this directory's newest token or secret ends; None where nothing is to be said yet."""
    ends = one.keys[0].expires_at if one.keys and not one.shut else None
    if ends is None or ends - at > WARNED_BEFORE:
        return None
    what, then = ("token" if one.way is Way.BEARER else "client secret"), f"give it another: {to_type('source rotate', one.source_name)}"
    if ends <= at:
        return f"the {what} of {one.source_name} expired at {iso(ends)}; {then}"
    days = (ends - at).days
    left = "within a day" if not days else "in 1 day" if days == 1 else f"in {days} days"
    return f"the {what} of {one.source_name} expires {left}, at {iso(ends)}; {then}"


def still_used(one: WayIn, *, at: datetime) -> str | None:
    """A warning where the older token or secret ends soon and is the one that is used, so that its end would shut the directory out."""
    if one.shut or len(one.keys) < 2:
        return None
    newest, older = one.keys[:2]
    if older.expires_at is None or older.expires_at <= at or older.last_used_at is None or older.last_used_at <= newest.since:
        return None
    what = "token" if one.way is Way.BEARER else "client secret"
    return (
        f"the older {what} of {one.source_name} ends at {iso(older.expires_at)} and was still used at {iso(older.last_used_at)}, "
        f"after the newer one was made: has the newer one been put in everywhere?"
    )
