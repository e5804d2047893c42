"""What the brake holds, or an operator rejected, until what a directory says later makes it a thing of the past."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.tables import OUTSIDE, Person, Record, Standing, Statement, StatementKind
from app.journal import entries
from app.lifecycle import brake
from app.lifecycle.standing import in_force
from app.revocation.tables import Departure


def overtake(session: Session, person: Person, records: Sequence[Record], *, actor: Actor, at: datetime, because: str) -> bool:
    """Let each *off* count that was held, where it was said anew since who the person is. Returns whether there was any.

    A deletion is overtaken when its own directory has the same person on in another record. Any *off* is, once they have left by
    another voice, and were hired again or have been switched on by some directory since: what was kept for them before would
    never end. The line of one that still waited waits no more.

    It takes nobody's access: only where a directory has them on at this moment, which keeps them in.
    """
    waiting = [one for one in records if one.held]
    on = [one for one in records if one.active and one.ended_at is None and in_force(starts_at=one.starts_at, ends_at=one.ends_at, at=at)]
    if not waiting or not on:
        return False
    left, anew = _left(session, person), [*(one.active_said_at for one in on), *_rehired(session, person)]
    overtaken = [one for one in waiting if _is_made_anew(one, on) or _has_left_since(one, left, anew)]
    let_count(session, overtaken, actor=actor, at=at, because=because)
    return bool(overtaken)


def say_anew(session: Session, person: Person, records: Sequence[Record], made: Record, *, actor: Actor, at: datetime, because: str) -> bool:
    """A directory makes somebody anew as switched off, whose deletion by it was held or rejected: it says *off* once more.

    That is decided anew: what it had said before counts, or the new record waits in its place. Returns whether there was anything.
    """
    waiting = [one for one in records if one.held and one.ended_at is not None and one.source_id == made.source_id]
    if not waiting:
        return False
    in_before = person.standing not in OUTSIDE
    if in_before and not brake.lets_through(session, made.organization_id, made.source_id, made.id, at=at):
        made.held = True
        brake.hold(
            session, made.organization_id, source_id=made.source_id, subject_kind="record", subject_id=made.id, person_id=person.id,
            version=made.active_said_at.isoformat(), at=at,
        )  # fmt: skip
    let_count(session, waiting, actor=actor, at=at, because=because)
    return True


def let_count(session: Session, waiting: Sequence[Record], *, actor: Actor, at: datetime, because: str) -> None:
    """What was held of these, or rejected, counts from now on; whoever settles the person sees what follows."""
    for one in waiting:
        one.journal_id = entries.write(
            session, one.organization_id, at=at, actor=actor, verb="overtaken", because=because, subject_kind="record", subject_id=one.id,
            before={"held": True}, after={"held": False},
        )  # fmt: skip
        one.held = False
        brake.withdraw(session, one.organization_id, one.id)


def _is_made_anew(waiting: Record, on: Sequence[Record]) -> bool:
    return waiting.ended_at is not None and any(one.source_id == waiting.source_id and one.active_said_at >= waiting.ended_at for one in on)


def _has_left_since(waiting: Record, left: Sequence[datetime], anew: Sequence[datetime]) -> bool:
    """Whether they left after the *off*, and something was said anew after that."""
    first = min((at for at in left if at >= waiting.active_said_at), default=None)
    return first is not None and any(at >= first for at in anew)


def _left(session: Session, person: Person) -> Sequence[datetime]:
    mine = Departure.organization_id == person.organization_id, Departure.person_id == person.id
    return session.scalars(select(Departure.decided_at).where(*mine, Departure.means == Standing.DEPARTED)).all()


def _rehired(session: Session, person: Person) -> Sequence[datetime]:
    mine = Statement.organization_id == person.organization_id, Statement.person_id == person.id
    said = select(Statement.said_at).where(*mine, Statement.kind == StatementKind.REHIRES, Statement.withdrawn_at.is_(None))
    return session.scalars(said).all()
