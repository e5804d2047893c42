"""Verbs of operators and HR systems: leaving, pausing, barring, returning; and letting held things through."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import new_id
from app.directory.tables import Person, Record, Source, Standing, Statement, StatementKind, Voice
from app.journal import entries
from app.lifecycle import brake
from app.lifecycle.errors import WorldMoved
from app.lifecycle.people import lock_person, settle
from app.lifecycle.tables import Held, HeldLine, HeldState


def say(
    session: Session, organization_id: str, person_id: str, *,
    voice: Voice, kind: StatementKind, said_by: str, effective_at: datetime, actor: Actor, at: datetime, because: str,
    engagement: str = "", source: Source | None = None, received_at: datetime | None = None,
) -> Person:  # fmt: skip
    """A voice states something of a person. Leaving that a source pushes for *now* goes past the brake; an operator's does not.

    A return also calls off what the same voice announced for later. It counts as said when it was received: two calls
    that waited for their person keep their order.
    """
    person = lock_person(session, organization_id, person_id)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb=f"{voice} says {kind}", because=because, subject_kind="person", subject_id=person_id,
        before={"standing": person.standing}, after={"effective_at": effective_at.isoformat(), "engagement": engagement},
    )  # fmt: skip
    comeback = kind in (StatementKind.RETURNS, StatementKind.REHIRES)
    if comeback:
        # What was announced for later is called off, not merely outranked: it must not take effect on its day.
        session.execute(
            update(Statement)
            .where(
                Statement.organization_id == organization_id, Statement.person_id == person_id, Statement.voice == voice,
                Statement.effective_at > at, Statement.withdrawn_at.is_(None),
            )
            .values(withdrawn_at=at, journal_id=entry)
        )  # fmt: skip
    means = None
    if not comeback:
        means = Standing.PAUSED if kind is StatementKind.PAUSES else Standing.DEPARTED
    statement = Statement(
        organization_id=organization_id, id=new_id(), person_id=person_id, voice=voice, kind=kind, engagement=engagement, said_by=said_by,
        said_at=received_at or at, effective_at=effective_at, means=means, journal_id=entry,
    )  # fmt: skip
    pushed_now = source is not None and not comeback and effective_at <= at and person.standing == Standing.ACTIVE
    if pushed_now and source is not None and not brake.lets_through(session, organization_id, source.id, person_id, at=at):
        statement.held = True
        brake.hold(
            session, organization_id, source_id=source.id, source_name=source.name, subject_kind="statement", subject_id=statement.id,
            person_id=person_id, version=at.isoformat(), at=at,
        )  # fmt: skip
    session.add(statement)
    session.flush()
    settle(session, person, at=at, received_at=received_at or at, actor=actor, because=because, journal_id=entry)
    return person


def release(session: Session, held: Held, lines: Sequence[HeldLine], *, actor: Actor, at: datetime) -> list[str]:
    """Let held *offs* take effect, each person in the same transaction. Returns the people's ids."""
    people: list[str] = []
    for line in lines:
        if line.person_id is None:
            continue
        person = lock_person(session, held.organization_id, line.person_id)
        entry = entries.write(
            session, held.organization_id, at=at, actor=actor, verb="let through", because=f"held: {held.reason}", subject_kind="person",
            subject_id=person.id, before={"standing": person.standing}, after={"line": line.subject_id},
        )  # fmt: skip
        _unhold(session, held.organization_id, line, journal_id=entry)
        settle(session, person, at=at, received_at=line.created_at, actor=actor, because=held.reason, journal_id=entry)
        people.append(person.id)
    brake.close_lines(session, held, lines, state=HeldState.APPROVED, by=str(actor), at=at)
    return people


def reject(session: Session, held: Held, lines: Sequence[HeldLine], *, actor: Actor, at: datetime) -> list[str]:
    """Decide that held *offs* never take effect: what the source says stays stored, and the person keeps access.

    The lines close; the records stay `held`, so the *off* counts again only when the source says *on* and *off* anew, or deletes.
    """
    people: list[str] = []
    for line in lines:
        if line.person_id is None:
            continue
        entries.write(
            session, held.organization_id, at=at, actor=actor, verb="rejected", because=f"held: {held.reason}", subject_kind="person",
            subject_id=line.person_id, after={"line": line.subject_id},
        )  # fmt: skip
        people.append(line.person_id)
    brake.close_lines(session, held, lines, state=HeldState.REJECTED, by=str(actor), at=at)
    return people


def _unhold(session: Session, organization_id: str, line: HeldLine, *, journal_id: int) -> None:
    if line.subject_kind == "record":
        record = session.scalar(
            select(Record).where(Record.organization_id == organization_id, Record.id == line.subject_id).with_for_update()
        )
        if record is None or not record.held or record.active_said_at.isoformat() != line.version:
            raise WorldMoved(f"record {line.subject_id} has changed since it was held")
        record.held, record.journal_id = False, journal_id
    else:
        statement = session.scalar(
            select(Statement).where(Statement.organization_id == organization_id, Statement.id == line.subject_id).with_for_update()
        )
        if statement is None or not statement.held:
            raise WorldMoved(f"statement {line.subject_id} has changed since it was held")
        statement.held, statement.journal_id = False, journal_id
    session.flush()
