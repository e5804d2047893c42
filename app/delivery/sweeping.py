"""The sweep: an independent look for access that is still alive, though its owner has left.

It believes nothing that was written down as done: Doorlist's own doors are asked as anybody else would ask them, and each
workspace is read anew. Every departure is looked at a minute after it was decided, and everyone who has left once a day.
Who is found goes through a departure once more, and people are told. None is expected.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing
from app.access.session_tables import Device, Grant, IssuedToken, WebSession
from app.access.sessions import of_person
from app.access.tables import RESERVED, Account, Workspace, WorkspaceState
from app.actors import Actor, ActorKind
from app.clock import Clock
from app.clock import now as wall_clock
from app.command_lines import to_type
from app.database import in_transaction, reading
from app.delivery.access import still_let_in
from app.delivery.workspaces import WorkspaceEnded
from app.directory.tables import Person, Standing
from app.journal import entries, work
from app.journal.tables import HERE, Lane, Organization, Subject
from app.lifecycle.errors import named
from app.lifecycle.people import lock_person
from app.revocation import departures, sweeps
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.revocation.tables import Proof
from connectors.contract import AccountId, AccountState, Conflict, ConnectorError, Missing, Refused, ShowsAccess, Target, Unreachable

log = logging.getLogger(__name__)

PAGE: Final = 200
SECONDS_AT_A_PLACE: Final = 20.0
"""A run of the scheduler ends in one place after about this long, also within a page; the next goes on behind it."""
LOOKS_RESTORED: Final = 2
"""So many people who were shut out and are alive again, in one page: no single hand did that."""
SWEEPER: Final = Actor(kind=ActorKind.CLOCK, name="sweep")


class StillGood(Protocol):
    """The question that every door asks: how many things of a person's would be let in now?"""

    def __call__(self, session: Session, organization_id: str, person_id: str, *, at: datetime) -> int: ...


class Opens(Protocol):
    """Opens the connector of a workspace. Raises KeyMissing, ConnectorError, WorkspaceEnded."""

    def of(self, organization_id: str, workspace_id: str) -> Target: ...


def let_in_here(session: Session, organization_id: str, person_id: str, *, at: datetime) -> int:
    """What every door here would let in, and what none of them should have given: things of the epoch that began with the departure."""
    given_since = (
        session.scalar(
            select(func.count())
            .select_from(held)
            .join(Person, of_person(held))
            .where(
                held.organization_id == organization_id, held.person_id == person_id, held.ended_at.is_(None), held.epoch >= Person.access_epoch,
                Person.standing != Standing.ACTIVE,
            )
        )
        or 0
        for held in (WebSession, Grant, IssuedToken, Device)
    )  # fmt: skip
    return max(still_let_in(session, organization_id, person_id, at=at), sum(given_since))


@dataclass(frozen=True, kw_only=True)
class Alive:
    """Somebody who has left and could still get in. `shut_before` is false where their departure is under way still."""

    person_id: str
    user_name: str
    how: str
    shut_before: bool


@dataclass(kw_only=True)
class Swept:
    """What was seen in one place in this run. `complete` where everyone was looked at who was to be; else `error` says why not."""

    organization_id: str
    place: str
    name: str
    looked: int = 0
    alive: list[Alive] = field(default_factory=list)
    error: str | None = None
    complete: bool = True


def sweep(
    app: Flask, targets: Opens, *, organization_id: str | None = None, everyone: bool = False, still_good: StillGood = let_in_here,
    clock: Clock = wall_clock, page: int = PAGE, seconds: float = SECONDS_AT_A_PLACE,
) -> list[Swept]:  # fmt: skip
    """Look at who is due, everywhere; with `everyone`, at everyone who has left, however long it takes. Safe in several processes at once."""
    with app.app_context():
        with reading() as session:
            places = _places(session, organization_id)
        # How long one place may take, and how many people are looked at before that is asked.
        bound = None if everyone else seconds
        return [one for place in places if (one := _sweep_place(place, targets, bound, page, still_good=still_good, clock=clock)) is not None]


def left_out(session: Session, organization_id: str, swept: Sequence[Swept]) -> list[Swept]:
    """The places that a run did not look at, each with why: of them it says nothing about anybody."""
    seen = {one.place for one in swept}
    busy = "it is being looked at just now, or was until a process was killed: try again in a few minutes"
    found = [] if HERE in seen else [Swept(organization_id=organization_id, place=HERE, name=HERE, error=busy, complete=False)]
    for one in session.scalars(select(Workspace).where(Workspace.organization_id == organization_id, Workspace.id.not_in(seen)).order_by(Workspace.name)):
        halted = f"{one.name} is halted and is not asked: {to_type('workspace resume', one.name)}"
        error = halted if one.state == WorkspaceState.HALTED else busy
        found.append(Swept(organization_id=organization_id, place=one.id, name=one.name, error=error, complete=False))
    return found


def _places(session: Session, organization_id: str | None) -> list[Swept]:
    organizations = select(Organization.id).order_by(Organization.name)
    if organization_id is not None:
        organizations = organizations.where(Organization.id == organization_id)
    places: list[Swept] = []
    for one in session.scalars(organizations).all():
        places.append(Swept(organization_id=one, place=HERE, name=HERE))
        # One that is halted answers nothing; it shows as such, and all its departures as overdue.
        running = select(Workspace).where(Workspace.organization_id == one, Workspace.state == WorkspaceState.RUNNING).order_by(Workspace.name)
        places += [Swept(organization_id=one, place=found.id, name=found.name) for found in session.scalars(running)]
    return places


def _sweep_place(swept: Swept, targets: Opens, bound: float | None, page_of: int, *, still_good: StillGood, clock: Clock) -> Swept | None:
    at = clock()
    if not in_transaction(lambda session: sweeps.take(session, swept.organization_id, swept.place, at=at)):
        return None
    began = time.monotonic()
    try:
        look = _look_here(still_good, clock) if swept.place == HERE else _look_there(targets.of(swept.organization_id, swept.place), swept.place)
        if bound is None:
            in_transaction(lambda session: sweeps.begin_round(session, swept.organization_id, swept.place, at=at))
        while (page := in_transaction(lambda session: _next(session, swept, at=at, most=page_of))) is not None:
            _sweep_page(swept, page, look, until=(time.monotonic() if bound is None else began) + SECONDS_AT_A_PLACE, clock=clock)
            if bound is not None and time.monotonic() - began > bound:
                swept.complete = False
                break
    except WorkspaceEnded:
        return None
    except (ConnectorError, KeyMissing) as error:
        # Unknown, never *out*: the same people are looked at once it answers again.
        swept.error, swept.complete = str(error), False
        log.warning("the sweep could not look at %s: %s", swept.name, error)
    finally:
        in_transaction(lambda session: sweeps.give_back(session, swept.organization_id, swept.place, error=swept.error))
    return swept


def _next(session: Session, swept: Swept, *, at: datetime, most: int) -> sweeps.Page | None:
    return sweeps.next_page(session, swept.organization_id, swept.place, at=at, most=most)


Look = Callable[[Person], "str | None"]
"""How a person can still get in at one place; None where they cannot. Raises ConnectorError."""


def _look_here(still_good: StillGood, clock: Clock) -> Look:
    def look(person: Person) -> str | None:
        with reading() as session:
            count = still_good(session, person.organization_id, person.id, at=clock())
        return f"{count} sessions, tokens or devices are good" if count else None

    return look


def _look_there(target: Target, workspace_id: str) -> Look:
    def look(person: Person) -> str | None:
        with reading() as session:
            row = session.get(Account, (person.organization_id, workspace_id, person.id))
        marked = target.find_account(person.id)
        if marked is not None and marked.state is AccountState.ACTIVE:
            return f"account {marked.id} is active"
        # A reserved id is not known to be this person's: somebody else may have it.
        known = {AccountId(row.account_id)} if row is not None and row.state != RESERVED else set()
        for account_id in sorted(known | ({marked.id} if marked is not None else set())):
            if isinstance(target, ShowsAccess) and not (seen := target.show_access(account_id)).shut:
                return f"account {account_id} has {seen.sessions} sessions and {seen.pushers} push registrations"
        return None

    return look


def _sweep_page(swept: Swept, page: sweeps.Page, look: Look, *, until: float, clock: Clock) -> None:
    """Look at a page of people, and have shut out whoever was found, also where the place then broke off. Raises ConnectorError.

    Of a page that is not through by `until` the rest is the next one, as it is where the place broke off.
    """
    with reading() as session:
        people = [session.get(Person, (swept.organization_id, one)) for one in page.people]
    # No transaction is open while they are looked at over the network.
    seen = _looked_at(swept, people, look, until=until)
    done = page.cut(seen.count)

    def act(session: Session) -> list[Alive]:
        alive = [one for person_id, how in seen.found if (one := _put_back(session, swept, person_id, how, at=clock())) is not None]
        if _tell(session, swept, alive, at=clock()) and not page.in_round:
            # Whoever else is alive there again is not waited for until tomorrow.
            sweeps.begin_round(session, swept.organization_id, swept.place, at=clock())
        sweeps.note_alive(session, swept.organization_id, swept.place, len(alive))
        if done is not None:
            sweeps.done(session, swept.organization_id, swept.place, done, at=clock())
        return alive

    swept.alive += in_transaction(act)
    swept.looked += 0 if done is None else len(done.people)
    if seen.broken is not None:
        raise seen.broken


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """Who can still get in and how, among the first `count` people; and what broke the look off, where the place answers for nobody any more."""

    found: list[tuple[str, str]]
    count: int
    broken: ConnectorError | None = None


def _looked_at(swept: Swept, people: Sequence[Person | None], look: Look, *, until: float) -> _Looked:
    found: list[tuple[str, str]] = []
    unanswered: tuple[Person, int, Unreachable] | None = None

    def looked(one: Person) -> None:
        try:
            how = look(one)
        except (Refused, Conflict, Missing) as error:
            _refused(swept, one, error)
        else:
            found.extend([(one.id, how)] if how is not None else [])

    for number, one in enumerate(people):
        if number and unanswered is None and time.monotonic() > until:
            return _Looked(found=found, count=number)
        if one is None or not _is_out(one):
            # Nothing was asked for them, and so nothing was answered.
            continue
        try:
            looked(one)
        except Unreachable as error:
            if unanswered is not None:
                return _Looked(found=found, count=unanswered[1], broken=unanswered[2])
            # It may be so with this one person alone: that is seen by the next one.
            unanswered = (one, number, error)
            continue
        except ConnectorError as error:
            return _Looked(found=found, count=number if unanswered is None else unanswered[1], broken=error)
        if unanswered is not None:
            (before, place, _), unanswered = unanswered, None
            try:
                looked(before)
            except Unreachable as error:
                _refused(swept, before, error)
            except ConnectorError as error:
                return _Looked(found=found, count=place, broken=error)
    if unanswered is not None:
        return _Looked(found=found, count=unanswered[1], broken=unanswered[2])
    return _Looked(found=found, count=len(people))


def _refused(swept: Swept, one: Person, error: ConnectorError) -> None:
    """It says so of this one person, who is asked for again in the next round: those behind them are looked at all the same."""
    swept.error, swept.complete = swept.error or str(error), False
    log.warning("the sweep could not look at person %s in %s: %s", one.id, swept.name, error)


def _is_out(person: Person) -> bool:
    return person.standing != Standing.ACTIVE


def _put_back(session: Session, swept: Swept, person_id: str, how: str, *, at: datetime) -> Alive | None:
    """Have them shut out once more, by a departure of its own with its own times. None where they came back meanwhile."""
    person = lock_person(session, swept.organization_id, person_id)
    if not _is_out(person):
        return None
    current = departures.current(session, swept.organization_id, person_id)
    proof = session.get(Proof, (swept.organization_id, current.id, swept.place)) if current is not None else None
    under_way = current is not None and proof is not None and proof.shut_at is None
    if under_way:
        # Whatever became of its work: somebody has to be at it.
        work.want(
            session, swept.organization_id, subject=Subject.ACCESS if swept.place == HERE else Subject.ACCOUNT, subject_ids=[person_id], because=None,
            due_at=at, lane=Lane.DEPARTURES, workspace_id=swept.place, anew=False,
        )  # fmt: skip
    else:
        entry = entries.write(
            session, swept.organization_id, at=at, actor=SWEEPER, verb="found alive", because=f"{swept.name}: {how}", subject_kind="person",
            subject_id=person_id, before={"departure": None if current is None else current.id},
        )  # fmt: skip
        # The person's row is written once, with both of its changes: the second one under the same entry would be refused.
        with session.no_autoflush:
            departures.close(session, person, at=at)
            person.journal_id = entry
            means = Standing.DEPARTED if person.standing == Standing.DEPARTED else Standing.PAUSED
            departures.revoke(
                session, person, means=means, reason=f"found alive by the sweep in {swept.name}: {how}", actor=str(SWEEPER),
                due_at=at, received_at=at, at=at, journal_id=entry,
            )  # fmt: skip
    return Alive(person_id=person_id, user_name=person.user_name, how=how, shut_before=not under_way)


def _tell(session: Session, swept: Swept, alive: Sequence[Alive], *, at: datetime) -> bool:
    """One alarm for each place, however many there are. Who is being shut out still is told of as *not shut*, elsewhere."""
    again = [one for one in alive if one.shut_before]
    if not again:
        return False
    people = "1 person who has" if len(again) == 1 else f"{len(again)} people who have"
    names = named([one.user_name for one in again])
    raise_alarm(
        session, swept.organization_id, kind=AlarmKind.ACCESS_STILL_ALIVE, about=swept.place,
        sentence=f"The sweep found {people} left and could still get into {swept.name}: {names}.", at=at,
    )  # fmt: skip
    if swept.place != HERE and len(again) >= LOOKS_RESTORED:
        raise_alarm(
            session, swept.organization_id, kind=AlarmKind.WORKSPACE_RESTORED, about=swept.place,
            sentence=f"{swept.name} lets in {len(again)} people again whom it had shut out: was it restored from a backup?", at=at,
        )  # fmt: skip
    return True
