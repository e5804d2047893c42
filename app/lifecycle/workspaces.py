"""Verbs on workspaces: connecting one, reaching it in another way, setting it going again after it was halted, ending it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from app.access.sealing import seal
from app.access.tables import Account, EndedWorkspace, Workspace, WorkspaceState
from app.actors import Actor
from app.clock import iso
from app.database import new_id
from app.directory.tables import Person, Standing
from app.journal import entries, work
from app.journal.tables import Lane, Subject, Work
from app.lifecycle import brake
from app.lifecycle.errors import NotFound, StillOwed, Taken, named
from app.revocation.erasure_tables import Erasure
from app.revocation.tables import Departure, Proof
from app.settings import Settings
from connectors.contract import AccountState

_BEING_ENDED: Final = "it is being ended"
_QUIET: Final = {"synchronize_session": False}


def add_workspace(
    session: Session, organization_id: str, name: str, *,
    kind: str, url: str, token: str, options: Mapping[str, str], problems: Sequence[str], settings: Settings, actor: Actor, at: datetime,
) -> Workspace:  # fmt: skip
    """Keep another workspace in step from now on: every active person is looked at, and whoever has left what may be this one. Raises Taken, KeyMissing."""
    if session.scalar(select(Workspace.id).where(Workspace.organization_id == organization_id, Workspace.name == name)) is not None:
        raise Taken("name", name, f"there is a workspace named {name!r} already")
    _require_free(session, organization_id, kind=kind, url=url)
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
    work.hold_expansions(session, organization_id)
    active = session.scalars(select(Person.id).where(Person.organization_id == organization_id, Person.standing == Standing.ACTIVE))
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=active, because=entry, due_at=at)
    work.want(
        session, organization_id, subject=Subject.ACCOUNT, subject_ids=_left_behind(session, workspace), because=entry, due_at=at,
        lane=Lane.DEPARTURES, workspace_id=workspace.id,
    )  # fmt: skip
    return workspace


def _left_behind(session: Session, workspace: Workspace) -> Sequence[str]:
    """Who has left, and had an account in an ended workspace of this kind: should it be the same server, nobody has shut them out of it."""
    theirs = (
        select(Account.person_id)
        .join(EndedWorkspace, (EndedWorkspace.organization_id == Account.organization_id) & (EndedWorkspace.id == Account.workspace_id))
        .where(Account.organization_id == workspace.organization_id, EndedWorkspace.kind == workspace.kind, Account.state == AccountState.ACTIVE)
    )
    # Whoever is leaving at this moment does not see this workspace yet, and is waited for; who leaves behind that does.
    session.execute(
        select(Person.id).where(Person.organization_id == workspace.organization_id, Person.id.in_(theirs)).order_by(Person.id).with_for_update(read=True)
    )
    left = (Departure.organization_id == Account.organization_id) & (Departure.person_id == Account.person_id)
    return session.scalars(theirs.join(Departure, left).where(Departure.ended_at.is_(None)).distinct()).all()


def _require_free(session: Session, organization_id: str, *, kind: str, url: str) -> None:
    """Raises Taken: two that deliver to one server would undo each other's work."""
    there = select(Workspace.name, Workspace.url).where(Workspace.organization_id == organization_id, Workspace.kind == kind)
    if (same := next((other for other, its_url in session.execute(there) if _address(its_url) == _address(url)), None)) is not None:
        raise Taken("url", url, f"the workspace {same!r} is at {url} already")


def _address(url: str) -> str:
    return url.strip().rstrip("/").lower()


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


def change(
    session: Session, workspace: Workspace, *, url: str, token: str, options: Mapping[str, str], replaced: bool, settings: Settings, actor: Actor, at: datetime,
) -> None:  # fmt: skip
    """Reach it at this address, with this token and these options, and deliver to it again. `replaced`: whether the token is another. Raises Taken, KeyMissing."""
    if _address(url) != _address(workspace.url):
        _require_free(session, workspace.organization_id, kind=workspace.kind, url=url)
    entries.write(
        session, workspace.organization_id, at=at, actor=actor, verb="workspace changed", because="operator", subject_kind="workspace",
        subject_id=workspace.id, before={"url": workspace.url, "options": dict(workspace.options), "state": workspace.state},
        after={"url": url, "options": dict(options), "state": WorkspaceState.RUNNING, "credential": "replaced" if replaced else "kept"},
    )  # fmt: skip
    workspace.url, workspace.options = url, dict(options)
    workspace.state, workspace.halted_reason = WorkspaceState.RUNNING, None
    # Sealed anew in any case: by that every worker sees that what it has open is not how it is reached now.
    workspace.sealed_token = seal(settings, token)


@dataclass(frozen=True, kw_only=True)
class Owed:
    """What is left to do in a workspace. `not_shut` are people who have left and were not shown to be out of it."""

    not_shut: Sequence[str]
    not_erased: int


def owed_in(session: Session, workspace: Workspace) -> Owed:
    """What nobody could do or show any more were it ended now."""
    here = (Proof.organization_id == workspace.organization_id, Proof.workspace_id == workspace.id)
    not_shut = (
        select(Person.user_name)
        .join(Departure, (Departure.organization_id == Person.organization_id) & (Departure.person_id == Person.id))
        .join(Proof, (Proof.organization_id == Departure.organization_id) & (Proof.departure_id == Departure.id))
        .where(*here, Proof.gone_at.is_(None), Proof.shut_at.is_(None), Departure.ended_at.is_(None))
        .order_by(Person.user_name)
    )
    return Owed(not_shut=session.scalars(not_shut).unique().all(), not_erased=_count(session, Erasure, *_to_be_erased(workspace)))


def _count(session: Session, table: type[Account] | type[Erasure], *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*which)) or 0


def _to_be_erased(workspace: Workspace) -> tuple[ColumnElement[bool], ...]:
    here = (Erasure.organization_id == workspace.organization_id, Erasure.workspace_id == workspace.id)
    return (*here, Erasure.erased_at.is_(None), Erasure.ended_at.is_(None))


def require_nothing_owed(session: Session, workspace: Workspace) -> None:
    """Raises StillOwed, which says what there is."""
    owed = owed_in(session, workspace)
    said = [f"not shown to be out of it are {named(owed.not_shut)}"] if owed.not_shut else []
    said += [f"what {owed.not_erased} wrote who have left is still to be erased"] if owed.not_erased else []
    if said:
        raise StillOwed(f"{workspace.name} cannot be ended like this: {'; '.join(said)}. If nobody can do that there any more: --anyway")


def stop(session: Session, workspace: Workspace) -> None:
    """Begin nothing new there: what is in hand comes to its end."""
    if workspace.state == WorkspaceState.RUNNING:
        workspace.state, workspace.halted_reason = WorkspaceState.HALTED, _BEING_ENDED


def go_on(workspace: Workspace) -> None:
    """It is not ended after all: whoever is to be out of it is shut out again. What was halted for another reason stays so."""
    if workspace.state == WorkspaceState.HALTED and workspace.halted_reason == _BEING_ENDED:
        workspace.state, workspace.halted_reason = WorkspaceState.RUNNING, None


class InHand(Exception):
    """Somebody is still at work there, or was until they were killed a moment ago."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What is left as it is: `accounts` that let somebody in."""

    id: str
    accounts: int
    owed: Owed


def end(session: Session, workspace: Workspace, *, reason: str, actor: Actor, at: datetime) -> Ended:
    """Keep it in step no more. Its accounts stay as they are there; what was done and shown there stays known under its name. Raises InHand."""
    organization_id, owed = workspace.organization_id, owed_in(session, workspace)
    # Whoever takes a piece of it just now is waited for, and then seen.
    work_there = delete(Work).where(Work.organization_id == organization_id, Work.workspace_id == workspace.id).returning(Work.lease_until)
    erasures = update(Erasure).where(*_to_be_erased(workspace)).values(ended_at=at, ended_why="the workspace was ended").returning(Erasure.lease_until)
    leases = [lease for said in (work_there, erasures) for lease in session.scalars(said, execution_options=_QUIET)]
    if any(lease is not None and lease > at for lease in leases):
        raise InHand
    of_workspace = (Account.organization_id == organization_id, Account.workspace_id == workspace.id)
    accounts = _count(session, Account, *of_workspace, Account.state == AccountState.ACTIVE)
    entries.write(
        session, organization_id, at=at, actor=actor, verb="workspace ended", because=reason, subject_kind="workspace", subject_id=workspace.id,
        before={"name": workspace.name, "kind": workspace.kind, "url": workspace.url},
        after={"accounts": accounts, "not_shut": len(owed.not_shut), "not_erased": owed.not_erased},
    )  # fmt: skip
    brake.withdraw_whole(
        session, organization_id, kind="plan", about="workspace_id", value=workspace.id, because=f"{workspace.name} was ended", actor=actor, at=at
    )
    not_shut = (Proof.organization_id == organization_id, Proof.workspace_id == workspace.id, Proof.gone_at.is_(None), Proof.shut_at.is_(None))
    session.execute(update(Proof).where(*not_shut).values(last_error=f"the workspace was ended on {iso(at)}, before that was shown"), execution_options=_QUIET)
    session.add(EndedWorkspace(organization_id=organization_id, id=workspace.id, name=workspace.name, kind=workspace.kind, ended_at=at))
    session.delete(workspace)
    session.flush()
    return Ended(id=workspace.id, accounts=accounts, owed=owed)
