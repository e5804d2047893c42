"""HR calls through the real door: who is believed, when access ends, and what a repetition does."""

import base64
import json
import random
import string
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.sealing import unseal
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, RecordEmail, Source, Standing
from app.intake.hr import BadCall, read, try_again
from app.intake.tables import HREvent
from app.journal.tables import Organization
from app.lifecycle import brake
from app.lifecycle import leaving as verbs
from app.lifecycle.reinstating import reinstate
from app.lifecycle.sources import revoke, rotate, set_setting
from tests.company import ADMIN, Company, new_company
from tests.hr_system import HR, leaving


def away(number: str, **data: Any) -> dict[str, Any]:
    return {"type": "employee.on_leave", "data": {"employee_id": number, **data}}


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def test_a_signed_call_takes_access_before_it_is_answered(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")

    answer = HR(installed, company).call(leaving("E-1", work_email="Ada@X.example", revoke_access="immediately"))

    assert answer.status_code == 200
    assert standing(company, ada.person_id) == Standing.DEPARTED


@pytest.mark.parametrize("spoil", ["one byte", "another secret", "stale", "early", "no signature", "odd signature"])
def test_a_call_that_is_not_surely_from_hr_does_nothing(installed: Flask, spoil: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    hr = HR(installed, company)
    event = leaving("E-1", revoke_access="immediately")

    if spoil == "one byte":
        answer = hr.call(event, body=json.dumps(event).encode().replace(b"E-1", b"E-2"))
    elif spoil == "another secret":
        hr.secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
        answer = hr.call(event)
    elif spoil in ("stale", "early"):
        answer = hr.call(event, age=400 if spoil == "stale" else -400)
    else:
        signature = {} if spoil == "no signature" else {"webhook-signature": "v1,ä=,x"}
        answer = installed.test_client().post(
            hr.url, data=b"{}", headers={"webhook-id": "m", "webhook-timestamp": str(int(time.time())), **signature}
        )

    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert standing(company, ada.person_id) == Standing.ACTIVE
    with reading() as session:
        assert session.scalars(select(HREvent)).all() == []


def test_a_repeated_delivery_is_answered_and_has_no_second_effect(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    hr = HR(installed, company)
    hr.call(leaving("E-1", revoke_access="immediately"))
    hr.call({"type": "employee.rehired", "data": {"employee_id": "E-1", "engagement_id": "2"}}, event_id="msg_2")
    assert standing(company, ada.person_id) == Standing.ACTIVE

    answer = hr.call(leaving("E-1", revoke_access="immediately"))

    assert answer.status_code == 200
    assert standing(company, ada.person_id) == Standing.ACTIVE


def test_a_last_day_that_is_told_after_access_was_revoked_lets_nobody_in_again(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    hr = HR(installed, company)
    hr.call(leaving("E-1", revoke_access="immediately"))

    answer = hr.call(leaving("E-1", last_day_of_work="2199-12-31"), event_id="msg_2")

    assert answer.status_code == 200
    assert standing(company, ada.person_id) == Standing.DEPARTED


def test_a_leave_pauses_and_calling_it_off_puts_back(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    hr = HR(installed, company)

    hr.call(away("E-1"))
    assert standing(company, ada.person_id) == Standing.PAUSED

    hr.call({"type": "employee.termination_cancelled", "data": {"employee_id": "E-1"}}, event_id="msg_2")
    assert standing(company, ada.person_id) == Standing.ACTIVE


@pytest.mark.parametrize(
    ("first", "then", "stands"),
    [
        (leaving("E-1", revoke_access="immediately"), away("E-1", revoke_access="2199-12-31T00:00:00Z"), "departed"),
        (away("E-1"), leaving("E-1", last_day_of_work="2199-12-31"), "paused"),
    ],
)
def test_a_leave_or_a_last_day_that_is_told_of_somebody_who_is_out_lets_nobody_in_until_then(
    installed: Flask, first: dict[str, Any], then: dict[str, Any], stands: str
) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)
    hr.call(first)
    assert standing(company, ada.person_id) == stands

    answer = hr.call(then, event_id="msg_2")

    assert answer.status_code == 200
    assert standing(company, ada.person_id) == stands


@pytest.mark.parametrize(
    "calls",
    [
        [("terminated", {"engagement_id": "e-7", "last_day_of_work": "2199-12-31"}), ("termination_cancelled", {})],
        [("on_leave", {}), ("termination_cancelled", {})],
        [("terminated", {"engagement_id": "e-7", "revoke_access": "immediately"}), ("rehired", {})],
        [("terminated", {"last_day_of_work": "2199-12-31"})],
    ],
)
def test_a_termination_that_names_its_engagement_takes_effect_after_calls_that_name_none(
    installed: Flask, calls: list[tuple[str, dict[str, str]]]
) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)
    for number, (kind, data) in enumerate(calls):
        hr.call({"type": f"employee.{kind}", "data": {"employee_id": "E-1", **data}}, event_id=f"before_{number}")
    assert standing(company, ada.person_id) == Standing.ACTIVE

    hr.call(leaving("E-1", engagement_id="e-7", revoke_access="immediately"))

    assert standing(company, ada.person_id) == Standing.DEPARTED


@pytest.mark.parametrize("first", [leaving("E-1", engagement_id="e-1", revoke_access="immediately"), away("E-1", engagement_id="e-1")])
def test_the_last_day_of_an_engagement_that_hr_names_when_they_are_out_lets_nobody_in_and_counts(installed: Flask, first: dict[str, Any]) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)
    hr.call(first)
    out = standing(company, ada.person_id)

    hr.call(leaving("E-1", engagement_id="e-2", last_day_of_work="2199-12-31"), event_id="msg_2")
    then = standing(company, ada.person_id)
    person = in_transaction(
        lambda s: reinstate(s, company.organization_id, ada.person_id, said_by="ana", actor=ADMIN, at=now(), reason="not yet")
    )

    assert out != Standing.ACTIVE and then == out
    assert (person.standing, str(person.access_until)) == (Standing.ACTIVE, "2200-01-01 00:00:00+00:00")


# What the brake holds


@pytest.fixture
def braked(installed: Flask) -> Company:
    """A company whose HR system takes nobody's access by itself."""
    company = new_company()
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "0/60s", actor=ADMIN, at=now()))
    return company


def decide_on_what_waits(company: Company, verb: Callable[..., list[str]]) -> None:
    def act(session: Session) -> None:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        verb(session, held, lines, actor=ADMIN, at=now())

    in_transaction(act)


@pytest.mark.parametrize("told", ["while it waits", "after that"])
@pytest.mark.parametrize("engagement", ["", "e-2"])
def test_a_last_day_counts_though_an_earlier_termination_was_rejected(installed: Flask, braked: Company, told: str, engagement: str) -> None:
    ada = braked.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, braked)
    hr.call(leaving("E-1", engagement_id="e-1", revoke_access="immediately"))
    corrected = leaving("E-1", last_day_of_work="2199-12-31", **({"engagement_id": engagement} if engagement else {}))

    if told == "after that":
        decide_on_what_waits(braked, verbs.reject)
    hr.call(corrected, event_id="msg_2")
    if told == "while it waits":
        decide_on_what_waits(braked, verbs.reject)

    person = braked.person(ada)
    assert (person.standing, str(person.access_until)) == (Standing.ACTIVE, "2200-01-01 00:00:00+00:00")


def test_a_termination_that_is_let_through_counts_though_a_last_day_was_told_meanwhile(installed: Flask, braked: Company) -> None:
    ada = braked.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, braked)
    hr.call(leaving("E-1", revoke_access="immediately"))
    hr.call(leaving("E-1", last_day_of_work="2199-12-31"), event_id="msg_2")

    decide_on_what_waits(braked, verbs.release)

    assert braked.person(ada).standing == Standing.DEPARTED


def test_what_is_not_acted_on_is_kept_sealed_alone(installed: Flask) -> None:
    company = new_company()
    company.joins("ada@x.example", "E-1")

    HR(installed, company).call(leaving("E-1", reason="involuntary", revoke_access="immediately"))

    with reading() as session:
        event = session.scalars(select(HREvent)).one()
    assert "reason" not in event.body["data"]
    assert event.sealed_body is not None and b"involuntary" not in event.sealed_body
    assert "involuntary" in unseal(installed.config["DOORLIST"], event.sealed_body)


def test_an_unknown_employee_is_parked_and_the_call_applied_when_they_appear(installed: Flask) -> None:
    company = new_company()
    answer = HR(installed, company).call(leaving("E-7", revoke_access="immediately"))
    assert answer.status_code == 202

    late = company.joins("late@x.example", "E-7", at=now())

    assert standing(company, late.person_id) == Standing.DEPARTED


def test_calls_that_waited_for_their_person_are_applied_in_the_order_in_which_they_came(installed: Flask) -> None:
    company = new_company()
    hr = HR(installed, company)
    hr.call(leaving("E-7", revoke_access="immediately"))
    hr.call({"type": "employee.rehired", "data": {"employee_id": "E-7", "engagement_id": "2"}}, event_id="msg_2")

    late = company.joins("late@x.example", "E-7", at=now())

    assert standing(company, late.person_id) == Standing.ACTIVE


@pytest.mark.parametrize(
    ("first", "then", "stands"),
    [
        (leaving("E-7", revoke_access="immediately"), leaving("E-7", last_day_of_work="2199-12-31"), "departed"),
        (leaving("E-7", last_day_of_work="2020-12-31"), leaving("E-7", last_day_of_work="2199-12-31"), "departed"),
        (leaving("E-7", revoke_access="immediately", engagement_id="1"), leaving("E-7", last_day_of_work="2199-12-31", engagement_id="2"), "departed"),
        (away("E-7"), away("E-7", revoke_access="2199-12-31T00:00:00Z"), "paused"),
        (leaving("E-7", last_day_of_work="2199-11-30"), leaving("E-7", last_day_of_work="2199-12-31"), "active"),
    ],
)
def test_a_day_that_was_told_of_a_leaver_lets_nobody_in_until_then_where_both_calls_waited(
    installed: Flask, first: dict[str, Any], then: dict[str, Any], stands: str
) -> None:
    company = new_company()
    hr = HR(installed, company)
    hr.call(first)
    hr.call(then, event_id="msg_2")

    late = company.joins("late@x.example", "E-7", at=now())

    assert standing(company, late.person_id) == stands


def test_a_last_day_that_passed_while_the_calls_waited_is_put_off_by_a_later_one_that_came_before_it(installed: Flask) -> None:
    company = new_company()
    hr = HR(installed, company)
    hr.call(leaving("E-7", last_day_of_work="2199-11-30"))
    hr.call(leaving("E-7", last_day_of_work="2199-12-31"), event_id="msg_2")

    late = company.joins("late@x.example", "E-7", at=datetime.fromisoformat("2199-12-05T00:00:00Z"))

    assert standing(company, late.person_id) == Standing.ACTIVE


def test_a_cancellation_that_waited_calls_off_nothing_that_was_said_after_it(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    hr = HR(installed, company)
    cancelled = {"type": "employee.termination_cancelled", "data": {"employee_id": "E-1", "work_email": "ada.new@x.example"}}
    assert hr.call(cancelled).status_code == 202
    hr.call(leaving("E-1", last_day_of_work="2199-12-31"), event_id="msg_2")

    def corrected(session: Session) -> None:
        session.add(RecordEmail(organization_id=company.organization_id, record_id=ada.id, address_key="ada.new@x.example"))
        session.flush()
        event = session.scalars(select(HREvent).where(HREvent.state == "parked")).one()
        try_again(session, session.get_one(Source, (company.organization_id, hr.source_id)), event, at=now())
        assert event.state == "applied"

    in_transaction(corrected)

    assert str(company.person(ada).access_until) == "2200-01-01 00:00:00+00:00"


def test_an_address_that_contradicts_parks_the_call(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")

    answer = HR(installed, company).call(leaving("E-1", work_email="bob@x.example", revoke_access="immediately"))

    assert answer.status_code == 202
    assert standing(company, ada.person_id) == Standing.ACTIVE
    with reading() as session:
        assert "not with the address" in (session.scalars(select(HREvent.problem)).one() or "")


def test_both_secrets_are_good_while_one_is_being_changed_over_and_none_after_revoking(installed: Flask) -> None:
    company = new_company()
    company.joins("ada@x.example", "E-1")
    hr = HR(installed, company)
    settings = installed.config["DOORLIST"]

    def source(session: Any) -> Source:
        found = session.get_one(Source, (company.organization_id, hr.source_id))
        assert isinstance(found, Source)
        return found

    in_transaction(lambda session: rotate(session, source(session), settings=settings, actor=ADMIN, at=now()))
    assert hr.call(leaving("E-1", revoke_access="immediately")).status_code == 200

    in_transaction(lambda session: revoke(session, source(session), actor=ADMIN, at=now()))
    assert hr.call(leaving("E-1", revoke_access="immediately"), event_id="msg_3").status_code == 401


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"last_day_of_work": "2026-03-28", "time_zone": "Europe/Berlin"}, "2026-03-28T23:00:00+00:00"),
        # The clocks go forward in the night of the 29th: the last day is an hour shorter, and ends when it ends there.
        ({"last_day_of_work": "2026-03-29", "time_zone": "Europe/Berlin"}, "2026-03-29T22:00:00+00:00"),
        ({"last_day_of_work": "2028-02-29", "time_zone": "America/Denver"}, "2028-03-01T07:00:00+00:00"),
        ({"termination_date": "2026-12-31"}, "2026-12-31T23:00:00+00:00"),
        ({"revoke_access": "2026-12-01T17:00:00+01:00"}, "2026-12-01T16:00:00+00:00"),
    ],
)
def test_access_ends_at_the_end_of_the_last_day_there_or_at_the_instant_given(data: dict[str, str], expected: str) -> None:
    call = read(json.dumps(leaving("E-1", **data)).encode(), "m", time_zone="Europe/Paris")

    assert call.effective_at is not None
    assert call.effective_at == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ({"type": "employee.fired", "data": {"employee_id": "E-1"}}, "type must be"),
        ({"type": "employee.terminated", "data": {}}, "employee_id"),
        (leaving("E-1", last_day_of_work="31.12.2026"), "last_day_of_work"),
        (leaving("E-1", termination_date="2026-02-29"), "data.termination_date must be a date"),
        (leaving("E-1", last_day_of_work="2026-W48"), "data.last_day_of_work must be a date"),
        (leaving("E-1", last_day_of_work="2026-12-31", time_zone="Mars/Base"), "time_zone"),
        (leaving("E-1", revoke_access="2026-12-31T12:00:00"), "revoke_access"),
        (leaving("E-1", last_day_of_work="9999-12-31"), "last_day_of_work"),
        (leaving("E-1", revoke_access="9999-12-31T23:59:59-12:00"), "revoke_access"),
        (leaving("E-1", revoke_access="0001-01-01T00:00:00+14:00"), "revoke_access"),
        ({"type": "employee.hired", "data": {"employee_id": "E-1", "starts_at": "9999-12-31T23:59:59-12:00"}}, "starts_at"),
        ([], "must be an object"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused_with_what_was_wrong(event: Any, names: str) -> None:
    with pytest.raises(BadCall, match=names):
        read(json.dumps(event).encode(), "m", time_zone="UTC")


@pytest.mark.parametrize("field", ["webhook-id", "employee_id"])
def test_what_is_too_long_to_be_found_by_is_refused_on_either_database(installed: Flask, field: str) -> None:
    hr = HR(installed, new_company())
    longest = "".join(random.Random(0).choices(string.ascii_letters, k=2048))

    def call(text: str) -> TestResponse:
        event_id, number = (text, "E-1") if field == "webhook-id" else ("msg_1", text)
        return hr.call(leaving(number, revoke_access="immediately"), event_id=event_id)

    taken, refused = call(longest), call(longest + "a")

    assert (taken.status_code, refused.status_code) == (202, 422)
    assert field in refused.get_json()["detail"]
