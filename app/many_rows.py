"""Many rows at once as plain values, which instants are as microseconds and documents as JSON text: written into one table, or read.

PostgreSQL copies them in, SQLite takes one row after the other in one call; both are several times quicker than rows that the
session keeps an eye on. Nothing is filled in: whoever calls names every column that is not to be null.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.database import ROWS_AT_A_TIME, Base

if TYPE_CHECKING:
    from psycopg import sql


def write_rows(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert all of these, which name the same columns in the same order. Raises DBAPIError, and then none is there."""
    if not rows:
        return
    names, values = tuple(rows[0]), [tuple(row.values()) for row in rows]
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        copy_rows(connection, table, names, values)
    else:
        connection.exec_driver_sql(_from_rows(table, names), values)


@cache
def _from_rows(table: type[Base], names: tuple[str, ...]) -> str:
    # By their order, which SQLite's driver takes twice as quickly as by their names.
    columns = ", ".join(f'"{name}"' for name in names)
    return f'INSERT INTO "{table.__tablename__}" ({columns}) VALUES ({", ".join("?" * len(names))})'


def copy_rows(connection: Connection, table: type[Base], names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """PostgreSQL: the same of rows whose values are in the order of these columns, in the transaction that is under way. Raises DBAPIError."""
    driver = connection.dialect.loaded_dbapi
    statement = _from_stdin(table, names)
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        # The driver is asked directly here; whoever catches errors knows SQLAlchemy's.
        raise DBAPIError.instance(statement.as_string(), None, error, driver.Error, dialect=connection.dialect) from error


@cache
def _from_stdin(table: type[Base], names: tuple[str, ...]) -> "sql.Composed":
    # Read only where something is copied: on SQLite most commands need nothing of it.
    from psycopg import sql

    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.__tablename__), columns)


def plain_rows(session: Session, query: Select[Any, Any]) -> Iterator[tuple[Any, ...]]:
    """Stream the rows of a query of texts as the driver gives them: tuples, a thousand at a time, no value converted.

    SQLAlchemy's own rows cost several times what both databases need for long rows of short texts.
    """
    result = session.connection().execute(query, execution_options={"stream_results": True})
    # SQLAlchemy has already taken one row from a streaming cursor, so that one is asked of it.
    first = result.fetchone()
    if first is None:
        return
    yield tuple(first)
    cursor: Any = result.cursor
    dialect = result.context.dialect
    try:
        while rows := cursor.fetchmany(ROWS_AT_A_TIME):
            yield from rows
    except dialect.loaded_dbapi.Error as error:
        # The driver is asked directly here; whoever catches errors knows SQLAlchemy's.
        raise DBAPIError.instance(str(query), None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
    finally:
        result.close()
