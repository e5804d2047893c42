"""What a person would see of an organisation: its people, groups and channels, without ids and instants, so that two can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery import ruled_handovers, worker
from app.directory.tables import Group, Membership, Person, Record
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Lane, Organization, Work, WorkState
from app.rules import stays
from app.rules.membership import desired
from app.rules.revisions import current_rules
from app.rules.shapes import shapes
from app.rules.templates import slug
from connectors.contract import AccountId
from tests.journeys.change_set import EMPLOYEE, Human, State
from tests.workspace import Workspace

RULES: Final = """
rules:
  - id: everyone
    name: all-hands{mark}
    owners: [olga{mark}]
  - id: departments
    where: 'userType eq "Employee"'
    for_each: department
    name: "dept-{{{{ key | slug }}}}"
    parent: company{mark}
  - id: teams
    for_each: manager
    name: "team-{{{{ manager.userName | slug }}}}"
    owners: [manager]
  - id: groups
    for_each: group
    name: "grp-{{{{ group.displayName | slug }}}}"
"""
"""`mark` keeps the channels of several organisations apart that share a chat server."""

Names = tuple[str, ...]
Channels = Mapping[str, tuple[Names, Names]]
"""For each channel its members and its owners."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`channels` are those that rules ask for. Of these, as of groups, only what anybody is in."""

    people: list[Names]
    groups: Mapping[str, Names]
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """What a workspace has: `rooms` with anybody in them, and accounts with name, addresses and state."""

    rooms: Channels
    accounts: list[Names]


def organization_named(name: str) -> str:
    with reading() as session:
        return session.scalars(select(Organization.id).where(Organization.name == name)).one()


def picture(organization_id: str) -> Picture:
    """What is so in an organisation."""
    with reading() as session:
        people = list(session.scalars(select(Person).where(Person.organization_id == organization_id)))
        names = {one.id: one.user_name for one in people}
        return Picture(
            people=sorted(_person(one, names) for one in people),
            groups=_groups(session, organization_id),
            channels=_channels(session, organization_id, names),
        )


def rooms_of(organization_id: str, workspace: Workspace) -> Rooms:
    """What is so in its workspace, by the names that people have now."""
    with reading() as session:
        names = {id: name for id, name in session.execute(select(Person.id, Person.user_name).where(Person.organization_id == organization_id))}

    def named(accounts: Iterable[AccountId]) -> Names:
        return tuple(sorted(names[workspace.accounts[id].person_id or ""] for id in accounts))

    return Rooms(
        rooms={room.name: (named(workspace.members[ref]), named(room.owners)) for ref, room in workspace.rooms.items() if workspace.members[ref]},
        accounts=sorted((names[one.person_id or ""], one.display_name, *one.emails, str(one.state)) for one in workspace.accounts.values()),
    )


def _person(one: Person, names: Mapping[str, str]) -> Names:
    said: dict[str, Any] = one.document
    work, name = said.get(ENTERPRISE_URN) or {}, said.get("name") or {}
    emails = [f"{email['value']} ({email['type']}{', primary' if email['primary'] else ''})" for email in said.get("emails") or ()]
    return (
        one.user_name, one.display_name, name.get("givenName", ""), name.get("familyName", ""), *emails, one.email or "", one.employee_number or "",
        work.get("employeeNumber", ""), one.department or "", one.user_type or "", said.get("title", ""), names.get(one.manager_id or "", ""),
        one.standing,
    )  # fmt: skip


def _groups(session: Session, organization_id: str) -> Mapping[str, Names]:
    standing = select(Group.id, Group.display_name).where(Group.organization_id == organization_id, Group.ended_at.is_(None))
    names = {row.id: row.display_name for row in session.execute(standing)}
    members: dict[str, list[str]] = {name: [] for name in names.values()}
    assert len(members) == len(names)
    query = (
        select(Membership.group_id, Record.user_name)
        .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
        .where(Membership.organization_id == organization_id, Membership.ended_at.is_(None))
    )
    for group_id, user_name in session.execute(query):
        members[names[group_id]].append(user_name)
    return {name: tuple(sorted(who)) for name, who in members.items() if who}


def _channels(session: Session, organization_id: str, names: Mapping[str, str]) -> Channels:
    rules = current_rules(session, organization_id)
    members: dict[str, list[str]] = {}
    for channel_id, person_id in desired(session, organization_id, rules, at=now()):
        members.setdefault(channel_id, []).append(names[person_id])
    shaped = shapes(session, organization_id, rules, members)
    return {shaped[id].name: (tuple(sorted(who)), tuple(sorted(names[one] for one in shaped[id].owners))) for id, who in members.items()}


# What should be so


def differences(one: object, other: object, at: str = "") -> list[str]:
    """Each thing in which two pictures, or parts of them, are not the same."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = sorted({*one, *other})
        return [found for key in keys for found in differences(one.get(key, "nothing"), other.get(key, "nothing"), f"{at} {key}:")]
    if isinstance(one, list) and isinstance(other, list):
        return [f"{at} only there: {each}" for each in one if each not in other] + [f"{at} only here: {each}" for each in other if each not in one]
    if isinstance(one, Picture | Rooms) and isinstance(other, Picture | Rooms):
        return differences(vars(one), vars(other), at)
    return [] if one == other else [f"{at} {one} there, {other} here"]


def expected(state: State, seen: Picture) -> Picture:
    """What should be seen of this directory. Of channels whose manager is not here only that they are there: whoever took over is in them as well."""
    led, leaderless = expected_channels(state)
    return Picture(
        people=sorted(_expected_person(one, state) for one in state.humans.values()),
        groups={
            circle.name: tuple(sorted(state.humans[who].user_name for who in people))
            for key, circle in state.circles.items() if (people := state.within(key))
        },
        channels={**led, **{name: seen.channels.get(name, ((), ())) for name in leaderless}},
    )  # fmt: skip


def expected_rooms(seen: Picture, rooms: Rooms, state: State) -> Rooms:
    """What a workspace should have of what is seen. Everybody in a department is in the space above it; accounts of leavers stay, and are closed."""
    within = {who for name, (people, _) in seen.channels.items() if name.startswith("dept-") for who in people}
    named = {one.user_name: one for one in state.humans.values() if one.works}
    accounts = [(one.user_name, one.display, one.mail, "active") for one in named.values()]
    closed = [one for one in rooms.accounts if one[-1] == "deactivated"]
    return Rooms(rooms={**seen.channels, "company": (tuple(sorted(within)), ())}, accounts=sorted([*accounts, *closed]))


def _expected_person(one: Human, state: State) -> Names:
    manager = state.humans[one.manager].user_name if one.manager else ""
    return (
        one.user_name, one.display, one.given, one.family, f"{one.mail} (work, primary)", one.mail, one.number, one.number, one.department, one.kind,
        one.title, manager, "active" if one.works else "departed",
    )  # fmt: skip


def expected_channels(state: State) -> tuple[Channels, set[str]]:
    """Those with everybody whom the rules put in and who owns them; and the names of those whose manager is not here."""
    here = [one for one in state.humans.values() if one.works]
    found: dict[str, set[str]] = {"all-hands": {one.user_name for one in here}}
    owners = {"all-hands": (state.humans["olga"].user_name,)}
    leaderless = set()
    for one in here:
        if one.kind == EMPLOYEE and one.department:
            found.setdefault(f"dept-{slug(one.department)}", set()).add(one.user_name)
        if one.manager and one.manager != one.who:
            manager = state.humans[one.manager]
            name = f"team-{slug(manager.user_name)}"
            if manager.works:
                found.setdefault(name, {manager.user_name}).add(one.user_name)
                owners[name] = (manager.user_name,)
            else:
                leaderless.add(name)
        for key, circle in state.circles.items():
            if one.who in state.within(key):
                found.setdefault(f"grp-{slug(circle.name)}", set()).add(one.user_name)
    return {name: (tuple(sorted(who)), owners.get(name, ())) for name, who in found.items()}, leaderless


def by_address(channels: Channels, state: State) -> Channels:
    """The same with everybody called by their address, in lower case as Synapse keeps it."""
    mails = {one.user_name: one.mail.lower() for one in state.humans.values() if one.works}
    return {name: (tuple(sorted(mails[who] for who in people)), tuple(sorted(mails[who] for who in owners))) for name, (people, owners) in channels.items()}


# Bringing it about


class Workspaces:
    """Opens each organisation's own stand-in wherever a connector is asked for."""

    def __init__(self) -> None:
        self.by_organization: dict[str, Workspace] = {}

    def of(self, organization_id: str, workspace_id: str) -> Workspace:
        return self.by_organization[organization_id]

    def connects(self, organization_id: str) -> Workspace:
        row = WorkspaceRow(
            organization_id=organization_id, id=new_id(), name="chat", kind="matrix", url="http://nowhere.invalid", sealed_token=b"", options={},
            created_at=now(),
        )  # fmt: skip
        in_transaction(lambda session: session.add(row))
        return self.by_organization.setdefault(organization_id, Workspace())


def deliver(app: Flask, workspaces: Workspaces) -> None:
    """Until nothing is left to be done, letting pauses pass; and then what the clock does of itself each minute."""
    crew = worker.Worker(app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1})
    crew._targets = workspaces  # type: ignore[assignment]  # the stand-ins keep the same promises
    _run(crew)
    a_minute_passes()
    _run(crew)


def a_minute_passes() -> None:
    """What the clock does of itself with channels that were handed over."""
    with reading() as session:
        organization_ids = stays.organizations(session)
    for organization_id in organization_ids:
        ruled_handovers.follow(organization_id, at=now())
        stays.follow(organization_id, at=now())


def _run(crew: worker.Worker) -> None:
    for _ in range(200):
        crew.run_until_idle()
        left = in_transaction(_hurry)
        if not left:
            return
        assert all(state != WorkState.PARKED for _, _, state in left), left
    raise AssertionError(f"work is left: {left}")


def _hurry(session: Session) -> list[tuple[str, str | None, str]]:
    """What is left, which is due from now on."""
    rows = session.scalars(select(Work)).all()
    for row in rows:
        row.due_at, row.claimed_by, row.lease_until = min(row.due_at, now()), None, None
    return [(row.subject, row.last_error, row.state) for row in rows]


