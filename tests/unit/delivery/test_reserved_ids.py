"""An id that was kept for somebody, and that somebody else was given by hand before their account was made."""

import pytest
from flask import Flask

from app.access.tables import RESERVED
from app.access.tables import Account as AccountRow
from app.clock import now
from app.database import reading
from app.delivery.sweeping import sweep
from connectors.contract import Account, AccountId, AccountState, Unreachable
from tests.unit.delivery.crew import StandInTargets, crew, employ, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


def test_a_leaver_without_an_account_never_counts_as_the_owner_of_the_id_that_was_kept_for_them(installed: Flask) -> None:
    workspace = Workspace()
    company, workspace_id = employ(workspace)

    def away(called: str, _number: int) -> None:
        if called == "create_account":
            raise Unreachable("stand-in: no answer", sent=False)

    workspace.before_call = away
    zoe = company.joins("zoe@x.example", "E-1")
    crew(installed, workspace).run_until_idle()
    workspace.before_call = None
    stranger = AccountId("zoe")
    workspace.accounts[stranger] = Account(id=stranger, person_id=None, display_name="Zoe B", emails=(), state=AccountState.ACTIVE)

    company.says(zoe, active=False, at=now())
    settle(installed, workspace)
    [there] = [one for one in sweep(installed, StandInTargets(workspace), organization_id=company.organization_id, everyone=True) if one.name == "chat"]
    settle(installed, workspace)

    with reading() as session:
        assert session.get_one(AccountRow, (company.organization_id, workspace_id, zoe.person_id)).state == RESERVED
    assert there.alive == []
    assert workspace.accounts[stranger].state is AccountState.ACTIVE
