"""An HR call about a number that two people have: it waits until only one of them has it."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Record, Standing
from app.intake.tables import HREvent
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.records import change_record
from tests.company import OKTA, Company, document, new_company
from tests.hr_system import HR, leaving


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def is_numbered(company: Company, record: Record, number: str | None) -> None:
    draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=True, document=document(record.user_name, number))
    in_transaction(
        lambda session: change_record(
            session, company.organization_id, company.source_id, record.id, draft, actor=OKTA, at=now(), because="test"
        )
    )


@pytest.mark.parametrize("number", ["E-2", None])
def test_a_leaver_is_out_once_nobody_else_has_their_number_any_more(installed: Flask, company: Company, number: str | None) -> None:
    ada, bob = company.joins("ada@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    is_numbered(company, bob, "E-1")
    answer = HR(installed, company).call(leaving("E-1", revoke_access="immediately"))
    assert (answer.get_json(), company.person(ada).standing) == ({"state": "parked"}, Standing.ACTIVE)

    is_numbered(company, bob, number)

    assert (company.person(ada).standing, company.person(bob).standing) == (Standing.DEPARTED, Standing.ACTIVE)
    with reading() as session:
        assert session.scalars(select(HREvent.state)).all() == ["applied"]


def test_a_number_that_is_nobodys_any_more_is_waited_for(installed: Flask, company: Company) -> None:
    ada, bob = company.joins("ada@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    is_numbered(company, bob, "E-1")
    HR(installed, company).call(leaving("E-1", revoke_access="immediately", work_email="eve@x.example"))

    is_numbered(company, bob, "E-2")
    is_numbered(company, ada, "E-3")

    assert (company.person(ada).standing, company.person(bob).standing) == (Standing.ACTIVE, Standing.ACTIVE)
    with reading() as session:
        assert session.scalars(select(HREvent.problem)).all() == ["nobody has employee number E-1"]
