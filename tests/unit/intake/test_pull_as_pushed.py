"""Whatever way people come, they end as the same: a pull leaves what a push of the same people would have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import Base, in_transaction, reading
from app.directory.tables import Group, Membership, Person, Record
from app.directory.vocabulary import ENTERPRISE_URN
from app.intake import pulling
from app.lifecycle.groups import add_group, change_group
from app.lifecycle.many_members import put_in
from app.lifecycle.records import add_record
from app.lifecycle.sources import add_pulled_source, find_source
from app.scim.resources import group_draft, user_draft
from tests.company import ADMIN, NOW, OKTA, Company, new_company
from tests.unit.intake.pulled_company import Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow

ADA = {
    "userName": "Ada@x.example", "externalId": "k-ada", "displayName": "Ada Kim", "name": {"givenName": "Ada", "familyName": "Kim"},
    "title": "Lead", "userType": "Employee", "active": True,
    "emails": [{"value": "Ada@x.example", "type": "work", "primary": True}, {"value": "ada@home.example", "type": "work", "primary": False}],
    "phoneNumbers": [{"value": "+49 30 1", "type": "work"}],
    ENTERPRISE_URN: {"employeeNumber": "7", "department": "Research", "division": "North", "costCenter": "12"},
}  # fmt: skip
BOB = {"userName": "bob@x.example", "externalId": "k-bob", "displayName": "Bob", "active": False, "emails": [{"value": "bob@x.example", "type": "work", "primary": True}]}
CSV = """id;userName;displayName;givenName;familyName;title;userType;active;mail;phone;employeeNumber;department;division;costCenter;manager;groups
k-ada;Ada@x.example;Ada Kim;Ada;Kim;Lead;Employee;true;Ada@x.example,ada@home.example;+49 30 1;7;Research;North;12;;Staff
k-bob;bob@x.example;Bob;;;;;false;bob@x.example;;;;;;k-ada;Staff
"""


def pushed(company: Company) -> None:
    """The same two over SCIM, as the door reads them."""

    def act(session: Session) -> None:
        saying: dict[str, Any] = {"actor": OKTA, "at": NOW, "because": "test"}
        ada = add_record(session, company.organization_id, company.source_id, user_draft(ADA), **saying)
        manager = {ENTERPRISE_URN: {"manager": {"value": ada.id}}}
        bob = add_record(session, company.organization_id, company.source_id, user_draft({**BOB, **manager}), **saying)
        staff = {"displayName": "Staff", "externalId": "Staff", "members": [{"value": ada.id}, {"value": bob.id}]}
        add_group(session, company.organization_id, company.source_id, group_draft(staff), **saying)

    in_transaction(act)


def ends_as(company: Company) -> dict[str, Any]:
    """Everybody and every group, without ids and instants."""
    with reading() as session:
        records = session.scalars(select(Record).where(Record.organization_id == company.organization_id)).all()
        people = session.scalars(select(Person).where(Person.organization_id == company.organization_id)).all()
        groups = session.scalars(select(Group).where(Group.organization_id == company.organization_id)).all()
        names = {one.id: one.user_name for one in records} | {one.id: one.user_name for one in people}
        members = session.execute(select(Membership.group_id, Membership.record_id).where(Membership.organization_id == company.organization_id)).all()
    told = {
        "records": sorted(
            [one.user_name, one.external_id, one.user_name_key, one.display_name, one.employee_number, one.active, one.off_means, _named(one.document, names)]
            for one in records
        ),
        "people": sorted(
            [one.user_name, one.standing, one.display_name, one.email, one.user_type, one.department, one.division, one.employee_number,
             names.get(one.manager_id or ""), _named(one.document, names)]
            for one in people
        ),
        "groups": sorted([one.display_name, one.external_id, one.display_name_key, json.dumps(one.document, sort_keys=True)] for one in groups),
        "members": sorted([next(g.display_name for g in groups if g.id == group_id), names[record_id]] for group_id, record_id in members),
    }  # fmt: skip
    return told


def _named(document: dict[str, Any], names: dict[str, str]) -> str:
    text = json.dumps(document, sort_keys=True)
    for key, name in names.items():
        text = text.replace(key, name)
    return text


def test_a_file_that_is_pulled_ends_as_the_same_people_pushed(installed: Flask, tmp_path: Path) -> None:
    one, other = new_company(), new_company()
    pushed(one)
    file = tmp_path / "people.csv"
    file.write_text(CSV.replace(",ada@home.example", ""))
    ada = {**ADA, "emails": ADA["emails"][:1]}  # type: ignore[index]  # a list

    def act(session: Session) -> None:
        reached = {"url": str(file), "options": {"delimiter": ";"}}
        add_pulled_source(session, other.organization_id, "file", kind="csv", reached=reached, secret="", settings=current_app.config["DOORLIST"], actor=ADMIN, at=NOW)

    in_transaction(act)
    outcome = pulling.pull(current_app.config["DOORLIST"], other.organization_id, "file", actor=ADMIN)

    assert (outcome.joined, outcome.notes) == (2, ())
    pulled, told = ends_as(other), ends_as(one)
    # The file names one address alone.
    assert json.loads(pulled["records"][0][-1])["emails"] == ada["emails"]
    home = ', {\\"primary\\": false, \\"type\\": \\"work\\", \\"value\\": \\"ada@home.example\\"}'.replace("\\", "")
    assert json.dumps(pulled) == json.dumps(told).replace(home.replace('"', '\\"'), "")


def test_somebody_pulled_ends_as_pushed(installed: Flask) -> None:
    company = new_company()
    pushed(company)
    corp = pulled_company()
    document = {key: value for key, value in ADA.items() if key not in ("userName", "externalId", "active")}
    corp.directory.put(
        person("k-ada", "Ada@x.example", document={**document, "nickName": None, "id": "their own", "groups": [{"value": "x"}], "password": "x", "ims": []}),
        person("k-bob", "bob@x.example", active=False, manager="k-ada", document={"displayName": "Bob"}),
        group("Staff", "k-ada", "k-bob", name="Staff"),
    )

    corp.pull()

    assert ends_as(corp.company) == ends_as(company)


# Many members at once


def rows(corp: Pulled) -> dict[str, list[str]]:
    """All rows of one company, ids named after what they are of."""
    with reading() as session:
        names = {one.id: f"<{one.user_name}>" for one in session.scalars(select(Record).where(Record.organization_id == corp.organization_id))}
        names |= {one.id: f"<person {one.user_name}>" for one in session.scalars(select(Person).where(Person.organization_id == corp.organization_id))}
        names |= {one.id: f"<{one.display_name}>" for one in session.scalars(select(Group).where(Group.organization_id == corp.organization_id))}
        names |= {corp.organization_id: "<organization>", corp.source_id: "<source>"}
        found: dict[str, list[str]] = {}
        for name in ("membership", "directory_group", "work"):
            table = Base.metadata.tables[name]
            told = [{key: value for key, value in row.items() if key not in ("journal_id", "because")}
                    for row in session.execute(select(table).where(table.c.organization_id == corp.organization_id)).mappings()]  # fmt: skip
            found[name] = sorted(_renamed(str(row), names) for row in told)
        journal = Base.metadata.tables["journal"]
        told = [dict(row) for row in session.execute(select(journal).where(journal.c.organization_id == corp.organization_id, journal.c.verb == "group changed")).mappings()]
        found["journal"] = sorted(_renamed(str({**row, "id": 0, "after": _sorted(row["after"], names)}), names) for row in told)
    return found


def _sorted(after: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {key: sorted(names.get(one, one) for one in value) if isinstance(value, list) else value for key, value in after.items()}


def _renamed(text: str, names: dict[str, str]) -> str:
    for key, name in names.items():
        text = text.replace(key, name)
    return text


def test_many_members_at_once_are_the_same_rows(installed: Flask) -> None:
    stories = []
    for many in (False, True):
        corp = pulled_company()
        corp.directory.put(*(person(key) for key in "abcdef"), group("g", "a", "b"))
        corp.pull()
        corp.directory.put(group("g", "b"))
        corp.pull()
        ids = [corp.records()[f"{key}@x.example"].id for key in "abcd"]
        with reading() as session:
            group_id = session.scalars(select(Group.id).where(Group.organization_id == corp.organization_id)).one()

        def act(session: Session, many: bool = many, corp: Pulled = corp, ids: list[str] = ids, group_id: str = group_id) -> None:
            saying: dict[str, Any] = {"actor": ADMIN, "at": NOW, "because": "test"}
            source = find_source(session, corp.organization_id, corp.name)
            for part in (ids, ids):
                if many:
                    put_in(session, source, group_id, part, **saying)
                else:
                    change_group(session, corp.organization_id, corp.source_id, group_id, add=part, **saying)

        in_transaction(act)
        stories.append(rows(corp))

    assert stories[0] == stories[1]
    assert len(stories[0]["membership"]) == 4


def test_whoever_is_no_record_of_this_source_is_not_put_in(installed: Flask) -> None:
    corp = pulled_company()
    other = pulled_company(corp.company, name="other")
    other.directory.put(person("x"))
    other.pull()
    corp.directory.put(person("a"), group("g"))
    corp.pull()
    ids = [corp.records()["a@x.example"].id, other.records()["x@x.example"].id, "nobody"]
    with reading() as session:
        group_id = session.scalars(select(Group.id).where(Group.organization_id == corp.organization_id)).one()
    in_transaction(lambda session: put_in(session, find_source(session, corp.organization_id, "corp"), group_id, ids, actor=ADMIN, at=NOW, because="test"))

    assert corp.groups() == {"G": {"a@x.example"}}


@pytest.mark.parametrize("size", [5_001])
def test_a_group_of_thousands_is_filled_in_parts(installed: Flask, size: int) -> None:
    corp = pulled_company()
    keys = [f"k{number}" for number in range(size)]
    corp.directory.put(*(person(key) for key in keys), group("all", *keys))

    assert corp.pull().joined == size
    assert len(corp.groups()["All"]) == size
    assert corp.pull(whole=True).unchanged == size
