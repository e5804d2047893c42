"""Verbs of operators, sponsors and HR systems: leaving, pausing, barring, starting, returning; and letting held things through."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, true, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import new_id
from app.directory.tables import Person, Record, Source, Standing, Statement, StatementKind, Voice
from app.journal import entries
from app.lifecycle import brake, order
from app.lifecycle.errors import WorldMoved
from app.lifecycle.people import is_in, lock_meant, settle
from app.lifecycle.standing import COMEBACKS
from app.lifecycle.tables import Held, HeldLine, HeldState


def say(
    session: Session, organization_id: str, person_id: str, *,
    voice: Voice, kind: StatementKind, said_by: str, effective_at: datetime, actor: Actor, at: datetime, because: str,
    engagement: str = "", source: Source | None = None, received_at: datetime | None = None, heard_after: int | None = None,
) -> Person:  # fmt: skip
    """A voice states something of a person. What a source pushes that takes access *now* goes past the brake; an operator's does not.

    A return also calls off what the same voice announced for later and what of it the brake holds, but never a start: that gives
    nothing; where it names an engagement, of that one alone. It counts as said behind all that was said before; two calls that waited for
    their person (`heard_after`, `order.said_then`) keep their order. Raises TurnedOut.
    """
    person = lock_meant(session, organization_id, person_id)
    heard_at = received_at or at
    if heard_after is None:
        said_at = order.said_now(session, person, at=heard_at)
    else:
        said_at = order.said_then(session, person, kind=kind, received_at=heard_at, heard_after=heard_after)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb=f"{voice} says {kind}", because=because, subject_kind="person", subject_id=person_id,
        before={"standing": person.standing}, after={"effective_at": effective_at.isoformat(), "engagement": engagement},
    )  # fmt: skip
    comeback = kind in COMEBACKS
    if comeback and effective_at <= at:
        # What was announced for later, or is held, is called off, not merely outranked: it must not take effect on its day, nor wait for anybody.
        of_it = Statement.engagement == engagement if kind is StatementKind.RETURNS and engagement else true()
        called_off = session.execute(
            update(Statement)
            .where(
                Statement.organization_id == organization_id, Statement.person_id == person_id, Statement.voice == voice,
                _is_for_later(at) | Statement.held, Statement.withdrawn_at.is_(None), Statement.kind != StatementKind.STARTS, of_it,
                # A comeback that waited calls off nothing that was said after it was received.
                Statement.said_at <= said_at,
            )
            .values(withdrawn_at=at, journal_id=entry)
            .returning(Statement.id, Statement.held)
        ).all()  # fmt: skip
        for statement_id, was_held in called_off:
            if was_held:
                brake.withdraw(session, organization_id, statement_id)
    means = _means(session, person, voice=voice, kind=kind, engagement=engagement)
    statement = Statement(
        organization_id=organization_id, id=new_id(), person_id=person_id, voice=voice, kind=kind, engagement=engagement, said_by=said_by,
        said_at=said_at, effective_at=effective_at, means=means, heard_at=heard_at, heard_after=heard_after, said_in=entry, journal_id=entry,
    )  # fmt: skip
    # Whoever is said to start only later is out until then, at once.
    takes_now = means is Standing.EXPECTED if kind is StatementKind.STARTS else not comeback and effective_at <= at
    pushed_now = source is not None and takes_now and is_in(session, person)
    if pushed_now and source is not None and not brake.lets_through(session, organization_id, source.id, person_id, at=at):
        statement.held = True
        brake.hold(
            session, organization_id, source_id=source.id, subject_kind="statement", subject_id=statement.id, person_id=person_id,
            version=at.isoformat(), at=at,
        )  # fmt: skip
    session.add(statement)
    session.flush()
    settle(session, person, at=at, received_at=heard_at, actor=actor, because=because, journal_id=entry)
    return person


def _is_for_later(at: datetime) -> ColumnElement[bool]:
    # Later than it was said, too: what a clock that was ahead said for at once is in force, not announced.
    return and_(Statement.effective_at > at, Statement.effective_at > func.coalesce(Statement.heard_at, Statement.said_at))


def _means(session: Session, person: Person, *, voice: Voice, kind: StatementKind, engagement: str) -> Standing | None:
    """What is frozen with a statement. An engagement of its own that begins later takes nothing from somebody who is here by another."""
    if kind in COMEBACKS:
        return None
    if kind is not StatementKind.STARTS:
        return Standing.PAUSED if kind is StatementKind.PAUSES else Standing.DEPARTED
    if engagement == "" or voice is not Voice.HR or not is_in(session, person):
        return Standing.EXPECTED
    came_by_it = select(Statement.id).where(
        Statement.organization_id == person.organization_id, Statement.person_id == person.id, Statement.voice == voice,
        Statement.engagement == engagement, Statement.kind == StatementKind.STARTS, Statement.means == Standing.EXPECTED,
        Statement.withdrawn_at.is_(None),
    )  # fmt: skip
    return Standing.ACTIVE if session.scalar(came_by_it.limit(1)) is None else Standing.EXPECTED


def release(session: Session, held: Held, lines: Sequence[HeldLine], *, actor: Actor, at: datetime) -> list[str]:
    """Let held *offs* take effect, each person in the same transaction. Returns the people's ids."""
    people: list[str] = []
    for line in lines:
        if line.person_id is None:
            continue
        person = lock_meant(session, held.organization_id, line.person_id)
        entry = entries.write(
            session, held.organization_id, at=at, actor=actor, verb="let through", because=f"held: {held.reason}", subject_kind="person",
            subject_id=person.id, before={"standing": person.standing}, after={"line": line.subject_id},
        )  # fmt: skip
        _unhold(session, held.organization_id, line, journal_id=entry)
        of_record = line.subject_kind == "record"
        settle(
            session, person, at=at, received_at=line.created_at, actor=actor, because=held.reason, journal_id=entry, epoch_moves=of_record,
            regrouped=of_record,
        )  # fmt: skip
        people.append(person.id)
    brake.close_lines(session, held, lines, state=HeldState.APPROVED, by=str(actor), at=at)
    return people


def reject(session: Session, held: Held, lines: Sequence[HeldLine], *, actor: Actor, at: datetime) -> list[str]:
    """Decide that held *offs* never take effect: what the source says stays stored, and the person keeps access.

    The lines close; the records stay `held`, so the *off* counts again only when the source says *on* and *off* anew, or deletes,
    or when it is overtaken (`overtaken`).
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
