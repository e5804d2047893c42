"""Many leave at once: in a workspace that can do so, all are kept out before anything else is done to the first, and nobody is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from app.access.tables import Account
from app.clock import now
from app.database import in_transaction, reading
from app.delivery import worker
from app.directory.tables import Record
from app.journal import work
from app.journal.tables import Lane, Subject, Work
from app.revocation.tables import Proof
from connectors.contract import AccountId, AccountState, BarsAccounts, Misconfigured, Refused, Unreachable
from tests.arranged_once import arranged_once
from tests.company import Company
from tests.unit.delivery.crew import crew, employ, make_everything_due, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

LEAVERS = 3
LANE = [Lane.DEPARTURES]


@dataclass
class Barring(Workspace):
    """Keeps the promise of `BarsAccounts` as well. What was open goes on: sessions and channels stay."""

    barred: list[AccountId] = field(default_factory=list)

    def bar_account(self, id: AccountId) -> None:
        self._called("bar_account")
        account = self.accounts.get(id)
        if account is not None and account.state is AccountState.ACTIVE:
            self.accounts[id] = replace(account, state=AccountState.PAUSED)
        self.barred.append(id)


@dataclass
class Firm:
    """Everybody in it has left, and nobody was shut out yet."""

    there: Barring
    company: Company
    workspace_id: str
    records: list[Record]

    def leavers_work(self) -> list[Work]:
        with reading() as session:
            return list(session.scalars(select(Work).where(Work.lane == Lane.DEPARTURES, Work.subject == Subject.ACCOUNT)))


@pytest.fixture
def firm(installed: Flask) -> Firm:
    made = arranged_once(installed, _all_are_in)
    for record in made.records:
        made.company.says(record, active=False, at=now())
    return made


def _all_are_in(app: Flask) -> Firm:
    there = Barring()
    company, workspace_id = employ(there)
    records = [company.joins(f"p{number}@x.example") for number in range(LEAVERS)]
    settle(app, there)
    return Firm(there=there, company=company, workspace_id=workspace_id, records=records)


def open_accounts(workspace: Workspace) -> int:
    return sum(account.state is AccountState.ACTIVE for account in workspace.accounts.values())


def unproved() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Proof).where(Proof.gone_at.is_(None))) or 0


def noted(there: Workspace) -> list[str]:
    called: list[str] = []
    there.before_call = lambda what, _number: called.append(what)
    return called


def endings(called: list[str]) -> list[str]:
    return [what for what in called if what in ("bar_account", "deactivate_account", "show_access")]


def test_all_are_kept_out_before_anything_else_is_done_to_the_first(installed: Flask, firm: Firm) -> None:
    called = noted(firm.there)

    crew(installed, firm.there).run_until_idle()

    # The last one of them leaves nobody behind who is still in.
    first = endings(called)[: LEAVERS]
    assert first[:-1] == ["bar_account"] * (LEAVERS - 1)
    assert endings(called).count("deactivate_account") == LEAVERS
    assert unproved() == 0 and open_accounts(firm.there) == 0


def test_one_who_leaves_alone_is_shut_out_without_a_detour(installed: Flask) -> None:
    there = Barring()
    company, _ = employ(there)
    ada = company.joins("ada@x.example")
    settle(installed, there)
    company.says(ada, active=False, at=now())
    called = noted(there)

    crew(installed, there).run_until_idle()

    assert endings(called) == ["deactivate_account", "show_access"]


def test_several_are_claimed_together_once_it_is_known_that_they_can_be_kept_out(installed: Flask, firm: Firm) -> None:
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))
    claimed: list[int] = []
    keep_out = one._keep_out

    def seen(claims: Sequence[work.Claim]) -> None:
        claimed.append(len(claims))
        keep_out(claims)

    one._keep_out = seen  # type: ignore[method-assign]  # seen on its way
    one.run_until_idle()

    assert claimed == [LEAVERS] and len(firm.there.barred) == LEAVERS
    assert unproved() == 0 and open_accounts(firm.there) == 0


def test_who_was_kept_out_by_a_worker_that_died_is_shut_out_by_another(installed: Flask, firm: Firm) -> None:
    dead = crew(installed, firm.there)
    while open_accounts(firm.there):
        dead._take_next(LANE, "dead", busy=False)
    assert {account.state for account in firm.there.accounts.values()} <= {AccountState.PAUSED, AccountState.DEACTIVATED}

    settle(installed, firm.there)

    assert {account.state for account in firm.there.accounts.values()} == {AccountState.DEACTIVATED}
    assert unproved() == 0


def test_who_comes_back_between_being_kept_out_and_shut_out_is_let_in_again(installed: Flask, firm: Firm) -> None:
    one = crew(installed, firm.there)
    one._take_next(LANE, "one", busy=False)
    [back] = [record for record in firm.records if _account_of(firm, record) in firm.there.barred]
    firm.company.says(back, active=True, at=now())
    assert firm.there.accounts[_account_of(firm, back)].state is AccountState.PAUSED

    while one._finish_next():
        pass
    # What was signed in before they left is over, also where it was not ended before they were back.
    assert firm.there.sessions.get(_account_of(firm, back), 0) == 0
    settle(installed, firm.there)

    assert {id for id, account in firm.there.accounts.items() if account.state is AccountState.ACTIVE} == {_account_of(firm, back)}


def _account_of(firm: Firm, record: Record) -> AccountId:
    [account] = [one.id for one in firm.there.accounts.values() if one.person_id == record.person_id]
    return account


def test_whoever_comes_back_after_being_shut_out_and_signs_in_anew_stays_signed_in(installed: Flask, firm: Firm) -> None:
    settle(installed, firm.there)
    back = firm.records[0]
    firm.company.says(back, active=True, at=now())
    settle(installed, firm.there)
    firm.there.sessions[_account_of(firm, back)] = 1
    # Work of that departure that nobody had got to yet.
    in_transaction(
        lambda session: work.want(
            session, firm.company.organization_id, subject=Subject.ACCOUNT, subject_ids=[back.person_id], because=None, due_at=now(),
            lane=Lane.DEPARTURES, workspace_id=firm.workspace_id,
        )
    )  # fmt: skip

    settle(installed, firm.there)

    assert firm.there.sessions[_account_of(firm, back)] == 1


def test_a_workspace_that_refuses_to_end_sessions_keeps_nobody_out_who_is_back(
    installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = crew(installed, firm.there)
    one._take_next(LANE, "one", busy=False)
    [back] = [record for record in firm.records if _account_of(firm, record) in firm.there.barred]
    firm.company.says(back, active=True, at=now())

    def refuse(_id: AccountId) -> int:
        raise Refused("chat: not this one")

    monkeypatch.setattr(firm.there, "end_sessions", refuse)
    while one._finish_next():
        pass
    settle(installed, firm.there)

    assert firm.there.accounts[_account_of(firm, back)].state is AccountState.ACTIVE


def test_what_goes_wrong_in_an_unforeseen_way_with_one_is_not_waited_for_by_the_others(
    installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))
    unlucky = _account_of(firm, firm.records[0])
    bar = firm.there.bar_account

    def spoilt(id: AccountId) -> None:
        if id == unlucky:
            raise ValueError("nobody foresaw this")
        bar(id)

    monkeypatch.setattr(firm.there, "bar_account", spoilt)
    with pytest.raises(ValueError, match="nobody foresaw this"):
        one._take_next(LANE, "one", busy=False)

    assert len(one._unfinished) == LEAVERS - 1
    monkeypatch.undo()
    while one._finish_next():
        pass
    settle(installed, firm.there)
    assert open_accounts(firm.there) == 0 and unproved() == 0


@pytest.mark.parametrize("together", [False, True])
def test_who_could_not_be_kept_out_is_tried_again_and_keeps_nobody_else(
    installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(worker, "pause_after", lambda _attempts, lane: timedelta(hours=1))
    one = crew(installed, firm.there)
    if together:
        one._at_once.add((Subject.ACCOUNT, firm.workspace_id))
    tried: list[str] = []

    def once(what: str, _number: int) -> None:
        if what == "bar_account" and not tried:
            tried.append(what)
            raise Unreachable("chat: no answer", sent=True)

    firm.there.before_call = once
    one.run_until_idle()
    assert open_accounts(firm.there) == 1
    [left] = firm.leavers_work()
    assert (left.last_error, left.attempts) == ("chat: no answer", 1)
    firm.there.before_call = None

    make_everything_due()
    one.run_until_idle()

    assert open_accounts(firm.there) == 0 and unproved() == 0


def test_a_workspace_that_cannot_be_opened_is_halted_once_and_its_leavers_wait(installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))

    def of(_organization_id: str, _workspace_id: str) -> Workspace:
        raise Misconfigured("chat: the address is no address")

    monkeypatch.setattr(one._targets, "of", of)
    one.run_until_idle()

    waiting = firm.leavers_work()
    assert len(waiting) == LEAVERS and all(row.claimed_by is None for row in waiting)
    assert {row.last_error for row in waiting} <= {None, "chat: the address is no address"}
    assert open_accounts(firm.there) == LEAVERS


def test_the_receipt_says_when_the_workspace_was_first_asked(installed: Flask, firm: Firm) -> None:
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))
    one._take_next(LANE, "one", busy=False)
    kept_out = now()

    one.run_until_idle()

    with reading() as session:
        proofs = session.scalars(select(Proof).where(Proof.workspace_id == firm.workspace_id)).all()
    assert len(proofs) == LEAVERS
    for proof in proofs:
        assert proof.sent_at is not None and proof.acknowledged_at is not None
        assert proof.sent_at < kept_out < proof.acknowledged_at


def test_a_database_that_is_away_for_a_moment_costs_nobody_a_lease(installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))

    def away(_claims: object) -> dict[str, AccountId]:
        raise OperationalError("SELECT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(worker, "still_open", away)
    one._take_next(LANE, "one", busy=False)
    monkeypatch.undo()

    assert [(row.claimed_by, row.attempts) for row in firm.leavers_work()] == [(None, 0)] * LEAVERS
    settle(installed, firm.there)
    assert open_accounts(firm.there) == 0 and unproved() == 0


def test_what_goes_beyond_what_is_kept_in_mind_waits_in_the_database(installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_BEGUN", 1)
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))

    one._take_next(LANE, "one", busy=False)

    assert open_accounts(firm.there) == 0 and len(one._unfinished) == 1
    put_off = [row for row in firm.leavers_work() if row.claimed_by is None]
    assert len(put_off) == LEAVERS - 1
    assert all((row.attempts, row.last_error) == (0, None) and row.priority > work.PRIORITY[Subject.ACCOUNT] for row in put_off)

    called = noted(firm.there)
    one.run_until_idle()

    # Nobody is kept out twice.
    assert endings(called).count("bar_account") == 0 and endings(called).count("deactivate_account") == LEAVERS
    assert unproved() == 0


def test_somebody_who_is_still_in_comes_before_who_was_put_off(installed: Flask, firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_BEGUN", 0)
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))
    one._take_next(LANE, "one", busy=False)
    late = firm.company.joins("late@x.example")
    settle_joins = crew(installed, firm.there)
    while settle_joins.step([Lane.SYNC], "sync"):
        pass
    firm.company.says(late, active=False, at=now())
    assert open_accounts(firm.there) == 1

    while open_accounts(firm.there):
        one._take_next(LANE, "one", busy=False)

    # Nothing more was done to those who are kept out already.
    assert {firm.there.accounts[_account_of(firm, record)].state for record in firm.records} == {AccountState.PAUSED}
    one.run_until_idle()
    assert unproved() == 0 and open_accounts(firm.there) == 0


def test_a_person_without_an_account_that_we_know_is_looked_up_all_the_same(installed: Flask, firm: Firm) -> None:
    one = crew(installed, firm.there)
    one._at_once.add((Subject.ACCOUNT, firm.workspace_id))
    _forget_account(firm, firm.records[0])

    one.run_until_idle()

    assert len(firm.there.barred) == LEAVERS - 1
    assert open_accounts(firm.there) == 0 and unproved() == 0


def _forget_account(firm: Firm, record: Record) -> None:
    """As when the account was made by hand, or before the database was restored: the workspace alone knows whose it is."""
    in_transaction(lambda session: session.delete(session.get_one(Account, (firm.company.organization_id, firm.workspace_id, record.person_id))))


def test_the_stand_in_keeps_the_promise(firm: Firm) -> None:
    assert isinstance(firm.there, BarsAccounts)
