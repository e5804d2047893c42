"""Whatever happens in between: a leaver is never let in again, a crash loses nothing, nobody is doubled."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery import worker
from app.directory.tables import Record
from app.journal import work
from app.journal.tables import Lane, Subject, Work, WorkState
from app.lifecycle.records import RecordDraft, change_record
from app.revocation.departures import history
from app.rules.file import parse
from app.rules.revisions import apply_rules
from connectors.contract import AccountId, AccountState, Refused, Unauthorised, Unreachable
from tests.company import ADMIN, OKTA, Company, document, new_company
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


class StandInTargets:
    """Opens the stand-in wherever a connector is asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def of(self, organization_id: str, workspace_id: str) -> Workspace:
        return self.workspace


def crew(app: Flask, workspace: Workspace) -> worker.Worker:
    one = worker.Worker(app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1})
    one._targets = StandInTargets(workspace)  # type: ignore[assignment]  # the stand-in keeps the same promises
    return one


def make_everything_due() -> None:
    """Let time pass: pauses end and leases of the dead run out, without waiting for them."""

    def act(session: Session) -> None:
        for row in session.scalars(select(Work)):
            row.due_at = min(row.due_at, now())
            row.claimed_by = row.lease_until = None

    in_transaction(act)


def settle(app: Flask, workspace: Workspace) -> None:
    """Deliver until no work is left, letting pauses pass."""
    crew_now = crew(app, workspace)
    for _ in range(200):
        crew_now.run_until_idle()
        with reading() as session:
            left = session.execute(select(Work.subject, Work.last_error, Work.state)).all()
        if not left:
            return
        assert not [row for row in left if row.state == WorkState.PARKED], left
        make_everything_due()
    raise AssertionError(f"work is left: {left}")


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
    departures.step([Lane.DEPARTURES], "departures")


def assert_out(company: Company, workspace: Workspace, person_id: str) -> None:
    for account in [one for one in workspace.accounts.values() if one.person_id == person_id]:
        assert account.state is AccountState.DEACTIVATED
        assert workspace.show_access(account.id).gone
    with reading() as session:
        [(_, [(proof, _)])] = list(history(session, company.organization_id, person_id))
    assert proof.shut_at is not None and proof.gone_at is not None


def test_a_joiner_whose_departure_is_committed_at_any_point_of_their_delivery_is_out(installed: Flask) -> None:
    total = calls_needed(installed, lambda company: company.joins("ada@x.example", "E-1", department="Sales"))
    for moment in range(1, total + 1):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")

        def depart_now(
            what: str, number: int, *, moment: int = moment, company: Company = company, workspace: Workspace = workspace, who: str = ada.id
        ) -> None:
            if number == moment:
                workspace.before_call = None
                leave(company, workspace, installed, who)

        workspace.before_call = depart_now
        settle(installed, workspace)
        if workspace.before_call is not None:
            # How often a delivery looks again depends on the machine: this time it took fewer calls.
            workspace.before_call = None
            leave(company, workspace, installed, ada.id)
            settle(installed, workspace)

        assert_out(company, workspace, ada.person_id)
        wipe()


def test_a_mover_whose_departure_is_committed_at_any_point_of_their_delivery_is_out(installed: Flask) -> None:
    def move(company: Company, record_id: str) -> None:
        draft = RecordDraft(
            external_id="00u-ada@x.example",
            user_name="ada@x.example",
            active=None,
            document=document("ada@x.example", "E-1", department="Legal"),
        )
        in_transaction(
            lambda session: change_record(
                session, company.organization_id, company.source_id, record_id, draft, actor=OKTA, at=now(), because="moved"
            )
        )

    for moment in range(1, 15):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")
        settle(installed, workspace)
        workspace.calls = 0
        move(company, ada.id)

        def depart_now(
            what: str, number: int, *, moment: int = moment, company: Company = company, workspace: Workspace = workspace, who: str = ada.id
        ) -> None:
            if number == moment:
                workspace.before_call = None
                leave(company, workspace, installed, who)

        workspace.before_call = depart_now
        settle(installed, workspace)
        if workspace.before_call is not None:
            # The move took fewer calls than that: they leave after it.
            workspace.before_call = None
            leave(company, workspace, installed, ada.id)
            settle(installed, workspace)

        assert_out(company, workspace, ada.person_id)
        wipe()


def test_someone_who_returns_at_any_point_of_their_departures_delivery_is_in_again(installed: Flask) -> None:
    for moment in range(1, 7):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")
        settle(installed, workspace)
        off = company.says(ada, active=False, at=now())
        workspace.calls = 0

        def return_now(
            what: str, number: int, *, moment: int = moment, company: Company = company, workspace: Workspace = workspace, off: Record = off
        ) -> None:
            if number == moment:
                workspace.before_call = None
                with installed.app_context():
                    company.says(off, active=True, at=now())

        workspace.before_call = return_now
        settle(installed, workspace)
        if workspace.before_call is not None:
            workspace.before_call = None
            company.says(off, active=True, at=now())
            settle(installed, workspace)

        account = only_account(workspace)
        assert workspace.accounts[account].state is AccountState.ACTIVE
        assert workspace.names_of(account) == {"all-hands", "dept-sales", "company"}
        wipe()


def test_nothing_counts_as_shut_while_an_older_claim_could_still_give(installed: Flask) -> None:
    workspace = Workspace()
    company, workspace_id = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    in_transaction(
        lambda session: work.want(
            session, company.organization_id, subject=Subject.ACCOUNT, subject_ids=[ada.person_id], because=None, due_at=now(),
            workspace_id=workspace_id,
        )
    )  # fmt: skip
    [older] = in_transaction(lambda session: work.claim(session, lanes=[Lane.SYNC], worker="slow", at=now(), most=1))

    leave(company, workspace, installed, ada.id)

    with reading() as session:
        [(_, [(proof, _)])] = list(history(session, company.organization_id, ada.person_id))
    assert proof.acknowledged_at is not None and proof.shut_at is None
    in_transaction(lambda session: work.finish(session, older))
    settle(installed, workspace)
    assert_out(company, workspace, ada.person_id)


def test_a_process_killed_before_any_call_leaves_the_rest_to_the_next(installed: Flask) -> None:
    total = calls_needed(installed, lambda company: company.joins("ada@x.example", "E-1", department="Sales"))
    for moment in range(1, total + 1):
        workspace = Workspace()
        company, _ = employ(workspace)
        company.joins("ada@x.example", "E-1", department="Sales")

        def kill(what: str, number: int, *, moment: int = moment, workspace: Workspace = workspace) -> None:
            if number == moment:
                workspace.before_call = None
                raise Killed

        workspace.before_call = kill
        try:
            settle(installed, workspace)
        except Killed:
            make_everything_due()
            settle(installed, workspace)
        else:
            assert workspace.calls < moment

        assert workspace.names_of(only_account(workspace)) == {"all-hands", "dept-sales", "company"}
        assert len(workspace.rooms) == 3
        wipe()


@pytest.mark.parametrize("what", ["find_account", "deactivate_account", "show_access"])
def test_a_departure_killed_at_any_call_is_finished_by_the_next(installed: Flask, what: str) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    company.says(ada, active=False, at=now())

    def kill(called: str, number: int) -> None:
        if called == what:
            workspace.before_call = None
            raise Killed

    workspace.before_call = kill
    with pytest.raises(Killed):
        settle(installed, workspace)
    make_everything_due()
    settle(installed, workspace)

    assert_out(company, workspace, ada.person_id)


def test_a_workspace_that_is_down_is_never_reported_done_and_caught_up_later(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)

    def down(called: str, number: int) -> None:
        raise Unreachable("stand-in: no answer", sent=False)

    workspace.before_call = down
    company.says(ada, active=False, at=now())
    crew(installed, workspace).run_until_idle()
    with reading() as session:
        [(_, [(proof, _)])] = list(history(session, company.organization_id, ada.person_id))
    assert proof.shut_at is None and proof.last_error == "stand-in: no answer"

    workspace.before_call = None
    make_everything_due()
    settle(installed, workspace)

    assert_out(company, workspace, ada.person_id)


def test_a_refused_subject_is_parked_and_others_go_on(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("ada@x.example", "E-1")

    def refuse_first(called: str, number: int) -> None:
        if called == "create_account":
            workspace.before_call = None
            raise Refused("stand-in: no")

    workspace.before_call = refuse_first
    crew(installed, workspace).run_until_idle()
    company.joins("bob@x.example", "E-2")
    make_everything_due()
    crew(installed, workspace).run_until_idle()

    with reading() as session:
        parked = session.scalars(select(Work).where(Work.state == WorkState.PARKED)).all()
    assert [row.last_error for row in parked] == ["stand-in: no"]
    assert list(workspace.accounts) == ["bob"]


def test_a_refused_credential_halts_the_workspace_until_it_is_resumed(installed: Flask) -> None:
    workspace = Workspace()
    company, workspace_id = employ(workspace)
    company.joins("ada@x.example", "E-1")

    def refuse(called: str, number: int) -> None:
        raise Unauthorised("stand-in: who are you?")

    workspace.before_call = refuse
    crew(installed, workspace).run_until_idle()

    with reading() as session:
        row = session.get_one(WorkspaceRow, (company.organization_id, workspace_id))
    assert row.state == "halted" and row.halted_reason == "stand-in: who are you?"
    assert workspace.calls == 1


def test_a_name_reused_by_a_successor_gets_another_account(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    first = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    from app.lifecycle.records import end_record

    in_transaction(
        lambda session: end_record(session, company.organization_id, company.source_id, first.id, actor=OKTA, at=now(), because="test")
    )
    settle(installed, workspace)

    second = company.joins("ada@x.example", "E-2", at=now())
    settle(installed, workspace)

    assert second.person_id != first.person_id
    assert {account.id: account.person_id for account in workspace.accounts.values()} == {"ada": first.person_id, "ada-2": second.person_id}
    assert workspace.accounts[AccountId("ada")].state is AccountState.DEACTIVATED


def test_someone_who_moves_back_at_any_point_of_their_move_is_where_they_were(installed: Flask) -> None:
    def move(company: Company, record_id: str, department: str) -> None:
        said = document("ada@x.example", "E-1", department=department)
        draft = RecordDraft(external_id="00u-ada@x.example", user_name="ada@x.example", active=None, document=said)
        in_transaction(
            lambda session: change_record(
                session, company.organization_id, company.source_id, record_id, draft, actor=OKTA, at=now(), because="moved"
            )
        )

    for moment in range(1, 9):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")
        # Somebody stays behind, so that the channel does not move along.
        company.joins("bob@x.example", "E-2", department="Sales")
        settle(installed, workspace)
        workspace.calls = 0
        move(company, ada.id, "Legal")

        def back(
            what: str, number: int, *, moment: int = moment, company: Company = company, workspace: Workspace = workspace, who: str = ada.id
        ) -> None:
            if number == moment:
                workspace.before_call = None
                move(company, who, "Sales")
                crew(installed, workspace).step([Lane.SYNC], "expansion")

        workspace.before_call = back
        settle(installed, workspace)

        # Where the move took fewer calls than that, nobody moved back.
        if workspace.calls >= moment:
            assert workspace.names_of(AccountId("ada")) == {"all-hands", "dept-sales", "company"}
        wipe()


def test_a_named_owner_is_in_a_channel_as_soon_as_it_is_made_and_not_in_one_that_is_empty(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("olga@x.example", "E-0")
    rules = """
rules:
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    owners: ["olga@x.example"]
"""
    in_transaction(lambda session: apply_rules(session, company.organization_id, parse(rules), ADMIN, now()))
    settle(installed, workspace)
    assert workspace.names_of(AccountId("olga")) == set()

    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    assert workspace.names_of(AccountId("olga")) == {"dept-sales"}

    company.says(ada, active=False, at=now())
    settle(installed, workspace)
    assert workspace.names_of(AccountId("olga")) == set()
