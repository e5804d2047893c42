"""Whoever was entered by hand and became an employee: once a directory has them, it can let them go."""

import pytest
from flask import Flask
from sqlalchemy import select

from app.database import in_transaction, reading
from app.directory.tables import Record, Standing
from app.journal.tables import Entry, Organization
from app.lifecycle import contractors, engagements
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, OKTA
from tests.unit.lifecycle.contracting import Firm, new_firm, on


@pytest.fixture
def firm(installed: Flask) -> Firm:
    """Whom a directory names by an address that is known is who has it."""
    made = new_firm()
    here = made.company.organization_id
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, here), "matching", "email", actor=ADMIN, at=on(0)))
    return made


def enters_ada(firm: Firm) -> Record:
    """An operator does, until the thirtieth day."""
    here = firm.company.organization_id
    person = in_transaction(
        lambda s: contractors.enter(s, here, "Ada Kim", email="ada@x.example", user_name="ada", starts_at=None, actor=ADMIN, at=on(0))
    )
    with reading() as session:
        entered = session.scalars(select(Record).where(Record.person_id == person.id)).one()
    firm.takes_on(entered, until=30)
    return entered


def standing(firm: Firm, record: Record) -> tuple[str, str | None]:
    person = firm.person(record)
    return person.standing, person.user_type


def is_there(entered: Record) -> bool:
    with reading() as session:
        return session.get_one(Record, (entered.organization_id, entered.id)).ended_at is None


@pytest.mark.parametrize("named_first", [True, False])
def test_whoever_is_kept_leaves_with_the_directory_that_has_them(firm: Firm, named_first: bool) -> None:
    entered = enters_ada(firm)
    if named_first:
        named = firm.joins("ada", at=1)
        firm.ends(entered, stays=True, at=2)
    else:
        firm.ends(entered, stays=True, at=1)
        named = firm.joins("ada", at=2)

    assert (named.person_id, standing(firm, entered)) == (entered.person_id, (Standing.ACTIVE, "Employee"))
    assert not is_there(entered)
    firm.says(named, active=False, at=3)
    assert standing(firm, entered) == (Standing.DEPARTED, "Employee")


def test_whoever_is_kept_and_named_by_nobody_stays(firm: Firm) -> None:
    entered = enters_ada(firm)

    firm.ends(entered, stays=True, at=1)

    firm.time_passes(to=31)
    assert (is_there(entered), standing(firm, entered)) == (True, (Standing.ACTIVE, None))


def test_a_directory_that_has_them_off_puts_nobody_out_by_naming_them(firm: Firm) -> None:
    entered = enters_ada(firm)
    named = firm.joins("ada", at=1)
    firm.says(named, active=False, at=2)

    firm.ends(entered, stays=True, at=3)

    assert (is_there(entered), firm.person(entered).standing) == (True, Standing.ACTIVE)
    firm.says(named, active=True, at=4)
    firm.says(named, active=False, at=5)
    assert firm.person(entered).standing == Standing.DEPARTED


def test_of_whoever_is_no_employee_it_goes_on_saying_so(firm: Firm) -> None:
    entered = enters_ada(firm)

    firm.joins("ada", at=1)

    assert (is_there(entered), standing(firm, entered)) == (True, (Standing.ACTIVE, "Contractor"))
    with reading() as session:
        assert engagements.open_engagement(session, entered.organization_id, entered.person_id) is not None


def test_the_journal_says_why_it_ended(firm: Firm) -> None:
    entered = enters_ada(firm)
    firm.ends(entered, stays=True, at=1)

    firm.joins("ada", at=2)

    with reading() as session:
        entry = session.scalars(select(Entry).where(Entry.subject_id == entered.id, Entry.verb == "ended")).one()
    assert (entry.actor, entry.because) == (str(OKTA), "test: a directory names whoever was entered by hand")
