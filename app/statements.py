"""Statements that go straight to the driver: compiled once, run on a connection of each thread's own.

What costs on a hot path is not the database but the work done for each statement around it. Here that is done once.
"""

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from flask import Flask
from sqlalchemy import BindParameter, ClauseElement, Engine, Text, bindparam, event
from sqlalchemy.dialects import postgresql, sqlite

from app.database import db, pen

_KEPT: Final = "doorlist_bare"
_DIALECTS: Final = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="pyformat"),  # type: ignore[no-untyped-call]
}


def param(name: str, type_: Any = None) -> BindParameter[Any]:
    """A value that is given each time the statement is run."""
    return bindparam(name, None, type_=type_ or Text())


@cache
def _text_of(statement: ClauseElement, dialect: str) -> tuple[str, dict[str, Any]]:
    compiled = statement.compile(dialect=_DIALECTS[dialect], compile_kwargs={"render_postcompile": True})
    # Drivers know texts, not our enumerations of them.
    return str(compiled), {name: str(value) if isinstance(value, str) else value for name, value in compiled.params.items()}


def text_of(statement: ClauseElement, dialect: str) -> str:
    """The statement as the driver of this dialect takes it, its parameters by name; all of them have to be given."""
    return _text_of(statement, dialect)[0]


def allow_bare(app: Flask) -> None:
    """Let statements of this application go straight to the driver; once, when it is made."""
    app.extensions[_KEPT] = _Bares()


class _Mine(threading.local):
    bare: "Bare | None" = None


class _Bares:
    """Each thread's connection, and all that are open: they left the engine's pool, and end with the engine all the same."""

    def __init__(self) -> None:
        self.mine = _Mine()
        self._open: weakref.WeakSet[Bare] = weakref.WeakSet()

    def opened(self, engine: Engine) -> "Bare":
        bare = self.mine.bare = Bare(engine)
        self._open.add(bare)
        if not event.contains(engine, "engine_disposed", self._close):
            event.listen(engine, "engine_disposed", self._close)
        return bare

    def _close(self, _engine: Engine) -> None:
        for bare in list(self._open):
            bare.close()


class Bare:
    """A connection of one thread. Values are the driver's: instants as microseconds, documents as text."""

    def __init__(self, engine: Engine) -> None:
        lent = engine.raw_connection()
        driver: Any = lent.driver_connection
        lent.detach()
        self._driver = driver
        # A thread that ends takes its connection along.
        self._end = weakref.finalize(self, driver.close)
        self.engine, self.closed = engine, False
        self.dialect = engine.dialect.name
        if self.dialect == "postgresql":
            self._driver.autocommit = True
            self._driver.prepare_threshold = 1
        self._cursor = self._driver.cursor()

    def rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it by itself; outside of `transaction` it commits at once."""
        text, own = _text_of(statement, self.dialect)
        found: list[tuple[Any, ...]] = self._cursor.execute(text, {**own, **values}).fetchall()
        return found

    def run(self, statement: ClauseElement, values: Mapping[str, Any]) -> int:
        """Run what answers no rows. Returns how many it changed."""
        text, own = _text_of(statement, self.dialect)
        changed: int = self._cursor.execute(text, {**own, **values}).rowcount
        return changed

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        with pen(self.engine):
            self._cursor.execute("BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN")
            try:
                yield
            except BaseException:
                self._cursor.execute("ROLLBACK")
                raise
            self._cursor.execute("COMMIT")

    def close(self) -> None:
        """No more statements come. Once is enough, and twice is no harm."""
        if not self.closed:
            self.closed = True
            self._end()


def bare_of(app: Flask) -> Bare:
    """This thread's connection to the application's database. Raises what the driver raises."""
    bares: _Bares = app.extensions[_KEPT]
    mine = bares.mine.bare
    if mine is not None and not mine.closed:
        return mine
    with app.app_context():
        return bares.opened(db.engine)


def forget(app: Flask) -> None:
    """Close this thread's connection after it has failed; the next use opens another."""
    bares: _Bares = app.extensions[_KEPT]
    if bares.mine.bare is not None:
        bares.mine.bare.close()
