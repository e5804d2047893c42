"""The figures that people watch: what waits, what is stuck, and how long it took to shut people out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.access.session_tables import RelyingParty
from app.access.tables import EndedWorkspace, Workspace, WorkspaceState
from app.directory.tables import Person, Standing
from app.journal.tables import HERE, Subject, Work, WorkState
from app.lifecycle.spreads import NO_TIMES, WINDOW, Spread, Times, times_of
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.revocation import streams
from app.revocation.stream_tables import Stream
from app.revocation.tables import Departure, Proof

SOON = timedelta(minutes=2)
"""Work that is due later than this, and never failed, waits for its own hour and not for us."""


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
class TargetFigures:
    """A place that people are shut out of: a workspace, a relying party, a stream, or Doorlist itself."""

    id: str
    name: str
    kind: str
    overdue: int
    times: Times


@dataclass(frozen=True, kw_only=True)
class Figures:
    """`waiting` counts work that should be under way; `scheduled` what is due later, people's own days aside. `held` and `overdue` count people,
    an overdue one once for each place. Times are over `window` at most."""

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
    targets: tuple[TargetFigures, ...]
    window: timedelta


def take(session: Session, organization_id: str, *, at: datetime, overdue_after: timedelta, window: timedelta = WINDOW) -> Figures:
    """Count everything as it stands. Only reads."""
    waiting, scheduled, parked = (_work(session, organization_id, which) for which in _kinds_of_work(at))
    overdue = overdue_by_place(session, organization_id, at - overdue_after)
    places = places_of(session, organization_id)
    # What ends here ends at the commit: counted in, it would make every workspace look faster than it is.
    times = times_of(session, organization_id, list(places), since=at - window, apart=HERE)
    of_all = times.get("", NO_TIMES)
    found = session.scalars(select(Workspace).where(Workspace.organization_id == organization_id).order_by(Workspace.name)).all()
    workspaces = tuple(
        WorkspaceFigures(
            id=one.id, name=one.name, kind=one.kind, halted=one.state == WorkspaceState.HALTED, halted_reason=one.halted_reason,
            waiting=waiting.get(one.id, 0), parked=parked.get(one.id, 0), overdue=overdue.get(one.id, (0, None))[0],
            last_error=overdue.get(one.id, (0, None))[1], to_shut=times.get(one.id, NO_TIMES).to_shut,
            to_gone=times.get(one.id, NO_TIMES).to_gone,
        )
        for one in found
    )  # fmt: skip
    targets = tuple(
        TargetFigures(id=place, name=name, kind=kind, overdue=overdue.get(place, (0, None))[0], times=times.get(place, NO_TIMES))
        for place, (name, kind) in places.items()
    )
    undecided = undecided_people(session, organization_id, at - overdue_after)
    return Figures(
        waiting=sum(waiting.values()), scheduled=sum(scheduled.values()), parked=sum(parked.values()),
        halted=sum(one.halted for one in workspaces), held=held_people(session, organization_id), undecided=undecided,
        overdue=undecided + sum(count for count, _ in overdue.values()), workspaces=workspaces,
        to_shut=of_all.to_shut, to_gone=of_all.to_gone, targets=targets, window=window,
    )  # fmt: skip


def _kinds_of_work(at: datetime) -> tuple[object, object, object]:
    # A marker for somebody's last day waits for that day, and is counted nowhere: who is to leave, and that anybody is, is for few.
    # A delivery that failed waits for us, however long its pause.
    failed = or_(Work.attempts > 0, Work.last_error.is_not(None))
    for_later = and_(
        or_(and_(Work.subject == Subject.DUE, Work.due_at > at), Work.due_at > at + SOON), Work.attempts == 0, Work.last_error.is_(None)
    )
    open_now = and_(Work.state == WorkState.WAITING, or_(failed, ~for_later))
    return open_now, and_(Work.state == WorkState.WAITING, for_later, Work.subject != Subject.DUE), Work.state == WorkState.PARKED


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


def places_of(session: Session, organization_id: str) -> dict[str, tuple[str, str]]:
    """Name and kind of everything that people are shut out of: Doorlist itself, workspaces, whoever is told of departures."""
    places = {HERE: ("doorlist", "doorlist")}
    for one in session.scalars(select(Workspace).where(Workspace.organization_id == organization_id).order_by(Workspace.name)):
        places[one.id] = (one.name, one.kind)
    told = select(RelyingParty).where(RelyingParty.organization_id == organization_id, RelyingParty.backchannel_logout_uri.is_not(None))
    for party in session.scalars(told.order_by(RelyingParty.name, RelyingParty.id)):
        places[party.id] = (party.name, "relying party")
    followers = streams.names_of(session, organization_id)
    # Those that stand: what a receiver set up before has the same name, and nothing open.
    standing = session.scalars(select(Stream.id).where(Stream.organization_id == organization_id, Stream.ended_at.is_(None)))
    places |= {one: (followers[one], "signal stream") for one in sorted(standing, key=lambda one: (followers[one], one))}
    return places


def overdue_by_place(session: Session, organization_id: str, due_before: datetime) -> dict[str, tuple[int, str | None]]:
    """How many are not shut out of each place though they should be, and what stood in the way last."""
    query = (
        select(Proof.workspace_id, func.count(), func.max(Proof.last_error))
        .join(Departure, and_(Departure.organization_id == Proof.organization_id, Departure.id == Proof.departure_id))
        .where(
            # Who is not shut is not gone; it is said because the index is by that.
            Proof.organization_id == organization_id, Proof.gone_at.is_(None), Proof.shut_at.is_(None), Departure.ended_at.is_(None),
            Departure.due_at < due_before,
            # Nobody can be shut out of a workspace any more that is ended, nor is that waited for; nor is an application told that is.
            Proof.workspace_id.not_in(select(EndedWorkspace.id).where(EndedWorkspace.organization_id == organization_id)),
            Proof.workspace_id.not_in(
                select(RelyingParty.id).where(RelyingParty.organization_id == organization_id, RelyingParty.ended_at.is_not(None))
            ),
        )
        .group_by(Proof.workspace_id)
    )  # fmt: skip
    return {workspace_id: (count, error) for workspace_id, count, error in session.execute(query)}


def undecided_people(session: Session, organization_id: str, due_before: datetime) -> int:
    """People whose last instant has passed without anybody having acted on it: no worker runs."""
    query = select(func.count()).select_from(Person).where(
        Person.organization_id == organization_id, Person.standing == Standing.ACTIVE, Person.access_until < due_before
    )  # fmt: skip
    return session.scalar(query) or 0


def milliseconds(since: datetime, until: datetime | None) -> int | None:
    """Whole milliseconds from one instant to another; None while the other has not come."""
    return None if until is None else round((until - since) / timedelta(milliseconds=1))
