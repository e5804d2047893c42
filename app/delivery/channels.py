"""Delivering a channel: that it is there, called, placed, owned and open or archived as the rules say."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Account as AccountRow
from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery.lost_rooms import is_lost, make_anew
from app.delivery.wanted import NotYet
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim, Keep
from app.rules.channels import inhabited
from app.rules.file import Rule
from app.rules.revisions import current_rules
from app.rules.shapes import ChannelShape, shape
from app.rules.stay_tables import Stay, in_force
from app.rules.tables import MOVED, ChannelMember, ChannelState, Room
from connectors.contract import AccountId, ChannelRef, ChannelSeen, ChannelWanted, Conflict, HoldsChannels, Missing, Refused, Target


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """How a channel is to be shown, and where, if it is there already."""

    ref: ChannelRef | None
    wanted: ChannelWanted
    owners: frozenset[AccountId]
    digest: str
    waits_for_parent: bool


def deliver_channel(taken: Claim, target: Target, *, clock: Clock, keep: Keep) -> bool:
    """Bring one channel in line; the workspace is read only where something changed here. Whether the claim is still to be closed.

    Raises ConnectorError, and NotYet while the space above it is being made.
    """
    if not isinstance(target, HoldsChannels):
        return True
    prepared = in_transaction(lambda session: _prepare(session, taken, clock=clock))
    if prepared is None:
        return False
    if prepared.waits_for_parent:
        raise NotYet("the space above is still being made")
    ref, wanted, owners = prepared.ref, prepared.wanted, prepared.owners
    seen = target.get_channel(ref) if ref is not None else None
    if ref is not None and seen is None:
        make_anew(taken, ref, clock=clock)
        raise NotYet("its room was deleted, and is made anew where people belong in it")
    if seen is not None and seen.parent != wanted.parent:
        in_transaction(lambda session: _want_members(session, taken, clock=clock))
    try:
        seen = _create(taken, target, wanted) if seen is None else _update(taken, target, seen, wanted)
    except (Refused, Missing):
        if wanted.parent is None or not is_lost(target, wanted.parent):
            raise
        make_anew(taken, wanted.parent, clock=clock)
        raise NotYet("the space above was deleted, and is made anew") from None
    if seen.owners != owners:
        target.set_owners(seen.ref, owners)
    found = seen

    def act(session: Session) -> None:
        room = session.get_one(Room, (taken.organization_id, taken.workspace_id, taken.subject_id))
        fresh = room.ref is None
        room.ref, room.shown, room.seen_at = found.ref, prepared.digest, clock()
        deeds.record(
            session, taken.organization_id, workspace_id=taken.workspace_id, at=clock(), subject="channel", subject_id=taken.subject_id,
            did=f"{'created' if fresh else 'updated'} channel {wanted.name}",
        )  # fmt: skip
        work.finish(session, taken)

    keep(act)
    return False


def _want_members(session: Session, taken: Claim, *, clock: Clock) -> None:
    """Have whoever is in a channel that moves to another space leave the one and come into the other."""
    here = (ChannelMember.organization_id == taken.organization_id, ChannelMember.workspace_id == taken.workspace_id)
    people = session.scalars(select(ChannelMember.person_id).where(*here, ChannelMember.channel_id == taken.subject_id, ChannelMember.why != MOVED)).all()
    work.want(
        session, taken.organization_id, subject=Subject.ACCOUNT, subject_ids=people, because=taken.because, due_at=clock(), workspace_id=taken.workspace_id
    )


def _create(taken: Claim, target: HoldsChannels, wanted: ChannelWanted) -> ChannelSeen:
    try:
        return target.create_channel(wanted)
    except Conflict:
        # A room that is not ours holds the alias: the channel takes the next free one, and keeps it.
        in_transaction(lambda session: _next_key(session, taken, wanted.name))
        raise NotYet(f"the address {wanted.key} belongs to a room that is not ours; another is tried") from None


def _update(taken: Claim, target: HoldsChannels, seen: ChannelSeen, wanted: ChannelWanted) -> ChannelSeen:
    try:
        return target.update_channel(seen.ref, wanted)
    except Conflict:
        if not seen.ours or seen.key == wanted.key or seen.space != wanted.space:
            raise
        # An alias still leads to the room that had it before that one was renamed: this channel takes the next free one.
        in_transaction(lambda session: _next_key(session, taken, wanted.name))
        raise NotYet(f"the address {wanted.key} leads to another room; another is tried") from None


def _digest(wanted: ChannelWanted, owners: frozenset[AccountId]) -> str:
    shown = [wanted.key, wanted.name, wanted.topic, wanted.parent, wanted.space, wanted.read_only, wanted.encrypted, sorted(owners), wanted.private]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def _prepare(session: Session, taken: Claim, *, clock: Clock) -> _Prepared | None:
    """None where nothing is to be done: the claim is closed then."""
    prepared = _wanted(session, taken, clock=clock)
    if prepared is None:
        work.finish(session, taken)
    return prepared


def _wanted(session: Session, taken: Claim, *, clock: Clock) -> _Prepared | None:
    organization_id, workspace_id, channel_id = taken.organization_id, taken.workspace_id, taken.subject_id
    rules = current_rules(session, organization_id)
    one = shape(session, organization_id, rules, channel_id)
    if one is None:
        return None
    room = session.get(Room, (organization_id, workspace_id, channel_id))
    if (room is None or room.ref is None) and not _is_needed(session, taken, one, rules, at=clock()):
        return None
    if room is None:
        room = Room(organization_id=organization_id, workspace_id=workspace_id, channel_id=channel_id, key="", ref=None)
        room.key = _free_key(session, taken, one.name)
        session.add(room)
        session.flush()
    elif room.shown is not None and _number_of(room.key, one.name) is None:
        # Renamed: the address follows, and the connector keeps the old one leading here.
        room.key = _free_key(session, taken, one.name)
    parent_ref = None
    if one.parent is not None:
        above = session.get(Room, (organization_id, workspace_id, one.parent))
        if above is None or above.ref is None:
            work.want(
                session, organization_id, subject=Subject.CHANNEL, subject_ids=[one.parent], because=None, due_at=clock(), workspace_id=workspace_id,
                anew=False,
            )  # fmt: skip
        parent_ref = ChannelRef(above.ref) if above is not None and above.ref is not None else None
    wanted = ChannelWanted(
        key=room.key, name=one.name, topic=one.topic, parent=parent_ref, space=one.space, encrypted=one.encrypted, federated=one.federated,
        read_only=one.archived, private=one.private,
    )  # fmt: skip
    owners = _owners(session, taken, one)
    digest = _digest(wanted, owners)
    waits_for_parent = one.parent is not None and parent_ref is None
    if room.ref and room.shown == digest and not waits_for_parent:
        return None
    return _Prepared(
        ref=ChannelRef(room.ref) if room.ref else None, wanted=wanted, owners=owners, digest=digest, waits_for_parent=waits_for_parent
    )


def _is_needed(session: Session, taken: Claim, one: ChannelShape, rules: Sequence[Rule], *, at: datetime) -> bool:
    """Whether anybody belongs in it, by the rules or beside them, or is kept in it; a space is there for its channels. No room is made for nobody."""
    if one.space or one.state is ChannelState.ACTIVE:
        return True
    member = select(ChannelMember.person_id).where(
        ChannelMember.organization_id == taken.organization_id, ChannelMember.workspace_id == taken.workspace_id,
        ChannelMember.channel_id == one.channel_id, ChannelMember.why != MOVED,
    )  # fmt: skip
    stay = select(Stay.id).where(Stay.organization_id == taken.organization_id, Stay.channel_id == one.channel_id, in_force(at))
    if any(session.scalar(asked.limit(1)) is not None for asked in (member, stay)):
        return True
    return bool(inhabited(session, taken.organization_id, rules, [one.channel_id]))


def _owners(session: Session, taken: Claim, one: ChannelShape) -> frozenset[AccountId]:
    if not one.owners:
        return frozenset()
    return frozenset(
        AccountId(account_id)
        for account_id in session.scalars(
            select(AccountRow.account_id)
            .join(Person, (Person.organization_id == AccountRow.organization_id) & (Person.id == AccountRow.person_id))
            .where(
                AccountRow.organization_id == taken.organization_id, AccountRow.workspace_id == taken.workspace_id,
                AccountRow.person_id.in_(one.owners), AccountRow.state == "active", Person.standing == Standing.ACTIVE,
            )
        )
    )  # fmt: skip


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower()).strip("-") or "channel"


def _free_key(session: Session, taken: Claim, name: str, *, beyond: int = 0) -> str:
    """The address of this name with the first number after `beyond` that no other channel has here; the first is the name alone."""
    base = _slug(name)
    taken_keys = set(
        session.scalars(
            select(Room.key).where(
                Room.organization_id == taken.organization_id, Room.workspace_id == taken.workspace_id, Room.key.like(f"{base}%"),
                Room.channel_id != taken.subject_id,
            )
        )
    )  # fmt: skip
    number = beyond + 1
    while (key := base if number == 1 else f"{base}-{number}") in taken_keys:
        number += 1
    return key


def _number_of(key: str, name: str) -> int | None:
    """Which number an address of this name has; None where it is another name's. A number that is part of the name does not count."""
    base, number = _slug(name), key.removeprefix(f"{_slug(name)}-")
    if key == base:
        return 1
    return int(number) if number != key and number.isdigit() else None


def _next_key(session: Session, taken: Claim, name: str) -> None:
    room = session.get_one(Room, (taken.organization_id, taken.workspace_id, taken.subject_id))
    room.key = _free_key(session, taken, name, beyond=_number_of(room.key, name) or 1)


def deliver_roster(taken: Claim, target: Target) -> None:
    """Put out of a channel whoever a sweep found there and no rule and no hand of ours put in: accounts that are not people's."""
    if not isinstance(target, HoldsChannels):
        return
    with reading() as session:
        room = session.get(Room, (taken.organization_id, taken.workspace_id, taken.subject_id))
        if room is None or room.ref is None:
            return
        one = shape(session, taken.organization_id, current_rules(session, taken.organization_id), taken.subject_id)
        if one is None or one.membership != "enforced":
            return
        people = set(
            session.scalars(
                select(AccountRow.account_id)
                .join(
                    ChannelMember,
                    (ChannelMember.organization_id == AccountRow.organization_id)
                    & (ChannelMember.workspace_id == AccountRow.workspace_id)
                    & (ChannelMember.person_id == AccountRow.person_id),
                )
                .where(
                    ChannelMember.organization_id == taken.organization_id, ChannelMember.workspace_id == taken.workspace_id,
                    ChannelMember.channel_id == taken.subject_id, ChannelMember.why != MOVED,
                )
            )
        )  # fmt: skip
        ref = ChannelRef(room.ref)
    try:
        strangers = [member.account for member in target.list_members(ref) if member.account not in people]
    except (Refused, Missing):
        if not is_lost(target, ref):
            raise
        # Nobody is in it; whoever belongs there is put into the one that is made in its place.
        return
    if strangers:
        target.remove_members(ref, strangers)
