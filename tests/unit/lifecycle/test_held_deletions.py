"""A deletion that the brake holds: the directory sees its people gone, and to everybody else they are as before, until somebody decides."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import delete, select

from app.database import in_transaction, reading
from app.directory.tables import Group, Record, Standing
from app.journal.tables import Work
from app.lifecycle import leaving
from app.lifecycle.groups import GroupDraft, add_group, change_group
from app.lifecycle.records import RecordDraft, change_record, end_record
from app.rules.file import Rule
from app.rules.membership import keys_of_person
from tests.company import OKTA, Company, another_source, company_that_holds_all, decides, document, later
from tests.unit.rules.conftest import rules_of
from tests.vouching import Provider, is_in, joins_as, new_provider

OF_GROUPS = rules_of("  - {id: teams, for_each: group, name: '{{ key }}'}\n")
OF_SALES = rules_of("""  - {id: sales, where: 'groups[display eq "Sales"]', name: sales}\n""")
OF_DEPARTMENTS = rules_of("  - {id: departments, for_each: department, name: '{{ key }}'}\n")


@pytest.fixture
def company(installed: Flask) -> Company:
    return company_that_holds_all()


def groups(company: Company, *records: Record, source_id: str | None = None) -> Group:
    draft = GroupDraft(external_id=None, display_name="Sales", members=tuple(one.id for one in records))
    return in_transaction(
        lambda s: add_group(s, company.organization_id, source_id or company.source_id, draft, actor=OKTA, at=later(0.5), because="test")
    )


def is_deleted(company: Company, record: Record, *, at: float) -> None:
    in_transaction(lambda s: end_record(s, company.organization_id, record.source_id, record.id, actor=OKTA, at=later(at), because="test"))


def keys(company: Company, record: Record, rules: tuple[Rule, ...]) -> list[str]:
    with reading() as session:
        return [one.key for one in keys_of_person(session, company.organization_id, rules, record.person_id)]


def to_do(company: Company) -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Work.subject_id).where(Work.organization_id == company.organization_id)))


@pytest.mark.parametrize("rules", [OF_GROUPS, OF_SALES], ids=["a channel for each group", "a condition on groups"])
def test_channels_that_follow_groups_are_kept_until_somebody_decides(company: Company, rules: tuple[Rule, ...]) -> None:
    ada = company.joins("ada@x.example")
    groups(company, ada)
    [before] = keys(company, ada, rules)

    is_deleted(company, ada, at=1)
    assert keys(company, ada, rules) == [before]

    decides(company, leaving.reject, at=2)
    assert keys(company, ada, rules) == [before]


def test_what_ended_before_the_deletion_does_not_come_back_with_it(company: Company) -> None:
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")
    group = groups(company, ada, bob)
    in_transaction(
        lambda s: change_group(s, company.organization_id, company.source_id, group.id, remove=[ada.id], actor=OKTA, at=later(1), because="test")
    )

    is_deleted(company, ada, at=2)
    is_deleted(company, bob, at=2)

    assert (keys(company, ada, OF_GROUPS), keys(company, bob, OF_GROUPS)) == ([], [group.id])


def test_whom_another_record_keeps_leaves_the_groups_of_the_deleted_one_when_it_is_let_through(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17")
    other = company.joins("ada@x.example", "17", source_id=entra)
    assert other.person_id == ada.person_id
    group = groups(company, ada)
    is_deleted(company, ada, at=1)
    assert keys(company, ada, OF_GROUPS) == [group.id]
    epoch = company.person(ada).access_epoch
    in_transaction(lambda session: session.execute(delete(Work)))

    decides(company, leaving.release, at=2)

    assert company.person(ada).standing == Standing.ACTIVE
    assert keys(company, ada, OF_GROUPS) == []
    assert ada.person_id in to_do(company)
    # As where nothing was held: what was issued on the strength of the record ends with it.
    assert company.person(ada).access_epoch == epoch + 1


def test_who_they_are_changes_when_it_is_let_through_and_no_sooner(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", department="Sales")
    company.joins("ada@x.example", "17", source_id=entra, department="Finance")
    assert keys(company, ada, OF_DEPARTMENTS) == ["Sales"]

    is_deleted(company, ada, at=1)
    assert keys(company, ada, OF_DEPARTMENTS) == ["Sales"]

    decides(company, leaving.release, at=2)
    assert keys(company, ada, OF_DEPARTMENTS) == ["Finance"]


def test_an_off_of_one_of_two_records_that_is_held_changes_nothing_of_who_they_are(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", department="Sales")
    company.joins("ada@x.example", "17", source_id=entra, department="Finance")

    company.says(ada, active=False, at=later(1))
    assert keys(company, ada, OF_DEPARTMENTS) == ["Sales"]

    decides(company, leaving.release, at=2)
    assert keys(company, ada, OF_DEPARTMENTS) == ["Finance"]


def test_a_new_record_of_the_same_directory_tells_who_they_are_now(company: Company) -> None:
    """A directory that deleted by mistake makes its people anew."""
    ada = company.joins("ada@x.example", "17", department="Sales", division="West")
    is_deleted(company, ada, at=1)

    again = company.joins("ada@x.example", "17", at=later(2), department="Finance")

    assert again.person_id == ada.person_id
    person = company.person(ada)
    assert (person.department, person.division) == ("Finance", None)


@pytest.mark.parametrize("rules", [OF_GROUPS, OF_SALES], ids=["a channel for each group", "a condition on groups"])
@pytest.mark.parametrize("decided", [False, True], ids=["held", "rejected"])
def test_groups_of_the_deleted_record_count_no_more_once_its_directory_names_them_again(company: Company, rules: tuple[Rule, ...], decided: bool) -> None:
    """Or nothing that the directory says could take them out of a channel any more."""
    ada = company.joins("ada@x.example", "17")
    groups(company, ada)
    is_deleted(company, ada, at=1)
    if decided:
        decides(company, leaving.reject, at=2)
    assert len(keys(company, ada, rules)) == 1

    in_transaction(lambda session: session.execute(delete(Work)))

    again = company.joins("ada@x.example", "17", at=later(3))

    assert ada.person_id in to_do(company)
    assert again.person_id == ada.person_id
    assert keys(company, ada, rules) == []


def test_whoever_is_followed_by_a_successor_keeps_their_groups_while_it_is_held(company: Company) -> None:
    ada = company.joins("ada@x.example")
    group = groups(company, ada)
    company.says(ada, active=False, at=later(1))
    eve = RecordDraft(external_id="00u-eve", user_name="eve@x.example", active=True, document=document("eve@x.example", None))
    given = in_transaction(
        lambda s: change_record(s, company.organization_id, company.source_id, ada.id, eve, actor=OKTA, at=later(2), because="test")
    )
    assert given.id == ada.id
    assert given.person_id != ada.person_id

    assert keys(company, ada, OF_GROUPS) == [group.id]
    assert keys(company, given, OF_GROUPS) == []

    decides(company, leaving.release, at=3)
    assert company.person(ada).standing == Standing.DEPARTED


def test_they_go_on_signing_in(company: Company) -> None:
    okta: Provider = new_provider(company)
    ada = joins_as(company, "00u1", "ada")
    okta.lets_in("00u1")
    is_deleted(company, ada, at=1)

    entered = okta.lets_in("00u1", at=later(2))
    assert entered.present.person_id == ada.person_id

    decides(company, leaving.release, at=3)
    assert not is_in(entered.cookie, at=later(3))
    okta.refuses("00u1", at=later(4))


def test_a_name_that_was_given_on_meanwhile_lets_nobody_in_as_the_one_before(company: Company) -> None:
    okta: Provider = new_provider(company)
    ada = joins_as(company, "00u1", "ada", "17")
    okta.lets_in("00u1")
    is_deleted(company, ada, at=1)
    joins_as(company, "00u1", "eve", "99")

    okta.refuses("00u1", at=later(2))
