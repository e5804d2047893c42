"""The company is the same each time, and can be pushed in the order in which it comes."""

from itertools import islice

import pytest

from tests.journeys.company import DEPARTMENTS, ENTERPRISE_SCHEMA, people, pushed_groups


@pytest.mark.parametrize("size", [1, 5, 20, 40, 250, 2000])
def test_nobody_comes_before_their_manager(size: int) -> None:
    company = list(people(size=size))

    assert [person.number for person in company] == list(range(size))
    assert all(person.manager is None or person.manager < person.number for person in company)


def test_the_same_seed_gives_the_same_people_and_another_gives_others() -> None:
    assert list(people(size=60, seed=7)) == list(people(size=60, seed=7))
    assert list(people(size=60, seed=7)) != list(people(size=60, seed=8))


def test_a_company_of_250_has_three_levels_of_managers_and_eight_departments() -> None:
    company = list(people())

    leading = {company[person.manager].level for person in company if person.manager is not None}
    assert leading == {0, 1, 2, 3}
    assert {person.department for person in company if person.level > 0} == set(DEPARTMENTS)
    assert {person.user_type for person in company} == {"Employee", "Contractor"}


def test_names_and_keys_are_never_given_twice() -> None:
    company = list(people(size=5000))

    for keys in (
        {person.user_name for person in company},
        {person.external_id for person in company},
        {person.employee_number for person in company},
    ):
        assert len(keys) == len(company)
    assert all(len(person.external_id) == 20 and person.user_name.isascii() for person in company)


def test_a_huge_company_can_be_begun_without_being_built() -> None:
    first = list(islice(people(size=100_000_000), 3))

    assert [person.employee_number for person in first] == ["E-10001", "E-10002", "E-10003"]


def test_okta_is_sent_a_manager_only_where_there_is_one() -> None:
    chief, head = islice(people(), 2)

    assert "manager" not in chief.okta_body(manager_id=None)[ENTERPRISE_SCHEMA]
    assert head.okta_body(manager_id="chief")[ENTERPRISE_SCHEMA]["manager"] == {"value": "chief"}


def test_a_pushed_group_names_people_of_the_company() -> None:
    company = list(people())

    groups = pushed_groups(company)

    assert all(group.members and max(group.members) < len(company) for group in groups)
