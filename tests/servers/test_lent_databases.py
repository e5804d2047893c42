"""A database that is lent again is as a new one, and none is lent again that could not be made so."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from tests.servers.lent_databases import LentDatabases, lending
from tests.servers.postgres import DatabaseName, Postgres

pytestmark = pytest.mark.postgres

SOMEBODY = """
    INSERT INTO organization (id, name, settings, created_at) VALUES ('o', 'Acme', '{}', 1);
    INSERT INTO journal (organization_id, at, actor, verb, because, subject_kind, subject_id) VALUES ('o', 1, 'a', 'joined', 'b', 'person', 'p')"""
WHICH = "SELECT oid FROM pg_database WHERE datname = current_database()"


@pytest.fixture
def databases(postgres: Postgres) -> Iterator[LentDatabases]:
    with lending(postgres) as lent:
        yield lent


def asked(url: str, *statements: str) -> list[tuple[object, ...]]:
    """The answer to the last of them."""
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(), autocommit=True) as session:
        for statement in statements[:-1]:
            session.execute(statement)
        answer = session.execute(statements[-1])
        return answer.fetchall() if answer.description else []


def test_what_was_written_is_gone_and_numbers_begin_anew(databases: LentDatabases, present_schema: DatabaseName) -> None:
    with databases.lent(like=present_schema) as url:
        before = asked(url, WHICH)
        assert asked(url, SOMEBODY, "SELECT id FROM journal") == [(1,)]

    with databases.lent(like=present_schema) as url:
        assert asked(url, WHICH) == before, "it is lent again"
        assert asked(url, "SELECT * FROM organization") == asked(url, "SELECT * FROM journal") == []
        assert asked(url, SOMEBODY, "SELECT id FROM journal") == [(1,)]


def test_much_that_was_written_is_gone_to_the_last_page(databases: LentDatabases, present_schema: DatabaseName) -> None:
    many = "INSERT INTO organization (id, name, settings, created_at) SELECT n, n, '{}', 1 FROM generate_series(1, 3000) n"
    with databases.lent(like=present_schema) as url:
        before = asked(url, WHICH)
        asked(url, SOMEBODY, many)

    for _ in range(2):
        with databases.lent(like=present_schema) as url:
            assert asked(url, WHICH) == before, "it is lent again"
            assert asked(url, "SELECT pg_relation_size('organization'), count(*) FROM organization") == [(0, 0)]
            assert asked(url, "SELECT * FROM journal") == []


def test_numbers_that_were_used_for_nothing_are_given_anew(databases: LentDatabases, present_schema: DatabaseName) -> None:
    with databases.lent(like=present_schema) as url:
        asked(url, "SELECT nextval('journal_id_seq')")

    with databases.lent(like=present_schema) as url:
        assert asked(url, "SELECT nextval('journal_id_seq')") == [(1,)]


def test_rows_that_were_there_from_the_first_are_there_again(databases: LentDatabases, present_schema: DatabaseName) -> None:
    with databases.lent(like=present_schema) as url:
        first = asked(url, "SELECT * FROM installation")
        asked(url, "UPDATE installation SET generation = 7", "DELETE FROM alembic_version")

    with databases.lent(like=present_schema) as url:
        assert first and asked(url, "SELECT * FROM installation") == first
        assert len(asked(url, "SELECT * FROM alembic_version")) == 1


def test_whoever_still_uses_a_database_finds_it_gone(databases: LentDatabases, present_schema: DatabaseName) -> None:
    with databases.lent(like=present_schema) as before:
        pass

    with databases.lent(like=present_schema) as url:
        assert url != before
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            asked(before, "SELECT 1")


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE another (id INTEGER)",
        "ALTER TABLE bearer_token RENAME TO away",
        "DROP TRIGGER journal_kept ON journal",
        "ALTER TABLE journal DISABLE TRIGGER journal_kept",
        "CREATE OR REPLACE FUNCTION keep_journal() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "ALTER TABLE organization ALTER name DROP NOT NULL",
        "DROP INDEX ix_record_name_part",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET jit = off'; END $$",
        "INSERT INTO organization (id, name, settings, created_at) VALUES ('o', 'Acme', '{}', 1); ANALYZE organization",
    ],
)
def test_a_schema_that_was_changed_is_nobody_elses(databases: LentDatabases, present_schema: DatabaseName, change: str) -> None:
    with databases.lent(like=present_schema) as url:
        before = asked(url, WHICH)
        asked(url, change)

    with databases.lent(like=present_schema) as url:
        assert asked(url, WHICH) != before


def test_a_database_that_somebody_is_in_is_nobody_elses(databases: LentDatabases, present_schema: DatabaseName) -> None:
    with databases.lent(like=present_schema) as url:
        before = asked(url, WHICH)
        stays = psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(), autocommit=True)

    with stays, databases.lent(like=present_schema) as url:
        assert asked(url, WHICH) != before
        assert stays.execute(WHICH).fetchall() == before


def test_none_gets_too_old_and_what_is_done_with_goes(postgres: Postgres, present_schema: DatabaseName) -> None:
    seen = []
    with lending(postgres, times=2) as databases:
        for _ in range(4):
            with databases.lent(like=present_schema) as url:
                seen += asked(url, WHICH)

    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert asked(postgres.url(DatabaseName("postgres")), f"SELECT oid FROM pg_database WHERE oid = {seen[0][0]}") == []
