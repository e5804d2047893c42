"""Verbs of planning: what would change in the workspaces as they are now, and having it changed."""

from collections.abc import Sequence
from dataclasses import dataclass

import click
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import now
from app.commands.acting import ADMINS, ANYONE, Acting, verb
from app.commands.differences import Differences, find_differences, want_all
from app.commands.exits import Exit
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.lifecycle.brake import digest_of, hold_whole
from app.lifecycle.workspaces import find_workspace, workspaces_of
from app.reconcile.ceiling import Ceiling, TooLarge
from connectors.contract import ConnectorError

_root = click.Group()
_WORKSPACE = click.option("--workspace", "workspace_name", metavar="NAME", help="Only this one; without it, all of them.")


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(plan)
    doorlist.add_command(apply)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was found in each workspace; `failed` could not be read."""

    found: Sequence[tuple[Workspace, Differences]]
    failed: Sequence[tuple[Workspace, ConnectorError]]


def _look(acting: Acting, workspace_name: str | None) -> Looked:
    """Read every workspace asked for. Where none can be read, the first error is raised."""
    with reading() as session:
        asked = (
            [find_workspace(session, acting.organization_id, workspace_name)]
            if workspace_name is not None
            else list(workspaces_of(session, acting.organization_id))
        )
    found: list[tuple[Workspace, Differences]] = []
    failed: list[tuple[Workspace, ConnectorError]] = []
    for workspace in asked:
        try:
            found.append((workspace, find_differences(acting.organization_id, workspace)))
        except ConnectorError as error:
            failed.append((workspace, error))
    if failed and not found:
        raise failed[0][1]
    return Looked(found=found, failed=failed)


def _shown(looked: Looked) -> tuple[dict[str, object], list[Table], list[str]]:
    workspaces: list[dict[str, object]] = []
    rows: list[tuple[object, ...]] = []
    notes: list[str] = []
    for workspace, one in looked.found:
        lines = [{"sign": line.sign, "channel": line.channel, "person": line.person} for line in one.lines]
        workspaces.append(
            {
                "name": workspace.name, "add": one.plan.added, "remove": one.plan.removed, "keep": one.plan.kept, "digest": one.plan.digest,
                "new_channels": list(one.new_channels), "lines": lines,
            }
        )  # fmt: skip
        rows += [("+", workspace.name, name, None) for name in one.new_channels]
        rows += [(line.sign, workspace.name, line.channel, line.person) for line in one.lines]
        notes.append(f"{workspace.name}: {one.plan.added} to add, {one.plan.removed} to remove, {one.plan.kept} as they should be.")
    if not looked.found and not looked.failed:
        notes.append("There is no workspace yet: doorlist workspace add matrix NAME --url URL --token-file FILE")
    for workspace, error in looked.failed:
        workspaces.append({"name": workspace.name, "error": str(error)})
        notes.append(f"{workspace.name} could not be read: {error}")
    # A missing channel is itself a change; an account shows as a line without a channel.
    totals: dict[str, object] = {
        "add": sum(one.plan.added for _, one in looked.found), "remove": sum(one.plan.removed for _, one in looked.found),
        "keep": sum(one.plan.kept for _, one in looked.found), "changes": any(not one.empty for _, one in looked.found),
        "workspaces": workspaces,
    }  # fmt: skip
    return totals, [Table(columns=("sign", "workspace", "channel", "person"), rows=rows)] if rows else [], notes


@verb(_root, "plan", may=ANYONE)
@_WORKSPACE
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 where there is something to change.")
def plan(acting: Acting, workspace_name: str | None, detailed_exitcode: bool) -> Answer:
    """Compare what should be with what the workspaces hold now, read from them. Never writes."""
    looked = _look(acting, workspace_name)
    fields, tables, notes = _shown(looked)
    exit = Exit.PARTLY if looked.failed else Exit.CHANGES if detailed_exitcode and fields["changes"] else Exit.DONE
    return Answer(schema="plan", fields=fields, tables=tables, notes=notes, exit=exit)


@verb(_root, "apply", may=ADMINS)
@_WORKSPACE
def apply(acting: Acting, workspace_name: str | None) -> Answer:
    """Have the plan carried out by the worker. One that takes too much away is held (exit 5) until it is approved."""
    looked = _look(acting, workspace_name)
    fields, tables, notes = _shown(looked)
    wanted = 0
    digests: list[str] = []
    for workspace, one in looked.found:
        if one.empty:
            continue
        try:
            Ceiling().check(one.plan)
        except TooLarge as error:
            digests.append(in_transaction(lambda session, w=workspace, o=one, e=error: _hold(session, acting, w, o, str(e))))  # type: ignore[misc]  # defaults bind the loop's values
            notes.append(f"Held: {error}. Nothing changes in {workspace.name} until: doorlist held approve {digests[-1]}")
            continue
        wanted += in_transaction(lambda session, w=workspace, o=one: want_all(session, acting.organization_id, w, o, actor=acting.actor, at=now()))  # type: ignore[misc]  # likewise
    if wanted:
        notes.append(f"{wanted} subjects are looked at by the worker; see: doorlist status")
    exit = Exit.HELD if digests else Exit.PARTLY if looked.failed else Exit.DONE
    return Answer(schema="apply", fields={**fields, "wanted": wanted, "held": digests}, tables=tables, notes=notes, exit=exit)


def _hold(session: Session, acting: Acting, workspace: Workspace, one: Differences, reason: str) -> str:
    held = hold_whole(
        session, acting.organization_id, kind="plan", about="workspace_id", reason=f"{workspace.name}: {reason}", actor=acting.actor, at=now(),
        payload={
            "workspace_id": workspace.id, "digest": one.plan.digest, "people": len(one.people), "add": one.plan.added, "remove": one.plan.removed,
        },
    )  # fmt: skip
    return digest_of(held, [])
