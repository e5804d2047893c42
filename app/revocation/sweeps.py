"""How far the sweep has come, place by place; whom it has to look at next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from sqlalchemy import literal, or_, select, tuple_, update
from sqlalchemy.orm import Session

from app.access.tables import EndedWorkspace
from app.database import Instant
from app.directory.tables import Person, not_active
from app.journal.work import insert_for
from app.revocation.sweep_tables import Sweep
from app.revocation.tables import Departure

AFTER: Final = timedelta(seconds=60)
"""A departure is looked at for the first time when it has had this long."""
EVERY: Final = timedelta(days=1)
"""Everyone who has left is looked at anew this long after the last round came to its end."""
LEASE: Final = timedelta(minutes=10)
BEGINNING: Final = ""
# Nobody comes round to a workspace any more that is ended; its row may be written once more by a sweep that was under way.
_STILL_SWEPT: Final = select(Sweep).where(Sweep.place.not_in(select(EndedWorkspace.id)))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a page, and how far the sweep has come behind it. `person_id` is None where nobody is to be looked at for it."""

    person_id: str | None
    upto: tuple[datetime, str] | None = None
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Whom to look at in one go, and how far the sweep has come once that is done."""

    people: tuple[str, ...]
    upto: tuple[datetime, str] | None = None
    cursor: str | None = None
    in_round: bool = False
    ends_round: bool = False
    rows: tuple[Row, ...] = ()

    def cut(self, count: int) -> "Page | None":
        """As much of it as is done once the first `count` people were looked at; None where that is nothing."""
        if count >= len(self.people):
            return self
        looked = {None, *self.people[:count]}
        done = tuple(takewhile(lambda row: row.person_id in looked, self.rows))
        if not done:
            return None
        return replace(self, people=self.people[:count], upto=done[-1].upto, cursor=done[-1].cursor, ends_round=False, rows=done)


def sweeps_of(session: Session, organization_id: str) -> Sequence[Sweep]:
    """Each place of an organisation that was swept, and still is."""
    return session.scalars(_STILL_SWEPT.where(Sweep.organization_id == organization_id).order_by(Sweep.place)).all()


def all_sweeps(session: Session) -> Sequence[Sweep]:
    """The same of every organisation."""
    return session.scalars(_STILL_SWEPT.order_by(Sweep.organization_id, Sweep.place)).all()


def take(session: Session, organization_id: str, place: str, *, at: datetime) -> bool:
    """Have this place to oneself for a while, so that several processes do not all look at the same people. False where another has it."""
    fresh = insert_for(session.get_bind().dialect.name)(Sweep).values(
        organization_id=organization_id, place=place, upto_at=at - AFTER, upto_id="", looked=0, alive=0
    )
    session.execute(fresh.on_conflict_do_nothing())
    free = or_(Sweep.lease_until.is_(None), Sweep.lease_until <= at)
    mine = update(Sweep).where(Sweep.organization_id == organization_id, Sweep.place == place, free).values(lease_until=at + LEASE)
    return session.scalar(mine.returning(Sweep.place), execution_options={"synchronize_session": False}) is not None


def give_back(session: Session, organization_id: str, place: str, *, error: str | None) -> None:
    """Let others have it, and say what kept us from looking."""
    session.execute(
        update(Sweep).where(Sweep.organization_id == organization_id, Sweep.place == place).values(lease_until=None, last_error=error),
        execution_options={"synchronize_session": False},
    )


def begin_round(session: Session, organization_id: str, place: str, *, at: datetime) -> None:
    """Look at everyone who has left, from the beginning, now; a round that is under way begins anew."""
    session.execute(
        update(Sweep)
        .where(Sweep.organization_id == organization_id, Sweep.place == place)
        .values(cursor=BEGINNING, round_began_at=at, looked=0, alive=0),
        execution_options={"synchronize_session": False},
    )


def next_page(session: Session, organization_id: str, place: str, *, at: datetime, most: int) -> Page | None:
    """Who is to be looked at now: new departures first, then the round, where one is due. None where nobody is."""
    row = session.get_one(Sweep, (organization_id, place), populate_existing=True)
    new = _new_departures(session, row, at=at, most=most)
    if new is not None:
        return new
    if row.cursor is None and (row.round_ended_at is None or row.round_ended_at <= at - EVERY):
        begin_round(session, organization_id, place, at=at)
        row = session.get_one(Sweep, (organization_id, place), populate_existing=True)
    return None if row.cursor is None else _of_round(session, row, most=most)


def _new_departures(session: Session, row: Sweep, *, at: datetime, most: int) -> Page | None:
    found = session.execute(
        select(Departure.decided_at, Departure.id, Departure.person_id, Departure.ended_at)
        .where(
            Departure.organization_id == row.organization_id, Departure.decided_at <= at - AFTER,
            Departure.decided_at >= row.upto_at,
            tuple_(Departure.decided_at, Departure.id) > tuple_(literal(row.upto_at, Instant()), literal(row.upto_id)),
        )
        .order_by(Departure.decided_at, Departure.id)
        .limit(most)
    ).all()  # fmt: skip
    if not found:
        return None
    rows = tuple(Row(person_id=one.person_id if one.ended_at is None else None, upto=(one.decided_at, one.id)) for one in found)
    return Page(people=tuple(dict.fromkeys(one.person_id for one in rows if one.person_id is not None)), upto=rows[-1].upto, rows=rows)


def _of_round(session: Session, row: Sweep, *, most: int) -> Page:
    # In the order of the index: first those who have departed, then those who have yet to start, then those who are away for a while.
    standing, _, person_id = (row.cursor or "").partition(" ")
    found = session.execute(
        select(Person.standing, Person.id)
        .where(
            Person.organization_id == row.organization_id, not_active(),
            or_(Person.standing > standing, (Person.standing == standing) & (Person.id > person_id)),
        )
        .order_by(Person.standing, Person.id)
        .limit(most)
    ).all()  # fmt: skip
    ended = len(found) < most
    rows = tuple(Row(person_id=one.id, cursor=f"{one.standing} {one.id}") for one in found)
    return Page(people=tuple(one.id for one in found), cursor=None if ended else rows[-1].cursor, in_round=True, ends_round=ended, rows=rows)


def note_alive(session: Session, organization_id: str, place: str, found: int) -> None:
    """So many more were found, whether or not the rest of their page could be looked at."""
    session.execute(
        update(Sweep).where(Sweep.organization_id == organization_id, Sweep.place == place).values(alive=Sweep.alive + found),
        execution_options={"synchronize_session": False},
    )


def done(session: Session, organization_id: str, place: str, page: Page, *, at: datetime) -> None:
    """The people of a page were looked at: the next one begins behind them."""
    row = session.get_one(Sweep, (organization_id, place), with_for_update=True, populate_existing=True)
    row.looked += len(page.people)
    if page.upto is not None:
        row.upto_at, row.upto_id = page.upto
    if page.in_round:
        row.cursor = page.cursor
        row.round_ended_at = at if page.ends_round else row.round_ended_at
