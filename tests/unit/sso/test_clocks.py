"""Signing in where access was taken at an instant in time to come: by a clock that was ahead of the one that is asked now."""

from __future__ import annotations

import pytest
from flask import Flask

from app.database import in_transaction
from app.directory.tables import Record, StatementKind, Voice
from app.lifecycle.leaving import say
from app.lifecycle.matching import One
from app.lifecycle.records import RecordDraft, add_record
from app.lifecycle.signing_out import sign_out_everywhere
from app.sso.refusals import Reason
from tests.company import ADMIN, NOW, OKTA, Company, another_source, document, later, new_company
from tests.vouching import Provider, joins_as, new_provider

DAY = 86400


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def okta(company: Company) -> Provider:
    return new_provider(company)


def speaks(company: Company, ada: Record, kind: StatementKind, *, at: float) -> None:
    in_transaction(
        lambda s: say(
            s, company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=later(at), actor=ADMIN, at=later(at),
            because="test",
        )
    )  # fmt: skip


def test_who_is_back_from_a_leaving_by_a_clock_that_was_ahead_signs_in_with_what_was_issued_since(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1")
    speaks(company, ada, StatementKind.LEAVES, at=DAY)
    speaks(company, ada, StatementKind.RETURNS, at=20)

    assert okta.refuses("00u1", at=later(19), seen_at=later(21)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(20.5), seen_at=later(21)).present.person_id == ada.person_id


def test_so_is_who_was_switched_off_and_on(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1")
    company.says(ada, active=False, at=later(DAY))
    company.says(ada, active=True, at=later(20))

    assert okta.refuses("00u1", at=later(19), seen_at=later(21)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(20.5), seen_at=later(21)).present.person_id == ada.person_id


def test_a_leaving_by_a_clock_that_is_right_counts_beside_one_that_was_ahead(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1")
    speaks(company, ada, StatementKind.LEAVES, at=DAY)
    speaks(company, ada, StatementKind.RETURNS, at=20)
    speaks(company, ada, StatementKind.LEAVES, at=30)
    speaks(company, ada, StatementKind.RETURNS, at=40)

    assert okta.refuses("00u1", at=later(25), seen_at=later(41)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(35), seen_at=later(41)).present.person_id == ada.person_id


def test_who_was_signed_out_by_a_clock_that_was_ahead_waits_for_anything_of_them_by_one_that_is_right(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1")

    def signed_out(at: float) -> None:
        in_transaction(
            lambda s: sign_out_everywhere(s, company.organization_id, ada.person_id, actor=ADMIN, at=later(at), because="lost laptop")
        )

    signed_out(DAY)
    joins_as(company, "00u2", "bob")
    before = okta.refuses("00u1", at=later(30), seen_at=later(31))
    signed_out(40)

    assert before is Reason.ISSUED_BEFORE
    assert okta.refuses("00u1", at=later(39), seen_at=later(41)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(41)).present.person_id == ada.person_id


def test_an_off_that_counts_behind_a_return_in_time_to_come_keeps_nobody_out_until_then(company: Company, okta: Provider) -> None:
    """One of two records goes off by a clock that is right; who is in by the other signs in, with what was issued after that."""
    ada = joins_as(company, "00u1")
    entra, same = another_source(company, "entra"), One(person_id=ada.person_id, by="test")
    draft = RecordDraft(external_id="e1", user_name="ada@y.example", active=True, document=document("ada@y.example", None))
    other = in_transaction(lambda s: add_record(s, company.organization_id, entra, draft, match=same, actor=OKTA, at=NOW, because="test"))
    speaks(company, ada, StatementKind.RETURNS, at=5000)
    company.says(other, active=False, at=later(10))

    assert okta.refuses("00u1", at=later(9), seen_at=later(11)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(12)).present.person_id == ada.person_id
