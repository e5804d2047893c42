"""How far a source was read: one pull of it at a time, when the next is due, and what is remembered between two."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from app.clock import parse_instant
from app.directory.tables import Source
from app.lifecycle.errors import LifecycleError
from app.lifecycle.pulled_tables import SourceState
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm, settle_alarm

PULLED: Final = ("ldap", "okta", "entra", "csv")
LEASE: Final = timedelta(minutes=2)
"""A pull that was killed keeps the next one waiting for so long. One that is only slow keeps its claim for as long as nobody else takes it."""
SKEW: Final = timedelta(minutes=2)
"""Clocks of two machines may differ by so much; what lies further ahead was written by one that has been put back since."""
RENEW_EVERY: Final = timedelta(seconds=30)
RENEWED: Final = timedelta(days=10)
"""How long before its end a subscription is renewed, so that a week without us ends nothing."""
EVERY: Final = "15m"
FULL_EVERY: Final = "24h"
SOONEST: Final = timedelta(minutes=1)
SILENT_AFTER: Final = timedelta(hours=1)
"""A source that could not be read for so long, and for three of its turns, is an alarm."""
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class UnderWay(LifecycleError):
    """Somebody else is pulling this source at this moment."""


class TakenOver(LifecycleError):
    """Another pull of this source has begun meanwhile: this one writes nothing more."""


class NotPulled(LifecycleError):
    """This source pushes or calls; there is nothing to pull."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often a source is pulled, and how often it is read whole. None is *only when somebody asks for it*."""

    every: timedelta | None
    full_every: timedelta | None


def length(text: str) -> timedelta | None:
    """`off`, or a length of time such as `90s`, `15m`, `24h` or `7d`. Raises ValueError."""
    if text == "off":
        return None
    said = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip(), re.ASCII)
    span = timedelta(**{_UNITS[said[2]]: int(said[1])}) if said else timedelta()
    if span <= timedelta():
        raise ValueError(f"{text!r} is no length of time such as 15m, 24h or 7d, and not off")
    return span


def schedule_of(source: Source) -> Schedule:
    """What its settings say; what cannot be read there is as if it were not there."""
    said = source.settings or {}
    return Schedule(every=_length(said, "every", EVERY), full_every=_length(said, "full_every", FULL_EVERY))


def _length(said: dict[str, Any], name: str, otherwise: str) -> timedelta | None:
    try:
        return length(str(said.get(name, otherwise)))
    except ValueError:
        return length(otherwise)


def claim(session: Session, source: Source, *, by: str, at: datetime, turn: bool = True) -> SourceState:
    """Take the source for one pull, or, where it is not its `turn`, to ask it something. Raises UnderWay."""
    state = session.get(SourceState, (source.organization_id, source.id), with_for_update=True, populate_existing=True)
    if state is None:
        state = SourceState(organization_id=source.organization_id, source_id=source.id, failures=0)
        session.add(state)
    elif state.claimed_by is not None and state.claimed_until is not None and at < state.claimed_until <= at + LEASE + SKEW:
        # One that ends later than any lease does was taken by a clock that has been put back since, and counts no more.
        raise UnderWay(f"{source.name} is being pulled at this moment; if that process has died, it is free again in {LEASE.seconds // 60} minutes")
    state.claimed_by, state.claimed_until = by, at + LEASE
    if turn:
        state.tried_at = at
        # Until it is over, and for one that is killed.
        state.next_at = at + LEASE if _has_turns(source, state) else None
    session.flush()
    return state


def _has_turns(source: Source, state: SourceState | None) -> bool:
    """Whether it is pulled by itself: as it is scheduled, since it said that something changed, which no pull has read yet, or so that it
    goes on saying so."""
    return schedule_of(source).every is not None or (state is not None and (state.woken_at is not None or bool(state.subscriptions)))


def turn_of_hook(state: SourceState, *, at: datetime) -> datetime | None:
    """When a source that has no schedule is pulled all the same, since what it tells us by would end; a pull renews that."""
    if not state.subscriptions:
        return None
    # Not at once where it has just been tried: what could not be renewed is tried again later.
    return max(at + SILENT_AFTER, min(map(parse_instant, state.subscriptions.values())) - RENEWED)


def hold_on(session: Session, organization_id: str, source_id: str, *, by: str, at: datetime) -> None:
    """Keep a claim, and everybody else from taking it until the transaction ends. Raises TakenOver."""
    kept = session.execute(
        update(SourceState)
        .where(SourceState.organization_id == organization_id, SourceState.source_id == source_id, SourceState.claimed_by == by)
        .values(claimed_until=at + LEASE),
        execution_options={"synchronize_session": False},
    )
    if not kept.rowcount:  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class
        raise TakenOver("another pull of this source has begun meanwhile; this one has stopped")


def claimed(session: Session, organization_id: str, source_id: str, *, by: str) -> SourceState | None:
    """What is known of a source, locked; None where the claim is no longer ours."""
    state = session.get(SourceState, (organization_id, source_id), with_for_update=True, populate_existing=True)
    return state if state is not None and state.claimed_by == by else None


def give_back(state: SourceState) -> None:
    """Whoever wants it next may have it."""
    state.claimed_by = state.claimed_until = None


def _as_it_is(session: Session, source: Source) -> Source:
    """With the schedule that it has by now, and not when its pull began. Its state is locked, so nobody changes that meanwhile."""
    return session.get_one(Source, (source.organization_id, source.id), populate_existing=True)


def done(session: Session, source: Source, state: SourceState, *, heard: datetime | None, at: datetime) -> None:
    """It was read: the next turn comes as scheduled, and whoever was told that it is silent is told that it is not.

    `heard` is `woken_at` as it was when the pull began.
    """
    every = schedule_of(_as_it_is(session, source)).every
    state.pulled_at, state.failures, state.problem = at, 0, None
    state.next_at = turn_of_hook(state, at=at) if every is None else (state.tried_at or at) + every
    if state.woken_at == heard:
        # Else something changed while it was read, perhaps behind where it was read already. Not told by which is later: clocks differ.
        state.woken_at = None
    give_back(state)
    settle_alarm(session, source.organization_id, kind=AlarmKind.SOURCE_SILENT, about=source.id, at=at)


def failed(session: Session, source: Source, state: SourceState, problem: str, *, at: datetime, wait: float = 0.0) -> None:
    """It could not be read: the next try comes sooner than the next turn, and later each time. `wait` is what the source asked for."""
    source = _as_it_is(session, source)
    every = schedule_of(source).every
    state.failures += 1
    state.problem = problem
    pause = min(SOONEST * 2 ** min(state.failures - 1, 10), every or SILENT_AFTER)
    state.next_at = at + max(pause, timedelta(seconds=wait)) if _has_turns(source, state) else None
    give_back(state)
    since = state.pulled_at or source.created_at
    if state.failures > 1 and at - since > max(SILENT_AFTER, 3 * (every or timedelta())):
        sentence = f"{source.name}: it could not be read: {problem}."
        raise_alarm(session, source.organization_id, kind=AlarmKind.SOURCE_SILENT, about=source.id, sentence=sentence, at=at)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A source whose turn has come."""

    organization_id: str
    source_name: str


def due(session: Session, at: datetime) -> list[Due]:
    """Every source whose turn has come and that nobody is pulling, the longest due first."""
    rows = session.execute(
        select(Source, SourceState)
        .outerjoin(SourceState, (SourceState.organization_id == Source.organization_id) & (SourceState.source_id == Source.id))
        .where(
            Source.kind.in_(PULLED), Source.ended_at.is_(None),
            or_(
                SourceState.next_at.is_(None), SourceState.next_at <= at,
                # It said that something changed. One that cannot be read waits all the same: it may have asked for that pause.
                and_(SourceState.woken_at.is_not(None), SourceState.failures == 0),
                # Whoever was tried at an instant that is yet to come has a turn by a clock that has been put back since.
                SourceState.tried_at > at + SKEW,
            ),
            or_(SourceState.claimed_until.is_(None), SourceState.claimed_until <= at, SourceState.claimed_until > at + LEASE + SKEW),
        )
        .order_by(SourceState.next_at.nulls_first(), Source.created_at)
    )  # fmt: skip
    return [
        Due(organization_id=source.organization_id, source_name=source.name)
        for source, state in rows
        if _has_turns(source, state)
    ]
