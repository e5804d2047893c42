"""What workspaces are called: those that are kept in step, and those that were."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import EndedWorkspace, Workspace


@dataclass(frozen=True, kw_only=True)
class Known:
    name: str
    kind: str


def known_workspaces(session: Session, organization_id: str) -> dict[str, Known]:
    """Every workspace that an organisation has or had, by its id."""
    ended = select(EndedWorkspace.id, EndedWorkspace.name, EndedWorkspace.kind).where(EndedWorkspace.organization_id == organization_id)
    here = select(Workspace.id, Workspace.name, Workspace.kind).where(Workspace.organization_id == organization_id)
    return {id: Known(name=name, kind=kind) for id, name, kind in session.execute(ended.union_all(here))}


def name_of_workspace(session: Session, organization_id: str, workspace_id: str) -> str:
    """Its name, or its id where nobody knows it."""
    found = known_workspaces(session, organization_id).get(workspace_id)
    return workspace_id if found is None else found.name
