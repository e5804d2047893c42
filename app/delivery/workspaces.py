"""Opening the connector of a workspace, and stopping one that cannot work."""

import logging
from datetime import datetime
from typing import Any, Final

from flask import current_app
from sqlalchemy import Select, select, update

from app.access.sealing import unseal
from app.access.tables import Workspace, WorkspaceState
from app.clock import Clock
from app.clock import now as wall_clock
from app.database import asking, in_transaction, reading
from app.settings import Settings
from app.statements import param
from connectors.contract import Secret, Target, TargetSettings
from connectors.registry import open_target

log = logging.getLogger(__name__)

_SEALED: Final = select(Workspace.sealed_token).where(Workspace.organization_id == param("organization"), Workspace.id == param("workspace"))


class WorkspaceEnded(Exception):
    """It is kept in step no more: nothing is to be done there."""


def settings_here() -> Settings:
    """The settings that this process was started with."""
    settings = current_app.config["DOORLIST"]
    assert isinstance(settings, Settings)
    return settings


def open_workspace(workspace: Workspace) -> Target:
    """The connector of a workspace. Raises KeyMissing, Misconfigured; speaks to nobody yet."""
    token = Secret(unseal(settings_here(), workspace.sealed_token))
    options = {str(key): str(value) for key, value in workspace.options.items()}
    return open_target(workspace.kind, TargetSettings(name=workspace.name, url=workspace.url, token=token, options=options))


class Targets:
    """Connectors kept open by one worker, so that connections are used again; one for each workspace."""

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._open: dict[tuple[str, bytes], Target] = {}
        self._known_since: dict[tuple[str, bytes], datetime] = {}

    def of(self, organization_id: str, workspace_id: str) -> Target:
        """The connector of a workspace. Raises KeyMissing, Misconfigured, WorkspaceEnded."""
        sealed_token = _sealed_token(organization_id, workspace_id)
        if sealed_token is None:
            raise WorkspaceEnded(workspace_id)
        # A new token or address makes a new connector: the sealed bytes differ each time they are written.
        known = self._open.get((workspace_id, sealed_token))
        if known is not None:
            return known
        with reading() as session:
            workspace = session.get(Workspace, (organization_id, workspace_id))
            if workspace is None:
                raise WorkspaceEnded(workspace_id)
            key = (workspace.id, workspace.sealed_token)
            self._known_since.setdefault(key, self._clock())
            if key not in self._open:
                self._open[key] = open_workspace(workspace)
            return self._open[key]

    def halt(self, organization_id: str, workspace_id: str, reason: str, *, since: datetime) -> None:
        """Stop delivering to a workspace, loudly: its credential or its settings cannot be right.

        Not where it was given others only after `since`, when what failed was begun: these were not tried by it.
        """
        sealed_token = _sealed_token(organization_id, workspace_id)
        if sealed_token is None or self._is_new(workspace_id, sealed_token, since):
            log.warning("workspace %s is reached in another way by now, and tried so: %s", workspace_id, reason)
            return
        log.error("workspace %s halted: %s", workspace_id, reason)
        stopped = (
            update(Workspace)
            .where(Workspace.organization_id == organization_id, Workspace.id == workspace_id, Workspace.sealed_token == sealed_token)
            .values(state=WorkspaceState.HALTED, halted_reason=reason)
        )
        in_transaction(lambda session: session.execute(stopped))

    def _is_new(self, workspace_id: str, sealed_token: bytes, since: datetime) -> bool:
        others = any(one == workspace_id and sealed != sealed_token for one, sealed in list(self._known_since))
        known_since = self._known_since.get((workspace_id, sealed_token))
        return others and (known_since is None or known_since > since)


def _sealed_token(organization_id: str, workspace_id: str) -> bytes | None:
    with asking() as connection:
        return connection.execute(_SEALED, {"organization": organization_id, "workspace": workspace_id}).scalar_one_or_none()


def halted() -> Select[Any]:
    """SELECT of the workspaces to which nothing is delivered until an operator resumes them."""
    return select(Workspace.id).where(Workspace.state == WorkspaceState.HALTED)
