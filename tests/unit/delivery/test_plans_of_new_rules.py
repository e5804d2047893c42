"""A plan that is made before anybody was looked at says what new rules then do, also where they come to channels that are there."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.tables import Workspace
from app.commands import differences
from app.database import reading
from tests.arranged_once import arranged_once
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow

DEPARTMENTS = """
rules:
  - {id: ID, for_each: department, name: "{{ key }}", parent: company}
"""


@pytest.fixture
def firm(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> LedCompany:
    made = arranged_once(installed, led_company)
    monkeypatch.setattr(differences, "open_workspace", lambda _: made.there)
    made.rules(DEPARTMENTS.replace("ID", "departments"))
    made.delivers()
    return made


def plan(firm: LedCompany) -> tuple[set[tuple[str, str | None, str]], list[str]]:
    with reading() as session:
        workspace = session.scalars(select(Workspace).where(Workspace.id == firm.workspace_id)).one()
    found = differences.find_differences(firm.company.organization_id, workspace)
    return {(line.sign, line.channel, line.person.split("@")[0]) for line in found.lines}, list(found.new_channels)


def test_a_rule_that_is_given_another_id_takes_nobody_out(firm: LedCompany) -> None:
    firm.rules(DEPARTMENTS.replace("ID", "units"))

    assert plan(firm) == (set(), [])


def test_a_rule_that_comes_to_the_channel_of_another_adds_its_people_there(firm: LedCompany) -> None:
    firm.rules(DEPARTMENTS.replace("ID", "departments") + "  - {id: mia, where: 'userName sw \"mia\"', name: Sales}\n")

    assert plan(firm) == ({("+", "Sales", "mia")}, [])


def test_a_second_key_of_one_name_is_planned_under_the_name_that_it_is_given(firm: LedCompany) -> None:
    low = DEPARTMENTS.replace("ID", "departments").replace("{{ key }}", "{{ key | lower }}")
    firm.rules(low)
    firm.delivers()
    firm.changes(firm.olga, department="SALES")

    before = plan(firm)
    firm.delivers()

    assert before == ({("+", "sales-2", "olga"), ("+", "company", "olga")}, ["sales-2"])
    assert "sales-2" in firm.is_in(firm.olga)
    assert plan(firm) == (set(), [])
