"""A record's day that comes while the vendor still calls the person active: that is no word that they are back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.database import in_transaction, reading
from app.directory.tables import Person, Standing
from app.lifecycle.people import reconsider
from tests.company import Company
from tests.hr_vendor import CLOCK, Answers, Vendor, sample

OVER = datetime(2026, 12, 1, tzinfo=UTC)
"""The end of the last day, in the organisation's zone."""
TOLD = "2026-11-30"
SHIPPED: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "bamboohr": lambda status, day: {"id": "7", "employeeNumber": "E-1", "status": status, "terminationDate": day or "0000-00-00"},
    "hibob": lambda status, day: {
        "id": "7", "email": "mara@x.example", "work": {"employeeIdInCompany": "E-1"}, "internal": {"status": status, "terminationDate": day or None},
    },
    "rippling": lambda status, day: {
        "id": "7", "employeeNumber": "E-1", "roleState": "ACTIVE" if status == "Active" else "TERMINATED", "endDate": day or None,
    },
}  # fmt: skip


class Polled:
    """A vendor whose list names Mara alone."""

    def __init__(self, app: Flask, company: Company, api: Answers, name: str, mara: str) -> None:
        self.vendor, self.company, self.mara, self._api, self._name = Vendor(app, company, name, answers=api), company, mara, api, name

    def says(self, status: str, day: str = "", *, at: datetime) -> str:
        """What she is once that was read."""
        rows = [SHIPPED[self._name](status, day)]
        self._api.records |= {"/reports/custom": {"employees": rows}, "/people/search": {"employees": rows}, "/employees/include_terminated": rows}
        in_transaction(lambda session: reconsider(session, self.company.organization_id, self.mara, at=at))
        assert self.vendor.polls(at=at) is None
        with reading() as session:
            return session.get_one(Person, (self.company.organization_id, self.mara)).standing


@pytest.fixture(params=SHIPPED)
def hr(installed: Flask, company: Company, api: Answers, mara: str, request: pytest.FixtureRequest) -> Polled:
    polled = Polled(installed, company, api, request.param, mara)
    assert polled.says("Active", TOLD, at=CLOCK) == Standing.ACTIVE
    return polled


def test_whose_last_day_has_come_stays_out_until_the_vendors_own_word_turns(hr: Polled) -> None:
    for hours in (0, 1, 7):
        assert hr.says("Active", TOLD, at=OVER + timedelta(hours=hours)) == Standing.DEPARTED

    assert hr.says("Inactive", TOLD, at=OVER + timedelta(hours=8)) == Standing.DEPARTED
    assert len(hr.vendor.events()) == 1


def test_who_is_back_after_their_record_was_closed_comes_in_although_the_old_day_stands_there(hr: Polled) -> None:
    hr.says("Inactive", TOLD, at=OVER + timedelta(hours=1))

    assert hr.says("Active", TOLD, at=OVER + timedelta(days=30)) == Standing.ACTIVE


def test_a_last_day_that_is_taken_out_of_the_record_late_lets_them_in_again(hr: Polled) -> None:
    hr.says("Active", TOLD, at=OVER + timedelta(hours=1))

    assert hr.says("Active", at=OVER + timedelta(hours=2)) == Standing.ACTIVE


def test_a_last_day_that_is_moved_to_one_that_has_passed_ends_access_at_once(hr: Polled) -> None:
    hr.says("Active", "2026-12-31", at=CLOCK + timedelta(hours=1))

    assert hr.says("Active", TOLD, at=OVER + timedelta(hours=1)) == Standing.DEPARTED
    assert hr.says("Active", TOLD, at=OVER + timedelta(hours=2)) == Standing.DEPARTED


def test_a_day_of_the_past_that_was_never_told_before_takes_nobody_out(installed: Flask, company: Company, api: Answers, mara: str) -> None:
    hr = Polled(installed, company, api, "bamboohr", mara)

    assert hr.says("Active", "2024-02-29", at=CLOCK) == Standing.ACTIVE


def test_a_call_about_something_else_lets_nobody_in_whose_last_day_has_come(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    one = sample("bamboohr_employee_updated_event")
    hr = Vendor(installed, company, "bamboohr", secret=one.secret, answers=api)
    record = {**SHIPPED["bamboohr"]("Active", "2026-11-25"), "id": "20417"}
    api.records |= {"/reports/custom": {"employees": [record]}, "/employees/20417": record}
    hr.polls(at=CLOCK - timedelta(days=1))
    late = datetime(2026, 11, 26, 0, 1, tzinfo=UTC)
    in_transaction(lambda session: reconsider(session, company.organization_id, mara, at=late))
    hr.hears(one.request)

    hr.works(at=late)

    with reading() as session:
        assert session.get_one(Person, (company.organization_id, mara)).standing == Standing.DEPARTED
    assert hr.events()[-1].problem == "BambooHR says nothing new of them: leaves at"
