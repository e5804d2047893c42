"""What a source says besides the document: from when until when, and an *off* that its own brake has let through."""

from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Record, Standing
from app.journal.tables import Entry, Organization
from app.lifecycle import brake
from app.lifecycle.drafts import RecordDraft, addresses_of, number_of, without_number
from app.lifecycle.records import add_record, change_record, end_record
from app.lifecycle.sources import set_setting
from app.lifecycle.tables import PushedOff
from tests.company import ADMIN, OKTA, Company, document, later, new_company

ADA = RecordDraft(external_id="00u1", user_name="ada@x.example", active=True, document=document("ada@x.example", "E-1"))


@pytest.fixture
def company(installed: Flask) -> Company:
    """One whose brake lets no pushed *off* through."""
    made = new_company()
    in_transaction(lambda session: set_setting(session, session.get_one(Organization, made.organization_id), "push_brake", "0/60s", actor=ADMIN, at=later(0)))
    return made


def joins(company: Company, draft: RecordDraft) -> Record:
    return in_transaction(
        lambda session: add_record(session, company.organization_id, company.source_id, draft, actor=OKTA, at=later(0), because="test")
    )


def changes(company: Company, record: Record, draft: RecordDraft, *, braked: bool = True, at: float = 1) -> Record:
    return in_transaction(
        lambda session: change_record(
            session, company.organization_id, company.source_id, record.id, draft, braked=braked, actor=OKTA, at=later(at), because="test"
        )
    )  # fmt: skip


def counted(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(PushedOff)) or 0


def test_an_off_that_is_not_braked_takes_effect_and_counts_for_nothing(company: Company) -> None:
    ada = joins(company, ADA)

    off = changes(company, ada, replace(ADA, active=False), braked=False)

    assert company.person(ada).standing == Standing.DEPARTED and not off.held
    with reading() as session:
        assert brake.waiting(session, company.organization_id) == [] and counted(session) == 0


def test_an_off_that_is_braked_is_held_as_ever(company: Company) -> None:
    ada = joins(company, ADA)

    off = changes(company, ada, replace(ADA, active=False))

    assert company.person(ada).standing == Standing.ACTIVE and off.held


def test_an_end_that_is_not_braked_takes_effect_at_once(company: Company) -> None:
    ada, bob = joins(company, ADA), joins(company, replace(ADA, external_id="b", user_name="bob", document=document("bob", None)))

    for record, braked in ((ada, False), (bob, True)):
        in_transaction(
            lambda session, record=record, braked=braked: end_record(  # type: ignore[misc]  # bound, not typed
                session, company.organization_id, company.source_id, record.id, braked=braked, actor=OKTA, at=later(1), because="test"
            )
        )

    assert (company.person(ada).standing, company.person(bob).standing) == (Standing.DEPARTED, Standing.ACTIVE)


def test_dates_are_kept_changed_and_taken_away_as_they_are_said(company: Company) -> None:
    dated = replace(ADA, starts_at=later(-60), ends_at=later(3600))
    ada = joins(company, dated)
    assert (ada.starts_at, ada.ends_at) == (later(-60), later(3600))

    later_end = changes(company, ada, replace(dated, ends_at=later(7200)))
    assert (later_end.starts_at, later_end.ends_at, later_end.version) == (later(-60), later(7200), 2)

    undated = changes(company, ada, ADA, at=2)
    assert (undated.starts_at, undated.ends_at, undated.version) == (None, None, 3)


def test_the_same_dates_said_again_write_nothing(company: Company) -> None:
    dated = replace(ADA, ends_at=later(3600))
    ada = joins(company, dated)
    with reading() as session:
        before = session.scalar(select(func.count()).select_from(Entry))

    again = changes(company, ada, dated)

    assert again.version == 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Entry)) == before


def test_whoever_comes_back_under_their_id_comes_with_the_dates_that_are_said(company: Company) -> None:
    ada = joins(company, ADA)
    changes(company, ada, replace(ADA, active=False), braked=False)

    back = in_transaction(
        lambda session: add_record(
            session, company.organization_id, company.source_id, replace(ADA, ends_at=later(3600)), actor=OKTA, at=later(2), because="test"
        )
    )  # fmt: skip

    assert (back.id, back.active, back.ends_at) == (ada.id, True, later(3600))


def test_a_draft_names_its_number_and_every_address_once() -> None:
    said = replace(ADA, document={**ADA.document, "emails": ["ADA@x.example", {"value": "al@x.example"}, {"type": "home"}, 7]})

    assert number_of(said) == "E-1" and addresses_of(said) == {"ada@x.example", "al@x.example"}
    assert addresses_of(replace(said, user_name="ada", document={})) == set()
    assert number_of(without_number(said)) is None and number_of(said) == "E-1"
