"""A workspace that was ended: nothing is delivered there, and added anew it is what it was."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, reading
from app.delivery.ended_workspaces import end_if_free, forget
from app.journal.tables import HERE, Work
from app.lifecycle.workspaces import add_workspace
from app.revocation.tables import Proof
from app.rules.tables import ChannelMember
from connectors.contract import AccountState
from tests.company import ADMIN, Company
from tests.two_at_once import meanwhile
from tests.unit.delivery.crew import employ, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


def _end(company: Company) -> None:
    assert end_if_free(company.organization_id, "chat", reason="a try", anyway=False, actor=ADMIN, clock=now) is not None
    forget()


def _add(app: Flask, company: Company) -> None:
    in_transaction(_adding(app, company))


def _adding(app: Flask, company: Company) -> Callable[[Session], None]:
    """For a transaction of the caller's own, as another process would have it open."""

    def act(session: Session) -> None:
        add_workspace(
            session, company.organization_id, "chat", kind="matrix", url="http://nowhere.invalid", token="s3cret", options={}, problems=(),
            settings=app.config["DOORLIST"], actor=ADMIN, at=now(),
        )  # fmt: skip

    return act


def test_nothing_is_asked_for_where_nothing_is_kept_in_step(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@acme.example", department="Sales")
    settle(installed, workspace)
    calls = workspace.calls
    _end(company)

    company.joins("bob@acme.example", department="Sales", at=now())
    company.says(ada, active=False, at=now())
    settle(installed, workspace)

    assert workspace.calls == calls
    with reading() as session:
        assert session.scalars(select(Work.workspace_id)).all() == []
        assert session.scalars(select(ChannelMember.channel_id)).all() == []


def test_the_same_server_added_anew_is_what_it_was(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    for name in ("ada", "bob"):
        company.joins(f"{name}@acme.example", department="Sales")
    settle(installed, workspace)
    before = {ref: set(members) for ref, members in workspace.members.items()}
    _end(company)
    assert all(one.state is AccountState.ACTIVE for one in workspace.accounts.values()), "whoever is in it stays in it"

    _add(installed, company)
    settle(installed, workspace)

    assert {ref: set(members) for ref, members in workspace.members.items()} == before
    assert len(workspace.accounts) == 2


def test_whoever_left_meanwhile_is_shut_out_once_it_is_added_anew(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada, bob = (company.joins(f"{name}@acme.example", department="Sales") for name in ("ada", "bob"))
    settle(installed, workspace)
    _end(company)
    company.says(ada, active=False, at=now())
    settle(installed, workspace)

    _add(installed, company)
    settle(installed, workspace)

    states = {one.person_id: one.state for one in workspace.accounts.values()}
    assert states == {ada.person_id: AccountState.DEACTIVATED, bob.person_id: AccountState.ACTIVE}
    with reading() as session:
        [proof] = session.scalars(select(Proof).where(Proof.workspace_id != HERE)).all()
    assert proof.shut_at is not None


def test_whoever_leaves_while_it_is_added_anew_is_shut_out_of_it(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada, bob = (company.joins(f"{name}@acme.example", department="Sales") for name in ("ada", "bob"))
    settle(installed, workspace)
    _end(company)

    meanwhile(installed, _adding(installed, company), lambda: company.says(ada, active=False, at=now()))
    settle(installed, workspace)

    states = {one.person_id: one.state for one in workspace.accounts.values()}
    assert states == {ada.person_id: AccountState.DEACTIVATED, bob.person_id: AccountState.ACTIVE}
