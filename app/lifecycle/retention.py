"""When what a leaver wrote is erased in the workspaces: a row for each departure and workspace, due by the setting `erase_after`.

Nothing is ever due earlier than that after somebody left, nor sooner than a day after it came to be due: another setting and the end of
a legal hold are seen in the list before they take effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, literal, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.access.known_workspaces import known_workspaces
from app.access.tables import Account, Workspace
from app.actors import CLOCK
from app.clock import iso
from app.database import Instant, in_transaction, reading
from app.directory.settings import erase_after, setting, value_of
from app.directory.tables import Person, Record, Standing
from app.journal import entries
from app.journal.tables import Organization
from app.journal.work import insert_for
from app.lifecycle.hold_tables import LegalHold
from app.lifecycle.people import who_they_are
from app.revocation import departures
from app.revocation.erasure_tables import Erasure
from app.revocation.tables import Departure, Proof

NOTICE: Final = timedelta(days=1)
"""So long something stands in the list before it is erased, at the least."""
RESTORED: Final = timedelta(days=7)
"""So long after a restored database was opened: of holds that were placed after the backup it knows nothing."""
AT_ONCE: Final = 500
TURNS: Final = 20
"""Short transactions at a minute's tick, each of so many rows."""
STILL_HERE: Final = "whom they turned out to be has not left"
UNKNOWN: Final = "it is not known any more whom they turned out to be"
_QUIET: Final = {"synchronize_session": False}


def _waiting(organization_id: str) -> tuple[ColumnElement[bool], ...]:
    return (Erasure.organization_id == organization_id, Erasure.erased_at.is_(None), Erasure.ended_at.is_(None))


def left_at(departure: Departure) -> datetime:
    """From when the time counts: from when they were out, also where that was said late."""
    return max(departure.due_at, departure.decided_at)


def left_as(session: Session, organization_id: str, names: Sequence[str], left: datetime) -> datetime | None:
    """From when the time counts for somebody, by who they are (`people.who_they_are`): what they wrote as another is theirs, while they are here.

    None where they have not left.
    """
    if len(names) == 1:
        return left
    departure = departures.current(session, organization_id, names[-1])
    return None if departure is None or departure.means != Standing.DEPARTED else max(left, left_at(departure))


def as_others(session: Session, organization_id: str, person_id: str) -> list[str]:
    """Who turned out to be this person, of those of whom something is to be erased, or was."""
    people = select(Erasure.person_id).where(Erasure.organization_id == organization_id, ~_of_their_own(Erasure.person_id)).distinct()
    return [one for one in session.scalars(people).all() if person_id in who_they_are(session, organization_id, one)[1:]]


def _of_their_own(person_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether the person of another row is no other: see `people.turned_out`."""
    table = person_id.class_
    return select(Record.id).where(Record.organization_id == table.organization_id, Record.person_id == person_id).exists()


# Rows, kept in line with the setting and with who has come back


def organizations(session: Session) -> Sequence[str]:
    """Those in which anything is erased one day, or was to be until now."""
    waiting = set(session.scalars(select(Erasure.organization_id).where(Erasure.erased_at.is_(None), Erasure.ended_at.is_(None)).distinct()))
    rows = session.execute(select(Organization.id, Organization.settings)).all()
    return [id for id, settings in rows if id in waiting or setting(settings, "erase_after") != "off"]


def follow(organization_id: str, *, at: datetime) -> None:
    """Keep an organisation's rows in line, where they are not. That is asked of all who ever left: so nobody waits to write meanwhile."""
    with reading() as session:
        behind = _is_behind(session, organization_id)
    turns = TURNS if behind else 0
    while turns and in_transaction(lambda session: keep_up(session, organization_id, at=at)):
        turns -= 1


def _is_behind(session: Session, organization_id: str) -> bool:
    """Whether `keep_up` would find something."""
    said = value_of(session, organization_id, "erase_after")
    asked: list[Select[*tuple[Any, ...]]] = [_all_waiting(organization_id)]
    if erase_after(said) is not None:
        asked = [_of_those_who_are_back(organization_id), _by_another_setting(organization_id, said), _unlisted(organization_id)]
    return any(session.execute(one.limit(1)).first() is not None for one in asked)


def keep_up(session: Session, organization_id: str, *, at: datetime) -> bool:
    """Bring some of an organisation's rows in line; whether there is more to do. Twice does it once."""
    said = value_of(session, organization_id, "erase_after")
    after = erase_after(said)
    ended = _end_of_those_who_are_back(session, organization_id, at=at)
    if after is None:
        return _end_all(session, organization_id, at=at) == AT_ONCE or ended == AT_ONCE
    counted = _count_anew(session, organization_id, said, after, at=at)
    made = _list_leavers(session, organization_id, said, after, at=at)
    return AT_ONCE in (ended, counted, made)


def _all_waiting(organization_id: str) -> Select[Erasure]:
    return select(Erasure).where(*_waiting(organization_id)).order_by(Erasure.departure_id)


def _of_those_who_are_back(organization_id: str) -> Select[Erasure]:
    return (
        select(Erasure)
        .join(Departure, (Departure.organization_id == Erasure.organization_id) & (Departure.id == Erasure.departure_id))
        .where(*_waiting(organization_id), Departure.ended_at.is_not(None))
        .order_by(Erasure.departure_id, Erasure.workspace_id)
    )


def _by_another_setting(organization_id: str, said: str) -> Select[Erasure]:
    return _all_waiting(organization_id).where(Erasure.after != said)


def _unlisted(organization_id: str) -> Select[Departure, str]:
    there = select(Erasure.departure_id).where(
        Erasure.organization_id == Proof.organization_id, Erasure.departure_id == Proof.departure_id, Erasure.workspace_id == Proof.workspace_id,
        # One that was called off because the setting was off stands again, once it is on.
        or_(Erasure.ended_at.is_(None), Erasure.erased_at.is_not(None)),
    )  # fmt: skip
    return _leavers(organization_id).where(~there.exists()).order_by(Departure.id, Proof.workspace_id)


def _end_of_those_who_are_back(session: Session, organization_id: str, *, at: datetime) -> int:
    rows = session.scalars(_of_those_who_are_back(organization_id).limit(AT_ONCE).with_for_update(of=Erasure)).all()
    for row in rows:
        _end(session, row, why="that departure is over", at=at)
    return len(rows)


def _end_all(session: Session, organization_id: str, *, at: datetime) -> int:
    rows = session.scalars(_all_waiting(organization_id).limit(AT_ONCE).with_for_update()).all()
    for row in rows:
        _end(session, row, why="erase_after is off", at=at)
    return len(rows)


def _end(session: Session, row: Erasure, *, why: str, at: datetime) -> None:
    entries.write(
        session, row.organization_id, at=at, actor=CLOCK, verb="erasure called off", because=why, subject_kind="departure",
        subject_id=row.departure_id, before={"workspace": row.workspace_id, "due": iso(row.due_at)}, after={"person": row.person_id},
    )  # fmt: skip
    row.ended_at, row.ended_why = at, why
    session.flush()


def _count_anew(session: Session, organization_id: str, said: str, after: timedelta, *, at: datetime) -> int:
    rows = session.scalars(_by_another_setting(organization_id, said).limit(AT_ONCE).with_for_update()).all()
    for row in rows:
        before, row.after = row.due_at, said
        row.due_at = row.next_at = _due(row.left_at, after, at=at)
        entries.write(
            session, organization_id, at=at, actor=CLOCK, verb="erasure put to another day", because=f"erase_after is {said}",
            subject_kind="departure", subject_id=row.departure_id, before={"workspace": row.workspace_id, "due": iso(before)},
            after={"person": row.person_id, "due": iso(row.due_at)},
        )  # fmt: skip
    return len(rows)


def _due(left: datetime, after: timedelta, *, at: datetime) -> datetime:
    return max(left + after, at + NOTICE)


def _list_leavers(session: Session, organization_id: str, said: str, after: timedelta, *, at: datetime) -> int:
    """Whoever has left and is gone from a workspace is listed there; so is who left before the setting was made."""
    found = session.execute(_unlisted(organization_id).limit(AT_ONCE)).all()
    rows: list[dict[str, Any]] = []
    for departure, workspace_id in found:
        due_at = _due(left_at(departure), after, at=at)
        rows.append(
            {
                "organization_id": organization_id, "departure_id": departure.id, "workspace_id": workspace_id, "person_id": departure.person_id,
                "left_at": left_at(departure), "after": said, "due_at": due_at, "next_at": due_at, "attempts": 0, "ended_at": None,
                "ended_why": None, "last_error": None, "lease_until": None,
            }
        )  # fmt: skip
    if rows:
        statement = insert_for(session.get_bind().dialect.name)(Erasure).values(rows)
        new = {name: statement.excluded[name] for name in ("after", "due_at", "next_at", "ended_at", "ended_why", "last_error", "lease_until")}
        again = statement.on_conflict_do_update(
            index_elements=["organization_id", "departure_id", "workspace_id"], set_=new, where=Erasure.erased_at.is_(None)
        )
        session.execute(again, execution_options=_QUIET)
    return len(rows)


def _leavers(organization_id: str) -> Select[Departure, str]:
    """Who has left for good and is gone from a workspace where they had an account."""
    had = select(Account.account_id).where(
        Account.organization_id == Proof.organization_id, Account.workspace_id == Proof.workspace_id, Account.person_id == Departure.person_id
    )
    return (
        select(Departure, Proof.workspace_id)
        .join(Proof, (Proof.organization_id == Departure.organization_id) & (Proof.departure_id == Departure.id))
        .join(Workspace, (Workspace.organization_id == Proof.organization_id) & (Workspace.id == Proof.workspace_id))
        .where(
            Departure.organization_id == organization_id, Departure.means == Standing.DEPARTED, Departure.ended_at.is_(None),
            Proof.gone_at.is_not(None), had.exists(),
        )
    )  # fmt: skip


def give_notice(session: Session, organization_id: str, *, at: datetime, person_id: str | None = None, notice: timedelta = NOTICE) -> None:
    """Nothing that waits is erased before so much time is over; of one person, whoever they were taken for, or of everybody."""
    earliest = literal(at + notice, Instant())
    whose = () if person_id is None else (Erasure.person_id.in_([person_id, *as_others(session, organization_id, person_id)]),)
    session.execute(
        update(Erasure)
        .where(*_waiting(organization_id), *whose)
        .values(
            due_at=case((Erasure.due_at < earliest, earliest), else_=Erasure.due_at),
            next_at=case((Erasure.next_at < earliest, earliest), else_=Erasure.next_at),
        ),
        execution_options=_QUIET,
    )


# What the list says


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One erasure with whom it is about and where; `held` where a legal hold keeps it from being done, `why` what else does."""

    erasure: Erasure
    person: Person
    workspace: str
    held: bool
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Would:
    """What another setting would have erased."""

    person: Person
    workspace: str
    held: bool
    left_at: datetime
    due_at: datetime


def _hold_of(person_id: InstrumentedAttribute[str]) -> Select[str]:
    """The holds of the person of another row, of the same organisation."""
    table = person_id.class_
    return select(LegalHold.id).where(
        LegalHold.organization_id == table.organization_id, LegalHold.person_id == person_id, LegalHold.ended_at.is_(None)
    )


def listed(session: Session, organization_id: str, *, past: bool = False) -> Sequence[Listed]:
    """What is to be erased, those first that come first; with `past` what was erased or called off as well. Only reads."""
    query = (
        select(Erasure, Person, _hold_of(Erasure.person_id).exists(), _of_their_own(Erasure.person_id))
        .join(Person, (Person.organization_id == Erasure.organization_id) & (Person.id == Erasure.person_id))
        .where(Erasure.organization_id == organization_id)
    )
    names = {id: one.name for id, one in known_workspaces(session, organization_id).items()}
    rows = session.execute(query if past else query.where(*_waiting(organization_id))).all()
    found = [_listed(session, erasure, person, names.get(erasure.workspace_id, erasure.workspace_id), held, own) for erasure, person, held, own in rows]
    return sorted(found, key=lambda one: (one.erasure.due_at, one.erasure.departure_id, one.workspace))


def _listed(session: Session, erasure: Erasure, person: Person, workspace: str, held: bool, own: bool) -> Listed:
    why = None
    if not own:
        left, also_held = _as_they_are(session, person, erasure.left_at)
        held = held or also_held
        why = STILL_HERE if left is None else None
    return Listed(erasure=erasure, person=person, workspace=workspace, held=held, why=why)


def _as_they_are(session: Session, person: Person, left: datetime) -> tuple[datetime | None, bool]:
    """From when the time counts for somebody who turned out to be another, and whether what is theirs is held."""
    names = who_they_are(session, person.organization_id, person.id)
    held = select(LegalHold.id).where(
        LegalHold.organization_id == person.organization_id, LegalHold.person_id.in_(names), LegalHold.ended_at.is_(None)
    )
    return left_as(session, person.organization_id, names, left) if names else None, session.scalar(held.limit(1)) is not None


def tried(session: Session, organization_id: str, said: str, *, at: datetime) -> Sequence[Would]:
    """What another setting would erase and when, those first that come first. Only reads. Raises UnusableSetting."""
    after = erase_after(said)
    if after is None:
        return []
    done = select(Erasure.departure_id).where(
        Erasure.organization_id == Proof.organization_id, Erasure.departure_id == Proof.departure_id, Erasure.workspace_id == Proof.workspace_id,
        Erasure.erased_at.is_not(None),
    )  # fmt: skip
    query = (
        _leavers(organization_id)
        .where(~done.exists())
        .join(Person, (Person.organization_id == Departure.organization_id) & (Person.id == Departure.person_id))
        .add_columns(Person, Workspace.name, _hold_of(Departure.person_id).exists(), _of_their_own(Departure.person_id))
    )
    found = []
    for departure, _, person, name, held, own in session.execute(query).all():
        left, also_held = (left_at(departure), False) if own else _as_they_are(session, person, left_at(departure))
        if left is not None:
            found.append(Would(person=person, workspace=name, held=held or also_held, left_at=left, due_at=_due(left, after, at=at)))
    return sorted(found, key=lambda one: (one.due_at, one.person.user_name_key, one.workspace))
