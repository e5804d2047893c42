"""A resource that a directory gives to somebody else: whoever has it next inherits nothing from whoever had it before."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, insert, literal, select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import Instant, Number, new_id
from app.directory.settings import off_means
from app.directory.tables import Membership, Record
from app.journal import entries, work
from app.journal.tables import Subject
from app.lifecycle import joins, order, questions
from app.lifecycle.drafts import RecordDraft, write_draft, write_emails
from app.lifecycle.matching import Doubt, Match, One
from app.lifecycle.people import lock_meant, person_of, settle
from app.lifecycle.tables import HeldLine, HeldState
from app.statements import param

# Written for everybody who is deleted, so it is built once. Nobody reads memberships as objects, so none has to be told.
_MEMBERSHIPS_ENDED: Final = (
    update(Membership)
    .where(Membership.organization_id == param("organization"), Membership.record_id == param("record"), Membership.ended_at.is_(None))
    .values(ended_at=param("at", Instant()), journal_id=param("entry", Number))
    .execution_options(synchronize_session=False)
)


def has_another_key(record: Record, draft: RecordDraft) -> bool:
    """Whether a record that is off gets another externalId, so that somebody else may be meant by it.

    Being switched on is not waited for, or what is said of a successor before that would be said of the predecessor. An
    externalId where there was none is nobody else's.
    """
    return not record.active and None not in (record.external_id, draft.external_id) and record.external_id != draft.external_id


def give_to_successor(
    session: Session, record: Record, draft: RecordDraft, match: Match, *, before: dict[str, Any], active: bool, actor: Actor, at: datetime,
    because: str,
) -> Record:  # fmt: skip
    """The resource keeps its id and is another person's from now on, who inherits nothing.

    Whoever had it keeps what the directory said of them in an ended record: without one, nothing would say any more that
    they are out.
    """
    organization_id = record.organization_id
    known = isinstance(match, One)
    person_id = match.person_id if isinstance(match, One) else new_id()
    # In one order, whoever follows whom: two such requests at once would else wait for each other.
    people = {one: lock_meant(session, organization_id, one) for one in sorted({record.person_id, person_id} if known else {record.person_id})}
    predecessor = people[record.person_id]
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="given to a successor", because=because, subject_kind="record",
        subject_id=record.id, before={**before, "person": predecessor.id},
        after={"userName": draft.user_name, "externalId": draft.external_id, "active": active, "person": person_id},
    )  # fmt: skip
    kept = _leave_behind(session, record, at=at, journal_id=entry)
    if kept.held:
        _leave_groups_behind(session, record, kept)
    end_memberships(session, record, at=at, journal_id=entry)
    with session.no_autoflush:
        record.person_id, record.active, record.held = person_id, active, False
        record.off_means = None if active else off_means(session, organization_id)
        write_draft(record, draft)
        record.version += 1
        record.modified_at, record.journal_id = max(at, record.modified_at), entry
        person = person_of(session, record, known=known, at=at)
        record.active_said_at = order.said_by_record(session, organization_id, person_id, at=at) if known else at
    write_emails(session, record)
    for one in (predecessor, person):
        settle(session, one, at=at, received_at=at, actor=actor, because=because, journal_id=entry)
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=[predecessor.id], because=entry, due_at=at)
    questions.withdraw(session, organization_id, record.source_id, record_id=record.id, actor=actor, at=at, because="somebody else has the user now")
    if isinstance(match, Doubt):
        questions.ask(session, organization_id, record.source_id, match, record_id=record.id, actor=actor, at=at)
    joins.announce(session, organization_id, record.employee_number, at=at)
    return record


def _leave_behind(session: Session, record: Record, *, at: datetime, journal_id: int) -> Record:
    """An ended copy for the predecessor, under an id of its own; an *off* that the brake holds stays theirs."""
    kept = Record(
        organization_id=record.organization_id, id=new_id(), source_id=record.source_id, person_id=record.person_id,
        external_id=record.external_id, user_name=record.user_name, user_name_key=record.user_name_key, display_name=record.display_name,
        employee_number=record.employee_number, active=record.active, active_said_at=record.active_said_at, off_means=record.off_means,
        held=record.held, starts_at=record.starts_at, ends_at=record.ends_at, document=record.document, version=record.version,
        created_at=record.created_at, modified_at=at, ended_at=at, journal_id=journal_id,
    )  # fmt: skip
    session.add(kept)
    # By their addresses they are still known: to an HR system that names them, and to whoever comes with one of these.
    write_emails(session, kept)
    session.execute(
        update(HeldLine).where(*open_lines(record)).values(subject_id=kept.id), execution_options={"synchronize_session": False}
    )
    return kept


def _leave_groups_behind(session: Session, record: Record, kept: Record) -> None:
    """What is held keeps its groups: ended with the copy, and counting for as long as its end does not."""
    theirs = select(
        Membership.organization_id, Membership.group_id, literal(kept.id), literal(kept.ended_at, Instant), literal(kept.journal_id)
    ).where(Membership.organization_id == record.organization_id, Membership.record_id == record.id, Membership.ended_at.is_(None))
    session.execute(insert(Membership).from_select(["organization_id", "group_id", "record_id", "ended_at", "journal_id"], theirs))


def open_lines(record: Record) -> tuple[ColumnElement[bool], ...]:
    """What the brake holds of this record and nobody has decided."""
    return (
        HeldLine.organization_id == record.organization_id, HeldLine.subject_kind == "record", HeldLine.subject_id == record.id,
        HeldLine.state == HeldState.OPEN,
    )  # fmt: skip


def end_memberships(session: Session, record: Record, *, at: datetime, journal_id: int) -> bool:
    """The record is in no group any more. Returns whether it was in any."""
    given = {"organization": record.organization_id, "record": record.id, "at": at, "entry": journal_id}
    ended = session.execute(_MEMBERSHIPS_ENDED, given)
    return bool(ended.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class
