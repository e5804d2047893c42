"""Who is let in right now, asked in one statement without a session around it: for what is asked with every request of others.

The conditions are those of every other question (`lets_in`, `still_good`), and are put to the database each time: nothing
that was good is remembered.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, ClauseElement, ColumnElement, Text, and_, cast, select

from app.access.issued import held_by, still_good
from app.access.parties import fits
from app.access.session_tables import Grant, IssuedToken, RelyingParty, TokenKind, WebSession
from app.access.sessions import USE_NOTED_EVERY, Present, lets_in, of_person
from app.access.tokens import digest_of
from app.bare.connection import Bare
from app.clock import microseconds, stored_instant
from app.directory.tables import Person
from app.journal.tables import Organization
from app.statements import param

_AT: Final = param("at", BigInteger())
_MINUTE: Final = USE_NOTED_EVERY // timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class About:
    """What a person is shown of themselves. `settings` are the organisation's, as JSON."""

    email: str | None
    organization: str
    settings: str


@dataclass(frozen=True, kw_only=True)
class Passing:
    """Somebody at the gate. `present` is their browser session, where they came with one and not with a token.

    `alone` says that there is one organisation here, `asked_for` whose client the gate was named for; `noted` that the session's
    use was written down within the last minute. `about` is said only where it was asked for.
    """

    organization_id: str
    person_id: str
    user_name: str
    client_id: str | None
    present: Present | None
    alone: bool
    asked_for: str | None
    noted: bool = True
    about: About | None = None

    def may_pass(self, client: str | None) -> bool:
        """Whether they are of the organisation that the gate stands before; a token has to be that very client's."""
        if client is None:
            return self.alone
        return self.asked_for == self.organization_id and self.client_id in (None, client)


@dataclass(frozen=True, kw_only=True)
class Introspected:
    """What a client may know of a token (RFC 7662 §2.2), once it has proved itself; nothing of one that is not good."""

    claims: Mapping[str, Any]
    _secret_digest: str | None = field(repr=False)
    _settings: Mapping[str, Any] = field(repr=False)

    def proves(self, secret: str, *, at: datetime) -> bool:
        """Whether this is the secret of the client that asked."""
        return fits(secret, self._secret_digest, self._settings, at=microseconds(at))


async def present_by_cookie(bare: Bare, secret: str, *, at: datetime) -> Present | None:
    """As `sessions.check`. Raises what the driver raises."""
    passing = await by_cookie(bare, secret, client=None, at=at)
    return None if passing is None else passing.present


async def by_cookie(bare: Bare, secret: str, *, client: str | None, at: datetime, about: bool = False) -> Passing | None:
    """Who comes with this cookie, and with `about` what they are shown; None where it lets nobody in. Raises what the driver raises."""
    digest, instant = digest_of(secret), microseconds(at)
    rows = await bare.rows(_session(about=about), {"digest": digest, "at": instant, "client": client})
    if not rows or not hmac.compare_digest(rows[0][0], digest):
        return None
    (
        _, organization_id, session_id, person_id, epoch, display_name, user_name, connection_id, authenticated, acr, amr, strong, break_glass,
        created, expires, idle, seen, others, asked_for, *told,
    ) = rows[0]  # fmt: skip
    present = Present(
        organization_id=organization_id, session_id=session_id, person_id=person_id, epoch=epoch, display_name=display_name,
        connection_id=connection_id, authenticated_at=stored_instant(authenticated), acr=acr, amr=tuple(json.loads(amr)), strong=bool(strong),
        break_glass=bool(break_glass), created_at=stored_instant(created), expires_at=stored_instant(expires), idle_until=stored_instant(idle),
    )  # fmt: skip
    return Passing(
        organization_id=organization_id, person_id=person_id, user_name=user_name, client_id=None, present=present, alone=not others,
        asked_for=asked_for, noted=seen > instant - _MINUTE,
        about=About(email=told[0], organization=told[1], settings=told[2]) if told else None,
    )  # fmt: skip


async def by_token(bare: Bare, token: str, *, client: str | None, at: datetime) -> Passing | None:
    """Who comes with this access token; None where it lets nobody in. Raises what the driver raises."""
    digest = digest_of(token)
    rows = await bare.rows(_token(), {"digest": digest, "at": microseconds(at), "client": client})
    if not rows or not hmac.compare_digest(rows[0][0], digest):
        return None
    _, organization_id, person_id, user_name, client_id, others, asked_for = rows[0]
    return Passing(
        organization_id=organization_id, person_id=person_id, user_name=user_name, client_id=client_id, present=None, alone=not others,
        asked_for=asked_for,
    )  # fmt: skip


async def introspect(bare: Bare, client_id: str, token: str, *, at: datetime) -> Introspected | None:
    """What the client may know of the token; None where there is no such client. Raises what the driver raises.

    Another organisation's token looks like one that never was.
    """
    digest = digest_of(token)
    rows = await bare.rows(_introspection(), {"client": client_id, "digest": digest, "at": microseconds(at)})
    if not rows:
        return None
    secret_digest, settings, kept, organization_id, person_id, of_client, scope, user_name, created, expires, sid, acr, amr, authenticated = rows[0]
    claims: dict[str, Any] = {}
    if kept is not None and hmac.compare_digest(kept, digest):
        claims = {
            "scope": scope, "client_id": of_client, "username": user_name, "token_type": "Bearer", "exp": expires // 1_000_000,
            "iat": created // 1_000_000, "sub": person_id, "aud": of_client, "tenant": organization_id, "sid": sid, "acr": acr,
            "amr": json.loads(amr), "auth_time": authenticated // 1_000_000,
        }  # fmt: skip
    return Introspected(claims=claims, _secret_digest=secret_digest, _settings=json.loads(settings))


@cache
def _session(*, about: bool) -> ClauseElement:
    found = (
        select(
            WebSession.digest, WebSession.organization_id, WebSession.id, WebSession.person_id, WebSession.epoch, Person.display_name,
            Person.user_name, WebSession.connection_id, WebSession.authenticated_at, WebSession.acr, cast(WebSession.amr, Text),
            WebSession.strong, WebSession.break_glass, WebSession.created_at, WebSession.expires_at, WebSession.idle_until, WebSession.seen_at,
            _others(WebSession), _asked_for(),
        )
        .join(Person, of_person(WebSession))
        .where(WebSession.digest == param("digest"), lets_in(WebSession, _AT), WebSession.expires_at > _AT, WebSession.idle_until > _AT)
    )  # fmt: skip
    if not about:
        return found
    # By another name: that there are others is asked of the same table.
    own = Organization.__table__.alias("own")
    return found.join(own, own.c.id == WebSession.organization_id).add_columns(Person.email, own.c.name, cast(own.c.settings, Text))


@cache
def _token() -> ClauseElement:
    columns = (
        IssuedToken.digest, IssuedToken.organization_id, IssuedToken.person_id, Person.user_name, IssuedToken.client_id, _others(IssuedToken),
        _asked_for(),
    )  # fmt: skip
    return held_by(*columns).where(IssuedToken.digest == param("digest"), still_good(TokenKind.ACCESS, _AT))


@cache
def _introspection() -> ClauseElement:
    columns = (
        IssuedToken.digest, IssuedToken.organization_id, IssuedToken.person_id, IssuedToken.client_id, IssuedToken.scope, Person.user_name,
        IssuedToken.created_at, IssuedToken.expires_at, Grant.sid, Grant.acr, cast(Grant.amr, Text).label("amr"), Grant.authenticated_at,
    )  # fmt: skip
    token = held_by(*columns).where(IssuedToken.digest == param("digest"), still_good(TokenKind.ACCESS, _AT)).subquery("token")
    party = RelyingParty.__table__.alias("asking")
    return (
        select(party.c.secret_digest, cast(party.c.settings, Text), *token.c)
        .select_from(party)
        .outerjoin(token, token.c.organization_id == party.c.organization_id)
        .where(party.c.id == param("client"), party.c.ended_at.is_(None))
    )


def _others(held: type[WebSession] | type[IssuedToken]) -> ColumnElement[bool]:
    return select(Organization.id).where(Organization.id != held.organization_id).exists()


def _asked_for() -> ColumnElement[str]:
    party = RelyingParty.__table__.alias("asked_for")
    return select(party.c.organization_id).where(and_(party.c.id == param("client"), party.c.ended_at.is_(None))).scalar_subquery()
