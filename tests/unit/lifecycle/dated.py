"""What directories and HR say with dates, through the real verbs, for tests; days are counted from the company's beginning."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sessions import Authenticated, Limits, check, start
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.journal.tables import Lane, Subject, Work
from app.lifecycle import leaving, starting
from app.lifecycle.people import reconsider
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.revocation.tables import Departure
from tests.company import ADMIN, OKTA, Company, document, later

DAY = 86_400.0


def on(day: float) -> datetime:
    return later(day * DAY)


def joins(company: Company, name: str, *, since: float | None = None, until: float | None = None, at: float = 0, **more: Any) -> Record:
    """A directory names somebody with dates."""
    user_name = f"{name}@x.example"
    draft = RecordDraft(
        external_id=more.pop("external_id", f"00u-{name}"), user_name=user_name, active=True,
        document=document(user_name, more.pop("number", None), **more),
        starts_at=None if since is None else on(since), ends_at=None if until is None else on(until),
    )  # fmt: skip
    return in_transaction(lambda s: add_record(s, company.organization_id, company.source_id, draft, actor=OKTA, at=on(at), because="test"))


def dated(company: Company, record: Record, *, at: float, **dates: datetime | None) -> Record:
    """The directory says other dates of the same record."""
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=None, document=record.document, starts_at=record.starts_at,
        ends_at=record.ends_at,
    )  # fmt: skip
    said = replace(draft, **dates)  # type: ignore[arg-type]  # dates only
    return in_transaction(
        lambda s: change_record(s, company.organization_id, record.source_id, record.id, said, actor=OKTA, at=on(at), because="test")
    )


def comes_due(company: Company, record: Record, *, at: float) -> Person:
    in_transaction(lambda s: reconsider(s, company.organization_id, record.person_id, at=on(at)))
    return company.person(record)


def hr_says(company: Company, record: Record, kind: StatementKind, *, said: float, at: float | None = None, engagement: str = "") -> Person:
    return in_transaction(
        lambda s: leaving.say(
            s, company.organization_id, record.person_id, voice=Voice.HR, kind=kind, said_by="workday", effective_at=on(said if at is None else at),
            actor=OKTA, at=on(said), because="test", engagement=engagement,
        )
    )  # fmt: skip


def expect(company: Company, record: Record, *, starts: float, at: float) -> Person:
    def act(session: Session) -> Person:
        person = session.get_one(Person, (company.organization_id, record.person_id))
        return starting.expect(session, person, starts_at=on(starts), said_by="ana", actor=ADMIN, at=on(at), because="test")

    return in_transaction(act)


def due_at(company: Company, record: Record) -> datetime | None:
    with reading() as session:
        return session.scalar(select(Work.due_at).where(Work.subject == Subject.DUE, Work.subject_id == record.person_id, Work.lane == Lane.DEPARTURES))


def departures_of(company: Company, record: Record) -> list[Departure]:
    with reading() as session:
        return list(session.scalars(select(Departure).where(Departure.person_id == record.person_id).order_by(Departure.decided_at)))


def signed_in(company: Company, record: Record, *, at: float) -> str:
    how = Authenticated(connection_id=None, at=on(at))

    def act(session: Session) -> str:
        person = session.get_one(Person, (company.organization_id, record.person_id))
        return start(session, person, how, limits=Limits(absolute=timedelta(days=400), idle=timedelta(days=400)), agent="test", at=on(at))[1]

    return in_transaction(act)


def gets_in(cookie: str, *, at: float) -> bool:
    with reading() as session:
        return check(session, cookie, at=on(at)) is not None


def replace_name(company: Company, record: Record, name: str, *, at: float) -> Record:
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=None, document={**record.document, "displayName": name},
        starts_at=record.starts_at, ends_at=record.ends_at,
    )  # fmt: skip
    return in_transaction(
        lambda s: change_record(s, company.organization_id, record.source_id, record.id, draft, actor=OKTA, at=on(at), because="test")
    )
