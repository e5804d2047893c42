"""What a source's pulls took lately: many small ones weigh as much as one that takes the same at once."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.directory.tables import Person, Record, Source, Standing
from app.intake.pull_drafts import SOON
from app.intake.pull_here import batches
from app.journal.tables import Entry
from app.lifecycle.pulled_tables import Run, RunKind, RunLine, Took
from app.lifecycle.tables import Held, HeldState
from app.revocation.tables import Departure

LATELY: Final = timedelta(hours=24)
Counted = Callable[[Sequence[str]], set[str]]
"""Which of these records are counted as taken now."""


class Lately(NamedTuple):
    """How many people are out by what pulls of a source took, and how many more are to end within days and are still here."""

    out: int
    ahead: int


def taken_lately(session: Session, source: Source, *, counted: Counted, at: datetime) -> Lately:
    """What pulls of this source took, each person once, by whatever they lost it. Costs by how often they ran since, and by what they took.

    Whoever lost it by another voice is not counted, nor what an administrator let through, nor who is counted as taken now.
    """
    out, ahead = _ends_brought(session, source, counted=counted, at=at)
    return Lately(out=len(out | _taken(session, source, at=at)), ahead=len(ahead))


def _taken(session: Session, source: Source, *, at: datetime) -> set[str]:
    """Who lost their access by being switched off or deleted, and has not had it back."""
    query = (
        select(RunLine.person_id)
        # The departure that this very line opened: whoever was out already lost nothing by it.
        .join(
            Departure,
            (Departure.organization_id == RunLine.organization_id) & (Departure.person_id == RunLine.person_id)
            & (Departure.journal_id == RunLine.journal_id),
        )
        .join(Person, (Person.organization_id == RunLine.organization_id) & (Person.id == RunLine.person_id))
        .where(*_lines(session, source, at=at), RunLine.took.in_((Took.OFF, Took.GONE)), Person.standing != Standing.ACTIVE)
    )  # fmt: skip
    return {person for person in session.scalars(query) if person is not None}


def _ends_brought(session: Session, source: Source, *, counted: Counted, at: datetime) -> tuple[set[str], set[str]]:
    """Who is out since an end has come that was brought as news, and who is still here for some days; but for those that were put off since."""
    ahead = (Record.ends_at > at) & (Record.ends_at <= at + SOON)
    # Access ends at its instant, also where nobody has looked at them since.
    come = (Record.ends_at <= at) & (Person.access_until <= at)
    query = (
        select(
            RunLine.person_id, RunLine.subject_id, Record.active, Record.ends_at, Entry.after, (Person.standing != Standing.ACTIVE).label("left"),
            come.label("come"),
        )
        .join(Person, (Person.organization_id == RunLine.organization_id) & (Person.id == RunLine.person_id))
        .join(Record, (Record.organization_id == RunLine.organization_id) & (Record.id == RunLine.subject_id))
        .join(Entry, Entry.id == RunLine.journal_id)
        .where(
            *_lines(session, source, at=at), RunLine.took == Took.ENDS,
            (Person.standing != Standing.ACTIVE) | (Record.ended_at.is_(None) & (come | ahead)),
        )
    )  # fmt: skip
    rows = session.execute(query).all()
    dues = _dues(session, source.organization_id, {row.person_id for row in rows if row.left})
    # The departure of that very end: whoever was out before by another voice lost nothing by it. Of whoever is disabled besides, some
    # directories tell no end any more; then it is the one of which the run was told.
    rows = [row for row in rows if not row.left or (row.ends_at if row.active or row.ends_at else _brought(row.after)) in dues[row.person_id]]
    people = {row.subject_id: row.person_id for row in rows}
    # Also where the end has come since the source was read.
    now = {people[record] for some in batches(people) for record in counted(some)}
    out = {row.person_id for row in rows if row.left or row.come}
    return out - now, {row.person_id for row in rows} - out - now


def _brought(after: dict[str, Any] | None) -> datetime | None:
    """The end that an entry of the journal wrote down."""
    ends_at = (after or {}).get("endsAt")
    return None if ends_at is None else datetime.fromisoformat(ends_at)


def _dues(session: Session, organization_id: str, people: Collection[str]) -> dict[str, set[datetime | None]]:
    """From when on each of these was to be out, each time that they were."""
    found: dict[str, set[datetime | None]] = {person: set() for person in people}
    for some in batches(sorted(people)):
        query = select(Departure.person_id, Departure.due_at).where(Departure.organization_id == organization_id, Departure.person_id.in_(some))
        for person, due_at in session.execute(query):
            found[person].add(due_at)
    return found


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
