"""Sessions in a workspace of somebody who stays: their own are ended, and nobody else's."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access.tables import RESERVED
from app.access.tables import Account as AccountRow
from app.clock import now
from app.database import in_transaction
from app.lifecycle.signing_out import sign_out_everywhere
from connectors.contract import Account, AccountId, AccountState
from tests.company import ADMIN, Company
from tests.unit.delivery.crew import employ, only_account, settle
from tests.workspace import Workspace


@pytest.fixture
def workspace() -> Workspace:
    return Workspace()


def holds(workspace: Workspace, id: str, person_id: str | None) -> AccountId:
    """There is an account over there, signed in on two devices."""
    account = AccountId(id)
    workspace.accounts[account] = Account(id=account, person_id=person_id, display_name=id, emails=(), state=AccountState.ACTIVE)
    workspace.sessions[account] = 2
    return account


def signed_out(installed: Flask, company: Company, workspace: Workspace, person_id: str) -> None:
    in_transaction(lambda session: sign_out_everywhere(session, company.organization_id, person_id, actor=ADMIN, at=now(), because="test"))
    settle(installed, workspace)


def remembered(company: Company, workspace_id: str, person_id: str, account_id: AccountId, state: str) -> None:
    def act(session: Session) -> None:
        row = session.get_one(AccountRow, (company.organization_id, workspace_id, person_id))
        row.account_id, row.state = account_id, state

    in_transaction(act)


def test_somebodys_own_account_is_signed_out(installed: Flask, workspace: Workspace) -> None:
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    account = only_account(workspace)
    assert workspace.sessions[account] == 1

    signed_out(installed, company, workspace, ada.person_id)

    assert workspace.sessions.get(account, 0) == 0


def test_an_account_whose_id_was_only_reserved_is_not_signed_out(installed: Flask, workspace: Workspace) -> None:
    company, workspace_id = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    # Reserved, and then somebody else took it over there before it could be used.
    theirs, others = only_account(workspace), holds(workspace, "ada-2", None)
    remembered(company, workspace_id, ada.person_id, others, RESERVED)

    signed_out(installed, company, workspace, ada.person_id)

    assert (workspace.sessions.get(theirs, 0), workspace.sessions.get(others, 0)) == (0, 2)


def test_an_account_that_is_theirs_over_there_is_signed_out_beside_the_one_we_remember(installed: Flask, workspace: Workspace) -> None:
    company, workspace_id = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    marked, known = only_account(workspace), holds(workspace, "ada-old", None)
    remembered(company, workspace_id, ada.person_id, known, AccountState.ACTIVE)

    signed_out(installed, company, workspace, ada.person_id)

    assert (workspace.sessions.get(marked, 0), workspace.sessions.get(known, 0)) == (0, 0)
