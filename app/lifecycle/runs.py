"""Runs: one pull of a source, or what somebody decided about one, with each thing that it took."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.journal.tables import Organization
from app.lifecycle.errors import NotFound
from app.lifecycle.pulled_tables import Run, RunKind, RunLine, RunState, Took

ABANDONED = "it was ended before it was done"
MOST_NOTES = 200
"""A run keeps so many notes; the last of them says how many more there were."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One thing that was taken, and the journal's entry that took it. A membership is its record and its group."""

    took: Took
    subject_id: str
    journal_id: int
    group_id: str | None = None
    person_id: str | None = None


def begin(
    session: Session, organization_id: str, *, kind: RunKind, source_id: str | None, actor: Actor, at: datetime, whole: bool = False,
    of_run: int | None = None,
) -> Run:  # fmt: skip
    """A new run under the next number of its organisation. Numbers have no gaps but those of transactions that came to nothing."""
    # Locked, so that two runs that begin at once do not take the same number.
    session.execute(select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True))
    last = session.scalar(select(func.max(Run.number)).where(Run.organization_id == organization_id)) or 0
    run = Run(
        organization_id=organization_id, number=last + 1, kind=kind, source_id=source_id, whole=whole, state=RunState.RUNNING, actor=str(actor),
        started_at=at, of_run=of_run, seen=0, joined=0, moved=0, left=0, unchanged=0, missing=0, asked=0, notes=[],
    )  # fmt: skip
    session.add(run)
    session.flush()
    return run


def abandon(session: Session, organization_id: str, source_id: str, *, at: datetime) -> None:
    """Whatever still says *running* of this source was killed: only one pull of it runs at a time, and that one asks this."""
    session.execute(
        update(Run)
        .where(
            Run.organization_id == organization_id, Run.source_id == source_id, Run.kind == RunKind.PULL, Run.state == RunState.RUNNING
        )
        .values(state=RunState.FAILED, ended_at=at, problem=ABANDONED)
    )  # fmt: skip


def note_taken(session: Session, organization_id: str, number: int, taken: Sequence[Taken]) -> None:
    """Write down what a run took, in the transaction that took it."""
    if not taken:
        return
    last = session.scalar(select(func.max(RunLine.line)).where(RunLine.organization_id == organization_id, RunLine.run == number)) or 0
    rows = [
        {
            "organization_id": organization_id, "run": number, "line": last + place, "took": one.took, "subject_id": one.subject_id,
            "group_id": one.group_id, "person_id": one.person_id, "journal_id": one.journal_id,
        }
        for place, one in enumerate(taken, start=1)
    ]  # fmt: skip
    session.execute(insert(RunLine), rows)


def finish(run: Run, *, state: RunState, at: datetime, notes: Sequence[str] = (), problem: str | None = None) -> None:
    """It is over. Of very many notes the first ones are kept."""
    run.state, run.ended_at, run.problem = state, at, problem
    more = len(notes) - MOST_NOTES
    run.notes = [*notes[:MOST_NOTES], *([f"and {more} more"] if more > 0 else [])]


def find(session: Session, organization_id: str, number: int, *, lock: bool = False) -> Run:
    """A run by its number. Raises NotFound."""
    query = select(Run).where(Run.organization_id == organization_id, Run.number == number)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    run = session.scalar(query)
    if run is None:
        raise NotFound("run", str(number))
    return run


def recent(session: Session, organization_id: str, *, most: int = 50) -> Sequence[Run]:
    """The newest first."""
    return session.scalars(select(Run).where(Run.organization_id == organization_id).order_by(Run.number.desc()).limit(most)).all()


def lines_of(session: Session, organization_id: str, number: int) -> Sequence[RunLine]:
    """Everything that a run took, in the order in which it did."""
    return session.scalars(
        select(RunLine).where(RunLine.organization_id == organization_id, RunLine.run == number).order_by(RunLine.line)
    ).all()
