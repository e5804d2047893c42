"""A channel that follows its people takes everybody along who belongs there: also who was in the one that is set aside for it."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction
from app.delivery.expansion import want_channels
from app.rules.moves import rename
from tests.arranged_once import arranged_once
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    return arranged_once(installed, led_company)


def test_whoever_leads_is_in_the_channel_that_their_new_team_brought_along(firm: LedCompany) -> None:
    eve = firm.joins("eve", manager=firm.olga)
    firm.delivers()
    assert "team-olga-x-example" in firm.is_in(eve)

    firm.says(firm.bob)
    firm.changes(eve, manager=firm.ada)
    firm.delivers()

    ada, there = firm.account(firm.ada), firm.there
    members = {room.name: there.members[ref] for ref, room in there.rooms.items()}
    assert members["team-ada-x-example"] == {ada, firm.account(eve)}
    assert members["team-ada-x-example-superseded"] == set()


def test_whoever_comes_to_a_department_called_as_a_renamed_one_was_is_shown_nothing_of_it(firm: LedCompany) -> None:
    renames_sales(firm, "Growth")
    dan = firm.joins("dan", department="Sales")
    firm.delivers()
    # The directory has not followed: who is hired into Sales meanwhile is one of them.
    assert "dept-growth" in firm.is_in(dan)

    for record in (firm.ada, firm.bob, dan):
        firm.changes(record, department="Growth")
    firm.delivers()
    eve = firm.joins("eve", department="Sales")
    firm.delivers()

    assert firm.is_in(eve) == {"all-hands", "dept-sales"}
    assert "dept-growth" in firm.is_in(dan)


def test_a_channel_that_an_operator_renames_goes_with_its_people_into_a_space_that_is_still_to_be_made(firm: LedCompany) -> None:
    firm.rules("rules:\n  - {id: departments, for_each: department, name: '{{ key }}', parent: 'around {{ key }}'}")
    firm.delivers()

    renames_sales(firm, "Growth")

    rooms = {room.name: room for room in firm.there.rooms.values()}
    assert rooms["Growth"].parent == rooms["around Growth"].ref
    assert firm.is_in(firm.bob) == {"Growth", "around Growth"}


def renames_sales(firm: LedCompany, name: str) -> None:
    def act(session: Session) -> None:
        done = rename(session, firm.company.organization_id, "departments", "Sales", name, firm.at)
        want_channels(session, firm.company.organization_id, {done.channel_id}, at=firm.at)

    in_transaction(act)
    firm.delivers()
