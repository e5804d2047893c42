"""Whose word counts for which attribute, where several sources speak of one person."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from app.database import db, in_transaction
from app.directory.tables import Person, Record, Source
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal import entries
from app.journal.tables import Organization
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.records import add_record, change_record, end_record
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, OKTA, Company, another_source, later, new_company


def said(user_name: str, *, display_name: str | None = None, extension: dict[str, Any] | None = None, **attributes: Any) -> RecordDraft:
    shown = {"displayName": display_name} if display_name is not None else {}
    document = {"userName": user_name, "emails": [{"value": "ada@x.example"}], **shown, **attributes, ENTERPRISE_URN: {"employeeNumber": "E-1", **(extension or {})}}
    return RecordDraft(external_id=f"id-{user_name}", user_name=user_name, active=True, document=document)


class Twice:
    """Ada, of whom two sources speak: okta first, then workday."""

    def __init__(self) -> None:
        self.company: Company = new_company()
        self.okta = self.company.source_id
        self.workday = another_source(self.company, "workday")

    def says(self, source_id: str, draft: RecordDraft, *, at: float = 0) -> Record:
        return in_transaction(
            lambda session: add_record(session, self.company.organization_id, source_id, draft, actor=OKTA, at=later(at), because="test")
        )

    def ranks(self, source_id: str, rank: int) -> None:
        def act(session: Session) -> None:
            entry = entries.write(
                session, self.company.organization_id, at=later(0), actor=ADMIN, verb="source changed", because="test", subject_kind="source",
                subject_id=source_id,
            )  # fmt: skip
            session.execute(update(Source).where(Source.id == source_id).values(rank=rank, journal_id=entry))

        in_transaction(act)

    def chooses(self, precedence: str) -> None:
        in_transaction(
            lambda session: set_setting(
                session, session.get_one(Organization, self.company.organization_id), "attribute_precedence", precedence, actor=ADMIN, at=later(0)
            )
        )  # fmt: skip

    def record(self, ada: Person, source_id: str) -> Record:
        query = select(Record).where(Record.person_id == ada.id, Record.source_id == source_id)
        return in_transaction(lambda session: session.scalars(query).one())

    def both(self, okta: RecordDraft, workday: RecordDraft) -> Person:
        first = self.says(self.okta, okta)
        second = self.says(self.workday, workday, at=1)
        assert first.person_id == second.person_id
        return self.company.person(first)


@pytest.fixture
def twice(installed: Flask) -> Twice:
    return Twice()


OF_OKTA = said("ada.okta", display_name="Ada O", title="Engineer", extension={"department": "Research"})
OF_WORKDAY = said("ada.workday", display_name="Ada W", nickName="Countess", extension={"department": "R&D", "costCenter": "7"})


def test_of_equals_the_older_record_counts_and_the_other_fills_what_it_leaves_out(twice: Twice) -> None:
    ada = twice.both(OF_OKTA, OF_WORKDAY)

    assert (ada.user_name, ada.display_name, ada.department) == ("ada.okta", "Ada O", "Research")
    assert (ada.document["title"], ada.document["nickName"]) == ("Engineer", "Countess")
    assert ada.document[ENTERPRISE_URN] == {"employeeNumber": "E-1", "department": "Research", "costCenter": "7"}


def test_the_source_of_the_lower_rank_counts_first(twice: Twice) -> None:
    twice.ranks(twice.workday, 10)

    ada = twice.both(OF_OKTA, OF_WORKDAY)

    assert (ada.user_name, ada.user_name_key, ada.display_name, ada.department) == ("ada.workday", "ada.workday", "Ada W", "R&D")
    assert (ada.document["title"], ada.document[ENTERPRISE_URN]["costCenter"]) == ("Engineer", "7")


def test_a_record_that_is_off_says_less_than_one_that_is_on(twice: Twice) -> None:
    ada = twice.both(OF_OKTA, OF_WORKDAY)
    twice.company.says(twice.record(ada, twice.okta), active=False, at=later(2))

    assert twice.company.person(twice.record(ada, twice.okta)).department == "R&D"


def test_a_record_that_ended_says_nothing(twice: Twice) -> None:
    twice.ranks(twice.workday, 10)
    ada = twice.both(OF_OKTA, OF_WORKDAY)
    record = twice.record(ada, twice.workday)

    in_transaction(lambda session: end_record(session, record.organization_id, record.source_id, record.id, actor=OKTA, at=later(2), because="gone"))

    after = twice.company.person(record)
    assert (after.user_name, after.department) == ("ada.okta", "Research")
    assert "nickName" not in after.document and "costCenter" not in after.document[ENTERPRISE_URN]


def test_whoever_leaves_a_second_time_is_called_as_they_were_then(twice: Twice) -> None:
    """Okta deletes no user: of somebody who was deleted there and taken on again the first one stays, and is off."""
    first = twice.says(twice.okta, said("ada.old", display_name="Ada Old", title="Engineer"))
    twice.company.says(first, active=False, at=later(1))
    second = twice.says(twice.okta, said("ada.new", display_name="Ada New"), at=2)
    assert second.person_id == first.person_id
    before = twice.company.person(second)

    twice.company.says(second, active=False, at=later(3))

    after = twice.company.person(second)
    assert (after.user_name, after.display_name, "title" in after.document) == ("ada.new", "Ada New", False)
    assert (before.user_name, before.display_name, after.standing) == ("ada.new", "Ada New", "departed")


def test_a_source_that_is_named_for_an_attribute_counts_for_that_alone(twice: Twice) -> None:
    twice.chooses('{"department": ["workday"], "title": ["workday", "okta"], "displayName": ["nobody", "workday"]}')

    ada = twice.both(OF_OKTA, OF_WORKDAY)

    assert (ada.user_name, ada.department, ada.display_name, ada.document["title"]) == ("ada.okta", "R&D", "Ada W", "Engineer")
    assert ada.document[ENTERPRISE_URN]["department"] == "R&D"


def test_a_user_name_can_be_one_sources_to_say(twice: Twice) -> None:
    twice.chooses('{"userName": ["workday"]}')

    ada = twice.both(OF_OKTA, OF_WORKDAY)

    assert (ada.user_name, ada.user_name_key, ada.department) == ("ada.workday", "ada.workday", "Research")


def test_where_the_named_source_says_nothing_the_others_do(twice: Twice) -> None:
    twice.chooses('{"costCenter": ["okta"], "nickName": ["okta"]}')

    ada = twice.both(OF_OKTA, OF_WORKDAY)

    assert (ada.document["nickName"], ada.document[ENTERPRISE_URN]["costCenter"]) == ("Countess", "7")


def test_a_manager_is_whom_the_named_source_names(twice: Twice) -> None:
    boss, other = (twice.says(twice.okta, RecordDraft(external_id=name, user_name=name, active=True, document={"userName": name})) for name in ("boss", "other"))
    twice.chooses('{"manager": ["workday"]}')

    ada = twice.both(
        said("ada.okta", extension={"manager": {"value": other.id}}), said("ada.workday", extension={"manager": {"value": boss.id}})
    )

    assert ada.manager_id == boss.person_id


def test_records_keep_their_own_documents(twice: Twice) -> None:
    ada = twice.both(OF_OKTA, OF_WORKDAY)

    assert twice.record(ada, twice.okta).document == OF_OKTA.document
    assert twice.record(ada, twice.workday).document == OF_WORKDAY.document


def test_nothing_is_asked_of_sources_where_one_speaks(twice: Twice) -> None:
    first = twice.says(twice.okta, OF_OKTA)
    changed = said("ada.okta", display_name="Ada Lovelace")
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))

    in_transaction(lambda session: change_record(session, first.organization_id, first.source_id, first.id, changed, actor=OKTA, at=later(2), because="test"))

    assert asked and not [statement for statement in asked if "source.rank" in statement]
