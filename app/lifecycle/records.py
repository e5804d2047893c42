"""Verbs on records: what a directory says of its people. Each is called inside the door's transaction."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import new_id, same_document
from app.directory.finding import called
from app.directory.names import name_key
from app.directory.settings import off_means
from app.directory.tables import INSIDE, OUTSIDE, Person, Record, Standing
from app.journal import entries
from app.lifecycle import brake, joins, matching, order, questions
from app.lifecycle.barred import barred
from app.lifecycle.drafts import RecordDraft, columns_of, without_enterprise, without_number, write_draft, write_emails
from app.lifecycle.errors import NotFound, StaleVersion, Taken
from app.lifecycle.matching import Doubt, Match, One
from app.lifecycle.overtaken import say_anew
from app.lifecycle.people import emails_of, lock_person, manager_record, person_of, records_of, settle, standing_now
from app.lifecycle.successors import end_memberships, give_to_successor, has_another_key, open_lines
from app.lifecycle.tables import HeldLine
from app.statements import param

__all__ = [
    "RecordDraft", "add_record", "change_held", "change_record", "columns_of", "end_held", "end_record", "hold_meant", "read_record", "reads_active",
]  # fmt: skip


# Asked of everybody whom a directory speaks of, so they are built once.
_STANDS: Final = select(Record).where(
    Record.organization_id == param("organization"), Record.source_id == param("source"), Record.id == param("record"), Record.ended_at.is_(None)
)
_STANDS_LOCKED: Final = _STANDS.with_for_update().execution_options(populate_existing=True)


def reads_active(record: Record, standing: str) -> bool:
    """`active` as SCIM shows it: this record is on and the person is active or expected."""
    return record.active and record.ended_at is None and standing in INSIDE


def read_record(session: Session, organization_id: str, source_id: str, record_id: str, *, lock: bool = False) -> Record:
    """A record that stands, of this source. Raises NotFound, alike for absent ids and those of others."""
    given = {"organization": organization_id, "source": source_id, "record": record_id}
    record = session.scalar(_STANDS_LOCKED if lock else _STANDS, given)
    if record is None:
        raise NotFound("User", record_id)
    return record


def hold_meant(session: Session, organization_id: str, source_id: str, draft: RecordDraft) -> None:
    """Lock the records that `add_record` may mean, by externalId and by userName, each in its turn.

    Whoever pushes goes by one order: two that give each other's names away at once would else wait for each other.
    """
    if draft.external_id is None:
        return
    meant = session.scalars(
        called(Record, organization_id, source_id, name_key=name_key(draft.user_name), external_id=draft.external_id)
    ).all()
    for record_id in sorted(meant):
        session.execute(select(Record.id).where(Record.organization_id == organization_id, Record.id == record_id).with_for_update())


def add_record(
    session: Session, organization_id: str, source_id: str, draft: RecordDraft, *,
    match: Match | None = None, said_at: datetime | None = None, actor: Actor, at: datetime, because: str,
) -> Record:  # fmt: skip
    """A directory names somebody. Whoever it had switched off under this externalId comes back, also under a new userName.

    Whose the record is, `matching.whom` says, unless the caller knows (`match`). In doubt it is a person's of their own, and
    somebody is asked. `said_at` is as in `change_record`. Raises Taken when the userName or externalId
    stands for another of its records that is on, or when another voice than the directory keeps the one who would come back out.
    """
    returning = _of_external_id(session, organization_id, source_id, draft.external_id, lock=True)
    back = returning is not None and not returning.active and draft.active is not False
    if returning is not None and back and not _off_since(returning, said_at, at=at):
        _refuse_outvoted(session, returning, draft, at=at)
        _end_namesake(session, organization_id, source_id, draft, actor=actor, at=at, because=because)
        return change_record(
            session, organization_id, source_id, returning.id, replace(draft, active=True), said_at=said_at, actor=actor, at=at, because=because
        )
    if match is None:
        matching.hold(session, organization_id, [draft])
    if returning is None:
        _end_namesake(session, organization_id, source_id, draft, actor=actor, at=at, because=because)
    _refuse_taken(session, organization_id, source_id, draft, but=None)
    if match is None:
        match = _whom(session, organization_id, source_id, draft, at=at)
    record = Record(
        organization_id=organization_id, id=new_id(), source_id=source_id, person_id="", active=draft.active is not False,
        active_said_at=at, off_means=None, held=False, version=1, created_at=at, modified_at=at, journal_id=0, user_name="", user_name_key="",
        document={},
    )  # fmt: skip
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="joined", because=because, subject_kind="record", subject_id=record.id,
        after={"userName": draft.user_name, "externalId": draft.external_id, "active": record.active},
    )  # fmt: skip
    record.journal_id = entry
    if not record.active:
        record.off_means = draft.off_means or off_means(session, organization_id)
    write_draft(record, draft)
    record.person_id = match.person_id if isinstance(match, One) else new_id()
    person = person_of(session, record, known=isinstance(match, One), at=at)
    said_off_anew = False
    if isinstance(match, One):
        record.active_said_at = order.said_by_record(session, organization_id, person.id, at=at)
        if not record.active:
            said_off_anew = say_anew(session, person, records_of(session, person), record, actor=actor, at=at, because=because)
    session.add(record)
    write_emails(session, record)
    settle(
        session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry, epoch_moves=said_off_anew and not record.held,
        regrouped=isinstance(match, One),
    )  # fmt: skip
    if isinstance(match, Doubt):
        questions.ask(session, organization_id, source_id, match, record_id=record.id, actor=actor, at=at)
    joins.announce(session, organization_id, record.employee_number, at=at)
    return record


def change_record(
    session: Session, organization_id: str, source_id: str, record_id: str, draft: RecordDraft, *,
    expected_version: int | None = None, braked: bool = True, said_at: datetime | None = None, actor: Actor, at: datetime, because: str,
) -> Record:  # fmt: skip
    """A directory says something else of somebody: attributes, a name, on or off. Without a difference nothing is written.

    A record that is off and gets another externalId is another person's from then on. `braked` False is for whoever has a
    brake of their own: an *off* then takes effect at once. `said_at` is when it was said, where it waited since: an *off* that
    came in between wins over this *on*. Raises NotFound, Taken, StaleVersion.
    """
    record = read_record(session, organization_id, source_id, record_id, lock=True)
    return change_held(
        session, record, draft, expected_version=expected_version, braked=braked, said_at=said_at, actor=actor, at=at, because=because
    )  # fmt: skip


def change_held(
    session: Session, record: Record, draft: RecordDraft, *,
    expected_version: int | None = None, braked: bool = True, said_at: datetime | None = None, actor: Actor, at: datetime, because: str,
) -> Record:  # fmt: skip
    """The same of a record that `read_record` has just locked."""
    organization_id, source_id = record.organization_id, record.source_id
    if expected_version is not None and record.version != expected_version:
        raise StaleVersion(f"version {expected_version} was expected, {record.version} stands")
    active = record.active if draft.active is None else draft.active and not _off_since(record, said_at, at=at)
    before = {
        "userName": record.user_name, "externalId": record.external_id, "active": record.active, "document": record.document,
        **_dates(record, but=draft),
    }  # fmt: skip
    if (draft.user_name, draft.external_id, active, draft.starts_at, draft.ends_at) == (
        record.user_name, record.external_id, record.active, record.starts_at, record.ends_at,
    ) and same_document(draft.document, record.document) and (active or draft.off_means in (None, record.off_means)):  # fmt: skip
        return record
    if (name_key(draft.user_name), draft.external_id) != (record.user_name_key, record.external_id):
        _refuse_taken(session, organization_id, source_id, draft, but=record.id)
    if has_another_key(record, draft):
        if not draft.number_said:
            # A number that nobody said of whoever has the new externalId is the predecessor's.
            draft = without_number(draft)
        matching.hold(session, organization_id, [draft])
        match = _whom(session, organization_id, source_id, draft, given=record.id, at=at)
        if not isinstance(match, One) or match.person_id != record.person_id:
            _end_reports(session, record, actor=actor, at=at, because=because)
            return give_to_successor(session, record, draft, match, before=before, active=active, actor=actor, at=at, because=because)
    person = lock_person(session, organization_id, record.person_id)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb=_verb(record, active=active), because=because, subject_kind="record",
        subject_id=record.id, before=before,
        after={"userName": draft.user_name, "externalId": draft.external_id, "active": active, **_dates(draft, but=record)},
    )  # fmt: skip
    was_on, other_dates = record.active, bool(_dates(draft, but=record))
    number_before = record.employee_number
    with session.no_autoflush:
        _say_active(session, record, active=active, means=draft.off_means, person=person, said_at=said_at or at, at=at, braked=braked)
    addresses_before = emails_of(record.document)
    write_draft(record, draft)
    record.version += 1
    record.modified_at = max(at, record.modified_at)
    record.journal_id = entry
    if emails_of(record.document) != addresses_before:
        write_emails(session, record)
    settle(
        session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry,
        epoch_moves=was_on and not active and not record.held, regrouped=(was_on != active or other_dates) and not record.held,
    )  # fmt: skip
    if record.employee_number != number_before:
        # Whoever else has the number of before may be the only one now: what waits for it is theirs.
        numbers = {number for number in (number_before, record.employee_number) if number is not None}
        joins.announce_all(session, organization_id, sorted(numbers), at=at)
    return record


def end_record(
    session: Session, organization_id: str, source_id: str, record_id: str, *, braked: bool = True, actor: Actor, at: datetime, because: str
) -> None:
    """A directory deletes somebody: the record, its memberships and its access end; history stays; its names are free.

    `braked` False is for whoever has a brake of their own.
    """
    record = read_record(session, organization_id, source_id, record_id, lock=True)
    end_held(session, record, braked=braked, actor=actor, at=at, because=because)


def end_held(session: Session, record: Record, *, braked: bool = True, actor: Actor, at: datetime, because: str) -> None:
    """The same of a record that `read_record` has just locked."""
    organization_id = record.organization_id
    person = lock_person(session, organization_id, record.person_id)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="ended", because=because, subject_kind="record", subject_id=record.id,
        before={"userName": record.user_name, "active": record.active},
    )  # fmt: skip
    with session.no_autoflush:
        if record.held and not _waits(session, record):
            # Somebody decided that its *off* has no effect. Deleting says more than that *off* did, and is braked anew.
            record.active, record.held = True, False
        was_on = record.active
        _say_active(session, record, active=False, person=person, said_at=at, at=at, braked=braked)
    record.ended_at, record.modified_at, record.journal_id = at, at, entry
    record.version += 1
    # Of the same moment as the record, by which is known that they wait with it.
    left_groups = end_memberships(session, record, at=at, journal_id=entry)
    settle(
        session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry, epoch_moves=was_on and not record.held,
        regrouped=left_groups and not record.held,
    )  # fmt: skip
    questions.withdraw(session, organization_id, record.source_id, record_id=record.id, actor=actor, at=at, because="the user was deleted")


def _end_reports(session: Session, record: Record, *, actor: Actor, at: datetime, because: str) -> None:
    """Whoever reports to this resource reports to nobody now, until its directory says whose it is that they report to.

    It was said of whoever had the resource before: like the groups, a successor does not inherit the team.
    """
    reports = (
        select(Record)
        .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
        .where(
            Record.organization_id == record.organization_id, Record.source_id == record.source_id, Record.ended_at.is_(None),
            Record.id != record.id, Person.manager_id == record.person_id,
        )
        .order_by(Record.id)
        # What is said of them at this moment is said already, and stays.
        .with_for_update(of=Record)
    )  # fmt: skip
    for one in session.scalars(reports.execution_options(populate_existing=True)).all():
        if manager_record(one.document) != record.id:
            continue
        draft = RecordDraft(
            external_id=one.external_id, user_name=one.user_name, active=None, document=without_enterprise(one.document, "manager"),
            starts_at=one.starts_at, ends_at=one.ends_at,
        )  # fmt: skip
        reason = f"{because}: userName {record.user_name!r}, to whom they reported, is given to somebody else"
        change_record(session, one.organization_id, one.source_id, one.id, draft, actor=actor, at=at, because=reason)


def _waits(session: Session, record: Record) -> bool:
    return session.scalar(select(HeldLine.held_id).where(*open_lines(record))) is not None


def _end_namesake(
    session: Session, organization_id: str, source_id: str, draft: RecordDraft, *, actor: Actor, at: datetime, because: str
) -> None:
    """End the record that is off and has this userName under another externalId: the name is a successor's now.

    A record or a draft without an externalId says nothing of who is meant; there the name stays taken.
    """
    if draft.external_id is None:
        return
    namesake_id = session.scalar(
        select(Record.id)
        .where(
            Record.organization_id == organization_id, Record.source_id == source_id, Record.user_name_key == name_key(draft.user_name),
            Record.ended_at.is_(None), Record.active.is_(False), Record.external_id != draft.external_id,
        )
        # Locked with the condition, so that one who is switched on meanwhile is not ended.
        .with_for_update()
    )  # fmt: skip
    if namesake_id is not None:
        reason = f"{because}: userName {draft.user_name!r} was given to externalId {draft.external_id!r}"
        end_record(session, organization_id, source_id, namesake_id, actor=actor, at=at, because=reason)


def _whom(
    session: Session, organization_id: str, source_id: str, draft: RecordDraft, *, given: str | None = None, at: datetime
) -> Match:  # fmt: skip
    match = matching.whom(session, organization_id, source_id, draft, given=given)
    return match if isinstance(match, One) else barred(session, organization_id, source_id, draft, at=at) or match


def _refuse_outvoted(session: Session, record: Record, draft: RecordDraft, *, at: datetime) -> None:
    person = lock_person(session, record.organization_id, record.person_id)
    # The directory takes its own *off* back here; what is asked is whether anybody else's is left.
    others = standing_now(session, person, [], at=at)
    if others.standing not in INSIDE:
        raise Taken(
            "externalId", draft.external_id or "",
            f"the user with externalId {draft.external_id!r} is known and stays switched off ({others.reason}); a directory cannot give "
            "back access that somebody else took. Have the return recorded where it was taken (in the HR system, or by an operator, who "
            "alone can lift a bar), then provision this user again",
        )  # fmt: skip


def _off_since(record: Record, said_at: datetime | None, *, at: datetime) -> bool:
    """Whether the record was switched off since this was said. An *off* of a clock that is ahead says nothing of that."""
    return said_at is not None and not record.active and said_at < record.active_said_at <= at


def _dates(said: Record | RecordDraft, *, but: Record | RecordDraft) -> dict[str, str | None]:
    """The dates of one that the other has otherwise."""
    dates = {"startsAt": (said.starts_at, but.starts_at), "endsAt": (said.ends_at, but.ends_at)}
    return {name: None if mine is None else mine.isoformat() for name, (mine, other) in dates.items() if mine != other}


def _verb(record: Record, *, active: bool) -> str:
    if record.active and not active:
        return "switched off"
    return "switched on" if active and not record.active else "changed"


def _say_active(
    session: Session, record: Record, *, active: bool, means: Standing | None = None, person: Person, said_at: datetime, at: datetime, braked: bool
) -> None:
    """Store on or off as said. Saying again what was said is not saying it anew, but to say that *off* means something else is."""
    if active == record.active:
        if not active and means not in (None, record.off_means):
            record.off_means, record.active_said_at = means, order.said_by_record(session, record.organization_id, person.id, at=said_at)
        return
    said_at = order.said_by_record(session, record.organization_id, person.id, at=said_at)
    record.active, record.active_said_at = active, said_at
    if active:
        record.off_means = None
        if record.held:
            record.held = False
            brake.withdraw(session, record.organization_id, record.id)
        return
    record.off_means = means or off_means(session, record.organization_id)
    if not braked or person.standing in OUTSIDE:
        return
    if not brake.lets_through(session, record.organization_id, record.source_id, record.id, at=at):
        record.held = True
        brake.hold(
            session, record.organization_id, source_id=record.source_id, subject_kind="record", subject_id=record.id, person_id=person.id,
            version=said_at.isoformat(), at=at,
        )  # fmt: skip


def _of_external_id(
    session: Session, organization_id: str, source_id: str, external_id: str | None, *, lock: bool = False
) -> Record | None:
    if external_id is None:
        return None
    query = select(Record).where(
        Record.organization_id == organization_id,
        Record.source_id == source_id,
        Record.external_id == external_id,
        Record.ended_at.is_(None),
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)


def _refuse_taken(session: Session, organization_id: str, source_id: str, draft: RecordDraft, *, but: str | None) -> None:
    same_name = session.scalar(
        select(Record.id).where(
            Record.organization_id == organization_id, Record.source_id == source_id, Record.user_name_key == name_key(draft.user_name),
            Record.ended_at.is_(None),
        )
    )  # fmt: skip
    if same_name is not None and same_name != but:
        raise Taken("userName", draft.user_name, f"userName {draft.user_name!r} belongs to another user of this directory")
    same_id = _of_external_id(session, organization_id, source_id, draft.external_id)
    if same_id is not None and same_id.id != but:
        raise Taken("externalId", draft.external_id or "", f"externalId {draft.external_id!r} belongs to another user of this directory")
