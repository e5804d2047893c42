"""Who is in a channel beside the rules: exceptions, which somebody approved until a day, and channels that were handed over.

An exception ends by itself: from its end on, or once whoever has it has left, it is not counted any more, whether or not anybody
has written that down yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session, aliased

from app.access.tables import Workspace
from app.actors import CLOCK, Actor
from app.clock import iso
from app.database import Instant, in_transaction, new_id, reading
from app.directory.tables import Person, Standing
from app.journal import entries, work
from app.journal.tables import Subject
from app.lifecycle.errors import LifecycleError
from app.rules.scopes import chunks
from app.rules.stay_tables import Stay, Why, in_force, is_forfeited
from app.rules.tables import Channel
from app.statements import param

LONGEST: Final = timedelta(days=366)
"""For longer than that nobody can say what will be right: it is a matter for the rules."""


class NoException(LifecycleError):
    """This cannot be an exception; the message says why, and what would be one."""


# What counts at a moment


_BESIDE: Final = select(Stay.channel_id, Stay.ends_at).where(
    Stay.organization_id == param("organization"), Stay.person_id == param("person"), in_force(param("at", Instant()))
)


def beside_rules(session: Session, organization_id: str, person_id: str, *, at: datetime) -> dict[str, datetime | None]:
    """The channels in which somebody is beside the rules, each with when that ends by itself."""
    rows = session.execute(_BESIDE, {"organization": organization_id, "person": person_id, "at": at})
    found: dict[str, datetime | None] = {}
    for channel_id, ends_at in rows:
        known = found.get(channel_id, ends_at)
        found[channel_id] = None if known is None or ends_at is None else max(known, ends_at)
    return found


def owners_beside_rules(session: Session, organization_id: str, channel_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """Who owns these channels because they were handed over, of those who have access."""
    found: dict[str, set[str]] = {}
    for some in chunks(channel_ids):
        rows = session.execute(
            select(Stay.channel_id, Stay.person_id)
            .join(Person, (Person.organization_id == Stay.organization_id) & (Person.id == Stay.person_id))
            .where(
                Stay.organization_id == organization_id, Stay.channel_id.in_(some), Stay.owns.is_(True), Stay.ended_at.is_(None),
                Person.standing == Standing.ACTIVE,
            )
        )  # fmt: skip
        for channel_id, person_id in rows:
            found.setdefault(channel_id, set()).add(person_id)
    return {channel_id: frozenset(people) for channel_id, people in found.items()}


def handed_to(session: Session, organization_id: str, person_id: str, *, since: datetime | None = None) -> frozenset[str]:
    """The channels that were handed over to somebody; with `since` those as well that they have lost no earlier."""
    kept = Stay.ended_at.is_(None) if since is None else or_(Stay.ended_at.is_(None), Stay.ended_at >= since)
    mine = (Stay.organization_id == organization_id, Stay.person_id == person_id, Stay.owns.is_(True))
    return frozenset(session.scalars(select(Stay.channel_id).where(*mine, kept)))


def of_person(session: Session, organization_id: str, person_id: str, channel_id: str, *, at: datetime) -> Stay | None:
    """Why somebody is in a channel beside the rules; what they own comes first."""
    query = select(Stay).where(
        Stay.organization_id == organization_id, Stay.person_id == person_id, Stay.channel_id == channel_id, in_force(at)
    )
    return session.scalars(query.order_by(Stay.owns.desc(), Stay.id).limit(1)).one_or_none()


# Exceptions


def allow(
    session: Session, person: Person, channel: Channel, *, approver: Person, reason: str, until: datetime, actor: Actor, at: datetime
) -> Stay:
    """Somebody is in a channel until a day although no rule says so. Another day for one that stands replaces it. Raises NoException."""
    _check(person, channel, approver=approver, until=until, at=at)
    _one_at_a_time(session, channel.organization_id, channel.id)
    there = session.scalar(_open(person.organization_id, person.id, channel.id, Why.EXCEPTION).with_for_update())
    if there is not None:
        end(session, there, why=f"another was approved by {approver.user_name}", actor=actor, at=at)
    row = Stay(
        organization_id=person.organization_id, id=new_id(), channel_id=channel.id, person_id=person.id, why=Why.EXCEPTION, owns=False,
        approved_by=approver.id, reason=reason, entered_by=str(actor), begins_at=at, ends_at=until,
    )  # fmt: skip
    _add(session, row, "exception approved", because=f"approved by {approver.user_name}", actor=actor, at=at, after={"reason": reason})
    return row


def _check(person: Person, channel: Channel, *, approver: Person, until: datetime, at: datetime) -> None:
    if channel.space:
        raise NoException(f"{channel.name} is a space: who is in one of its channels is in it")
    if person.standing != Standing.ACTIVE:
        raise NoException(f"{person.user_name} has no access, and is in no channel")
    if approver.id == person.id:
        raise NoException("nobody approves an exception for themselves")
    if approver.standing != Standing.ACTIVE:
        raise NoException(f"{approver.user_name} has no access themselves, and can approve nothing")
    if until <= at:
        raise NoException(f"{iso(until)} has passed: an exception needs an end that is still to come")
    if until - at > LONGEST:
        raise NoException(f"{iso(until)} is more than {LONGEST.days} days ahead, the longest for an exception; for longer, change the rules")


def _one_at_a_time(session: Session, organization_id: str, channel_id: str) -> None:
    """Until the transaction ends nobody else allows, ends or hands over anything here: of two at once, the second sees what the first has done."""
    session.execute(select(Channel.id).where(Channel.organization_id == organization_id, Channel.id == channel_id).with_for_update())


def _open(organization_id: str, person_id: str, channel_id: str, why: Why) -> Select[Stay]:
    return select(Stay).where(
        Stay.organization_id == organization_id, Stay.person_id == person_id, Stay.channel_id == channel_id, Stay.why == why,
        Stay.ended_at.is_(None),
    )  # fmt: skip


def find(session: Session, organization_id: str, person_id: str, channel_id: str) -> Stay | None:
    """The exception of somebody in a channel that stands, locked."""
    _one_at_a_time(session, organization_id, channel_id)
    return session.scalar(_open(organization_id, person_id, channel_id, Why.EXCEPTION).with_for_update())


def end(session: Session, row: Stay, *, why: str, actor: Actor, at: datetime) -> None:
    """It counts no more; both who was in the channel and the channel are looked at again. Ending twice is once."""
    if row.ended_at is not None:
        return
    entry = entries.write(
        session, row.organization_id, at=at, actor=actor, verb=f"{row.why} ended", because=why, subject_kind="stay", subject_id=row.id,
        before={"ends_at": iso(row.ends_at)}, after={"person": row.person_id, "channel": row.channel_id},
    )  # fmt: skip
    row.ended_at, row.ended_why = at, why
    session.flush()
    _look_again(session, row, because=entry, at=at)


# What was handed over


def hand_over(session: Session, channel: Channel, heir: Person, *, departure_id: str, reason: str, actor: Actor, at: datetime) -> Stay:
    """A channel of the rules that would be without an owner has one from now on. Twice is once."""
    _one_at_a_time(session, channel.organization_id, channel.id)
    there = session.scalar(_open(channel.organization_id, heir.id, channel.id, Why.HANDOVER).with_for_update())
    if there is not None:
        return there
    row = Stay(
        organization_id=channel.organization_id, id=new_id(), channel_id=channel.id, person_id=heir.id, why=Why.HANDOVER, owns=True, reason=reason,
        departure_id=departure_id, entered_by=str(actor), begins_at=at,
    )  # fmt: skip
    _add(session, row, "channel handed over", because=reason, actor=actor, at=at, after={"departure": departure_id})
    return row


def _add(session: Session, row: Stay, verb: str, *, because: str, actor: Actor, at: datetime, after: dict[str, object]) -> None:
    entry = entries.write(
        session, row.organization_id, at=at, actor=actor, verb=verb, because=because, subject_kind="stay", subject_id=row.id,
        after={"person": row.person_id, "channel": row.channel_id, "ends_at": iso(row.ends_at), **after},
    )  # fmt: skip
    session.add(row)
    session.flush()
    _look_again(session, row, because=entry, at=at)
    if row.ends_at is not None:
        work.want(session, row.organization_id, subject=Subject.DUE, subject_ids=[row.person_id], because=entry, due_at=row.ends_at)


def _look_again(session: Session, row: Stay, *, because: int, at: datetime) -> None:
    work.want(session, row.organization_id, subject=Subject.PERSON, subject_ids=[row.person_id], because=because, due_at=at)
    if row.owns:
        for workspace_id in session.scalars(select(Workspace.id).where(Workspace.organization_id == row.organization_id)):
            work.want(
                session, row.organization_id, subject=Subject.CHANNEL, subject_ids=[row.channel_id], because=because, due_at=at,
                workspace_id=workspace_id,
            )  # fmt: skip


# What ends by itself


def organizations(session: Session) -> Sequence[str]:
    """Those in which anybody is in a channel beside the rules."""
    return session.scalars(select(Stay.organization_id).where(Stay.ended_at.is_(None)).distinct()).all()


def follow(organization_id: str, *, at: datetime) -> None:
    """What the clock does each minute. The database's one pen is asked for only where something is over."""
    with reading() as session:
        over = session.execute(_over(organization_id, at=at).limit(1)).first()
    if over is not None:
        in_transaction(lambda session: end_what_is_over(session, organization_id, at=at))


def end_what_is_over(session: Session, organization_id: str, *, at: datetime) -> None:
    """Write down which stays are over: their day has come, or whoever had them has left. Twice does it once."""
    rows = session.execute(_over(organization_id, at=at).order_by(Stay.id).with_for_update(of=Stay)).all()
    for row, left in rows:
        end(session, row, why="they have left" if left else "its end has come", actor=CLOCK, at=at)


def _over(organization_id: str, *, at: datetime) -> Select[Stay, bool]:
    left = or_(Person.standing == Standing.DEPARTED, is_forfeited())
    return (
        select(Stay, left)
        .join(Person, (Person.organization_id == Stay.organization_id) & (Person.id == Stay.person_id))
        .where(Stay.organization_id == organization_id, Stay.ended_at.is_(None))
        .where(or_(Stay.ends_at <= at, left))
    )


# What the list says


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One stay with its names. `approver` is None where a channel was handed over."""

    stay: Stay
    person: Person
    channel: Channel
    approver: Person | None


def listed(session: Session, organization_id: str, *, past: bool = False) -> Sequence[Listed]:
    """Everybody who is in a channel beside the rules, those first whose time ends first; with `past` those that have ended as well."""
    approver = aliased(Person)
    query = (
        select(Stay, Person, Channel, approver)
        .join(Person, (Person.organization_id == Stay.organization_id) & (Person.id == Stay.person_id))
        .join(Channel, (Channel.organization_id == Stay.organization_id) & (Channel.id == Stay.channel_id))
        .outerjoin(approver, (approver.organization_id == Stay.organization_id) & (approver.id == Stay.approved_by))
        .where(Stay.organization_id == organization_id)
        .order_by(Stay.ended_at.is_not(None), Stay.ends_at.is_(None), Stay.ends_at, Person.user_name_key, Channel.name)
    )
    rows = session.execute(query if past else query.where(Stay.ended_at.is_(None)))
    return [Listed(stay=stay, person=person, channel=channel, approver=by) for stay, person, channel, by in rows]
