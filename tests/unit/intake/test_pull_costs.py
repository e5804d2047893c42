"""What a pull asks of the database: by the batch and never by the person, and nothing for what is so already."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.database import db
from app.intake.pull_groups import TOGETHER
from app.intake.pull_here import AT_ONCE
from app.lifecycle.pulled_entries import EntryKind
from connectors.source_contract import Memberships, SourceKey
from tests.unit.intake.pulled_company import Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return pulled_company()


@contextmanager
def asked() -> Iterator[list[str]]:
    """Every statement meanwhile."""
    statements: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", hear)


def hired(corp: Pulled, number: int) -> None:
    corp.directory.put(*(person(f"p{one}", number=f"E-{one}") for one in range(number)))


# Listings


def test_a_listing_in_which_nothing_changed_asks_as_little_for_many_as_for_one(corp: Pulled) -> None:
    hired(corp, 1)
    corp.directory.put(group("g", "p0"))
    corp.pull()
    with asked() as for_one:
        assert corp.pull(whole=True).unchanged == 1
    hired(corp, AT_ONCE)
    corp.directory.put(*(group(f"g{one}", *(f"p{number}" for number in range(one))) for one in range(30)))
    corp.pull()

    with asked() as for_many:
        assert corp.pull(whole=True).unchanged == AT_ONCE

    assert len(for_many) == len(for_one)


def test_whoever_is_new_is_asked_about_with_all_others_of_a_batch(installed: Flask) -> None:
    few, many = pulled_company(), pulled_company()
    hired(few, 5)
    hired(many, AT_ONCE - 1)

    with asked() as for_few:
        assert few.pull().joined == 5
    with asked() as for_many:
        assert many.pull().joined == AT_ONCE - 1

    assert len(for_many) == len(for_few)


def test_postgresql_looks_at_tables_that_have_been_filled_at_once(corp: Pulled) -> None:
    hired(corp, AT_ONCE)
    with asked() as at_first:
        corp.pull()
    corp.directory.put(*(person(f"q{one}") for one in range(AT_ONCE - 1)))

    with asked() as later:
        assert corp.pull().joined == AT_ONCE - 1

    looks = [statement for statement in at_first if statement.startswith("ANALYZE ")]
    assert len(looks) == (1 if db.engine.dialect.name == "postgresql" else 0)
    assert not any(statement.startswith("ANALYZE ") for statement in later)


def test_small_groups_are_written_together(corp: Pulled) -> None:
    hired(corp, 3)
    corp.pull()
    with asked() as none:
        corp.pull()
    corp.directory.put(*(group(f"g{one}", "p0", "p1", "p2") for one in range(2 * TOGETHER)))

    with asked() as many:
        corp.pull()

    assert leases(many) == leases(none) + 2
    assert set(corp.groups()) == {f"G{one}" for one in range(2 * TOGETHER)}
    assert {frozenset(members) for members in corp.groups().values()} == {frozenset(corp.records())}


def leases(statements: list[str]) -> int:
    """In how many transactions a pull wrote: in each it makes sure of its lease."""
    return sum(statement.startswith("UPDATE source_state SET claimed_until") for statement in statements)


def test_a_pull_in_which_little_changed_looks_through_no_table(corp: Pulled) -> None:
    """By the plan of each statement: what is known of a source's people is sought by key, or in an index of the few that are special."""
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's plan depends on how many there are")
    hired(corp, 3)
    corp.directory.put(group("g", "p0"))
    corp.pull()
    corp.pull()
    corp.directory.put(person("new", number="E-new"))
    asked: list[tuple[str, Any]] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))

    assert corp.pull().joined == 1

    looked_at = [(statement, given) for statement, given in asked if statement.startswith("SELECT") and "pulled_entry" in statement]
    with db.engine.connect() as connection:
        plans = {
            str(step[3])
            for statement, given in looked_at
            # Those that are tried again are few by themselves.
            if EntryKind.AGAIN not in given
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        }
    sought = re.compile(r"\(organization_id=\? AND source_id=\? AND kind=\? AND .*key[=<]\?")
    through_all = [plan for plan in plans if "SCAN pulled_entry" in plan or ("autoindex_pulled_entry" in plan and not sought.search(plan))]
    assert looked_at and not through_all, through_all


# Memberships that are told again


def told(corp: Pulled, *members: str) -> Memberships:
    return Memberships(group=SourceKey("g"), added=frozenset(map(SourceKey, members)))


def test_a_group_of_somebody_who_changed_stays_untouched(corp: Pulled) -> None:
    corp.directory.put(*(person(key) for key in "abc"), group("g", "a", "b"))
    corp.pull()
    before = corp.entry("g", "group")
    corp.directory.alter("a", document={"displayName": "Another"})
    corp.directory.tell(told(corp, "a"))

    with asked() as statements:
        assert corp.pull().moved == 1

    after = corp.entry("g", "group")
    assert before is not None and after is not None and after.digest == before.digest is not None
    assert not any("membership" in statement and not statement.startswith("SELECT") for statement in statements)
    corp.directory.tell(told(corp, "a", "c"))
    corp.pull()
    assert corp.groups() == {"G": {"a@x.example", "b@x.example", "c@x.example"}}


def test_what_was_told_last_of_a_group_counts_where_it_is_told_twice(corp: Pulled) -> None:
    corp.directory.put(*(person(key) for key in "abc"), group("g", "a", "b"))
    corp.pull()
    corp.directory.put(group("g", "a", "c"))
    corp.directory.tell(told(corp, "a", "c"))

    corp.pull()

    assert corp.groups() == {"G": {"a@x.example", "c@x.example"}}
    entry = corp.entry("g", "group")
    assert entry is not None and entry.digest is not None
    corp.directory.put(group("g", "c"))
    corp.directory.tell(told(corp, "a"))
    corp.pull()
    assert corp.groups() == {"G": {"a@x.example", "c@x.example"}}
