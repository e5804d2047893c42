"""Verbs on workspaces: the chat servers that are kept in step."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from sqlalchemy.orm import Session

from app.access.sealing import unseal
from app.access.tables import Workspace
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, NAME, Acting, verb
from app.commands.exits import NotReady
from app.commands.output import Answer, Table, tell
from app.commands.typed_paths import whole_path
from app.database import in_transaction, reading
from app.delivery import ended_workspaces
from app.delivery.own_rooms import check_same_place, check_with_rooms
from app.delivery.workspaces import open_workspace
from app.lifecycle.errors import NotFound, StillOwed, WorldMoved
from app.lifecycle.sources import stay_where_it_is_known
from app.lifecycle.workspaces import Ended, add_workspace, change, find_workspace, resume, workspaces_of
from connectors.addresses import server_of
from connectors.contract import Secret, TargetSettings
from connectors.registry import TARGET_OPTIONS, TARGETS, open_target

_LOOK_EVERY: Final = 0.2
"""Seconds from one look at what is still in hand to the next."""


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(workspace)


@click.group()
def workspace() -> None:
    """The chat servers that are kept in step."""


@verb(workspace, "add", may=ADMINS)
@click.argument("kind", type=click.Choice(sorted(TARGETS)))
@click.argument("name", type=NAME)
@click.option("--url", required=True, help="Where its API answers, such as https://chat.example.")
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="File with the administrator's token; kept encrypted.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="What this kind of workspace also needs to be told.")
def add(acting: Acting, kind: str, name: str, url: str, token_file: Path, options: tuple[str, ...]) -> Answer:
    """Connect a workspace once it answers; every active person is then brought into it."""
    token = read_token(token_file)
    chosen = _said(kind, options)
    # Asked before anything is kept: a workspace that cannot work would be halted in a moment anyway.
    found = open_target(kind, TargetSettings(name=name, url=url, token=Secret(token), options=chosen)).check()
    made = in_transaction(
        lambda session: add_workspace(
            session, acting.organization_id, name, kind=kind, url=url, token=token, options=chosen, problems=found.problems,
            settings=acting.settings, actor=acting.actor, at=now(),
        )
    )  # fmt: skip
    return Answer(
        schema="workspace",
        fields={"id": made.id, "name": name, "kind": kind, "url": url, "version": found.version, "problems": list(found.problems)},
        tables=[Table(columns=("name", "kind", "url", "version"), rows=[(name, kind, url, found.version)])],
        notes=[*(f"Note: {problem}" for problem in found.problems), "Next: doorlist rules apply FILE"],
    )


def read_token(file: Path) -> str:
    """The token in a file, without the line's end."""
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotReady(f"the token file {file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    if not token or any(letter.isspace() for letter in token):
        raise NotReady(f"the token file {file} must hold one token and nothing else")
    return token


def _said(kind: str, options: Sequence[str]) -> dict[str, str]:
    """An option that nobody knows is an error, not a silence; but for taking one away that was kept in silence once."""
    said = {key: value for key, _, value in (_pair(option) for option in options)}
    known = TARGET_OPTIONS.get(kind, frozenset())
    if unknown := sorted(key for key, value in said.items() if value and key not in known):
        raise click.BadParameter(f"no option {', '.join(map(repr, unknown))}; known are {', '.join(sorted(known))}", param_hint="--option")
    if ca := said.get("ca_file"):
        said["ca_file"] = whole_path(ca)
    return said


def _pair(option: str) -> tuple[str, str, str]:
    if "=" not in option:
        raise click.BadParameter(f"{option!r} is not KEY=VALUE", param_hint="--option")
    return option.partition("=")


@verb(workspace, "list", may=ANYONE)
def list_workspaces(acting: Acting) -> Answer:
    """Every workspace and whether it is being delivered to."""
    with reading() as session:
        found = workspaces_of(session, acting.organization_id)
    rows = [_fields(one) for one in found]
    columns = ("name", "kind", "url", "state", "halted_reason")
    return Answer(
        schema="workspaces", fields={"workspaces": rows}, tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])]
    )


def _fields(one: Workspace) -> dict[str, object]:
    return {
        "id": one.id, "name": one.name, "kind": one.kind, "url": one.url, "state": one.state, "halted_reason": one.halted_reason,
        "problems": list(one.problems), "since": iso(one.created_at),
    }  # fmt: skip


@verb(workspace, "check", may=ANYONE)
@click.argument("name")
def check(acting: Acting, name: str) -> Answer:
    """Ask the workspace now: whether it answers, its version, what leaks or limits by its configuration."""
    with reading() as session:
        one = find_workspace(session, acting.organization_id, name)
    found = check_with_rooms(open_workspace(one), acting.organization_id, one.id)
    return Answer(
        schema="workspace",
        fields={**_fields(one), "version": found.version, "problems": list(found.problems)},
        tables=[Table(columns=("name", "version", "problem"), rows=[(name, found.version, problem) for problem in found.problems or (None,)])],
    )


@verb(workspace, "resume", may=ADMINS)
@click.argument("name")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with a new token, where the old one is no longer good.")
def resume_one(acting: Acting, name: str, token_file: Path | None) -> Answer:
    """Deliver again to a workspace that was halted, once it answers."""
    token = read_token(token_file) if token_file is not None else None
    with reading() as session:
        one = find_workspace(session, acting.organization_id, name)
    if token is None:
        found = open_workspace(one).check()
    else:
        options = {str(key): str(value) for key, value in one.options.items()}
        target = open_target(one.kind, TargetSettings(name=one.name, url=one.url, token=Secret(token), options=options))
        found = check_with_rooms(target, acting.organization_id, one.id)

    in_transaction(
        lambda session: resume(
            session, find_workspace(session, acting.organization_id, name), token=token, settings=acting.settings, actor=acting.actor, at=now()
        )
    )
    return Answer(
        schema="workspace",
        fields={"id": one.id, "name": name, "kind": one.kind, "state": "running", "version": found.version, "problems": list(found.problems)},
        notes=[f"{name} is delivered to again."],
    )


@verb(workspace, "set", may=ADMINS)
@click.argument("name")
@click.option("--url", help="Where its API answers now.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with another token.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option to change; KEY= takes it away.")
def set_one(acting: Acting, name: str, url: str | None, token_file: Path | None, options: tuple[str, ...]) -> Answer:
    """Reach a workspace in another way, once it answers so: at another address, with another token, with other options."""
    if url is None and token_file is None and not options:
        raise click.UsageError("say what changes: --url, --token-file or --option")
    given = read_token(token_file) if token_file is not None else None
    with reading() as session:
        one = find_workspace(session, acting.organization_id, name)
    said = _said(one.kind, options)
    address = url or one.url
    if given is None:
        # Before anything is sent: whoever may change the address may not read the token.
        stay_where_it_is_known(frozenset({server_of(one.url)}), frozenset({server_of(address)}), name=name, give="--token-file")
    token = given or unseal(acting.settings, one.sealed_token)
    chosen = {str(key): str(value) for key, value in {**one.options, **said}.items() if said.get(key) != ""}
    target = open_target(one.kind, TargetSettings(name=one.name, url=address, token=Secret(token), options=chosen))
    found = check_with_rooms(target, acting.organization_id, one.id)
    check_same_place(target, acting.organization_id, one.id)

    def act(session: Session) -> Workspace:
        here = find_workspace(session, acting.organization_id, name)
        if (here.id, here.url, here.options, here.sealed_token) != (one.id, one.url, one.options, one.sealed_token):
            raise WorldMoved(f"{name} was changed by somebody else meanwhile: look at it, and try again")
        change(session, here, url=address, token=token, options=chosen, replaced=given is not None, settings=acting.settings, actor=acting.actor, at=now())
        return here

    changed = in_transaction(act)
    return Answer(
        schema="workspace",
        fields={"id": changed.id, "name": name, "kind": changed.kind, "url": address, "state": "running", "version": found.version, "problems": list(found.problems)},
        notes=[f"{name} is reached at {address}."],
    )  # fmt: skip


@verb(workspace, "end", may=ADMINS)
@click.argument("name")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")
@click.option("--anyway", is_flag=True, help="Though leavers were not shown to be out of it, or what they wrote is still to be erased there.")
def end(acting: Acting, name: str, reason: str, anyway: bool) -> Answer:
    """Keep a workspace in step no more. Its accounts stay as they are there, and whoever leaves from now on is not shut out of it."""
    if not reason.strip():
        raise click.BadParameter("say why, in a few words", param_hint="--reason")
    try:
        done = _ended(acting, name, reason=reason.strip(), anyway=anyway)
    except (StillOwed, KeyboardInterrupt):
        # Nothing could be done about what is owed as long as nothing is delivered there.
        with suppress(NotFound):
            # Interrupted as it was ended.
            ended_workspaces.go_on(acting.organization_id, name)
        raise
    while in_transaction(lambda session: ended_workspaces.forget_some(session, acting.organization_id, done.id)):
        pass
    left = [f"{done.accounts} accounts stay in {name} as they are: whoever leaves from now on is not shut out of it."] if done.accounts else []
    if done.owed.not_shut:
        left.append(f"Not shown to be out of it: {', '.join(done.owed.not_shut)}.")
    if done.owed.not_erased:
        left.append(f"What {done.owed.not_erased} wrote who have left is not erased there.")
    return Answer(
        schema="workspace",
        fields={
            "id": done.id, "name": name, "ended": True, "accounts": done.accounts, "not_shut": list(done.owed.not_shut),
            "not_erased": done.owed.not_erased,
        },
        notes=[f"{name} is kept in step no more.", *left],
    )  # fmt: skip


def _ended(acting: Acting, name: str, *, reason: str, anyway: bool) -> Ended:
    ended_workspaces.stop(acting.organization_id, name, anyway=anyway)
    until = time.monotonic() + ended_workspaces.PATIENCE.total_seconds()
    waited = False
    while (done := ended_workspaces.end_if_free(acting.organization_id, name, reason=reason, anyway=anyway, actor=acting.actor, clock=now)) is None:
        if time.monotonic() > until:
            raise NotReady(f"somebody is still at work in {name}, to which nothing is delivered any more: end it again, or resume it")
        if not waited:
            tell(f"waiting for what is in hand in {name}")
        waited = True
        time.sleep(_LOOK_EVERY)
    return done
