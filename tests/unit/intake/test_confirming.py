"""Calls that wait for the vendor's own word."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from flask import Flask

from app.commands import housekeeping
from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing
from app.intake import hr_systems
from app.intake.hr import link
from app.intake.schemes import Request
from app.lifecycle.sources import secrets_of
from tests.company import ADMIN, Company
from tests.hr_vendor import CLOCK, Answers, Vendor, sample

GUSTO = "bcfc9744-0ab3-4ef3-ab0d-e728255d659c"
LATER = CLOCK + timedelta(hours=2)


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def connected(app: Flask, company: Company, api: Answers, name: str) -> Vendor:
    return Vendor(app, company, name, secret=sample(name).secret, answers=api)


def bamboo(status: str, ended: str = "0000-00-00", *, number: str = "E-1", email: str = "mara@x.example") -> dict[str, str]:
    return {"id": "20417", "status": status, "terminationDate": ended, "employeeNumber": number, "workEmail": email}


def gusto(ended: str | None, *, active: bool = False, terminated: bool = False) -> dict[str, object]:
    """Of a termination `active` says that it has gone into effect (docs.gusto.com, the model *Termination*)."""
    terminations = [{"effective_date": ended, "active": active}] if ended else []
    return {"uuid": GUSTO, "employee_code": "E-1", "work_email": "mara@x.example", "terminated": terminated, "terminations": terminations}


def signed_by_gusto(kind: str) -> Request:
    body = json.dumps({"uuid": kind, "event_type": kind, "entity_type": "Employee", "entity_uuid": GUSTO}).encode()
    secret = sample("gusto_terminated").secret.encode()
    return Request(method="POST", headers={"x-gusto-signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}, body=body)


def test_a_thin_call_is_answered_at_once_and_its_record_decides(installed: Flask, company: Company, api: Answers, mara: str) -> None:
    hr = connected(installed, company, api, "bamboohr_employee_updated_event")
    api.records["/employees/20417"] = bamboo("Inactive", "2026-11-24")

    assert hr.hears(sample("bamboohr_employee_updated_event").request) == "received"
    assert (api.asked, standing(company, mara)) == ([], Standing.ACTIVE)
    hr.works()

    assert standing(company, mara) == Standing.DEPARTED
    assert [event.state for event in hr.events()] == ["applied"]


def test_a_termination_that_is_entered_ahead_waits_for_its_day_and_a_cancelled_one_is_called_off(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    hr = connected(installed, company, api, "gusto_terminated")
    api.records[f"/employees/{GUSTO}"] = gusto("2026-12-31")
    hr.hears(sample("gusto_terminated").request)
    hr.works()
    with reading() as session:
        assert str(session.get_one(Person, (company.organization_id, mara)).access_until) == "2027-01-01 00:00:00+00:00"

    hr.hears(sample("gusto_termination_cancelled").request, at=LATER)

    with reading() as session:
        assert session.get_one(Person, (company.organization_id, mara)).access_until is None


def test_who_was_hired_again_stays_in_although_the_termination_of_before_stands_in_the_record(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    hr = connected(installed, company, api, "gusto_terminated")
    api.records[f"/employees/{GUSTO}"] = gusto("2026-11-20", active=True, terminated=True)
    hr.hears(sample("gusto_terminated").request)
    hr.works()
    assert standing(company, mara) == Standing.DEPARTED

    api.records[f"/employees/{GUSTO}"] = gusto("2026-11-20", active=True)
    hr.hears(signed_by_gusto("employee.rehire_effective"), at=LATER)
    hr.hears(signed_by_gusto("employee.updated"), at=LATER + timedelta(minutes=1))
    hr.works(at=LATER + timedelta(minutes=1))

    assert standing(company, mara) == Standing.ACTIVE


def test_a_signed_word_of_somebody_known_does_not_wait_for_the_vendors_api(
    installed: Flask, company: Company, api: Answers, mara: str
) -> None:
    hr = connected(installed, company, api, "gusto_terminated")
    api.records[f"/employees/{GUSTO}"] = gusto("2026-12-31")
    hr.hears(sample("gusto_terminated").request)
    hr.works()
    api.down = True

    assert hr.hears(sample("gusto_termination_effective").request, at=LATER) == "applied"
    assert standing(company, mara) == Standing.DEPARTED


def test_an_api_that_is_down_is_asked_again_until_it_answers(installed: Flask, company: Company, api: Answers, mara: str) -> None:
    hr = connected(installed, company, api, "bamboohr_employee_updated_event")
    api.down = True
    hr.hears(sample("bamboohr_employee_updated_event").request)
    hr.works()
    assert "not confirmed yet" in (hr.events()[0].problem or "")

    api.down = False
    api.records["/employees/20417"] = bamboo("Inactive", "2026-11-24")
    assert hr.works() == 0
    assert hr.works(at=CLOCK + timedelta(minutes=1)) == 1

    assert standing(company, mara) == Standing.DEPARTED


@pytest.mark.parametrize(
    "record",
    [bamboo("Inactive", number="E-9"), bamboo("Inactive", email="bob@x.example"), {**bamboo("Inactive"), "id": "7"}, bamboo("Active")],
)
def test_a_record_that_means_nobody_somebody_else_or_says_no_such_thing_ends_nobody(
    installed: Flask, company: Company, api: Answers, mara: str, record: dict[str, str]
) -> None:
    hr = connected(installed, company, api, "bamboohr_employee_updated_event")
    api.records["/employees/20417"] = record

    hr.hears(sample("bamboohr_employee_updated_event").request)
    hr.works()

    assert standing(company, mara) == Standing.ACTIVE


def test_an_id_of_the_vendor_is_never_taken_for_an_employee_number(installed: Flask, company: Company, api: Answers) -> None:
    """P08: somebody else's employee number may be the very id that the vendor calls this one."""
    bob = company.joins("bob@x.example", "20417").person_id
    hr = connected(installed, company, api, "bamboohr_employee_deleted_event")

    hr.hears(sample("bamboohr_employee_deleted_event").request)
    hr.works()

    assert standing(company, bob) == Standing.ACTIVE
    assert [event.state for event in hr.events()] == ["parked"]


def test_somebody_who_comes_later_is_met_by_what_was_parked(installed: Flask, company: Company, api: Answers) -> None:
    hr = connected(installed, company, api, "bamboohr_employee_updated_event")
    api.records["/employees/20417"] = bamboo("Inactive", "2026-11-24")
    hr.hears(sample("bamboohr_employee_updated_event").request)
    hr.works()
    assert [event.state for event in hr.events()] == ["parked"]

    late = company.joins("mara@x.example", "E-1", at=LATER)

    assert standing(company, late.person_id) == Standing.DEPARTED


def test_without_a_credential_a_thin_call_is_parked_and_says_what_is_missing(installed: Flask, company: Company, mara: str) -> None:
    hr = Vendor(installed, company, "bamboohr", secret=sample("bamboohr_employee_updated_event").secret)

    hr.hears(sample("bamboohr_employee_updated_event").request)
    hr.works()

    event = hr.events()[0]
    assert (event.state, "credential is missing" in (event.problem or "")) == ("parked", True)


@pytest.mark.parametrize("forged", [False, True])
def test_the_secret_of_a_handshake_is_taken_only_when_the_vendor_takes_it_back(
    installed: Flask, company: Company, api: Answers, mara: str, forged: bool
) -> None:
    hr = Vendor(installed, company, "gusto", answers=api)
    one = sample("gusto_verification_handshake")
    if not forged:
        api.takes_back.add(one.secret)

    assert hr.hears(one.request) == "received"
    hr.works()

    with reading() as session:
        secrets = secrets_of(session.get_one(Source, (company.organization_id, hr.source_id)), settings=hr.settings)
    assert (one.secret in secrets) is not forged
    assert api.asked == ["PUT /webhook_subscriptions/b9c1a1d2-0000-4000-8000-000000000001/verify"]
    assert one.secret not in json.dumps([event.body for event in hr.events()])


def test_a_rehire_that_was_entered_ahead_lets_nobody_in_before_its_day(installed: Flask, company: Company, mara: str) -> None:
    text = (
        "vendor: A\nsignature: {scheme: hmac, header: X-S}\nevent:\n  key: id\n  number: number\n  means:\n"
        "    - {when: {type: back}, event: rehired, at: [{start_of_day: day}]}\n    - {when: {type: left}, event: revoke now}\n"
    )
    hr = Vendor(installed, company, "deel", secret="s" * 20)
    with reading() as session:
        source = session.get_one(Source, (company.organization_id, hr.source_id))
    in_transaction(
        lambda session: hr_systems.change(
            session, session.merge(source), session.merge(hr.system()), text=text, credential=None, variables={}, settings=hr.settings, actor=ADMIN, at=CLOCK
        )
    )  # fmt: skip

    def signed(document: dict[str, str]) -> Request:
        body = json.dumps(document).encode()
        return Request(method="POST", headers={"x-s": hmac.new(b"s" * 20, body, hashlib.sha256).hexdigest()}, body=body)

    hr.hears(signed({"type": "left", "id": "1", "number": "E-1"}))
    assert hr.hears(signed({"type": "back", "id": "1", "number": "E-1", "day": "2026-12-01"}), at=CLOCK + timedelta(minutes=1)) == "waiting"
    hr.works(at=CLOCK + timedelta(days=2))
    assert standing(company, mara) == Standing.DEPARTED

    hr.works(at=CLOCK + timedelta(days=6))

    assert standing(company, mara) == Standing.ACTIVE


def test_bodies_that_are_old_are_deleted_and_their_hash_stays(
    installed: Flask, company: Company, mara: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "now", lambda: CLOCK)
    hr = Vendor(installed, company, "hibob", secret=sample("hibob_employee_left").secret)
    in_transaction(
        lambda session: link(
            session, session.get_one(Source, (company.organization_id, hr.source_id)), "3332883854254932743", mara, at=CLOCK
        )
    )
    hr.hears(sample("hibob_employee_left").request)

    housekeeping.follow_hr(installed)
    assert hr.events()[0].sealed_body is not None
    in_transaction(lambda session: hr_systems.forget_bodies(session, before=CLOCK + timedelta(days=7)))

    event = hr.events()[0]
    assert (event.state, event.sealed_body) == ("applied", None)
    assert event.sha256 == hashlib.sha256(sample("hibob_employee_left").request.body).hexdigest()
