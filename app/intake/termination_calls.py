"""Who is looked at for a report on terminations, gathered on disk: HR's calls are many, and of most people there are none in the period.

A call names its date in its body alone, so each that says that somebody leaves is read once.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, defer

from app.clock import microseconds, stored_instant
from app.directory.tables import Person, Source, Standing, Statement, StatementKind
from app.intake.hr import KINDS, BadCall, kept
from app.intake.tables import HREvent
from app.intake.termination_words import LEAVING, Call, Period
from app.journal.tables import Entry, Organization
from app.lifecycle.people import SAME_PERSON
from app.lifecycle.tables import HeldLine, HeldState
from app.revocation.tables import Departure

LEAVES: Final = tuple(name for name, kind in KINDS.items() if kind is StatementKind.LEAVES)
WAITING: Final = ("received", "parked", "awaited", "dropped")
"""States of a call that nobody was found for, or that has yet to be understood."""
AT_A_TIME: Final = 500
_TABLES: Final = """
CREATE TABLE call (
    number INTEGER PRIMARY KEY, person TEXT, source TEXT, event TEXT, sha TEXT, received INTEGER, for_at INTEGER, dated INTEGER, engagement TEXT,
    last_day TEXT, state TEXT, problem TEXT, employee TEXT, understood INTEGER
);
CREATE INDEX call_person ON call (person);
CREATE TABLE person (id TEXT PRIMARY KEY, first INTEGER, merged_into TEXT, merged_at INTEGER);
"""
_COLUMNS: Final = "source, event, sha, received, for_at, dated, engagement, last_day, state, problem, employee"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Somebody of whom something falls into the period. Who turned out to be the same person as another says so."""

    person_id: str
    merged_into: str | None
    merged_at: datetime | None


class Gathered:
    """A temporary database that is gone when it is closed. Its people come by the first day that counts, then by id."""

    def __init__(self) -> None:
        # No name: SQLite keeps it in memory while it is small, and in a file that nobody else can open beyond that.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def call(self, call: Call, *, person_id: str | None, understood: bool) -> None:
        row = (
            person_id, call.source, call.event_id, call.sha256, microseconds(call.received_at), microseconds(call.for_at), call.dated,
            call.engagement, call.last_day, call.state, call.problem, call.employee_id, understood,
        )  # fmt: skip
        self._db.execute(
            f"INSERT INTO call (person, {_COLUMNS}, understood) VALUES ({', '.join('?' * len(row))})", row
        )

    def people(self, rows: Iterable[tuple[str, datetime]]) -> None:
        self._db.executemany(
            "INSERT INTO person (id, first) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET first = min(first, excluded.first)",
            ((person_id, microseconds(at)) for person_id, at in rows),
        )

    def merge(self, was: str, now: str, at: datetime) -> bool:
        """Calls that named the one named the other. False where that was known."""
        if self._db.execute("SELECT merged_at FROM person WHERE id = ?", (was,)).fetchone() == (microseconds(at),):
            return False
        self._db.execute("UPDATE call SET person = ? WHERE person = ?", (now, was))
        self._db.execute("INSERT INTO person (id, first) SELECT ?, first FROM person WHERE id = ? ON CONFLICT DO NOTHING", (now, was))
        self._db.execute("UPDATE person SET merged_into = ?, merged_at = ? WHERE id = ?", (now, microseconds(at), was))
        self._db.execute("UPDATE person SET merged_into = ? WHERE merged_into = ?", (now, was))
        return True

    def merged_into(self, people: Sequence[str]) -> dict[str, tuple[str, datetime]]:
        """Who turned out to be one of these people, by their own id, and when."""
        marks = ", ".join("?" * len(people))
        query = f"SELECT id, merged_into, merged_at FROM person WHERE merged_into IN ({marks})"
        return {was: (now, stored_instant(at)) for was, now, at in self._db.execute(query, list(people))}

    def batches(self) -> Iterator[list[Candidate]]:
        """Everybody, so many at a time."""
        last: tuple[int, str] = (-(2**62), "")
        page = "SELECT first, id, merged_into, merged_at FROM person WHERE (first, id) > (?, ?) ORDER BY first, id LIMIT ?"
        while rows := self._db.execute(page, (*last, AT_A_TIME)).fetchall():
            last = (rows[-1][0], rows[-1][1])
            yield [Candidate(person_id=row[1], merged_into=row[2], merged_at=None if row[3] is None else stored_instant(row[3])) for row in rows]

    def calls_of(self, people: Sequence[str]) -> dict[str, list[Call]]:
        """What HR said of these people that was acted on, whenever that was."""
        marks = ", ".join("?" * len(people))
        query = f"SELECT person, {_COLUMNS} FROM call WHERE person IN ({marks}) ORDER BY received, number"
        found: dict[str, list[Call]] = {}
        for row in self._db.execute(query, list(people)):
            found.setdefault(row[0], []).append(_call(row[1:]))
        return found

    def nobodys(self, *, understood: bool) -> Iterator[Call]:
        """Calls that nobody was found for, or that nobody has understood; by their day."""
        query = f"SELECT {_COLUMNS} FROM call WHERE person IS NULL AND understood = ? ORDER BY for_at, number"
        for row in self._db.execute(query, (understood,)):
            yield _call(row)


def _call(row: Sequence[Any]) -> Call:
    source, event_id, sha256, received, for_at, dated, engagement, last_day, state, problem, employee = row
    return Call(
        source=source, event_id=event_id, sha256=sha256, received_at=stored_instant(received), for_at=stored_instant(for_at), dated=bool(dated),
        engagement=engagement, last_day=last_day, state=state, problem=problem, employee_id=employee,
    )  # fmt: skip


def gather(session: Session, organization_id: str, period: Period) -> tuple[Gathered, int]:
    """Everybody who may have a termination in the period, and every call that one may go back to; and how many calls name a day in it.

    Each call that says that somebody leaves is kept, also of another time: one of this period may be overtaken by it.
    """
    gathered = Gathered()
    try:
        calls = _gather_calls(session, organization_id, period, gathered)
        for rows in _others(session, organization_id, period):
            gathered.people(rows)
        _follow_merges(session, organization_id, gathered)
    except BaseException:
        gathered.close()
        raise
    return gathered, calls


def _gather_calls(session: Session, organization_id: str, period: Period, gathered: Gathered) -> int:
    names = {one.id: one.name for one in session.scalars(select(Source).where(Source.organization_id == organization_id))}
    kind = HREvent.body["type"].as_string()
    query = (
        select(HREvent)
        .where(
            HREvent.organization_id == organization_id,
            or_(kind.in_(LEAVES), (HREvent.state.in_(WAITING)) & kind.not_in([*KINDS, "handshake"]), (HREvent.state.in_(WAITING)) & kind.is_(None)),
        )
        .options(defer(HREvent.sealed_body))
        .execution_options(yield_per=AT_A_TIME)
    )  # fmt: skip
    # Held on to, so that its settings are not asked for once for each call.
    organization = session.get_one(Organization, organization_id)
    inside = 0
    for event in session.scalars(query):
        understood = event.body.get("type") in LEAVES
        call = _read(session, event, names.get(event.source_id, event.source_id))
        acted_on = understood and event.state == "applied" and event.person_id is not None
        if acted_on and event.person_id is not None:
            gathered.call(call, person_id=event.person_id, understood=True)
            if period.holds(call.for_at):
                gathered.people([(event.person_id, call.for_at)])
        elif period.holds(call.for_at) and event.state in WAITING:
            gathered.call(call, person_id=None, understood=understood)
        else:
            continue
        inside += understood and period.holds(call.for_at)
    del organization
    return inside


def _read(session: Session, event: HREvent, source: str) -> Call:
    try:
        said = kept(session, event)
    except BadCall:
        # It was taken when it came, by a reading that has changed since: its date is not known any more.
        said = None
    data = event.body.get("data")
    data = data if isinstance(data, dict) else {}
    for_at = None if said is None else said.effective_at
    last_day = data.get("last_day_of_work") or data.get("termination_date")
    return Call(
        source=source, event_id=event.event_id, sha256=event.sha256, received_at=event.received_at, for_at=for_at or event.received_at,
        dated=for_at is not None, engagement=str(data.get("engagement_id") or "").strip(), last_day=None if last_day is None else str(last_day),
        state=event.state, problem=event.problem, employee_id=event.employee_id or data.get("employee_id"),
    )  # fmt: skip


def _others(session: Session, organization_id: str, period: Period) -> Iterator[Iterable[tuple[str, datetime]]]:
    """Who was shut out, whom a voice said to leave, whose access is to end, and whom the brake keeps in."""

    def rows(query: Any) -> Iterator[tuple[str, datetime]]:
        for row in session.execute(query, execution_options={"yield_per": AT_A_TIME}):
            yield row[0], row[1]

    yield rows(
        select(Departure.person_id, Departure.due_at).where(
            Departure.organization_id == organization_id, Departure.means == Standing.DEPARTED, Departure.due_at > period.since,
            Departure.due_at <= period.until,
        )
    )  # fmt: skip
    yield rows(
        select(Statement.person_id, Statement.effective_at).where(
            Statement.organization_id == organization_id, Statement.kind.in_(LEAVING), Statement.effective_at > period.since,
            Statement.effective_at <= period.until,
        )
    )  # fmt: skip
    yield rows(
        select(Person.id, Person.access_until).where(
            Person.organization_id == organization_id, Person.standing == Standing.ACTIVE, Person.access_until > period.since,
            Person.access_until <= period.until,
        )
    )  # fmt: skip
    yield rows(
        select(HeldLine.person_id, HeldLine.created_at).where(
            HeldLine.organization_id == organization_id, HeldLine.person_id.is_not(None), HeldLine.created_at > period.since,
            HeldLine.created_at <= period.until, HeldLine.state.in_((HeldState.OPEN, HeldState.REJECTED)),
            HeldLine.subject_kind.in_(("record", "statement")),
        )
    )  # fmt: skip


def _follow_merges(session: Session, organization_id: str, gathered: Gathered) -> None:
    """Two who turned out to be one are one here: a call that named the one is about the other."""
    found = True
    while found:
        found = False
        for batch in gathered.batches():
            said = select(Entry.subject_id, Entry.after, Entry.at).where(
                Entry.organization_id == organization_id, Entry.subject_id.in_([one.person_id for one in batch]),
                Entry.verb == SAME_PERSON,
            )  # fmt: skip
            for was, after, at in session.execute(said.order_by(Entry.id)).all():
                found = gathered.merge(was, str((after or {}).get("person")), at) or found
