"""What a source's pulls took lately: many small ones weigh as much as one that takes the same at once."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.directory.tables import Person, Record, Source, Standing
from app.intake.pull_drafts import SOON
from app.intake.pull_here import batches
from app.lifecycle.pulled_tables import Run, RunKind, RunLine, Took
from app.lifecycle.tables import Held, HeldState
from app.revocation.tables import Departure

LATELY: Final = timedelta(hours=24)
Leaving = Callable[[Sequence[str]], set[str]]
"""Which of these records are taken now."""


def people_taken(session: Session, source: Source, *, at: datetime) -> int:
    """Who lost their access by pulls of this source, and has not had it back. Costs by how often they ran since, and by what they took.

    Whoever lost it by another voice is not counted, nor what an administrator let through.
    """
    query = (
        select(func.count(RunLine.person_id.distinct()))
        # The departure that this very line opened: whoever was out already lost nothing by it.
        .join(
            Departure,
            (Departure.organization_id == RunLine.organization_id) & (Departure.person_id == RunLine.person_id)
            & (Departure.journal_id == RunLine.journal_id),
        )
        .join(Person, (Person.organization_id == RunLine.organization_id) & (Person.id == RunLine.person_id))
        .where(*_lines(session, source, at=at), RunLine.took.in_((Took.OFF, Took.GONE)), Person.standing != Standing.ACTIVE)
    )  # fmt: skip
    return session.scalar(query) or 0


class Ends(NamedTuple):
    """How many people are out since their end has come, and how many are still here for some days."""

    come: int
    ahead: int


def ends_brought(session: Session, source: Source, *, leaving: Leaving, at: datetime) -> Ends:
    """What became of ends within days that pulls of this source brought as news, but for those that were put off since. Costs as `people_taken` does.

    Whoever is still here and is taken now is counted by whoever counts that, and not here too.
    """
    # The departure of that very end: whoever was out before by another voice lost nothing by it.
    by_it = exists().where(
        Departure.organization_id == RunLine.organization_id, Departure.person_id == RunLine.person_id, Departure.due_at == Record.ends_at
    )
    ahead = (Record.ends_at > at) & (Record.ends_at <= at + SOON)
    # Access ends at its instant, also where no worker has looked at them since.
    come = (Record.ends_at <= at) & (Person.access_until <= at)
    out = (Person.standing != Standing.ACTIVE) | come
    query = (
        select(RunLine.person_id, RunLine.subject_id, out.label("out"))
        .join(Person, (Person.organization_id == RunLine.organization_id) & (Person.id == RunLine.person_id))
        .join(Record, (Record.organization_id == RunLine.organization_id) & (Record.id == RunLine.subject_id))
        .where(
            *_lines(session, source, at=at), RunLine.took == Took.ENDS,
            ((Person.standing != Standing.ACTIVE) & by_it) | ((Person.standing == Standing.ACTIVE) & Record.ended_at.is_(None) & (come | ahead)),
        )
        .distinct()
    )  # fmt: skip
    rows = session.execute(query).all()
    here = {row.subject_id: row.person_id for row in rows if not row.out}
    taken = {here[record] for some in batches(here) for record in leaving(some)}
    return Ends(come=len({row.person_id for row in rows if row.out}), ahead=len(set(here.values()) - taken))


def _lines(session: Session, source: Source, *, at: datetime) -> tuple[Any, ...]:
    """What pulls took lately, and nobody has undone."""
    pulls = select(Run.number).where(
        Run.organization_id == source.organization_id, Run.source_id == source.id, Run.kind == RunKind.PULL,
        Run.started_at > _since(session, source, at=at),
    )  # fmt: skip
    # Not joined: SQLite would begin with every line that there ever was.
    return RunLine.organization_id == source.organization_id, RunLine.run.in_(pulls), RunLine.undone_by.is_(None)


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
