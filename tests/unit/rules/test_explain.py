"""Why somebody is in a channel, or is not, in one sentence."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from app.directory.tables import Person
from app.rules.explain import Explanation, explain
from app.rules.revisions import apply_rules
from app.rules.tables import ChannelMember
from tests.unit.rules.conftest import MORNING, OPERATOR, ORGANIZATION, Company, rules_of

RULES = rules_of("""
- id: departments
  where: 'userType eq "Employee"'
  for_each: department
  name: "dept-{{ key | slug }}"
- {id: teams, for_each: manager, name: "team-{{ manager.displayName | slug }}"}
""")


@pytest.fixture
def told(company: Company) -> Company:
    company.hires("Ada", department="Research", userType="Employee")
    company.hires("Bob", department="Research", userType="Contractor", manager="ada")
    apply_rules(company.session, ORGANIZATION, RULES, OPERATOR, company.now)
    company.is_delivered(RULES)
    return company


def why(company: Company, person: str, channel: str | None = None) -> Explanation:
    return explain(company.session, ORGANIZATION, person, channel, company.now)


def test_a_member_is_told_the_rule_and_the_key(told: Company) -> None:
    assert why(told, "ada", "dept-research").sentence == "Ada is in dept-research by rule departments (department Research)."


def test_a_team_is_told_by_the_managers_name(told: Company) -> None:
    assert why(told, "bob", "team-ada").sentence == "Bob is in team-ada by rule teams (manager Ada)."


def test_who_is_not_in_it_is_told_the_condition_that_does_not_hold(told: Company) -> None:
    found = why(told, "bob", "dept-research")

    assert found.sentence == "Bob is not in dept-research: no rule that reaches it reaches them."
    assert found.steps[-1].answer == 'no: userType eq "Employee" does not hold'


def test_without_a_channel_all_are_named(told: Company) -> None:
    assert why(told, "ada").sentence == "Ada belongs in 2 channels: dept-research, team-ada."


def test_whose_last_instant_has_come_has_no_access_though_no_worker_has_acted_on_it(told: Company) -> None:
    for until, answer in ((told.now + timedelta(seconds=1), "yes"), (told.now, "no")):
        told.session.execute(update(Person).where(Person.display_name == "Ada").values(access_until=until))
        told.session.expire_all()

        assert why(told, "ada", "dept-research").steps[0].answer == answer

    assert why(told, "ada", "dept-research").sentence == "Ada does not belong in dept-research, having no access at present."
    assert why(told, "ada").sentence == "Ada belongs in no channel, having no access at present."


def test_who_left_belongs_nowhere(told: Company) -> None:
    told.leaves("ada")

    assert why(told, "ada", "dept-research").sentence == "Ada does not belong in dept-research, having no access at present."


def test_who_left_is_not_said_to_lack_what_they_have(told: Company) -> None:
    told.leaves("bob")

    answers = [step.answer for step in why(told, "bob").steps if step.question.startswith("Does rule")]

    assert answers == ['no: userType eq "Employee" does not hold', "no: the person is not active"]


def test_who_moved_is_told_how_long_the_channel_is_kept(told: Company) -> None:
    told.moves("ada", department="Sales")
    told.session.execute(update(ChannelMember).values(keep_until=MORNING.replace(day=16)))

    sentence = why(told, "ada", "dept-research").sentence

    assert sentence.startswith("Ada is in dept-research until 2026-03-16T09:00:00.000Z")


def test_a_channel_still_to_be_made_is_said_so(told: Company) -> None:
    told.moves("ada", department="Sales")

    assert why(told, "ada", "dept-sales").sentence.endswith("the channel is still to be made.")


def test_an_unknown_channel_is_said_so(told: Company) -> None:
    assert why(told, "ada", "nowhere").sentence.startswith("There is no channel nowhere")


@pytest.mark.parametrize(("left_at", "step"), [(None, "invited since 2026-03-02T09:00:00.000Z"), (MORNING, "no: not when looked at 2026-03-02T09:00:00.000Z")])
def test_who_is_invited_is_said_neither_to_be_in_it_nor_to_have_left(company: Company, left_at: datetime | None, step: str) -> None:
    company.hires("Ada")
    fans = rules_of("- {id: fans, name: fans, membership: suggested}")
    apply_rules(company.session, ORGANIZATION, fans, OPERATOR, company.now)
    company.is_delivered(fans)
    company.session.execute(update(ChannelMember).values(left_at=left_at))

    found = why(company, "ada", "fans")

    assert found.sentence == "Ada belongs in fans by rule fans (everyone); membership is suggested, so they are invited, and come in by themselves."
    assert found.steps[-1].answer == step
