"""To whom the channels of somebody who leaves go: whom somebody named, else a manager with access, else nobody, and then why not.

Who takes over is settled once for each departure, when its first channel is looked at, so that all of them go to the same person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from app.actors import CLOCK, Actor
from app.directory.names import name_key
from app.directory.settings import MANAGER, handover_order, value_of
from app.directory.tables import Person, Standing
from app.journal import entries
from app.journal.work import insert_for
from app.lifecycle.errors import LifecycleError
from app.lifecycle.handover_tables import HandedChannel, Handover, HandoverPlace, Heir
from app.revocation.tables import Departure

STEPS_UP: Final = 20
"""Managers above a leaver that are asked for, should several have no access."""


class NoHeir(LifecycleError):
    """Somebody who was named cannot take over; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Who takes over, and why it is them; or why it is nobody."""

    person: Person | None
    how: str


# Before somebody leaves


def name_heir(session: Session, person: Person, heir: Person | None, *, actor: Actor, at: datetime) -> None:
    """Say to whom somebody's channels go when they leave; None says that they go to nobody. Raises NoHeir."""
    if heir is not None:
        check_heir(heir, person, at=at)
    entries.write(
        session, person.organization_id, at=at, actor=actor, verb="heir named", because="operator", subject_kind="person", subject_id=person.id,
        after={"heir": None if heir is None else heir.id},
    )  # fmt: skip
    session.merge(
        Heir(
            organization_id=person.organization_id, person_id=person.id, heir_id=None if heir is None else heir.id, named_by=str(actor), named_at=at
        )
    )
    session.flush()


def forget_heir(session: Session, person: Person, *, actor: Actor, at: datetime) -> None:
    """Nobody is named any more: the setting says to whom they go. Twice is once."""
    if session.get(Heir, (person.organization_id, person.id)) is not None:
        entries.write(
            session, person.organization_id, at=at, actor=actor, verb="heir forgotten", because="operator", subject_kind="person",
            subject_id=person.id,
        )  # fmt: skip
        _forget(session, person)


def _forget(session: Session, person: Person) -> None:
    session.execute(delete(Heir).where(Heir.organization_id == person.organization_id, Heir.person_id == person.id))


def check_heir(heir: Person, person: Person, *, at: datetime) -> None:
    """Whoever takes over is somebody else, and has access themselves. Raises NoHeir."""
    if heir.id == person.id:
        raise NoHeir(f"{person.user_name} cannot hand over to themselves")
    if not may_take_over(heir, at=at):
        raise NoHeir(f"{heir.user_name} cannot take over from {person.user_name}: they have no access themselves")


def may_take_over(heir: Person, *, at: datetime) -> bool:
    return heir.standing == Standing.ACTIVE and (heir.access_until is None or heir.access_until > at)


# When they have left


def begin(session: Session, departure: Departure, person: Person, *, at: datetime) -> Handover | None:
    """The handover of this departure, begun where it has not been. None where nothing is handed over: who is only away keeps what is theirs."""
    if departure.means != Standing.DEPARTED:
        return None
    key = (departure.organization_id, departure.id)
    there = session.get(Handover, key)
    if there is not None:
        return there
    before = _continued(session, departure)
    if before is None:
        chosen = choose(session, person, at=at)
        if chosen is None:
            return None
        heir_id, how = None if chosen.person is None else chosen.person.id, chosen.how
    else:
        heir_id, how = before.heir_id, before.how
    entry = entries.write(
        session, departure.organization_id, at=at, actor=CLOCK, verb="handover begun", because=how, subject_kind="handover",
        subject_id=departure.id, after={"person": person.id, "heir": heir_id},
    )  # fmt: skip
    statement = insert_for(session.get_bind().dialect.name)(Handover).values(
        organization_id=departure.organization_id, departure_id=departure.id, person_id=person.id, heir_id=heir_id, how=how, begun_at=at,
        journal_id=entry,
    )  # fmt: skip
    # Each workspace and the rules may be the first to ask: whoever comes second takes what the first has chosen.
    session.execute(statement.on_conflict_do_nothing())
    _forget(session, person)
    return session.get_one(Handover, key, populate_existing=True)


def begun(session: Session, departure: Departure) -> Handover | None:
    """The handover of this departure, if it has been begun."""
    return session.get(Handover, (departure.organization_id, departure.id))


def _continued(session: Session, departure: Departure) -> Handover | None:
    """The handover of the departure that this one took the place of, without anybody having come back in between."""
    return session.scalar(
        select(Handover)
        .join(Departure, (Departure.organization_id == Handover.organization_id) & (Departure.id == Handover.departure_id))
        .where(
            Handover.organization_id == departure.organization_id, Handover.person_id == departure.person_id,
            Departure.ended_at == departure.decided_at, Departure.id != departure.id,
        )
        .limit(1)
    )  # fmt: skip


def choose(session: Session, person: Person, *, at: datetime) -> Chosen | None:
    """Who takes over from somebody; None where the organisation hands nothing over."""
    named = session.get(Heir, (person.organization_id, person.id))
    if named is not None and named.heir_id is None:
        return Chosen(person=None, how=f"{named.named_by} said that nobody takes over")
    asked = []
    if named is not None and named.heir_id is not None:
        heir = session.get(Person, (person.organization_id, named.heir_id))
        if heir is not None and may_take_over(heir, at=at):
            return Chosen(person=heir, how=f"named by {named.named_by}")
        asked.append("whom somebody named")
    for one in handover_order(value_of(session, person.organization_id, "handover")):
        found = _above(session, person, at=at) if one == MANAGER else _called(session, person, one, at=at)
        if found is not None:
            return Chosen(person=found, how="their manager, or the first above who has access" if one == MANAGER else "setting handover")
        asked.append("a manager" if one == MANAGER else one)
    # Without anybody to ask the organisation hands nothing over.
    return Chosen(person=None, how=f"nobody who could take over has access; asked for was {', then '.join(asked)}") if asked else None


def _above(session: Session, person: Person, *, at: datetime) -> Person | None:
    """The first manager above who has access. Who is away cannot look after a channel, so whoever is above them is asked."""
    above, seen = person, {person.id}
    for _ in range(STEPS_UP):
        if above.manager_id is None or above.manager_id in seen:
            return None
        found = session.get(Person, (person.organization_id, above.manager_id))
        if found is None or may_take_over(found, at=at):
            return found
        above = found
        seen.add(found.id)
    return None


def _called(session: Session, person: Person, name: str, *, at: datetime) -> Person | None:
    found = session.scalars(
        select(Person).where(Person.organization_id == person.organization_id, Person.user_name_key == name_key(name)).order_by(Person.id)
    )
    return next((one for one in found if one.id != person.id and may_take_over(one, at=at)), None)


def heir_now(session: Session, handover: Handover, *, at: datetime) -> Person | None:
    """Who takes over at this moment: where whoever was chosen has left since, it is chosen anew, and stays so from then on."""
    heir = None if handover.heir_id is None else session.get(Person, (handover.organization_id, handover.heir_id))
    if heir is None or may_take_over(heir, at=at):
        return heir
    person = session.get_one(Person, (handover.organization_id, handover.person_id))
    chosen = choose(session, person, at=at) or Chosen(person=None, how="the organisation hands nothing over any more")
    give_to(session, handover, chosen.person, how=chosen.how, actor=CLOCK, at=at)
    return chosen.person


def give_to(session: Session, handover: Handover, heir: Person | None, *, how: str, actor: Actor, at: datetime) -> None:
    """From now on somebody else takes over, or nobody does."""
    handover.journal_id = entries.write(
        session, handover.organization_id, at=at, actor=actor, verb="handover given to another", because=how, subject_kind="handover",
        subject_id=handover.departure_id, before={"heir": handover.heir_id}, after={"heir": None if heir is None else heir.id},
    )  # fmt: skip
    handover.heir_id, handover.how = None if heir is None else heir.id, how
    session.flush()


# What came of it


def place_of(session: Session, organization_id: str, departure_id: str, workspace_id: str) -> HandoverPlace | None:
    return session.get(HandoverPlace, (organization_id, departure_id, workspace_id))


@dataclass(frozen=True, kw_only=True)
class Told:
    """One departure, to whom its channels went, and what became of each; channels of the rules first."""

    departure: Departure
    handover: Handover
    heir: Person | None
    places: Sequence[HandoverPlace]
    channels: Sequence[HandedChannel]


def history(session: Session, person: Person) -> Iterator[Told]:
    """Every handover of a person, the latest first."""
    rows = session.execute(
        select(Departure, Handover)
        .join(Handover, (Handover.organization_id == Departure.organization_id) & (Handover.departure_id == Departure.id))
        .where(Departure.organization_id == person.organization_id, Departure.person_id == person.id)
        .order_by(Departure.decided_at.desc(), Departure.id.desc())
    ).all()
    for departure, handover in rows:
        mine = (departure.organization_id, departure.id)
        yield Told(
            departure=departure,
            handover=handover,
            heir=None if handover.heir_id is None else session.get(Person, (person.organization_id, handover.heir_id)),
            places=session.scalars(select(HandoverPlace).where(*_of(HandoverPlace, mine)).order_by(HandoverPlace.workspace_id)).all(),
            channels=session.scalars(
                select(HandedChannel).where(*_of(HandedChannel, mine)).order_by(HandedChannel.workspace_id, HandedChannel.name, HandedChannel.channel)
            ).all(),
        )


def _of(table: type[HandoverPlace] | type[HandedChannel], key: tuple[str, str]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (table.organization_id == key[0], table.departure_id == key[1])
