"""Several events in one call are about one person: they count in their order, as if each had come by itself."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from itertools import permutations

import pytest
from flask import Flask

from app.database import in_transaction
from app.directory.tables import Standing
from app.intake import descriptions
from app.intake.schemes import Request
from app.lifecycle.people import reconsider
from tests.company import Company, new_company
from tests.hr_vendor import CLOCK, Vendor, description_file

SECRET = "s" * 20
DESCRIPTION = """vendor: A
signature: {scheme: hmac, header: X-S}
event:
  each: events
  number: number
  means:
    - {when: {kind: left}, event: revoke now}
    - {when: {kind: leaves}, event: leaves at, at: [{end_of_day: day}]}
    - {when: {kind: kept}, event: cancelled}
    - {when: {kind: back}, event: rehired}
"""
LEFT, LEAVES, KEPT, BACK = (
    {"kind": "left", "number": "E-1"}, {"kind": "leaves", "number": "E-1", "day": "2026-12-31"}, {"kind": "kept", "number": "E-1"},
    {"kind": "back", "number": "E-1"},
)  # fmt: skip
PAIRS = list(permutations((LEFT, LEAVES, KEPT, BACK), 2))
NEXT_YEAR = CLOCK + timedelta(days=60)


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def hears(vendor: Vendor, *events: dict[str, str]) -> None:
    body = json.dumps({"events": list(events)}).encode()
    vendor.hears(Request(method="POST", headers={"x-s": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}, body=body))


def vendor_of(app: Flask, company: Company) -> Vendor:
    return Vendor(app, company, "deel", secret=SECRET, change=(descriptions.text_of(description_file("deel")), DESCRIPTION))


@pytest.mark.parametrize("joins_late", [False, True], ids=["known", "comes later"])
@pytest.mark.parametrize("events", PAIRS, ids=lambda events: " ".join(one["kind"] for one in events))
def test_the_last_event_of_a_call_is_the_last_word(installed: Flask, company: Company, events: tuple[dict[str, str], ...], joins_late: bool) -> None:
    vendor = vendor_of(installed, company)
    if joins_late:
        hears(vendor, *events)
    mara = company.joins("mara@x.example", "E-1", at=CLOCK + timedelta(minutes=1) if joins_late else CLOCK - timedelta(days=1))
    if not joins_late:
        hears(vendor, *events)

    in_transaction(lambda session: reconsider(session, company.organization_id, mara.person_id, at=NEXT_YEAR))

    # A day that is told of somebody who is out already lets nobody in until then, and is out as well.
    assert company.person(mara).standing == (Standing.ACTIVE if events[-1] in (KEPT, BACK) else Standing.DEPARTED)
