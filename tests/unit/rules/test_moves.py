"""A renamed department keeps its channel: told by an operator, or seen."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from app.directory.tables import Group
from app.rules.channels import settle
from app.rules.grouping import LONGEST_KEY
from app.rules.moves import Renamed, RenameRefused, follow_moves, rename
from app.rules.revisions import apply_rules
from app.rules.tables import Channel
from tests.unit.rules.conftest import OPERATOR, ORGANIZATION, Company, rules_of

RULES = rules_of('- {id: d, for_each: department, name: "dept-{{ key | slug }}"}')


@pytest.fixture
def research(company: Company) -> str:
    """Ada and Bob are in Research, and their channel is delivered; its id."""
    company.hires("Ada", department="Research")
    company.hires("Bob", department="Research")
    company.hires("Cy", department="Sales")
    apply_rules(company.session, ORGANIZATION, RULES, OPERATOR, company.now)
    company.is_delivered(RULES)
    return company.channel_named("dept-research")


def follow(company: Company) -> list[Renamed]:
    return follow_moves(company.session, ORGANIZATION, RULES, company.now, ["ada", "bob"])


def test_a_rename_keeps_the_channel(company: Company, research: str) -> None:
    rename(company.session, ORGANIZATION, "d", "Research", "Science", company.now)

    assert company.channel_named("dept-science") == research
    assert company.roster(RULES)["dept-science"] == {"ada", "bob"}


def test_a_key_is_renamed_as_it_is_compared(company: Company, research: str) -> None:
    name = "Science " * 100
    assert rename(company.session, ORGANIZATION, "d", " Research ", name, company.now).new == name[:LONGEST_KEY]

    company.moves("ada", department=name)
    company.moves("bob", department=name)

    assert [one for one, people in company.roster(RULES).items() if people == {"ada", "bob"}] == [company.session.scalar(select(Channel.name).where(Channel.id == research))]


def test_a_group_that_was_made_again_has_the_room_of_the_one_before_once_an_operator_says_so(company: Company) -> None:
    rules = rules_of("""- {id: groups, for_each: group, name: "grp-{{ group.displayName | slug }}"}""")
    company.hires("Ada")
    company.hires("Bob")
    apply_rules(company.session, ORGANIZATION, rules, OPERATOR, company.now)
    before = company.has_group("Choir", "ada", "bob")
    company.allocates(rules)
    room = company.channel_named("grp-choir")
    company.session.execute(update(Group).values(ended_at=company.now))
    again = company.has_group("Choir", "ada")
    company.allocates(rules)
    assert company.roster(rules) == {"grp-choir-2": {"ada"}}

    rename(company.session, ORGANIZATION, "groups", before, again, company.now)

    assert company.channel_named("grp-choir") == room
    assert company.roster(rules) == {"grp-choir": {"ada"}}


def test_a_team_is_not_renamed_to_what_is_no_managers_id(company: Company) -> None:
    rules = rules_of("""
- {id: teams, for_each: manager, name: "team-{{ manager.userName | slug }}"}
- {id: groups, for_each: group, name: "grp-{{ group.displayName | slug }}"}
""")
    company.hires("Ada")
    company.hires("Bob", manager="ada")
    choir = company.has_group("Choir", "bob")
    apply_rules(company.session, ORGANIZATION, rules, OPERATOR, company.now)
    before = company.roster(rules)

    with pytest.raises(RenameRefused, match=r"'bob@example\.com' is no manager's id"):
        rename(company.session, ORGANIZATION, "teams", "ada", "bob@example.com", company.now)
    with pytest.raises(RenameRefused, match=r"'Choral' is no group's id"):
        rename(company.session, ORGANIZATION, "groups", choir, "Choral", company.now)

    assert company.roster(rules) == before


def test_people_come_after_a_rename_one_by_one(company: Company, research: str) -> None:
    rename(company.session, ORGANIZATION, "d", "Research", "Science", company.now)
    company.moves("ada", department="Science")

    assert company.roster(RULES) == {"dept-science": {"ada", "bob"}, "dept-sales": {"cy"}}


def test_a_former_key_is_let_go_when_nobody_has_it(company: Company, research: str) -> None:
    rename(company.session, ORGANIZATION, "d", "Research", "Science", company.now)
    for person in ("ada", "bob"):
        company.moves(person, department="Science")
    settle(company.session, ORGANIZATION, [research], company.now)
    company.hires("Dee", department="Research")

    assert company.roster(RULES) == {"dept-science": {"ada", "bob"}, "dept-sales": {"cy"}, "dept-research": {"dee"}}


def test_renaming_twice_finds_it_done(company: Company, research: str) -> None:
    once = rename(company.session, ORGANIZATION, "d", "Research", "Science", company.now)

    assert rename(company.session, ORGANIZATION, "d", "Research", "Science", company.now) == once


@pytest.mark.parametrize(("rule", "old", "new"), [("x", "Research", "Science"), ("d", "Nowhere", "Science"), ("d", "Research", " ")])
def test_what_is_not_there_cannot_be_renamed(company: Company, research: str, rule: str, old: str, new: str) -> None:
    with pytest.raises(RenameRefused):
        rename(company.session, ORGANIZATION, rule, old, new, company.now)


def test_a_department_that_moves_as_one_is_followed(company: Company, research: str) -> None:
    for person in ("ada", "bob"):
        company.moves(person, department="Science")

    assert [one.new for one in follow(company)] == ["Science"]
    assert company.channel_named("dept-science") == research
    assert follow(company) == []


def test_whoever_comes_with_the_old_key_later_is_none_of_those_who_moved(company: Company, research: str) -> None:
    for person in ("ada", "bob"):
        company.moves(person, department="Science")
    follow(company)

    company.hires("Dee", department="Research")

    assert company.roster(RULES) == {"dept-science": {"ada", "bob"}, "dept-sales": {"cy"}, "dept-research": {"dee"}}


def test_a_department_that_moves_twice_is_followed_twice(company: Company, research: str) -> None:
    for name in ("Science", "Discovery"):
        for person in ("ada", "bob"):
            company.moves(person, department=name)
        assert [one.new for one in follow(company)] == [name]

    assert company.channel_named("dept-discovery") == research


def test_the_channel_made_for_the_first_mover_is_superseded(company: Company, research: str) -> None:
    company.moves("ada", department="Science")
    assert follow(company) == []
    company.allocates(RULES)
    made = company.channel_named("dept-science")
    company.waits(minutes=20)
    company.moves("bob", department="Science")

    followed = follow(company)

    assert [one.superseded for one in followed] == [made]
    assert company.channel_named("dept-science") == research
    assert company.channel_named("dept-science-superseded") == made
    assert company.roster(RULES)["dept-science"] == {"ada", "bob"}


def test_what_is_set_aside_a_second_time_is_numbered(company: Company, research: str) -> None:
    for name in ("Science", "Discovery", "Science"):
        for person in ("ada", "bob"):
            company.moves(person, department=name)
            company.allocates(RULES)
        assert [one.new for one in follow(company)] == [name]

    assert company.channel_named("dept-science") == research
    assert {"dept-science-superseded", "dept-science-superseded-2", "dept-discovery-superseded"} <= company.channel_names()


def test_a_slow_dissolution_is_no_rename(company: Company, research: str) -> None:
    company.moves("ada", department="Science")
    company.allocates(RULES)
    company.waits(hours=2)
    company.moves("bob", department="Science")

    assert follow(company) == []


def test_a_merger_into_another_department_is_no_rename(company: Company, research: str) -> None:
    for person in ("ada", "bob"):
        company.moves(person, department="Sales")
    company.waits(hours=2)

    assert follow(company) == []
    assert company.roster(RULES) == {"dept-sales": {"ada", "bob", "cy"}}


def test_a_split_is_no_rename(company: Company, research: str) -> None:
    company.moves("ada", department="Science")
    company.moves("bob", department="Engineering")

    assert follow(company) == []


def test_history_is_not_shown_to_those_who_came_from_elsewhere(company: Company, research: str) -> None:
    for person in ("ada", "bob", "cy"):
        company.moves(person, department="Science")

    assert follow(company) == []


def test_who_left_does_not_hold_up_the_others(company: Company, research: str) -> None:
    company.moves("ada", department="Science")
    company.leaves("bob")

    assert [one.new for one in follow(company)] == ["Science"]


def test_a_team_goes_along_with_its_new_manager(company: Company) -> None:
    teams = rules_of('- {id: t, for_each: manager, name: "team-{{ manager.displayName }}"}')
    company.hires("Ada")
    company.hires("Bob")
    company.hires("Cy", manager="ada")
    company.is_delivered(teams)
    channel = company.channel_named("team-Ada")
    company.moves("cy", manager_id="bob")

    follow_moves(company.session, ORGANIZATION, teams, company.now)

    assert company.channel_named("team-Bob") == channel
    assert company.roster(teams) == {"team-Bob": {"bob", "cy"}}
