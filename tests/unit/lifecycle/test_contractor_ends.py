"""People who are no employees by their last day, as days are counted where the organisation is."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from app.database import in_transaction, reading
from app.journal.tables import Organization
from app.lifecycle.contractor_ends import Ending, endings, last_day
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, NOW
from tests.unit.lifecycle.contracting import Firm, new_firm, on


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return new_firm()


def listed(firm: Firm, *, day: float = 0) -> list[Ending]:
    with reading() as session:
        return list(endings(session, firm.company.organization_id, at=on(day)))


def test_those_come_first_who_end_first_and_who_has_no_end_comes_last(firm: Firm) -> None:
    for name, until in (("late", 90), ("soon", 10)):
        firm.takes_on(firm.joins(name), until=until)
    firm.joins("open", kind="Contractor")

    assert [(one.user_name, one.state) for one in listed(firm)] == [
        ("soon@x.example", "open"), ("late@x.example", "open"), ("open@x.example", "incomplete"),
    ]  # fmt: skip


def test_an_employee_is_not_listed(firm: Firm) -> None:
    firm.joins("ada")

    assert listed(firm) == []


def test_a_line_names_the_sponsor_and_the_days_that_are_left(firm: Firm) -> None:
    firm.takes_on(firm.joins("ada"), until=10)

    (one,) = listed(firm, day=3)

    assert (one.sponsor, one.sponsor_standing, one.days_left, one.last_day) == ("kim@x.example", "active", 7, "2025-06-12")
    assert (one.attested_by, one.attested_at) == ("kim@x.example", NOW)


def test_who_has_run_out_has_lapsed_and_less_than_no_days_left(firm: Firm) -> None:
    firm.takes_on(firm.joins("ada"), until=10)
    firm.time_passes(to=12)

    (one,) = listed(firm, day=12)

    assert (one.state, one.standing, one.days_left) == ("lapsed", "paused", -2)


def test_who_was_let_go_is_not_listed(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.takes_on(ada, until=10)
    firm.ends(ada, at=1)

    assert listed(firm, day=2) == []


def test_the_day_of_a_directory_counts_where_nobody_has_answered(firm: Firm) -> None:
    firm.joins("ada", kind="Contractor", until=5)

    (one,) = listed(firm)

    assert (one.ends_at, one.days_left, one.state, one.sponsor) == (on(5), 5, "incomplete", None)


def test_a_sponsor_who_has_left_is_shown_as_one_who_cannot_answer(firm: Firm) -> None:
    firm.takes_on(firm.joins("ada"), until=10)
    firm.says(firm.kim, active=False, at=1)

    assert [one.sponsor_standing for one in listed(firm, day=1)] == ["departed"]


def test_days_are_counted_where_the_organisation_is(firm: Firm) -> None:
    # The end of 4 June in Tokyo is 15:00 of that day in UTC, where it is still the middle of it.
    firm.takes_on(firm.joins("ada"), until=(datetime(2025, 6, 4, 15, tzinfo=UTC) - NOW).total_seconds() / 86400)
    in_transaction(
        lambda s: set_setting(s, s.get_one(Organization, firm.company.organization_id), "time_zone", "Asia/Tokyo", actor=ADMIN, at=NOW)
    )

    (one,) = listed(firm)

    assert (one.last_day, one.days_left) == ("2025-06-04", 2)


@pytest.mark.parametrize(
    ("zone", "ends_at", "day"),
    [
        ("UTC", datetime(2025, 6, 5, tzinfo=UTC), "2025-06-04"),
        ("UTC", datetime(2025, 6, 5, 0, 0, 1, tzinfo=UTC), "2025-06-05"),
        ("Europe/Berlin", datetime(2025, 3, 29, 23, tzinfo=UTC), "2025-03-29"),
        ("Europe/Berlin", datetime(2025, 3, 30, 22, tzinfo=UTC), "2025-03-30"),
        ("UTC", datetime(2028, 3, 1, tzinfo=UTC), "2028-02-29"),
    ],
)
def test_the_last_day_is_the_last_of_which_any_part_is_theirs(zone: str, ends_at: datetime, day: str) -> None:
    assert last_day(ends_at, ZoneInfo(zone)).isoformat() == day
