"""The door for HR calls as senders reach it: samples posted to a loopback port, byte for byte, at the time that they tell."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

import migrations.every_table  # noqa: F401  # so that none is missing in `everything`
from app.clock import now
from app.database import Base, in_transaction, reading
from app.directory.tables import Person, Record, Statement
from app.intake import routes
from app.intake.hr import link
from app.intake.schemes import Request
from app.intake.tables import HREvent
from app.journal.tables import Organization
from app.lifecycle.people import reconsider
from app.lifecycle.sources import find_source, set_setting
from app.revocation.tables import Departure
from tests.company import ADMIN, Company, new_company
from tests.hr_vendor import CLOCK, Answers, Vendor, sample
from tests.served import Served

ZONE = "America/Denver"
MARA = {"bamboohr": "20417", "hibob": "3332883854254932743", "gusto": "bcfc9744-0ab3-4ef3-ab0d-e728255d659c", "rippling": "656992816f26d6caea00072c"}
"""What each vendor calls the person whom its samples are about."""
PATHS = {
    "bamboohr": f"/employees/{MARA['bamboohr']}",
    "hibob": f"/people/{MARA['hibob']}",
    "gusto": f"/employees/{MARA['gusto']}",
    "rippling": f"/employees/{MARA['rippling']}",
}
EMAIL = "mara.okonjo@clinic.example"


def vendor_name(name: str) -> str:
    return "standard_webhooks" if name.startswith("standard") else name.partition("_")[0]


def says_here(vendor: str) -> dict[str, Any]:
    """The record of somebody who is employed and not leaving."""
    records: dict[str, dict[str, Any]] = {
        "bamboohr": {"id": "20417", "status": "Active", "terminationDate": "0000-00-00", "employeeNumber": "E-20417", "workEmail": EMAIL},
        "hibob": {"id": MARA["hibob"], "email": EMAIL, "work": {"employeeIdInCompany": "E-20417"}, "internal": {"status": "Active"}},
        "gusto": {"uuid": MARA["gusto"], "employee_code": "E-20417", "work_email": EMAIL, "terminated": False, "terminations": []},
        "rippling": {"id": MARA["rippling"], "employeeNumber": "E-20417", "workEmail": EMAIL, "roleState": "ACTIVE", "endDate": None},
    }
    return records[vendor]


def says_leaves(vendor: str, day: str, *, over: bool = True) -> dict[str, Any]:
    """The record of somebody whose last day is `day`; `over` where it has gone by."""
    changed: dict[str, dict[str, Any]] = {
        "bamboohr": {"status": "Inactive" if over else "Active", "terminationDate": day},
        "hibob": {"internal": {"status": "Inactive" if over else "Active", "terminationDate": day}},
        "gusto": {"terminated": over, "terminations": [{"effective_date": day, "active": over}]},
        "rippling": {"roleState": "TERMINATED" if over else "ACTIVE", "endDate": day},
    }
    return says_here(vendor) | changed[vendor]


@dataclass(kw_only=True)
class Stage:
    """A company in Denver with Mara in it, an HR system connected to it, and the vendor's API beside."""

    served: Served
    company: Company
    mara: Record
    vendor: Vendor
    api: Answers
    at: datetime = CLOCK
    answers: list[tuple[int, str | None]] = field(default_factory=list)

    def posts(self, request: Request) -> tuple[int, str | None]:
        """Exactly these bytes and headers; the status, and the state that is answered."""
        address = urlsplit(self.served.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        try:
            connection.request(request.method, f"/hr/{self.vendor.source_id}", body=request.body, headers=dict(request.headers))
            answer = connection.getresponse()
            said = json.loads(answer.read() or b"{}")
        finally:
            connection.close()
        return answer.status, said.get("state")

    def sends(self, name: str) -> tuple[int, str | None]:
        return self.posts(sample(name).request)

    def works(self) -> int:
        return self.vendor.works(at=self.at)

    def links(self, key: str) -> None:
        """The vendor's own id of Mara is known, as after a first poll."""
        in_transaction(lambda session: link(session, find_source(session, self.company.organization_id, "hr"), key, self.mara.person_id, at=CLOCK))

    def passes(self, until: datetime) -> None:
        """Time goes by."""
        self.at = until
        in_transaction(lambda session: reconsider(session, self.company.organization_id, self.mara.person_id, at=until))

    @property
    def person(self) -> Person:
        return self.company.person(self.mara)

    @property
    def standing(self) -> str:
        return self.person.standing

    @property
    def effects(self) -> tuple[int, int, int]:
        """How many statements, departures and stored events there are."""
        with reading() as session:
            mine = [
                session.scalar(select(func.count()).select_from(table).where(table.organization_id == self.company.organization_id)) or 0
                for table in (Statement, Departure, HREvent)
            ]
        return (mine[0], mine[1], mine[2])


def staged(served: Served, name: str, api: Answers, monkeypatch: pytest.MonkeyPatch, *, secret: str | None = None) -> Stage:
    """The vendor of a sample, connected with the sample's own secret; the door's clock is the stage's."""
    company = new_company()

    def set_zone(session: Session) -> None:
        set_setting(session, session.get_one(Organization, company.organization_id), "time_zone", ZONE, actor=ADMIN, at=now())

    in_transaction(set_zone)
    number = {"workday": "20417", "deel": "D-77"}.get(vendor_name(name), "E-20417")
    mara = company.joins("mara@x.example" if vendor_name(name) == "deel" else EMAIL, number)
    vendor = Vendor(served.app, company, name, secret=sample(name).secret if secret is None else secret, answers=api)
    stage = Stage(served=served, company=company, mara=mara, vendor=vendor, api=api)
    monkeypatch.setattr(routes, "now", lambda: stage.at)
    return stage


def everything(*, but: frozenset[str] = frozenset()) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with reading() as session:
        for table in Base.metadata.sorted_tables:
            if table.name not in but:
                found[table.name] = sorted((tuple(row) for row in session.execute(select(table))), key=repr)
    return found
