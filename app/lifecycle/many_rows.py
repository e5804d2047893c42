"""Many rows of one table at once, from plain values: instants as microseconds, documents as JSON text.

PostgreSQL copies them in, SQLite takes one row after the other in one call; both are several times quicker than rows that the
session keeps an eye on. Nothing is filled in: whoever calls names every column that is not to be null.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from psycopg import sql
from sqlalchemy import BigInteger, ColumnElement, Connection, cast
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from app.actors import Actor
from app.clock import microseconds
from app.database import Base
from app.journal.tables import Entry
from app.lifecycle.plain_sql import Values, inserted, parts_of_each, text
from app.statements import param, text_of


def write_rows(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert all of these, which name the same columns in the same order. Raises DBAPIError, and then none is there."""
    if not rows:
        return
    names = tuple(rows[0])
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        _copy(connection, table, names, rows)
    else:
        connection.exec_driver_sql(_from_rows(table, names), [tuple(row.values()) for row in rows])


@cache
def _from_rows(table: type[Base], names: tuple[str, ...]) -> str:
    # By their order, which SQLite's driver takes twice as quickly as by their names.
    return str(inserted(table, {name: param(name) for name in names}).compile(dialect=sqlite.dialect(paramstyle="qmark")))


def _copy(connection: Connection, table: type[Base], names: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> None:
    driver = connection.dialect.loaded_dbapi
    statement = _from_stdin(table, names)
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
    except driver.Error as error:
        # The driver is asked directly here; whoever catches errors knows SQLAlchemy's.
        raise DBAPIError.instance(statement.as_string(), None, error, driver.Error, dialect=connection.dialect) from error


@cache
def _from_stdin(table: type[Base], names: tuple[str, ...]) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.__tablename__), columns)


def write_entries(
    session: Session, organization_id: str, subjects: Mapping[str, str], *,
    at: datetime, actor: Actor, verb: str, because: str, subject_kind: str,
) -> dict[str, int]:  # fmt: skip
    """One journal entry for each subject, in their order, with its `after` as JSON text; returns their numbers by subject."""
    given = {
        "organization": organization_id, "at": microseconds(at), "actor": str(actor), "verb": verb, "because": because, "kind": subject_kind,
        "rows": json.dumps(list(subjects.items())),
    }  # fmt: skip
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_entries("postgresql"), given)
    else:
        rows = connection.exec_driver_sql(text_of(_entries("sqlite"), "sqlite"), given)
    return {subject_id: number for number, subject_id in rows}


@cache
def _entries(dialect: str) -> ReturningInsert[int, str]:
    subject, said = parts_of_each("rows", dialect, 2)
    nothing: ColumnElement[Any] = text("null")
    if dialect == "postgresql":
        said, nothing = cast(said, JSONB), cast(nothing, JSONB)
    values: Values = {
        Entry.organization_id: param("organization"), Entry.at: param("at", BigInteger()), Entry.actor: param("actor"), Entry.verb: param("verb"),
        Entry.because: param("because"), Entry.subject_kind: param("kind"), Entry.subject_id: subject, Entry.before: nothing, Entry.after: said,
    }  # fmt: skip
    return inserted(Entry, values).returning(Entry.id, Entry.subject_id)
