"""SQLite: a connection of a thread, which waits its turn, and the two of an event loop, which never wait."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final

from sqlalchemy import Engine

from app.bare.connection import Asked, Bare, Busy, Rows
from app.database import SQLITE_WAITS, pen_of
from app.statements import compiled

_PATIENCE: Final = 0.05
"""Seconds for which a request stays on the loop while somebody else writes; then it goes to a thread, which can wait longer."""
_NEXT_TRY: Final = 0.0005
_TURNS: Final = 4
"""Turns of the loop in which a shared transaction stays open, as long as each brings more."""
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

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._alone()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
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

    Where they are several, or the last ones were, those of the next turns join too, as long as more come.

    Each has a savepoint of its own, so that what one of them takes back is nobody else's. Nobody is told that it was done
    before the commit is on disk; where the commit fails, each hears of it.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, waits=0)
        # What a savepoint could take back goes to a temporary file else, from 64 KiB on, which a few requests change.
        self._cursor.execute("PRAGMA temp_store=MEMORY")
        self._waiting: list[asyncio.Future[None]] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._took = 0.0
        self._last = 1

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return _Act(self)

    async def begin_act(self) -> asyncio.Future[None]:
        """Join the transaction of this turn; what is given is done once it is on disk."""
        waiting = await self._joined()
        if not self._driver.in_transaction:
            # SQLite took all of it back, as it does where the disk is full; a savepoint would be a transaction of its own.
            raise Busy
        self._cursor.execute("SAVEPOINT act")
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(committed)
        return committed

    def end_act(self, *, failed: bool) -> None:
        if failed:
            self._cursor.execute("ROLLBACK TO act")
        self._cursor.execute("RELEASE act")

    async def _joined(self) -> list[asyncio.Future[None]]:
        until = time.monotonic() + _PATIENCE
        while self._waiting is None:
            if self._closing is not None:
                await asyncio.shield(self._closing)
            elif self._opened():
                break
            elif time.monotonic() > until:
                raise Busy
            else:
                await asyncio.sleep(_NEXT_TRY)
        assert self._waiting is not None
        return self._waiting

    def _opened(self) -> bool:
        """Whether a transaction could be begun, which the others of this turn of the loop join."""
        if self._pen is None or not self._pen.take(0.0):
            return False
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._pen.give_back()
            if isinstance(error, sqlite3.OperationalError):
                return False
            raise
        loop = asyncio.get_running_loop()
        self._waiting = []
        loop.call_soon(self._gathered, loop, _TURNS, 0)
        return True

    def _gathered(self, loop: asyncio.AbstractEventLoop, turns: int, before: int) -> None:
        """Those who were there have joined: commit, on this thread where the disk is quick, else on another."""
        number = len(self._waiting or [])
        if turns > 1 and number > before and max(number, self._last) > 1:
            loop.call_soon(self._gathered, loop, turns - 1, number)
            return
        self._last = number
        waiting, self._waiting = self._waiting or [], None
        if self._took < _QUICK:
            _tell(waiting, self._try())
            return
        self._closing = loop.create_future()
        elsewhere = loop.run_in_executor(None, self._try)
        elsewhere.add_done_callback(lambda done: self._closed_by(waiting, done.result))

    def _closed_by(self, waiting: list[asyncio.Future[None]], result: Callable[[], BaseException | None]) -> None:
        closing, self._closing = self._closing, None
        _tell(waiting, result())
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


class _Act:
    """One request's part of a shared transaction."""

    def __init__(self, shared: SharedSQLite) -> None:
        self._shared = shared

    async def __aenter__(self) -> None:
        self._committed = await self._shared.begin_act()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shared.end_act(failed=kind is not None)
        if kind is None:
            await self._committed


def _tell(waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
    for one in waiting:
        if one.done():
            continue
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)
            # Whoever took their act back does not ask.
            one.exception()
