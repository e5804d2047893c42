"""Who reports to whom: managers who were not known when somebody joined are named once they are, and circles are told."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.directory.tables import Person, Record, Source
from app.directory.vocabulary import ENTERPRISE_URN, USER_URN
from app.intake.pull_here import batches
from app.intake.pull_parts import ONE_BY_ONE, Part, Pull
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.people import enterprise
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry
from app.lifecycle.records import change_record

HIGHEST: Final = 100
"""No company has so many ranks; a chain that is longer is not followed further."""


def records_of_keys(session: Session, source: Source, keys: Collection[str]) -> dict[str, str]:
    """The records that stand, by the source's keys."""
    found: dict[str, str] = {}
    for some in batches(sorted(keys)):
        query = (
            select(PulledEntry.key, PulledEntry.subject_id)
            .join(Record, (Record.organization_id == PulledEntry.organization_id) & (Record.id == PulledEntry.subject_id))
            .where(
                PulledEntry.organization_id == source.organization_id, PulledEntry.source_id == source.id, PulledEntry.kind == EntryKind.PERSON,
                PulledEntry.key.in_(some), Record.ended_at.is_(None),
            )
        )  # fmt: skip
        found.update({key: record_id for key, record_id in session.execute(query) if record_id is not None})
    return found


def name_managers(pull: Pull) -> None:
    """Whoever waits for a manager who is known by now reports to them."""
    after = ""
    while keys := pull.write(lambda part, after=after: _some_who_wait(part, after)):  # type: ignore[misc]  # defaults bind the loop's values
        for some in batches(keys, ONE_BY_ONE):
            pull.write(lambda part, some=some: _name(part, some))  # type: ignore[misc]  # defaults bind the loop's values
        after = keys[-1]


def _some_who_wait(part: Part, after: str) -> list[str]:
    boss, record = aliased(PulledEntry), aliased(Record)
    organization_id, source_id = part.where
    query = (
        select(PulledEntry.key)
        .join(
            boss,
            (boss.organization_id == PulledEntry.organization_id) & (boss.source_id == PulledEntry.source_id)
            & (boss.kind == EntryKind.PERSON) & (boss.key == PulledEntry.manager_key),
        )
        .join(record, (record.organization_id == boss.organization_id) & (record.id == boss.subject_id))
        .where(
            PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == EntryKind.PERSON,
            PulledEntry.subject_id.is_not(None), PulledEntry.manager_key.is_not(None), PulledEntry.key > after, record.ended_at.is_(None),
        )
        .order_by(PulledEntry.key)
        .limit(500)
    )  # fmt: skip
    return list(part.session.scalars(query))


def _name(part: Part, keys: list[str]) -> None:
    waiting = [entry for key in keys if (entry := part.entry(key)) is not None]
    managers = records_of_keys(part.session, part.source, {entry.manager_key for entry in waiting if entry.manager_key is not None})
    for entry in waiting:
        manager = managers.get(entry.manager_key or "")
        if manager is None or entry.subject_id is None:
            continue
        record = part.record(entry.subject_id)
        if record.ended_at is None:
            document = {**record.document, ENTERPRISE_URN: {**enterprise(record.document), "manager": {"value": manager}}}
            core, *extensions = document.get("schemas") or (USER_URN,)
            document["schemas"] = [core, *sorted({*extensions, ENTERPRISE_URN})]
            draft = RecordDraft(
                external_id=record.external_id, user_name=record.user_name, active=None, document=document, starts_at=record.starts_at,
                ends_at=record.ends_at,
            )  # fmt: skip
            change_record(part.session, *part.where, record.id, draft, braked=False, **part.saying)
            if (circle := circle_of(part.session, record)) is not None and circle not in part.count.notes:
                part.count.notes.append(circle)
        entry.manager_key = None


def circle_of(session: Session, record: Record) -> str | None:
    """A sentence where this one reports, over however many, to themselves; the same whoever of them is asked about."""
    names: dict[str, str] = {}
    person_id: str | None = record.person_id
    for _ in range(HIGHEST):
        if person_id is None:
            return None
        if person_id in names:
            return None if person_id != record.person_id else f"{', '.join(sorted(names.values()))}: they report to each other in a circle"
        row = session.execute(
            select(Person.user_name, Person.manager_id).where(Person.organization_id == record.organization_id, Person.id == person_id)
        ).first()
        if row is None:
            return None
        names[person_id], person_id = row.user_name, row.manager_id
    return None
