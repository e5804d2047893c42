"""The client credentials grant (RFC 6749 §4.4): who proves to be a directory's client gets a token for an hour."""

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.spent import KEPT_BEYOND
from app.access.tables import OAuthClient, SpentAssertion
from app.database import in_transaction, reading

GRANT_TYPE: Final = "client_credentials"
SCOPE: Final = "scim"
LIFE = timedelta(hours=1)
_CLIENT_ID: Final = re.compile(r"[0-9a-f-]{36}")


# What a token request can end in (RFC 6749 §5.2).
#
# GrantError
#  ├─ InvalidRequest        something is missing, said twice or not understood
#  ├─ InvalidClient         nobody we know, or not proved
#  ├─ InvalidScope          more is asked for than there is
#  └─ UnsupportedGrantType  another way to ask


class GrantError(Exception):
    """`code` is for the client, the message for its admin; neither repeats what was sent."""

    code = "invalid_request"


class InvalidRequest(GrantError):
    pass


class InvalidClient(GrantError):
    code = "invalid_client"


class InvalidScope(GrantError):
    code = "invalid_scope"


class UnsupportedGrantType(GrantError):
    code = "unsupported_grant_type"


@dataclass(frozen=True, kw_only=True)
class ShownSecret:
    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ShownAssertion:
    """`client_id` is what the request said beside the assertion, where it said anything."""

    client_id: str | None
    assertion: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Proved:
    """A client that has proved itself: which secret did it, or what has to be remembered of an assertion."""

    organization_id: str
    client_id: str
    secret_digest: str | None = field(default=None, repr=False)
    assertion_digest: str | None = None
    assertion_expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Granted:
    token: str = field(repr=False)
    expires_in: int


def check_scope(scope: str | None) -> None:
    """There is one scope, and leaving it out means it. Raises InvalidScope."""
    if scope and set(scope.split(" ")) != {SCOPE}:
        raise InvalidScope(f"the only scope is {SCOPE}")


def claimed_client(shown: ShownSecret | ShownAssertion) -> str:
    """Whom the request claims to be of; nothing is proved by it. Raises InvalidClient."""
    if isinstance(shown, ShownSecret):
        return shown.client_id
    # JOSE is loaded by whoever meets an assertion; most clients have a secret.
    from app.access import assertions

    try:
        named = assertions.client_named_in(shown.assertion)
    except assertions.BadAssertion as error:
        raise InvalidClient(str(error)) from None
    if shown.client_id is not None and shown.client_id != named:
        raise InvalidClient("client_id and the assertion name two clients")
    return named


def prove(shown: ShownSecret | ShownAssertion, *, audiences: Collection[str], at: datetime) -> Proved:
    """Whose proof this is. Writes nothing, so that a wrong one costs no write. Raises InvalidClient."""
    client_id = claimed_client(shown)
    with reading() as session:
        client = _client(session, client_id)
        if isinstance(shown, ShownAssertion):
            return _signed(client, shown, audiences=audiences, at=at)
        row = tokens.find_secret(session, shown.secret, holder_kind="client", at=at)
    # Another client's secret is answered as a wrong one.
    if client is None or row is None or not hmac.compare_digest(row.holder_id, client.id):
        raise InvalidClient("client id or secret is wrong, expired or revoked")
    return Proved(organization_id=client.organization_id, client_id=client.id, secret_digest=row.digest)


def _signed(client: OAuthClient | None, shown: ShownAssertion, *, audiences: Collection[str], at: datetime) -> Proved:
    from app.access import assertions

    if client is None or client.jwks is None:
        raise InvalidClient("no client of this id signs assertions here: it is unknown, revoked, or has a secret instead")
    try:
        claims = assertions.prove(shown.assertion, client.jwks, client_id=client.id, audiences=audiences, at=at)
    except assertions.BadAssertion as error:
        raise InvalidClient(str(error)) from None
    return Proved(
        organization_id=client.organization_id, client_id=client.id, assertion_digest=claims.digest, assertion_expires_at=claims.expires_at
    )


def grant(proved: Proved, *, at: datetime) -> Granted:
    """An access token for this client. Raises InvalidClient where its assertion was used before, or it was revoked meanwhile."""
    try:
        return in_transaction(lambda session: _granted(session, proved, at=at))
    except IntegrityError:
        raise InvalidClient("the assertion was used before; each needs a jti of its own") from None


def _client(session: Session, client_id: str) -> OAuthClient | None:
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    if not _CLIENT_ID.fullmatch(client_id):
        return None
    return session.scalar(select(OAuthClient).where(OAuthClient.id == client_id, OAuthClient.ended_at.is_(None)))


def _granted(session: Session, proved: Proved, *, at: datetime) -> Granted:
    # The row is held until the token is there, so that a revocation at this moment comes before it or finds it.
    client = session.scalar(
        select(OAuthClient)
        .where(OAuthClient.organization_id == proved.organization_id, OAuthClient.id == proved.client_id, OAuthClient.ended_at.is_(None))
        .with_for_update()
    )
    if client is None:
        raise InvalidClient("this client was revoked just now")
    client.last_used_at = at
    if proved.assertion_digest is not None:
        _spend(session, proved, at=at)
    if proved.secret_digest is not None:
        # A client asks about once an hour, and its row is written anyway: this needs no transaction after the answer.
        tokens.note_use(session, proved.secret_digest, at=at)
    token = tokens.issue_access(session, client, at=at, expires_at=at + LIFE)
    return Granted(token=token, expires_in=int(LIFE.total_seconds()))


def _spend(session: Session, proved: Proved, *, at: datetime) -> None:
    mine = and_(SpentAssertion.organization_id == proved.organization_id, SpentAssertion.client_id == proved.client_id)
    session.execute(delete(SpentAssertion).where(mine, SpentAssertion.expires_at <= at - KEPT_BEYOND))
    session.add(
        SpentAssertion(
            organization_id=proved.organization_id, client_id=proved.client_id, digest=proved.assertion_digest,
            expires_at=proved.assertion_expires_at,
        )
    )  # fmt: skip
    session.flush()
