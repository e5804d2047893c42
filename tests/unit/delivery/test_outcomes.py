"""How deliveries end: killed and taken up again, parked, halted, down; and who is where afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import DataError, DBAPIError, InternalError, OperationalError
from sqlalchemy.orm import Session

from app.access.sealing import KeyUnread
from app.access.tables import Account as AccountRow
from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import db, in_transaction, reading
from app.delivery.expansion import want_channels
from app.journal.tables import Subject, Work, WorkState
from app.revocation.departures import history
from app.rules.file import parse
from app.rules.moves import rename
from app.rules.revisions import apply_rules
from connectors.contract import AccountId, AccountState, ChannelWanted, Refused, Unauthorised, Unreachable
from tests.company import ADMIN, OKTA
from tests.unit.delivery.crew import Killed, assert_out, calls_needed, crew, employ, make_everything_due, only_account, settle, wipe
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

AWAY = ConnectionError("the database is away")


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


@contextmanager
def away_once(said: str, *, error: type[DBAPIError] = OperationalError, why: Exception = AWAY) -> Iterator[list[str]]:
    """The database does not answer the first statement that says this; it is in the list then."""
    refused: list[str] = []

    def refuse(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if said in statement and not refused:
            refused.append(statement)
            raise error(statement, None, why)

    event.listen(db.engine, "before_cursor_execute", refuse)
    try:
        yield refused
    finally:
        event.remove(db.engine, "before_cursor_execute", refuse)


def in_hand() -> Sequence[str]:
    with reading() as session:
        return session.scalars(select(Work.subject).where(Work.claimed_by.is_not(None))).all()


@pytest.mark.parametrize("written", ["UPDATE room", "INTO channel_member"])
def test_a_database_that_is_away_when_a_delivery_ends_is_tried_again_at_once(installed: Flask, written: str) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("ada@x.example", "E-1", department="Sales")

    with away_once(written) as refused:
        crew(installed, workspace).run_until_idle()

    assert refused and not in_hand()
    settle(installed, workspace)
    assert workspace.names_of(only_account(workspace)) == {"all-hands", "dept-sales", "company"}


@pytest.mark.parametrize("said", ["INTO reach", "INTO account", "SELECT person.standing, person.access_epoch", "UPDATE account"])
def test_a_database_that_is_away_amid_a_delivery_costs_nobody_a_lease(installed: Flask, said: str) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("ada@x.example", "E-1", department="Sales")

    with away_once(said) as refused:
        crew(installed, workspace).run_until_idle()

    assert refused and not in_hand()
    settle(installed, workspace)
    assert workspace.names_of(only_account(workspace)) == {"all-hands", "dept-sales", "company"}


def test_a_transaction_that_the_database_ended_amid_a_delivery_costs_nobody_a_lease(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("ada@x.example", "E-1", department="Sales")

    with away_once("INTO account", error=InternalError, why=psycopg.errors.IdleInTransactionSessionTimeout("it stood still")) as refused:
        crew(installed, workspace).run_until_idle()

    assert refused and not in_hand()


@pytest.mark.parametrize("said", ["FROM departure", "max(work.lease_until)", "UPDATE proof", "INTO proof"])
def test_a_database_that_is_away_amid_a_departure_costs_nobody_a_lease(installed: Flask, said: str) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    company.says(ada, active=False, at=now())

    with away_once(said) as refused:
        crew(installed, workspace).run_until_idle()

    assert refused and not in_hand()
    settle(installed, workspace)
    assert_out(company, workspace, ada.person_id)


def test_what_the_database_refuses_for_good_is_not_asked_again_and_again(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("ada@x.example", "E-1", department="Sales")

    with away_once("INTO account", error=DataError), pytest.raises(DataError):
        crew(installed, workspace).run_until_idle()

    assert in_hand() == [Subject.ACCOUNT]


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
        [(_, [(proof, _), *_])] = list(history(session, company.organization_id, ada.person_id))
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


def test_a_key_that_cannot_be_read_just_now_halts_no_workspace(installed: Flask) -> None:
    workspace = Workspace()
    company, workspace_id = employ(workspace)
    company.joins("ada@x.example", "E-1")

    def fails(called: str, number: int) -> None:
        workspace.before_call = None
        raise KeyUnread("the encryption key cannot be read: encryption.key: Too many open files")

    workspace.before_call = fails
    crew(installed, workspace).run_until_idle()

    with reading() as session:
        assert session.get_one(WorkspaceRow, (company.organization_id, workspace_id)).state == "running"
        errors = session.scalars(select(Work.last_error).where(Work.last_error.is_not(None), Work.state == WorkState.WAITING)).all()
    assert any("Too many open files" in str(one) for one in errors)
    make_everything_due()
    crew(installed, workspace).run_until_idle()
    assert list(workspace.accounts) == ["ada"]


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


def test_whoever_has_the_name_of_hundreds_gets_an_account_all_the_same(installed: Flask) -> None:
    workspace = Workspace()
    company, workspace_id = employ(workspace)

    def act(session: Session) -> None:
        for number in range(1, 150):
            taken = "office" if number == 1 else f"office-{number}"
            session.add(
                AccountRow(
                    organization_id=company.organization_id, workspace_id=workspace_id, person_id=f"p-{number}", account_id=taken,
                    state=AccountState.ACTIVE,
                )
            )  # fmt: skip

    in_transaction(act)

    shop = company.joins("office@shop-150.example", "E-150")
    settle(installed, workspace)

    assert [account.person_id for account in workspace.accounts.values()] == [shop.person_id]
    assert only_account(workspace).startswith("office-")


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


def test_a_renamed_channel_whose_new_address_is_somebody_elses_takes_the_next_free_one(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    foreign = workspace.create_channel(ChannelWanted(key="dept-marketing", name="Not ours"))
    workspace.rooms[foreign.ref] = replace(foreign, ours=False)

    def act(session: Session) -> None:
        done = rename(session, company.organization_id, "departments", "Sales", "Marketing", now())
        want_channels(session, company.organization_id, {done.channel_id}, at=now())

    in_transaction(act)
    settle(installed, workspace)

    keys = {room.name: room.key for room in workspace.rooms.values()}
    assert (keys["dept-marketing"], keys["Not ours"]) == ("dept-marketing-2", "dept-marketing")
    assert workspace.names_of(AccountId("ada")) == {"all-hands", "dept-marketing", "company"}


def test_a_join_refused_because_the_person_is_leaving_just_now_is_not_set_aside(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")

    def leave(what: str, number: int) -> None:
        if what == "add_members":
            workspace.before_call = None
            company.says(ada, active=False, at=now())
            raise Refused("403 M_FORBIDDEN You are not invited to this room.")

    workspace.before_call = leave
    settle(installed, workspace)

    assert_out(company, workspace, ada.person_id)
    with reading() as session:
        assert session.scalars(select(Work.state)).all() == []
