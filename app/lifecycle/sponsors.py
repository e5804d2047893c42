"""What is done about engagements because time passes: days that come without an answer, sponsors who leave, what a directory says meanwhile."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session, aliased

from app.actors import CLOCK
from app.database import in_transaction, reading
from app.directory.settings import contractor_types, value_of
from app.directory.tables import Person, Record, Standing
from app.lifecycle import conditions, contractors, engagements
from app.lifecycle.conditions import Conditions
from app.lifecycle.engagement_tables import Engagement, Origin
from app.lifecycle.people import reconsider
from app.revocation.alarm_kinds import AlarmKind

STEPS_UP: Final = 20
"""Managers above a sponsor that are asked for, should several have left."""
SOON: Final = timedelta(days=7)


def look(organization_id: str, *, at: datetime) -> None:
    """Bring engagements in line with what has come to pass, and people's alarms with what stands. Twice does it once."""
    with reading() as session:
        todo = [
            *_come_back(session, organization_id, at=at), *_lapsing(session, organization_id, at=at), *_left_alone(session, organization_id),
            *_outdated(session, organization_id),
        ]  # fmt: skip
    for person_id in dict.fromkeys(todo):
        in_transaction(lambda session, person_id=person_id: _one(session, organization_id, person_id, at=at))  # type: ignore[misc]  # defaults bind the loop's values
    with reading() as session:
        standing = what_stands(session, organization_id, at=at)
    conditions.keep(organization_id, standing, at=at)


def _one(session: Session, organization_id: str, person_id: str, *, at: datetime) -> None:
    """What has to be done about one engagement, asked once more behind its lock."""
    row = engagements.open_engagement(session, organization_id, person_id, lock=True)
    if row is None:
        row = engagements.resume(session, session.get_one(Person, (organization_id, person_id)), at=at)
    if row is None:
        return
    _follow(session, row, at=at)
    if row.ended_at is None:
        _succeed(session, row, at=at)
    if row.ended_at is None and row.ends_at is not None and row.ends_at <= at:
        decided = reconsider(session, organization_id, person_id, at=at)
        # Who was hired anew on that day or later is here by that, and nobody is told that they were suspended.
        if row.lapsed_at is None and decided.standing is not Standing.ACTIVE:
            engagements.lapse(session, row, at=at)


# Who was let go has come back


def _come_back(session: Session, organization_id: str, *, at: datetime) -> list[str]:
    """Those who were let go before their day and are not out: their day is still to come, or is what keeps them away."""
    other = aliased(Engagement)
    stands = select(other.id).where(
        other.organization_id == Engagement.organization_id, other.person_id == Engagement.person_id, other.ended_at.is_(None)
    )
    query = (
        select(Engagement.person_id)
        .join(Person, (Person.organization_id == Engagement.organization_id) & (Person.id == Engagement.person_id))
        .where(
            Engagement.organization_id == organization_id, Engagement.ended_why == engagements.LET_GO, Person.standing != Standing.DEPARTED,
            (Engagement.ends_at > at) | (Person.standing == Standing.PAUSED), ~stands.exists(),
        )
    )  # fmt: skip
    return list(session.scalars(query))


# A last day has come


def _lapsing(session: Session, organization_id: str, *, at: datetime) -> list[str]:
    """Those whose day has come, until that is written down; and who is in all the same, since it may be by a mistake of earlier."""
    query = (
        select(Engagement.person_id)
        .join(Person, (Person.organization_id == Engagement.organization_id) & (Person.id == Engagement.person_id))
        .where(
            Engagement.organization_id == organization_id, Engagement.ended_at.is_(None), Engagement.ends_at <= at,
            Engagement.lapsed_at.is_(None) | (Person.standing == Standing.ACTIVE),
        )
    )  # fmt: skip
    return list(session.scalars(query))


# A sponsor has left


def _left_alone(session: Session, organization_id: str) -> list[str]:
    return [row.person_id for row, sponsor in _without_sponsor(session, organization_id) if _successor(session, row, sponsor) is not None]


def _without_sponsor(session: Session, organization_id: str) -> list[tuple[Engagement, Person]]:
    query = (
        select(Engagement, Person)
        .join(Person, (Person.organization_id == Engagement.organization_id) & (Person.id == Engagement.sponsor_id))
        .where(Engagement.organization_id == organization_id, Engagement.ended_at.is_(None), Person.standing == Standing.DEPARTED)
        .order_by(Engagement.person_id)
    )
    return [(row, sponsor) for row, sponsor in session.execute(query)]


def _successor(session: Session, row: Engagement, sponsor: Person) -> Person | None:
    """The first above a sponsor who left that may answer in their place. Who is only away for a while is not passed over: then nobody is."""
    person = session.get_one(Person, (row.organization_id, row.person_id))
    above: Person | None = sponsor
    # Managers may stand in a ring, which is somebody's mistake and ends nowhere.
    for _ in range(STEPS_UP):
        above = None if above is None or above.manager_id is None else session.get(Person, (row.organization_id, above.manager_id))
        if above is not None and above.standing != Standing.DEPARTED:
            return above if engagements.why_no_sponsor(session, above, person) is None else None
    return None


def _succeed(session: Session, row: Engagement, *, at: datetime) -> None:
    sponsor = None if row.sponsor_id is None else session.get_one(Person, (row.organization_id, row.sponsor_id))
    if sponsor is None or sponsor.standing != Standing.DEPARTED:
        return
    successor = _successor(session, row, sponsor)
    if successor is not None:
        engagements.reassign(session, row, successor, actor=CLOCK, at=at, because=f"{sponsor.user_name}, who answered for them, has left")


# A directory says something else


def _outdated(session: Session, organization_id: str) -> list[str]:
    """Those whom a directory named, and of whom it says something else than it did; nobody has answered for them yet."""
    kinds = {kind.lower() for kind in contractor_types(value_of(session, organization_id, "contractor_types"))}
    mine = (
        Engagement.organization_id == organization_id, Engagement.ended_at.is_(None), Engagement.origin == Origin.DIRECTORY,
        Engagement.attested_at.is_(None),
    )  # fmt: skip
    # Of whom all is as it was, which at most minutes is everybody, no more is read than that takes.
    rows = session.execute(
        select(Engagement.person_id, Engagement.ends_at, Engagement.sponsor_id, Person.user_type, Person.manager_id)
        .join(Person, (Person.organization_id == Engagement.organization_id) & (Person.id == Engagement.person_id))
        .where(*mine)
    ).all()
    on = (Record.active.is_(True), Record.ended_at.is_(None))
    dated = select(Record.person_id, func.max(Record.ends_at), func.count(), func.count(Record.ends_at)).where(
        Record.organization_id == organization_id, *on, Record.person_id.in_(select(Engagement.person_id).where(*mine))
    )
    ends = {person_id: end for person_id, end, count, known in session.execute(dated.group_by(Record.person_id)) if count == known}
    return [
        row.person_id
        for row in rows
        if (row.user_type or "").lower() not in kinds
        or ends.get(row.person_id) != row.ends_at
        or (row.sponsor_id is None and row.manager_id is not None and _has_manager(session, organization_id, row.person_id))
    ]


def _has_manager(session: Session, organization_id: str, person_id: str) -> bool:
    return _manager_of(session, session.get_one(Person, (organization_id, person_id))) is not None


def _follow(session: Session, row: Engagement, *, at: datetime) -> None:
    """Take over what the directory says now. Once a sponsor has answered, it is the sponsor's word that counts."""
    if row.origin != Origin.DIRECTORY or row.attested_at is not None:
        return
    person = session.get_one(Person, (row.organization_id, row.person_id))
    if not engagements.is_contractor(session, person):
        engagements.close(session, row, why="the directory calls them an employee", actor=CLOCK, at=at)
        return
    ends_at = contractors.end_by_records(session, person)
    if ends_at != row.ends_at:
        row.ends_at, row.lapsed_at = ends_at, None
        session.flush()
        engagements.write_letters(session, row, at=at)
    manager = _manager_of(session, person)
    if row.sponsor_id is None and manager is not None:
        engagements.reassign(session, row, manager, actor=CLOCK, at=at, because="their manager")


def _manager_of(session: Session, person: Person) -> Person | None:
    manager = None if person.manager_id is None else session.get(Person, (person.organization_id, person.manager_id))
    return manager if manager is not None and engagements.why_no_sponsor(session, manager, person) is None else None


# What people have to hear of


def what_stands(session: Session, organization_id: str, *, at: datetime) -> Conditions:
    """What somebody has to look at, counted for each sponsor. Who it is about, and their last days, are for fewer people: `contractor list`."""
    unanswered: Counter[str] = Counter()
    lapsed: Counter[str] = Counter()
    left: Counter[str] = Counter()
    names: dict[str, str] = {}
    incomplete = 0
    for row in _to_be_looked_at(session, organization_id, at=at):
        if row.sponsor_id is None or row.ends_at is None:
            incomplete += 1
        if row.sponsor_id is None:
            continue
        names[row.sponsor_id] = row.display_name
        if row.sponsors_standing == Standing.DEPARTED:
            left[row.sponsor_id] += 1
        elif row.lapsed_at is not None and row.standing != Standing.ACTIVE:
            lapsed[row.sponsor_id] += 1
        elif row.ends_at is not None and row.ends_at - SOON <= at:
            unanswered[row.sponsor_id] += 1
    return {
        AlarmKind.SPONSOR_LEFT: {
            one: f"{names[one]} has left and answered for {_people(count)}; nobody above could take their place." for one, count in left.items()
        },
        AlarmKind.CONTRACT_UNANSWERED: {
            one: f"{names[one]} is asked about {_people(count)} and has not answered." for one, count in unanswered.items()
        },
        AlarmKind.CONTRACT_LAPSED: {
            one: f"{names[one]} has not vouched for {_people(count)} in time, and they are suspended." for one, count in lapsed.items()
        },
        AlarmKind.CONTRACT_INCOMPLETE: {"": f"{_people(incomplete)} without a sponsor or a last day."} if incomplete else {},
    }


def _to_be_looked_at(session: Session, organization_id: str, *, at: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Engagements of those who have not departed, but for those that somebody answers for until a day that is not near."""
    sponsor = aliased(Person)
    return session.execute(
        select(
            Engagement.ends_at, Engagement.lapsed_at, Person.standing,
            sponsor.id.label("sponsor_id"), sponsor.display_name, sponsor.standing.label("sponsors_standing"),
        )
        .join(Person, (Person.organization_id == Engagement.organization_id) & (Person.id == Engagement.person_id))
        .outerjoin(sponsor, (sponsor.organization_id == Engagement.organization_id) & (sponsor.id == Engagement.sponsor_id))
        .where(
            Engagement.organization_id == organization_id, Engagement.ended_at.is_(None), Person.standing != Standing.DEPARTED,
            sponsor.id.is_(None) | (sponsor.standing == Standing.DEPARTED)
            | Engagement.ends_at.is_(None) | (Engagement.ends_at <= at + SOON) | Engagement.lapsed_at.is_not(None),
        )
    ).all()  # fmt: skip


def _people(count: int) -> str:
    return "1 person who is no employee" if count == 1 else f"{count} people who are no employees"
