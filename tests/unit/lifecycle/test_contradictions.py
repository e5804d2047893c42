"""Where voices or sources do not say the same of somebody now: who says what, since when, and what counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Record, Source, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.lifecycle import contradictions as module
from app.lifecycle import leaving
from app.lifecycle.contradictions import Opinion, contradictions
from app.lifecycle.records import RecordDraft, add_record, change_record, end_record
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, NOW, OKTA, Company, another_source, document, new_company

DAY = timedelta(days=1)
Told = set[tuple[str, str, str, bool]]


class Firm:
    """Okta names everybody first; another directory may name them too, under the same employee number."""

    def __init__(self) -> None:
        self.company: Company = new_company()
        self.other = another_source(self.company, "workday")

    def joins(self, name: str, *, source: str | None = None, at: datetime = NOW, active: bool = True, **said: Any) -> Record:
        enterprise = {key: said.pop(key) for key in ("department", "division", "manager") if key in said}
        draft = RecordDraft(
            external_id=f"ext-{name}", user_name=f"{name}@x.example", active=active,
            document={**document(f"{name}@x.example", f"E-{name}", **enterprise), **said},
        )  # fmt: skip
        return in_transaction(
            lambda s: add_record(s, self.company.organization_id, source or self.company.source_id, draft, actor=OKTA, at=at, because="test")
        )

    def changes(self, record: Record, *, at: datetime = NOW + DAY, **said: Any) -> None:
        active = said.pop("active", None)
        said = {ENTERPRISE_URN if name == "enterprise" else name: value for name, value in said.items()}
        draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=active, document={**record.document, **said})
        in_transaction(
            lambda s: change_record(s, self.company.organization_id, record.source_id, record.id, draft, actor=OKTA, at=at, because="test")
        )

    def ends(self, record: Record, *, at: datetime = NOW + DAY) -> None:
        in_transaction(lambda s: end_record(s, self.company.organization_id, record.source_id, record.id, actor=OKTA, at=at, because="test"))

    def says(
        self, record: Record, voice: Voice, kind: StatementKind, *, day: float = 1, effective: float | None = None, engagement: str = ""
    ) -> None:
        at = NOW + day * DAY
        in_transaction(
            lambda s: leaving.say(
                s, self.company.organization_id, record.person_id, voice=voice, kind=kind, said_by=f"by {voice}", at=at, actor=ADMIN,
                effective_at=at if effective is None else NOW + effective * DAY, because="test", engagement=engagement,
            )
        )  # fmt: skip

    def ranks(self, source_id: str, rank: int) -> None:
        def act(session: Session) -> None:
            from app.journal import entries

            row = session.get_one(Source, (self.company.organization_id, source_id))
            row.rank = rank
            row.journal_id = entries.write(
                session, self.company.organization_id, at=NOW, actor=ADMIN, verb="ranked", because="test", subject_kind="source", subject_id=source_id
            )

        in_transaction(act)

    def sets(self, key: str, value: str) -> None:
        in_transaction(
            lambda s: set_setting(s, s.get_one(Organization, self.company.organization_id), key, value, actor=ADMIN, at=NOW)
        )

    def all(self, *, day: float = 30) -> list[Opinion]:
        with reading() as session:
            return list(contradictions(session, self.company.organization_id, at=NOW + day * DAY))

    def told(self, *, day: float = 30) -> Told:
        return {(one.about, one.said_by, one.says, one.counts) for one in self.all(day=day)}


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return Firm()


# In or out


def test_where_everybody_says_the_same_there_is_nothing_to_tell(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.joins("ada", source=firm.other)
    firm.says(firm.joins("bob"), Voice.OPERATOR, StatementKind.RETURNS)
    firm.changes(ada, active=True)

    assert firm.told() == set()


def test_hr_says_left_and_a_directory_still_says_on(firm: Firm) -> None:
    firm.says(firm.joins("ada"), Voice.HR, StatementKind.LEAVES)

    assert firm.told() == {("access", "by hr", "leaves", True), ("access", "okta", "on", False)}


def test_each_opinion_says_since_when(firm: Firm) -> None:
    firm.says(firm.joins("ada"), Voice.HR, StatementKind.LEAVES, day=3)

    assert {one.said_by: one.since for one in firm.all()} == {"okta": NOW, "by hr": NOW + 3 * DAY}


def test_once_the_directory_says_off_as_well_they_agree(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.says(ada, Voice.HR, StatementKind.LEAVES)
    firm.changes(ada, active=False, at=NOW + 2 * DAY)

    assert firm.told() == set()


def test_a_directory_that_has_deleted_somebody_agrees_that_they_left(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.says(ada, Voice.HR, StatementKind.LEAVES)
    firm.ends(ada, at=NOW + 2 * DAY)

    assert firm.told() == set()


def test_an_operator_who_brought_somebody_back_speaks_against_hr(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.says(ada, Voice.HR, StatementKind.LEAVES, day=1)
    firm.says(ada, Voice.OPERATOR, StatementKind.RETURNS, day=2)

    assert firm.told() == {
        ("access", "by hr", "leaves", False), ("access", "okta", "on", True), ("access", "by operator", "returns", True),
    }  # fmt: skip


def test_a_return_speaks_against_nothing_that_was_said_after_it(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.says(ada, Voice.OPERATOR, StatementKind.LEAVES, day=1)
    firm.says(ada, Voice.OPERATOR, StatementKind.RETURNS, day=2)
    firm.says(ada, Voice.HR, StatementKind.LEAVES, day=3)
    firm.changes(ada, active=False, at=NOW + 4 * DAY)

    assert firm.told() == set()


def test_two_directories_of_which_one_says_off(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.joins("ada", source=firm.other)
    firm.changes(ada, active=False)

    assert firm.told() == {("access", "okta", "off", False), ("access", "workday", "on", True)}


def test_who_moved_from_one_directory_to_another_is_no_contradiction(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.joins("ada", source=firm.other)
    firm.ends(ada)

    assert firm.told() == set()


def test_another_engagement_keeps_somebody_in_by_hrs_own_word(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.says(ada, Voice.HR, StatementKind.REHIRES, day=1, engagement="2")
    firm.says(ada, Voice.HR, StatementKind.LEAVES, day=2, engagement="1")

    assert firm.told() == set()


def test_what_is_said_for_later_is_not_told_to_anybody(firm: Firm) -> None:
    firm.says(firm.joins("ada"), Voice.HR, StatementKind.LEAVES, day=1, effective=20)

    assert firm.told(day=10) == set()
    assert {one[1] for one in firm.told(day=30)} == {"by hr", "okta"}


def test_a_leaving_that_is_announced_does_not_show_among_what_others_say(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.joins("ada", source=firm.other)
    firm.changes(ada, active=False)
    firm.says(ada, Voice.HR, StatementKind.LEAVES, day=2, effective=20)

    assert {one[1] for one in firm.told(day=10)} == {"okta", "workday"}


def test_a_bar_counts_as_the_operators(firm: Firm) -> None:
    firm.says(firm.joins("ada"), Voice.OPERATOR, StatementKind.BARS)

    assert firm.told() == {("access", "by operator", "bars", True), ("access", "okta", "on", False)}


def test_what_the_brake_holds_is_not_said_yet(firm: Firm) -> None:
    firm.sets("push_brake", "0/60s")
    ada = firm.joins("ada")
    firm.joins("ada", source=firm.other)
    firm.changes(ada, active=False)

    assert firm.told() == set()


def test_nor_is_a_deletion_that_it_holds(firm: Firm) -> None:
    ada, bob = firm.joins("ada"), firm.joins("bob", department="Finance")
    firm.changes(firm.joins("bob", source=firm.other, department="Sales"), active=False)
    firm.sets("push_brake", "0/60s")
    for one in (ada, bob):
        firm.ends(one)
    firm.says(ada, Voice.OPERATOR, StatementKind.RETURNS, day=2)

    of_bob = {("department", "okta", "Finance", True), ("department", "workday", "Sales", False)}
    assert firm.told() == {("access", "workday", "off", False), ("access", "okta", "on", True)} | of_bob


# Attributes


def test_sources_that_differ_in_an_attribute_are_listed_with_what_counts(firm: Firm) -> None:
    firm.joins("ada", department="Finance")
    firm.joins("ada", source=firm.other, department="Sales", at=NOW + DAY)

    assert firm.told() == {("department", "okta", "Finance", True), ("department", "workday", "Sales", False)}


def test_what_counts_follows_the_precedence_of_the_sources(firm: Firm) -> None:
    firm.ranks(firm.other, 1)
    firm.joins("ada", department="Finance")
    firm.joins("ada", source=firm.other, department="Sales", at=NOW + DAY)

    assert firm.told() == {("department", "okta", "Finance", False), ("department", "workday", "Sales", True)}


def test_since_when_is_when_the_source_last_said_something_else(firm: Firm) -> None:
    ada = firm.joins("ada", title="Analyst")
    firm.joins("ada", source=firm.other, title="Actuary", at=NOW + DAY)
    firm.changes(ada, title="Accountant", at=NOW + 2 * DAY)

    assert {one.says: one.since for one in firm.all()} == {"Accountant": NOW + 2 * DAY, "Actuary": NOW + DAY}


def test_who_leaves_an_attribute_out_says_nothing_of_it(firm: Firm) -> None:
    firm.joins("ada", department="Finance")
    firm.joins("ada", source=firm.other)

    assert firm.told() == set()


def test_spelling_is_no_contradiction(firm: Firm) -> None:
    firm.joins("ada", department="Finance")
    firm.joins("ada", source=firm.other, department="FINANCE")

    assert firm.told() == set()


def test_addresses_that_have_one_in_common_are_no_contradiction(firm: Firm) -> None:
    firm.joins("ada", emails=[{"value": "ada@x.example"}, {"value": "a@y.example"}])
    firm.joins("ada", source=firm.other, emails=[{"value": "A@y.example"}])

    assert firm.told() == set()


def test_addresses_that_have_none_in_common_are(firm: Firm) -> None:
    firm.sets("matching", "employeeNumber")
    ada = firm.joins("ada", emails=[{"value": "ada@x.example"}, {"value": "a@y.example"}])
    both = firm.joins("ada", source=firm.other)
    firm.changes(both, emails=[{"value": "other@z.example"}])

    assert both.person_id == ada.person_id
    assert firm.told() == {("email", "okta", "ada@x.example, a@y.example", True), ("email", "workday", "other@z.example", False)}


def test_managers_are_compared_as_people(firm: Firm) -> None:
    boss, boss_too, other_boss = firm.joins("boss"), firm.joins("boss", source=firm.other), firm.joins("chief")
    ada = firm.joins("ada", manager={"value": boss.id})
    firm.joins("ada", source=firm.other, manager={"value": boss_too.id}, at=NOW + DAY)
    assert firm.told() == set()

    enterprise = {**ada.document[ENTERPRISE_URN], "manager": {"value": other_boss.id}}
    firm.changes(ada, enterprise=enterprise)

    assert firm.told() == {("manager", "okta", "chief@x.example", True), ("manager", "workday", "boss@x.example", False)}


def test_two_records_of_one_source_are_its_own_business(firm: Firm) -> None:
    ada = firm.joins("ada", department="Finance")
    draft = RecordDraft(external_id="second", user_name="ada-2@x.example", active=True, document=document("ada@x.example", "E-ada", department="Sales"))
    second = in_transaction(
        lambda s: add_record(s, firm.company.organization_id, firm.company.source_id, draft, actor=OKTA, at=NOW, because="test")
    )

    assert second.person_id == ada.person_id
    assert firm.told() == set()


# All of them


def test_nobody_of_another_organisation_is_listed(firm: Firm) -> None:
    other = Firm()
    other.says(other.joins("eve"), Voice.HR, StatementKind.LEAVES)

    assert firm.told() == set()


def test_however_few_are_looked_at_at_a_time_the_answer_is_the_same(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdefg":
        firm.joins(name, department="Finance")
        firm.joins(name, source=firm.other, department="Sales")
    whole = firm.all()

    monkeypatch.setattr(module, "AT_A_TIME", 2)

    assert firm.all() == whole and len(whole) == 14
