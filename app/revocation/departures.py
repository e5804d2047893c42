"""Opening and closing a departure: the one place where access is taken, in the caller's transaction."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.session_tables import RelyingParty
from app.access.tables import Workspace
from app.database import new_id
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import HERE, Lane, Subject
from app.revocation.tables import Departure, Proof
from app.statements import param

# Asked of everybody who leaves, some many times, so they are built once.
_WORKSPACES: Final = select(Workspace.id).where(Workspace.organization_id == param("organization"))
_CURRENT: Final = (
    select(Departure)
    .where(Departure.organization_id == param("organization"), Departure.person_id == param("person"), Departure.ended_at.is_(None))
    .order_by(Departure.decided_at.desc(), Departure.id.desc())
    .limit(1)
)


def revoke(
    session: Session,
    person: Person,
    *,
    means: Standing,
    reason: str,
    actor: str,
    due_at: datetime,
    received_at: datetime,
    at: datetime,
    journal_id: int,
) -> Departure:
    """Move the epoch, open the departure with one proof per workspace, and put its work in the departure lane.

    The epoch makes every session and token worthless at the commit; workspaces follow on their own lane.
    """
    person.access_epoch += 1
    departure = Departure(
        organization_id=person.organization_id, id=new_id(), person_id=person.id, means=means, reason=reason, actor=actor,
        due_at=due_at, received_at=received_at, decided_at=at, journal_id=journal_id,
    )  # fmt: skip
    session.add(departure)
    for workspace_id in session.scalars(_WORKSPACES, {"organization": person.organization_id}):
        session.add(Proof(organization_id=person.organization_id, departure_id=departure.id, workspace_id=workspace_id))
        # Named per workspace at once: an expansion in between would only cost time that counts here.
        work.want(
            session, person.organization_id, subject=Subject.ACCOUNT, subject_ids=[person.id], because=journal_id, due_at=at,
            lane=Lane.DEPARTURES, workspace_id=workspace_id,
        )  # fmt: skip
    # What was let in from here is over at the commit. Whoever relies on us is told of it, and found, by this one row.
    work.want(
        session, person.organization_id, subject=Subject.ACCESS, subject_ids=[person.id], because=journal_id, due_at=at,
        lane=Lane.DEPARTURES, workspace_id=HERE,
    )  # fmt: skip
    session.flush()
    return departure


def close(session: Session, person: Person, *, at: datetime) -> None:
    """The person is back: what was open is closed as returned; its proofs stay as they were known."""
    session.execute(
        update(Departure)
        .where(Departure.organization_id == person.organization_id, Departure.person_id == person.id, Departure.ended_at.is_(None))
        .values(ended_at=at)
    )


def current(session: Session, organization_id: str, person_id: str) -> Departure | None:
    """The departure that stands, if any."""
    return session.scalar(_CURRENT, {"organization": organization_id, "person": person_id})


def history(session: Session, organization_id: str, person_id: str) -> Iterator[tuple[Departure, list[tuple[Proof, str]]]]:
    """Every departure of a person, newest first, each with its proofs and the names of the places: workspaces first, then Doorlist itself and relying parties."""
    departures = session.scalars(
        select(Departure)
        .where(Departure.organization_id == organization_id, Departure.person_id == person_id)
        .order_by(Departure.decided_at.desc())
    ).all()
    for departure in departures:
        rows = session.execute(
            select(Proof, Workspace.name, RelyingParty.name)
            .outerjoin(Workspace, (Workspace.organization_id == Proof.organization_id) & (Workspace.id == Proof.workspace_id))
            .outerjoin(RelyingParty, (RelyingParty.organization_id == Proof.organization_id) & (RelyingParty.id == Proof.workspace_id))
            .where(Proof.organization_id == organization_id, Proof.departure_id == departure.id)
        ).all()
        named = [(workspace is None, workspace or party or proof.workspace_id, proof) for proof, workspace, party in rows]
        yield departure, [(proof, name) for _, name, proof in sorted(named, key=lambda one: one[:2])]
