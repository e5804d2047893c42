"""Two people turn out to be one: whatever was said of the one was said of the other, and only one of them is let in."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.names import name_key
from app.directory.tables import Person, Record, Statement, StatementKind, Voice
from app.journal import entries, work
from app.journal.tables import Entry, Subject
from app.lifecycle import joins, leaving, order
from app.lifecycle.belongings import pass_on, pass_reports_on
from app.lifecycle.joined_words import said_again
from app.lifecycle.people import SAME_PERSON, lock_person, records_of, settle
from app.lifecycle.standing import as_said

_JUST: Final = timedelta(microseconds=1)


def become_one(session: Session, organization_id: str, was: str, now: str, *, actor: Actor, at: datetime, because: str) -> Person:
    """The records of `was`, and what voices said of them, are `now`'s; returns that person, whose standing follows from all of it as ever.

    That gives nobody access: what was taken from either of them is not given back by who brought back the other (`joined_words`).

    `was` has left then, with all that they held: no session, device or sign-in of theirs counts for `now`, who signs in again.
    Nobody is found under their names any more.
    """
    # In one order, whoever is joined to whom: two such answers at once would else wait for each other.
    people = {person_id: lock_person(session, organization_id, person_id) for person_id in sorted((was, now))}
    old, new = people[was], people[now]
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb=SAME_PERSON, because=because, subject_kind="person", subject_id=was,
        before={"userName": old.user_name, "employeeNumber": old.employee_number, "standing": old.standing}, after={"person": now},
    )  # fmt: skip
    records = _hear_of(session, old, new, journal_id=entry, at=at)
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


def name_of_former(user_name: str, now: str) -> str:
    """What somebody is called who became one with the person `now`, so that nobody is found under their name any more."""
    return f"{user_name} (now {now})"


def formers_of(session: Session, organization_id: str, person_id: str) -> dict[str, datetime]:
    """Who became one with this person, or with one of those, and when.

    They are found by the names that the person's records have had, which entries tell for as long as they are kept.
    """
    records = select(Record.id, Record.user_name).where(Record.organization_id == organization_id, Record.person_id == person_id)
    called = {id: name for id, name in session.execute(records)}
    said = select(Entry.after["userName"].as_string()).where(Entry.organization_id == organization_id, Entry.subject_id.in_(called)).distinct()
    names = sorted({*called.values(), *(name for name in session.scalars(said) if name is not None)})
    found: dict[str, datetime] = {}
    asked = [person_id]
    for one in asked:
        keys = [name_key(name_of_former(name, one)) for name in names]
        formers = select(Person.id).where(Person.organization_id == organization_id, Person.user_name_key.in_(keys))
        for former in session.scalars(formers.order_by(Person.id)).all():
            became = select(func.max(Entry.at)).where(
                Entry.organization_id == organization_id, Entry.subject_id == former, Entry.verb == SAME_PERSON
            )
            at = session.scalar(became)
            if at is not None and former not in found:
                found[former] = at
                asked.append(former)
    return found


def _hear_of(session: Session, old: Person, new: Person, *, journal_id: int, at: datetime) -> list[Record]:
    """Everything that voices say of `old` is said of `new`, and their names mean `new`. Returns the records."""
    # Whoever names one of these as a manager holds it against another person's having it, and is waited for: then their report is seen, and passed on.
    theirs = select(Record.id).where(Record.organization_id == old.organization_id, Record.person_id == old.id)
    session.execute(theirs.order_by(Record.id).with_for_update())
    records = records_of(session, old)
    said = {person.id: _said_of(session, person) for person in (old, new)}
    with session.no_autoflush:
        _say_again(session, (old, new), said, [*records, *records_of(session, new)], journal_id=journal_id, at=at)
        for record in records:
            record.person_id, record.journal_id = new.id, journal_id
        for statement in said[old.id]:
            statement.said_in = statement.said_in or statement.journal_id
            statement.person_id, statement.journal_id = new.id, journal_id
        old.user_name = name_of_former(old.user_name, new.id)
        old.user_name_key, old.employee_number, old.email, old.manager_id = name_key(old.user_name), None, None, None
        old.version, old.modified_at, old.journal_id = old.version + 1, max(at, old.modified_at), journal_id
    session.flush()
    return records


def _said_of(session: Session, person: Person) -> Sequence[Statement]:
    mine = Statement.organization_id == person.organization_id, Statement.person_id == person.id
    return session.scalars(select(Statement).where(*mine).order_by(Statement.said_at, Statement.id)).all()


def _say_again(
    session: Session, people: Sequence[Person], said: Mapping[str, Sequence[Statement]], records: Sequence[Record], *, journal_id: int, at: datetime
) -> None:
    """Put what stands of either behind all that was said of both. When it was heard stays written."""
    # What the brake holds may count later, and then against all that was said before.
    one, other = ({word.id: as_said(word) for word in said[person.id] if word.withdrawn_at is None} for person in people)
    off = [record.active_said_at for record in records if not (record.held or (record.active and record.ended_at is None))]
    again = said_again(one, other, off_since=max(off) if len(off) == len(records) else None, now=at)
    behind = max(order.behind_all(session, person, at=at) for person in people)
    statements = {word.id: word for person in people for word in said[person.id]}
    for number, statement_id in enumerate(again):
        word = statements[statement_id]
        word.heard_at, word.said_in = word.heard_at or word.said_at, word.said_in or word.journal_id
        word.said_at, word.journal_id = behind + number * _JUST, journal_id
