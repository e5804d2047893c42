"""An *off* that was held or rejected is no reason for ever: it is over when a directory has said later who the person is now."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import delete, select

from app.database import in_transaction, reading
from app.directory.tables import Record, Standing, StatementKind, Voice
from app.journal.tables import Entry, Organization, Work
from app.lifecycle import brake, leaving
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.people import reconsider
from app.lifecycle.records import RecordDraft, add_record, end_record
from app.lifecycle.sources import set_setting
from app.rules.membership import keys_of_person
from tests.company import ADMIN, OKTA, Company, another_source, company_that_holds_all, decides, document, later
from tests.unit.rules.conftest import rules_of

OF_GROUPS = rules_of("  - {id: teams, for_each: group, name: '{{ key }}'}\n")


@pytest.fixture
def company(installed: Flask) -> Company:
    return company_that_holds_all()


@pytest.fixture(params=["held", "rejected"])
def decided(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "rejected")


def in_a_group(company: Company, record: Record) -> str:
    draft = GroupDraft(external_id=None, display_name="Sales", members=(record.id,))
    return in_transaction(lambda s: add_group(s, company.organization_id, record.source_id, draft, actor=OKTA, at=later(0.5), because="test")).id


def goes_off(company: Company, record: Record, how: str, *, at: float, rejected: bool) -> None:
    """Held, and where asked, rejected just after."""
    if how == "deleted":
        in_transaction(lambda s: end_record(s, company.organization_id, record.source_id, record.id, actor=OKTA, at=later(at), because="test"))
    else:
        company.says(record, active=False, at=later(at))
    if rejected:
        decides(company, leaving.reject, at=at + 0.1)


def hr_says(company: Company, record: Record, kind: StatementKind, *, at: float) -> None:
    in_transaction(
        lambda s: leaving.say(
            s, company.organization_id, record.person_id, voice=Voice.HR, kind=kind, said_by="workday", effective_at=later(at), actor=OKTA,
            at=later(at), because="test",
        )
    )  # fmt: skip


def groups_of(company: Company, record: Record) -> list[str]:
    with reading() as session:
        return [one.key for one in keys_of_person(session, company.organization_id, OF_GROUPS, record.person_id)]


def waiting(company: Company) -> int:
    with reading() as session:
        return sum(len(lines) for _, lines in brake.waiting(session, company.organization_id))


def to_do(company: Company) -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Work.subject_id).where(Work.organization_id == company.organization_id)))


def test_a_directory_that_made_its_person_anew_takes_them_out_as_ever(company: Company, decided: bool) -> None:
    ada = company.joins("ada@x.example", "17")
    goes_off(company, ada, "deleted", at=1, rejected=decided)
    again = company.joins("ada@x.example", "17", at=later(2))
    assert again.person_id == ada.person_id
    assert (company.person(ada).standing, waiting(company)) == (Standing.ACTIVE, 0)

    company.says(again, active=False, at=later(3))
    decides(company, leaving.release, at=4)

    assert company.person(ada).standing == Standing.DEPARTED


def made_anew_off(company: Company, *, at: float) -> Record:
    draft = RecordDraft(external_id="anew", user_name="ada@x.example", active=False, document=document("ada@x.example", "17"))
    return in_transaction(lambda s: add_record(s, company.organization_id, company.source_id, draft, actor=OKTA, at=later(at), because="test"))


@pytest.mark.parametrize(("how", "standing"), [(leaving.release, Standing.DEPARTED), (leaving.reject, Standing.ACTIVE)])
def test_who_is_made_anew_as_switched_off_is_decided_anew(
    company: Company, decided: bool, how: Callable[..., object], standing: Standing
) -> None:
    ada = company.joins("ada@x.example", "17")
    goes_off(company, ada, "deleted", at=1, rejected=decided)
    again = made_anew_off(company, at=2)
    assert again.person_id == ada.person_id
    with reading() as session:
        [(_, [line])] = brake.waiting(session, company.organization_id)
    assert (line.subject_id, company.person(ada).standing) == (again.id, Standing.ACTIVE)

    decides(company, how, at=3)

    assert (company.person(ada).standing, waiting(company)) == (standing, 0)


def test_who_is_made_anew_as_switched_off_is_out_where_the_brake_lets_them(company: Company, decided: bool) -> None:
    entra = another_source(company, "entra")
    ada, bob = (company.joins(f"{name}@x.example", number) for name, number in (("ada", "17"), ("bob", "18")))
    company.joins("bob@x.example", "18", source_id=entra)
    for one in (ada, bob):
        goes_off(company, one, "deleted", at=1, rejected=decided)
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "off", actor=ADMIN, at=later(1)))
    epoch = company.person(bob).access_epoch

    made_anew_off(company, at=2)
    bobs = RecordDraft(external_id="anew-2", user_name="bob@x.example", active=False, document=document("bob@x.example", "18"))
    in_transaction(lambda s: add_record(s, company.organization_id, company.source_id, bobs, actor=OKTA, at=later(2), because="test"))

    assert (company.person(ada).standing, waiting(company)) == (Standing.DEPARTED, 0)
    kept = company.person(bob)
    assert (kept.standing, kept.access_epoch) == (Standing.ACTIVE, epoch + 1), "another directory keeps them in, and they sign in again"


def test_whoever_nothing_was_held_of_is_made_anew_as_ever(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", source_id=entra)

    again = made_anew_off(company, at=2)

    assert (again.person_id, again.held, waiting(company), company.person(ada).standing) == (ada.person_id, False, 0, Standing.ACTIVE)


@pytest.mark.parametrize("how", ["deleted", "switched off"])
def test_who_left_and_was_hired_again_is_who_another_directory_says(company: Company, how: str, decided: bool) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", department="Sales", division="West")
    group = in_a_group(company, ada)
    goes_off(company, ada, how, at=1, rejected=decided)
    hr_says(company, ada, StatementKind.LEAVES, at=2)
    assert company.person(ada).standing == Standing.DEPARTED

    hr_says(company, ada, StatementKind.REHIRES, at=3)
    if how == "deleted":
        assert groups_of(company, ada) == [group]
    in_transaction(lambda session: session.execute(delete(Work)))
    again = company.joins("ada@x.example", "17", source_id=entra, at=later(4), department="Finance")

    assert again.person_id == ada.person_id
    assert ada.person_id in to_do(company)
    person = company.person(ada)
    assert (person.standing, person.department, person.division) == (Standing.ACTIVE, "Finance", None)
    if how == "deleted":
        assert groups_of(company, ada) == []
    company.says(again, active=False, at=later(5))
    decides(company, leaving.release, at=6)
    assert company.person(ada).standing == Standing.DEPARTED


def test_a_directory_that_has_them_on_again_counts_as_one_that_makes_them_anew(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17")
    other = company.joins("ada@x.example", "17", source_id=entra)
    goes_off(company, ada, "deleted", at=1, rejected=True)
    hr_says(company, ada, StatementKind.LEAVES, at=2)
    company.says(other, active=False, at=later(3))
    hr_says(company, ada, StatementKind.REHIRES, at=4)
    company.says(other, active=True, at=later(5))
    assert company.person(ada).standing == Standing.ACTIVE

    company.says(other, active=False, at=later(6))
    decides(company, leaving.release, at=7)

    assert company.person(ada).standing == Standing.DEPARTED


def test_who_is_hired_again_while_another_directory_had_them_on_all_along_leaves_with_that_one(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17")
    other = company.joins("ada@x.example", "17", source_id=entra)
    goes_off(company, ada, "deleted", at=1, rejected=True)
    hr_says(company, ada, StatementKind.LEAVES, at=2)
    hr_says(company, ada, StatementKind.REHIRES, at=3)
    assert company.person(ada).standing == Standing.ACTIVE

    company.says(other, active=False, at=later(4))
    decides(company, leaving.release, at=5)

    assert company.person(ada).standing == Standing.DEPARTED


def test_a_record_that_has_yet_to_begin_overtakes_nothing_until_its_day(company: Company) -> None:
    """Or a directory that deletes everybody and makes them anew for later would take everybody's access past the brake."""
    ada = company.joins("ada@x.example", "17")
    goes_off(company, ada, "deleted", at=1, rejected=False)
    draft = RecordDraft(external_id="00u-2", user_name="ada@x.example", active=True, document=document("ada@x.example", "17"), starts_at=later(100))
    again = in_transaction(
        lambda s: add_record(s, company.organization_id, company.source_id, draft, actor=OKTA, at=later(2), because="test")
    )
    assert again.person_id == ada.person_id
    assert (company.person(ada).standing, waiting(company)) == (Standing.ACTIVE, 1)

    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=later(101)))

    assert (company.person(ada).standing, waiting(company)) == (Standing.ACTIVE, 0)


def test_the_journal_says_that_it_was_overtaken(company: Company) -> None:
    ada = company.joins("ada@x.example", "17")
    goes_off(company, ada, "deleted", at=1, rejected=True)

    company.joins("ada@x.example", "17", at=later(2))

    with reading() as session:
        [entry] = session.scalars(select(Entry).where(Entry.organization_id == company.organization_id, Entry.verb == "overtaken"))
    assert (entry.subject_id, entry.before, entry.after) == (ada.id, {"held": True}, {"held": False})


def test_whose_leaving_was_called_off_is_as_before(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", department="Sales")
    company.joins("ada@x.example", "17", source_id=entra, department="Finance")
    group = in_a_group(company, ada)
    goes_off(company, ada, "deleted", at=1, rejected=True)

    hr_says(company, ada, StatementKind.LEAVES, at=2)
    assert company.person(ada).standing == Standing.DEPARTED
    hr_says(company, ada, StatementKind.RETURNS, at=3)

    person = company.person(ada)
    assert (person.standing, person.department) == (Standing.ACTIVE, "Sales")
    assert groups_of(company, ada) == [group]


def test_a_second_directory_alone_overtakes_nothing(company: Company, decided: bool) -> None:
    """A company that moves from one to the other: until somebody decides, what the first one said stays in effect."""
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", department="Sales")
    group = in_a_group(company, ada)
    goes_off(company, ada, "deleted", at=1, rejected=decided)

    company.joins("ada@x.example", "17", source_id=entra, at=later(2), department="Finance")

    assert (company.person(ada).department, groups_of(company, ada)) == ("Sales", [group])
    assert waiting(company) == (0 if decided else 1)


def test_a_leave_of_absence_overtakes_nothing(company: Company) -> None:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "17", department="Sales")
    goes_off(company, ada, "deleted", at=1, rejected=True)
    hr_says(company, ada, StatementKind.PAUSES, at=2)
    assert company.person(ada).standing == Standing.PAUSED
    hr_says(company, ada, StatementKind.RETURNS, at=3)

    company.joins("ada@x.example", "17", source_id=entra, at=later(4), department="Finance")

    assert company.person(ada).department == "Sales"
