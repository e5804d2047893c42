"""An account that has lost the person's id over there: it is not exchanged for another one, and whoever leaves is shut out of all they had."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, reading
from app.delivery import worker
from app.directory.tables import Record
from app.journal.tables import Lane, Work, WorkState
from app.lifecycle.parked import retry_work
from connectors.contract import AccountId, AccountState
from tests.arranged_once import arranged_once
from tests.company import ADMIN
from tests.unit.delivery.crew import StandInTargets
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow

BOB, OTHER = AccountId("bob"), AccountId("bobby")


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    made = arranged_once(installed, led_company)
    made.rules('rules:\n  - {id: everyone, name: all-hands}\n  - {id: departments, for_each: department, name: "{{ key }}"}\n')
    made.joins("dee", department="Legal")
    made.delivers()
    return made


def loses_the_mark(firm: LedCompany, *, to_another: bool) -> None:
    """An administrator over there takes Bob's id from his account, and may give it to one that was made by hand."""
    bob = firm.there.accounts[BOB]
    firm.there.accounts[BOB] = replace(bob, person_id=None)
    if to_another:
        firm.there.accounts[OTHER] = replace(bob, id=OTHER)
        firm.there.sessions[OTHER] = 1


def delivers(firm: LedCompany) -> list[str | None]:
    """What is due, whatever is set aside on the way; that is returned."""
    crew = worker.Worker(firm.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}, clock=lambda: firm.at)
    crew._targets = StandInTargets(firm.there)
    for _ in range(5):
        crew.run_until_idle()
        firm.passes(seconds=61)
    return [row.last_error for row in parked()]


def parked() -> list[Work]:
    with reading() as session:
        return list(session.scalars(select(Work).where(Work.state == WorkState.PARKED)))


def gives_the_mark_back(firm: LedCompany, bob: Record) -> None:
    firm.there.accounts[BOB] = replace(firm.there.accounts[BOB], person_id=bob.person_id)
    for row in parked():
        in_transaction(lambda session, row=row: retry_work(session, session.merge(row), actor=ADMIN, at=now()))  # type: ignore[misc]  # binds the loop's value


@pytest.mark.parametrize("to_another", [False, True], ids=["nobody", "another"])
def test_who_leaves_is_shut_out_of_the_account_that_lost_the_mark(firm: LedCompany, to_another: bool) -> None:
    loses_the_mark(firm, to_another=to_another)
    firm.changes(firm.bob, department="Legal")
    delivers(firm)

    firm.says(firm.bob)
    delivers(firm)

    assert [id for id in (BOB, OTHER) if id in firm.there.accounts and not firm.there.show_access(id).gone] == []


@pytest.mark.parametrize("to_another", [False, True], ids=["nobody", "another"])
def test_they_get_no_other_account_and_join_nothing_but_leave_what_they_left(firm: LedCompany, to_another: bool) -> None:
    loses_the_mark(firm, to_another=to_another)
    there = set(firm.there.accounts)

    firm.changes(firm.bob, department="Legal")
    [why] = delivers(firm)

    assert why is not None and f"bob was made for bob@x.example, and does not carry their id {firm.bob.person_id} any more" in why
    assert set(firm.there.accounts) == there
    assert firm.there.names_of(BOB) == {"all-hands"}


def test_once_it_is_given_back_all_is_as_it_should_be(firm: LedCompany) -> None:
    loses_the_mark(firm, to_another=False)
    firm.changes(firm.bob, department="Legal")
    delivers(firm)

    gives_the_mark_back(firm, firm.bob)

    assert delivers(firm) == []
    assert firm.there.names_of(BOB) == {"all-hands", "Legal"}


def test_one_that_is_deactivated_is_given_up_for_another(firm: LedCompany) -> None:
    loses_the_mark(firm, to_another=True)
    firm.there.deactivate_account(BOB)
    firm.changes(firm.bob, department="Legal")

    assert delivers(firm) == []
    assert firm.account(firm.bob) == OTHER and firm.there.accounts[OTHER].state is AccountState.ACTIVE
