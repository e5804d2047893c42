"""SQLite: a connection of a thread, which waits its turn, and the two of an event loop, which never wait."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Engine

from app.bare.connection import Asked, Bare, Busy, Rows
from app.database import SQLITE_WAITS, pen_of
from app.statements import compiled

_PATIENCE: Final = 0.05
"""Seconds for which a request stays on the loop while somebody else writes; then it goes to a thread, which can wait longer."""
_NEXT_TRY: Final = 0.0005
_QUICK: Final = 0.001
"""Seconds for a commit that a loop may spend itself: handing it to a thread costs a tenth of that, and others wait meanwhile."""


class SQLiteBare(Bare):
    """A connection that one thread uses."""

    dialect = "sqlite"

    def __init__(self, engine: Engine, *, waits: float = SQLITE_WAITS) -> None:
        lent = engine.raw_connection()
        driver: Any = lent.driver_connection
        lent.detach()
        self._driver = driver
        self._closed = False
        self._cursor = self._driver.cursor()
        self._cursor.execute(f"PRAGMA busy_timeout={int(waits * 1000)}")
        self._waits, self._pen = waits, pen_of(engine)

    async def ask(self, *asked: Asked) -> list[Rows]:
        return [self._run(*one) for one in asked]

    def _run(self, statement: Any, values: Any) -> Rows:
        made = compiled(statement, "sqlite")
        found: Rows = self._cursor.execute(made.text, {**made.own, **values}).fetchall()
        return found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        had = self._begin()
        try:
            try:
                yield
            except BaseException:
                self._cursor.execute("ROLLBACK")
                raise
            self._commit()
        finally:
            self._end(had)

    def _begin(self) -> bool:
        had = self._pen is not None and self._pen.take(time.monotonic() + self._waits)
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._end(had)
            raise
        return had

    def _commit(self) -> None:
        try:
            self._cursor.execute("COMMIT")
        except BaseException:
            # Where the disk is full the transaction may still be open.
            if self._driver.in_transaction:
                self._cursor.execute("ROLLBACK")
            raise

    def _end(self, had: bool) -> None:
        if had and self._pen is not None:
            self._pen.give_back()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._driver.close()


class SharedSQLite(SQLiteBare):
    """The writing connection of an event loop: those who come within one turn of the loop share a transaction and its fsync.

    Each has a savepoint of its own, so that what one of them takes back is nobody else's. Nobody is told that it was done
    before the commit is on disk; where the commit fails, each hears of it.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, waits=0)
        self._committed: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._took = 0.0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        committed = await self._joined()
        if not self._driver.in_transaction:
            # SQLite took all of it back, as it does where the disk is full; a savepoint would be a transaction of its own.
            raise Busy
        self._cursor.execute("SAVEPOINT act")
        try:
            yield
        except BaseException:
            self._cursor.execute("ROLLBACK TO act")
            raise
        finally:
            self._cursor.execute("RELEASE act")
        await asyncio.shield(committed)

    async def _joined(self) -> asyncio.Future[None]:
        until = time.monotonic() + _PATIENCE
        while self._committed is None:
            if self._closing is not None:
                await asyncio.shield(self._closing)
            elif self._opened():
                break
            elif time.monotonic() > until:
                raise Busy
            else:
                await asyncio.sleep(_NEXT_TRY)
        assert self._committed is not None
        return self._committed

    def _opened(self) -> bool:
        """Whether a transaction could be begun, which the others of this turn of the loop join."""
        if self._pen is None or not self._pen.take(0.0):
            return False
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self._pen.give_back()
            return False
        loop = asyncio.get_running_loop()
        self._committed = loop.create_future()
        loop.call_soon(self._gathered, loop)
        return True

    def _gathered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Those who were there have joined: commit, on this thread where the disk is quick, else on another."""
        assert self._committed is not None
        committed, self._committed = self._committed, None
        if self._took < _QUICK:
            self._tell(committed, self._try())
            return
        self._closing = loop.create_future()
        elsewhere = loop.run_in_executor(None, self._try)
        elsewhere.add_done_callback(lambda done: self._closed_by(committed, done.result))

    def _closed_by(self, committed: asyncio.Future[None], result: Callable[[], BaseException | None]) -> None:
        closing, self._closing = self._closing, None
        self._tell(committed, result())
        if closing is not None:
            closing.set_result(None)

    def _try(self) -> BaseException | None:
        began = time.perf_counter()
        try:
            self._commit()
        except Exception as error:
            return error
        finally:
            self._end(True)
            self._took = time.perf_counter() - began
        return None

    @staticmethod
    def _tell(committed: asyncio.Future[None], error: BaseException | None) -> None:
        if error is None:
            committed.set_result(None)
        else:
            committed.set_exception(error)
            # Whoever took their act back does not ask.
            committed.exception()
