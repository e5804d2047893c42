"""Giving a source up: it can say nothing more, what it said ends, and its name is free. Nobody may lose access by it.

A directory's users and groups end some at a time, as if it had deleted them; whoever is on elsewhere stays in. Where somebody would not,
what is still to be ended is left as it is, and said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.actors import CLOCK, Actor
from app.directory.heard import is_on, present
from app.directory.tables import Group, Person, Record, Source, Standing
from app.journal import entries
from app.lifecycle import brake, questions, sources
from app.lifecycle.errors import NAMED, StillOwed, named
from app.lifecycle.groups import end_group
from app.lifecycle.overtaken import let_count
from app.lifecycle.people import lock_person, settle
from app.lifecycle.pulled_tables import AwaitedMember, PulledEntry, Question, QuestionState, SourceState
from app.lifecycle.records import end_record
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import settle_alarm

AT_ONCE: Final = 25
"""Users or groups that one transaction ends: all others who write wait for it."""
_QUIET: Final = {"synchronize_session": False}


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is still to be ended."""

    users: int
    groups: int


def close(session: Session, source: Source, *, actor: Actor, at: datetime) -> Left:
    """Let it say nothing more; a pull that is under way writes nothing. Raises StillOwed where people have access on its word alone, or what it said waits to be decided."""
    _refuse_undecided(session, source)
    resting = session.scalars(_resting_on(source).limit(NAMED)).all()
    if resting:
        count = session.scalar(select(func.count()).select_from(_resting_on(source).order_by(None).subquery())) or 0
        raise _owed(source, resting, count)
    # One change of the source's row, under the entry of its revoking: a second one would be refused.
    if (source.settings or {}).get("url"):
        source.settings = {**sources.told(source.settings or {}), "every": "off", "full_every": "off"}
    sources.revoke(session, source, actor=actor, at=at)
    state = session.get(SourceState, (source.organization_id, source.id), with_for_update=True, populate_existing=True)
    if state is not None:
        sources.begin_anew(state)
    session.flush()
    return Left(users=_count(session, Record, *_standing(Record, source)), groups=_count(session, Group, *_standing(Group, source)))


def _owed(source: Source, names: Sequence[str], count: int) -> StillOwed:
    return StillOwed(
        f"{source.name} cannot be ended: {named(names, count)} would be out by it. Let another source name them first, or have them leave"
    )


def _resting_on(source: Source) -> Select[str]:
    """Whoever is in because this source has them as on, or the brake holds its *off*, and no other does; and who is away, or has yet to start, by it alone."""
    other = aliased(Record)
    comes_back = Person.standing.in_((Standing.EXPECTED, Standing.PAUSED))
    # Whom this one has on another one has to have on as well: switched off there, they would not be away but have left.
    as_well = or_(Record.active.is_(False), and_(other.active.is_(True), or_(other.ends_at.is_(None), other.ends_at > present())))
    elsewhere = select(other.id).where(
        other.organization_id == Record.organization_id, other.person_id == Record.person_id, other.source_id != source.id, other.ended_at.is_(None),
        or_(is_on(present(), other), and_(comes_back, as_well)),
    )  # fmt: skip
    return (
        select(Person.user_name)
        .join(Record, (Record.organization_id == Person.organization_id) & (Record.person_id == Person.id))
        .where(
            *_of(Record, source), or_(and_(Record.ended_at.is_(None), or_(is_on(present()), comes_back)), Record.held.is_(True)),
            Person.standing != Standing.DEPARTED, ~elsewhere.exists(),
        )
        .order_by(Person.user_name)
        .distinct()
    )  # fmt: skip


def _refuse_undecided(session: Session, source: Source) -> None:
    """Raise StillOwed where the brake holds what an HR system said: that belongs to no user who ends, and would wait for nobody any more."""
    waiting = (
        select(Person.user_name)
        .join(HeldLine, (HeldLine.organization_id == Person.organization_id) & (HeldLine.person_id == Person.id))
        .join(Held, (Held.organization_id == HeldLine.organization_id) & (Held.id == HeldLine.held_id))
        .where(
            Held.organization_id == source.organization_id, Held.source_id == source.id, Held.state == HeldState.OPEN,
            HeldLine.subject_kind == "statement", HeldLine.state == HeldState.OPEN,
        )
        .order_by(Person.user_name)
        .distinct()
    )  # fmt: skip
    names = session.scalars(waiting).all()
    if names:
        raise StillOwed(
            f"{source.name} cannot be ended: the brake holds what it said of {named(names)}. Approve or reject that first: see 'held list'"
        )


def _of(table: type[Record] | type[Group], source: Source) -> tuple[ColumnElement[bool], ...]:
    return (table.organization_id == source.organization_id, table.source_id == source.id)


def _standing(table: type[Record] | type[Group], source: Source) -> tuple[ColumnElement[bool], ...]:
    return (*_of(table, source), table.ended_at.is_(None))


def _count(session: Session, table: type[Record] | type[Group], *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*which)) or 0


def end_some(session: Session, source: Source, *, reason: str, actor: Actor, at: datetime) -> int:
    """End some of its users, or else of its groups; how many, 0 where none is left. Raises StillOwed where somebody would be out by it."""
    # Two who give it up at once take turns.
    session.refresh(source, with_for_update=True)
    organization_id, because = source.organization_id, f"{source.name} was given up: {reason}"
    users = select(Record).order_by(Record.id).limit(AT_ONCE)
    records = session.scalars(users.where(*_standing(Record, source))).all() or session.scalars(users.where(*_of(Record, source), Record.held.is_(True))).all()
    for record in records:
        person = session.get_one(Person, (organization_id, record.person_id))
        before = person.standing
        _end_user(session, record, actor=actor, at=at, because=because)
        session.refresh(person)
        if person.standing not in (before, Standing.ACTIVE):
            raise _owed(source, [person.user_name], 1)
    if records:
        return len(records)
    groups = session.scalars(select(Group.id).where(*_standing(Group, source)).order_by(Group.id).limit(AT_ONCE)).all()
    for group_id in groups:
        end_group(session, organization_id, source.id, group_id, actor=actor, at=at, because=because)
    return len(groups)


def _end_user(session: Session, record: Record, *, actor: Actor, at: datetime, because: str) -> None:
    """The user ends, and what was held of it, or rejected, counts: it would keep them in for ever, as nothing more is said of it."""
    session.refresh(record, with_for_update=True)
    if record.ended_at is None:
        # Nothing is taken from anybody here, so there is nothing to brake.
        end_record(session, record.organization_id, record.source_id, record.id, braked=False, actor=actor, at=at, because=because)
    if record.held:
        person = lock_person(session, record.organization_id, record.person_id)
        let_count(session, [record], actor=actor, at=at, because=because)
        settle(
            session, person, at=at, received_at=at, actor=actor, because=because, journal_id=record.journal_id, epoch_moves=True, regrouped=True
        )


def end(session: Session, source: Source, *, reason: str, actor: Actor, at: datetime) -> None:
    """It is a source no more, now that nothing of it stands: nobody is asked about it, and its name is free. May be called twice."""
    if source.ended_at is not None:
        return
    _refuse_undecided(session, source)
    organization_id = source.organization_id
    asked = select(Question).where(
        Question.organization_id == organization_id, Question.source_id == source.id, Question.state == QuestionState.OPEN
    )
    for question in session.scalars(asked.order_by(Question.number)).all():
        questions.close(session, question, QuestionState.WITHDRAWN, f"{source.name} was given up", actor=actor, at=at)
    brake.withdraw_source(session, organization_id, source.id, because=f"{source.name} was given up", actor=actor, at=at)
    tables: tuple[Any, ...] = (PulledEntry, AwaitedMember)
    for table in tables:
        session.execute(delete(table).where(table.organization_id == organization_id, table.source_id == source.id), execution_options=_QUIET)
    # Nothing is waited for from it.
    settle_alarm(session, organization_id, kind=AlarmKind.SOURCE_SILENT, about=source.id, at=at)
    source.journal_id = entries.write(
        session, organization_id, at=at, actor=actor, verb="source ended", because=reason, subject_kind="source", subject_id=source.id,
        before={"name": source.name, "kind": source.kind},
    )  # fmt: skip
    source.ended_at = at
    session.flush()


def end_late(session: Session, *, at: datetime) -> int:
    """End some of what was written after its source had ended, by a request that was let in before; how much. Whoever is in by that alone is out."""
    ended = session.scalars(select(Source).where(Source.ended_at.is_not(None)).order_by(Source.ended_at.desc())).all()
    # Each by itself, as the index has them: together, a database might look through all users.
    return next((count for source in ended if (count := _end_late(session, source, at=at))), 0)


def _end_late(session: Session, source: Source, *, at: datetime) -> int:
    because = f"{source.name} was given up before"
    records = session.scalars(select(Record).where(*_standing(Record, source)).order_by(Record.id).limit(AT_ONCE)).all()
    for record in records:
        _end_user(session, record, actor=CLOCK, at=at, because=because)
    groups = session.scalars(select(Group.id).where(*_standing(Group, source)).order_by(Group.id).limit(AT_ONCE)).all()
    for group_id in groups:
        end_group(session, source.organization_id, source.id, group_id, actor=CLOCK, at=at, because=because)
    return len(records) + len(groups)
