"""Attacks on calls of HR vendors (W01, W02, W06, W07, W08, W13, W16, W17): who signs is believed to the byte, who does not is asked about."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.database import reading
from app.directory.tables import Person, Standing
from app.intake import described
from app.intake.hr import BadCall, BadSignature
from app.intake.schemes import Request
from app.revocation.alarm_tables import Alarm
from app.revocation.tables import Departure
from tests.company import Company, new_company
from tests.hr_vendor import CLOCK, SAMPLES, Answers, Vendor, sample, vendor_api

SIGNED = sorted(
    path.stem for path in SAMPLES.glob("*.json") if not path.stem.startswith(("rippling", "workday")) and "handshake" not in path.stem
)
KEYS = {
    "bamboohr": "20417",
    "hibob": "3332883854254932743",
    "gusto": "bcfc9744-0ab3-4ef3-ab0d-e728255d659c",
    "rippling": "656992816f26d6caea00072c",
}
RIPPLING = "/employees/656992816f26d6caea00072c"


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def mara(company: Company) -> str:
    return company.joins("mara@x.example", "E-20417").person_id


@pytest.fixture
def api() -> Iterator[Answers]:
    with vendor_api() as answers:
        yield answers


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def departures(company: Company) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Departure).where(Departure.organization_id == company.organization_id)) or 0


def rippling(state: str, ended: str | None = None, *, key: str = KEYS["rippling"]) -> dict[str, str | None]:
    return {"id": key, "employeeNumber": "E-20417", "workEmail": "mara@x.example", "roleState": state, "endDate": ended}


def records(name: str) -> dict[str, object]:
    """What the vendor's API says of the person whom a sample is about."""
    return {
        "/employees/20417": {"id": "20417", "employeeNumber": "E-20417", "status": "Inactive", "terminationDate": "2026-11-24", "workEmail": "mara@x.example"},
        f"/people/{KEYS['hibob']}": {"id": KEYS["hibob"], "email": "mara@x.example", "work": {"employeeIdInCompany": "E-20417"}, "internal": {"status": "Active", "terminationDate": "2026-12-31"}},
        f"/employees/{KEYS['gusto']}": {"uuid": KEYS["gusto"], "employee_code": "E-20417", "terminations": [{"effective_date": "2026-11-24", "active": True}]},
    }  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_w02_a_signed_sample_with_one_byte_changed_does_nothing(
    installed: Flask, company: Company, mara: str, api: Answers, name: str
) -> None:
    one = sample(name)
    vendor = Vendor(installed, company, name, secret=one.secret, answers=api)
    api.records.update(records(name))

    for at in sorted({0, 1, len(one.request.body) // 2, len(one.request.body) - 1}):
        with pytest.raises(BadSignature):
            vendor.hears(one.altered(at).request)
    vendor.works()

    assert (vendor.events(), api.asked, standing(company, mara)) == ([], [], Standing.ACTIVE)


OUT_BY = [
    "bamboohr_employee_deleted_event",
    "bamboohr_employee_updated_event",
    "hibob_access_revoked_immediately",
    "hibob_employee_left",
    "gusto_terminated",
    "gusto_termination_effective",
]


@pytest.mark.parametrize("name", OUT_BY)
def test_w01_the_sample_itself_takes_its_person_out_once_however_often_it_is_shown(
    installed: Flask, company: Company, mara: str, api: Answers, name: str
) -> None:
    """Bodies of vendors without ids are known again by their digest, a day later too where no time is signed."""
    one = sample(name)
    vendor = Vendor(installed, company, name, secret=one.secret, answers=api)
    api.records.update(records(name))

    for _ in range(3):
        vendor.hears(one.request)
        vendor.works()
    if not name.startswith("bamboohr"):
        vendor.hears(one.request, at=CLOCK + timedelta(days=1))
        vendor.works(at=CLOCK + timedelta(days=1))

    assert standing(company, mara) == Standing.DEPARTED
    assert (departures(company), len(vendor.events())) == (1, 1)


def test_w01_a_signed_time_that_has_passed_is_refused(installed: Flask, company: Company, mara: str) -> None:
    one = sample("bamboohr_employee_deleted_event")
    vendor = Vendor(installed, company, "bamboohr", secret=one.secret)

    with pytest.raises(BadSignature, match="seconds off"):
        vendor.hears(one.request, at=CLOCK + timedelta(days=1))


@pytest.mark.parametrize("name", ["rippling_employee_deleted", "rippling_employee_terminated"])
def test_w07_an_unsigned_call_takes_nobody_out_before_the_vendors_api_has_confirmed_it(
    installed: Flask, company: Company, mara: str, api: Answers, name: str
) -> None:
    one = sample(name)
    vendor = Vendor(installed, company, name, secret=one.secret, answers=api)
    # Whom the vendor means is known already: only the missing confirmation keeps them in.
    api.records |= {RIPPLING: rippling("ACTIVE"), "/employees/include_terminated": [rippling("ACTIVE")]}
    assert vendor.polls() is None

    assert vendor.hears(one.request) == "received"
    vendor.works()
    assert (standing(company, mara), vendor.events()[0].state) == (Standing.ACTIVE, "ignored")

    api.records[RIPPLING] = rippling("TERMINATED", "2026-11-24")
    vendor.hears(one.request, at=CLOCK + timedelta(minutes=10))
    vendor.works(at=CLOCK + timedelta(minutes=10))

    assert standing(company, mara) == Standing.DEPARTED


def test_w07_while_the_vendors_api_is_down_an_unsigned_call_only_waits(installed: Flask, company: Company, mara: str, api: Answers) -> None:
    one = sample("rippling_employee_deleted")
    vendor = Vendor(installed, company, "rippling", secret=one.secret, answers=api)
    api.down = True

    vendor.hears(one.request)
    vendor.works()

    assert (standing(company, mara), vendor.events()[0].state) == (Standing.ACTIVE, "received")


def test_w07_an_address_that_knows_nobody_confirms_nothing(installed: Flask, company: Company, mara: str, api: Answers) -> None:
    """A wrong address answers 404 for everybody: only somebody of whom it has told before counts as gone."""
    one = sample("rippling_employee_deleted")
    vendor = Vendor(installed, company, "rippling", secret=one.secret, answers=api)

    vendor.hears(one.request)
    vendor.works()
    assert (standing(company, mara), vendor.events()[0].state) == (Standing.ACTIVE, "parked")

    api.records["/employees/include_terminated"] = [rippling("ACTIVE")]
    assert vendor.polls() is None
    vendor.hears(one.request, at=CLOCK + timedelta(minutes=10))
    vendor.works(at=CLOCK + timedelta(minutes=10))

    assert standing(company, mara) == Standing.DEPARTED


def test_w07_a_number_that_an_unsigned_call_names_itself_confirms_nothing_either(
    installed: Flask, company: Company, mara: str, api: Answers
) -> None:
    one = sample("rippling_employee_deleted")
    change = ("event:\n  key: id", "event:\n  number: number\n  key: id")
    vendor = Vendor(installed, company, "rippling", secret=one.secret, answers=api, change=change)

    vendor.hears(Request(method="POST", headers=one.request.headers, body=one.request.body + b"&number=E-20417"))
    vendor.works()

    assert (standing(company, mara), vendor.events()[0].state) == (Standing.ACTIVE, "parked")


def test_w07_an_unsigned_call_that_the_vendor_cannot_be_asked_about_is_nobodys(
    installed: Flask, company: Company, mara: str, api: Answers
) -> None:
    """Their API is asked by the vendor's own id: one that names an employee number alone can be confirmed by nobody."""
    one = sample("rippling_employee_deleted")
    change = ("event:\n  key: id", "event:\n  number: number\n  key: id")
    vendor = Vendor(installed, company, "rippling", secret=one.secret, answers=api, change=change)

    with pytest.raises(BadCall, match="by the vendor's id"):
        vendor.hears(Request(method="POST", headers=one.request.headers, body=b"event_name=employee.deleted&number=E-20417"))
    vendor.works()

    assert (standing(company, mara), vendor.events()) == (Standing.ACTIVE, [])


def test_w07_without_the_token_an_unsigned_call_is_not_even_asked_about(installed: Flask, company: Company, api: Answers) -> None:
    one = sample("rippling_employee_deleted")
    vendor = Vendor(installed, company, "rippling", secret="another", answers=api)

    with pytest.raises(BadSignature):
        vendor.hears(one.request)

    assert vendor.events() == []


def test_w13_a_flood_of_unsigned_calls_is_not_stored(installed: Flask, company: Company, api: Answers) -> None:
    one = sample("rippling_employee_deleted")
    vendor = Vendor(installed, company, "rippling", secret=one.secret, answers=api)

    with pytest.raises(described.TooMany):
        for number in range(300):
            body = f"event_name=employee.deleted&id={number}".encode()
            vendor.hears(Request(method="POST", headers=one.request.headers, body=body))


def test_w06_one_companys_secret_and_ids_mean_nothing_in_another(installed: Flask, company: Company, mara: str, api: Answers) -> None:
    one = sample("hibob_access_revoked_immediately")
    elsewhere = new_company()
    theirs = Vendor(installed, elsewhere, "hibob", secret=one.secret, answers=api)
    api.records.update(records("hibob"))

    theirs.hears(one.request)
    theirs.works()

    assert standing(company, mara) == Standing.ACTIVE
    assert theirs.events()[0].state == "parked"


def test_w08_a_call_that_comes_many_times_at_once_is_one_departure(installed: Flask, company: Company, mara: str) -> None:
    secret = "deel-key-0001"
    vendor = Vendor(installed, company, "deel", secret=secret)
    body = json.dumps(
        {
            "data": {
                "meta": {"event_type": "contract.terminated"},
                "resource": {"id": "3x", "external_id": "E-20417", "completion_date": "2026-11-01"},
            }
        }
    ).encode()
    headers = {"x-deel-signature": hmac.new(secret.encode(), b"POST" + body, hashlib.sha256).hexdigest()}

    def post(_: int) -> int:
        return installed.test_client().post(f"/hr/{vendor.source_id}", data=body, headers=headers).status_code

    with ThreadPoolExecutor(6) as threads:
        answers = set(threads.map(post, range(24)))

    assert answers <= {200, 202}
    assert (standing(company, mara), departures(company), len(vendor.events())) == (Standing.DEPARTED, 1, 1)


def test_w14_a_signed_call_that_cannot_be_understood_is_kept_and_never_answered_4xx(installed: Flask, company: Company) -> None:
    vendor = Vendor(installed, company, "deel", secret="deel-key-0001")
    body = b'{"data": {"meta": {"event_type": "contract.terminated"}, "resource": {"id": "3x", "completion_date": "soon"}}}'
    headers = {"x-deel-signature": hmac.new(b"deel-key-0001", b"POST" + body, hashlib.sha256).hexdigest()}

    answer = installed.test_client().post(f"/hr/{vendor.source_id}", data=body, headers=headers)

    assert (answer.status_code, answer.get_json()) == (202, {"state": "parked"})
    assert "completion_date" in (vendor.events()[0].problem or "")


def test_w16_a_simulation_takes_nobody_out(installed: Flask, company: Company) -> None:
    mara = company.joins("mara@x.example", "D-77").person_id
    one = sample("deel_contract_terminated_simulation")
    vendor = Vendor(installed, company, "deel", secret=one.secret)

    assert vendor.hears(one.request) == "ignored"
    assert standing(company, mara) == Standing.ACTIVE

    real = json.loads(one.request.body)
    del real["data"]["meta"]["is_simulation"]
    body = json.dumps(real).encode()
    headers = {"x-deel-signature": hmac.new(one.secret.encode(), b"POST" + body, hashlib.sha256).hexdigest()}
    vendor.hears(Request(method="POST", headers=headers, body=body))
    assert standing(company, mara) == Standing.DEPARTED


def test_w17_a_webhook_that_has_ended_with_its_maker_is_told(installed: Flask, company: Company, api: Answers) -> None:
    one = sample("bamboohr_employee_updated_event")
    vendor = Vendor(installed, company, "bamboohr", secret=one.secret, answers=api)
    api.records["/reports/custom"] = {"employees": []}

    def told() -> list[str]:
        with reading() as session:
            return list(
                session.scalars(select(Alarm.sentence).where(Alarm.organization_id == company.organization_id, Alarm.closed_at.is_(None)))
            )

    vendor.hears(one.request)
    vendor.polls(at=CLOCK + timedelta(days=13))
    assert told() == []

    vendor.polls(at=CLOCK + timedelta(days=15))
    vendor.polls(at=CLOCK + timedelta(days=16))

    assert len(told()) == 1
    assert "no call has come for" in told()[0]


@pytest.mark.parametrize("name", SIGNED)
def test_w12_the_bytes_that_came_are_kept_sealed_and_nothing_of_reasons_in_the_clear(
    installed: Flask, company: Company, mara: str, name: str
) -> None:
    one = sample(name)
    vendor = Vendor(installed, company, name, secret=one.secret)

    vendor.hears(one.request)

    for event in vendor.events():
        assert event.sha256 == hashlib.sha256(one.request.body).hexdigest()
        assert event.sealed_body is not None
        assert one.request.body not in event.sealed_body
        assert not {"reason", "involuntary", "companyId", "triggeredBy"} & set(json.dumps(event.body).replace('"', " ").split())
