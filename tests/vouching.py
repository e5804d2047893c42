"""A stand-in for an identity provider as seen behind the check of its signature: it vouches for whoever a test says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.connection_tables import Connection, ConnectionKind
from app.audit.sequencer import run_pass
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Record, StatementKind, Voice
from app.journal.tables import Entry, Organization
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.leaving import say
from app.lifecycle.matching import One
from app.lifecycle.records import RecordDraft, add_record
from app.lifecycle.sources import set_setting
from app.sso import connections
from app.sso.entering import Entered, enter
from app.sso.refusals import Reason, Refused
from app.sso.verified import Verified
from tests.company import ADMIN, NOW, OKTA, Company, document

ISSUER = "https://idp.example"


def caught_up(at: datetime) -> None:
    """Let the audit tree catch up: without it nobody is let in for long."""
    in_transaction(lambda session: run_pass(session, at=at, origin_of=lambda organization_id: f"test/{organization_id}"))


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One connection of a company, and what the provider behind it says."""

    company: Company
    connection_id: str
    issuer: str = ISSUER

    def vouches_for(self, subject: str, *, at: datetime = NOW, **said: Any) -> Verified:
        """What a signed message of this provider says, made at that instant."""
        return Verified(
            **{
                "organization_id": self.company.organization_id, "connection_id": self.connection_id, "issuer": self.issuer,
                "subject": subject, "issued_at": at, "authenticated_at": at, **said,
            }
        )  # fmt: skip

    def lets_in(self, subject: str, *, at: datetime = NOW, seen_at: datetime | None = None, **said: Any) -> Entered:
        """Somebody comes with such a message. Raises Refused."""
        return shown(self.vouches_for(subject, at=at, **said), at=seen_at or at)

    def refuses(self, subject: str, *, at: datetime = NOW, seen_at: datetime | None = None, **said: Any) -> Reason:
        """Why somebody with such a message is not let in; fails where they are."""
        return why_refused(self.vouches_for(subject, at=at, **said), at=seen_at or at)

    def changes(self, **settings: Any) -> None:
        def act(session: Session) -> None:
            connections.change(session, self.row(session), settings=settings, actor=ADMIN, at=NOW)

        in_transaction(act)

    def row(self, session: Session) -> Connection:
        return session.get_one(Connection, (self.company.organization_id, self.connection_id))


def shown(verified: Verified, *, at: datetime) -> Entered:
    caught_up(at)
    return enter(current_app.config["DOORLIST"], verified, agent="Firefox", at=at)


def why_refused(verified: Verified, *, at: datetime) -> Reason:
    try:
        shown(verified, at=at)
    except Refused as error:
        return error.reason
    raise AssertionError("they were let in")


def new_provider(
    company: Company, *, name: str = "Okta", issuer: str = ISSUER, kind: ConnectionKind = ConnectionKind.OIDC,
    domains: tuple[str, ...] = (), settings: Mapping[str, Any] | None = None, at: datetime = NOW,
) -> Provider:  # fmt: skip
    made = in_transaction(
        lambda session: connections.add(
            session, company.organization_id, kind=kind, name=name, issuer=issuer, settings=settings or {}, domains=domains, actor=ADMIN, at=at
        )
    )
    return Provider(company=company, connection_id=made.id, issuer=issuer)


def joins_as(
    company: Company, external_id: str, user_name: str = "ada", number: str | None = None, *, source_id: str | None = None, at: datetime = NOW
) -> Record:
    """Somebody joins whom a directory knows by this externalId."""
    draft = RecordDraft(external_id=external_id, user_name=user_name, active=True, document=document(user_name, number))
    return in_transaction(
        lambda session: add_record(session, company.organization_id, source_id or company.source_id, draft, actor=OKTA, at=at, because="test")
    )


def access_ends(company: Company, record: Record, *, at: datetime, said_at: datetime = NOW) -> None:
    """An operator says when access ends."""
    in_transaction(
        lambda session: say(
            session, company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=at,
            actor=ADMIN, at=said_at, because="contract ends",
        )
    )  # fmt: skip


def in_group(company: Company, name: str, *members: Record) -> None:
    draft = GroupDraft(external_id=None, display_name=name, members=tuple(one.id for one in members))
    in_transaction(lambda session: add_group(session, company.organization_id, company.source_id, draft, actor=OKTA, at=NOW, because="test"))


def administrators(company: Company, record: Record, *, starts_at: datetime | None = None, ends_at: datetime | None = None) -> None:
    """A second account of somebody, with these dates, which alone is in the group *Administrators*."""
    at = now() - timedelta(days=2)
    said = {"userName": "admin"}
    draft = RecordDraft(external_id="admin", user_name="admin", active=True, document=said, starts_at=starts_at, ends_at=ends_at)
    theirs = One(person_id=record.person_id, by="employeeNumber")
    account = in_transaction(
        lambda session: add_record(session, company.organization_id, company.source_id, draft, match=theirs, actor=OKTA, at=at, because="test")
    )
    in_group(company, "Administrators", account)


def decide(company: Company, key: str, value: str) -> None:
    """The organisation sets one of its settings."""
    in_transaction(
        lambda session: set_setting(session, session.get_one(Organization, company.organization_id), key, value, actor=ADMIN, at=NOW)
    )


def is_in(cookie: str, *, at: datetime = NOW) -> bool:
    """Whether this cookie lets its browser in."""
    with reading() as session:
        return sessions.check(session, cookie, at=at) is not None


def entries_of(organization_id: str, verb: str) -> list[Entry]:
    with reading() as session:
        return list(session.scalars(select(Entry).where(Entry.organization_id == organization_id, Entry.verb == verb).order_by(Entry.id)))
