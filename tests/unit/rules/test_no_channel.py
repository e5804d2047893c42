"""Who is in no channel: by the same rules that put everybody else in theirs, with the reason of each."""

from __future__ import annotations

import pytest

from app.access.tables import Workspace
from app.rules import no_channel
from app.rules.file import Rule
from app.rules.no_channel import Unreached, unreached
from app.rules.revisions import apply_rules, current_rules
from app.rules.tables import Channel, ChannelMember
from tests.unit.rules.conftest import MORNING, OPERATOR, ORGANIZATION, WORKSPACE, Company, rules_of

DEPARTMENTS = """
  - id: departments
    for_each: department
    name: "{{ key | slug }}"
"""
CHIEFS = """
  - id: chiefs
    where: title eq "Chief"
    name: chiefs
"""
TEAMS = """
  - id: teams
    for_each: manager
    name: "{{ manager.displayName | slug }}"
"""


def found(company: Company, rules: tuple[Rule, ...]) -> dict[str, Unreached]:
    return {one.person_id: one for one in unreached(company.session, ORGANIZATION, rules)}


def test_only_who_is_in_none_is_listed(company: Company) -> None:
    company.hires("Ada", department="Finance")
    company.hires("Bob")

    assert set(found(company, rules_of(DEPARTMENTS))) == {"bob"}


def test_each_rule_says_why_it_leaves_them_out(company: Company) -> None:
    company.hires("Bob")

    assert found(company, rules_of(DEPARTMENTS + CHIEFS + TEAMS))["bob"].why == (
        'departments: they have no department; chiefs: title eq "Chief" does not hold; teams: they have no manager'
    )


def test_who_reports_to_themselves_has_no_team(company: Company) -> None:
    company.hires("Ada")
    company.moves("ada", manager_id="ada")

    assert found(company, rules_of(TEAMS))["ada"].why == "teams: they report to themselves"


def test_a_manager_whose_team_is_theirs_is_in_a_channel(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob", manager="ada")

    assert found(company, rules_of(TEAMS)) == {}


def test_a_rule_that_fits_and_gathers_by_what_they_have_not_says_so(company: Company) -> None:
    company.hires("Bob", userType="Employee")
    rules = rules_of('  - id: both\n    where: userType eq "Employee"\n    for_each: department\n    name: "{{ key }}"\n')

    assert found(company, rules)["bob"].why == "both: they have no department"


@pytest.mark.parametrize("standing", ["departed", "paused", "expected"])
def test_who_has_no_access_is_not_missed_in_any(company: Company, standing: str) -> None:
    company.hires("Bob")
    company.moves("bob", standing=standing)

    assert found(company, rules_of(DEPARTMENTS)) == {}


def test_without_rules_everybody_is_in_none(company: Company) -> None:
    company.hires("Ada", department="Finance")

    assert found(company, ())["ada"].why == "there are no rules yet: doorlist rules apply"


def test_the_rules_in_force_are_asked(company: Company) -> None:
    company.hires("Ada", department="Finance")
    company.hires("Bob")
    apply_rules(company.session, ORGANIZATION, rules_of(DEPARTMENTS), OPERATOR, MORNING)

    assert set(found(company, current_rules(company.session, ORGANIZATION))) == {"bob"}


def test_who_is_still_in_one_by_hand_is_told_with_how_many(company: Company) -> None:
    company.hires("Bob")
    mine = {"organization_id": ORGANIZATION}
    company.session.add(Workspace(**mine, id=WORKSPACE, name="chat", kind="matrix", url="http://x.invalid", sealed_token=b"", created_at=MORNING))
    for name, space, left, why in (
        ("tea", False, None, "hand"), ("left", False, MORNING, "hand"), ("company", True, None, "rule"), ("moved", False, None, "moved"),
    ):  # fmt: skip
        company.session.add(Channel(**mine, id=name, name=name, space=space, created_at=MORNING))
        company.session.add(
            ChannelMember(**mine, workspace_id=WORKSPACE, channel_id=name, person_id="bob", why=why, since=MORNING, left_at=left)
        )
    company.session.flush()

    assert found(company, rules_of(DEPARTMENTS))["bob"].still_in == 1


def test_nobody_of_another_organisation_is_listed(company: Company) -> None:
    company.hires("Eve", organization="other")

    assert found(company, rules_of(DEPARTMENTS)) == {}


def test_however_few_are_looked_at_at_a_time_the_answer_is_the_same(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        company.hires(f"P{number}", **({"department": "Finance"} if number % 3 == 0 else {}))
    rules = rules_of(DEPARTMENTS + CHIEFS)
    whole = list(unreached(company.session, ORGANIZATION, rules))

    monkeypatch.setattr(no_channel, "AT_A_TIME", 2)

    assert list(unreached(company.session, ORGANIZATION, rules)) == whole and len(whole) == 6
