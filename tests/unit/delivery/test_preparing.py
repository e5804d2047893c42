"""Accounts of people who have yet to start: there beforehand where the workspace can do that, and shut until the day."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, reading
from app.delivery import sweeping, worker
from app.directory.tables import Person, Record, Standing
from app.journal.tables import Lane, Subject, Work
from app.lifecycle import starting
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.revocation.departures import history
from connectors.contract import Account, AccountId, AccountState, PreparesAccounts
from tests.company import ADMIN, OKTA, Company, document
from tests.unit.delivery.crew import Killed, StandInTargets, employ
from tests.workspace import Workspace

BEGINNING = now()


class Time:
    """The workers' clock, which stands until somebody moves it."""

    def __init__(self) -> None:
        self.at = BEGINNING

    def __call__(self) -> datetime:
        return self.at

    def passes(self, **by: float) -> None:
        self.at += timedelta(**by)


class Unprepared(Workspace):
    """A workspace that can make no account that is shut."""

    prepare_account = None  # type: ignore[assignment]  # it has no such power


def delivers(app: Flask, workspace: Workspace, time: Time) -> None:
    """Work until nothing is due; pauses pass, and days do not."""
    crew = worker.Worker(app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}, clock=time)
    crew._targets = StandInTargets(workspace)
    for _ in range(50):
        crew.run_until_idle()
        with reading() as session:
            left = session.scalars(select(Work).where(Work.due_at <= time.at + timedelta(minutes=1))).all()
        if not left:
            return
        time.passes(seconds=60)
    raise AssertionError([(row.subject, row.last_error) for row in left])


def joins(company: Company, *, starts: timedelta | None, at: datetime = BEGINNING) -> Record:
    draft = RecordDraft(
        external_id="a", user_name="ada@x.example", active=True, document=document("ada@x.example", "E-1", department="Sales"),
        starts_at=None if starts is None else BEGINNING + starts,
    )  # fmt: skip
    return in_transaction(lambda s: add_record(s, company.organization_id, company.source_id, draft, actor=OKTA, at=at, because="test"))


def only(workspace: Workspace) -> Account:
    [account] = workspace.accounts.values()
    return account


def test_the_account_of_whoever_is_expected_is_there_and_shut_and_in_no_channel(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    joins(company, starts=timedelta(days=5))

    delivers(installed, workspace, time)

    account = only(workspace)
    assert account.state is AccountState.PAUSED and account.emails == ()
    assert workspace.show_access(account.id).gone


def test_on_the_day_the_same_account_is_opened_and_joins_its_channels(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    joins(company, starts=timedelta(days=5))
    delivers(installed, workspace, time)
    prepared = only(workspace).id

    time.passes(days=5)
    delivers(installed, workspace, time)

    account = only(workspace)
    assert (account.id, account.state) == (prepared, AccountState.ACTIVE)
    assert workspace.names_of(account.id) == {"all-hands", "dept-sales", "company"}


def test_after_a_time_without_a_worker_the_account_is_made_on_the_day_it_is_looked_at(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    joins(company, starts=timedelta(days=5))

    time.passes(days=9)
    delivers(installed, workspace, time)

    assert only(workspace).state is AccountState.ACTIVE


def test_where_no_account_can_be_made_that_is_shut_none_is_made_before_the_day(installed: Flask) -> None:
    workspace, time = Unprepared(), Time()
    powers: object = workspace
    assert not isinstance(powers, PreparesAccounts)
    company, _ = employ(workspace)
    joins(company, starts=timedelta(days=5))

    delivers(installed, workspace, time)
    assert workspace.accounts == {}
    time.passes(days=5)
    delivers(installed, workspace, time)

    assert only(workspace).state is AccountState.ACTIVE


def test_a_rescinded_offer_deactivates_what_was_prepared(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    ada = joins(company, starts=timedelta(days=5))
    delivers(installed, workspace, time)

    def rescind(session: Session) -> None:
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        starting.rescind(session, person, said_by="ana", actor=ADMIN, at=time.at, reason="other offer")

    in_transaction(rescind)
    delivers(installed, workspace, time)
    time.passes(days=6)
    delivers(installed, workspace, time)

    assert only(workspace).state is AccountState.DEACTIVATED


def test_whoever_was_in_and_starts_later_is_shut_out_and_opened_again_on_the_day(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    ada = joins(company, starts=None)
    delivers(installed, workspace, time)
    assert only(workspace).state is AccountState.ACTIVE
    later = RecordDraft(
        external_id="a", user_name="ada@x.example", active=True, document=ada.document, starts_at=BEGINNING + timedelta(days=5)
    )

    in_transaction(lambda s: change_record(s, company.organization_id, ada.source_id, ada.id, later, actor=OKTA, at=time.at, because="test"))
    delivers(installed, workspace, time)
    shut = only(workspace)
    gone = workspace.show_access(shut.id).gone
    with reading() as session:
        [(_, proofs)] = history(session, company.organization_id, ada.person_id)
    assert all(proof.shut_at is not None and proof.gone_at is not None for proof, _ in proofs)
    time.passes(days=5)
    delivers(installed, workspace, time)

    assert shut.state is AccountState.PAUSED and gone
    assert only(workspace).state is AccountState.ACTIVE


def test_an_id_that_somebody_else_has_is_not_taken_over(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    workspace.accounts[AccountId("ada")] = Account(id=AccountId("ada"), person_id=None, display_name="another Ada", emails=(), state=AccountState.ACTIVE)
    company, _ = employ(workspace)
    ada = joins(company, starts=timedelta(days=5))

    delivers(installed, workspace, time)

    assert workspace.accounts[AccountId("ada")].state is AccountState.ACTIVE
    mine = workspace.find_account(ada.person_id)
    assert mine is not None and (mine.id, mine.state) == (AccountId("ada-2"), AccountState.PAUSED)


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_process_killed_at_any_call_leaves_no_second_account_and_none_that_is_open(installed: Flask, moment: int) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    joins(company, starts=timedelta(days=5))

    def kill(_what: str, number: int) -> None:
        if number == moment:
            workspace.before_call = None
            raise Killed

    workspace.before_call = kill
    try:
        delivers(installed, workspace, time)
    except Killed:
        time.passes(minutes=2)
        delivers(installed, workspace, time)

    assert only(workspace).state is AccountState.PAUSED


def test_an_account_that_was_opened_by_hand_before_the_day_is_found_and_shut(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    ada = joins(company, starts=timedelta(days=5))
    delivers(installed, workspace, time)
    prepared = only(workspace)
    workspace.accounts[prepared.id] = replace(prepared, state=AccountState.ACTIVE)
    targets = StandInTargets(workspace)

    found = sweeping.sweep(installed, targets, organization_id=company.organization_id, everyone=True, clock=time)
    delivers(installed, workspace, time)

    assert [one.person_id for place in found for one in place.alive] == [ada.person_id]
    assert only(workspace).state is AccountState.PAUSED
    time.passes(days=5)
    delivers(installed, workspace, time)
    assert only(workspace).state is AccountState.ACTIVE


def test_nothing_is_prepared_for_somebody_who_is_rescinded_at_that_moment(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    ada = joins(company, starts=timedelta(days=5))

    def rescind(session: Session) -> None:
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        starting.rescind(session, person, said_by="ana", actor=ADMIN, at=time.at, reason="other offer")

    def just_before(what: str, _number: int) -> None:
        if what == "find_account":
            workspace.before_call = None
            in_transaction(rescind)

    workspace.before_call = just_before
    delivers(installed, workspace, time)

    assert company.person(ada).standing == Standing.DEPARTED
    assert workspace.accounts == {}


def test_whoever_is_expected_has_their_profile_of_the_day_they_start(installed: Flask) -> None:
    workspace, time = Workspace(), Time()
    company, _ = employ(workspace)
    ada = joins(company, starts=timedelta(days=5))
    delivers(installed, workspace, time)
    renamed = RecordDraft(
        external_id="a", user_name="ada@x.example", active=True, document={**ada.document, "displayName": "Ada Lovelace"}, starts_at=ada.starts_at
    )

    in_transaction(lambda s: change_record(s, company.organization_id, ada.source_id, ada.id, renamed, actor=OKTA, at=time.at, because="test"))
    time.passes(days=5)
    delivers(installed, workspace, time)

    assert only(workspace).emails == ("ada@x.example",)
    with reading() as session:
        assert session.scalars(select(Work).where(Work.subject == Subject.DUE)).all() == []
