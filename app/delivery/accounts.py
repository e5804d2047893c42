"""Delivering an account of someone who is active: the account itself, then the channels it is in."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.tables import Account as AccountRow
from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery import moving
from app.delivery.permits import permit_for
from app.delivery.precedence import Precedence
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim
from app.lifecycle.people import emails_of
from app.rules.channels import reach, reached_so_far
from app.rules.membership import keys_of_person
from app.rules.moves import SETTLING
from app.rules.revisions import current_rules
from app.rules.shapes import ChannelShape, led_by, shapes
from app.rules.stays import beside_rules
from app.rules.tables import BESIDE, MOVED, RULE, ChannelMember, Room
from connectors.contract import (
    Account,
    AccountId,
    AccountState,
    ChannelRef,
    Conflict,
    HoldsChannels,
    Missing,
    Permit,
    Profile,
    Refused,
    Target,
)

RESERVED = "reserved"
"""State of an account row whose id is kept for a person, before the account is known to be there."""


class NotYet(Exception):
    """Something that this subject needs is still being made; look again in a moment."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A person's channel in this workspace. `ref` is None while it is being made there, `why` where it is only kept for a while."""

    channel_id: str
    ref: ChannelRef | None
    shape: ChannelShape
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Desired:
    """What should be so at the moment of looking."""

    profile: Profile
    epoch: int
    channels: dict[str, Wanted]
    mirror: dict[str, ChannelMember]
    account_id: AccountId | None
    complete: bool
    """Whether everything that is wanted was made already, here and there."""


def profile_of(person: Person) -> Profile:
    """What a workspace is to know of a person."""
    emails = tuple(emails_of(person.document)[:1])
    return Profile(person_id=person.id, user_name=person.user_name, display_name=person.display_name, emails=emails)


def digest_of(profile: Profile) -> str:
    """Tells whether a profile was delivered already."""
    return hashlib.sha256(repr((profile.user_name, profile.display_name, profile.emails)).encode()).hexdigest()


def deliver_account(taken: Claim, target: Target, *, clock: Clock, precedence: Precedence) -> bool:
    """Bring one account in line; False where its person has no access, and nothing was done. Raises ConnectorError, NotYet."""
    with reading() as session:
        desired = _desired(session, taken, at=clock())
    if desired is not None and not desired.complete:
        # Only now the database's one pen is asked for.
        desired = in_transaction(lambda session: _desired(session, taken, at=clock(), make=True))
    if desired is None:
        return False
    permit = permit_for(taken, epoch=desired.epoch, clock=clock, precedence=precedence)
    try:
        account = _ensure_account(taken, target, desired, permit=permit, clock=clock)
        pending = _ensure_channels(taken, target, desired, account, permit=permit, clock=clock) if isinstance(target, HoldsChannels) else 0
    except (Refused, Conflict, Missing):
        # A workspace refuses what it is asked for somebody who is being shut out at this moment: that is no fault to be set aside.
        permit()
        raise
    if pending:
        raise NotYet(f"{pending} channels are still being made")
    return True


def _desired(session: Session, taken: Claim, *, at: datetime, make: bool = False) -> Desired | None:
    """What should be so; with `make`, channels that are not there yet are made here, and asked for in the workspace."""
    organization_id, workspace_id, person_id = taken.organization_id, taken.workspace_id, taken.subject_id
    person = session.get(Person, (organization_id, person_id))
    if person is None or person.standing != Standing.ACTIVE or (person.access_until is not None and person.access_until <= at):
        return None
    rules = current_rules(session, organization_id)
    belongs = keys_of_person(session, organization_id, rules, person_id)
    reached = reach(session, organization_id, rules, belongs, at) if make else reached_so_far(session, organization_id, belongs)
    by_rule = set(reached.values())
    beside = beside_rules(session, organization_id, person_id, at=at).keys() - by_rule
    channel_ids = by_rule | beside
    mirror = {
        row.channel_id: row
        for row in session.scalars(
            select(ChannelMember).where(
                ChannelMember.organization_id == organization_id, ChannelMember.workspace_id == workspace_id,
                ChannelMember.person_id == person_id, ChannelMember.why != MOVED,
            )
        )
    }  # fmt: skip
    channel_ids |= {channel_id for channel_id, row in mirror.items() if row.keep_until is not None and row.keep_until > at}
    shaped: dict[str, ChannelShape] = {}
    ahead = channel_ids
    while ahead:
        shaped |= shapes(session, organization_id, rules, ahead)
        # Whoever is in a channel sees the spaces above it, or could not find it there.
        ahead = {one.parent for one in shaped.values() if one.parent is not None} - shaped.keys()
    rooms = {
        room.channel_id: room
        for room in session.scalars(
            select(Room).where(
                Room.organization_id == organization_id, Room.workspace_id == workspace_id, Room.channel_id.in_(list(shaped))
            )
        )
    }
    channels = {
        channel_id: Wanted(
            channel_id=channel_id, ref=ChannelRef(room.ref) if (room := rooms.get(channel_id)) and room.ref else None, shape=one,
            why=BESIDE if channel_id in beside else None if channel_id in mirror and channel_id not in by_rule and not one.space else RULE,
        )
        for channel_id, one in shaped.items()
    }
    missing = [one.channel_id for one in channels.values() if one.ref is None]
    if missing and make:
        work.want(
            session, organization_id, subject=Subject.CHANNEL, subject_ids=missing, because=None, due_at=at, workspace_id=workspace_id,
            anew=False,
        )  # fmt: skip
    row = session.get(AccountRow, (organization_id, workspace_id, person_id))
    return Desired(
        profile=profile_of(person),
        epoch=person.access_epoch,
        channels=channels,
        mirror=mirror,
        account_id=AccountId(row.account_id) if row else None,
        complete=len(reached) == len(belongs) and not missing,
    )


def _ensure_account(taken: Claim, target: Target, desired: Desired, *, permit: Permit, clock: Clock) -> Account:
    profile = target.fit(desired.profile)

    did: list[str] = []
    seen = _known_account(target, desired)
    if seen is None:
        seen = _create_account(taken, target, profile, desired.account_id, permit=permit)
        did.append(f"created account {seen.id}")
    elif seen.state is not AccountState.ACTIVE:
        seen = target.reactivate_account(seen.id, profile, permit=permit)
        did.append(f"reactivated account {seen.id}")
    elif seen.display_name != profile.display_name or not set(profile.emails) <= set(seen.emails):
        seen = target.update_account(seen.id, profile, permit=permit)
        did.append(f"updated account {seen.id}")
    account = seen

    def act(session: Session) -> None:
        _record(session, taken, did, at=clock())
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
        digest = digest_of(desired.profile)
        if row is not None and (row.account_id, row.state, row.profile_digest) == (account.id, account.state, digest):
            return
        if row is None:
            row = AccountRow(
                organization_id=taken.organization_id, workspace_id=taken.workspace_id, person_id=taken.subject_id, account_id=account.id,
                state=account.state,
            )  # fmt: skip
            session.add(row)
        opened = row.seen_at is None or row.state != AccountState.ACTIVE
        row.account_id, row.state, row.seen_at, row.profile_digest = account.id, account.state, clock(), digest
        if opened and (person := session.get(Person, (taken.organization_id, taken.subject_id))) is not None:
            # Channels that wait for this person as their owner could not name them before the account was there, and open.
            led = led_by(session, person, current_rules(session, taken.organization_id))
            work.want(
                session, taken.organization_id, subject=Subject.CHANNEL, subject_ids=led, because=None, due_at=clock(),
                workspace_id=taken.workspace_id,
            )  # fmt: skip

    in_transaction(act)
    return account


def _known_account(target: Target, desired: Desired) -> Account | None:
    # Where we know of no account, the connector's own look before it creates one is enough.
    if desired.account_id is None:
        return None
    seen = target.get_account(desired.account_id)
    return seen if seen is not None and seen.person_id == desired.profile.person_id else target.find_account(desired.profile.person_id)


def _create_account(taken: Claim, target: Target, profile: Profile, reserved: AccountId | None, *, permit: Permit) -> Account:
    account_id = reserved or reserve(taken, target, profile, look=False)
    try:
        return target.create_account(account_id, profile, permit=permit)
    except Conflict:
        # Somebody else has the id, and as it is not marked as ours it is not taken over.
        return target.create_account(reserve(taken, target, profile, look=True), profile, permit=permit)


def reserve(taken: Claim, target: Target, profile: Profile, *, look: bool) -> AccountId:
    """Choose an id that no person ever had here and, with `look`, that nobody holds there; keep it before it is used."""
    for attempt in range(1, 100):
        proposed = target.proposed_id(profile, attempt=attempt)
        with reading() as session:
            used = session.scalar(
                select(AccountRow.person_id).where(
                    AccountRow.organization_id == taken.organization_id, AccountRow.workspace_id == taken.workspace_id,
                    AccountRow.account_id == proposed,
                )
            )  # fmt: skip
        if used is not None or (look and target.get_account(proposed) is not None):
            continue

        def act(session: Session, proposed: AccountId = proposed) -> None:
            session.merge(
                AccountRow(
                    organization_id=taken.organization_id, workspace_id=taken.workspace_id, person_id=taken.subject_id, account_id=proposed,
                    state=RESERVED, profile_digest=None, seen_at=None,
                )
            )  # fmt: skip

        try:
            in_transaction(act)
        except IntegrityError:
            continue
        return proposed
    raise Conflict(f"{target.name}: no free account id for {profile.user_name} in 99 attempts")


def _ensure_channels(taken: Claim, target: HoldsChannels, desired: Desired, account: Account, *, permit: Permit, clock: Clock) -> int:
    """Join and leave channels; returns how many wanted ones are not there yet."""
    joined = target.channels_of(account.id)
    ready = [one for one in desired.channels.values() if one.ref is not None]
    added: list[Wanted] = []
    left_by_choice: list[str] = []
    for one in ready:
        assert one.ref is not None
        known = desired.mirror.get(one.channel_id)
        if one.ref in joined:
            continue
        if one.shape.membership != "enforced" and known is not None:
            # Added or invited once already: they left, and a rule that only adds does not bring them back.
            left_by_choice.append(one.channel_id)
            continue
        if one.shape.membership == "suggested":
            target.invite_members(one.ref, [account.id], permit=permit)
        else:
            target.add_members(one.ref, [account.id], permit=permit)
        added.append(one)
    removed = _leave(taken, target, desired, account, joined, clock=clock)
    if added or removed:
        # Look again: an answer that said yes is not yet a membership.
        now = target.channels_of(account.id)
        missing = [one.shape.name for one in added if one.ref not in now and one.shape.membership != "suggested"]
        if missing:
            raise NotYet(f"{account.id} is not yet seen in {', '.join(missing)}")
    changed = [one for one in ready if one.channel_id not in desired.mirror]
    retold = [one for one in ready if (known := desired.mirror.get(one.channel_id)) and one.why and (known.why != one.why or known.keep_until)]
    if changed or left_by_choice or added or retold:
        did = [f"added to {one.shape.name}" for one in added]

        def act(session: Session) -> None:
            _mirror(session, taken, changed, left_by_choice, at=clock())
            for one in retold:
                # They belong there again, or for another reason; since when they are there stays.
                session.execute(update(ChannelMember).where(*_mine(taken), ChannelMember.channel_id == one.channel_id).values(why=one.why, keep_until=None))
            _record(session, taken, did, at=clock())
            if desired.mirror:
                moving.came_about(session, taken, joined=[one.channel_id for one in ready], at=clock())

        in_transaction(act)
    return len(desired.channels) - len(ready)


def _record(session: Session, taken: Claim, did: list[str], *, at: datetime) -> None:
    for what in did:
        deeds.record(
            session, taken.organization_id, workspace_id=taken.workspace_id, at=at, subject="person", subject_id=taken.subject_id, did=what
        )


def _mirror(session: Session, taken: Claim, joined: list[Wanted], left: list[str], *, at: datetime) -> None:
    for one in joined:
        session.merge(
            ChannelMember(
                organization_id=taken.organization_id, workspace_id=taken.workspace_id, channel_id=one.channel_id,
                person_id=taken.subject_id, why=one.why or RULE, since=at, keep_until=None, left_at=None,
            )
        )  # fmt: skip
    if left:
        session.execute(
            update(ChannelMember)
            .where(*_mine(taken), ChannelMember.channel_id.in_(left), ChannelMember.left_at.is_(None))
            .values(left_at=at)
        )


def _mine(taken: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        ChannelMember.organization_id == taken.organization_id,
        ChannelMember.workspace_id == taken.workspace_id,
        ChannelMember.person_id == taken.subject_id,
    )


def _surplus(taken: Claim, refs: frozenset[ChannelRef]) -> list[tuple[str, str | None, ChannelShape]]:
    """Those of the rooms that are channels of ours."""
    if not refs:
        return []
    with reading() as session:
        rows = session.execute(
            select(Room.channel_id, Room.ref).where(
                Room.organization_id == taken.organization_id, Room.workspace_id == taken.workspace_id, Room.ref.in_(refs)
            )
        ).all()
        shaped = shapes(session, taken.organization_id, current_rules(session, taken.organization_id), [row.channel_id for row in rows])
        return [(channel_id, ref, shaped[channel_id]) for channel_id, ref in rows if channel_id in shaped]


def _leave(
    taken: Claim, target: HoldsChannels, desired: Desired, account: Account, joined: frozenset[ChannelRef], *, clock: Clock
) -> list[str]:
    """Leave channels of ours that nothing asks for any more; a mover keeps the old one for as long as its rule says."""
    at = clock()

    extra = _surplus(taken, joined - {one.ref for one in desired.channels.values()})
    gone = [channel_id for channel_id in desired.mirror if channel_id not in desired.channels]
    kept: dict[str, datetime] = {}
    later = [row.keep_until for row in desired.mirror.values() if row.keep_until is not None and row.keep_until > at]
    removed: list[str] = []
    for channel_id, ref, one in extra:
        known = desired.mirror.get(channel_id)
        if known is None and one.membership != "enforced":
            # Somebody invited them by hand, and the rule does not forbid it.
            continue
        # What somebody approved until a day ends on that day.
        if known is not None and known.keep_until is None and known.why != BESIDE and one.keep_for > timedelta():
            kept[channel_id] = at + one.keep_for
            continue
        assert ref is not None
        target.remove_members(ChannelRef(ref), [account.id])
        removed.append(channel_id)

    def act(session: Session) -> None:
        drop = [channel_id for channel_id in gone if channel_id not in kept]
        if drop:
            # Kept for a while, so that a whole channel that moves bit by bit is still seen to have moved.
            session.execute(delete(ChannelMember).where(*_mine(taken), ChannelMember.why == MOVED, ChannelMember.left_at < at - SETTLING))
            session.execute(update(ChannelMember).where(*_mine(taken), ChannelMember.channel_id.in_(drop)).values(why=MOVED, left_at=at))
        for channel_id, until in kept.items():
            session.execute(update(ChannelMember).where(*_mine(taken), ChannelMember.channel_id == channel_id).values(keep_until=until))
        if until_next := [*kept.values(), *later]:
            work.want(
                session, taken.organization_id, subject=Subject.DUE, subject_ids=[taken.subject_id], because=None, due_at=min(until_next)
            )
        for channel_id in removed:
            deeds.record(
                session, taken.organization_id, workspace_id=taken.workspace_id, at=at, subject="person", subject_id=taken.subject_id,
                did=f"removed from channel {channel_id}",
            )  # fmt: skip
        moving.came_about(session, taken, left=drop, kept=kept, at=at)

    if gone or kept or removed or later:
        in_transaction(act)
    return removed
