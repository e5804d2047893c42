"""Who leaves soon after others leaves in company: all of them are kept out before the rest is done for any."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from flask import Flask

from app.clock import now
from app.delivery import company as companies
from app.delivery import worker
from app.delivery.company import LASTS, Company
from app.journal.tables import HERE, Lane, Subject
from app.journal.work import Claim
from connectors.contract import AccountId, AccountState
from tests.company import later
from tests.unit.delivery.crew import crew, employ, settle
from tests.unit.delivery.test_kept_out import Barring, open_accounts, unproved
from tests.waiting import until


@dataclass
class Time:
    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(companies, "monotonic", found)
    return found


def claimed(subject: Subject = Subject.ACCOUNT, lane: Lane = Lane.DEPARTURES, *, put_off: bool = False) -> list[Claim]:
    return [
        Claim(
            organization_id="o", workspace_id=HERE, subject=subject, subject_id="ada", lane=lane, generation=1, attempts=0, due_at=later(0),
            because=None, claimed_by="w", claimed_at=later(0), lease_until=later(60), put_off=put_off,
        )
    ]  # fmt: skip


def test_the_second_who_leaves_soon_after_the_first_is_in_company_and_the_first_is_alone(time: Time) -> None:
    some = Company()
    some.look_for_it()

    some.note(claimed())
    assert not some.lasts()
    time.at += LASTS * 0.9
    some.note(claimed())
    assert some.lasts()
    time.at += LASTS * 0.9
    assert some.lasts()
    time.at += LASTS * 0.2
    assert not some.lasts()
    # Whoever comes later than that is alone again.
    some.note(claimed())
    assert not some.lasts()


@pytest.mark.parametrize("other", [[], claimed(Subject.ACCESS), claimed(lane=Lane.SYNC), claimed(put_off=True)])
def test_nobody_is_in_the_company_of_other_work(time: Time, other: list[Claim]) -> None:
    some = Company()
    some.look_for_it()
    for claims in (claimed(), other, other):
        some.note(claims)

    assert not some.lasts()


def test_there_is_none_for_whoever_delivers_in_their_own_thread(time: Time) -> None:
    some = Company()
    for _ in range(3):
        some.note(claimed())

    assert not some.lasts()


@pytest.mark.slow
def test_whoever_leaves_in_company_is_kept_out_and_the_rest_is_done_once_that_is_over(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companies, "LASTS", 3600.0)
    monkeypatch.setattr(worker, "PROVED_WITHIN", 3600.0)
    there = Barring()
    company, _ = employ(there)
    ada, *others = (company.joins(f"{name}@x.example") for name in ("ada", "bob", "cy"))
    settle(installed, there)
    one = crew(installed, there)
    one.start()
    try:
        company.says(ada, active=False, at=now())
        assert until(lambda: open_accounts(there) == 2 and unproved() == 0)
        for record in others:
            company.says(record, active=False, at=now())
            left = 2 - others.index(record) - 1
            assert until(lambda left=left: open_accounts(there) == left)  # type: ignore[misc]  # a default binds the loop's value

        # Nothing waits for them, and yet no more is done.
        assert until(lambda: len(one._unfinished) == 2)
        assert [there.barred.count(AccountId(f"{name}")) for name in ("ada", "bob", "cy")] == [0, 1, 1]
        assert unproved() == 2
    finally:
        # Whoever is stopped finishes what it has in hand.
        one.stop()

    assert unproved() == 0
    assert {account.state for account in there.accounts.values()} == {AccountState.DEACTIVATED}
