"""Why somebody is in their channels, in parts that a page can translate."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from app.rules.reasons import Because, Place, Reason, places_of
from app.rules.revisions import apply_rules
from app.rules.tables import ChannelMember
from tests.unit.rules.conftest import OPERATOR, ORGANIZATION, Company, rules_of

RULES = rules_of("""
- id: departments
  for_each: department
  name: "dept-{{ key | slug }}"
- {id: teams, for_each: manager, name: "team-{{ manager.displayName | slug }}"}
- {id: everyone, name: "all-hands"}
- {id: employees, where: 'userType eq "Employee"', name: "staff"}
""")


@pytest.fixture
def told(company: Company) -> Company:
    company.hires("Ada", department="Research", userType="Employee")
    company.hires("Bob", department="Research", userType="Contractor", manager="ada")
    apply_rules(company.session, ORGANIZATION, RULES, OPERATOR, company.now)
    company.is_delivered(RULES)
    return company


def places(company: Company, person: str) -> dict[str, Place]:
    return {place.channel: place for place in places_of(company.session, ORGANIZATION, person, at=company.now)}


def test_each_channel_says_what_put_the_person_there(told: Company) -> None:
    found = places(told, "bob")

    assert {name: place.reasons for name, place in found.items()} == {
        "all-hands": (Reason(because=Because.EVERYONE),),
        "dept-research": (Reason(because=Because.ATTRIBUTE, attribute="department", value="Research"),),
        "team-ada": (Reason(because=Because.REPORTS_TO, value="Ada"),),
    }


def test_who_leads_a_team_is_told_that_they_do(told: Company) -> None:
    assert places(told, "ada")["team-ada"].reasons == (Reason(because=Because.LEADS),)


def test_a_condition_is_shown_as_it_is_written(told: Company) -> None:
    assert places(told, "ada")["staff"].reasons == (Reason(because=Because.RULE, value='userType eq "Employee"'),)


def test_who_is_kept_for_a_while_is_told_until_when(told: Company) -> None:
    until = told.now + timedelta(days=7)
    told.session.execute(update(ChannelMember).where(ChannelMember.person_id == "bob").values(keep_until=until))
    told.moves("bob", department="Sales")

    place = places(told, "bob")["dept-research"]

    assert (place.reasons, place.until) == ((Reason(because=Because.KEPT),), until)


def test_who_left_is_in_no_channel(told: Company) -> None:
    told.leaves("ada")

    assert places(told, "ada") == {}
