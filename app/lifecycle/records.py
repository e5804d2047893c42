"""Verbs on records: what a directory says of its people. Each is called inside the door's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import new_id
from app.directory.names import name_key
from app.directory.settings import off_means, value_of
from app.directory.tables import Membership, Person, Record, RecordEmail, Source, Standing
from app.journal import entries
from app.lifecycle import brake, joins
from app.lifecycle.errors import NotFound, StaleVersion, Taken
from app.lifecycle.people import emails_of, enterprise, lock_person, new_person, settle, text_of


@dataclass(frozen=True, kw_only=True)
class RecordDraft:
    """A SCIM user as said: `document` without id, meta, groups, password and active. `active` None leaves it (on create: on)."""

    external_id: str | None
    user_name: str
    active: bool | None
    document: dict[str, Any]


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
    """A directory names somebody. Raises Taken when the userName or externalId stands for another of its records."""
    returning = _of_external_id(session, organization_id, source_id, draft.external_id)
    if (
        returning is not None
        and not returning.active
        and draft.active is not False
        and returning.user_name_key == name_key(draft.user_name)
    ):
        on = RecordDraft(external_id=draft.external_id, user_name=draft.user_name, active=True, document=draft.document)
        return change_record(session, organization_id, source_id, returning.id, on, actor=actor, at=at, because=because)
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
    person = _match(session, record)
    if person is None:
        record.person_id = new_id()
        person = new_person(session, record, at=at, journal_id=entry)
    else:
        record.person_id = person.id
    session.add(record)
    _write_emails(session, record)
    settle(session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry)
    joins.announce(session, organization_id, record.employee_number, at=at)
    return record


def change_record(
    session: Session, organization_id: str, source_id: str, record_id: str, draft: RecordDraft, *,
    expected_version: int | None = None, actor: Actor, at: datetime, because: str,
) -> Record:  # fmt: skip
    """A directory says something else of somebody: attributes, a name, on or off. Without a difference nothing is written.

    Raises NotFound, Taken, StaleVersion.
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
    was_on = record.active
    with session.no_autoflush:
        _say_active(session, record, active=False, person=person, at=at)
    record.ended_at, record.modified_at, record.journal_id = at, at, entry
    record.version += 1
    session.execute(
        update(Membership)
        .where(Membership.organization_id == organization_id, Membership.record_id == record.id, Membership.ended_at.is_(None))
        .values(ended_at=at, journal_id=entry)
    )
    session.flush()
    settle(session, person, at=at, received_at=at, actor=actor, because=because, journal_id=entry, epoch_moves=was_on and not record.held)


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
    document = draft.document
    name = document.get("name") if isinstance(document.get("name"), dict) else {}
    parts = [text_of(name.get(part)) for part in ("givenName", "familyName")] if isinstance(name, dict) else []
    record.external_id = draft.external_id
    record.user_name = draft.user_name
    record.user_name_key = name_key(draft.user_name)
    record.display_name = text_of(document.get("displayName")) or " ".join(part for part in parts if part) or None
    record.employee_number = text_of(enterprise(document).get("employeeNumber"))
    record.document = document


def _write_emails(session: Session, record: Record) -> None:
    session.flush()
    wanted = {name_key(address) for address in emails_of(record.document)}
    mine = (RecordEmail.organization_id == record.organization_id, RecordEmail.record_id == record.id)
    there = set(session.scalars(select(RecordEmail.address_key).where(*mine)))
    if there - wanted:
        session.execute(delete(RecordEmail).where(*mine, RecordEmail.address_key.in_(there - wanted)))
    for key in sorted(wanted - there):
        session.add(RecordEmail(organization_id=record.organization_id, record_id=record.id, address_key=key))
    session.flush()


def _of_external_id(session: Session, organization_id: str, source_id: str, external_id: str | None) -> Record | None:
    if external_id is None:
        return None
    return session.scalar(
        select(Record).where(
            Record.organization_id == organization_id, Record.source_id == source_id, Record.external_id == external_id, Record.ended_at.is_(None)
        )
    )  # fmt: skip


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


def _match(session: Session, record: Record) -> Person | None:
    """The person whom the organisation's matching key names: exactly one, and never by a name or an address alone."""
    if value_of(session, record.organization_id, "matching") == "none" or record.employee_number is None:
        return None
    ids = session.scalars(
        select(Record.person_id)
        .where(Record.organization_id == record.organization_id, Record.employee_number == record.employee_number)
        .distinct()
    ).all()
    if len(ids) != 1:
        return None
    return lock_person(session, record.organization_id, ids[0])
