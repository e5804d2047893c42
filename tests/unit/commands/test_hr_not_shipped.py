"""HR systems that are not shipped, each written from its documentation alone: tried with `hr test`, connected by one command, and heard."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app.database import reading
from app.directory.tables import Record, Standing
from app.intake import confirming, descriptions, routes
from app.intake.tables import HREvent
from tests.company import Company
from tests.hr_vendor import CLOCK, CREDENTIAL, SAMPLES, TOKENS, Answers, vendor_api
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow

FOLDER = SAMPLES / "not_shipped"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
HUMI = "83f265b8-e0bc-46b3-b810-dd5e08ab8272"
FINCH = "0fc16f14-5a9b-4b54-9a1f-59c2f0d1f2a1"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `hr test` says of a vendor's sample, what the door answers, and what becomes of Mara; `record` by the path that is asked."""

    sample: str
    says: tuple[str, str, str | None, str]
    answer: tuple[int, str]
    standing: str = Standing.DEPARTED
    until: str | None = None
    record: tuple[str, dict[str, Any]] | None = None
    linked: str | None = None


VENDORS: dict[str, Wanted] = {
    "lucca": Wanted(
        sample="lucca_employment_updated",
        says=("leaves at", "416", "2027-01-01T00:00:00.000Z", "end their access at 2027-01-01T00:00:00.000Z; who it is, Lucca is asked unless that is known"),
        answer=(202, "received"), standing=Standing.ACTIVE, until="2027-01-01 00:00:00+00:00",
        record=("/employees/416", {"id": "416", "employeeNumber": "E-20417", "status": "active", "email": "mara@x.example"}),
    ),
    "peopleforce": Wanted(
        sample="peopleforce_employee_terminate", says=("leaves at", "E-20417", "2026-11-25T09:46:40.000Z", "end their access at once"), answer=(200, "applied"),
    ),
    "employment_hero_payroll": Wanted(
        sample="employment_hero_payroll_terminated",
        says=("leaves at", "E-20417", "2026-12-31T13:00:00.000Z", "end their access at 2026-12-31T13:00:00.000Z"),
        # Of its three the third means nobody whom the directory knows.
        answer=(202, "parked"), standing=Standing.ACTIVE, until="2026-12-31 13:00:00+00:00",
    ),
    "engage": Wanted(
        sample="engage_absence_created", says=("on leave", "E-20417", "2026-11-25T00:00:00.000Z", "pause their access at once"),
        # It was told the absence after its day began; and takes no other answer than 200.
        answer=(200, "applied"), standing=Standing.PAUSED,
    ),
    "humi": Wanted(
        sample="humi_terminated",
        says=("leaves at", HUMI, "2026-11-25T00:00:00.000Z", f"ask Humi about {HUMI} first, for nobody signed this; only if its record says so: end their access at once"),
        answer=(202, "received"), linked=HUMI,
        record=(f"/employees/{HUMI}", {"data": {"id": HUMI, "attributes": {"id": HUMI, "email": "mara@x.example", "end_date": "2026-11-24"}}}),
    ),
    "factorial": Wanted(
        sample="factorial_employee_terminate",
        says=("leaves at", "E-20417", "2026-11-25T00:00:00.000Z", "ask Factorial about 204 first, for nobody signed this; only if its record says so: end their access at once"),
        answer=(202, "received"),
        record=("/employees/employees/204", {"id": 204, "company_identifier": "E-20417", "email": "mara@x.example", "active": True, "terminated_on": "2026-11-24"}),
    ),
    "personio": Wanted(
        sample="personio_employment_terminated",
        says=("leaves at", "5005", "2026-11-25T09:46:40.000Z", "ask Personio about 5005 first, for nobody signed this; only if its record says so: end their access at once"),
        answer=(202, "received"), linked="5005",
        record=("/persons/5005/employments", {"_data": [{"id": "2306b77a", "person": {"id": "5005"}, "status": "INACTIVE", "employment_end_date": "2026-11-24"}]}),
    ),
    "finch": Wanted(
        sample="finch_employment_updated", says=("changed", FINCH, None, f"ask Finch about {FINCH} first, and do what its record says"),
        answer=(202, "received"),
        record=("/employer/employment", {"responses": [{"individual_id": FINCH, "code": 200, "body": {
            "id": FINCH, "is_active": False, "end_date": "2026-11-24", "custom_fields": [{"name": "shirt", "value": "M"}, {"name": "employee_number", "value": "E-20417"}]}}]}),
    ),
}  # fmt: skip


@pytest.fixture
def api() -> Iterator[Answers]:
    with vendor_api() as answers:
        yield answers


def test_no_description_is_without_an_expectation() -> None:
    assert VENDORS.keys() == set(NAMES)
    assert {path.stem for path in FOLDER.glob("*.json")} == {one.sample for one in VENDORS.values()}


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_less_than_forty_lines_and_no_code(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()

    assert len(text.splitlines()) < 40
    assert descriptions.read(text).vendor


@pytest.mark.parametrize("name", NAMES)
def test_its_sample_passes_hr_test(desk: Desk, name: str) -> None:
    wanted = VENDORS[name]

    said = desk.types("hr", "test", str(FOLDER / f"{name}.yaml"), str(FOLDER / f"{wanted.sample}.json"), "--json")

    assert said.exit == 0, said
    assert tuple(said.json[field] for field in ("event", "person", "at", "would_do")) == wanted.says


@pytest.mark.parametrize("name", NAMES)
def test_one_byte_of_its_sample_changed_and_hr_test_says_that_nothing_would_be_done(desk: Desk, name: str) -> None:
    sample = json.loads((FOLDER / f"{VENDORS[name].sample}.json").read_text())
    sample["request"]["body_raw"] = sample["request"]["body_raw"].replace('":"', '": "', 1)
    made = descriptions.read((FOLDER / f"{name}.yaml").read_text())

    said = desk.types("hr", "test", str(FOLDER / f"{name}.yaml"), desk.file("spoilt.json", json.dumps(sample)), "--json")

    if made.confirms:
        assert "only if its record says so" in str(said.json["would_do"])
    else:
        assert (said.exit, said.json["event"]) == (1, None)


@dataclass(frozen=True, kw_only=True)
class Connected:
    """A vendor that was connected by its description, and Mara, who is to leave."""

    desk: Desk
    company: Company
    wanted: Wanted
    source_id: str
    mara: Record
    request: dict[str, Any]

    def posts(self, **changed: Any) -> TestResponse:
        sent = {"data": self.request["body_raw"].encode(), "headers": self.request["headers"], **changed}
        return self.desk.app.test_client().post(f"/hr/{self.source_id}", **sent)

    def works(self) -> None:
        confirming.work(self.desk.app.config["DOORLIST"], clock=lambda: CLOCK)

    def standing(self, record: Record | None = None) -> str:
        return self.company.person(record or self.mara).standing

    def events(self) -> int:
        with reading() as session:
            return session.scalar(select(func.count()).select_from(HREvent)) or 0


@pytest.fixture
def company(desk: Desk) -> Iterator[Company]:
    """The desk's own, with a directory; inside the application's context."""
    organization_id, source_id = desk.organization_id, desk.directory()
    with desk.app.app_context():
        yield Company(organization_id=organization_id, source_id=source_id)


def connected(desk: Desk, company: Company, name: str, api: Answers, monkeypatch: pytest.MonkeyPatch) -> Connected:
    """By its file, with what the vendor gave: nothing of it is known to the program."""
    wanted = VENDORS[name]
    sample = json.loads((FOLDER / f"{wanted.sample}.json").read_text())
    arguments = ["source", "add", "hr", "people", "--description", desk.file("vendor.yaml", beside_the_stand_in(name, api))]
    if sample["_meta"]["test_secret"]:
        arguments += ["--secret-file", desk.file("secret", sample["_meta"]["test_secret"])]
    if wanted.record is not None:
        credential = f"us:{CREDENTIAL}" if "credential: oauth" in (FOLDER / f"{name}.yaml").read_text() else CREDENTIAL
        arguments += ["--credential-file", desk.file("credential", credential), "--allow-private"]
        api.records[wanted.record[0]] = wanted.record[1]
    mara = company.joins("mara@x.example", "E-20417")
    source_id = str(desk.asks(*arguments)["id"])
    if wanted.linked is not None:
        desk.asks("hr", "link", "people", wanted.linked, "E-20417")
    monkeypatch.setattr(routes, "now", lambda: CLOCK)
    return Connected(desk=desk, company=company, wanted=wanted, source_id=source_id, mara=mara, request=sample["request"])


def beside_the_stand_in(name: str, api: Answers) -> str:
    """The description, with the stand-in where the vendor's API is."""
    text = (FOLDER / f"{name}.yaml").read_text()
    there = descriptions.read(text).api
    if there is None:
        return text
    if there.token is not None:
        text = text.replace(there.token.url, f"{api.url}{TOKENS}")
    return text.replace(there.url, api.url)


@pytest.mark.parametrize("name", NAMES)
def test_the_door_takes_its_call_by_the_description_alone(
    desk: Desk, company: Company, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    vendor = connected(desk, company, name, api, monkeypatch)
    wanted = vendor.wanted

    answer = vendor.posts()
    before = vendor.standing()
    vendor.works()

    assert (answer.status_code, answer.get_json()["state"]) == wanted.answer
    person = company.person(vendor.mara)
    assert (person.standing, str(person.access_until) if wanted.until else None) == (wanted.standing, wanted.until)
    if wanted.record is not None:
        assert before == Standing.ACTIVE, "its record decides, or says who is meant"
        assert any(wanted.record[0] in one for one in api.asked)


@pytest.mark.parametrize("name", NAMES)
def test_shown_again_it_is_the_same_call_and_with_a_byte_less_it_is_none(
    desk: Desk, company: Company, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    vendor = connected(desk, company, name, api, monkeypatch)
    vendor.posts()
    vendor.works()
    events, standing = vendor.events(), vendor.standing()

    again = vendor.posts()
    spoilt = vendor.posts(data=vendor.request["body_raw"].encode()[:-1])
    vendor.works()

    assert (again.status_code in (200, 202), spoilt.status_code in (401, 422)) == (True, True)
    assert (vendor.events(), vendor.standing()) == (events, standing)


def test_of_several_events_in_one_call_each_is_done(desk: Desk, company: Company, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    noor, bob = company.joins("noor@x.example", "E-2"), company.joins("bob@x.example", "E-3")
    vendor = connected(desk, company, "employment_hero_payroll", api, monkeypatch)

    answer = vendor.posts()

    assert (answer.status_code, answer.get_json()) == (200, {"state": "applied"})
    assert [vendor.standing(one) for one in (vendor.mara, noor, bob)] == [Standing.ACTIVE, Standing.ACTIVE, Standing.DEPARTED]
    assert str(company.person(vendor.mara).access_until) == "2026-12-31 13:00:00+00:00"


def test_hr_test_shows_each_of_several_events(desk: Desk) -> None:
    said = desk.asks("hr", "test", str(FOLDER / "employment_hero_payroll.yaml"), str(FOLDER / "employment_hero_payroll_terminated.json"))

    assert [(one["event"], one["person"]) for one in said["events"]] == [("leaves at", "E-20417"), ("changed", "E-2"), ("leaves at", "E-3")]
    assert said["events"][0] == {field: said[field] for field in ("event", "person", "at", "would_do")}


def test_a_text_by_which_the_address_is_tried_is_given_back(
    desk: Desk, company: Company, api: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lucca asks with GET and ?echo=…, and wants nothing but that text."""
    vendor = connected(desk, company, "lucca", api, monkeypatch)
    visitor = desk.app.test_client()

    answer = visitor.get(f"/hr/{vendor.source_id}", query_string={"echo": "iusiof24dsfxvç834<b>"})
    without = visitor.get(f"/hr/{vendor.source_id}")

    assert (answer.status_code, answer.text, answer.content_type) == (200, "iusiof24dsfxvç834<b>", "text/plain; charset=utf-8")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (without.status_code, without.headers["Allow"], visitor.get("/hr/nobody?echo=x").status_code) == (405, "POST", 404)
    assert vendor.events() == 0


def test_where_the_vendor_takes_a_secret_of_ours_nothing_is_needed_but_the_description(desk: Desk, company: Company) -> None:
    mara = company.joins("mara@x.example", "E-20417")
    made = desk.asks("source", "add", "hr", "people", "--description", str(FOLDER / "peopleforce.yaml"))
    body = json.loads((FOLDER / "peopleforce_employee_terminate.json").read_text())["request"]["body_raw"].encode()

    signed = "sha256=" + hmac.new(str(made["secret"]).encode(), body, hashlib.sha256).hexdigest()
    answer = desk.app.test_client().post(f"/hr/{made['id']}", data=body, headers={"x-peopleforce-signature": signed})

    assert answer.get_json() == {"state": "applied"}
    assert company.person(mara).standing == Standing.DEPARTED
