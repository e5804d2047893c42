"""Verbs on records: what a directory says of its people. Each is called inside the door's transaction."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import new_id
from app.directory.names import name_key
from app.directory.settings import off_means, value_of
from app.directory.tables import Membership, Person, Record, RecordEmail, Source, Standing
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal import entries, work
from app.journal.tables import Subject
from app.lifecycle import brake, joins
from app.lifecycle.errors import NotFound, StaleVersion, Taken
from app.lifecycle.people import emails_of, enterprise, lock_person, new_person, settle, standing_now, text_of
from app.lifecycle.tables import HeldLine, HeldState


@dataclass(frozen=True, kw_only=True)
class RecordDraft:
    """A SCIM user as said: `document` without id, meta, groups, password and active. `active` None leaves it (on create: on).

    `number_said` is False where the employee number only stands because a PATCH did not speak of it.
    """

    external_id: str | None
    user_name: str
    active: bool | None
    document: dict[str, Any]
    number_said: bool = True


def reads_active(record: Record, standing: str) -> bool:
    """`active` as SCIM shows it: this record is on and the person is active or expected."""
    return record.active and record.ended_at is None and standing in (Standing.ACTIVE, Standing.EXPECTED)


def read_record(session: Session, organization_id: str, source_id: str, record_id: str, *, lock: bool = False) -> Record:
    """A record that stands, of this source. Raises NotFound, alike for absent ids and those of others."""
    query = select(Record).where(
        Record.organization_id == organization_id, Record.source_id == source_id, Record.id == record_id, Record.ended_at.is_(None)
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    record = session.scalar(query)
    if record is None:
        raise NotFound("User", record_id)
    return record


def add_record(
    session: Session, organization_id: str, source_id: str, draft: RecordDraft, *, actor: Actor, at: datetime, because: str
) -> Record:
    """A directory names somebody. Whoever it had switched off under this externalId comes back, also under a new userName.

    Raises Taken when the userName or externalId stands for another of its records that is on, or when another voice than
    the directory keeps the one who would come back out.
    """
    returning = _of_external_id(session, organization_id, source_id, draft.external_id, lock=True)
    if returning is not None and not returning.active and draft.active is not False:
        _refuse_outvoted(session, returning, draft, at=at)
        _end_namesake(session, organization_id, source_id, draft, actor=actor, at=at, because=because)
        on = RecordDraft(external_id=draft.external_id, user_name=draft.user_name, active=True, document=draft.document)
        return change_record(session, organization_id, source_id, returning.id, on, actor=actor, at=at, because=because)
    if returning is None:
        _end_namesake(session, organization_id, source_id, draft, actor=actor, at=at, because=because)
    _refuse_taken(session, organization_id, source_id, draft, but=None)
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
        record.off_means = off_means(session, organization_id)
    _write_draft(record, draft)
    matched = _matched(session, organization_id, record.employee_number)
    record.person_id = matched or new_id()
    session.add(record)
    person = _person_of(session, record, known=matched is not None, at=at)
    _write_emails(session, record)
    settle(session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry)
    joins.announce(session, organization_id, record.employee_number, at=at)
    return record


def change_record(
    session: Session, organization_id: str, source_id: str, record_id: str, draft: RecordDraft, *,
    expected_version: int | None = None, actor: Actor, at: datetime, because: str,
) -> Record:  # fmt: skip
    """A directory says something else of somebody: attributes, a name, on or off. Without a difference nothing is written.

    A record that is off and gets another externalId is another person's from then on. Raises NotFound, Taken,
    StaleVersion.
    """
    record = read_record(session, organization_id, source_id, record_id, lock=True)
    if expected_version is not None and record.version != expected_version:
        raise StaleVersion(f"version {expected_version} was expected, {record.version} stands")
    active = record.active if draft.active is None else draft.active
    before = {"userName": record.user_name, "externalId": record.external_id, "active": record.active, "document": record.document}
    if (draft.user_name, draft.external_id, active, draft.document) == (
        record.user_name,
        record.external_id,
        record.active,
        record.document,
    ):
        return record
    _refuse_taken(session, organization_id, source_id, draft, but=record.id)
    if _has_another_key(record, draft) and not draft.number_said:
        draft = _without_number(draft)
    if _becomes_another(session, record, draft):
        return _give_to_successor(session, record, draft, before=before, active=active, actor=actor, at=at, because=because)
    person = lock_person(session, organization_id, record.person_id)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb=_verb(record, active=active), because=because, subject_kind="record",
        subject_id=record.id, before=before, after={"userName": draft.user_name, "externalId": draft.external_id, "active": active},
    )  # fmt: skip
    went_off = record.active and not active
    number_before = record.employee_number
    with session.no_autoflush:
        _say_active(session, record, active=active, person=person, at=at)
    _write_draft(record, draft)
    record.version += 1
    record.modified_at = at
    record.journal_id = entry
    _write_emails(session, record)
    settle(session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry, epoch_moves=went_off and not record.held)
    if record.employee_number != number_before:
        joins.announce(session, organization_id, record.employee_number, at=at)
    return record


def end_record(session: Session, organization_id: str, source_id: str, record_id: str, *, actor: Actor, at: datetime, because: str) -> None:
    """A directory deletes somebody: the record, its memberships and its access end; history stays; its names are free."""
    record = read_record(session, organization_id, source_id, record_id, lock=True)
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
        _say_active(session, record, active=False, person=person, at=at)
    record.ended_at, record.modified_at, record.journal_id = at, at, entry
    record.version += 1
    _end_memberships(session, record, at=at, journal_id=entry)
    session.flush()
    settle(session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry, epoch_moves=was_on and not record.held)
    if person.standing == Standing.ACTIVE:
        # Another record keeps this person in, but not in the groups of this one.
        work.want(session, organization_id, subject=Subject.PERSON, subject_ids=[person.id], because=entry, due_at=at)


def _waits(session: Session, record: Record) -> bool:
    return session.scalar(select(HeldLine.held_id).where(*_open_lines(record))) is not None


def _open_lines(record: Record) -> tuple[ColumnElement[bool], ...]:
    return (
        HeldLine.organization_id == record.organization_id, HeldLine.subject_kind == "record", HeldLine.subject_id == record.id,
        HeldLine.state == HeldState.OPEN,
    )  # fmt: skip


def _end_memberships(session: Session, record: Record, *, at: datetime, journal_id: int) -> None:
    session.execute(
        update(Membership)
        .where(Membership.organization_id == record.organization_id, Membership.record_id == record.id, Membership.ended_at.is_(None))
        .values(ended_at=at, journal_id=journal_id)
    )


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


def _becomes_another(session: Session, record: Record, draft: RecordDraft) -> bool:
    """Whether somebody else is meant by what is said of a record that is off: another externalId, and no matching key.

    Being switched on is not waited for, or what is said of a successor before that would be said of the predecessor. An
    externalId where there was none is nobody else's.
    """
    return _has_another_key(record, draft) and _matched(session, record.organization_id, _employee_number(draft)) != record.person_id


def _has_another_key(record: Record, draft: RecordDraft) -> bool:
    return not record.active and None not in (record.external_id, draft.external_id) and record.external_id != draft.external_id


def _without_number(draft: RecordDraft) -> RecordDraft:
    """Without a number that nobody said of whoever has the new externalId: it is the predecessor's."""
    extension = {name: value for name, value in enterprise(draft.document).items() if name != "employeeNumber"}
    others = {name: value for name, value in draft.document.items() if name != ENTERPRISE_URN}
    return replace(draft, document={**others, ENTERPRISE_URN: extension} if extension else others)


def _give_to_successor(
    session: Session, record: Record, draft: RecordDraft, *, before: dict[str, Any], active: bool, actor: Actor, at: datetime, because: str
) -> Record:
    """The resource keeps its id and is another person's from now on, who inherits nothing.

    Whoever had it keeps what the directory said of them in an ended record: without one, nothing would say any more that
    they are out.
    """
    organization_id = record.organization_id
    predecessor = lock_person(session, organization_id, record.person_id)
    matched = _matched(session, organization_id, _employee_number(draft))
    person_id = matched or new_id()
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="given to a successor", because=because, subject_kind="record",
        subject_id=record.id, before={**before, "person": predecessor.id},
        after={"userName": draft.user_name, "externalId": draft.external_id, "active": active, "person": person_id},
    )  # fmt: skip
    _leave_behind(session, record, at=at, journal_id=entry)
    _end_memberships(session, record, at=at, journal_id=entry)
    with session.no_autoflush:
        record.person_id, record.active, record.active_said_at, record.held = person_id, active, at, False
        record.off_means = None if active else off_means(session, organization_id)
        _write_draft(record, draft)
        record.version += 1
        record.modified_at, record.journal_id = at, entry
        person = _person_of(session, record, known=matched is not None, at=at)
    _write_emails(session, record)
    for one in (predecessor, person):
        settle(session, one, at=at, received_at=at, actor=actor, because=because, journal_id=entry)
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=[predecessor.id], because=entry, due_at=at)
    joins.announce(session, organization_id, record.employee_number, at=at)
    return record


def _leave_behind(session: Session, record: Record, *, at: datetime, journal_id: int) -> None:
    """An ended copy for the predecessor, under an id of its own; an *off* that the brake holds stays theirs."""
    kept = Record(
        organization_id=record.organization_id, id=new_id(), source_id=record.source_id, person_id=record.person_id,
        external_id=record.external_id, user_name=record.user_name, user_name_key=record.user_name_key, display_name=record.display_name,
        employee_number=record.employee_number, active=record.active, active_said_at=record.active_said_at, off_means=record.off_means,
        held=record.held, document=record.document, version=record.version, created_at=record.created_at, modified_at=at, ended_at=at,
        journal_id=journal_id,
    )  # fmt: skip
    session.add(kept)
    session.flush()
    session.execute(
        update(HeldLine).where(*_open_lines(record)).values(subject_id=kept.id), execution_options={"synchronize_session": False}
    )


def _refuse_outvoted(session: Session, record: Record, draft: RecordDraft, *, at: datetime) -> None:
    person = lock_person(session, record.organization_id, record.person_id)
    # The directory takes its own *off* back here; what is asked is whether anybody else's is left.
    others = standing_now(session, person, [], at=at)
    if others.standing not in (Standing.ACTIVE, Standing.EXPECTED):
        raise Taken(
            "externalId", draft.external_id or "",
            f"the user with externalId {draft.external_id!r} is known and stays switched off ({others.reason}); a directory cannot give "
            "back access that somebody else took. Have the return recorded where it was taken (in the HR system, or by an operator, who "
            "alone can lift a bar), then provision this user again",
        )  # fmt: skip


def _verb(record: Record, *, active: bool) -> str:
    if record.active and not active:
        return "switched off"
    return "switched on" if active and not record.active else "changed"


def _say_active(session: Session, record: Record, *, active: bool, person: Person, at: datetime) -> None:
    """Store on or off as said. Saying again what was said is not saying it anew."""
    if active == record.active:
        return
    record.active, record.active_said_at = active, at
    if active:
        record.off_means = None
        if record.held:
            record.held = False
            brake.withdraw(session, record.organization_id, record.id)
        return
    record.off_means = off_means(session, record.organization_id)
    if person.standing in (Standing.DEPARTED, Standing.PAUSED):
        return
    if not brake.lets_through(session, record.organization_id, record.source_id, record.id, at=at):
        record.held = True
        source = session.get_one(Source, (record.organization_id, record.source_id))
        brake.hold(
            session, record.organization_id, source_id=source.id, source_name=source.name, subject_kind="record", subject_id=record.id,
            person_id=person.id, version=at.isoformat(), at=at,
        )  # fmt: skip


def _write_draft(record: Record, draft: RecordDraft) -> None:
    for name, value in columns_of(draft).items():
        setattr(record, name, value)


def columns_of(draft: RecordDraft) -> dict[str, Any]:
    """The columns of a record that its draft decides."""
    document = draft.document
    name = document.get("name") if isinstance(document.get("name"), dict) else {}
    parts = [text_of(name.get(part)) for part in ("givenName", "familyName")] if isinstance(name, dict) else []
    return {
        "external_id": draft.external_id,
        "user_name": draft.user_name,
        "user_name_key": name_key(draft.user_name),
        "display_name": text_of(document.get("displayName")) or " ".join(part for part in parts if part) or None,
        "employee_number": _employee_number(draft),
        "document": document,
    }


def _employee_number(draft: RecordDraft) -> str | None:
    return text_of(enterprise(draft.document).get("employeeNumber"))


def _write_emails(session: Session, record: Record) -> None:
    session.flush()
    wanted = {name_key(address) for address in emails_of(record.document)}
    mine = (RecordEmail.organization_id == record.organization_id, RecordEmail.record_id == record.id)
    there = set(session.scalars(select(RecordEmail.address_key).where(*mine)))
    gone = sorted(there - wanted)
    for start in range(0, len(gone), 10_000):
        session.execute(delete(RecordEmail).where(*mine, RecordEmail.address_key.in_(gone[start : start + 10_000])))
    for key in sorted(wanted - there):
        session.add(RecordEmail(organization_id=record.organization_id, record_id=record.id, address_key=key))
    session.flush()


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


def _matched(session: Session, organization_id: str, employee_number: str | None) -> str | None:
    """The person whom the organisation's matching key names: exactly one, and never by a name or an address alone."""
    if employee_number is None or value_of(session, organization_id, "matching") == "none":
        return None
    ids = session.scalars(
        select(Record.person_id).where(Record.organization_id == organization_id, Record.employee_number == employee_number).distinct()
    ).all()
    return ids[0] if len(ids) == 1 else None


def _person_of(session: Session, record: Record, *, known: bool, at: datetime) -> Person:
    """The person of a record that joins: locked where they are known, else new; `settle` stores them."""
    if known:
        return lock_person(session, record.organization_id, record.person_id)
    return new_person(session, record, at=at, journal_id=record.journal_id)
