"""Verbs on workspaces: connecting one, giving it another credential, setting it going again after it was halted."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import seal
from app.access.tables import Workspace, WorkspaceState
from app.actors import Actor
from app.database import new_id
from app.directory.tables import Person, Standing
from app.journal import entries, work
from app.journal.tables import Subject
from app.lifecycle.errors import NotFound, Taken
from app.settings import Settings


def add_workspace(
    session: Session, organization_id: str, name: str, *,
    kind: str, url: str, token: str, options: Mapping[str, str], problems: Sequence[str], settings: Settings, actor: Actor, at: datetime,
) -> Workspace:  # fmt: skip
    """Keep another workspace in step from now on: every active person is looked at. Raises Taken, KeyMissing."""
    if session.scalar(select(Workspace.id).where(Workspace.organization_id == organization_id, Workspace.name == name)) is not None:
        raise Taken("name", name, f"there is a workspace named {name!r} already")
    workspace = Workspace(
        organization_id=organization_id, id=new_id(), name=name, kind=kind, url=url, sealed_token=seal(settings, token), options=dict(options),
        state=WorkspaceState.RUNNING, halted_reason=None, problems=list(problems), created_at=at,
    )  # fmt: skip
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="workspace added", because="operator", subject_kind="workspace",
        subject_id=workspace.id, after={"name": name, "kind": kind, "url": url, "options": dict(options)},
    )  # fmt: skip
    session.add(workspace)
    session.flush()
    active = session.scalars(select(Person.id).where(Person.organization_id == organization_id, Person.standing == Standing.ACTIVE))
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=active, because=entry, due_at=at)
    return workspace


def find_workspace(session: Session, organization_id: str, name: str) -> Workspace:
    """A workspace by its name. Raises NotFound."""
    found = session.scalar(select(Workspace).where(Workspace.organization_id == organization_id, Workspace.name == name))
    if found is None:
        raise NotFound("workspace", name)
    return found


def workspaces_of(session: Session, organization_id: str) -> Sequence[Workspace]:
    """Every workspace, by name."""
    return session.scalars(select(Workspace).where(Workspace.organization_id == organization_id).order_by(Workspace.name)).all()


def resume(session: Session, workspace: Workspace, *, token: str | None, settings: Settings, actor: Actor, at: datetime) -> None:
    """Deliver to it again, with another credential where one is given. What waited meanwhile is due at once. Raises KeyMissing."""
    entries.write(
        session, workspace.organization_id, at=at, actor=actor, verb="workspace resumed", because="operator", subject_kind="workspace",
        subject_id=workspace.id, before={"state": workspace.state, "halted_reason": workspace.halted_reason},
        after={"state": WorkspaceState.RUNNING, "credential": "replaced" if token is not None else "kept"},
    )  # fmt: skip
    workspace.state, workspace.halted_reason = WorkspaceState.RUNNING, None
    if token is not None:
        workspace.sealed_token = seal(settings, token)
