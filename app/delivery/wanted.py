"""What should be so with one account at the moment of looking: its profile, and the channels that its person belongs in."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import RESERVED
from app.access.tables import Account as AccountRow
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim
from app.lifecycle.people import emails_of
from app.rules.channels import reach, reached_so_far
from app.rules.membership import keys_of_person
from app.rules.revisions import current_rules
from app.rules.shapes import ChannelShape, shapes
from app.rules.stays import beside_rules
from app.rules.tables import BESIDE, MOVED, RULE, ChannelMember, Room
from app.statements import param, params
from connectors.contract import AccountId, ChannelRef, Profile

# Asked for each account that is looked at, so they are built once.
_MIRROR: Final = select(ChannelMember).where(
    ChannelMember.organization_id == param("organization"), ChannelMember.workspace_id == param("workspace"),
    ChannelMember.person_id == param("person"), ChannelMember.why != MOVED,
)  # fmt: skip
_ROOMS: Final = select(Room.channel_id, Room.ref).where(
    Room.organization_id == param("organization"), Room.workspace_id == param("workspace"), Room.channel_id.in_(params("channels"))
)
_ACCOUNT: Final = select(AccountRow.account_id, AccountRow.state, AccountRow.profile_digest).where(
    AccountRow.organization_id == param("organization"), AccountRow.workspace_id == param("workspace"), AccountRow.person_id == param("person")
)


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
    delivered: bool
    """Whether that account was seen to be this person's, and its id not only reserved."""
    told: bool
    """Whether this very profile was the last that the account was given."""
    complete: bool
    """Whether everything that is wanted was made already, here and there."""


def profile_of(person: Person) -> Profile:
    """What a workspace is to know of a person."""
    emails = tuple(emails_of(person.document)[:1])
    return Profile(person_id=person.id, user_name=person.user_name, display_name=person.display_name, emails=emails)


def digest_of(profile: Profile) -> str:
    """Tells whether a profile was delivered already."""
    return hashlib.sha256(repr((profile.user_name, profile.display_name, profile.emails)).encode()).hexdigest()


def desired_of(session: Session, taken: Claim, *, at: datetime, make: bool = False) -> Desired | None:
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
    here = {"organization": organization_id, "workspace": workspace_id}
    mirror = {row.channel_id: row for row in session.scalars(_MIRROR, {**here, "person": person_id})}
    channel_ids |= {channel_id for channel_id, row in mirror.items() if row.keep_until is not None and row.keep_until > at}
    shaped: dict[str, ChannelShape] = {}
    ahead = channel_ids
    while ahead:
        shaped |= shapes(session, organization_id, rules, ahead)
        # Whoever is in a channel sees the spaces above it, or could not find it there.
        ahead = {one.parent for one in shaped.values() if one.parent is not None} - shaped.keys()
    refs = {channel_id: ref for channel_id, ref in session.execute(_ROOMS, {**here, "channels": list(shaped)})}
    channels = {
        channel_id: Wanted(
            channel_id=channel_id, ref=ChannelRef(ref) if (ref := refs.get(channel_id)) else None, shape=one,
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
    account = session.execute(_ACCOUNT, {**here, "person": person_id}).one_or_none()
    profile = profile_of(person)
    return Desired(
        profile=profile,
        epoch=person.access_epoch,
        channels=channels,
        mirror=mirror,
        account_id=None if account is None else AccountId(account.account_id),
        delivered=account is not None and account.state != RESERVED,
        told=account is not None and account.profile_digest == digest_of(profile),
        complete=len(reached) == len(belongs) and not missing,
    )
