"""Last days, moves that are known beforehand, days that come late, and clocks that are put back."""

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Record, Standing, StatementKind
from app.journal.tables import Entry, Organization
from app.lifecycle.records import RecordDraft, add_record
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, OKTA, another_source, document, new_company
from tests.unit.lifecycle.dated import comes_due, dated, departures_of, gets_in, hr_says, joins, on, replace_name, signed_in

# Ends


def test_a_record_that_ends_takes_access_at_that_instant_without_any_word(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", until=10)
    cookie = signed_in(company, ada, at=1)
    assert company.person(ada).access_until == on(10)

    assert gets_in(cookie, at=9.99) and not gets_in(cookie, at=10), "though nothing has ticked"
    assert comes_due(company, ada, at=10).standing == Standing.DEPARTED


def test_what_the_end_of_a_record_means_is_frozen_on_that_day(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", until=10)

    def hr_leaves(session: Session) -> None:
        set_setting(session, session.get_one(Organization, company.organization_id), "leaving_voice", "hr", actor=ADMIN, at=on(11))

    comes_due(company, ada, at=10)
    in_transaction(hr_leaves)

    assert comes_due(company, ada, at=12).standing == Standing.DEPARTED
    with reading() as session:
        assert session.scalars(select(Record.off_means)).one() == Standing.DEPARTED


def test_a_directory_that_puts_the_end_off_lets_somebody_back_in_who_was_out_by_it(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", until=10)
    comes_due(company, ada, at=10)

    dated(company, ada, at=11, ends_at=on(20))

    person = company.person(ada)
    assert (person.standing, person.access_until) == (Standing.ACTIVE, on(20))


def test_the_journal_says_which_dates_were_changed(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", until=10)

    changed = dated(company, ada, at=1, ends_at=on(5))

    with reading() as session:
        entry = session.get_one(Entry, changed.journal_id)
    assert entry.before is not None and entry.after is not None
    assert (entry.before["endsAt"], entry.after["endsAt"]) == (on(10).isoformat(), on(5).isoformat())
    assert "startsAt" not in entry.before | entry.after


def test_a_directory_that_puts_the_end_off_gives_nobody_back_whom_hr_took(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", until=10, number="E-1")
    hr_says(company, ada, StatementKind.LEAVES, said=5)

    dated(company, ada, at=6, ends_at=on(20))

    assert company.person(ada).standing == Standing.DEPARTED


# Moves


def test_a_move_that_is_known_beforehand_takes_effect_on_its_day(installed: Flask) -> None:
    company = new_company()
    old = joins(company, "ada", number="E-1", until=10, department="Sales")
    new_source = another_source(company, "next")
    draft = RecordDraft(
        external_id="next-ada", user_name="ada@x.example", active=True, document=document("ada@x.example", "E-1", department="Legal"), starts_at=on(10)
    )
    new = in_transaction(lambda s: add_record(s, company.organization_id, new_source, draft, actor=OKTA, at=on(1), because="test"))
    assert new.person_id == old.person_id

    before = comes_due(company, old, at=9)
    at = comes_due(company, old, at=10)

    assert (before.standing, before.department) == (Standing.ACTIVE, "Sales")
    assert (at.standing, at.department) == (Standing.ACTIVE, "Legal")
    assert departures_of(company, old) == [], "who only moves loses nothing"


# Days that come late, and clocks


def test_what_came_due_while_nothing_ran_is_made_good_at_once_and_says_when_it_was_due(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=10, until=20)

    comes_due(company, ada, at=45)

    assert company.person(ada).standing == Standing.DEPARTED
    [departure] = departures_of(company, ada)
    assert departure.decided_at == on(45)


def test_an_end_that_came_due_while_nothing_ran_counts_from_its_own_instant(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", until=20)

    comes_due(company, ada, at=45)

    [departure] = departures_of(company, ada)
    assert (departure.due_at, departure.decided_at) == (on(20), on(45))


@pytest.mark.parametrize("who", ["directory", "hr"])
def test_it_counts_from_there_whoever_looks_first(installed: Flask, who: str) -> None:
    company = new_company()
    ada = joins(company, "ada", until=20)

    if who == "directory":
        replace_name(company, ada, "Ada L.", at=45)
    else:
        hr_says(company, ada, StatementKind.LEAVES, said=45)

    [departure] = departures_of(company, ada)
    assert (departure.due_at, departure.decided_at) == (on(20), on(45))


@pytest.mark.parametrize("what", ["record", "statement"])
def test_a_clock_that_is_put_back_gives_nobody_access_again(installed: Flask, what: str) -> None:
    company = new_company()
    ada = joins(company, "ada", until=10 if what == "record" else None)
    if what == "statement":
        hr_says(company, ada, StatementKind.LEAVES, said=1, at=10)
    comes_due(company, ada, at=11)

    assert comes_due(company, ada, at=3).standing == Standing.DEPARTED
    # Nor by a change that has nothing to do with it, and what is decided after that.
    renamed = replace_name(company, ada, "Ada L.", at=3)
    assert company.person(renamed).standing == Standing.DEPARTED
    assert comes_due(company, ada, at=4).standing == Standing.DEPARTED


def test_a_clock_that_was_ahead_and_is_put_right_takes_back_what_it_gave_too_early(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=10)
    assert comes_due(company, ada, at=11).standing == Standing.ACTIVE

    assert comes_due(company, ada, at=3).standing == Standing.EXPECTED
    assert comes_due(company, ada, at=10).standing == Standing.ACTIVE


def test_looking_again_without_a_change_writes_nothing(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=10)

    def entries() -> int:
        with reading() as session:
            return len(session.scalars(select(Entry.id)).all())

    before = entries()
    comes_due(company, ada, at=5)
    comes_due(company, ada, at=6)

    assert entries() == before
