"""Delivering an account's channels: which ones somebody comes into, which ones they leave, and what the mirror says of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery import moving
from app.delivery.lost_rooms import is_lost, make_anew
from app.delivery.wanted import Desired, NotYet, Wanted
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim, Keep
from app.rules.moves import SETTLING
from app.rules.revisions import current_rules
from app.rules.shapes import ChannelShape, shapes
from app.rules.tables import AGAIN, BESIDE, MOVED, RETURNED, RULE, ChannelMember, Room
from connectors.contract import Account, ChannelRef, Conflict, HoldsChannels, Missing, Permit, Refused

Refusal = Refused | Conflict | Missing


@dataclass(frozen=True, kw_only=True)
class _Came:
    """The channels in which somebody is as they should be, those they were put into just now, those they are out of by their own choice or another's,
    and lost rooms."""

    settled: list[Wanted] = field(default_factory=list)
    added: list[Wanted] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    lost: list[ChannelRef] = field(default_factory=list)


def ensure_channels(
    taken: Claim, target: HoldsChannels, desired: Desired, account: Account, *, permit: Permit, clock: Clock, keep: Keep
) -> bool:  # fmt: skip
    """Leave and join channels; whether the claim is still to be closed. Raises NotYet while wanted ones are not there yet, or not any more.

    What is refused in one channel stands in no other's way; the first refusal is raised at the end, once nothing is being made any more.
    """
    joined = target.channels_of(account.id)
    refusals: list[Refusal] = []
    # First, since what is taken waits for nothing that is given.
    removed = _leave(taken, target, desired, account, joined, refusals, clock=clock)
    ready = [one for one in desired.channels.values() if one.ref is not None]
    came = _come_in(target, ready, desired, account, joined, refusals, permit=permit)
    for ref in came.lost:
        make_anew(taken, ref, clock=clock)
    added, settled, out = came.added, came.settled, came.out
    if added or removed:
        # Look again: an answer that said yes is not yet a membership.
        now = target.channels_of(account.id)
        missing = [one.shape.name for one in added if one.ref not in now and one.shape.membership != "suggested"]
        if missing:
            raise NotYet(f"{account.id} is not yet seen in {', '.join(missing)}")
    changed = [one for one in settled if one.channel_id not in desired.mirror]
    inside = joined | {one.ref for one in added if one.ref is not None}
    retold = [one for one in settled if (known := desired.mirror.get(one.channel_id)) and _is_retold(one, known, inside=one.ref in inside)]
    pending = len(desired.channels) - len(ready) + len(came.lost)
    is_all = not pending and not refusals
    to_be_noted = bool(changed or out or added or retold)
    if to_be_noted:
        did = [f"added to {one.shape.name}" for one in added]

        def act(session: Session) -> None:
            _mirror(session, taken, changed, out, at=clock())
            for one in retold:
                # They belong there again, or for another reason; since when they are there stays, and until when who is only kept.
                told: dict[str, object] = {"why": RULE} if one.why is None else {"why": one.why, "keep_until": None}
                if one.channel_id not in out:
                    told["left_at"] = None
                session.execute(update(ChannelMember).where(*_mine(taken), ChannelMember.channel_id == one.channel_id).values(told))
            _record(session, taken, did, at=clock())
            if desired.mirror:
                moving.came_about(session, taken, joined=[one.channel_id for one in settled], at=clock())
            if is_all:
                work.finish(session, taken)

        keep(act)
    if pending:
        raise NotYet(f"{pending} channels are still being made")
    if refusals:
        raise refusals[0]
    return not to_be_noted


def leave_channels(taken: Claim, target: HoldsChannels, desired: Desired, account: Account, *, clock: Clock) -> None:
    """Leave channels, and join none. What is refused is left to the next look."""
    _leave(taken, target, desired, account, target.channels_of(account.id), [], clock=clock)


def _come_in(
    target: HoldsChannels, ready: Sequence[Wanted], desired: Desired, account: Account, joined: frozenset[ChannelRef], refusals: list[Refusal], *,
    permit: Permit,
) -> _Came:  # fmt: skip
    came = _Came()
    for one in ready:
        assert one.ref is not None
        known = desired.mirror.get(one.channel_id)
        if one.ref not in joined:
            if one.shape.membership != "enforced" and known is not None and known.why not in AGAIN:
                if known.left_at is None and is_lost(target, one.ref):
                    came.lost.append(one.ref)
                    continue
                # Added or invited once already: they left, and a rule that only adds does not bring them back.
                came.out.append(one.channel_id)
            else:
                try:
                    _give(target, one, one.ref, account, permit=permit)
                except (Refused, Conflict, Missing) as error:
                    if is_lost(target, one.ref):
                        came.lost.append(one.ref)
                    else:
                        refusals.append(error)
                        # Somebody took them out over there, and lets nobody put them in again: nothing here is to say that they are in it.
                        came.out.append(one.channel_id)
                    continue
                came.added.append(one)
        came.settled.append(one)
    return came


def _is_retold(one: Wanted, known: ChannelMember, *, inside: bool) -> bool:
    """Whether the mirror has to say it differently; who came in by themselves, or accepted, has not left."""
    if known.why in AGAIN or (inside and known.left_at is not None):
        return True
    return one.why is not None and (known.why != one.why or known.keep_until is not None)


def _give(target: HoldsChannels, one: Wanted, ref: ChannelRef, account: Account, *, permit: Permit) -> None:
    if one.shape.membership == "suggested":
        target.invite_members(ref, [account.id], permit=permit)
    else:
        target.add_members(ref, [account.id], permit=permit)


def put_in_again(session: Session, taken: Claim) -> None:
    """Have whoever was shut out put into what they were in and still belong in: they left none of it by choice. Nothing is kept for them."""
    session.execute(
        update(ChannelMember)
        .where(*_mine(taken), ChannelMember.why != MOVED, ChannelMember.left_at.is_(None))
        .values(why=RETURNED, keep_until=None),
        execution_options={"synchronize_session": False},
    )


def _record(session: Session, taken: Claim, did: list[str], *, at: datetime) -> None:
    for what in did:
        deeds.record(
            session, taken.organization_id, workspace_id=taken.workspace_id, at=at, subject="person", subject_id=taken.subject_id, did=what
        )


def _mirror(session: Session, taken: Claim, joined: list[Wanted], left: list[str], *, at: datetime) -> None:
    if joined:
        here = {"organization_id": taken.organization_id, "workspace_id": taken.workspace_id, "person_id": taken.subject_id}
        rows = [here | {"channel_id": one.channel_id, "why": one.why or RULE, "since": at} for one in joined]
        connection = session.connection()
        connection.execute(_coming_in(connection.dialect.name), rows)
    if left:
        session.execute(
            update(ChannelMember)
            .where(*_mine(taken), ChannelMember.channel_id.in_(left), ChannelMember.left_at.is_(None))
            .values(left_at=at)
        )


@cache
def _coming_in(dialect: str) -> Any:
    # Whoever was there before may have left a row.
    statement = work.insert_for(dialect)(ChannelMember)
    fresh = {name: statement.excluded[name] for name in ("why", "since", "keep_until", "left_at")}
    return statement.on_conflict_do_update(index_elements=["organization_id", "workspace_id", "channel_id", "person_id"], set_=fresh)


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


def _rooms_of(taken: Claim, channel_ids: Collection[str]) -> list[tuple[str, ChannelRef]]:
    if not channel_ids:
        return []
    with reading() as session:
        rows = session.execute(
            select(Room.channel_id, Room.ref).where(
                Room.organization_id == taken.organization_id, Room.workspace_id == taken.workspace_id, Room.channel_id.in_(channel_ids)
            )
        ).all()
    return [(channel_id, ChannelRef(ref)) for channel_id, ref in rows if ref is not None]


def _is_to_be_kept(known: ChannelMember | None, one: ChannelShape) -> bool:
    # What somebody approved until a day ends on that day, and nothing is kept for whoever was away.
    return known is not None and known.keep_until is None and known.why not in (BESIDE, RETURNED) and one.keep_for > timedelta()


def _leave(
    taken: Claim, target: HoldsChannels, desired: Desired, account: Account, joined: frozenset[ChannelRef], refusals: list[Refusal], *, clock: Clock
) -> list[str]:
    """Leave channels of ours that nothing asks for any more, or withdraw the invitation; a mover keeps the old one for as long as its rule says."""
    at = clock()

    extra = _surplus(taken, joined - {one.ref for one in desired.channels.values()})
    # Whoever is kept in a channel is kept in the space above it too.
    kept_shapes = [one for channel_id, _, one in extra if _is_to_be_kept(desired.mirror.get(channel_id), one)]
    kept = {one.channel_id: at + one.keep_for for one in kept_shapes}
    above = {one.parent for one in kept_shapes}
    gone = [channel_id for channel_id in desired.mirror if channel_id not in desired.channels and channel_id not in above]
    later = [row.keep_until for row in desired.mirror.values() if row.keep_until is not None and row.keep_until > at]
    removed: list[str] = []
    stuck: set[str] = set()
    for channel_id, ref, one in extra:
        if channel_id in kept or channel_id in above:
            continue
        if channel_id not in desired.mirror and one.membership != "enforced":
            # Somebody invited them by hand, and the rule does not forbid it.
            continue
        assert ref is not None
        try:
            target.remove_members(ChannelRef(ref), [account.id])
        except (Refused, Conflict, Missing) as error:
            # They are in it still, and the mirror goes on saying why.
            refusals.append(error)
            stuck.add(channel_id)
        else:
            removed.append(channel_id)
    for channel_id, ref in _rooms_of(taken, set(gone) - {channel_id for channel_id, _, _ in extra}):
        try:
            # They may be invited still: whoever came in by that later would stay for good, and nothing here would know of it.
            target.remove_members(ref, [account.id])
        except (Refused, Conflict, Missing) as error:
            refusals.append(error)
            stuck.add(channel_id)

    def act(session: Session) -> None:
        drop = [channel_id for channel_id in gone if channel_id not in kept and channel_id not in stuck]
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
