"""Legal holds: what somebody wrote is kept from being erased until the last order to keep it has ended.

A hold says nothing of anybody's access. It may stand for somebody who has left, or who never will.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.clock import iso
from app.database import new_id
from app.directory.tables import Person
from app.journal import entries
from app.lifecycle.errors import NotFound
from app.lifecycle.hold_tables import LegalHold
from app.lifecycle.people import lock_meant, lock_person, turned_out
from app.lifecycle.retention import as_others, give_notice
from app.revocation.erasure_tables import Erasure


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A hold that stands from now on, and what it came too late for: erasures that were begun before it."""

    hold: LegalHold
    too_late: Sequence[Erasure]


def place(session: Session, organization_id: str, person_id: str, *, reason: str, ordered_by: str, actor: Actor, at: datetime) -> Placed:
    """Keep what somebody wrote, from this moment on. Each order is a hold of its own, also where one stands already. Raises TurnedOut."""
    # An erasure locks the person as well before it begins: it sees this hold, or this sees that it has begun.
    if turned_out(session, organization_id, person_id):
        # What they wrote until they became one with somebody else stays with an account of its own, and may have to be kept by itself.
        lock_person(session, organization_id, person_id)
    else:
        lock_meant(session, organization_id, person_id)
    row = LegalHold(
        organization_id=organization_id, id=new_id(), person_id=person_id, reason=reason, ordered_by=ordered_by, placed_by=str(actor), placed_at=at
    )
    session.add(row)
    session.flush()
    _journal(session, row, "legal hold placed", actor=actor, at=at, after={"reason": reason, "ordered_by": ordered_by})
    theirs = [person_id, *as_others(session, organization_id, person_id)]
    begun = session.scalars(
        select(Erasure)
        .where(Erasure.organization_id == organization_id, Erasure.person_id.in_(theirs), Erasure.begun_at.is_not(None))
        .order_by(Erasure.begun_at)
    ).all()
    return Placed(hold=row, too_late=begun)


def end(session: Session, row: LegalHold, *, because: str, ordered_by: str, actor: Actor, at: datetime) -> None:
    """This order has ended. What would have been erased meanwhile is erased a day from now at the earliest. Ending twice is once."""
    if row.ended_at is not None:
        return
    _journal(session, row, "legal hold ended", actor=actor, at=at, after={"because": because, "ordered_by": ordered_by})
    row.ended_at, row.ended_by, row.ended_because = at, ordered_by, because
    session.flush()
    give_notice(session, row.organization_id, person_id=row.person_id, at=at)


def find(session: Session, organization_id: str, id: str) -> LegalHold:
    """A hold by its id, locked. Raises NotFound."""
    row = session.get(LegalHold, (organization_id, id), with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("legal hold", id)
    return row


def standing(session: Session, organization_id: str, person_id: str) -> Sequence[LegalHold]:
    """The holds of a person that stand, the oldest first."""
    query = select(LegalHold).where(
        LegalHold.organization_id == organization_id, LegalHold.person_id == person_id, LegalHold.ended_at.is_(None)
    )
    return session.scalars(query.order_by(LegalHold.placed_at, LegalHold.id)).all()


def listed(session: Session, organization_id: str, *, ended: bool = False) -> Sequence[tuple[LegalHold, Person]]:
    """Every hold with its person, the oldest first; with `ended` those that have ended as well."""
    query = (
        select(LegalHold, Person)
        .join(Person, (Person.organization_id == LegalHold.organization_id) & (Person.id == LegalHold.person_id))
        .where(LegalHold.organization_id == organization_id)
        .order_by(LegalHold.placed_at, LegalHold.id)
    )
    return [(row, person) for row, person in session.execute(query if ended else query.where(LegalHold.ended_at.is_(None)))]


def _journal(session: Session, row: LegalHold, verb: str, *, actor: Actor, at: datetime, after: dict[str, object]) -> None:
    # Under the hold's own id, and the reason where only the audit's readers see it: whom it is about stands in no open part of a leaf.
    entries.write(
        session, row.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="legal hold", subject_id=row.id,
        after={"person": row.person_id, "at": iso(at), **after},
    )  # fmt: skip
