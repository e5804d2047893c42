"""Addresses with parts that no database can be asked for: every door answers as to whatever else leads nowhere."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.clock import now
from app.database import in_transaction
from app.lifecycle.sources import add_scim_source
from app.signals import receivers
from tests.company import ADMIN, Company, new_company
from tests.handsets import Handset, handset_of, new_client, new_gateway

ODD = {"a NUL": "%00", "a NUL within": "a%00b", "no text": "%ff", "a line end": "%0a", "half a character": "%ed%a0%80", "much": "x" * 3000}


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def answers(http: FlaskClient, app: Flask, part: str) -> dict[str, int]:
    """What is answered at every address that has a part in it, for every method."""
    found = {}
    for rule in app.url_map.iter_rules():
        if not rule.arguments:
            continue
        path = re.sub(r"<[^>]*>", part, str(rule.rule))
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            found[f"{method} {rule.rule}"] = http.open(path, method=method, json=None if method == "GET" else {}).status_code
    return found


def test_no_door_is_given_a_nul(installed: Flask) -> None:
    addresses = installed.url_map.bind("doorlist.example")
    given = {}
    for rule in installed.url_map.iter_rules():
        if rule.arguments:
            method = min((rule.methods or set()) - {"OPTIONS", "HEAD"})
            given[str(rule.rule)] = set(addresses.match(re.sub(r"<[^>]*>", "a\0b", str(rule.rule)), method)[1].values())

    assert {place: values for place, values in given.items() if values != {"a\N{REPLACEMENT CHARACTER}b"}} == {}


@pytest.mark.parametrize("part", ODD.values(), ids=ODD)
def test_no_door_fails_on_an_odd_address(installed: Flask, company: Company, part: str) -> None:
    found = answers(installed.test_client(), installed, part)

    assert len(found) > 20
    assert {place: status for place, status in found.items() if status >= 500} == {}


@pytest.fixture
def handset(installed: Flask, company: Company) -> Handset:
    return handset_of(installed, company, company.joins("ada@x.example").person_id, new_client(company))


@pytest.mark.parametrize("part", ODD.values(), ids=ODD)
def test_nor_does_one_that_lets_its_caller_in(installed: Flask, company: Company, handset: Handset, part: str) -> None:
    gateway = new_gateway(installed, company)
    _, token = in_transaction(lambda session: receivers.add(session, company.organization_id, receivers.Draft(name="chat"), actor=ADMIN, at=now()))
    receiver = {"Authorization": f"Bearer {token}"}
    source, secret = in_transaction(lambda session: add_scim_source(session, company.organization_id, "entra", actor=ADMIN, at=now()))
    directory = {"Authorization": f"Bearer {secret}"}
    device = {"name": "phone", "platform": "ios", "push": None}

    looked = [handset.calls(method, f"/devices/{part}", body) for method, body in (("GET", None), ("PATCH", {}), ("PUT", device), ("DELETE", None))]

    assert [one.status_code for one in looked] == [404] * 4
    assert gateway.targets(part) == []
    assert installed.test_client().post(f"/signals/streams/{part}/events", json={}, headers=receiver).status_code == 404
    assert installed.test_client().get(f"/scim/v2/{source.id}/Users/{part}", headers=directory).status_code == 404
