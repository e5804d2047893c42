"""Who can get in, and into what: what an access review goes through. Accounts and channels are as they were last seen in each workspace."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from app.access.forgetting import last_sign_ins
from app.access.tables import RESERVED, Account, Workspace
from app.directory.heard import is_on, present
from app.directory.settings import role_groups, value_of
from app.directory.tables import Group, Membership, Person, Record, Source, Standing
from app.lifecycle.roles import roles_among
from app.rules.tables import MOVED, RULE, Channel, ChannelMember, Reach
from connectors.contract import AccountState

AT_A_TIME: Final = 500


@dataclass(frozen=True, kw_only=True)
class Access:
    """Somebody in one workspace. Without a `workspace`: in none yet. `vouched_by` are the sources that have them as on, `channels` how many they are in there."""

    person_id: str
    user_name: str
    display_name: str
    email: str | None
    employee_number: str | None
    user_type: str | None
    department: str | None
    manager: str | None
    standing: str
    vouched_by: tuple[str, ...]
    access_until: datetime | None
    role: str | None
    last_signed_in: datetime | None
    workspace: str | None = None
    account: str | None = None
    account_state: str | None = None
    channels: int = 0


@dataclass(frozen=True, kw_only=True)
class InChannel:
    """Somebody in one channel of one workspace. `why` names the rules that reach the channel, or what else has them there; `kept_until` a mover's time."""

    person_id: str
    user_name: str
    display_name: str
    department: str | None
    standing: str
    workspace: str
    account: str | None
    channel: str
    why: str
    since: datetime
    kept_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Account:
    account_id: str
    state: str


def access(session: Session, organization_id: str) -> Iterator[Access]:
    """Everybody who has access, and whoever has none with an account that is not known to be shut, in each workspace. By their id; streamed."""
    workspaces = _workspaces(session, organization_id)
    sources = {id: name for id, name in session.execute(select(Source.id, Source.name).where(Source.organization_id == organization_id))}
    for page in _pages(session, organization_id):
        ids = [one.id for one in page]
        vouched, roles = _vouched(session, organization_id, ids, sources), _roles(session, organization_id, ids)
        signed_in = last_sign_ins(session, organization_id, ids)
        managers = _names(session, organization_id, {one.manager_id for one in page if one.manager_id is not None})
        accounts = _accounts(session, organization_id, ids, workspaces)
        counts = _counts(session, organization_id, ids, workspaces)
        for one in page:
            there = accounts.get(one.id, {})
            nowhere = Access(
                person_id=one.id, user_name=one.user_name, display_name=one.display_name, email=one.email, employee_number=one.employee_number,
                user_type=one.user_type, department=one.department, manager=managers.get(one.manager_id or ""), standing=one.standing,
                vouched_by=vouched.get(one.id, ()), access_until=one.access_until, role=roles.get(one.id),
                last_signed_in=signed_in.get(one.id),
            )  # fmt: skip
            if not there:
                yield nowhere
            for workspace_id, account in sorted(there.items(), key=lambda item: workspaces[item[0]]):
                yield replace(
                    nowhere, workspace=workspaces[workspace_id], account=account.account_id, account_state=account.state,
                    channels=counts.get((one.id, workspace_id), 0),
                )  # fmt: skip


def memberships(session: Session, organization_id: str) -> Iterator[InChannel]:
    """The same people in each channel that they are in. By their id; streamed."""
    workspaces = _workspaces(session, organization_id)
    for page in _pages(session, organization_id):
        ids = [one.id for one in page]
        accounts = _accounts(session, organization_id, ids, workspaces)
        there: dict[str, list[tuple[ChannelMember, str]]] = {}
        for member, name in session.execute(_members(organization_id, ids, workspaces)):
            there.setdefault(member.person_id, []).append((member, name))
        rules = _rules(session, organization_id, {member.channel_id for some in there.values() for member, _ in some})
        for one in page:
            for member, name in sorted(there.get(one.id, ()), key=lambda row: (workspaces[row[0].workspace_id], row[1])):
                account = accounts.get(one.id, {}).get(member.workspace_id)
                yield InChannel(
                    person_id=one.id, user_name=one.user_name, display_name=one.display_name, department=one.department, standing=one.standing,
                    workspace=workspaces[member.workspace_id], account=None if account is None else account.account_id, channel=name,
                    why=_why(member, rules.get(member.channel_id, ())), since=member.since, kept_until=member.keep_until,
                )  # fmt: skip
        session.expunge_all()


def _workspaces(session: Session, organization_id: str) -> dict[str, str]:
    return {id: name for id, name in session.execute(select(Workspace.id, Workspace.name).where(Workspace.organization_id == organization_id))}


def _pages(session: Session, organization_id: str) -> Iterator[list[Any]]:
    """People, some at a time, with the columns that are named here."""
    open_somewhere = select(Account.account_id).where(
        Account.organization_id == Person.organization_id, Account.person_id == Person.id, Account.state == AccountState.ACTIVE,
        Account.workspace_id.in_(select(Workspace.id).where(Workspace.organization_id == organization_id)),
    )  # fmt: skip
    query = (
        select(
            Person.id, Person.user_name, Person.display_name, Person.email, Person.employee_number, Person.user_type, Person.department,
            Person.manager_id, Person.standing, Person.access_until,
        )
        .where(Person.organization_id == organization_id, or_(Person.standing == Standing.ACTIVE, open_somewhere.exists()))
        .order_by(Person.id)
    )  # fmt: skip
    people = iter(session.execute(query, execution_options={"yield_per": AT_A_TIME}))
    while page := list(islice(people, AT_A_TIME)):
        yield page


def _vouched(session: Session, organization_id: str, ids: Sequence[str], sources: dict[str, str]) -> dict[str, tuple[str, ...]]:
    rows = session.execute(
        select(Record.person_id, Record.source_id).where(Record.organization_id == organization_id, Record.person_id.in_(ids), is_on(present())).distinct()
    )
    found: dict[str, list[str]] = {}
    for person_id, source_id in rows:
        found.setdefault(person_id, []).append(sources.get(source_id, source_id))
    return {person_id: tuple(sorted(names)) for person_id, names in found.items()}


def _roles(session: Session, organization_id: str, ids: Sequence[str]) -> dict[str, str]:
    """The strongest role that a group gives each of them here."""
    wanted = role_groups(value_of(session, organization_id, "role_groups"))
    if not wanted:
        return {}
    rows = session.execute(
        select(Record.person_id, Group.id, Group.display_name_key)
        .join(Membership, (Membership.organization_id == Record.organization_id) & (Membership.record_id == Record.id))
        .join(Group, (Group.organization_id == Membership.organization_id) & (Group.id == Membership.group_id))
        .where(
            Record.organization_id == organization_id, Record.person_id.in_(ids), is_on(present()), Membership.ended_at.is_(None),
            Group.ended_at.is_(None),
        )
    )  # fmt: skip
    groups: dict[str, list[tuple[str, str]]] = {}
    for person_id, group_id, key in rows:
        groups.setdefault(person_id, []).append((group_id, key))
    given = {person_id: roles_among(wanted, some) for person_id, some in groups.items()}
    return {person_id: str(roles[0]) for person_id, roles in given.items() if roles}


def _names(session: Session, organization_id: str, ids: set[str]) -> dict[str, str]:
    query = select(Person.id, Person.user_name).where(Person.organization_id == organization_id, Person.id.in_(ids))
    return {id: name for id, name in session.execute(query)} if ids else {}


def _accounts(session: Session, organization_id: str, ids: Sequence[str], workspaces: dict[str, str]) -> dict[str, dict[str, _Account]]:
    """What is known to be theirs; an id that is only reserved may be somebody else's."""
    rows = session.execute(
        select(Account.person_id, Account.workspace_id, Account.account_id, Account.state).where(
            Account.organization_id == organization_id, Account.workspace_id.in_(workspaces), Account.person_id.in_(ids), Account.state != RESERVED
        )
    )
    found: dict[str, dict[str, _Account]] = {}
    for person_id, workspace_id, account_id, state in rows:
        found.setdefault(person_id, {})[workspace_id] = _Account(account_id=account_id, state=state)
    return found


def _members(organization_id: str, ids: Sequence[str], workspaces: dict[str, str]) -> Select[ChannelMember, str]:
    return (
        select(ChannelMember, Channel.name)
        .join(Channel, (Channel.organization_id == ChannelMember.organization_id) & (Channel.id == ChannelMember.channel_id))
        .where(
            ChannelMember.organization_id == organization_id, ChannelMember.workspace_id.in_(workspaces), ChannelMember.person_id.in_(ids),
            ChannelMember.left_at.is_(None), ChannelMember.why != MOVED, Channel.space.is_(False),
        )
    )  # fmt: skip


def _counts(session: Session, organization_id: str, ids: Sequence[str], workspaces: dict[str, str]) -> dict[tuple[str, str], int]:
    found = _members(organization_id, ids, workspaces).with_only_columns(ChannelMember.person_id, ChannelMember.workspace_id, func.count())
    rows = session.execute(found.group_by(ChannelMember.person_id, ChannelMember.workspace_id))
    return {(person_id, workspace_id): count for person_id, workspace_id, count in rows}


def _rules(session: Session, organization_id: str, channel_ids: set[str]) -> dict[str, tuple[str, ...]]:
    """The rules that reach each of these channels."""
    rows = session.execute(
        select(Reach.channel_id, Reach.rule_id).where(Reach.organization_id == organization_id, Reach.channel_id.in_(channel_ids)).distinct()
    )
    found: dict[str, list[str]] = {}
    for channel_id, rule_id in rows:
        found.setdefault(channel_id, []).append(rule_id)
    return {channel_id: tuple(sorted(rules)) for channel_id, rules in found.items()}


def _why(member: ChannelMember, rules: Sequence[str]) -> str:
    return f"{member.why} {', '.join(rules)}" if member.why == RULE and rules else member.why
