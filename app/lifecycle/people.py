"""A person as joined from records and statements: composing, deciding standing, and what follows from a change of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from app.actors import CLOCK, Actor
from app.database import new_id, same_document
from app.directory.finding import ever_named, standing_named
from app.directory.heard import is_heard
from app.directory.names import name_key
from app.directory.tables import OUTSIDE, Person, Record, RecordEmail, Standing, Statement
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal import entries, work
from app.journal.tables import Entry, Lane, Subject
from app.lifecycle.composing import compose
from app.lifecycle.entered import give_way
from app.lifecycle.errors import TurnedOut
from app.lifecycle.overtaken import overtake
from app.lifecycle.standing import Decided, RecordSaid, as_said, decide, stricter
from app.lifecycle.windows import freeze_ends, means_of_end, of_now, turned
from app.revocation import departures
from app.statements import param

# Asked of everybody who is changed, so they are built once.
_LOCKED: Final = (
    select(Person)
    .where(Person.organization_id == param("organization"), Person.id == param("person"))
    .with_for_update()
    .execution_options(populate_existing=True)
)
_OWN: Final = (Record.organization_id == param("organization"), Record.person_id == param("person"))
_ANY_RECORD: Final = select(Record.id).where(*_OWN).limit(1)
_RECORDS: Final = select(Record).where(*_OWN).order_by(Record.created_at, Record.id)
_HEARD: Final = select(Statement).where(
    Statement.organization_id == param("organization"), Statement.person_id == param("person"),
    Statement.withdrawn_at.is_(None), Statement.held.is_(False),
)  # fmt: skip

SAME_PERSON: Final = "is the same person"
"""The verb of the entry that says that somebody became one with the person that it names."""


def enterprise(document: Mapping[str, Any]) -> dict[str, Any]:
    """The enterprise extension of a document; empty where there is none."""
    extension = document.get(ENTERPRISE_URN)
    return extension if isinstance(extension, dict) else {}


def text_of(value: object) -> str | None:
    """A non-empty string, else None."""
    return value if isinstance(value, str) and value.strip() else None


def emails_of(document: Mapping[str, Any]) -> list[str]:
    """Addresses of a document, the primary one first."""
    found: list[tuple[bool, str]] = []
    for element in document.get("emails") or []:
        value = text_of(element.get("value")) if isinstance(element, dict) else text_of(element)
        if value:
            found.append((not (isinstance(element, dict) and element.get("primary") is True), value))
    return [value for _, value in sorted(found, key=lambda pair: pair[0])]


def manager_record(document: Mapping[str, Any]) -> str | None:
    """The record id that a document names as manager."""
    manager = enterprise(document).get("manager")
    if isinstance(manager, dict):
        return text_of(manager.get("value"))
    return text_of(manager)


def attributes_in(document: Mapping[str, Any]) -> dict[str, str | None]:
    """The columns of a person that a document alone decides."""
    extension = enterprise(document)
    emails = emails_of(document)
    return {
        "email": emails[0] if emails else None,
        "user_type": text_of(document.get("userType")),
        "department": text_of(extension.get("department")),
        "division": text_of(extension.get("division")),
        "employee_number": text_of(extension.get("employeeNumber")),
    }


def new_person(session: Session, record: Record, *, at: datetime, journal_id: int) -> Person:
    """A person who has no record yet but this one; `settle` stores them."""
    person = Person(
        organization_id=record.organization_id, id=record.person_id or new_id(), standing=Standing.ACTIVE, standing_reason="joined",
        user_name=record.user_name, user_name_key=record.user_name_key, display_name=record.display_name or record.user_name,
        document={}, created_at=at, modified_at=at, journal_id=journal_id, access_epoch=1, version=0,
    )  # fmt: skip
    return person


def person_of(session: Session, record: Record, *, known: bool, at: datetime) -> Person:
    """The person of a record that joins: locked where they are known, else new; `settle` stores them."""
    if known:
        return lock_meant(session, record.organization_id, record.person_id)
    return new_person(session, record, at=at, journal_id=record.journal_id)


def lock_person(session: Session, organization_id: str, person_id: str) -> Person:
    """The person's row, locked until the transaction ends, so that two changes of standing cannot pass each other."""
    return session.scalars(_LOCKED, {"organization": organization_id, "person": person_id}).one()


def lock_meant(session: Session, organization_id: str, person_id: str) -> Person:
    """The same of whom a name, a number or an operator means. Raises TurnedOut where they became one with somebody else.

    That may have been while the row was waited for; what is said of them now would be heard of nobody.
    """
    person = lock_person(session, organization_id, person_id)
    if person_id not in became_one(session) and turned_out(session, organization_id, person_id):
        raise TurnedOut(f"{person.user_name} is not {person_id} any more: have it said of whom they turned out to be")
    return person


def turned_out(session: Session, organization_id: str, person_id: str) -> bool:
    """Whether somebody became one with another person, who has all their records; else everybody has one, if only one that has ended."""
    return session.scalar(_ANY_RECORD, {"organization": organization_id, "person": person_id}) is None


def who_they_are(session: Session, organization_id: str, person_id: str) -> list[str]:
    """A person, then whom they became one with, and whom that one did: the last is who they are. Empty where nobody can tell any more.

    That is told by the entry of it alone, whose content goes one day.
    """
    found = [person_id]
    while turned_out(session, organization_id, found[-1]):
        said = select(Entry.after).where(Entry.organization_id == organization_id, Entry.subject_id == found[-1], Entry.verb == SAME_PERSON)
        after = session.scalar(said.order_by(Entry.id.desc()).limit(1))
        if after is None:
            return []
        found.append(str(after["person"]))
    return found


def became_one(session: Session) -> set[str]:
    """Who became one with somebody else in this very transaction, and is still spoken of there."""
    people: set[str] = session.info.setdefault("became one", set())
    return people


def records_of(session: Session, person: Person) -> list[Record]:
    """Every record of a person, ended ones too, oldest first."""
    return list(session.scalars(_RECORDS, {"organization": person.organization_id, "person": person.id}))


def _compose(session: Session, person: Person, records: list[Record]) -> bool:
    """Take the person's attributes from the records that are heard. Returns whether anything changed."""
    heard = [record for record in records if is_heard(record)]
    if not heard:
        return False
    composed = compose(session, person.organization_id, heard)
    document = composed.document
    wanted: dict[str, Any] = {
        "user_name": composed.user_name,
        "user_name_key": composed.user_name_key,
        "display_name": composed.display_name,
        **attributes_in(document),
        "manager_id": _manager(session, person, manager_record(document)),
        "document": document,
    }
    changed = not all(same_document(getattr(person, name), value) for name, value in wanted.items())
    for name, value in wanted.items():
        setattr(person, name, value)
    return changed


def _manager(session: Session, person: Person, named: str | None) -> str | None:
    """Whose the record is that somebody names as their manager."""
    if named is None:
        return None
    whose = select(Record.person_id).where(Record.organization_id == person.organization_id, Record.id == named)
    if named == manager_record(person.document):
        there = session.scalar(whose)
        if there == person.manager_id:
            return there
    # Held where that is new: who gives the record to somebody else looks for whoever reports to it, and would miss one who is not committed.
    return session.scalar(whose.with_for_update(read=True))


def standing_now(session: Session, person: Person, records: list[Record], *, at: datetime) -> Decided:
    """Decide standing from what is stored. What the brake holds is not heard yet.

    A clock that was put back gives nobody again what its later days had taken: of now and of the last change the stricter counts.
    """
    said_by_records = [
        RecordSaid(
            on=record.active or record.held, said_at=record.active_said_at, ended=record.ended_at is not None and not record.held,
            means=means_of_end(session, record), starts_at=record.starts_at, ends_at=record.ends_at,
        )
        for record in records
    ]  # fmt: skip
    statements = session.scalars(_HEARD, {"organization": person.organization_id, "person": person.id})
    said = [as_said(statement) for statement in statements]
    decided = decide(said_by_records, said, now=at)
    return decided if person.modified_at <= at else stricter(decided, decide(said_by_records, said, now=person.modified_at))


def settle(
    session: Session,
    person: Person,
    *,
    at: datetime,
    received_at: datetime,
    actor: Actor,
    because: str,
    journal_id: int,
    epoch_moves: bool = False,
    regrouped: bool = False,
) -> Decided:
    """Bring a person in line with what voices now say: attributes, standing, access and the work that follows.

    Called by every verb, in its transaction, with the person's row locked and the verb's journal entry written.
    `epoch_moves` ends sessions even where the person stays (one of two records went off), `regrouped` has them looked at there:
    another record keeps them in, but the groups of this one count no more, or count again.
    """
    # A flush in the middle would write the person half changed, and the second half under the same entry is refused.
    with session.no_autoflush:
        decided = _settle(
            session, person, at=at, received_at=received_at, actor=actor, because=because, journal_id=journal_id, epoch_moves=epoch_moves,
            regrouped=regrouped,
        )  # fmt: skip
    session.flush()
    return decided


def _settle(
    session: Session, person: Person, *, at: datetime, received_at: datetime, actor: Actor, because: str, journal_id: int, epoch_moves: bool,
    regrouped: bool,
) -> Decided:  # fmt: skip
    records = records_of(session, person)
    overtaken = overtake(session, person, records, actor=actor, at=at, because=because)
    give_way(session, person, records, actor=actor, at=at, because=because)
    before, was_in = Standing(person.standing), is_in(session, person)
    manager_before = person.manager_id
    changed = _compose(session, person, of_now(records, at=at))
    decided = standing_now(session, person, records, at=at)
    # Access ended on their day, whoever is the first to look after it.
    due_at = min(person.access_until or at, at) if before is Standing.ACTIVE else at
    fresh = person.version == 0
    if decided.standing is not before or decided.reason != person.standing_reason or decided.until != person.access_until:
        changed = True
        person.standing, person.standing_reason, person.access_until = decided.standing, decided.reason, decided.until
    if changed or fresh:
        person.version += 1
        person.modified_at = max(at, person.modified_at)
        person.journal_id = journal_id
    lost = decided.standing in OUTSIDE
    # Who has yet to start and was let in already loses what was given; who joined in this very transaction was given nothing.
    put_off = decided.standing is Standing.EXPECTED and not fresh and was_in
    if (lost and (before is not decided.standing or fresh)) or put_off:
        if before is not Standing.ACTIVE and not fresh:
            departures.close(session, person, at=at)
        departures.revoke(
            session, person, means=decided.standing if lost else Standing.PAUSED, reason=f"{decided.reason}: {because}", actor=str(actor),
            due_at=due_at, received_at=received_at, at=at, journal_id=journal_id,
        )  # fmt: skip
        person.journal_id = journal_id
    elif decided.standing is Standing.ACTIVE and before is not Standing.ACTIVE:
        departures.close(session, person, at=at)
        # Nothing old comes back to life: a return moves the epoch as well.
        person.access_epoch += 1
        person.journal_id = journal_id
    elif epoch_moves:
        person.access_epoch += 1
        person.journal_id = journal_id
    if changed or fresh or overtaken or (regrouped and decided.standing is Standing.ACTIVE):
        # Whoever gains a first report has a team now, and whoever loses the last one has none: to another manager, because
        # the report left, or because a rule's `where` fits them no more.
        touched = [one for one in (person.id, manager_before, person.manager_id) if one is not None]
        work.want(session, person.organization_id, subject=Subject.PERSON, subject_ids=touched, because=journal_id, due_at=at)
    if decided.wake_at is not None:
        work.want(
            session, person.organization_id, subject=Subject.DUE, subject_ids=[person.id], because=journal_id, due_at=decided.wake_at,
            lane=Lane.DEPARTURES,
        )  # fmt: skip
    if fresh:
        session.add(person)
        _joined_in(session).add(person.id)
    return decided


def is_in(session: Session, person: Person) -> bool:
    """Whether somebody has access that they could lose: they stand, and have not joined in this very transaction."""
    return person.standing == Standing.ACTIVE and person.id not in _joined_in(session)


def _joined_in(session: Session) -> set[str]:
    joined: set[str] = session.info.setdefault("joined", set())
    return joined


def reconsider(session: Session, organization_id: str, person_id: str, *, at: datetime) -> Decided:
    """Decide again because an instant has come. Safe to call at any time; without a change nothing is written but the entry."""
    person = lock_person(session, organization_id, person_id)
    records = records_of(session, person)
    decided = standing_now(session, person, records, at=at)
    stored = (person.standing, person.standing_reason, person.access_until)
    if (decided.standing, decided.reason, decided.until) == stored and not turned(records, since=person.modified_at, at=at):
        if decided.wake_at is not None:
            work.want(
                session,
                organization_id,
                subject=Subject.DUE,
                subject_ids=[person_id],
                because=None,
                due_at=decided.wake_at,
                lane=Lane.DEPARTURES,
            )
        return decided
    entry = entries.write(
        session, organization_id, at=at, actor=CLOCK, verb="came due", because="a stated instant has come", subject_kind="person", subject_id=person_id,
        before={"standing": person.standing}, after={"standing": decided.standing},
    )  # fmt: skip
    freeze_ends(session, records, at=at, journal_id=entry)
    due = person.access_until or at
    return settle(session, person, at=at, received_at=min(due, at), actor=CLOCK, because="due", journal_id=entry, regrouped=True)


def find_people(session: Session, organization_id: str, text: str) -> list[Person]:
    """Whoever PERSON may mean: a userName in any directory, an e-mail, an employee number, an externalId or an id.

    What somebody was called in a directory that has them no more is theirs while nobody else is found.
    """
    key = name_key(text)
    # Each in an index of its own, and so as quick in a large organisation as in a small one.
    own = select(Person.id).where(Person.organization_id == organization_id)
    of_records = select(Record.person_id).where(Record.organization_id == organization_id)
    by_email = (
        select(Record.person_id)
        .join(RecordEmail, (RecordEmail.organization_id == Record.organization_id) & (RecordEmail.record_id == Record.id))
        .where(RecordEmail.organization_id == organization_id, RecordEmail.address_key == key)
    )
    now = union(
        own.where(Person.user_name_key == key), own.where(Person.id == text), own.where(Person.employee_number == text),
        of_records.where(Record.id == text), of_records.where(ever_named(organization_id, Record.external_id, [text])),
        of_records.where(standing_named(organization_id, Record.user_name_key, [key])), by_email,
    )  # fmt: skip
    for ids in (now, of_records.where(ever_named(organization_id, Record.user_name_key, [key]))):
        people = select(Person).where(Person.organization_id == organization_id, Person.id.in_(ids)).order_by(Person.id)
        if found := list(session.scalars(people)):
            return found
    # Numbers and ids are compared as they stand; what was pasted from a table may have blanks around it.
    bare = text.strip()
    return find_people(session, organization_id, bare) if bare not in ("", text) else []
