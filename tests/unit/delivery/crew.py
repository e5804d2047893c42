"""A company, its stand-in workspace and a crew of workers, for tests of delivery: time passes only when it is told to."""

from collections.abc import Callable, Mapping

from flask import Flask
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery import worker
from app.delivery.workspaces import Targets
from app.journal.tables import Lane, Work, WorkState
from app.revocation.departures import history
from app.rules.file import parse
from app.rules.revisions import apply_rules
from connectors.contract import AccountId, AccountState
from tests.company import ADMIN, Company, new_company
from tests.workspace import Workspace

RULES = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    parent: company
"""


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


def employ(workspace: Workspace) -> tuple[Company, str]:
    company = new_company()

    def act(session: Session) -> str:
        row = WorkspaceRow(
            organization_id=company.organization_id, id=new_id(), name="chat", kind="matrix", url="http://nowhere.invalid",
            sealed_token=b"", options={}, created_at=now(),
        )  # fmt: skip
        session.add(row)
        apply_rules(session, company.organization_id, parse(RULES), ADMIN, now())
        return row.id

    return company, in_transaction(act)


class StandInTargets(Targets):
    """Opens the stand-in wherever a connector is asked for, but for workspaces with a stand-in of their own."""

    def __init__(self, workspace: Workspace, own: Mapping[str, Workspace] | None = None) -> None:
        super().__init__()
        self.workspace = workspace
        self.own = own or {}

    def of(self, organization_id: str, workspace_id: str) -> Workspace:
        return self.own.get(workspace_id, self.workspace)


def crew(app: Flask, workspace: Workspace, own: Mapping[str, Workspace] | None = None) -> worker.Worker:
    one = worker.Worker(app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1})
    one._targets = StandInTargets(workspace, own)
    return one


def make_everything_due() -> None:
    """Let time pass: pauses end and leases of the dead run out, without waiting for them."""

    def act(session: Session) -> None:
        for row in session.scalars(select(Work)):
            row.due_at = min(row.due_at, now())
            row.claimed_by = row.lease_until = None

    in_transaction(act)


def settle(app: Flask, workspace: Workspace, own: Mapping[str, Workspace] | None = None) -> None:
    """Deliver until no work is left, letting pauses pass."""
    crew_now = crew(app, workspace, own)
    for _ in range(200):
        crew_now.run_until_idle()
        with reading() as session:
            left = session.execute(select(Work.subject, Work.last_error, Work.state)).all()
        if not left:
            return
        assert not [row for row in left if row.state == WorkState.PARKED], left
        make_everything_due()
    raise AssertionError(f"work is left: {left}")


def settle_and(act: Callable[[], object], app: Flask, workspace: Workspace, *, before: int) -> None:
    """Settle, and do this once, before that call to the workspace; afterwards where it takes fewer: how many depends on the machine."""

    def in_between(_what: str, number: int) -> None:
        if number == before:
            workspace.before_call = None
            with app.app_context():
                act()

    workspace.before_call = in_between
    settle(app, workspace)
    if workspace.before_call is not None:
        workspace.before_call = None
        act()
        settle(app, workspace)


def only_account(workspace: Workspace) -> AccountId:
    [account] = workspace.accounts
    return account


def calls_needed(app: Flask, prepare: Callable[[Company], object]) -> int:
    """How many calls the delivery takes when nothing disturbs it: the places where something may happen in between."""
    workspace = Workspace()
    company, _ = employ(workspace)
    prepare(company)
    settle(app, workspace)
    wipe()
    return workspace.calls


def wipe() -> None:
    """Forget the work of the undisturbed run; its organisation stays beside the next one, as in life."""
    in_transaction(lambda session: session.execute(delete(Work)))


def leave(company: Company, workspace: Workspace, app: Flask, record_id: str) -> None:
    """The directory says off, and the departure lane delivers at once, while another delivery is still under way."""
    from app.lifecycle.records import read_record

    with reading() as session:
        record = read_record(session, company.organization_id, company.source_id, record_id)
    company.says(record, active=False, at=now())
    departures = crew(app, workspace)
    # Once for the workspace, once for what was let in from here.
    for _ in range(2):
        departures.step([Lane.DEPARTURES], "departures")


def assert_out(company: Company, workspace: Workspace, person_id: str) -> None:
    for account in [one for one in workspace.accounts.values() if one.person_id == person_id]:
        assert account.state is AccountState.DEACTIVATED
        assert workspace.show_access(account.id).gone
    with reading() as session:
        [(_, [(proof, _), *_])] = list(history(session, company.organization_id, person_id))
    assert proof.shut_at is not None and proof.gone_at is not None
