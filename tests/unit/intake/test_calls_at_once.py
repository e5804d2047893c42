"""An HR call and whoever gets the number that it names, at the same time: whichever is first, the call does not go on waiting for somebody who is here."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, Source, Standing
from app.intake import hr
from app.intake.tables import HREvent
from app.lifecycle.answering import answer
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.records import add_record, change_record
from tests.company import ADMIN, OKTA, Company, another_source, document, new_company
from tests.hr_system import HR, leaving
from tests.hr_vendor import CLOCK, Answers, Vendor
from tests.two_at_once import meanwhile
from tests.unit.intake.pulled_company import pulled_company
from tests.unit.intake.scripted_directory import person

LEAVES = leaving("E-1", revoke_access="immediately")
HIRED = {"type": "employee.hired", "data": {"employee_id": "E-1", "start_date": (now() + timedelta(days=30)).date().isoformat()}}
BOTH = pytest.mark.parametrize(("event", "becomes"), [(LEAVES, Standing.DEPARTED), (HIRED, Standing.EXPECTED)], ids=["terminated", "hired"])


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def calls() -> list[tuple[str, str | None]]:
    """What became of each, and why."""
    with reading() as session:
        return [(event.state, event.problem) for event in session.scalars(select(HREvent))]


# For a transaction of the caller's own, as another process would have it open.


def joining(company: Company, number: str | None = "E-1", *, source_id: str | None = None, user_name: str = "ada@x.example") -> Callable[[Session], Record]:
    said = RecordDraft(external_id=user_name, user_name=user_name, active=True, document=document(user_name, number))
    return lambda session: add_record(
        session, company.organization_id, source_id or company.source_id, said, actor=OKTA, at=now(), because="push"
    )  # fmt: skip


def numbering(company: Company, record: Record, number: str) -> Callable[[Session], Record]:
    said = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=True, document=document(record.user_name, number))
    return lambda session: change_record(
        session, company.organization_id, company.source_id, record.id, said, actor=OKTA, at=now(), because="push"
    )  # fmt: skip


def hearing(system: HR, event: dict[str, Any]) -> Callable[[Session], HREvent]:
    body = json.dumps(event).encode()

    def act(session: Session) -> HREvent:
        source = session.get_one(Source, (system.company.organization_id, system.source_id))
        return hr.receive(session, source, hr.read(body, "msg_1", time_zone="UTC"), body, at=now())

    return act


@BOTH
def test_a_call_that_comes_while_its_person_joins_is_applied(installed: Flask, company: Company, event: dict[str, Any], becomes: Standing) -> None:
    system = HR(installed, company)

    ada, answered = meanwhile(installed, joining(company), lambda: system.call(event))

    assert (answered.status_code, answered.json) == (200, {"state": "applied"})
    assert standing(company, ada.person_id) == becomes


@BOTH
def test_whoever_joins_while_a_call_comes_that_is_about_them_is_never_in(installed: Flask, company: Company, event: dict[str, Any], becomes: Standing) -> None:
    system = HR(installed, company)

    _, ada = meanwhile(installed, hearing(system, event), lambda: in_transaction(joining(company)))

    assert (standing(company, ada.person_id), calls()) == (becomes, [("applied", None)])


@pytest.mark.parametrize("known", [True, False])
def test_the_same_call_twice_at_once_is_answered_as_the_first_and_done_once(installed: Flask, company: Company, known: bool) -> None:
    system = HR(installed, company)
    if known:
        company.joins("ada@x.example", "E-1")

    first, second = meanwhile(installed, hearing(system, LEAVES), lambda: system.call(LEAVES))

    assert (second.status_code, second.json) == ((200, {"state": "applied"}) if known else (202, {"state": "parked"}))
    assert [state for state, _ in calls()] == [first.state]


def test_a_call_that_comes_while_somebody_gets_the_number_is_applied(installed: Flask, company: Company) -> None:
    system, ada = HR(installed, company), company.joins("ada@x.example")

    _, answered = meanwhile(installed, numbering(company, ada, "E-1"), lambda: system.call(LEAVES))

    assert answered.json == {"state": "applied"}
    assert standing(company, ada.person_id) == Standing.DEPARTED


def test_whoever_gets_the_number_while_a_call_comes_is_out(installed: Flask, company: Company) -> None:
    system, ada = HR(installed, company), company.joins("ada@x.example")

    meanwhile(installed, hearing(system, LEAVES), lambda: in_transaction(numbering(company, ada, "E-1")))

    assert (standing(company, ada.person_id), calls()) == (Standing.DEPARTED, [("applied", None)])


def test_whoever_is_pulled_while_a_call_comes_that_is_about_them_is_never_in(installed: Flask) -> None:
    corp = pulled_company()
    corp.directory.put(person("ada", number="E-1"), person("bob", number="E-2"))

    meanwhile(installed, hearing(HR(installed, corp.company), LEAVES), corp.pull)

    assert corp.standing() == {"ada@x.example": Standing.DEPARTED, "bob@x.example": Standing.ACTIVE}


@pytest.mark.parametrize("first", ["the call", "the answer"])
def test_a_call_that_comes_while_two_of_its_number_turn_out_to_be_one_is_applied(installed: Flask, company: Company, first: str) -> None:
    system = HR(installed, company)
    ada = company.joins("ada@x.example", "E-1")
    again = in_transaction(joining(company, source_id=another_source(company, "entra"), user_name="lovelace@y.example"))
    assert again.person_id != ada.person_id

    def same(session: Session) -> Person:
        return answer(session, company.organization_id, 1, same_as=ada.person_id, actor=ADMIN, at=now())

    def call() -> TestResponse:
        return system.call(LEAVES)

    if first == "the call":
        meanwhile(installed, hearing(system, LEAVES), lambda: in_transaction(same))
    else:
        meanwhile(installed, same, call)

    assert (standing(company, ada.person_id), calls()) == (Standing.DEPARTED, [("applied", None)])


def test_a_leaver_in_a_list_who_joins_just_then_with_another_address_is_somebodys_to_look_at(installed: Flask, company: Company, api: Answers) -> None:
    workday = Vendor(installed, company, "workday", answers=api)
    gone = {"Employee_ID": "E-1", "Worker_Status": "Terminated", "Is_Rescinded": "0", "Termination_Date": "2026-11-25"}
    api.records["/o/r"] = {"Report_Entry": [{**gone, "Work_Email": "lovelace@y.example"}]}

    meanwhile(installed, joining(company), lambda: workday.polls(at=CLOCK))

    assert [event.state for event in workday.events()] == ["parked"]
