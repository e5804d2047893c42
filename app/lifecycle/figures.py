"""The figures that people watch: what waits, what is stuck, and how long it took to shut people out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.access.tables import Workspace, WorkspaceState
from app.directory.tables import Person, Standing
from app.journal.tables import Subject, Work, WorkState
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.revocation.tables import Departure, Proof

SOON = timedelta(minutes=2)
"""Work that is due later than this, and never failed, waits for its own hour and not for us."""

LATEST = 10_000
"""Over how many of the latest proofs times are taken."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Milliseconds from when a departure was received; None where there was none yet."""

    count: int
    p50: int | None
    p99: int | None


@dataclass(frozen=True, kw_only=True)
class WorkspaceFigures:
    id: str
    name: str
    kind: str
    halted_reason: str | None
    halted: bool
    waiting: int
    parked: int
    overdue: int
    last_error: str | None
    to_shut: Spread
    to_gone: Spread


@dataclass(frozen=True, kw_only=True)
class Figures:
    """`waiting` counts work that should be under way; `scheduled` what is due later. `held` and `overdue` count people,
    an overdue one once for each workspace."""

    waiting: int
    scheduled: int
    parked: int
    halted: int
    held: int
    overdue: int
    undecided: int
    to_shut: Spread
    to_gone: Spread
    workspaces: tuple[WorkspaceFigures, ...]


def take(session: Session, organization_id: str, *, at: datetime, overdue_after: timedelta) -> Figures:
    """Count everything as it stands. Only reads."""
    waiting, scheduled, parked = (_work(session, organization_id, which) for which in _kinds_of_work(at))
    times = _times(session, organization_id)
    overdue = _overdue(session, organization_id, at - overdue_after)
    found = session.scalars(select(Workspace).where(Workspace.organization_id == organization_id).order_by(Workspace.name)).all()
    workspaces = tuple(
        WorkspaceFigures(
            id=one.id, name=one.name, kind=one.kind, halted=one.state == WorkspaceState.HALTED, halted_reason=one.halted_reason,
            waiting=waiting.get(one.id, 0), parked=parked.get(one.id, 0), overdue=overdue.get(one.id, (0, None))[0],
            last_error=overdue.get(one.id, (0, None))[1], to_shut=_spread(shut for where, shut, _ in times if where == one.id),
            to_gone=_spread(gone for where, _, gone in times if where == one.id),
        )
        for one in found
    )  # fmt: skip
    undecided = _undecided(session, organization_id, at - overdue_after)
    return Figures(
        waiting=sum(waiting.values()), scheduled=sum(scheduled.values()), parked=sum(parked.values()),
        halted=sum(one.halted for one in workspaces), held=held_people(session, organization_id), undecided=undecided,
        overdue=undecided + sum(count for count, _ in overdue.values()), workspaces=workspaces,
        to_shut=_spread(shut for _, shut, _ in times), to_gone=_spread(gone for _, _, gone in times),
    )  # fmt: skip


def _kinds_of_work(at: datetime) -> tuple[object, object, object]:
    # A marker for somebody's last day waits for that day; a delivery that failed waits for us, however long its pause.
    failed = or_(Work.attempts > 0, Work.last_error.is_not(None))
    for_later = and_(
        or_(and_(Work.subject == Subject.DUE, Work.due_at > at), Work.due_at > at + SOON), Work.attempts == 0, Work.last_error.is_(None)
    )
    open_now = and_(Work.state == WorkState.WAITING, or_(failed, ~for_later))
    return open_now, and_(Work.state == WorkState.WAITING, for_later), Work.state == WorkState.PARKED


def _work(session: Session, organization_id: str, which: object) -> dict[str, int]:
    query = select(Work.workspace_id, func.count()).where(Work.organization_id == organization_id, which).group_by(Work.workspace_id)  # type: ignore[arg-type]  # a condition
    return {workspace_id: count for workspace_id, count in session.execute(query)}


def held_people(session: Session, organization_id: str) -> int:
    """People whose *off* waits behind the brake, and those whom held rules or corrections would touch."""
    lines = session.scalar(
        select(func.count()).select_from(HeldLine)
        .join(Held, and_(Held.organization_id == HeldLine.organization_id, Held.id == HeldLine.held_id))
        .where(HeldLine.organization_id == organization_id, HeldLine.state == HeldState.OPEN, Held.state == HeldState.OPEN)
    ) or 0  # fmt: skip
    payloads = session.scalars(
        select(Held.payload).where(Held.organization_id == organization_id, Held.state == HeldState.OPEN, Held.kind != "pushes")
    )
    return lines + sum(int(payload.get("people", 0)) for payload in payloads if payload)


def _overdue(session: Session, organization_id: str, due_before: datetime) -> dict[str, tuple[int, str | None]]:
    query = (
        select(Proof.workspace_id, func.count(), func.max(Proof.last_error))
        .join(Departure, and_(Departure.organization_id == Proof.organization_id, Departure.id == Proof.departure_id))
        .where(
            Proof.organization_id == organization_id, Proof.shut_at.is_(None), Departure.ended_at.is_(None), Departure.due_at < due_before
        )
        .group_by(Proof.workspace_id)
    )  # fmt: skip
    return {workspace_id: (count, error) for workspace_id, count, error in session.execute(query)}


def _undecided(session: Session, organization_id: str, due_before: datetime) -> int:
    """People whose last instant has passed without anybody having acted on it: no worker runs."""
    query = select(func.count()).select_from(Person).where(
        Person.organization_id == organization_id, Person.standing == Standing.ACTIVE, Person.access_until < due_before
    )  # fmt: skip
    return session.scalar(query) or 0


def _times(session: Session, organization_id: str) -> list[tuple[str, int | None, int | None]]:
    query = (
        select(Proof.workspace_id, Departure.received_at, Proof.shut_at, Proof.gone_at)
        .join(Departure, and_(Departure.organization_id == Proof.organization_id, Departure.id == Proof.departure_id))
        .where(Proof.organization_id == organization_id, Proof.shut_at.is_not(None))
        .order_by(Proof.shut_at.desc())
        .limit(LATEST)
    )
    return [
        (row.workspace_id, milliseconds(row.received_at, row.shut_at), milliseconds(row.received_at, row.gone_at))
        for row in session.execute(query)
    ]


def milliseconds(since: datetime, until: datetime | None) -> int | None:
    """Whole milliseconds from one instant to another; None while the other has not come."""
    return None if until is None else round((until - since) / timedelta(milliseconds=1))


def _spread(times: Iterable[int | None]) -> Spread:
    known = sorted(time for time in times if time is not None)
    if not known:
        return Spread(count=0, p50=None, p99=None)
    # Nearest rank: every figure shown is one that really happened.
    return Spread(count=len(known), p50=known[_rank(len(known), 50)], p99=known[_rank(len(known), 99)])


def _rank(count: int, percent: int) -> int:
    return -(-count * percent // 100) - 1
