"""Transmitters whose signals we hear: adding and ending them, and what is agreed with each."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import seal
from app.access.signed_tokens import ALGORITHMS
from app.access.tokens import digest_of
from app.actors import Actor
from app.database import new_id
from app.directory.tables import StatementKind
from app.journal import entries
from app.lifecycle.errors import NotFound, Taken
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import settle_alarm
from app.revocation.stream_tables import Delivery, Received, Transmitter
from app.settings import Settings
from app.signals.effects import Sender
from app.signals.events import Terms, Tolerance
from app.signals.whom import Scope
from connectors.contract import Misconfigured
from connectors.visits import Visitor

VERIFY_EVERY: Final = timedelta(minutes=15)
PATIENCE: Final = 3
"""Verifications that may go unanswered before a stream counts as silent, where nobody says after how long."""
PUSH_PATH: Final = "/signals/push/"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What an organisation decided about a transmitter. Everything that opens it wider is off unless it says so."""

    algorithms: tuple[str, ...] = ALGORITHMS
    tolerated: frozenset[Tolerance] = frozenset()
    aliases: frozenset[str] = frozenset()
    own_subjects: bool = False
    external_ids: bool = False
    tenant: str | None = None
    wildcards: bool = False
    disabled_means: StatementKind = StatementKind.PAUSES
    allow_private: bool = False


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A transmitter as it is asked for. `authorization` is what we send to its poll and verification endpoints."""

    name: str
    issuer: str
    jwks_uri: str
    audience: str | None = None
    poll_url: str | None = None
    verification_url: str | None = None
    stream_id: str | None = None
    authorization: str | None = field(default=None, repr=False)
    unauthorised_pushes: bool = False
    verify_every: timedelta = VERIFY_EVERY
    silent_after: timedelta | None = None
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """What a transmitter says of itself."""

    jwks_uri: str
    verification_url: str | None


def discover(issuer: str, *, allow_private: bool = False) -> Discovered:
    """Read a transmitter's metadata (SSF 1.0 §7). Raises ConnectorError; Misconfigured where they are another issuer's."""
    visitor = Visitor(name="transmitter", allow_private=allow_private)
    parts = urlsplit(visitor.check(issuer))
    url = parts._replace(path=f"/.well-known/ssf-configuration{parts.path.rstrip('/')}").geturl()
    document = visitor.get(url).document()
    # A transmitter that calls itself otherwise could have its events taken for another's.
    if document.text("issuer") != issuer or not document.text("jwks_uri"):
        raise Misconfigured(f"the metadata at {url} are of another issuer, or name no keys")
    return Discovered(jwks_uri=document.text("jwks_uri"), verification_url=document.text("verification_endpoint") or None)


def add(session: Session, settings: Settings, organization_id: str, draft: Draft, *, actor: Actor, at: datetime) -> tuple[Transmitter, str | None]:
    """A new transmitter, and the header that it has to send with each push, which is told this once.

    Raises Taken where the name is in use, Misconfigured where an address cannot be one, KeyMissing.
    """
    visitor = Visitor(name=draft.name, allow_private=draft.policy.allow_private)
    for url in (draft.jwks_uri, draft.poll_url, draft.verification_url):
        if url is not None:
            visitor.check(url)
    if _named(session, organization_id, draft.name) is not None:
        raise Taken("name", draft.name, f"there is a transmitter named {draft.name!r} already")
    pushes = draft.poll_url is None
    header = f"Bearer dl_sg_{secrets.token_urlsafe(32)}" if pushes and not draft.unauthorised_pushes else None
    id = new_id()
    silent_after = draft.silent_after
    if silent_after is None and draft.verification_url is not None:
        silent_after = draft.verify_every * PATIENCE
    row = Transmitter(
        organization_id=organization_id, id=id, name=draft.name, issuer=draft.issuer, audience=draft.audience or f"{settings.public_url}{PUSH_PATH}{id}",
        jwks_uri=draft.jwks_uri, delivery=Delivery.PUSH if pushes else Delivery.POLL, authorization_digest=digest_of(header) if header else None,
        sealed_authorization=seal(settings, draft.authorization) if draft.authorization else None, poll_url=draft.poll_url,
        verification_url=draft.verification_url, stream_id=draft.stream_id, settings=_kept(draft.policy),
        verify_every=int(draft.verify_every.total_seconds()), silent_after=None if silent_after is None else int(silent_after.total_seconds()),
        look_again_at=at, created_at=at,
    )  # fmt: skip
    session.add(row)
    _journal(session, row, "signal transmitter added", actor=actor, at=at, after={"name": row.name, "issuer": row.issuer, **row.settings})
    session.flush()
    return row, header


def end(session: Session, organization_id: str, text: str, *, actor: Actor, at: datetime) -> Transmitter:
    """Nothing of this transmitter is heard any more. What it said stays. Raises NotFound."""
    row = find_named(session, organization_id, text)
    row.ended_at, row.authorization_digest, row.sealed_authorization = at, None, None
    _journal(session, row, "signal transmitter ended", actor=actor, at=at, after={"name": row.name})
    settle_alarm(session, organization_id, kind=AlarmKind.STREAM_SILENT, about=row.id, at=at)
    session.flush()
    return row


def find_named(session: Session, organization_id: str, text: str) -> Transmitter:
    """A standing transmitter by its name or id. Raises NotFound."""
    found = _named(session, organization_id, text)
    if found is None:
        raise NotFound("transmitter", text)
    return found


def _named(session: Session, organization_id: str, text: str) -> Transmitter | None:
    return session.scalar(
        select(Transmitter).where(
            Transmitter.organization_id == organization_id, (Transmitter.name == text) | (Transmitter.id == text), Transmitter.ended_at.is_(None)
        )
    )


def standing(session: Session, organization_id: str) -> Sequence[Transmitter]:
    """The transmitters of an organisation, by name."""
    return session.scalars(
        select(Transmitter).where(Transmitter.organization_id == organization_id, Transmitter.ended_at.is_(None)).order_by(Transmitter.name)
    ).all()


def received_from(session: Session, organization_id: str, sender_id: str, *, outcomes: Collection[str], most: int) -> Sequence[Received]:
    """What was received from a transmitter, or from a connection's provider, newest first."""
    return session.scalars(
        select(Received)
        .where(Received.organization_id == organization_id, Received.sender_id == sender_id, Received.outcome.in_(outcomes))
        .order_by(Received.received_at.desc(), Received.jti)
        .limit(most)
    ).all()


def policy_of(row: Transmitter) -> Policy:
    """What is stored. What cannot be read counts as not set, so as the stricter choice."""
    kept = row.settings
    known = {one.value for one in Tolerance}
    return Policy(
        algorithms=tuple(one for one in ALGORITHMS if one in kept.get("algorithms", ALGORITHMS)),
        tolerated=frozenset(Tolerance(one) for one in kept.get("tolerated", []) if one in known),
        aliases=frozenset(kept.get("aliases", [])), own_subjects=kept.get("own_subjects") is True,
        external_ids=kept.get("external_ids") is True, tenant=kept.get("tenant"), wildcards=kept.get("wildcards") is True,
        disabled_means=StatementKind.LEAVES if kept.get("disabled_means") == StatementKind.LEAVES else StatementKind.PAUSES,
        allow_private=kept.get("allow_private") is True,
    )  # fmt: skip


def _kept(policy: Policy) -> dict[str, Any]:
    return {
        "algorithms": list(policy.algorithms), "tolerated": sorted(policy.tolerated), "aliases": sorted(policy.aliases),
        "own_subjects": policy.own_subjects, "external_ids": policy.external_ids, "tenant": policy.tenant, "wildcards": policy.wildcards,
        "disabled_means": policy.disabled_means.value, "allow_private": policy.allow_private,
    }  # fmt: skip


def terms_of(row: Transmitter) -> Terms:
    """How its tokens are checked."""
    policy = policy_of(row)
    return Terms(issuer=row.issuer, audiences=(row.audience,), algorithms=policy.algorithms, tolerated=policy.tolerated)


def sender_of(row: Transmitter, settings: Settings) -> Sender:
    """On whose word its events act, and how its subjects are understood."""
    policy = policy_of(row)
    # A transmitter that is no identity provider itself (a device manager, say) names its subjects as the provider does.
    narrow = policy.own_subjects or bool(policy.aliases)
    return Sender(
        sender_id=row.id, name=row.name, disabled_means=policy.disabled_means,
        scope=Scope(
            organization_id=row.organization_id, issuer=row.issuer, issuers=frozenset({row.issuer, *policy.aliases}) if narrow else None,
            ours=settings.public_url, external_ids=policy.external_ids, tenant=policy.tenant, wildcards=policy.wildcards,
        ),
    )  # fmt: skip


def _journal(session: Session, row: Transmitter, verb: str, *, actor: Actor, at: datetime, after: dict[str, Any]) -> None:
    entries.write(
        session, row.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="signal transmitter", subject_id=row.id,
        after=after,
    )  # fmt: skip
