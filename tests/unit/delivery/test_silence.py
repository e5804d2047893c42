"""A workspace that does not answer keeps nobody waiting who is to be let in or shut out elsewhere."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import asking, in_transaction, new_id
from app.delivery import silence, worker
from app.delivery.due import is_due, is_due_by
from app.delivery.silence import LONG, Silence
from app.delivery.workspaces import halted
from app.journal import work
from app.journal.tables import HERE, Lane, Subject
from app.journal.work import Claim
from connectors.contract import AccountId, AccountState, Unreachable
from tests.company import later
from tests.unit.delivery.crew import StandInTargets, employ, settle
from tests.waiting import until
from tests.workspace import Workspace


@dataclass
class Time:
    at: float = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(silence, "monotonic", made)
    return made


def claimed(place: str, lane: Lane = Lane.DEPARTURES) -> Claim:
    at = later(0)
    return Claim(
        organization_id="o", workspace_id=place, subject=Subject.ACCOUNT, subject_id="ada", lane=lane, generation=1, attempts=0, claimed_by="w",
        claimed_at=at, lease_until=at + timedelta(seconds=45), due_at=at,
    )  # fmt: skip


def takes(seconds: float, place: str, some: Silence, time: Time) -> None:
    with some.in_hand(claimed(place)):
        time.at += seconds


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (2, 1), (4, 3), (8, 6)])
def test_a_place_that_is_late_has_all_threads_but_those_that_are_kept_from_it(time: Time, threads: int, most: int) -> None:
    some = Silence({Lane.DEPARTURES: threads, Lane.SYNC: 1})
    takes(LONG + 1, "late", some, time)

    with ExitStack() as hand:
        for _ in range(most):
            assert some.left_out([Lane.DEPARTURES]) == frozenset()
            hand.enter_context(some.in_hand(claimed("late")))
        assert some.left_out([Lane.DEPARTURES]) == {"late"}
        assert some.left_out([Lane.SYNC]) == frozenset()


def test_several_that_are_late_share_them(time: Time) -> None:
    some = Silence({Lane.DEPARTURES: 4})
    for place in ("late", "later"):
        takes(LONG + 1, place, some, time)

    with some.in_hand(claimed("late")), some.in_hand(claimed("later")), some.in_hand(claimed("late")), some.in_hand(claimed("quick")):
        assert some.left_out([Lane.DEPARTURES]) == {"late", "later"}


def test_one_that_answers_soon_again_has_all_threads(time: Time) -> None:
    some = Silence({Lane.DEPARTURES: 2})
    takes(LONG + 1, "late", some, time)
    takes(LONG, "late", some, time)

    with some.in_hand(claimed("late")):
        assert some.left_out([Lane.DEPARTURES]) == frozenset()


@pytest.mark.parametrize("place", ["", HERE])
def test_what_is_done_here_is_never_late(time: Time, place: str) -> None:
    some = Silence({Lane.DEPARTURES: 2})
    takes(LONG + 1, place, some, time)

    with some.in_hand(claimed(place)):
        assert some.left_out([Lane.DEPARTURES]) == frozenset()


def test_what_is_left_out_is_neither_due_nor_claimed(installed: Flask) -> None:
    def act(session: Session) -> None:
        for place in ("late", "quick"):
            work.want(
                session, "o", subject=Subject.ACCOUNT, subject_ids=["ada"], because=None, due_at=later(0), lane=Lane.DEPARTURES, workspace_id=place
            )

    def take(*but: str) -> list[str]:
        claims = in_transaction(
            lambda session: work.claim(session, lanes=[Lane.DEPARTURES], worker="w", at=later(1), most=9, halted=halted, but=but)
        )
        return sorted(one.workspace_id for one in claims)

    in_transaction(act)

    assert is_due(installed, Lane.DEPARTURES, at=later(1), but=["late"])
    assert take("late") == ["quick"] and take("late") == []
    assert not is_due(installed, Lane.DEPARTURES, at=later(1), but=["late"])
    with asking() as connection:
        assert not is_due_by(connection, Lane.DEPARTURES, at=later(1), but=["late"])
    assert is_due(installed, Lane.DEPARTURES, at=later(1)) and take() == ["late"]


@pytest.mark.slow
def test_nobody_stays_in_a_workspace_because_another_does_not_answer(installed: Flask, time: Time) -> None:
    quick, late = Workspace(name="quick"), Workspace(name="late")
    company, _ = employ(quick)
    late_id = in_transaction(lambda session: another(session, company.organization_id))
    first, *others = [company.joins(f"p{number}@x.example") for number in range(4)]
    settle(installed, quick, {late_id: late})
    one = worker.Worker(installed, threads={Lane.DEPARTURES: 2, Lane.SYNC: 1})
    one._targets = StandInTargets(quick, {late_id: late})

    def gives_no_answer(_what: str, _number: int) -> None:
        time.at += LONG + 1
        raise Unreachable("no answer", sent=True)

    answered = threading.Event()

    def is_waited_for(_what: str, _number: int) -> None:
        answered.wait(60)

    late.before_call = gives_no_answer
    company.says(first, active=False, at=now())
    one.run_until_idle()
    late.before_call = is_waited_for
    for record in others:
        company.says(record, active=False, at=now())
    one.start()
    try:
        assert until(lambda: open_accounts(quick) == 0), quick.accounts
        assert open_accounts(late) == 4
    finally:
        late.before_call = None
        answered.set()
        one.stop()

    settle(installed, quick, {late_id: late})
    assert open_accounts(late) == 0
    assert all(late.show_access(AccountId(f"p{number}")).gone for number in range(4))


def another(session: Session, organization_id: str) -> str:
    row = WorkspaceRow(
        organization_id=organization_id, id=new_id(), name="late", kind="matrix", url="http://elsewhere.invalid", sealed_token=b"", options={},
        created_at=now(),
    )  # fmt: skip
    session.add(row)
    return row.id


def open_accounts(workspace: Workspace) -> int:
    return sum(account.state is AccountState.ACTIVE for account in workspace.accounts.values())
