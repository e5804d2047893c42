"""A credential that is replaced while something that was begun with the one before is still under way."""

from collections.abc import Callable
from threading import Lock

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, reading
from app.delivery.worker import Worker
from app.journal.tables import Lane
from app.lifecycle.workspaces import find_workspace, resume
from connectors import registry
from connectors.contract import AccountId, AccountState, TargetSettings, Unauthorised
from tests.company import ADMIN, Company
from tests.unit.delivery.crew import employ
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


class Locked(Workspace):
    """Takes one token, whichever it is just now; what is refused was under way until `meanwhile` was over."""

    takes = "first"
    meanwhile: Callable[[], None] | None = None
    one_by_one = Lock()

    def opened_by(self, settings: TargetSettings) -> "Bearer":
        return Bearer(self, settings.token.reveal())


class Bearer:
    """The workspace as whoever carries one token sees it."""

    def __init__(self, there: Locked, token: str) -> None:
        self._there, self._token = there, token

    def __getattr__(self, what: str) -> object:
        found = getattr(self._there, what)

        def call(*args: object, **named: object) -> object:
            self._require_let_in()
            return found(*args, **named)

        return call if callable(found) else found

    def _require_let_in(self) -> None:
        if self._token == self._there.takes:
            return
        with self._there.one_by_one:
            then, self._there.meanwhile = self._there.meanwhile, None
            if then is not None:
                then()
        raise Unauthorised("stand-in: unknown token")


def _give(app: Flask, company: Company, token: str) -> None:
    def act(session: Session) -> None:
        one = find_workspace(session, company.organization_id, "chat")
        resume(session, one, token=token, settings=app.config["DOORLIST"], actor=ADMIN, at=now())

    # It is given by another process, in life.
    with app.app_context():
        in_transaction(act)


def _state(company: Company, workspace_id: str) -> tuple[str, str | None]:
    with reading() as session:
        row = session.get_one(WorkspaceRow, (company.organization_id, workspace_id))
        return row.state, row.halted_reason


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Locked:
    there = Locked()
    monkeypatch.setitem(registry.TARGETS, "matrix", there.opened_by)
    return there


def _workers(app: Flask) -> Worker:
    return Worker(app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1})


def test_what_was_begun_with_the_old_token_does_not_halt_a_workspace_that_has_a_new_one(installed: Flask, there: Locked) -> None:
    company, workspace_id = employ(there)
    _give(installed, company, "first")
    ada = company.joins("ada@x.example", "E-1")
    workers = _workers(installed)
    workers.run_until_idle()
    there.takes, there.meanwhile = "second", lambda: _give(installed, company, "second")

    company.says(ada, active=False, at=now())
    workers.run_until_idle()

    assert _state(company, workspace_id) == ("running", None)
    assert there.accounts[AccountId("ada")].state is AccountState.DEACTIVATED


def test_a_new_token_that_is_refused_as_well_halts_the_workspace(installed: Flask, there: Locked) -> None:
    company, workspace_id = employ(there)
    _give(installed, company, "first")
    workers = _workers(installed)
    company.joins("ada@x.example", "E-1")
    workers.run_until_idle()
    there.takes, there.meanwhile = "third", lambda: _give(installed, company, "second")

    company.joins("bob@x.example", "E-2", at=now())
    workers.run_until_idle()

    assert _state(company, workspace_id) == ("halted", "stand-in: unknown token")
