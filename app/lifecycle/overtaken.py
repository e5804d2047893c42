"""What the brake holds, or an operator rejected, until what a directory says later makes it a thing of the past."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.tables import Person, Record, Standing
from app.lifecycle import brake
from app.revocation.tables import Departure


def overtake(session: Session, person: Person, records: Sequence[Record], *, journal_id: int) -> bool:
    """Let each *off* count that was held, where a directory has said *on* anew since. Returns whether there was any.

    A deletion is overtaken when its own directory names the same person in another record. Any *off* is, once they have left by
    another voice and some directory has them on again: whoever is rehired is who they are now, and what was kept for them
    before would never end. The line of one that still waited waits no more.
    """
    waiting = [one for one in records if one.held]
    on = [one for one in records if one.active and one.ended_at is None]
    if not waiting or not on:
        return False
    left = session.scalars(
        select(Departure.decided_at)
        .where(Departure.organization_id == person.organization_id, Departure.person_id == person.id, Departure.means == Standing.DEPARTED)
        .order_by(Departure.decided_at)
    ).all()
    overtaken = [one for one in waiting if any(_is_overtaken(one, other, left) for other in on)]
    for one in overtaken:
        one.held, one.journal_id = False, journal_id
        brake.withdraw(session, one.organization_id, one.id)
    return bool(overtaken)


def _is_overtaken(waiting: Record, on: Record, left: Sequence[datetime]) -> bool:
    if waiting.ended_at is not None and on.source_id == waiting.source_id and on.active_said_at >= waiting.ended_at:
        return True
    return any(waiting.active_said_at <= decided_at <= on.active_said_at for decided_at in left)
