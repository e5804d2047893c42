"""Keys become channels: their names, spaces and owners, and what becomes of an empty one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.directory.tables import Group
from app.rules.channels import reach, settle
from app.rules.file import Joining, Rule
from app.rules.membership import Belongs
from app.rules.revisions import apply_rules
from app.rules.shapes import ChannelShape, shape
from app.rules.tables import ChannelState
from tests.unit.rules.conftest import OPERATOR, ORGANIZATION, Company, rules_of

DEPARTMENTS = rules_of("""
- id: departments
  for_each: department
  name: "dept-{{ key | slug }}"
  topic: "{{ key }}: everyone in the department"
  parent: company
""")
TEAMS = rules_of('- {id: teams, for_each: manager, name: "team-{{ manager.userName | slug }}", owners: [manager]}')
GROUPS = rules_of('- {id: groups, for_each: group, name: "grp-{{ group.displayName | slug }}", membership: added}')


def shape_of(company: Company, rules: tuple[Rule, ...], name: str) -> ChannelShape:
    found = shape(company.session, ORGANIZATION, rules, company.channel_named(name))
    assert found is not None
    return found


def test_a_channel_is_shaped_by_its_rule(company: Company) -> None:
    company.hires("Ada", department="R&D")
    company.allocates(DEPARTMENTS)

    found = shape_of(company, DEPARTMENTS, "dept-r-d")

    assert (found.topic, found.parent) == ("R&D: everyone in the department", company.channel_named("company"))
    assert (found.private, found.federated, found.encrypted, found.archived) == (True, False, False, False)
    assert shape_of(company, DEPARTMENTS, "company").space


def test_reaching_twice_changes_nothing(company: Company) -> None:
    company.hires("Ada", department="Research")

    assert company.allocates(DEPARTMENTS) == company.allocates(DEPARTMENTS)
    assert company.channel_names() == {"dept-research", "company"}


def test_names_that_collide_are_numbered_and_stay_so(company: Company) -> None:
    company.hires("Ada", department="Sales")
    company.allocates(DEPARTMENTS)
    company.hires("Bob", department="SALES")
    company.hires("Cy", department="sales!")

    first = company.allocates(DEPARTMENTS)
    company.leaves("ada")

    assert company.channel_names() == {"dept-sales", "dept-sales-2", "dept-sales-3", "company"}
    assert first.items() >= company.allocates(DEPARTMENTS).items()
    assert company.roster(DEPARTMENTS) == {"dept-sales-2": {"bob"}, "dept-sales-3": {"cy"}}


def test_a_numbered_channel_is_never_shared(company: Company) -> None:
    company.hires("Ada", department="Sales")
    company.hires("Bob", department="SALES")
    company.allocates(DEPARTMENTS)
    other = rules_of("""- {id: two, name: dept-sales-2, where: 'userName eq "ada@example.com"'}""")

    assert company.roster(DEPARTMENTS + other)["dept-sales-2-2"] == {"ada"}


def test_a_rule_that_gets_another_name_parts_from_a_shared_channel(company: Company) -> None:
    company.hires("Ada", userType="Employee")
    company.hires("Bob", userType="Contractor")
    staff = """- {id: staff, where: 'userType eq "Employee"', name: %s}\n"""
    guests = """- {id: guests, where: 'userType eq "Contractor"', name: mixed}\n"""
    assert company.roster(rules_of(staff % "mixed" + guests)) == {"mixed": {"ada", "bob"}}

    assert company.roster(rules_of(staff % "inner" + guests)) == {"mixed": {"bob"}, "inner": {"ada"}}


def test_a_rule_that_gets_the_name_of_another_joins_it(company: Company) -> None:
    company.hires("Ada")
    one, two = "- {id: one, name: first}\n", "- {id: two, name: %s}\n"
    company.allocates(rules_of(one + two % "second"))

    assert company.roster(rules_of(one + two % "first")) == {"first": {"ada"}}


def test_a_rule_with_a_new_id_takes_up_its_channel_by_name(company: Company) -> None:
    company.hires("Ada")
    company.allocates(rules_of("- {id: everyone, name: all-hands}"))
    channel = company.channel_named("all-hands")

    company.allocates(rules_of("- {id: everybody, name: all-hands}"))

    assert company.channel_named("all-hands") == channel


def test_a_renamed_group_renames_its_channel(company: Company) -> None:
    company.hires("Ada")
    company.has_group("Choir", "ada")
    company.allocates(GROUPS)
    channel = company.channel_named("grp-choir")
    company.session.execute(update(Group).values(display_name="Big Band"))

    company.allocates(GROUPS)

    assert company.channel_named("grp-big-band") == channel
    assert "grp-choir" not in company.channel_names()


def test_a_space_and_a_channel_of_one_name_stay_two(company: Company) -> None:
    company.hires("Ada", department="Research")
    rules = DEPARTMENTS + rules_of("- {id: everyone, name: company}")

    company.allocates(rules)

    assert company.channel_names() == {"company", "company-2", "dept-research"}
    parent = shape_of(company, rules, "dept-research").parent
    assert parent is not None
    space = shape(company.session, ORGANIZATION, rules, parent)
    assert space is not None and space.space


def test_a_long_name_is_cut_and_stays_one_of_a_kind(company: Company) -> None:
    company.hires("Ada", department="x" * 100 + "a")
    company.hires("Bob", department="x" * 100 + "b")
    rules = rules_of('- {id: d, for_each: department, name: "{{ key }}"}')

    company.allocates(rules)

    assert len(company.channel_names()) == 2
    assert {len(name) for name in company.channel_names()} == {80}


def test_a_key_that_renders_to_nothing_still_has_a_name(company: Company) -> None:
    company.hires("Ada", department="!!!")
    rules = rules_of('- {id: d, for_each: department, name: "{{ key | slug }}"}')

    company.allocates(rules)

    assert all(name.startswith("channel-") for name in company.channel_names())


def test_a_team_is_owned_by_its_manager_while_they_are_active(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob", manager="ada")
    company.allocates(TEAMS)

    assert shape_of(company, TEAMS, "team-ada-example-com").owners == {"ada"}
    company.leaves("ada")
    assert shape_of(company, TEAMS, "team-ada-example-com").owners == set()


def test_of_two_rules_the_more_careful_word_counts(company: Company) -> None:
    company.hires("Ada")
    rules = rules_of("""
- {id: one, name: x, membership: suggested, private: false, federated: true, keep_for: 2 days}
- {id: two, name: x, membership: added, owners: [ADA@example.com]}
""")
    company.allocates(rules)

    found = shape_of(company, rules, "x")

    assert (found.membership, found.private, found.federated) == (Joining.ADDED, True, False)
    assert (found.keep_for, found.owners) == (timedelta(days=2), frozenset({"ada"}))


def test_an_empty_channel_is_archived_after_its_time_and_comes_back(company: Company) -> None:
    rules = rules_of('- {id: d, for_each: department, name: "{{ key }}", archive_after: 10 days}')
    company.hires("Ada", department="Research")
    apply_rules(company.session, ORGANIZATION, rules, OPERATOR, company.now)
    company.allocates(rules)
    channel = company.channel_named("Research")

    def state() -> ChannelState:
        return settle(company.session, ORGANIZATION, [channel], company.now)[channel].state

    assert state() is ChannelState.ACTIVE
    company.moves("ada", department="Sales")
    assert state() is ChannelState.EMPTY
    company.waits(days=9)
    assert state() is ChannelState.EMPTY
    company.waits(days=1)
    assert state() is ChannelState.ARCHIVED
    assert shape_of(company, rules, "Research").archived
    company.moves("ada", department="Research")
    assert state() is ChannelState.ACTIVE


def test_a_rule_that_is_not_in_the_file_reaches_nothing(company: Company) -> None:
    assert reach(company.session, ORGANIZATION, DEPARTMENTS, [Belongs(rule_id="gone", key="x")], company.now) == {}


def test_a_channel_that_no_rule_reaches_keeps_nobody(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.allocates(DEPARTMENTS)

    found = shape(company.session, ORGANIZATION, (), company.channel_named("dept-research"))

    assert found is not None
    assert (found.membership, found.owners, found.private) == (Joining.ENFORCED, frozenset(), True)


def test_two_workers_at_once_make_one_channel_per_key(company: Company) -> None:
    company.session.commit()
    engine = company.session.get_bind().engine
    keys = ["Sales", "SALES", "sales!"]
    together = Barrier(4)

    def work(number: int) -> dict[tuple[str, str], str]:
        with engine.begin() as connection, Session(connection) as session:
            # SQLite lets only one of them begin, so there they come one after the other by themselves.
            if connection.dialect.name == "postgresql":
                together.wait(timeout=10)
            wanted = [Belongs(rule_id="departments", key=key) for key in keys[number % 3 :] + keys]
            found = reach(session, ORGANIZATION, DEPARTMENTS, wanted, company.now)
            session.flush()
            return found

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(work, range(4))

    assert all(other == first for other in others)
    assert len(set(first.values())) == 3
