"""Two people turn out to be one: whatever was said of the one was said of the other, and only one of them is let in."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.names import name_key
from app.directory.tables import Person, Record, Statement, StatementKind, Voice
from app.journal import entries, work
from app.journal.tables import Subject
from app.lifecycle import joins, leaving
from app.lifecycle.belongings import pass_on, pass_reports_on
from app.lifecycle.people import lock_person, records_of, settle


def become_one(session: Session, organization_id: str, was: str, now: str, *, actor: Actor, at: datetime, because: str) -> Person:
    """The records of `was`, and what voices said of them, are `now`'s; returns that person, whose standing follows from all of it as ever.

    `was` has left then, with all that they held: no session, device or sign-in of theirs counts for `now`, who signs in again.
    Nobody is found under their names any more.
    """
    # In one order, whoever is joined to whom: two such answers at once would else wait for each other.
    people = {person_id: lock_person(session, organization_id, person_id) for person_id in sorted((was, now))}
    old, new = people[was], people[now]
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="is the same person", because=because, subject_kind="person", subject_id=was,
        before={"userName": old.user_name, "employeeNumber": old.employee_number, "standing": old.standing}, after={"person": now},
    )  # fmt: skip
    records = _hear_of(session, old, now, journal_id=entry, at=at)
    reports = pass_reports_on(session, organization_id, was, now, journal_id=entry, at=at)
    pass_on(session, organization_id, was, now, actor=actor, at=at, because=because)
    settle(session, new, at=at, received_at=at, actor=actor, because=because, journal_id=entry)
    # The groups of the records are theirs now, which changes no attribute.
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=[was, now, *reports], because=entry, due_at=at)
    leaving.say(
        session, organization_id, was, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by=actor.name, effective_at=at, actor=actor, at=at,
        because=because,
    )  # fmt: skip
    joins.announce_all(session, organization_id, sorted({record.employee_number for record in records if record.employee_number is not None}), at=at)
    return new


def _hear_of(session: Session, old: Person, now: str, *, journal_id: int, at: datetime) -> list[Record]:
    """Everything that voices say of `old` is said of `now`, and their names mean `now`. Returns the records."""
    records = records_of(session, old)
    said = select(Statement).where(Statement.organization_id == old.organization_id, Statement.person_id == old.id)
    with session.no_autoflush:
        for record in records:
            record.person_id, record.journal_id = now, journal_id
        for statement in session.scalars(said).all():
            statement.said_in = statement.said_in or statement.journal_id
            statement.person_id, statement.journal_id = now, journal_id
        old.user_name = f"{old.user_name} (now {now})"
        old.user_name_key, old.employee_number, old.email, old.manager_id = name_key(old.user_name), None, None, None
        old.version, old.modified_at, old.journal_id = old.version + 1, max(at, old.modified_at), journal_id
    session.flush()
    return records
