"""Revisions: what is in force, who is looked at, and what a change would do."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from app.journal.tables import Entry, Work, WorkState
from app.rules.revisions import Difference, apply_rules, current_rules, diff
from app.rules.tables import Channel
from tests.unit.rules.conftest import OPERATOR, ORGANIZATION, Company, rules_of

EVERYONE = rules_of("- {id: everyone, name: all-hands}")
DEPARTMENTS = rules_of('- {id: d, for_each: department, name: "dept-{{ key | slug }}", keep_for: 14 days}')


def test_no_rules_are_in_force_before_the_first(company: Company) -> None:
    assert current_rules(company.session, ORGANIZATION) == ()


def test_the_newest_revision_is_in_force(company: Company) -> None:
    apply_rules(company.session, ORGANIZATION, EVERYONE, OPERATOR, company.now)

    applied = apply_rules(company.session, ORGANIZATION, DEPARTMENTS, OPERATOR, company.now)

    assert applied.revision.number == 2
    assert current_rules(company.session, ORGANIZATION) == DEPARTMENTS
    assert current_rules(company.session, "other") == ()


def test_every_active_person_is_looked_at_once(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob")
    company.leaves("bob")
    apply_rules(company.session, ORGANIZATION, EVERYONE, OPERATOR, company.now)
    company.waits(hours=1)

    applied = apply_rules(company.session, ORGANIZATION, EVERYONE, OPERATOR, company.now)

    work = company.session.scalars(select(Work)).one()
    assert (work.subject, work.subject_id, work.state, work.generation) == ("person", "ada", WorkState.WAITING, 2)
    assert (work.due_at, work.because, applied.people) == (company.now - timedelta(hours=1), applied.entry, 1)


def test_the_journal_says_who_applied(company: Company) -> None:
    apply_rules(company.session, ORGANIZATION, EVERYONE, OPERATOR, company.now)

    entry = company.session.scalars(select(Entry)).one()

    assert (entry.actor, entry.verb) == ("operator:ada", "apply rules")


def test_a_difference_is_counted_by_membership(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob")

    found = diff(company.session, ORGANIZATION, EVERYONE, DEPARTMENTS)

    assert found == Difference(
        added=1, removed=2, kept=0, people=2, new_channels=("dept-research",), lost_channels=("all-hands",)
    )


def test_another_id_of_a_rule_makes_no_difference(company: Company) -> None:
    company.hires("Ada")

    found = diff(company.session, ORGANIZATION, EVERYONE, rules_of("- {id: everybody, name: all-hands}"))

    assert (found.added, found.removed, found.kept, found.people) == (0, 0, 1, 0)


def test_a_template_that_renames_channels_takes_nobody_out(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.hires("Bob", department="Sales")
    company.allocates(DEPARTMENTS)
    again = rules_of('- {id: d, for_each: department, name: "d-{{ key | slug }}"}')

    found = diff(company.session, ORGANIZATION, DEPARTMENTS, again)

    assert found == Difference(
        added=0, removed=0, kept=2, people=0, new_channels=(), lost_channels=(),
        renamed_channels=(("dept-research", "d-research"), ("dept-sales", "d-sales")),
    )  # fmt: skip
    names = select(Channel.id, Channel.name)
    before = {id: name for id, name in company.session.execute(names)}
    company.allocates(again)
    assert {before[id]: name for id, name in company.session.execute(names)} == dict(found.renamed_channels), "as it is done"


def test_a_name_that_another_channel_has_is_no_renaming(company: Company) -> None:
    company.hires("Ada", department="Research")
    company.allocates(DEPARTMENTS)
    company.allocates(rules_of("- {id: former, name: d-research}"))

    found = diff(company.session, ORGANIZATION, DEPARTMENTS, rules_of('- {id: d, for_each: department, name: "d-{{ key | slug }}"}'))

    assert (found.added, found.removed, found.renamed_channels) == (1, 1, ())


def test_the_first_rules_only_add(company: Company) -> None:
    company.hires("Ada")

    assert diff(company.session, ORGANIZATION, (), EVERYONE).added == 1
    assert company.channel_names() == set()
