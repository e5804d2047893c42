"""Putting back what a run took: each thing only where nothing has changed it since, and so that the next pull does not take it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.finding import called
from app.directory.settings import off_means
from app.directory.tables import Group, Membership, Record, Source
from app.journal import entries, work
from app.journal.tables import Entry, Subject
from app.lifecycle import joins, pulled_entries, runs
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.errors import LifecycleError
from app.lifecycle.groups import change_group
from app.lifecycle.people import lock_person, settle
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import RunKind, RunLine, RunState, Took
from app.lifecycle.records import change_record

_AT_ONCE: Final = 500


class NotUndoable(LifecycleError):
    """There is nothing of this run to put back."""


@dataclass(frozen=True, kw_only=True)
class Undone:
    """`people` were given something back, by `lines` of the run; `moved_on` says of each that was left alone why."""

    run: int
    of_run: int
    lines: int
    people: tuple[str, ...]
    moved_on: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Undoing:
    source: Source
    run: int
    of_run: int
    actor: Actor
    at: datetime

    @property
    def organization_id(self) -> str:
        return self.source.organization_id

    @property
    def because(self) -> str:
        return f"undo of run {self.of_run}"


def undo(session: Session, organization_id: str, number: int, *, actor: Actor, at: datetime) -> Undone:
    """Put back what run `number` took. What was changed since is left alone and listed. Raises NotFound, NotUndoable.

    What is put back stays for as long as the source says the same of it as it did then.
    """
    run = runs.find(session, organization_id, number, lock=True)
    lines = [line for line in runs.lines_of(session, organization_id, number) if line.undone_by is None]
    _refuse(run.kind, run.state, number, lines)
    source = session.get_one(Source, (organization_id, run.source_id))
    mine = runs.begin(session, organization_id, kind=RunKind.UNDO, source_id=source.id, actor=actor, at=at, of_run=number)
    undoing = _Undoing(source=source, run=mine.number, of_run=number, actor=actor, at=at)
    moved_on: list[str] = []
    back: list[RunLine] = []
    # The last first: what fell with something else stands again after it.
    for _, some in groupby(reversed(lines), key=lambda line: (line.took, line.group_id, line.journal_id)):
        together = list(some)
        left_alone = _put_back(session, undoing, together)
        moved_on += left_alone.values()
        back += [line for line in together if line.subject_id not in left_alone]
    for line in back:
        line.undone_by = mine.number
    run.state = RunState.UNDONE
    mine.joined = len({line.person_id for line in back if line.person_id is not None})
    runs.finish(mine, state=RunState.DONE, at=at, notes=moved_on)
    session.flush()
    people = sorted({line.person_id for line in back if line.person_id is not None})
    return Undone(run=mine.number, of_run=number, lines=len(back), people=tuple(people), moved_on=tuple(moved_on))


def _refuse(kind: str, state: str, number: int, lines: Sequence[RunLine]) -> None:
    if state == RunState.UNDONE:
        raise NotUndoable(f"run {number} was undone already")
    if kind == RunKind.UNDO:
        raise NotUndoable(f"run {number} put something back itself; what it gave is taken by a pull, or by 'depart'")
    if state == RunState.RUNNING:
        raise NotUndoable(f"run {number} is not over yet")
    if not lines:
        raise NotUndoable(f"run {number} took nothing")


def _put_back(session: Session, undoing: _Undoing, lines: Sequence[RunLine]) -> dict[str, str]:
    """Lines of one act. Returns why some were left alone, by their subject."""
    first = lines[0]
    match Took(first.took):
        case Took.OUT:
            return _members_in(session, undoing, first.group_id or "", lines)
        case Took.GROUP_GONE:
            why = _group_again(session, undoing, first)
        case Took.GONE:
            why = _record_again(session, undoing, first)
        case Took.OFF:
            why = _on_again(session, undoing, first)
        case Took.ENDS:
            why = _without_end(session, undoing, first)
    return {} if why is None else {first.subject_id: why}


def _record(session: Session, undoing: _Undoing, record_id: str) -> Record:
    return session.scalars(
        select(Record)
        .where(Record.organization_id == undoing.organization_id, Record.id == record_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def _on_again(session: Session, undoing: _Undoing, line: RunLine) -> str | None:
    record = _record(session, undoing, line.subject_id)
    if record.ended_at is not None or record.journal_id != line.journal_id:
        return f"{record.user_name} has changed since"
    # Where a date took them off, it is the date that does not count: the one before does again.
    before = _before(session, line.journal_id) or {}
    starts_at, ends_at = _former(before, "startsAt", record.starts_at), _former(before, "endsAt", record.ends_at)
    if ends_at is not None and ends_at <= undoing.at:
        return _ended_as_well(record)
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=True, document=record.document, starts_at=starts_at, ends_at=ends_at
    )
    change_record(
        session, undoing.organization_id, undoing.source.id, record.id, draft, actor=undoing.actor, at=undoing.at, because=undoing.because
    )
    entry = pulled_entries.of_subject(session, undoing.organization_id, undoing.source.id, record.id, kind=EntryKind.PERSON)
    if entry is not None:
        entry.kept = undoing.because
    return None


def _without_end(session: Session, undoing: _Undoing, line: RunLine) -> str | None:
    """As long as before, also where the end has come meanwhile: on that day the record is written anew, and nobody has changed it."""
    record = _record(session, undoing, line.subject_id)
    changes = select(Entry.id).where(
        Entry.organization_id == record.organization_id, Entry.subject_id == record.id, Entry.id > line.journal_id
    )  # fmt: skip
    before, ends_at = _before(session, line.journal_id), record.ends_at
    if record.ended_at is not None or record.person_id != line.person_id or session.scalar(changes.limit(1)) is not None or not before or ends_at is None:
        return f"{record.user_name} has changed since"
    until = _former(before, "endsAt", None)
    if until is not None and until <= undoing.at:
        return _ended_as_well(record)
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=None, document=record.document, starts_at=record.starts_at,
        ends_at=until,
    )  # fmt: skip
    change_record(
        session, undoing.organization_id, undoing.source.id, record.id, draft, actor=undoing.actor, at=undoing.at, because=undoing.because
    )
    entry = pulled_entries.of_subject(session, undoing.organization_id, undoing.source.id, record.id, kind=EntryKind.PERSON)
    if entry is not None:
        pulled_entries.keep_without_end(session, entry, ends_at)
    return None


def _record_again(session: Session, undoing: _Undoing, line: RunLine) -> str | None:
    record = _record(session, undoing, line.subject_id)
    entry = pulled_entries.of_subject(session, undoing.organization_id, undoing.source.id, record.id, kind=EntryKind.GONE_PERSON)
    if record.ended_at is None or record.journal_id != line.journal_id or entry is None:
        return f"{record.user_name} has changed since"
    taken = called(Record, record.organization_id, record.source_id, name_key=record.user_name_key, external_id=record.external_id)
    if session.scalar(taken.limit(1)) is not None:
        return f"the userName or externalId of {record.user_name} belongs to somebody else by now"
    was_on = bool((_before(session, line.journal_id) or {}).get("active"))
    person = lock_person(session, record.organization_id, record.person_id)
    number = entries.write(
        session, record.organization_id, at=undoing.at, actor=undoing.actor, verb="put back", because=undoing.because, subject_kind="record",
        subject_id=record.id, after={"userName": record.user_name, "active": was_on},
    )  # fmt: skip
    with session.no_autoflush:
        record.ended_at, record.modified_at, record.journal_id = None, undoing.at, number
        record.version += 1
        if record.active != was_on:
            record.active, record.active_said_at = was_on, undoing.at
            record.off_means = None if was_on else off_means(session, record.organization_id)
    session.flush()
    groups = {group_id for _, group_id in _memberships_again(session, undoing, Membership.record_id == record.id, taken_by=line.journal_id, journal_id=number)}
    for group_id in sorted(groups):
        # A group cannot name an entry that is not there, and directories strike it from their lists: that says nothing new.
        _keep_member(session, undoing, group_id, record.id)
    settle(session, person, at=undoing.at, received_at=undoing.at, actor=undoing.actor, because=undoing.because, journal_id=number)
    work.want(session, record.organization_id, subject=Subject.PERSON, subject_ids=[person.id], because=number, due_at=undoing.at)
    joins.announce(session, record.organization_id, record.employee_number, at=undoing.at)
    _keep_though_missing(session, undoing, entry.key, kind=EntryKind.GONE_PERSON)
    return None


def _group_again(session: Session, undoing: _Undoing, line: RunLine) -> str | None:
    group = session.scalars(
        select(Group)
        .where(Group.organization_id == undoing.organization_id, Group.id == line.subject_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    entry = pulled_entries.of_subject(session, undoing.organization_id, undoing.source.id, group.id, kind=EntryKind.GONE_GROUP)
    if group.ended_at is None or group.journal_id != line.journal_id or entry is None:
        return f"group {group.display_name} has changed since"
    taken = called(Group, group.organization_id, group.source_id, name_key=group.display_name_key, external_id=group.external_id)
    if session.scalar(taken.limit(1)) is not None:
        return f"the name or externalId of group {group.display_name} belongs to another by now"
    number = entries.write(
        session, group.organization_id, at=undoing.at, actor=undoing.actor, verb="group put back", because=undoing.because,
        subject_kind="group", subject_id=group.id, after={"displayName": group.display_name},
    )  # fmt: skip
    group.ended_at, group.modified_at, group.journal_id = None, undoing.at, number
    group.version += 1
    session.flush()
    _memberships_again(session, undoing, Membership.group_id == group.id, taken_by=line.journal_id, journal_id=number)
    work.want(session, group.organization_id, subject=Subject.GROUP, subject_ids=[group.id], because=number, due_at=undoing.at)
    _keep_though_missing(session, undoing, entry.key, kind=EntryKind.GONE_GROUP)
    return None


def _memberships_again(session: Session, undoing: _Undoing, of: Any, *, taken_by: int, journal_id: int) -> set[tuple[str, str]]:
    """The memberships that fell by this entry, where both the record and the group stand. Returns them, by both ids."""
    mine = (Membership.organization_id == undoing.organization_id, of, Membership.journal_id == taken_by, Membership.ended_at.is_not(None))
    stand = (
        select(Membership.record_id, Membership.group_id, Record.person_id)
        .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
        .join(Group, (Group.organization_id == Membership.organization_id) & (Group.id == Membership.group_id))
        .where(*mine, Record.ended_at.is_(None), Group.ended_at.is_(None))
    )
    people: set[str] = set()
    back: set[tuple[str, str]] = set()
    for record_id, group_id, person_id in session.execute(stand).all():
        session.execute(
            update(Membership).where(*mine, Membership.record_id == record_id, Membership.group_id == group_id)
            .values(ended_at=None, journal_id=journal_id),
            execution_options={"synchronize_session": False},
        )  # fmt: skip
        people.add(person_id)
        back.add((record_id, group_id))
    work.want(session, undoing.organization_id, subject=Subject.PERSON, subject_ids=people, because=journal_id, due_at=undoing.at)
    return back


def _keep_member(session: Session, undoing: _Undoing, group_id: str, record_id: str) -> None:
    """In the group, for as long as the source does not have them in it. Whether it has them is seen by the next listing of it."""
    pulled_entries.keep_members(session, undoing.organization_id, undoing.source.id, group_id, [record_id], why=undoing.because)
    entry = pulled_entries.of_subject(session, undoing.organization_id, undoing.source.id, group_id, kind=EntryKind.GROUP)
    if entry is not None:
        entry.digest = None


def _members_in(session: Session, undoing: _Undoing, group_id: str, lines: Sequence[RunLine]) -> dict[str, str]:
    group = session.scalars(select(Group).where(Group.organization_id == undoing.organization_id, Group.id == group_id).with_for_update()).one()
    names = _names(session, undoing.organization_id, [line.subject_id for line in lines])
    back = _still_out(session, undoing, group_id, lines) if group.ended_at is None else set()
    if back:
        change_group(
            session, undoing.organization_id, undoing.source.id, group_id, add=back, actor=undoing.actor, at=undoing.at, because=undoing.because
        )
        pulled_entries.keep_members(session, undoing.organization_id, undoing.source.id, group_id, back, why=undoing.because)
    return {one: f"whether {name} is in {group.display_name} has changed since" for one, name in names.items() if one not in back}


def _still_out(session: Session, undoing: _Undoing, group_id: str, lines: Sequence[RunLine]) -> set[str]:
    """The records that stand, and are out of the group by that very entry."""
    found: set[str] = set()
    for start in range(0, len(lines), _AT_ONCE):
        ids = [line.subject_id for line in lines[start : start + _AT_ONCE]]
        found.update(
            session.scalars(
                select(Record.id)
                .join(Membership, (Membership.organization_id == Record.organization_id) & (Membership.record_id == Record.id))
                .where(
                    Record.organization_id == undoing.organization_id, Record.ended_at.is_(None), Membership.group_id == group_id,
                    Membership.ended_at.is_not(None), Membership.journal_id == lines[0].journal_id, Record.id.in_(ids),
                )
            )
        )  # fmt: skip
    return found


def _names(session: Session, organization_id: str, ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(ids), _AT_ONCE):
        query = select(Record.id, Record.user_name).where(Record.organization_id == organization_id, Record.id.in_(ids[start : start + _AT_ONCE]))
        found.update({record_id: name for record_id, name in session.execute(query)})
    return found


def _keep_though_missing(session: Session, undoing: _Undoing, key: str, *, kind: EntryKind) -> None:
    """The entry counts as one that is there, and that was not there when last asked; that it is missing changes nothing any more."""
    gone = pulled_entries.by_key(session, undoing.organization_id, undoing.source.id, [key], kinds=[kind])[key]
    pulled_entries.is_there_again(session, gone)
    alive = next(one for one, went in pulled_entries.WENT.items() if went is kind)
    entry = pulled_entries.by_key(session, undoing.organization_id, undoing.source.id, [key], kinds=[alive])[key]
    entry.missing_since, entry.kept = undoing.at, undoing.because
    session.flush()


def _ended_as_well(record: Record) -> str:
    return f"what {record.user_name} had until then has ended as well"


def _former(before: Mapping[str, Any], name: str, present: datetime | None) -> datetime | None:
    """A date as it was before an entry, which has those alone that it changed."""
    said = before.get(name, present)
    return datetime.fromisoformat(said) if isinstance(said, str) else said


def _before(session: Session, journal_id: int) -> dict[str, Any] | None:
    return session.scalar(select(Entry.before).where(Entry.id == journal_id))
