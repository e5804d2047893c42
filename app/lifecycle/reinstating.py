"""Reinstating: somebody was closed by mistake, and is back in one step that says who decided it and why."""

from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.command_lines import to_type
from app.database import new_id
from app.directory.tables import Person, Record, Standing, Statement, StatementKind, Voice
from app.journal import entries
from app.lifecycle import engagements, order
from app.lifecycle.people import lock_meant, settle
from app.lifecycle.standing import COMEBACKS
from app.lifecycle.starting import OutOfPlace
from app.revocation.receipts import REINSTATED


def reinstate(session: Session, organization_id: str, person_id: str, *, said_by: str, reason: str, actor: Actor, at: datetime) -> Person:
    """Undo whatever keeps somebody out at this moment, a bar too. Whoever is in is left as they are. Raises OutOfPlace, TurnedOut, Unfit.

    What was announced for later still comes on its day, and what a voice says from now on counts. Nothing that was issued
    before works again. The operator vouches that the clock is right: what was decided by one that was ahead is decided anew.
    """
    person = lock_meant(session, organization_id, person_id)
    if person.standing == Standing.ACTIVE:
        return person
    if person.standing == Standing.EXPECTED:
        raise OutOfPlace(f"{person.user_name} has not started yet; to let them start now: {to_type('person expect', person.user_name, '--now')}")
    engagements.refuse_lapsed(session, person, at=at)
    said_at = order.behind_all(session, person, at=at)
    # One change of the person's row, written by `settle`: a flush in between would be refused.
    with session.no_autoflush:
        entry = entries.write(
            session, organization_id, at=at, actor=actor, verb=REINSTATED, because=reason, subject_kind="person", subject_id=person_id,
            before={"standing": person.standing, "reason": person.standing_reason},
        )  # fmt: skip
        session.execute(
            insert(Statement).values(
                organization_id=organization_id, id=new_id(), person_id=person_id, voice=Voice.OPERATOR, kind=StatementKind.REINSTATES,
                engagement="", said_by=said_by, said_at=said_at, effective_at=at, held=False, heard_at=at, said_in=entry, journal_id=entry,
            )
        )  # fmt: skip
        person.modified_at = at
        settle(session, person, at=at, received_at=at, actor=actor, because=reason, journal_id=entry)
    return person


def standing_records(session: Session, person: Person) -> int:
    """How many records still name somebody: none where a directory has deleted them, and their groups with them."""
    mine = (Record.organization_id == person.organization_id, Record.person_id == person.id, Record.ended_at.is_(None))
    return len(session.scalars(select(Record.id).where(*mine)).all())


def who_ends_it(session: Session, person: Person) -> Voice:
    """Whose word it is that access ends on the day that is known. A directory's is the date of a record, which is no statement."""
    said = select(Statement.voice).where(
        Statement.organization_id == person.organization_id, Statement.person_id == person.id, Statement.withdrawn_at.is_(None),
        Statement.held.is_(False), Statement.effective_at == person.access_until, Statement.kind.not_in((*COMEBACKS, StatementKind.STARTS)),
    )  # fmt: skip
    voices = [Voice(voice) for voice in session.scalars(said)]
    # A sponsor's day is the one that no return moves.
    return Voice.SPONSOR if Voice.SPONSOR in voices else voices[0] if voices else Voice.DIRECTORY
