"""Both kinds of database are there for tests, fresh for each."""

import os

import pytest
import sqlalchemy

from tests.servers.postgres import DatabaseName, Postgres


def tables_of(url: str) -> list[str]:
    engine = sqlalchemy.create_engine(url)
    try:
        return sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def create_table(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE person (id INTEGER PRIMARY KEY)"))
    finally:
        engine.dispose()


@pytest.mark.empty
@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_gets_an_empty_database(database_url: str, turn: str) -> None:
    before = tables_of(database_url)

    create_table(database_url)

    assert before == []
    assert tables_of(database_url) == ["person"]


@pytest.mark.postgres
def test_a_database_can_be_a_copy_of_another(postgres: Postgres) -> None:
    original: DatabaseName = postgres.create()
    create_table(postgres.url(original))

    copy = postgres.database(like=original)

    assert tables_of(copy) == ["person"]


@pytest.mark.postgres
def test_the_server_does_not_run_as_root(postgres: Postgres) -> None:
    owner = os.stat(f"/proc/{postgres.process.pid}").st_uid

    assert owner != 0
