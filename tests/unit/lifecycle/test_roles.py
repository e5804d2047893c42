"""Which groups give which role: a name is a name, and an id is an id."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import reading
from app.directory.tables import Group, Record, Standing
from app.lifecycle import conditions
from app.lifecycle.operators import Role
from app.lifecycle.roles import roles_among, roles_of
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import open_alarms
from tests.company import Company, new_company
from tests.vouching import administrators, decide, in_group

ID = "01a2161d-b552-77b8-83b3-b770ae64c046"
DAY = timedelta(days=1)


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def group_id(company: Company, name: str) -> str:
    with reading() as session:
        return session.scalars(select(Group.id).where(Group.organization_id == company.organization_id, Group.display_name == name)).one()


def roles(company: Company, record: Record) -> tuple[Role, ...]:
    with reading() as session:
        return roles_of(session, company.organization_id, record.person_id)


def test_a_group_that_is_called_what_anothers_id_is_gives_no_role(company: Company) -> None:
    ada, eve = company.joins("ada@x.example", "1"), company.joins("eve@x.example", "2")
    in_group(company, "IT", ada)
    meant = group_id(company, "IT")
    decide(company, "role_groups", json.dumps({"owner": [meant]}))

    in_group(company, meant, eve)

    assert (roles(company, ada), roles(company, eve)) == ((Role.OWNER,), ())


def test_nobody_is_the_last_owner_by_such_a_name(company: Company) -> None:
    decide(company, "role_groups", json.dumps({"owner": [ID]}))
    in_group(company, ID, company.joins("eve@x.example", "2"))

    conditions.look(company.organization_id, at=now(), overdue_after=timedelta(minutes=1))

    with reading() as session:
        assert AlarmKind.LAST_OWNER_LEAVING in {one.kind for one in open_alarms(session, company.organization_id)}


@pytest.mark.parametrize("dates", [{"ends_at": now() - DAY}, {"starts_at": now() + DAY}], ids=["over", "yet to begin"])
def test_an_account_gives_no_role_outside_its_dates(company: Company, dates: dict[str, datetime]) -> None:
    ada = company.joins("ada@x.example", "1")
    administrators(company, ada, **dates)
    decide(company, "role_groups", json.dumps({"owner": ["Administrators"]}))

    conditions.look(company.organization_id, at=now(), overdue_after=timedelta(minutes=1))

    assert (company.person(ada).standing, roles(company, ada)) == (Standing.ACTIVE, ())
    with reading() as session:
        assert AlarmKind.LAST_OWNER_LEAVING in {one.kind for one in open_alarms(session, company.organization_id)}


def test_an_account_gives_a_role_within_its_dates(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    administrators(company, ada, starts_at=now() - DAY, ends_at=now() + DAY)

    decide(company, "role_groups", json.dumps({"owner": ["Administrators"]}))

    assert roles(company, ada) == (Role.OWNER,)


@pytest.mark.parametrize(
    ("wanted", "groups", "expected"),
    [
        ({"admin": ["IT"]}, [(ID, "it")], (Role.ADMIN,)),
        ({"admin": [" it "]}, [(ID, "it")], (Role.ADMIN,)),
        ({"admin": [ID.upper()]}, [(ID, "it")], (Role.ADMIN,)),
        ({"admin": [ID]}, [("g", ID)], ()),
        ({"admin": [ID.upper()]}, [("g", ID)], ()),
        ({"admin": ["it"]}, [("it", "others")], ()),
        ({"auditor": ["it"], "owner": ["it"]}, [("g", "it")], (Role.OWNER, Role.AUDITOR)),
        ({}, [("g", "it")], ()),
    ],
)
def test_what_groups_give(wanted: dict[str, list[str]], groups: list[tuple[str, str]], expected: tuple[Role, ...]) -> None:
    assert roles_among(wanted, groups) == expected
