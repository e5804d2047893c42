"""Giving a source up: what one transaction of it costs does not grow with all who have ended by it."""

import pytest
from flask import Flask
from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.database import db, in_transaction, new_id
from app.directory.tables import Record, Source
from app.lifecycle.ended_sources import end_some
from tests.company import ADMIN, NOW, Company, another_source, later, new_company
from tests.work_counted import work_counted

AT_A_TIME = 500


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def source_whose_users_ended(company: Company, number: int) -> str:
    source_id = another_source(company, f"{number} ended")
    rows = [
        {
            "organization_id": company.organization_id, "id": one, "source_id": source_id, "person_id": one, "user_name": one, "user_name_key": one,
            "active": False, "active_said_at": NOW, "document": {}, "created_at": NOW, "modified_at": NOW, "ended_at": NOW, "journal_id": 1,
            "held": False, "version": 1,
        }
        for one in (new_id() for _ in range(number))
    ]  # fmt: skip
    for begin in range(0, number, AT_A_TIME):
        in_transaction(lambda session, some=rows[begin : begin + AT_A_TIME]: session.execute(insert(Record), some))  # type: ignore[misc]  # defaults bind the loop's values
    return source_id


def cost_of_ending(company: Company, source_id: str) -> int:
    def ends(session: Session) -> None:
        source = session.get_one(Source, (company.organization_id, source_id))
        assert end_some(session, source, reason="moved", actor=ADMIN, at=later(1)) == 0

    with db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # As it does by itself a while after so much has come; SQLite knows what is many.
            connection.exec_driver_sql("ANALYZE record")
            connection.commit()
    with work_counted(db.engine) as count:
        return count(lambda: in_transaction(ends))


def test_ending_groups_costs_the_same_however_many_users_have_ended(company: Company) -> None:
    few = cost_of_ending(company, source_whose_users_ended(company, 10))

    many = cost_of_ending(company, source_whose_users_ended(company, 3000))

    assert many <= 2 * few + 50
