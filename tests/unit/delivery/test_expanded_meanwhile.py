"""Who joins at the very moment at which everybody is to be looked at: they are treated as everybody else is."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction
from app.lifecycle.workspaces import add_workspace
from app.rules.file import parse
from app.rules.revisions import apply_rules
from connectors.contract import AccountId
from tests.company import ADMIN, Company
from tests.two_at_once import meanwhile
from tests.unit.delivery.crew import employ, settle
from tests.workspace import Workspace

THOSE, THESE = (parse(f"rules: [{{id: {name}, name: {name}}}]") for name in ("all-hands", "welcome"))


def hires(app: Flask, company: Company, workspace: Workspace, name: str, own: Mapping[str, Workspace] | None = None) -> None:
    """Somebody joins, and all that is asked for then is delivered."""
    company.joins(f"{name}@acme.example", department="Sales", at=now())
    settle(app, workspace, own)


def channels_of(workspace: Workspace, name: str) -> set[str]:
    """The channels in which somebody is, but for spaces."""
    return {room.name for ref, room in workspace.rooms.items() if not room.space and AccountId(name) in workspace.members[ref]}


def test_who_joins_while_rules_are_applied_is_in_the_channels_of_those_rules(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    in_transaction(lambda session: apply_rules(session, company.organization_id, THOSE, ADMIN, now()))
    hires(installed, company, workspace, "ada")

    meanwhile(
        installed,
        lambda session: apply_rules(session, company.organization_id, THESE, ADMIN, now()),
        lambda: hires(installed, company, workspace, "bob"),
    )
    settle(installed, workspace)

    assert channels_of(workspace, "bob") == channels_of(workspace, "ada") == {"welcome"}


def test_who_joins_while_a_workspace_is_added_has_an_account_there(installed: Flask) -> None:
    workspace, another = Workspace(), Workspace()
    company, _ = employ(workspace)
    own: dict[str, Workspace] = {}

    def add(session: Session) -> None:
        added = add_workspace(
            session, company.organization_id, "another", kind="matrix", url="http://another.invalid", token="s3cret", options={}, problems=(),
            settings=installed.config["DOORLIST"], actor=ADMIN, at=now(),
        )  # fmt: skip
        own[added.id] = another

    meanwhile(installed, add, lambda: hires(installed, company, workspace, "bob", own))
    settle(installed, workspace, own)

    assert list(another.accounts) == ["bob"]
