"""Groups of a record with dates while another one keeps the person in: none before its first day, and none from its last on."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Record, Standing
from app.journal.tables import Work
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.people import reconsider
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.rules.membership import keys_of_person
from tests.company import OKTA, Company, another_source, document, new_company
from tests.unit.rules.conftest import rules_of

RULES = {
    "a channel for each group": rules_of("  - {id: teams, for_each: group, name: '{{ key }}'}\n"),
    "a condition on groups": rules_of("""  - {id: sales, where: 'groups[display eq "Sales"]', name: sales}\n"""),
}
DAY = timedelta(days=1)


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def _said(starts_at: datetime | None, ends_at: datetime | None) -> RecordDraft:
    said = document("ada@x.example", "17")
    return RecordDraft(external_id="2", user_name="ada@x.example", active=True, document=said, starts_at=starts_at, ends_at=ends_at)


def _second_of_ada(company: Company, *, starts_at: datetime | None = None, ends_at: datetime | None = None, at: datetime | None = None) -> Record:
    """Her record in another directory, where she is in Sales; the first one is on, and has no dates."""
    directory = another_source(company, "ldap")
    first = company.joins("ada@x.example", "17")
    moment = at or now()
    said = _said(starts_at, ends_at)
    record = in_transaction(lambda s: add_record(s, company.organization_id, directory, said, actor=OKTA, at=moment, because="test"))
    group = GroupDraft(external_id=None, display_name="Sales", members=(record.id,))
    in_transaction(lambda s: add_group(s, company.organization_id, directory, group, actor=OKTA, at=moment, because="test"))
    assert record.person_id == first.person_id
    return record


def _is_in(company: Company, record: Record, channel: str) -> bool:
    with reading() as session:
        return bool(keys_of_person(session, company.organization_id, RULES[channel], record.person_id))


def _to_do(company: Company) -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Work.subject_id).where(Work.organization_id == company.organization_id)))


@pytest.mark.parametrize("channel", RULES)
@pytest.mark.parametrize(
    ("starts_in", "ends_in", "counts"), [(None, -DAY, False), (DAY, None, False), (-DAY, DAY, True)], ids=["over", "yet to begin", "in force"]
)
def test_groups_count_within_the_dates_of_their_record(
    company: Company, channel: str, starts_in: timedelta | None, ends_in: timedelta | None, counts: bool
) -> None:
    present = now()
    starts_at, ends_at = (None if one is None else present + one for one in (starts_in, ends_in))

    ada = _second_of_ada(company, starts_at=starts_at, ends_at=ends_at, at=present - 2 * DAY)

    assert company.person(ada).standing == Standing.ACTIVE
    assert _is_in(company, ada, channel) is counts


def test_whose_record_comes_to_its_end_is_looked_at(company: Company) -> None:
    present = now()
    ada = _second_of_ada(company, ends_at=present - DAY, at=present - 2 * DAY)
    in_transaction(lambda session: session.execute(delete(Work)))

    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=present))

    assert ada.person_id in _to_do(company)


def test_whose_record_gets_other_dates_is_looked_at(company: Company) -> None:
    ada = _second_of_ada(company)
    in_transaction(lambda session: session.execute(delete(Work)))
    over, at = _said(None, now()), now()

    in_transaction(lambda s: change_record(s, company.organization_id, ada.source_id, ada.id, over, actor=OKTA, at=at, because="test"))

    assert ada.person_id in _to_do(company)
