"""What stands wrong just now, looked at again and again: each is an alarm for as long as it stands, and closed when it is over."""

from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.access.clients import expiry_of, ways_in
from app.access.tables import Operator, Workspace, WorkspaceState
from app.audit.lag import audit_is_behind, waiting_since
from app.clock import iso
from app.database import in_transaction, reading
from app.directory.heard import is_on, present
from app.directory.settings import role_groups, value_of
from app.directory.tables import Group, Membership, Person, Record, Standing
from app.lifecycle.figures import overdue_by_place, places_of, undecided_people
from app.lifecycle.operators import Role
from app.lifecycle.roles import Meant
from app.lifecycle.tables import Held, HeldState
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from app.revocation.alarms import as_said, keep_raised

Conditions = dict[AlarmKind, dict[str, str]]
"""Of each kind, what it is about and the sentence for a person."""


def look(organization_id: str, *, at: datetime, overdue_after: timedelta) -> None:
    """Raise what is new, close what is over. Writes only where something has changed, so it may be called every few seconds."""
    with reading() as session:
        standing = what_stands(session, organization_id, at=at, overdue_after=overdue_after)
    keep(organization_id, standing, at=at)


def keep(organization_id: str, standing: Conditions, *, at: datetime) -> None:
    """Of these kinds exactly this stands: the same for whoever knows of other kinds than we do."""
    standing = {kind: {about: as_said(sentence) for about, sentence in of_kind.items()} for kind, of_kind in standing.items()}
    with reading() as session:
        open_now = session.execute(
            select(Alarm.kind, Alarm.about, Alarm.sentence).where(
                Alarm.organization_id == organization_id, Alarm.kind.in_(list(standing)), Alarm.closed_at.is_(None)
            )
        ).all()
    known: Conditions = {kind: {} for kind in standing}
    for kind, about, sentence in open_now:
        known[AlarmKind(kind)][about] = sentence
    changed = [kind for kind in standing if known[kind] != standing[kind]]
    if changed:
        in_transaction(lambda session: _write(session, organization_id, {kind: standing[kind] for kind in changed}, at=at))


def _write(session: Session, organization_id: str, standing: Conditions, *, at: datetime) -> None:
    for kind, of_kind in standing.items():
        keep_raised(session, organization_id, kind=kind, standing=of_kind, at=at)


def what_stands(session: Session, organization_id: str, *, at: datetime, overdue_after: timedelta) -> Conditions:
    """Everything of these kinds that stands at this moment. Only reads."""
    late = at - overdue_after
    return {
        AlarmKind.DEPARTURE_NOT_SHUT: _overdue(session, organization_id, late),
        AlarmKind.DEPARTURE_NOT_DECIDED: _undecided(session, organization_id, late),
        AlarmKind.WORKSPACE_HALTED: _halted(session, organization_id),
        AlarmKind.AUDIT_BEHIND: _behind(session, at=at),
        AlarmKind.LAST_OWNER_LEAVING: _ownerless(session, organization_id),
        AlarmKind.PUSH_HELD: _held(session, organization_id),
        AlarmKind.CREDENTIAL_EXPIRING: {
            one.source_id: f"{said[0].upper()}{said[1:]}." for one in ways_in(session, organization_id) if (said := expiry_of(one, at=_today(at)))
        },
    }


def _today(at: datetime) -> datetime:
    # A sentence that counts days is said once a day, and not once a second.
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _overdue(session: Session, organization_id: str, late: datetime) -> dict[str, str]:
    overdue = overdue_by_place(session, organization_id, late)
    names = places_of(session, organization_id) if overdue else {}
    said: dict[str, str] = {}
    for place, (count, error) in overdue.items():
        name = names.get(place, (place, ""))[0]
        people = "1 person who has" if count == 1 else f"{count} people who have"
        said[place] = f"{people} left and could still get into {name}" + (f": {error}" if error else "") + "."
    return said


def _undecided(session: Session, organization_id: str, late: datetime) -> dict[str, str]:
    count = undecided_people(session, organization_id, late)
    return {"": f"{count} departures have come due and nobody acted on them."} if count else {}


def _halted(session: Session, organization_id: str) -> dict[str, str]:
    halted = select(Workspace).where(Workspace.organization_id == organization_id, Workspace.state == WorkspaceState.HALTED)
    return {one.id: f"{one.name} is halted: {one.halted_reason}." for one in session.scalars(halted)}


def _held(session: Session, organization_id: str) -> dict[str, str]:
    held = select(Held.id, Held.reason).where(Held.organization_id == organization_id, Held.state == HeldState.OPEN)
    return {one.id: f"{one.reason}." for one in session.execute(held)}


def _behind(session: Session, *, at: datetime) -> dict[str, str]:
    if not audit_is_behind(session, at=at):
        return {}
    return {"tree": f"What was done since {iso(waiting_since(session))} is not in the audit tree yet."}


def _ownerless(session: Session, organization_id: str) -> dict[str, str]:
    """Where groups make owners: is there still one, by a group or by name? Elsewhere the machine's own user always is."""
    groups = role_groups(value_of(session, organization_id, "role_groups")).get(Role.OWNER)
    if not groups:
        return {}
    meant = Meant.by(groups)
    named = select(Operator.id).where(Operator.organization_id == organization_id, Operator.role == Role.OWNER, Operator.ended_at.is_(None))
    of_group = (
        select(Person.id)
        .join(Record, (Record.organization_id == Person.organization_id) & (Record.person_id == Person.id))
        .join(Membership, (Membership.organization_id == Record.organization_id) & (Membership.record_id == Record.id))
        .join(Group, (Group.organization_id == Membership.organization_id) & (Group.id == Membership.group_id))
        .where(
            Person.organization_id == organization_id, Person.standing == Standing.ACTIVE, is_on(present()),
            Membership.ended_at.is_(None), Group.ended_at.is_(None),
            or_(Group.id.in_(sorted(meant.ids)), Group.display_name_key.in_(sorted(meant.names))),
        )
    )  # fmt: skip
    if session.scalar(named.limit(1)) is not None or session.scalar(of_group.limit(1)) is not None:
        return {}
    return {"owner": "Nobody who is here is owner any more, by a group or by name."}
