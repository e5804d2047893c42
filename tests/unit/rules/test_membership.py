"""Rules as queries: who belongs where, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from app.rules.membership import Belongs, desired, keys_in_use, keys_of_person
from tests.unit.rules.conftest import ENTERPRISE, ORGANIZATION, Company, rules_of

pytestmark = pytest.mark.slow

EVERYONE = rules_of("- {id: everyone, name: all-hands}")
DEPARTMENTS = rules_of('- {id: departments, for_each: department, name: "dept-{{ key | slug }}"}')
TEAMS = rules_of('- {id: teams, for_each: manager, name: "team-{{ manager.displayName | slug }}", owners: [manager]}')
GROUPS = rules_of('- {id: groups, for_each: group, name: "grp-{{ group.displayName | slug }}"}')


def test_everyone_who_is_active_belongs(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob")
    company.leaves("bob")

    assert company.roster(EVERYONE) == {"all-hands": {"ada"}}


def test_a_department_gathers_its_people(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob", department=" Research ")
    company.hires("Cy", department="Sales")

    assert company.roster(DEPARTMENTS) == {"dept-research": {"ada", "bob"}, "dept-sales": {"cy"}}


@pytest.mark.parametrize("department", [None, "", "  "])
def test_nobody_without_a_department_is_in_a_channel(company: Company, department: str | None) -> None:
    company.hires("Ada", department=department)

    assert company.roster(DEPARTMENTS) == {}
    assert keys_of_person(company.session, ORGANIZATION, DEPARTMENTS, "ada") == []


def test_nobody_without_a_department_is_in_a_channel_that_the_rule_once_had_for_everyone(company: Company) -> None:
    once = rules_of("- {id: departments, name: all-hands}")
    company.hires("Ada")
    company.hires("Bob", department=" ")
    company.roster(once)

    assert company.roster(DEPARTMENTS) == {}


def test_a_filter_narrows_a_rule(company: Company) -> None:
    company.hires("Ada", userType="Employee")
    company.hires("Bob", userType="Contractor")
    rules = rules_of("""- {id: staff, where: 'userType eq "employee"', name: staff}""")

    assert company.roster(rules) == {"staff": {"ada"}}


def test_a_rule_names_as_many_alternatives_in_brackets_as_its_length_lets_it(company: Company) -> None:
    """What a request may hold there is bounded, but rules are stored as they were written, and were written before that."""
    company.hires("Ada", roles=[{"value": "r-179"}])
    company.hires("Bob", roles=[{"value": "x"}])
    named = " or ".join(f'value eq "r-{number}"' for number in range(180))
    rules = rules_of(f"- {{id: roles, where: 'roles[{named}]', name: roles}}")

    assert company.roster(rules) == {"roles": {"ada"}}


def test_a_team_has_the_direct_reports_and_their_manager(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob", manager="ada")
    company.hires("Cy", manager="bob")

    assert company.roster(TEAMS) == {"team-ada": {"ada", "bob"}, "team-bob": {"bob", "cy"}}
    assert [one.key for one in keys_of_person(company.session, ORGANIZATION, TEAMS, "bob")] == ["ada", "bob"]


def test_a_manager_who_left_is_not_in_the_team(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob", manager="ada")
    company.leaves("ada")

    assert company.roster(TEAMS) == {"team-ada": {"bob"}}


def test_who_reports_to_themselves_has_no_team(company: Company) -> None:
    company.hires("Ada", manager="ada")

    assert company.roster(TEAMS) == {}


def test_a_group_gathers_its_members(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob")
    company.has_group("Choir", "ada", "bob")
    company.has_group("Nobody")

    assert company.roster(GROUPS) == {"grp-choir": {"ada", "bob"}}


def test_two_rules_with_one_name_give_the_union(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob", userType="Contractor")
    rules = rules_of("""
- {id: one, where: 'userType eq "Contractor"', name: mixed}
- {id: two, where: 'department eq "Research"', name: mixed}
""")

    assert company.roster(rules) == {"mixed": {"ada", "bob"}}


def test_a_location_is_the_work_address(company: Company) -> None:
    addresses = [{"type": "home", "locality": "Hull"}, {"type": "work", "locality": "Oslo"}]
    company.hires("Ada", addresses=addresses)
    company.hires("Bob", addresses=[{"type": "home", "locality": "Rome"}])
    rules = rules_of('- {id: places, for_each: location, name: "in-{{ key | slug }}"}')

    assert company.roster(rules) == {"in-oslo": {"ada"}}


def test_a_list_gives_several_keys(company: Company) -> None:
    company.hires("Ada", roles=[{"value": "driver"}, {"value": "cook"}], title="Chef")
    company.hires("Bob", roles=["cook", 7, None])
    rules = rules_of('- {id: roles, for_each: roles.value, name: "role-{{ key }}"}\n- {id: bare, for_each: roles, name: "bare-{{ key }}"}')

    found = company.roster(rules)

    assert found == {
        "role-driver": {"ada"}, "role-cook": {"ada"}, "bare-driver": {"ada"}, "bare-cook": {"ada", "bob"}, "bare-7": {"bob"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("title", "Chef"),
        ("costCenter", "42"),
        ("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter", "42"),
        ("urn:example:acme:1.0:User:floor", "3"),
        ("name.familyName", "Byron"),
        ('emails[type eq "WORK" and primary eq true].value', "a@example.com"),
    ],
)
def test_any_attribute_path_can_gather(company: Company, path: str, key: str) -> None:
    said: dict[str, Any] = {
        "title": "Chef",
        "name": {"familyName": "Byron"},
        "emails": [{"value": "h@example.com", "type": "home"}, {"value": "a@example.com", "type": "work", "primary": True}],
        ENTERPRISE: {"costCenter": "42"},
        "urn:example:acme:1.0:User": {"floor": 3},
    }
    company.hires("Ada", **said)
    rules = rules_of(f"- id: any\n  for_each: '{path}'\n  name: 'x-{{{{ key }}}}'")

    assert keys_of_person(company.session, ORGANIZATION, rules, "ada") == [Belongs(rule_id="any", key=key)]


def test_brackets_know_a_letter_in_either_case_whatever_the_letter(company: Company) -> None:
    for name, kind in (("Ada", "Büro"), ("Bob", "BÜRO"), ("Cy", "buro")):
        company.hires(name, addresses=[{"type": kind, "locality": "Wien"}])

    assert company.roster(rules_of("""- {id: o, for_each: 'addresses[type eq "büro"].locality', name: "in-{{ key | slug }}"}""")) == {"in-wien": {"ada", "bob"}}


@pytest.mark.parametrize("numbers", [(90071992547409931001, 90071992547409931002), (0.1 + 0.2, 0.3)])
def test_numbers_that_differ_gather_apart(company: Company, numbers: tuple[float, float]) -> None:
    for name, number in zip(("Ada", "Bob"), numbers, strict=True):
        company.hires(name, costNo=number, places=[{"no": number}], plain=[number])

    for path in ("costNo", "places.no", "plain"):
        roster = company.roster(rules_of(f'- {{id: n, for_each: {path}, name: "no-{{{{ key }}}}"}}'))
        assert sorted(map(sorted, roster.values())) == [["ada"], ["bob"]], path
        assert set(roster) == {f"no-{number}" for number in numbers}, path


@pytest.mark.parametrize(
    ("number", "key"),
    [
        (1e3, "1000.0"), (1.0, "1.0"), (1e16, "10000000000000000"), (1.25e20, "125000000000000000000"), (1e-5, "0.00001"), (-1.5e-7, "-0.00000015"),
        (-0.0, "0.0"),
    ],
)  # fmt: skip
def test_a_number_is_written_without_an_exponent_on_both_databases(company: Company, number: float, key: str) -> None:
    company.hires("Ada", costNo=number, places=[{"no": number, "type": "Work"}], plain=[number])

    for path in ("costNo", "places.no", 'places[type eq "work"].no', "plain"):
        assert company.roster(rules_of(f"- {{id: n, for_each: '{path}', name: 'no-{{{{ key }}}}'}}")) == {f"no-{key}": {"ada"}}, path


def test_named_owners_belong_where_others_do(company: Company) -> None:
    company.hires("Ada", department="Board")
    company.hires("Bob", department="Sales")
    rules = rules_of("""- {id: d, where: 'department ne "Board"', for_each: department, name: "d-{{ key }}", owners: [ADA@example.com]}""")

    assert company.roster(rules) == {"d-Sales": {"ada", "bob"}}
    assert keys_of_person(company.session, ORGANIZATION, rules, "ada") == [Belongs(rule_id="d", key="Sales")]


def test_one_persons_keys_are_their_part_of_everybodys(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob", department="Sales", manager="ada")
    company.has_group("Choir", "bob")
    rules = EVERYONE + DEPARTMENTS + TEAMS + GROUPS
    reached = company.allocates(rules)

    for person_id in ("ada", "bob"):
        mine = {reached[one.rule_id, one.key] for one in keys_of_person(company.session, ORGANIZATION, rules, person_id)}
        assert mine == {channel for channel, person in desired(company.session, ORGANIZATION, rules, at=company.now) if person == person_id}


def test_pairs_come_sorted_by_bytes(company: Company) -> None:
    for name in ("ada", "Zoe", "Éva", "bob-1", "bob1", "a_b", "B"):
        company.hires(name, department="Research")
    rules = EVERYONE + DEPARTMENTS
    company.allocates(rules)

    found = list(desired(company.session, ORGANIZATION, rules, at=company.now))

    assert len(found) == 14
    assert found == sorted(found, key=lambda pair: (pair[0].encode(), pair[1].encode()))


def test_another_organisation_is_never_seen(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob", organization="other", department="Secret", manager="ada")

    assert company.roster(EVERYONE + DEPARTMENTS + TEAMS) == {"all-hands": {"ada"}, "dept-research": {"ada"}}


def test_keys_in_use_are_counted(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob", department="Research")

    used = [(one.belongs, one.people) for one in keys_in_use(company.session, ORGANIZATION, DEPARTMENTS)]

    assert used == [(Belongs(rule_id="departments", key="Research"), 2)]


def test_the_most_rules_fit_into_one_statement(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob", manager="ada")
    rules = rules_of(
        "\n".join(f'- {{id: r{n}, for_each: manager, name: "t{n}-{{{{ key }}}}", owners: [bob@example.com]}}' for n in range(150))
    )

    assert len(company.roster(rules)) == 150
    assert len(keys_of_person(company.session, ORGANIZATION, rules, "bob")) == 150
