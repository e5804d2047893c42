"""Polling: what no call told is heard from the vendor's records, and a system that falls silent is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing, Statement, StatementKind, Voice
from app.intake.vendor_api import VendorAPI
from app.lifecycle import ended_sources, leaving
from app.revocation.alarm_tables import Alarm
from tests.company import ADMIN, Company, new_company
from tests.hr_vendor import CLOCK, Answers, Vendor, sample

ROWS = "/o/r"


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def workday(installed: Flask, company: Company, api: Answers) -> Vendor:
    return Vendor(installed, company, "workday", answers=api)


def row(number: str, status: str = "Active", **columns: str) -> dict[str, str]:
    return {"Employee_ID": number, "Worker_Status": status, "Is_Rescinded": "0", **columns}


def says(api: Answers, *rows: dict[str, str]) -> None:
    api.records[ROWS] = {"Report_Entry": list(rows)}


def person(company: Company, person_id: str) -> Person:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id))


def statements(company: Company) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Statement).where(Statement.organization_id == company.organization_id)) or 0


GONE = {"Termination_Date": "2026-11-25", "Last_Day_of_Work": "2026-11-24"}


def test_a_notice_that_was_taken_back_and_is_given_again_ends_the_engagement_that_it_names(installed: Flask, company: Company, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    workday = Vendor(installed, company, "workday", answers=api, change=("number: Employee_ID", "number: Employee_ID\n  engagement: Position"))
    announced = {"Termination_Date": "2199-12-31"}
    for minute, columns in enumerate([announced, {}, GONE]):
        assert person(company, mara).standing == Standing.ACTIVE
        says(api, row("1", Position="e-7", **columns))
        workday.polls(at=CLOCK + timedelta(minutes=minute))

    assert person(company, mara).standing == Standing.DEPARTED


@pytest.mark.parametrize("other", [{"Position": "e-8"}, {}])
def test_whoever_has_several_records_is_here_until_the_last_of_them_ends(
    installed: Flask, company: Company, api: Answers, other: dict[str, str]
) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    workday = Vendor(installed, company, "workday", answers=api, change=("number: Employee_ID", "number: Employee_ID\n  engagement: Position"))
    for day, last_day in ((0, "2026-12-31"), (15, "2027-01-15")):
        says(api, row("1", Position="e-7", Termination_Date="2026-12-05"), row("1", Termination_Date=last_day, **other))
        workday.polls(at=CLOCK + timedelta(days=day))

    assert str(person(company, mara).access_until) == "2027-01-16 00:00:00+00:00"


def test_several_records_of_which_one_has_ended_take_nothing_from_who_is_here_by_the_other(
    installed: Flask, company: Company, api: Answers
) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    epoch = person(company, mara).access_epoch
    workday = Vendor(installed, company, "workday", answers=api, change=("number: Employee_ID", "number: Employee_ID\n  engagement: Position"))
    says(api, row("1", Position="e-7", **GONE), row("1", Position="e-8", Termination_Date="2199-12-31"))

    workday.polls()

    assert (person(company, mara).standing, person(company, mara).access_epoch) == (Standing.ACTIVE, epoch)


def test_a_leaver_of_whom_no_call_told_is_out_with_the_next_poll_and_said_once(company: Company, workday: Vendor, api: Answers) -> None:
    mara, bob = company.joins("mara@x.example", "1").person_id, company.joins("bob@x.example", "2").person_id
    says(api, row("1"), row("2"))
    assert workday.polls() is None

    says(api, row("1", "Terminated", **GONE), row("2"))
    for minute in range(3):
        workday.polls(at=CLOCK + timedelta(minutes=minute))

    assert (person(company, mara).standing, person(company, bob).standing) == (Standing.DEPARTED, Standing.ACTIVE)
    assert statements(company) == 1


@pytest.mark.parametrize("answer", [{"Report_Entry": []}, {"Report_Entry": [row("9")]}, {"Report_Entry": None}, {}, []])
def test_a_short_or_empty_or_garbled_list_takes_nobody_out(company: Company, workday: Vendor, api: Answers, answer: object) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1"))
    workday.polls()

    api.records[ROWS] = answer
    workday.polls(at=CLOCK + timedelta(hours=1))

    assert person(company, mara).standing == Standing.ACTIVE


def test_a_record_in_a_zone_that_no_clock_shows_keeps_nobody_else_in(installed: Flask, company: Company, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    workday = Vendor(installed, company, "workday", answers=api, change=("number: Employee_ID", "number: Employee_ID\n  zone: Zone"))
    says(api, row("2", Zone="+24:00", Termination_Date="2026-12-31"), row("1", **GONE))

    assert workday.polls() == "1 records could not be read"

    assert person(company, mara).standing == Standing.DEPARTED


def test_a_rescinded_termination_is_called_off(company: Company, workday: Vendor, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1", **{"Termination_Date": "2026-12-31"}))
    workday.polls()
    assert person(company, mara).access_until is not None

    says(api, row("1", **{"Termination_Date": "2026-12-31"}) | {"Is_Rescinded": "1"})
    workday.polls(at=CLOCK + timedelta(hours=1))

    assert person(company, mara).access_until is None


def test_somebody_who_is_back_under_a_second_record_is_not_taken_out_by_the_first(company: Company, workday: Vendor, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id

    says(api, row("1", "Terminated", **GONE), row("1"))
    workday.polls()

    assert person(company, mara).standing == Standing.ACTIVE


def test_who_is_here_again_after_leaving_was_said_comes_back(company: Company, workday: Vendor, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1", "Terminated", **GONE))
    workday.polls()

    says(api, row("1"))
    workday.polls(at=CLOCK + timedelta(hours=1))

    assert person(company, mara).standing == Standing.ACTIVE


def test_a_record_that_still_says_here_brings_nobody_back_whose_access_was_revoked(
    installed: Flask, company: Company, api: Answers
) -> None:
    mara = company.joins("mara@x.example", "E-1").person_id
    one = sample("hibob_access_revoked_immediately")
    bob = Vendor(installed, company, "hibob", secret=one.secret, answers=api)
    record: dict[str, object] = {
        "id": "3332883854254932743",
        "email": "mara@x.example",
        "work": {"employeeIdInCompany": "E-1"},
        "internal": {"status": "Active"},
    }
    api.records["/people/search"] = {"employees": [record]}
    bob.polls()
    assert bob.hears(one.request) == "applied"

    bob.polls(at=CLOCK + timedelta(hours=1))
    # The last day is entered afterwards; it gives no access until then.
    record["internal"] = {"status": "Active", "terminationDate": "2026-12-31"}
    for hour in range(2, 5):
        bob.polls(at=CLOCK + timedelta(hours=hour))

    assert person(company, mara).standing == Standing.DEPARTED


def test_a_leaver_whom_nobody_knows_waits_without_an_alarm_and_is_out_when_they_come(
    company: Company, workday: Vendor, api: Answers
) -> None:
    says(api, row("1", "Terminated", **GONE))
    workday.polls()
    workday.polls(at=CLOCK + timedelta(hours=1))
    assert [event.state for event in workday.events()] == ["awaited"]

    late = company.joins("mara@x.example", "1", at=CLOCK + timedelta(hours=2))

    assert person(company, late.person_id).standing == Standing.DEPARTED


def test_a_notice_that_is_taken_back_undoes_nothing_that_others_said(company: Company, workday: Vendor, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1", **{"Termination_Date": "2026-12-31"}))
    workday.polls()
    operator_says_leaves(company, mara)

    says(api, row("1"))
    workday.polls(at=CLOCK + timedelta(hours=1))

    assert (person(company, mara).standing, statements(company)) == (Standing.DEPARTED, 3)


def operator_says_leaves(company: Company, person_id: str) -> None:
    def act(session: Session) -> None:
        leaving.say(
            session, company.organization_id, person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana",
            effective_at=CLOCK, actor=ADMIN, at=CLOCK, because="test",
        )  # fmt: skip

    in_transaction(act)


@pytest.mark.parametrize("mail", ["bob@x.example", "mara@x.example"])
def test_a_leaver_of_whom_it_is_not_clear_who_it_is_is_parked_once_and_out_when_that_is_clear(
    company: Company, workday: Vendor, api: Answers, mail: str
) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1", "Terminated", **GONE, Work_Email="bob@x.example"))
    for hour in range(3):
        workday.polls(at=CLOCK + timedelta(hours=hour))
    before = [event.state for event in workday.events()]

    says(api, row("1", "Terminated", **GONE, Work_Email=mail))
    workday.polls(at=CLOCK + timedelta(hours=3))

    clear = mail == "mara@x.example"
    assert before == ["parked"]
    assert [event.state for event in workday.events()] == (["parked", "applied"] if clear else ["parked"])
    assert person(company, mara).standing == (Standing.DEPARTED if clear else Standing.ACTIVE)


def test_a_leave_of_absence_pauses_and_the_return_from_it_puts_back(company: Company, workday: Vendor, api: Answers) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1", "On Leave"))
    workday.polls()
    assert person(company, mara).standing == Standing.PAUSED

    says(api, row("1"))
    workday.polls(at=CLOCK + timedelta(hours=1))

    assert person(company, mara).standing == Standing.ACTIVE


LATER = {"Termination_Date": "2026-12-31"}


@pytest.mark.parametrize("notice_first", [True, False])
def test_whoever_is_on_leave_has_no_access_although_their_last_day_is_later_and_has_it_when_they_are_back_before(
    company: Company, workday: Vendor, api: Answers, notice_first: bool
) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    steps = [("Active", LATER)] if notice_first else [("On Leave", {})]
    said = []
    for hour, (status, columns) in enumerate([*steps, ("On Leave", LATER), ("Active", LATER)]):
        says(api, row("1", status, **columns))
        workday.polls(at=CLOCK + timedelta(hours=hour))
        said.append((person(company, mara).standing, str(person(company, mara).access_until)))

    here = (Standing.ACTIVE, "2027-01-01 00:00:00+00:00")
    assert said == [here if notice_first else (Standing.PAUSED, "None"), (Standing.PAUSED, "None"), here]


def test_pages_are_read_until_one_is_empty(installed: Flask, company: Company, api: Answers) -> None:
    gusto = Vendor(installed, company, "gusto", answers=api)
    api.records["/companies/acme/employees"] = []

    assert gusto.polls() is None
    assert api.asked == ["GET /companies/acme/employees?per=100&page=1"]


def test_whoever_is_behind_the_first_page_of_a_list_is_out_as_well(installed: Flask, company: Company, api: Answers) -> None:
    mara = company.joins("mara@x.example", "E-1").person_id
    others = [{"id": str(number), "employeeNumber": f"N-{number}", "roleState": "ACTIVE"} for number in range(250)]
    api.records["/employees/include_terminated"] = [*others, {"id": "mara", "employeeNumber": "E-1", "roleState": "TERMINATED"}]

    assert Vendor(installed, company, "rippling", answers=api).polls() is None

    assert person(company, mara).standing == Standing.DEPARTED


def alarms(company: Company) -> list[str]:
    with reading() as session:
        return list(
            session.scalars(select(Alarm.sentence).where(Alarm.organization_id == company.organization_id, Alarm.closed_at.is_(None)))
        )


def test_an_api_that_cannot_be_read_for_an_hour_is_an_alarm_until_it_can(company: Company, workday: Vendor, api: Answers) -> None:
    api.down = True
    workday.polls(at=CLOCK + timedelta(minutes=30))
    assert alarms(company) == []
    workday.polls(at=CLOCK + timedelta(hours=2))
    assert "could not be read" in alarms(company)[0]

    api.down = False
    says(api, row("1"))
    workday.polls(at=CLOCK + timedelta(hours=3))

    assert alarms(company) == []


@pytest.mark.parametrize(("number", "told"), [("1", ["hr: the records of 1 person here could not be read; the log says which."]), ("9", [])])
def test_a_record_of_somebody_here_that_cannot_be_read_is_an_alarm_until_it_can(
    company: Company, workday: Vendor, api: Answers, number: str, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    company.joins("mara@x.example", "1")
    says(api, row(number, Termination_Date="30.11.2026"))
    workday.polls()
    assert alarms(company) == told
    assert f"not understood, of employee number {number}: Termination_Date must be a date" in caplog.text

    says(api, row(number))
    workday.polls(at=CLOCK + timedelta(minutes=15))

    assert alarms(company) == []


def given_up_meanwhile(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is read, and before anything of it is looked at an administrator has given the system up."""
    everybody = VendorAPI.everybody

    def read_late(api: VendorAPI) -> Iterator[dict[str, Any]]:
        def act(session: Session) -> None:
            source = session.get_one(Source, (vendor.company.organization_id, vendor.source_id))
            ended_sources.end(session, source, reason="its list is wrong", actor=ADMIN, at=CLOCK)

        try:
            yield from everybody(api)
        finally:
            in_transaction(act)

    monkeypatch.setattr(VendorAPI, "everybody", read_late)


def test_what_was_given_up_while_it_was_read_takes_nobody_out(
    company: Company, workday: Vendor, api: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    mara = company.joins("mara@x.example", "1").person_id
    says(api, row("1", **GONE))
    given_up_meanwhile(workday, monkeypatch)

    workday.polls()

    assert (person(company, mara).standing, statements(company)) == (Standing.ACTIVE, 0)


def test_what_was_given_up_while_it_was_read_is_missed_by_nobody(
    company: Company, workday: Vendor, api: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.down = True
    given_up_meanwhile(workday, monkeypatch)

    workday.polls(at=CLOCK + timedelta(hours=2))

    assert alarms(company) == []


def test_an_alarm_that_a_system_is_silent_is_over_once_it_is_given_up(company: Company, workday: Vendor, api: Answers) -> None:
    api.down = True
    workday.polls(at=CLOCK + timedelta(hours=2))
    assert len(alarms(company)) == 1

    def act(session: Session) -> None:
        source = session.get_one(Source, (company.organization_id, workday.source_id))
        ended_sources.end(session, source, reason="another one", actor=ADMIN, at=CLOCK + timedelta(hours=3))

    in_transaction(act)

    assert alarms(company) == []
