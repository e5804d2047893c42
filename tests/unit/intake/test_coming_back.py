"""Somebody who is said to come back on a later day: whether that still holds then, and whether it is them."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime, timedelta

import pytest
from flask import Flask

from app.database import reading
from app.directory.tables import Person, Standing
from app.intake import descriptions
from app.intake.schemes import Request
from tests.company import Company
from tests.hr_vendor import CLOCK, Vendor, description_file

SECRET = "s" * 20
TEXT = """vendor: A
signature: {scheme: hmac, header: X-S}
event:
  key: id
  number: number
  email: mail
  means:
    - {when: {type: back}, event: rehired, at: [{start_of_day: day}]}
    - {when: {type: left}, event: revoke now}
"""
DECEMBER, JANUARY = (datetime.fromisoformat(f"{day}T06:00:00+00:00") for day in ("2026-12-01", "2027-01-01"))


@pytest.fixture
def hr(installed: Flask, company: Company, mara: str) -> Vendor:
    """Mara has left, it says."""
    vendor = Vendor(installed, company, "deel", secret=SECRET, change=(descriptions.text_of(description_file("deel")), TEXT))
    says(vendor, 0, type="left", number="E-1")
    return vendor


def says(hr: Vendor, minute: int, **document: str) -> str:
    body = json.dumps(document).encode()
    request = Request(method="POST", headers={"x-s": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}, body=body)
    return hr.hears(request, at=CLOCK + timedelta(minutes=minute))


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def test_who_comes_back_on_their_day_is_in(hr: Vendor, company: Company, mara: str) -> None:
    assert says(hr, 1, type="back", number="E-1", mail="Mara@x.example", day="2026-12-01") == "waiting"

    hr.works(at=DECEMBER)

    assert standing(company, mara) == Standing.ACTIVE


def test_an_address_that_contradicts_lets_nobody_in_on_the_day(hr: Vendor, company: Company, mara: str) -> None:
    says(hr, 1, type="back", number="E-1", mail="bob@x.example", day="2026-12-01")

    hr.works(at=DECEMBER)

    assert standing(company, mara) == Standing.DEPARTED
    assert hr.events()[-1].state == "parked"


NAMES = ({"number": "E-1"}, {"id": "7"}, {"id": "7", "number": "E-1"})


@pytest.mark.parametrize("again", NAMES)
@pytest.mark.parametrize("back", NAMES)
def test_who_was_said_to_leave_again_meanwhile_stays_out(
    hr: Vendor, company: Company, mara: str, back: dict[str, str], again: dict[str, str]
) -> None:
    says(hr, 1, type="left", id="7", number="E-1")
    says(hr, 2, type="back", day="2026-12-01", **back)
    says(hr, 3, type="left", note="once more", **again)

    hr.works(at=DECEMBER)

    assert standing(company, mara) == Standing.DEPARTED
    assert [event.state for event in hr.events()] == ["applied", "applied", "ignored", "applied"]


def test_which_call_came_later_is_not_asked_of_the_clock(hr: Vendor, company: Company, mara: str) -> None:
    says(hr, 60, type="back", number="E-1", day="2026-12-01")
    company.joins("noor@x.example", "E-2")
    says(hr, 2, type="left", note="once more", number="E-1")

    hr.works(at=DECEMBER)

    assert standing(company, mara) == Standing.DEPARTED
    assert [event.state for event in hr.events()] == ["applied", "applied", "ignored"]


def test_by_an_id_that_was_linked_meanwhile_it_is_the_same_person(hr: Vendor, company: Company, mara: str) -> None:
    says(hr, 1, type="back", number="E-1", day="2026-12-01")
    says(hr, 2, type="left", id="7", number="E-1")
    says(hr, 3, type="back", id="7", day="2027-01-01")

    hr.works(at=DECEMBER)
    before = standing(company, mara)
    hr.works(at=JANUARY)

    assert (before, standing(company, mara)) == (Standing.DEPARTED, Standing.ACTIVE)


@pytest.mark.parametrize("name", NAMES)
def test_a_day_that_was_put_off_lets_nobody_in_on_the_first(hr: Vendor, company: Company, mara: str, name: dict[str, str]) -> None:
    says(hr, 1, type="left", id="7", number="E-1")
    says(hr, 2, type="back", day="2026-12-01", **name)
    says(hr, 3, type="back", day="2027-01-01", **name)

    hr.works(at=DECEMBER)
    before = standing(company, mara)
    hr.works(at=JANUARY)

    assert (before, standing(company, mara)) == (Standing.DEPARTED, Standing.ACTIVE)
    assert [event.state for event in hr.events()] == ["applied", "applied", "ignored", "applied"]


def test_what_was_said_of_somebody_else_meanwhile_is_of_no_matter(hr: Vendor, company: Company, mara: str) -> None:
    company.joins("noor@x.example", "E-2")
    says(hr, 1, type="back", number="E-1", day="2026-12-01")
    says(hr, 2, type="left", number="E-2")

    hr.works(at=DECEMBER)

    assert standing(company, mara) == Standing.ACTIVE
