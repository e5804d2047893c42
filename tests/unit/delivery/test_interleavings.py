"""Whatever happens in between: a leaver is never let in again, a crash loses nothing, nobody is doubled."""

from functools import partial

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, reading
from app.delivery import access
from app.directory.tables import Record
from app.journal import work
from app.journal.tables import HERE, Lane, Subject
from app.lifecycle.records import RecordDraft, change_record
from app.revocation.departures import history
from app.revocation.tables import Departure, Proof
from connectors.contract import AccountId, AccountState
from tests.company import OKTA, Company, document
from tests.unit.delivery.crew import assert_out, calls_needed, crew, employ, leave, only_account, settle, settle_and, wipe
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


def test_a_joiner_whose_departure_is_committed_at_any_point_of_their_delivery_is_out(installed: Flask) -> None:
    total = calls_needed(installed, lambda company: company.joins("ada@x.example", "E-1", department="Sales"))
    for moment in range(1, total + 1):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")

        settle_and(partial(leave, company, workspace, installed, ada.id), installed, workspace, before=moment)

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

        settle_and(partial(leave, company, workspace, installed, ada.id), installed, workspace, before=moment)

        assert_out(company, workspace, ada.person_id)
        wipe()


def test_someone_who_returns_at_any_point_of_their_departures_delivery_is_in_again(installed: Flask) -> None:
    def come_back(company: Company, off: Record) -> None:
        company.says(off, active=True, at=now())

    for moment in range(1, 7):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")
        settle(installed, workspace)
        off = company.says(ada, active=False, at=now())
        workspace.calls = 0

        settle_and(partial(come_back, company, off), installed, workspace, before=moment)

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
        [(_, [(proof, _), *_])] = list(history(session, company.organization_id, ada.person_id))
    assert proof.acknowledged_at is not None and proof.shut_at is None
    in_transaction(lambda session: work.finish(session, older))
    settle(installed, workspace)
    assert_out(company, workspace, ada.person_id)


def test_someone_who_moves_back_at_any_point_of_their_move_is_where_they_were(installed: Flask) -> None:
    def move(company: Company, record_id: str, department: str) -> None:
        said = document("ada@x.example", "E-1", department=department)
        draft = RecordDraft(external_id="00u-ada@x.example", user_name="ada@x.example", active=None, document=said)
        in_transaction(
            lambda session: change_record(
                session, company.organization_id, company.source_id, record_id, draft, actor=OKTA, at=now(), because="moved"
            )
        )

    def move_back(company: Company, workspace: Workspace, record_id: str) -> None:
        move(company, record_id, "Sales")
        crew(installed, workspace).step([Lane.SYNC], "expansion")

    for moment in range(1, 9):
        workspace = Workspace()
        company, _ = employ(workspace)
        ada = company.joins("ada@x.example", "E-1", department="Sales")
        # Somebody stays behind, so that the channel does not move along.
        company.joins("bob@x.example", "E-2", department="Sales")
        settle(installed, workspace)
        workspace.calls = 0
        move(company, ada.id, "Legal")

        settle_and(partial(move_back, company, workspace, ada.id), installed, workspace, before=moment)

        assert workspace.names_of(AccountId("ada")) == {"all-hands", "dept-sales", "company"}
        wipe()


def test_what_was_counted_of_one_departure_is_not_written_to_the_next(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1", department="Sales")
    settle(installed, workspace)
    real, looked_at = access.closed_here, list[str]()

    def come_and_go_again(session: Session, departure: Departure) -> dict[str, int]:
        looked_at.append(departure.id)
        if len(looked_at) > 1:
            return real(session, departure)
        company.says(ada, active=True, at=now())
        company.says(ada, active=False, at=now())
        return {"sessions": 99}

    monkeypatch.setattr(access, "closed_here", come_and_go_again)
    company.says(ada, active=False, at=now())
    settle(installed, workspace)

    assert len(set(looked_at)) == 2
    with reading() as session:
        here = session.get(Proof, (company.organization_id, looked_at[-1], HERE))
    assert here is not None and here.shut_at is not None and here.closed is not None and here.closed["sessions"] == 0
