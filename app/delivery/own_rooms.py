"""Whether it is the same workspace, and its credential of the account that made its rooms: no other can put anybody into them, or take anybody out."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Account
from app.database import reading
from app.rules.tables import Channel, Room
from connectors.contract import AccountId, AccountState, ChannelRef, Check, HoldsChannels, Misconfigured, Missing, Refused, Target

_LOOKED_AT: Final = 5
"""Rooms, or accounts, that are asked for at most, so far as some are deleted over there."""


def check_with_rooms(target: Target, organization_id: str, workspace_id: str) -> Check:
    """What `check` says, and whether the rooms are this account's. Raises ConnectorError; Misconfigured where they are another's."""
    found = target.check()
    with reading() as session:
        rooms = _oldest(session, organization_id, workspace_id)
    if isinstance(target, HoldsChannels):
        _require_own(target, rooms, name=target.name)
    return found


def _oldest(session: Session, organization_id: str, workspace_id: str) -> list[ChannelRef]:
    """The first ones: should another account have been at work here for a while, what it made is newer."""
    refs = session.scalars(
        select(Room.ref)
        .join(Channel, (Channel.organization_id == Room.organization_id) & (Channel.id == Room.channel_id))
        .where(Room.organization_id == organization_id, Room.workspace_id == workspace_id, Room.ref.is_not(None))
        .order_by(Channel.created_at, Channel.id)
        .limit(_LOOKED_AT)
    )
    return [ChannelRef(ref) for ref in refs if ref is not None]


def _require_own(target: HoldsChannels, rooms: Iterable[ChannelRef], *, name: str) -> None:
    there = (seen for ref in rooms if (seen := target.get_channel(ref)) is not None)
    if (first := next(there, None)) is not None and not first.ours:
        raise Misconfigured(
            f"{name}: the token is of another account than the one that made the room {first.name!r}, and could put nobody into "
            "our rooms or take anybody out: it takes a token of that account"
        )


def check_same_place(target: Target, organization_id: str, workspace_id: str) -> None:
    """Whether what answers knows the accounts that we know of. Raises ConnectorError; Misconfigured where it is another server."""
    mine = (Account.organization_id == organization_id, Account.workspace_id == workspace_id, Account.state == AccountState.ACTIVE)
    with reading() as session:
        known = session.scalars(select(Account.account_id).where(*mine).order_by(Account.seen_at.desc(), Account.account_id).limit(_LOOKED_AT)).all()
    if known and not any(_has(target, AccountId(one)) for one in known):
        raise Misconfigured(
            f"{target.name}: what answers at that address does not know the account {known[0]}, nor any other that was asked for: "
            "another server is a workspace of its own, and is added as one"
        )


def _has(target: Target, account_id: AccountId) -> bool:
    try:
        return target.get_account(account_id) is not None
    except (Refused, Missing):
        # A server is asked about accounts of its own name only.
        return False
