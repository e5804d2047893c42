"""Two who join by the same number, address or name at the same time: the second sees the first, as if it had come later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.database import in_transaction, reading, transaction
from app.directory.tables import Person, Record, Standing
from app.journal.tables import Organization
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.key_locks import hold_keys, holding
from app.lifecycle.matching import hold
from app.lifecycle.records import add_record, change_record
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, OKTA, Company, another_source, later, new_company
from tests.two_at_once import meanwhile
from tests.unit.intake.pulled_company import pulled_company
from tests.unit.intake.scripted_directory import person
from tests.unit.lifecycle.asking import asked, draft


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def entra(company: Company) -> str:
    """Another directory of the same company."""
    return another_source(company, "entra")


def chooses(company: Company, matching: str) -> None:
    in_transaction(
        lambda session: set_setting(session, session.get_one(Organization, company.organization_id), "matching", matching, actor=ADMIN, at=later(0))
    )


def joining(company: Company, source_id: str, said: RecordDraft) -> Callable[[Session], Record]:
    """For a transaction of the caller's own, as another process would have it open."""
    return lambda session: add_record(session, company.organization_id, source_id, said, actor=OKTA, at=later(1), because="push")


def named(user_name: str, number: str | None = None, *, external_id: str | None = None) -> RecordDraft:
    """Without an address, which could contradict."""
    said = draft(user_name, number, external_id=external_id)
    return replace(said, document={name: value for name, value in said.document.items() if name != "emails"})


def people(company: Company) -> list[Person]:
    with reading() as session:
        return list(session.scalars(select(Person).where(Person.organization_id == company.organization_id)))


@pytest.mark.parametrize("matching", ["employeeNumber", "email", "userName", "employeeNumber,email,userName"])
def test_whom_two_directories_name_at_once_is_one_person(installed: Flask, company: Company, entra: str, matching: str) -> None:
    chooses(company, matching)
    said = {
        "employeeNumber": (named("ada", "E-1"), named("lovelace", "E-1")),
        "email": (draft("ada@x.example"), draft("Ada@X.example")),
        "userName": (named("ada"), named("Ada")),
    }
    one, other = said.get(matching, said["userName"])

    first, second = meanwhile(installed, joining(company, company.source_id, one), lambda: in_transaction(joining(company, entra, other)))

    assert first.person_id == second.person_id
    assert len(people(company)) == 1


def test_two_entries_of_one_directory_that_come_at_once_under_a_number_are_one_person(installed: Flask, company: Company) -> None:
    okta = company.source_id
    first, second = meanwhile(
        installed, joining(company, okta, named("ada", "E-1")), lambda: in_transaction(joining(company, okta, named("ada.l", "E-1")))
    )

    assert first.person_id == second.person_id


def test_where_it_is_in_doubt_whether_two_who_come_at_once_are_one_it_is_asked(installed: Flask, company: Company, entra: str) -> None:
    first, second = meanwhile(
        installed, joining(company, company.source_id, draft("ada@x.example", "E-1")),
        lambda: in_transaction(joining(company, entra, draft("bob@y.example", "E-1"))),
    )  # fmt: skip

    assert first.person_id != second.person_id
    [question] = asked(company)
    assert question.reason == "employee number E-1 belongs to ada@x.example, whose addresses are others"


def test_whom_a_directory_pushes_while_another_is_pulled_is_one_person(installed: Flask) -> None:
    corp = pulled_company()
    corp.directory.put(person("a", number="E-1"), person("b", number="E-2"))
    pushed = named("ada", "E-1")

    first, _ = meanwhile(installed, joining(corp.company, corp.company.source_id, pushed), corp.pull)

    pulled = corp.records()
    assert pulled["a@x.example"].person_id == first.person_id
    assert pulled["b@x.example"].person_id != first.person_id


def test_a_successor_who_joins_elsewhere_at_the_same_time_is_one_person(installed: Flask, company: Company, entra: str) -> None:
    okta = company.source_id
    ada = company.joins("ada", "E-1")
    company.says(ada, active=False, at=later(1))
    successor = named("ada", "E-2", external_id="another")

    def give(session: Session) -> Record:
        return change_record(session, company.organization_id, okta, ada.id, successor, actor=OKTA, at=later(2), because="push")

    first, second = meanwhile(installed, joining(company, entra, named("kim", "E-2")), lambda: in_transaction(give))

    assert first.person_id == second.person_id != ada.person_id


def test_whoever_leaves_one_of_two_directories_that_named_them_at_once_is_in_by_the_other(installed: Flask, company: Company, entra: str) -> None:
    first, second = meanwhile(
        installed, joining(company, company.source_id, named("ada", "E-1")), lambda: in_transaction(joining(company, entra, named("ada", "E-1")))
    )

    company.says(first, active=False, at=later(2))
    assert company.person(second).standing == Standing.ACTIVE
    company.says(second, active=False, at=later(3))

    assert company.person(first).standing == Standing.DEPARTED


class TestOnPostgreSQL:
    @pytest.fixture(autouse=True)
    def on_postgresql(self, database_url: str) -> None:
        if database_url.startswith("sqlite"):
            pytest.skip("SQLite has one writer at a time anyway")

    def test_who_joins_by_something_else_is_not_waited_for(self, installed: Flask, company: Company, entra: str) -> None:
        with transaction() as session:
            joining(company, company.source_id, draft("ada@x.example", "E-1"))(session)
            session.flush()
            # Nobody is matched by the address here.
            in_transaction(joining(company, entra, draft("ada@x.example", "E-2")))

        assert len(people(company)) == 2

    def test_another_organisation_is_not_waited_for(self, installed: Flask, company: Company) -> None:
        other = new_company()

        with transaction() as session:
            joining(company, company.source_id, draft("ada", "E-1"))(session)
            session.flush()
            in_transaction(joining(other, other.source_id, draft("ada", "E-1")))

        assert (len(people(company)), len(people(other))) == (1, 1)

    def test_thousands_of_addresses_take_no_more_locks_than_the_database_has_room_for(self, installed: Flask, company: Company) -> None:
        chooses(company, "email")

        with transaction() as session:
            hold(session, company.organization_id, (draft(f"p{number}@x.example") for number in range(10_000)))
            held = session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))

        assert held == 1024

    def test_what_no_database_keeps_may_be_held_all_the_same(self, installed: Flask, company: Company) -> None:
        with transaction() as session:
            hold_keys(session, company.organization_id, [("userName", "half a sign \ud800"), ("userName", "nothing \0")])

    def test_no_statement_is_kept_for_each_who_joins(self, installed: Flask, company: Company) -> None:
        in_transaction(joining(company, company.source_id, named("ada", "E-1")))
        kept = holding.cache_info().currsize

        in_transaction(joining(company, company.source_id, named("bob", "E-2")))

        assert holding.cache_info().currsize == kept
