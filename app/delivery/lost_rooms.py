"""Rooms of ours that somebody deleted over there: they are forgotten here, and so made anew, with the people who were in them."""

import logging
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.clock import Clock
from app.database import in_transaction
from app.journal import work
from app.journal.tables import Lane, Subject, Work, WorkState
from app.journal.work import Claim
from app.rules.revisions import current_rules
from app.rules.shapes import shapes
from app.rules.tables import LOST, MOVED, Channel, ChannelMember, Room
from connectors.contract import ChannelRef, HoldsChannels

log = logging.getLogger(__name__)


def is_lost(target: HoldsChannels, ref: ChannelRef) -> bool:
    """Whether the workspace says that there is no such room. Raises ConnectorError."""
    return target.get_channel(ref) is None


def make_anew(taken: Claim, ref: ChannelRef, *, clock: Clock) -> None:
    """Forget a room that a delivery found to be lost; what follows from it is work of its own."""
    in_transaction(lambda session: forget(session, taken.organization_id, taken.workspace_id, ref, at=clock()))


def forget(session: Session, organization_id: str, workspace_id: str, ref: ChannelRef, *, at: datetime) -> None:
    """Have the room made anew, and look at everybody who was in it. Where that was done already, nothing is."""
    here = (Room.organization_id == organization_id, Room.workspace_id == workspace_id)
    channel_id = session.scalar(
        update(Room).where(*here, Room.ref == ref).values(ref=None, shown=None).returning(Room.channel_id), execution_options={"synchronize_session": False}
    )
    if channel_id is None:
        return
    log.warning("room %s of channel %s was deleted in workspace %s: it is made anew where people belong in it", ref, channel_id, workspace_id)
    # Whoever had left by choice stays out of the new one as well.
    were = update(ChannelMember).where(
        ChannelMember.organization_id == organization_id, ChannelMember.workspace_id == workspace_id, ChannelMember.channel_id == channel_id,
        ChannelMember.why != MOVED, ChannelMember.left_at.is_(None),
    )  # fmt: skip
    people = session.scalars(were.values(why=LOST).returning(ChannelMember.person_id), execution_options={"synchronize_session": False}).all()
    channels = {channel_id, *_below(session, organization_id, workspace_id, channel_id)}
    # While a room is being deleted it is there, and whoever was to come into it was refused.
    accounts = {*people, *_parked(session, organization_id, workspace_id)}
    for subject, ids in ((Subject.CHANNEL, channels), (Subject.ACCOUNT, accounts)):
        work.want(session, organization_id, subject=subject, subject_ids=ids, because=None, due_at=at, workspace_id=workspace_id)


def _parked(session: Session, organization_id: str, workspace_id: str) -> Sequence[str]:
    return session.scalars(
        select(Work.subject_id).where(
            Work.organization_id == organization_id, Work.workspace_id == workspace_id, Work.subject == Subject.ACCOUNT, Work.lane == Lane.SYNC,
            Work.state == WorkState.PARKED,
        )
    ).all()  # fmt: skip


def _below(session: Session, organization_id: str, workspace_id: str, channel_id: str) -> set[str]:
    """The channels that a space holds: they are put under the new one."""
    if not session.get_one(Channel, (organization_id, channel_id)).space:
        return set()
    there = session.scalars(select(Room.channel_id).where(Room.organization_id == organization_id, Room.workspace_id == workspace_id)).all()
    shaped = shapes(session, organization_id, current_rules(session, organization_id), there)
    return {one.channel_id for one in shaped.values() if one.parent == channel_id}
