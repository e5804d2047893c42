"""Being switched off or on moves nobody through an index of everybody, and who is not active is found all the same."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.database import db, in_transaction, reading
from app.directory.tables import Record
from app.journal.tables import Organization
from app.revocation import sweeps
from tests.company import Company, later, new_company


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def place_of(record: Record) -> list[Any]:
    """On which pages PostgreSQL has a record and its person."""
    with reading() as session:
        return [
            session.scalar(text(f"SELECT (ctid::text::point)[0]::int FROM {table} WHERE id = :id"), {"id": id})
            for table, id in (("record", record.id), ("person", record.person_id))
        ]


def test_who_is_switched_stays_on_their_page(company: Company) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite changes a row where it is")
    # Or there would be room where rows of earlier tests were.
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM record, person"))
    first, *_ = [company.joins(f"p{number}@x.example", f"E-{number}") for number in range(60)]
    before = place_of(first)

    company.says(first, active=False, at=later(1))
    company.says(first, active=True, at=later(2))

    assert before == place_of(first) == [0, 0]


def test_a_round_finds_those_who_are_not_active_and_reads_nobody_else(company: Company) -> None:
    leavers = [company.joins(f"gone{number}@x.example", f"G-{number}") for number in range(3)]
    company.joins("here@x.example", "H")
    for one in leavers:
        company.says(one, active=False, at=later(1))
    asked: list[tuple[str, Any]] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))

    def look(session: Session) -> sweeps.Page | None:
        sweeps.take(session, company.organization_id, "here", at=later(2))
        return sweeps.next_page(session, company.organization_id, "here", at=later(2), most=10)

    page = in_transaction(look)

    assert page is not None and page.in_round and page.ends_round
    assert set(page.people) == {one.person_id for one in leavers}
    if db.engine.dialect.name == "sqlite":
        statement, given = next(one for one in reversed(asked) if "FROM person" in one[0])
        with db.engine.connect() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)]
        assert plan == ["SEARCH person USING COVERING INDEX ix_person_standing (organization_id=?)"]


def test_everybody_is_counted_by_their_standing(installed: Flask, company: Company) -> None:
    people = [company.joins(f"p{number}@x.example", f"E-{number}") for number in range(5)]
    for one in people[:2]:
        company.says(one, active=False, at=later(1))
    other = new_company()
    gone = other.joins("p@y.example", "1")
    other.says(gone, active=False, at=later(1))

    counted = installed.test_client().get("/metrics").get_data(as_text=True)

    with reading() as session:
        here, there = (session.get_one(Organization, one.organization_id).name for one in (company, other))
    assert {line for line in counted.splitlines() if line.startswith("doorlist_people{")} == {
        f'doorlist_people{{organization="{here}",standing="active"}} 3.0',
        f'doorlist_people{{organization="{here}",standing="departed"}} 2.0',
        f'doorlist_people{{organization="{there}",standing="departed"}} 1.0',
    }
