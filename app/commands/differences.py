"""What should be in one workspace against what is there now, read from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.actors import Actor
from app.clock import now
from app.database import reading
from app.delivery.lost_rooms import forget
from app.delivery.workspaces import open_workspace
from app.directory.tables import Person, Standing
from app.journal import entries, work
from app.journal.tables import Lane, Subject
from app.reconcile.plan import Line as Planned
from app.reconcile.plan import Plan, Tally
from app.rules.channels import place, space_ids
from app.rules.file import Joining, Rule
from app.rules.membership import belongings, desired, keys_in_use
from app.rules.revisions import current_rules
from app.rules.scopes import render_all
from app.rules.shapes import shapes
from app.rules.tables import AGAIN, MOVED, Channel, ChannelMember, Reach, Room
from connectors.contract import AccountId, AccountState, ChannelRef, HoldsChannels, Member, Missing, Refused

ACCOUNTS = ""
"""Stands where a channel would: the pair then means the person's account itself. Sorts before every channel."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line as people read it. `channel` is None where it is about the account itself."""

    sign: str
    channel: str | None
    person: str


@dataclass(frozen=True, kw_only=True)
class Differences:
    """The plan, its lines, and whom and what to look at to carry it out."""

    plan: Plan
    lines: Sequence[Line]
    new_channels: Sequence[str]
    people: frozenset[str]
    leavers: frozenset[str]
    channels: frozenset[str]
    crowded: frozenset[str]
    lost: Mapping[str, ChannelRef]
    """Rooms that somebody deleted over there, by the channel that people belong in."""

    @property
    def empty(self) -> bool:
        return self.plan.empty and not self.new_channels


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the directory says of this workspace."""

    pairs: dict[str, set[str]]
    unmade: dict[str, set[str]]
    names: dict[str, str]
    joining: dict[str, Joining]
    rooms: dict[str, ChannelRef]
    mirror: dict[str, set[str]]
    left: dict[str, set[str]]
    active: frozenset[str]


def find_differences(organization_id: str, workspace: Workspace) -> Differences:
    """Read the workspace and compare. Writes nothing, here or there. Raises ConnectorError, KeyMissing."""
    target = open_workspace(workspace)
    with reading() as session:
        wanted = _wanted(session, organization_id, workspace.id, now())
    accounts = {account.id: (account.person_id, account.state) for account in target.list_accounts()}
    owner = {account_id: person_id for account_id, (person_id, _) in accounts.items() if person_id is not None}
    there = {person_id for person_id, state in accounts.values() if person_id is not None and state is AccountState.ACTIVE}
    tally = Tally()
    planned = [*tally.lines(((ACCOUNTS, one) for one in sorted(wanted.active)), ((ACCOUNTS, one) for one in sorted(there)))]
    lost: dict[str, ChannelRef] = {}
    planned += _members(target, wanted, owner, tally, lost) if isinstance(target, HoldsChannels) else ()
    with reading() as session:
        names = _people_names(session, organization_id, {line.person for line in planned})
    return _differences(tally.plan(), planned, wanted, names, lost)


def _members(
    target: HoldsChannels, wanted: _Wanted, owner: Mapping[AccountId, str], tally: Tally, lost: dict[str, ChannelRef]
) -> Iterator[Planned]:
    """Channel by channel, so that only one channel's members are in memory. Adds to `lost` what is not there any more."""
    for channel_id in sorted(wanted.pairs.keys() | wanted.rooms.keys()):
        should = wanted.pairs.get(channel_id, set())
        ref = wanted.rooms.get(channel_id)
        found = _read(target, ref) if ref is not None else []
        if ref is not None and found is None:
            lost[channel_id] = ref
        members = found or []
        # Somebody invited only counts where the rule does no more than invite.
        joining = wanted.joining.get(channel_id, Joining.ENFORCED)
        present = {owner.get(one.account, one.account) for one in members if one.joined or joining is Joining.SUGGESTED}
        if joining is not Joining.ENFORCED:
            # Whoever was in a room that was deleted is put into the new one; who had left it is not.
            mirrored = (wanted.left if channel_id in lost else wanted.mirror).get(channel_id, set())
            # Who left by choice is not brought back, and who came by hand is not put out.
            should = {one for one in should if one in present or one not in mirrored}
            present = {one for one in present if one in should or one in mirrored}
        yield from tally.lines(((channel_id, one) for one in sorted(should)), ((channel_id, one) for one in sorted(present)))
    for name, people in sorted(wanted.unmade.items()):
        yield from tally.lines(((f"~{name}", one) for one in sorted(people)), ())


def _read(target: HoldsChannels, ref: ChannelRef) -> list[Member] | None:
    """Who is in a room; None where there is none any more."""
    try:
        return list(target.list_members(ref))
    except (Missing, Refused):
        if target.get_channel(ref) is not None:
            raise
        return None


def _wanted(session: Session, organization_id: str, workspace_id: str, at: datetime) -> _Wanted:
    rules = current_rules(session, organization_id)
    pairs = {channel_id: {person for _, person in rows} for channel_id, rows in groupby(desired(session, organization_id, rules, at=at), lambda row: row[0])}
    mirror: dict[str, set[str]] = {}
    left: dict[str, set[str]] = {}
    for row in session.scalars(
        select(ChannelMember).where(
            ChannelMember.organization_id == organization_id, ChannelMember.workspace_id == workspace_id, ChannelMember.why != MOVED
        )
    ):
        if row.why not in AGAIN:
            mirror.setdefault(row.channel_id, set()).add(row.person_id)
        if row.left_at is not None:
            left.setdefault(row.channel_id, set()).add(row.person_id)
        if row.keep_until is not None and row.keep_until > at:
            pairs.setdefault(row.channel_id, set()).add(row.person_id)
    rooms = {
        room.channel_id: ChannelRef(room.ref)
        for room in session.scalars(
            select(Room).where(Room.organization_id == organization_id, Room.workspace_id == workspace_id, Room.ref.is_not(None))
        )
        if room.ref is not None
    }
    names = {channel.id: channel.name for channel in session.scalars(select(Channel).where(Channel.organization_id == organization_id))}
    shaped = shapes(session, organization_id, rules, names)
    unmade = _unmade(session, organization_id, rules, frozenset(names.values()), pairs)
    for channel_id in sorted(pairs):
        # Whoever is in a channel is in the spaces above it too.
        above = shaped[channel_id].parent if channel_id in shaped else None
        while above is not None:
            pairs.setdefault(above, set()).update(pairs[channel_id])
            above = shaped[above].parent if above in shaped else None
    active = select(Person.id).where(Person.organization_id == organization_id, Person.standing == Standing.ACTIVE)
    return _Wanted(
        pairs=pairs, unmade=unmade, names=names,
        joining={channel_id: one.membership for channel_id, one in shaped.items()}, rooms=rooms, mirror=mirror, left=left,
        active=frozenset(session.scalars(active)),
    )  # fmt: skip


def _unmade(
    session: Session, organization_id: str, rules: Sequence[Rule], names: frozenset[str], pairs: dict[str, set[str]]
) -> dict[str, set[str]]:
    """Who belongs in channels that nothing was made for yet, by the name they will be given.

    Who is to come into a channel or a space that is there, by a rule that does not reach it yet, is added to `pairs`.
    """
    made = {(row.rule_id, row.key) for row in session.scalars(select(Reach).where(Reach.organization_id == organization_id))}
    missing = [one.belongs for one in keys_in_use(session, organization_id, rules) if (one.belongs.rule_id, one.belongs.key) not in made]
    if not missing:
        return {}
    by_id = {rule.id: rule for rule in rules}
    rendered = render_all(session, organization_id, by_id, missing)
    spaces = space_ids(session, organization_id, {said.parent for said in rendered.values()})
    places: dict[tuple[str, str], tuple[str, str | None, str | None]] = {}
    for one, said in rendered.items():
        name, shared = place(session, organization_id, by_id, one.rule_id, said.name) if said.name in names else (said.name, None)
        places[one.rule_id, one.key] = name, shared, None if said.parent is None else spaces[said.parent]
    people: dict[str, set[str]] = {}
    for person_id, rule_id, key in belongings(session, organization_id, rules):
        if (rule_id, key) in places:
            name, shared, space = places[rule_id, key]
            into, channel = (people, name) if shared is None else (pairs, shared)
            into.setdefault(channel, set()).add(person_id)
            if space is not None:
                pairs.setdefault(space, set()).add(person_id)
    return people


def _people_names(session: Session, organization_id: str, ids: set[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    ordered = sorted(ids)
    for start in range(0, len(ordered), 500):
        query = select(Person.id, Person.user_name).where(Person.organization_id == organization_id, Person.id.in_(ordered[start : start + 500]))
        names |= {row.id: row.user_name for row in session.execute(query)}
    return names


def _differences(
    plan: Plan, planned: Sequence[Planned], wanted: _Wanted, names: dict[str, str], lost: Mapping[str, ChannelRef]
) -> Differences:
    def channel_of(line: Planned) -> str | None:
        if line.channel == ACCOUNTS:
            return None
        return line.channel[1:] if line.channel.startswith("~") else wanted.names.get(line.channel, line.channel)

    ours = {line.person for line in planned if line.person in names}
    # A channel is made for the people in it; one that nobody belongs in is not missed.
    new = {channel_id for channel_id, people in wanted.pairs.items() if people and (channel_id not in wanted.rooms or channel_id in lost)}
    return Differences(
        plan=plan,
        lines=[Line(sign=line.kind.value, channel=channel_of(line), person=names.get(line.person, line.person)) for line in planned],
        new_channels=sorted({wanted.names[one] for one in new} | wanted.unmade.keys()),
        people=frozenset(ours & wanted.active),
        leavers=frozenset(ours - wanted.active),
        channels=frozenset(new),
        crowded=frozenset(line.channel for line in planned if line.person not in names and line.channel != ACCOUNTS),
        lost={channel_id: ref for channel_id, ref in lost.items() if channel_id in new},
    )


def want_all(session: Session, organization_id: str, workspace: Workspace, found: Differences, *, actor: Actor, at: datetime) -> int:
    """Ask that everything the plan speaks of be looked at; returns how many subjects that is."""
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="plan applied", because="operator", subject_kind="workspace", subject_id=workspace.id,
        after={"digest": found.plan.digest, "add": found.plan.added, "remove": found.plan.removed},
    )  # fmt: skip
    for ref in found.lost.values():
        forget(session, organization_id, workspace.id, ref, at=at)
    # Through the person, whose expansion also makes channels that a rule reaches for the first time.
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=found.people, because=entry, due_at=at)
    for subject, ids, lane in (
        (Subject.ACCOUNT, found.people, Lane.SYNC),
        (Subject.ACCOUNT, found.leavers, Lane.DEPARTURES),
        (Subject.CHANNEL, found.channels, Lane.SYNC),
        (Subject.ROSTER, found.crowded, Lane.SYNC),
    ):
        work.want(session, organization_id, subject=subject, subject_ids=ids, because=entry, due_at=at, lane=lane, workspace_id=workspace.id)
    return len(found.people) + len(found.leavers) + len(found.channels) + len(found.crowded)
