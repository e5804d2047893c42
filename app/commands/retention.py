"""Verbs on retention: what leavers wrote is erased when, and what another setting would erase. Nothing here erases anything."""

import click

from app.clock import iso, now
from app.commands.acting import INFORMED, Acting, person_fields, verb
from app.commands.output import Answer, Table
from app.database import reading
from app.directory.settings import value_of
from app.lifecycle import retention
from app.lifecycle.retention import Listed, Would


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(keeping)


@click.group("retention")
def keeping() -> None:
    """When what leavers wrote is erased in the workspaces: the setting erase_after, and legal holds."""


@verb(keeping, "list", may=INFORMED)
@click.option("--after", metavar="DAYS", help="What another setting would erase, such as 90d.")
@click.option("--all", "past", is_flag=True, help="What was erased or called off as well.")
def list_erasures(acting: Acting, after: str | None, past: bool) -> Answer:
    """What is to be erased, of whom, where and when, those first that come first. Only reads."""
    if after is not None and past:
        raise click.UsageError("--after shows what would come: it does not go with --all")
    with reading() as session:
        setting = value_of(session, acting.organization_id, "erase_after")
        if after is None:
            found = [_fields(one) for one in retention.listed(session, acting.organization_id, past=past)]
        else:
            found = [_would(one) for one in retention.tried(session, acting.organization_id, after, at=now())]
    # What was erased before a hold came is kept by none.
    held = sum(one["state"] == "held" for one in found)
    notes = [f"erase_after is {setting}." if after is None else f"With erase_after {after}; now it is {setting}."]
    notes += [f"{held} of {len(found)} are kept by a legal hold."] if held else []
    columns = ("person", "workspace", "left", "due", "state", "error")
    rows = [(one["user_name"], one["workspace"], one["left"], one["due"], one["state"], one["error"]) for one in found]
    fields = {"erase_after": setting, "tried": after, "erasures": [{key: value for key, value in one.items() if key != "user_name"} for one in found]}
    return Answer(schema="retention", fields=fields, tables=[Table(columns=columns, rows=rows)], notes=notes)


def _fields(one: Listed) -> dict[str, object]:
    row = one.erasure
    state = "erased" if row.erased_at is not None else "called off" if row.ended_at is not None else "held" if one.held else "waiting"
    return {
        "person": person_fields(one.person), "user_name": one.person.user_name, "workspace": one.workspace, "left": iso(row.left_at),
        "due": iso(row.due_at), "state": state, "held": one.held, "erased": iso(row.erased_at), "known": row.grade, "accounts": row.accounts or [],
        "ended": iso(row.ended_at), "because": row.ended_why, "attempts": row.attempts, "error": row.last_error or one.why,
    }  # fmt: skip


def _would(one: Would) -> dict[str, object]:
    return {
        "person": person_fields(one.person), "user_name": one.person.user_name, "workspace": one.workspace, "left": iso(one.left_at),
        "due": iso(one.due_at), "state": "held" if one.held else "would wait", "held": one.held, "erased": None, "known": None, "accounts": [],
        "ended": None, "because": None, "attempts": 0, "error": None,
    }  # fmt: skip
