"""Ending a workspace: nothing new is begun there, what is in hand comes to its end, then it is kept in step no more, and its mirror is forgotten."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from app.access.tables import EndedWorkspace
from app.actors import Actor
from app.database import in_transaction, reading
from app.journal.work import LEASE
from app.lifecycle import workspaces
from app.lifecycle.workspaces import Ended, InHand
from app.rules.tables import ChannelMember, Room

PATIENCE: Final = LEASE + timedelta(seconds=15)
"""Whatever was in hand is over by then, also what a killed process had."""
AT_ONCE: Final = 5_000
"""Rows that one transaction forgets: all others who write wait for it, departures too."""


def stop(organization_id: str, name: str, *, anyway: bool) -> None:
    """Begin nothing new in a workspace that is to be ended. Raises NotFound, and StillOwed unless `anyway`."""

    def act(session: Session) -> None:
        workspace = workspaces.find_workspace(session, organization_id, name)
        if not anyway:
            workspaces.require_nothing_owed(session, workspace)
        workspaces.stop(session, workspace)

    in_transaction(act)


def go_on(organization_id: str, name: str) -> None:
    """Deliver again to a workspace that was stopped to be ended, and is not. Raises NotFound."""
    in_transaction(lambda session: workspaces.go_on(workspaces.find_workspace(session, organization_id, name)))


def end_if_free(organization_id: str, name: str, *, reason: str, anyway: bool, actor: Actor, clock: Callable[[], datetime]) -> Ended | None:
    """End it, once nobody is at work there; None until then. Raises NotFound, and StillOwed unless `anyway`."""

    def act(session: Session) -> Ended:
        workspace = workspaces.find_workspace(session, organization_id, name)
        if not anyway:
            # Somebody may have left meanwhile.
            workspaces.require_nothing_owed(session, workspace)
        return workspaces.end(session, workspace, reason=reason, actor=actor, at=clock())

    try:
        return in_transaction(act)
    except InHand:
        return None


def forget_some(session: Session, organization_id: str, workspace_id: str) -> int:
    """Forget some of who was in which room there; how much, 0 where nothing is left.

    Kept, everybody would seem to be in channels that nobody can take them out of.
    """
    members = (ChannelMember.organization_id, ChannelMember.workspace_id, ChannelMember.channel_id, ChannelMember.person_id)
    rooms = (Room.organization_id, Room.workspace_id, Room.channel_id)
    for table, key in ((ChannelMember, members), (Room, rooms)):
        some = select(*key).where(key[0] == organization_id, key[1] == workspace_id).limit(AT_ONCE)
        gone = session.execute(delete(table).where(tuple_(*key).in_(some)), execution_options={"synchronize_session": False}).rowcount  # type: ignore[attr-defined]  # every DELETE has one
        if gone:
            return int(gone)
    return 0


def forget(most: int = 1_000) -> int:
    """Go on with whatever was not forgotten when a workspace was ended, in so many transactions at most; how many rows. Twice does it once."""
    with reading() as session:
        ended = session.execute(select(EndedWorkspace.organization_id, EndedWorkspace.id)).all()
    total = 0
    for where in ended:
        while most > 0 and (gone := in_transaction(lambda session, where=where: forget_some(session, *where))):  # type: ignore[misc]  # defaults bind the loop's values
            total, most = total + gone, most - 1
    return total
