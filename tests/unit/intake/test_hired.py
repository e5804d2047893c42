"""HR tells the first day of somebody who was hired: they are expected until then, and a late word lets nobody in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Standing
from app.intake import descriptions
from app.intake.description_types import Event
from app.intake.hr_systems import forget_bodies
from app.intake.tables import HREvent
from app.intake.vendor_calls import Said, say
from app.lifecycle.people import reconsider
from app.revocation.alarm_tables import Alarm
from app.revocation.tables import Departure
from tests.company import Company, new_company
from tests.hr_system import HR, leaving

DAY = (now() + timedelta(days=30)).date()
STARTS = datetime.combine(DAY, datetime.min.time(), UTC)


def hired(number: str, **data: Any) -> dict[str, Any]:
    return {"type": "employee.hired", "timestamp": "2026-11-25T09:00:00Z", "data": {"employee_id": number, "start_date": DAY.isoformat(), **data}}


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def state_of_the_call() -> tuple[str, str | None]:
    with reading() as session:
        event = session.scalars(select(HREvent).order_by(HREvent.received_at.desc())).first()
    assert event is not None
    return event.state, event.problem


def test_whoever_is_in_already_is_expected_until_their_first_day(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())

    answer = HR(installed, company).call(hired("E-1"))

    assert answer.status_code == 200
    assert standing(company, ada.person_id) == Standing.EXPECTED
    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=STARTS))
    assert standing(company, ada.person_id) == Standing.ACTIVE


def test_the_first_day_begins_where_the_call_says(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())

    HR(installed, company).call(hired("E-1", time_zone="Asia/Tokyo"))

    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=STARTS - timedelta(hours=9)))
    assert standing(company, ada.person_id) == Standing.ACTIVE


def test_somebody_whom_no_directory_names_yet_is_awaited_without_an_alarm_and_never_let_in_for_a_moment(installed: Flask) -> None:
    company = new_company()
    answer = HR(installed, company).call(hired("E-7", engagement_id="e-1"))
    assert answer.status_code == 202 and state_of_the_call()[0] == "awaited"

    ada = company.joins("ada@x.example", "E-7", at=now())

    person = company.person(ada)
    assert (person.standing, person.access_epoch) == (Standing.EXPECTED, 1)
    with reading() as session:
        assert session.scalars(select(Departure)).all() == [] and session.scalars(select(Alarm)).all() == []


def test_two_people_of_that_number_are_a_case_for_somebody(installed: Flask) -> None:
    company = new_company()
    hr = HR(installed, company)
    hr.call(hired("E-1", work_email="somebody@else.example"))
    company.joins("ada@x.example", "E-1", at=now())

    hr.call(hired("E-1", work_email="somebody@else.example"), event_id="msg_2")

    assert state_of_the_call()[0] == "parked"


@pytest.mark.parametrize("day", ["2020-02-29", "1999-01-01"])
def test_a_first_day_that_has_come_changes_nothing(installed: Flask, day: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())

    answer = HR(installed, company).call(hired("E-1", start_date=day))

    assert answer.status_code == 200 and state_of_the_call()[0] == "ignored"
    assert standing(company, ada.person_id) == Standing.ACTIVE


@pytest.mark.parametrize("day", ["2020-02-29", DAY.isoformat()])
def test_the_word_of_an_old_hiring_that_comes_late_brings_no_leaver_back(installed: Flask, day: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)
    hr.call(leaving("E-1", revoke_access="immediately"))

    hr.call(hired("E-1", start_date=day), event_id="msg_2")

    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=STARTS + timedelta(days=1)))
    assert standing(company, ada.person_id) == Standing.DEPARTED


def test_a_leaver_who_is_hired_again_is_a_case_for_somebody_until_hr_says_rehired(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)
    hr.call(leaving("E-1", revoke_access="immediately"))
    hr.call(hired("E-1"), event_id="msg_2")
    parked = state_of_the_call()

    hr.call({"type": "employee.rehired", "data": {"employee_id": "E-1"}}, event_id="msg_3")

    assert parked == ("parked", "they have departed: a rehire has to say so, with employee.rehired")
    assert standing(company, ada.person_id) == Standing.ACTIVE


@pytest.mark.parametrize("data", [{"start_date": "2027-02-29"}, {"start_date": "soon"}, {"start_date": 7}, {"time_zone": "Mars"}, {"starts_at": "2030-01-01T09:00"}])
def test_a_first_day_that_cannot_be_read_is_never_guessed(installed: Flask, data: dict[str, Any]) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())

    answer = HR(installed, company).call(hired("E-1", **data))

    assert answer.status_code == 422
    assert standing(company, ada.person_id) == Standing.ACTIVE


def test_a_described_vendors_first_day_is_kept_as_our_own_and_a_newcomer_without_one_is_nothing() -> None:
    described = descriptions.read(descriptions.text_of("standard_webhooks"))
    assert described.event is not None

    said = say(described.event, hired("E-1", time_zone="Asia/Tokyo"), time_zone="UTC", at=now())
    without = Said(event=Event.CREATED, key="k")

    assert said.acts and said.as_own() == {
        "type": "employee.hired", "data": {"employee_id": "E-1", "starts_at": (STARTS - timedelta(hours=9)).isoformat()}
    }  # fmt: skip
    assert not without.acts and without.as_own()["type"] == "employee.created"


# What came stays encrypted, for a while


def test_the_body_of_a_call_goes_when_its_time_is_over_and_its_hash_stays(installed: Flask) -> None:
    company = new_company()
    company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)
    hr.call(leaving("E-1", revoke_access="immediately", reason="parental leave"))
    hr.call(leaving("E-404", revoke_access="immediately", reason="parental leave"), event_id="msg_2")
    in_transaction(lambda s: s.execute(update(HREvent).values(received_at=now() - timedelta(days=10))))

    def prune(days: int) -> int:
        return in_transaction(lambda s: forget_bodies(s, before=now() - timedelta(days=days)))

    assert (prune(30), prune(7), prune(7)) == (0, 1, 0)
    with reading() as session:
        kept = {one.event_id: one for one in session.scalars(select(HREvent))}
    assert kept["msg_1"].sealed_body is None and len(kept["msg_1"].sha256) == 64
    assert kept["msg_2"].sealed_body is not None, "nobody has decided on it"
    assert all("parental" not in str(one.body) and b"parental" not in (one.sealed_body or b"") for one in kept.values())
