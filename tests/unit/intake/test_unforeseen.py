"""Calls and systems that something is wrong with: a person has to look at each, and it keeps nobody else waiting."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

from flask import Flask
from sqlalchemy import select, update

from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing
from app.intake import descriptions, polling
from app.intake.hr_tables import HRSystem
from app.intake.schemes import Request
from app.intake.tables import HREvent
from app.lifecycle.sources import secrets_of
from app.revocation.alarm_tables import Alarm
from tests.company import Company, new_company
from tests.hr_system import HR, leaving
from tests.hr_vendor import CLOCK, Answers, Vendor, description_file, sample, vendor_api

SECRET = "s" * 20
WITH_IDS = """vendor: A
signature: {scheme: hmac, header: X-S}
event_id: id
event:
  number: number
  means:
    - {when: {type: left}, event: revoke now}
"""

LEFT = {"id": "20417", "status": "Inactive", "terminationDate": "2026-11-24", "employeeNumber": "E-1"}


def described(app: Flask, company: Company, text: str, *, answers: Answers | None = None) -> Vendor:
    described_as = text if answers is None else text.replace("https://api.a.example", answers.url)
    return Vendor(app, company, "deel", secret=SECRET, answers=answers, change=(descriptions.text_of(description_file("deel")), described_as))


def signed(document: dict[str, str]) -> Request:
    body = json.dumps(document).encode()
    return Request(method="POST", headers={"x-s": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}, body=body)


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def test_a_call_that_has_the_id_of_a_handshake_is_a_call(installed: Flask, company: Company, mara: str) -> None:
    hr = described(installed, company, WITH_IDS)

    state = hr.hears(signed({"id": "handshake:1", "type": "left", "number": "E-1"}))

    assert (state, hr.works(), standing(company, mara)) == ("applied", 0, Standing.DEPARTED)


def test_a_thin_call_that_has_the_id_of_a_handshake_is_asked_about_as_any_other(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    one = sample("bamboohr_employee_updated_event")
    hr = Vendor(installed, company, "bamboohr", secret=one.secret, answers=api, change=("event:\n", "event_id: header:x-id\nevent:\n"))
    api.records["/employees/20417"] = LEFT

    hr.hears(Request(method="POST", headers={**one.request.headers, "x-id": "handshake:1"}, body=one.request.body))
    hr.works()

    assert ([event.state for event in hr.events()], standing(company, mara)) == (["applied"], Standing.DEPARTED)


def waits(hr: Vendor, event_id: str, body: dict[str, object]) -> None:
    """Somebody is said to come back, in words that are none."""
    row = HREvent(
        organization_id=hr.company.organization_id, source_id=hr.source_id, event_id=event_id, received_at=CLOCK, sha256="", body=body, state="waiting",
        due_at=CLOCK, attempts=0,
    )  # fmt: skip
    in_transaction(lambda session: session.add(row))


def test_a_call_that_cannot_be_worked_on_is_parked_and_the_next_has_its_turn(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    hr = Vendor(installed, company, "bamboohr", secret=sample("bamboohr_employee_updated_event").secret, answers=api)
    waits(hr, "a broken one", {"type": "nonsense"})
    api.records["/employees/20417"] = LEFT
    hr.hears(sample("bamboohr_employee_updated_event").request)

    assert hr.works() == 2

    found = {event.event_id: event for event in hr.events()}
    broken = found.pop("a broken one")
    assert (broken.state, broken.due_at, "the log says more" in (broken.problem or "")) == ("parked", None, True)
    assert ([event.state for event in found.values()], standing(company, mara)) == (["applied"], Standing.DEPARTED)


THIN = """vendor: A
signature: {scheme: hmac, header: X-S}
event: {key: id, means: [{event: changed, fetch: true}]}
api: {url: "https://api.a.example", credential: bearer}
details: {path: "/people/{key}"}
record: {key: id, number: number, means: [{event: revoke now}]}
"""


def test_a_vendor_that_does_not_answer_keeps_no_other_vendors_calls_waiting(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    with vendor_api() as silent:
        slow = described(installed, company, THIN, answers=silent)
        silent.down = True
        for number in range(5):
            slow.hears(signed({"id": str(number)}), at=CLOCK - timedelta(minutes=1))
        other = described(installed, new_company(), THIN, answers=api)
        ada = other.company.joins("ada@y.example", "E-9").person_id
        api.records["/people/9"] = {"id": "9", "number": "E-9"}
        other.hears(signed({"id": "9"}))

        slow.works()

        assert standing(other.company, ada) == Standing.DEPARTED
        assert len(set(silent.asked)) == 1
        silent.down, silent.records = False, {f"/people/{number}": {"id": str(number), "number": f"N-{number}"} for number in range(4)}
        silent.records["/people/4"] = {"id": "4", "number": "E-1"}
        slow.works(at=CLOCK + timedelta(minutes=1))

    assert standing(company, mara) == Standing.DEPARTED
    assert [event.due_at for event in slow.events()] == [None] * 5


def test_a_call_that_is_signed_and_too_long_where_simulations_are_told_is_parked(installed: Flask, company: Company, mara: str) -> None:
    vendor = described(installed, company, f"{WITH_IDS}ignore: {{note: simulation}}\n")

    state = vendor.hears(signed({"id": "1", "number": "E-1", "type": "left", "note": "n" * 501}))

    assert (state, standing(company, mara)) == ("parked", Standing.ACTIVE)
    assert [event.problem for event in vendor.events()] == ["not understood, of employee number E-1: note must be a text of at most 500 characters"]


def test_a_call_that_is_not_understood_any_more_keeps_out_nobody_who_joins(installed: Flask, company: Company) -> None:
    assert HR(installed, company).call(leaving("E-9", last_day_of_work="2199-12-31")).status_code == 202
    # As one is that an earlier release took.
    in_transaction(lambda session: session.execute(update(HREvent).values(body=leaving("E-9", last_day_of_work="2199-W48-1"))))

    ada = company.joins("ada@x.example", "E-9")

    assert standing(company, ada.person_id) == Standing.ACTIVE
    with reading() as session:
        waiting = session.scalars(select(HREvent)).one()
    assert (waiting.state, str(waiting.problem).partition(":")[0]) == ("parked", "not understood any more")


def test_a_handshake_that_its_vendor_does_not_know_is_shown_once(installed: Flask, company: Company, api: Answers) -> None:
    hr = Vendor(installed, company, "gusto", answers=api)
    hr.hears(sample("gusto_verification_handshake").request)

    for hour in range(3):
        hr.works(at=CLOCK + timedelta(hours=hour))

    event = hr.events()[0]
    assert (len(api.asked), event.state, "is not of Gusto" in (event.problem or "")) == (1, "parked", True)


def test_the_secret_of_a_handshake_may_stand_anywhere_in_it(installed: Flask, company: Company, api: Answers) -> None:
    change = ("token: verification_token", "token: data.token")
    hr = Vendor(installed, company, "gusto", answers=api, change=change)
    text = hr.system().description.replace("{verification_token: verification_token}", "{verification_token: data.token}")

    def say_anew() -> None:
        in_transaction(lambda session: setattr(session.get_one(HRSystem, (company.organization_id, hr.source_id)), "description", text))

    say_anew()
    api.takes_back.add("whsec-1")
    body = json.dumps({"webhook_subscription_uuid": "1", "data": {"token": "whsec-1"}}).encode()

    hr.hears(Request(method="POST", headers={}, body=body))
    hr.works()

    with reading() as session:
        source = session.get_one(Source, (company.organization_id, hr.source_id))
        assert "whsec-1" in secrets_of(source, settings=hr.settings)
    assert [event.state for event in hr.events()] == ["applied"]


def alarms(company: Company) -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Alarm.sentence).where(Alarm.organization_id == company.organization_id, Alarm.closed_at.is_(None))))


def breaks(hr: Vendor) -> None:
    """Its description was good once, and is read no more."""
    key = (hr.company.organization_id, hr.source_id)
    in_transaction(lambda session: setattr(session.get_one(HRSystem, key), "description", "vendor: A\nevent: gone\n"))


def test_a_description_that_cannot_be_read_any_more_stops_that_system_alone(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    beside = new_company()
    broken = Vendor(installed, beside, "bamboohr", secret=sample("bamboohr_employee_updated_event").secret, answers=api)
    broken.hears(sample("bamboohr_employee_updated_event").request)
    breaks(broken)
    workday = Vendor(installed, company, "workday", answers=api)
    api.records["/o/r"] = {"Report_Entry": [{"Employee_ID": "E-1", "Worker_Status": "Terminated"}]}

    broken.works()
    polling.look(workday.settings, clock=lambda: CLOCK)

    assert standing(company, mara) == Standing.DEPARTED
    assert [event.state for event in broken.events()] == ["parked"]
    assert (len(alarms(beside)), alarms(company)) == (1, [])
    assert "cannot be read any more: line 2" in alarms(beside)[0]


def test_a_call_by_a_description_that_cannot_be_read_any_more_is_to_come_again(installed: Flask, company: Company) -> None:
    hr = described(installed, company, WITH_IDS)
    breaks(hr)

    answer = installed.test_client().post(f"/hr/{hr.source_id}", data=b"{}")

    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
