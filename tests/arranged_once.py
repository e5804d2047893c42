"""What many tests begin with is arranged once in a run; each later one gets a copy of its rows, and of what is held in memory."""

from __future__ import annotations

import atexit
import copy
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import psycopg
from flask import Flask

from app.database import db
from tests.servers.lent_databases import UNGUARDED, fill, rows_of, with_rows

Arranged = TypeVar("Arranged")

_NUMBERS = "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences WHERE last_value IS NOT NULL"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    made: object
    put_into: Callable[[Any], None]
    """Puts the rows into the database that this is the driver's connection to."""


_APPLICATION = object()
"""Stands for the application in what is kept: each test has one of its own."""
_kept: dict[tuple[Callable[[Flask], object], str], _Kept] = {}


def arranged_once(app: Flask, arrange: Callable[[Flask], Arranged]) -> Arranged:
    """What `arrange` makes of an installation that holds nothing yet. All that it makes are rows, and values that can be copied."""
    arrangement = (arrange, db.engine.dialect.name)
    kept = _kept.get(arrangement)
    if kept is None:
        made = arrange(app)
        with closing(db.engine.raw_connection()) as lent:
            put_into = _KEEPING[db.engine.dialect.name](lent.driver_connection)
        _kept[arrangement] = _Kept(made=copy.deepcopy(made, {id(app): _APPLICATION}), put_into=put_into)
        return made
    with closing(db.engine.raw_connection()) as lent:
        kept.put_into(lent.driver_connection)
    return cast(Arranged, copy.deepcopy(kept.made, {id(_APPLICATION): app}))


def _from_sqlite(arranged: sqlite3.Connection) -> Callable[[sqlite3.Connection], None]:
    kept = sqlite3.connect(":memory:")
    atexit.register(kept.close)
    arranged.backup(kept)
    return kept.backup


def _from_postgres(arranged: psycopg.Connection[Any]) -> Callable[[psycopg.Connection[Any]], None]:
    tables = {table: rows for table in with_rows(arranged) if (rows := rows_of(arranged, table))}
    numbers = arranged.execute(_NUMBERS).fetchall()

    def put_into(other: psycopg.Connection[Any]) -> None:
        # Of two that are due at one moment the one that lies first is claimed: what is wanted next may not fill gaps that others left.
        other.autocommit = True
        other.execute("VACUUM (INDEX_CLEANUP ON) work")
        with other.transaction():
            other.execute(UNGUARDED)
            for table, rows in tables.items():
                fill(other, table, rows)
            for sequence, number in numbers:
                other.execute("SELECT setval(%s, %s)", [sequence, number])
        other.autocommit = False

    return put_into


_KEEPING: Final[dict[str, Callable[[Any], Callable[[Any], None]]]] = {"sqlite": _from_sqlite, "postgresql": _from_postgres}
