"""What a source's pulls took lately: many small ones weigh as much as one that takes the same at once."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.directory.tables import Person, Source, Standing
from app.lifecycle.pulled_tables import Run, RunKind, RunLine, Took
from app.lifecycle.tables import Held, HeldState
from app.revocation.tables import Departure

LATELY: Final = timedelta(hours=24)


def people_taken(session: Session, source: Source, *, at: datetime) -> int:
    """Who lost their access by pulls of this source, and has not had it back. Costs by how often they ran since, and by what they took.

    Whoever lost it by another voice is not counted, nor what an administrator let through.
    """
    pulls = select(Run.number).where(
        Run.organization_id == source.organization_id, Run.source_id == source.id, Run.kind == RunKind.PULL,
        Run.started_at > _since(session, source, at=at),
    )  # fmt: skip
    query = (
        select(func.count(RunLine.person_id.distinct()))
        # The departure that this very line opened: whoever was out already lost nothing by it.
        .join(
            Departure,
            (Departure.organization_id == RunLine.organization_id) & (Departure.person_id == RunLine.person_id)
            & (Departure.journal_id == RunLine.journal_id),
        )
        .join(Person, (Person.organization_id == RunLine.organization_id) & (Person.id == RunLine.person_id))
        .where(
            # Not joined: SQLite would begin with every line that there ever was.
            RunLine.organization_id == source.organization_id, RunLine.run.in_(pulls), RunLine.took.in_((Took.OFF, Took.GONE)),
            RunLine.undone_by.is_(None), Person.standing != Standing.ACTIVE,
        )
    )  # fmt: skip
    return session.scalar(query) or 0


def _since(session: Session, source: Source, *, at: datetime) -> datetime:
    """Whoever approves that people lose their access has seen what was taken until then: from there it is counted anew."""
    seen = session.scalar(
        select(func.max(Held.decided_at, type_=Held.decided_at.type)).where(
            Held.organization_id == source.organization_id, Held.source_id == source.id, Held.state == HeldState.APPROVED, Held.decided_at <= at,
            # An approval of memberships alone says nothing of people.
            Held.payload["people"].as_integer() > 0,
        )
    )  # fmt: skip
    return at - LATELY if seen is None else max(seen, at - LATELY)
