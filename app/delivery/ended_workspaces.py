"""Ending a workspace: nothing new is begun there, what is in hand comes to its end, and then it is kept in step no more."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import in_transaction
from app.journal.work import LEASE
from app.lifecycle import workspaces
from app.lifecycle.workspaces import Ended, InHand
from app.rules.tables import ChannelMember, Room

PATIENCE: Final = LEASE + timedelta(seconds=15)
"""Whatever was in hand is over by then, also what a killed process had."""


def stop(organization_id: str, name: str, *, anyway: bool) -> None:
    """Begin nothing new in a workspace that is to be ended. Raises NotFound, and StillOwed unless `anyway`."""

    def act(session: Session) -> None:
        workspace = workspaces.find_workspace(session, organization_id, name)
        if not anyway:
            workspaces.require_nothing_owed(session, workspace)
        workspaces.stop(session, workspace)

    in_transaction(act)


def end_if_free(organization_id: str, name: str, *, reason: str, anyway: bool, actor: Actor, clock: Callable[[], datetime]) -> Ended | None:
    """End it, once nobody is at work there; None until then. Raises NotFound, and StillOwed unless `anyway`."""

    def act(session: Session) -> Ended:
        workspace = workspaces.find_workspace(session, organization_id, name)
        if not anyway:
            # Somebody may have left meanwhile.
            workspaces.require_nothing_owed(session, workspace)
        # The mirror is of what could be changed there: were it kept, everybody would seem to be in channels that they cannot be taken out of.
        for table in (ChannelMember, Room):
            session.execute(
                delete(table).where(table.organization_id == organization_id, table.workspace_id == workspace.id),
                execution_options={"synchronize_session": False},
            )
        return workspaces.end(session, workspace, reason=reason, actor=actor, at=clock())

    try:
        return in_transaction(act)
    except InHand:
        return None
