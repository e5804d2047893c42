"""What a mover is told: the change, what was different by it, and each channel that they left or joined because of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.known_workspaces import Known, known_workspaces
from app.directory.tables import Person, Record
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Entry
from app.rules.move_tables import Move, MoveLine, Step

TOLD: Final = ("userType", "title", "department", "division", "organization", "costCenter", "manager")
"""Attributes by which channels are made up, and that are no secret to whoever works there."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One attribute, before and after."""

    attribute: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class MoveTold:
    """One move with the entry of what caused it, where that is known, and its lines, each with its workspace."""

    move: Move
    entry: Entry | None
    changed: Sequence[Changed]
    lines: Sequence[tuple[MoveLine, Known]]


def moves_of(session: Session, organization_id: str, person_id: str) -> list[MoveTold]:
    """Every move of somebody, the latest first; what they joined comes before what they left. Only reads."""
    moves = session.scalars(
        select(Move).where(Move.organization_id == organization_id, Move.person_id == person_id).order_by(Move.at.desc(), Move.id.desc())
    ).all()
    workspaces = known_workspaces(session, organization_id)
    # By their moves, for which there is an index: that of people knows only of what is still open.
    mine = MoveLine.organization_id == organization_id, MoveLine.move_id.in_([move.id for move in moves])
    found = session.scalars(select(MoveLine).where(*mine).order_by(MoveLine.step, MoveLine.name)) if moves else ()
    rows = [(line, workspaces.get(line.workspace_id) or Known(name=line.workspace_id, kind="")) for line in found]
    lines: dict[str, list[tuple[MoveLine, Known]]] = {}
    for line, workspace in sorted(rows, key=lambda row: row[1].name):
        lines.setdefault(line.move_id, []).append((line, workspace))
    told = []
    for move in moves:
        entry = session.get(Entry, move.journal_id) if move.journal_id is not None else None
        told.append(MoveTold(move=move, entry=entry, changed=tuple(_changed(session, entry)), lines=lines.get(move.id, [])))
    return told


def _changed(session: Session, entry: Entry | None) -> Iterator[Changed]:
    """What was different after the entry: what stood there before it, and before the next one, or now."""
    before = _document(entry)
    if entry is None or before is None:
        return
    later = select(Entry).where(
        Entry.organization_id == entry.organization_id, Entry.subject_id == entry.subject_id, Entry.subject_kind == "record", Entry.id > entry.id
    )
    after = next((found for one in session.scalars(later.order_by(Entry.id).limit(20)) if (found := _document(one)) is not None), None)
    if after is None:
        record = session.scalar(select(Record).where(Record.organization_id == entry.organization_id, Record.id == entry.subject_id))
        after = record.document if record is not None else {}
    for attribute in TOLD:
        was, is_now = (_value(session, entry.organization_id, document, attribute) for document in (before, after))
        if was != is_now:
            yield Changed(attribute=attribute, before=was, after=is_now)


def _document(entry: Entry | None) -> Mapping[str, Any] | None:
    document = (entry.before or {}).get("document") if entry is not None and entry.subject_kind == "record" else None
    return document if isinstance(document, dict) else None


def _value(session: Session, organization_id: str, document: Mapping[str, Any], attribute: str) -> str | None:
    extension = document.get(ENTERPRISE_URN)
    value = document.get(attribute) if attribute in document else extension.get(attribute) if isinstance(extension, dict) else None
    if attribute == "manager":
        named = value.get("value") if isinstance(value, dict) else value
        return _name_of(session, organization_id, named) if isinstance(named, str) else None
    return value if isinstance(value, str) else None


def _name_of(session: Session, organization_id: str, record_id: str) -> str:
    found = session.scalar(
        select(Person.user_name)
        .join(Record, (Record.organization_id == Person.organization_id) & (Record.person_id == Person.id))
        .where(Record.organization_id == organization_id, Record.id == record_id)
    )
    return found or record_id


def steps(lines: Sequence[tuple[MoveLine, Known]], step: Step) -> list[tuple[MoveLine, Known]]:
    """Those lines that are such a step, without what was called off again."""
    return [(line, workspace) for line, workspace in lines if line.step == step and line.withdrawn_at is None]
