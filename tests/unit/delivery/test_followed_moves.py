"""A channel that follows its people takes everybody along who belongs there: also who was in the one that is set aside for it."""

from __future__ import annotations

import pytest
from flask import Flask

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
