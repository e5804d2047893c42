"""Somebody gets a manager while the manager's record goes to another person: they report to who has it then, or to nobody, never to who had it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction
from app.directory.tables import Person, Record
from app.directory.vocabulary import ENTERPRISE_URN
from app.lifecycle.answering import answer
from app.lifecycle.records import change_record
from tests.company import ADMIN, OKTA, Company, another_source, later, new_company
from tests.two_at_once import meanwhile
from tests.unit.intake.pulled_company import pulled_company
from tests.unit.intake.scripted_directory import person as entry
from tests.unit.lifecycle.asking import draft, person, pushes, record


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def boss(company: Company) -> Record:
    """Somebody who is off, so that their record can be given to another."""
    joined = company.joins("boss@x.example")
    return company.says(joined, active=False, at=later(1))


def changing(company: Company, one: Record, *, external_id: str | None = None, **enterprise: Any) -> Callable[[Session], Record]:
    """For a transaction of the caller's own, as another process would have it open."""
    said = draft(one.user_name, external_id=external_id or one.external_id, **enterprise)
    return lambda session: change_record(session, company.organization_id, one.source_id, one.id, said, actor=OKTA, at=later(3), because="push")


def giving(company: Company, one: Record) -> Callable[[Session], Record]:
    return changing(company, one, external_id="another")


def named(one: Record) -> dict[str, Any]:
    enterprise: dict[str, Any] = one.document.get(ENTERPRISE_URN, {})
    return enterprise


def test_who_is_given_a_manager_whose_record_is_given_away_meanwhile_reports_to_nobody(installed: Flask, company: Company, boss: Record) -> None:
    ada = company.joins("ada@x.example")

    meanwhile(installed, changing(company, ada, manager={"value": boss.id}), lambda: in_transaction(giving(company, boss)))

    assert person(company, ada.person_id).manager_id is None
    assert "manager" not in named(record(company, ada.id))


def test_who_is_given_a_manager_while_the_record_is_given_away_reports_to_the_successor(installed: Flask, company: Company, boss: Record) -> None:
    ada = company.joins("ada@x.example")

    meanwhile(installed, giving(company, boss), lambda: in_transaction(changing(company, ada, manager={"value": boss.id})))

    successor = record(company, boss.id).person_id
    assert person(company, ada.person_id).manager_id == successor != boss.person_id


def test_who_joins_with_a_manager_while_the_record_is_given_away_reports_to_the_successor(installed: Flask, company: Company, boss: Record) -> None:
    _, ada = meanwhile(installed, giving(company, boss), lambda: company.joins("ada@x.example", manager={"value": boss.id}, at=later(3)))

    assert person(company, ada.person_id).manager_id == record(company, boss.id).person_id != boss.person_id


def test_what_is_said_of_a_report_while_the_managers_record_is_given_away_stays(installed: Flask, company: Company, boss: Record) -> None:
    ada = company.joins("ada@x.example", manager={"value": boss.id})
    moved = changing(company, ada, manager={"value": boss.id}, department="Research")

    meanwhile(installed, moved, lambda: in_transaction(giving(company, boss)))

    assert named(record(company, ada.id)) == {"department": "Research"}
    assert (person(company, ada.person_id).manager_id, person(company, ada.person_id).department) == (None, "Research")


@pytest.mark.parametrize("how", ["pushed", "pulled"])
def test_who_comes_while_their_manager_becomes_one_with_somebody_reports_to_that_one(installed: Flask, how: str) -> None:
    corp = pulled_company()
    company = corp.company
    kim = company.joins("kim@x.example", "E-1")
    entra = another_source(company, "entra")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    in_transaction(changing(company, again, employeeNumber="E-2"))
    corp.directory.put(entry("boss", "lovelace@y.example", number="E-2"))
    corp.pull()
    assert corp.records()["lovelace@y.example"].person_id == again.person_id

    def same(session: Session) -> Person:
        return answer(session, company.organization_id, 1, same_as=kim.person_id, actor=ADMIN, at=later(10))

    if how == "pushed":
        _, ada = meanwhile(installed, same, lambda: pushes(company, entra, draft("ada@x.example", manager={"value": again.id}), at=11))
    else:
        corp.directory.put(entry("ada", "ada@x.example", manager="boss"))
        meanwhile(installed, same, corp.pull)
        ada = corp.records()["ada@x.example"]

    assert person(company, ada.person_id).manager_id == kim.person_id
