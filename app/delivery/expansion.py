"""From *this person changed* to *this account and these channels, in this workspace*."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy.orm import Session

from app.access.tables import Account, Workspace
from app.actors import CLOCK
from app.delivery import moving, ruled_handovers, signal_streams
from app.delivery.wanted import digest_of, profile_of
from app.directory.tables import Person, Standing
from app.journal import entries, work
from app.journal.tables import Lane, Subject, Work
from app.journal.work import Claim
from app.lifecycle.people import reconsider
from app.rules.channels import reach, settle
from app.rules.file import Rule
from app.rules.membership import Belongs, keys_of_person
from app.rules.moves import follow_moves
from app.rules.revisions import current_rules
from app.rules.shapes import led_by, shapes
from app.rules.stays import beside_rules
from app.rules.tables import AGAIN, BESIDE, MOVED, Channel, ChannelMember, ChannelState, Reach, Room
from app.statements import param, params
from connectors.contract import AccountState

MARKERS: Final = (Subject.PERSON, Subject.GROUP, Subject.DUE)
# Asked for each person who is looked at, so they are built once.
_ORGANIZATION, _WORKSPACE, _PERSON = (param(name) for name in ("organization", "workspace", "person"))
_WORKSPACES: Final = select(Workspace.id).where(Workspace.organization_id == _ORGANIZATION)
_KEPT_FOR: Final = select(Reach.channel_id).where(Reach.organization_id == _ORGANIZATION, Reach.key == _PERSON)
_WAS_IN: Final = select(ChannelMember.channel_id).where(ChannelMember.organization_id == _ORGANIZATION, ChannelMember.person_id == _PERSON)
_IS_IN: Final = _WAS_IN.where(ChannelMember.why != MOVED)
_LIVELY: Final = select(Channel.id).where(
    Channel.organization_id == _ORGANIZATION, Channel.id.in_(params("channels")), Channel.state == ChannelState.ACTIVE, Channel.empty_since.is_(None)
)
_ROOMS: Final = select(Room.channel_id).where(
    Room.organization_id == _ORGANIZATION, Room.workspace_id == _WORKSPACE, Room.channel_id.in_(params("channels"))
)
_UNDER_WAY: Final = select(Work.generation).where(
    Work.organization_id == _ORGANIZATION, Work.workspace_id == _WORKSPACE, Work.subject == Subject.ACCOUNT, Work.subject_id == _PERSON,
    Work.lane == Lane.SYNC,
)  # fmt: skip
_ACCOUNT: Final = select(Account.state, Account.profile_digest).where(
    Account.organization_id == _ORGANIZATION, Account.workspace_id == _WORKSPACE, Account.person_id == _PERSON
)
_MIRROR: Final = (
    _IS_IN.add_columns(ChannelMember.why)
    .join(Channel, (Channel.organization_id == ChannelMember.organization_id) & (Channel.id == ChannelMember.channel_id))
    .where(ChannelMember.workspace_id == _WORKSPACE, Channel.space.is_(False))
)
_NAMES: Final = (
    select(Reach.rule_id, Reach.key, Channel.id, Channel.name)
    .join(Reach, (Reach.organization_id == Channel.organization_id) & (Reach.channel_id == Channel.id))
    .where(Channel.organization_id == _ORGANIZATION, tuple_(Reach.rule_id, Reach.key).in_(bindparam("keys", expanding=True)))
)


def workspace_ids(session: Session, organization_id: str) -> list[str]:
    """Every workspace of an organisation."""
    return list(session.scalars(_WORKSPACES, {"organization": organization_id}))


def want_channels(session: Session, organization_id: str, channel_ids: set[str], *, at: datetime) -> None:
    """Ask that channels be looked at in every workspace."""
    for workspace_id in workspace_ids(session, organization_id):
        work.want(
            session, organization_id, subject=Subject.CHANNEL, subject_ids=channel_ids, because=None, due_at=at, workspace_id=workspace_id
        )


def expand(session: Session, taken: Claim, *, at: datetime) -> None:
    """Name whatever one of the `MARKERS` touches, and close its claim along with that."""
    if taken.subject is Subject.GROUP:
        expand_group(session, taken.organization_id, taken.subject_id, at=at)
    elif taken.subject is Subject.PERSON:
        expand_person(session, taken.organization_id, taken.subject_id, at=at, because=taken.because)
    else:
        reconsider(session, taken.organization_id, taken.subject_id, at=at)
        work.want(session, taken.organization_id, subject=Subject.PERSON, subject_ids=[taken.subject_id], because=None, due_at=at)
    work.finish(session, taken)


def expand_person(session: Session, organization_id: str, person_id: str, *, at: datetime, because: int | None = None) -> None:
    """Name the accounts and channels that a changed person touches; makes channels that a rule reaches for the first time.

    `because` is the entry of what changed, where it is known: it stands in the receipt of whoever moves.
    """
    work.begin_expansion(session, organization_id)
    person = session.get(Person, (organization_id, person_id))
    if person is None:
        return
    signal_streams.note_return(session, organization_id, person_id, at=at)
    rules = current_rules(session, organization_id)
    now_in: set[str] = set()
    beside: set[str] = set()
    changed: set[str] = set()
    if person.standing == Standing.ACTIVE:
        for moved in follow_moves(session, organization_id, rules, at, [person_id]):
            changed.update({moved.channel_id} if moved.superseded is None else {moved.channel_id, moved.superseded})
            entries.write(
                session, organization_id, at=at, actor=CLOCK, verb="channel followed a move", because="all of its people have the new key",
                subject_kind="channel", subject_id=moved.channel_id, before={"key": moved.old}, after={"key": moved.new, "name": moved.name},
            )  # fmt: skip
        belongs = keys_of_person(session, organization_id, rules, person_id)
        before = _names(session, organization_id, [(one.rule_id, one.key) for one in belongs])
        names = dict(before.values())
        now_in = set(reach(session, organization_id, rules, belongs, at).values())
        _look_at_owners(session, organization_id, rules, now_in - names.keys(), but=person_id, at=at)
        beside = _beside(session, organization_id, person_id, at=at) - now_in
        now_in |= beside
        after = _names(session, organization_id, [(one.rule_id, one.key) for one in belongs])
        # Called otherwise now, or by a rule that has only now come to reach it, and has a say in it.
        changed.update(channel_id for by, (channel_id, name) in after.items() if names.get(channel_id, name) != name or by not in before)
    elif person.standing == Standing.DEPARTED:
        ruled_handovers.hand_over_ruled(session, person, rules, at=at)
    # A channel that is kept for this person as its manager shows their name and has them as owner.
    changed.update(session.scalars(_KEPT_FOR, {"organization": organization_id, "person": person_id}))
    if person.standing != Standing.ACTIVE:
        # What they own otherwise has them as owner no more; once they are back their account asks for it.
        changed |= led_by(session, person, rules)
    were = _IS_IN if person.standing == Standing.ACTIVE else _WAS_IN
    was_in = set(session.scalars(were, {"organization": organization_id, "person": person_id}))
    if was_in and person.standing == Standing.ACTIVE:
        moving.note(session, person, now_in, rules, because=because, at=at)
    # Who belongs in a channel that has people changes nothing in it. In an empty one somebody may be already, beside the rules or since it
    # followed them, who is the first whom the rules put there again.
    lively = session.scalars(_LIVELY, {"organization": organization_id, "channels": list(now_in)}) if now_in else ()
    changed |= _settle_channels(session, organization_id, rules, (was_in | now_in) - set(lively), at=at)
    for workspace_id in workspace_ids(session, organization_id):
        here = {"organization": organization_id, "workspace": workspace_id, "channels": list(now_in)}
        known = set(session.scalars(_ROOMS, here)) if now_in else set()
        work.want(
            session, organization_id, subject=Subject.CHANNEL, subject_ids=(now_in - known) | changed, because=None, due_at=at, workspace_id=workspace_id
        )  # fmt: skip
        if person.standing == Standing.EXPECTED or (person.standing == Standing.ACTIVE and not _is_delivered(session, person, workspace_id, now_in, beside)):
            work.want(
                session,
                organization_id,
                subject=Subject.ACCOUNT,
                subject_ids=[person_id],
                because=None,
                due_at=at,
                workspace_id=workspace_id,
            )


def _beside(session: Session, organization_id: str, person_id: str, *, at: datetime) -> set[str]:
    """Where somebody is beside the rules; when the first of it ends, they are looked at again."""
    found = beside_rules(session, organization_id, person_id, at=at)
    ends = [one for one in found.values() if one is not None]
    if ends:
        work.want(session, organization_id, subject=Subject.DUE, subject_ids=[person_id], because=None, due_at=min(ends))
    return set(found)


def _is_delivered(session: Session, person: Person, workspace_id: str, now_in: set[str], beside: set[str]) -> bool:
    """Whether the mirror shows just this, and nobody is changing it: then only a sweep has a reason to look there again."""
    of_person = {"organization": person.organization_id, "workspace": workspace_id, "person": person.id}
    if session.scalar(_UNDER_WAY, of_person) is not None:
        return False
    account = session.execute(_ACCOUNT, of_person).one_or_none()
    if account is None or account.state != AccountState.ACTIVE or account.profile_digest != digest_of(profile_of(person)):
        return False
    there = {channel_id: why for channel_id, why in session.execute(_MIRROR, of_person)}
    # Who is to be put in again was delivered once, and is not now.
    return AGAIN.isdisjoint(there.values()) and there.keys() == now_in and {one for one, why in there.items() if why == BESIDE} == beside


def _names(session: Session, organization_id: str, keys: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """The channel that each rule reaches for each key, and its name."""
    if not keys:
        return {}
    rows = session.execute(_NAMES, {"organization": organization_id, "keys": keys})
    return {(rule_id, key): (channel_id, name) for rule_id, key, channel_id, name in rows}


def _settle_channels(session: Session, organization_id: str, rules: Sequence[Rule], channel_ids: set[str], *, at: datetime) -> set[str]:
    """Bring the channels' states in line; returns those that workspaces have to show differently.

    `Channel.empty_since` is the row with an instant: whoever keeps time looks for those that have been empty long enough.
    """
    turned = {channel_id: one for channel_id, one in settle(session, organization_id, channel_ids, at).items() if one.state != one.was}
    if turned:
        _look_at_owners(session, organization_id, rules, set(turned), but="", at=at)
    return {channel_id for channel_id, one in turned.items() if ChannelState.ARCHIVED in (one.state, one.was)}


def _look_at_owners(
    session: Session, organization_id: str, rules: Sequence[Rule], channel_ids: set[str], *, but: str, at: datetime
) -> None:
    """Whoever is named as owner is in every channel of the rule that has people: in a new one too, and not in an empty one."""
    owners = {owner for one in shapes(session, organization_id, rules, channel_ids).values() for owner in one.owners} - {but}
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=owners, because=None, due_at=at)


def expand_group(session: Session, organization_id: str, group_id: str, *, at: datetime) -> None:
    """A group's name changed: the channels that rules keep for it are called anew and looked at again."""
    work.begin_expansion(session, organization_id)
    rules = current_rules(session, organization_id)
    rows = session.execute(select(Reach.rule_id, Reach.key).where(Reach.organization_id == organization_id, Reach.key == group_id)).all()
    belongs = [Belongs(rule_id=rule_id, key=key) for rule_id, key in rows]
    want_channels(session, organization_id, set(reach(session, organization_id, rules, belongs, at).values()), at=at)
