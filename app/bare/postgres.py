"""PostgreSQL: statements prepared once on each connection and sent in one go (libpq's pipeline mode, its manual §34.5).

Beneath psycopg's cursors, which cost several times what a short statement costs the server; its connections are used as
the engine opens them.
"""

import asyncio
import itertools
import select
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final

import psycopg
from psycopg import DataError, InterfaceError, OperationalError
from psycopg.errors import LockNotAvailable, error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from sqlalchemy import ClauseElement, Engine, text

from app.bare.connection import Asked, Bare, Busy, Rows
from app.statements import Compiled, compiled

_SILENT: Final = "the database says nothing any more"
_BEGIN: Final = text("BEGIN")
_COMMIT: Final = text("COMMIT")
_ROLLBACK: Final = text("ROLLBACK")
_WHOLE: Final = frozenset({20, 21, 23})
_TRUTH: Final = 16
_PATIENCE: Final = 0.05
"""Seconds for which a request stays on the loop while somebody else holds what it is about; then it goes to a thread, which can wait longer."""
SILENT_FOR: Final = 30.0
"""Seconds after which a server that says nothing is taken to be gone; nothing that is asked here takes as long."""
LOOKS_EVERY: Final = 5.0
"""Seconds between two looks of an event loop at how long its connections have been waiting."""
_GOOD: Final = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.PIPELINE_SYNC})


class PostgresBare(Bare):
    """A connection that one thread uses, and that waits for its answers."""

    dialect = "postgresql"

    def __init__(self, engine: Engine, *, waits: float | None = None) -> None:
        lent = engine.raw_connection()
        driver: Any = lent.driver_connection
        lent.detach()
        self._driver = driver
        # What the pool's greeting began must not be left open.
        driver.rollback()
        # A plan that was made while a table had few rows or none is kept, and would read all that have come since, until PostgreSQL
        # looks at the table anew. Whatever is asked here has an index.
        driver.execute("SET enable_seqscan = off")
        if waits is not None:
            driver.execute(f"SET lock_timeout = {int(waits * 1000)}")
        driver.commit()
        self._pg = driver.pgconn
        self._pg.enter_pipeline_mode()
        # Waiting is done here, where other threads can go on meanwhile; libpq would wait with Python's lock in its hand.
        self._pg.nonblocking = 1
        # Kept, since a connection that broke has none to tell.
        self._socket: int = self._pg.socket
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._closed = False
        self._names: dict[Compiled, bytes] = {}
        self._numbers = itertools.count()
        self._owes_begin = self._begun = False
        # Between a question and the end of its answer: whoever asked next would get another's.
        self._midway = False

    async def ask(self, *asked: Asked) -> list[Rows]:
        if self._owes_begin:
            self._owes_begin, self._begun = False, True
            return (await self._sent((_BEGIN, {}), *asked))[1:]
        return await self._sent(*asked)

    async def long_rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> Rows:
        return (await self._sent((statement, values), one_by_one=True))[-1]

    async def last(self, *asked: Asked) -> list[Rows]:
        self._begun = False
        return (await self._sent(*asked, (_COMMIT, {})))[:-1]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self._owes_begin, self._begun = True, False
        try:
            yield
        except BaseException:
            if self.is_usable() and self._open():
                await self._sent((_ROLLBACK, {}))
            raise
        else:
            if self._begun:
                await self._sent((_COMMIT, {}))
        finally:
            self._owes_begin = self._begun = False

    def _open(self) -> bool:
        # Neither idle nor unknown.
        return self._pg.transaction_status in (2, 3)

    async def _sent(self, *asked: Asked, one_by_one: bool = False) -> list[Rows]:
        # All values first: what cannot be sent must not be found out when half of it is on its way.
        made = [_bound(compiled(statement, "postgresql"), values) for statement, values in asked]
        self._midway = True
        pg = self._pg
        # What each result is of: a statement that is being prepared, or None for one that is run.
        expected: list[Compiled | None] = []
        for statement, values in made:
            name = self._names.get(statement)
            if name is None:
                name = f"d{next(self._numbers)}".encode()
                pg.send_prepare(name, statement.text.encode(), statement.types)
                self._names[statement] = name
                expected.append(statement)
            pg.send_query_prepared(name, values)
            expected.append(None)
        pg.pipeline_sync()
        await self._flushed()
        found: list[Rows] = []
        error: Exception | None = None
        for prepared in expected:
            if one_by_one and prepared is None:
                # libpq would hold all of them beside what is made of them here (its manual, §34.6).
                pg.set_single_row_mode()
            result = await self._next()
            rows: Rows = []
            while result.status == ExecStatus.SINGLE_TUPLE:
                rows += _rows_of(result)
                result = await self._next()
            if result.status not in _GOOD:
                error = error or _error(result)
                if prepared is not None:
                    del self._names[prepared]
            elif prepared is None:
                found.append(rows or _rows_of(result))
            # Each is followed by a nothing, the end of all by none.
            await self._next(nothing=True)
        await self._next()
        self._midway = False
        if error is not None:
            raise self._meant(error)
        return found

    def _meant(self, error: Exception) -> Exception:
        return error

    def is_usable(self) -> bool:
        return not self._closed and not self._midway and self._pg.status == ConnStatus.OK

    async def _flushed(self) -> None:
        while self._pg.flush():
            self._poll.modify(self._socket, select.POLLIN | select.POLLOUT)
            await self._wait()
            self._poll.modify(self._socket, select.POLLIN)

    async def _next(self, *, nothing: bool = False) -> Any:
        while self._pg.is_busy():
            await self._wait()
        result = self._pg.get_result()
        if result is None and not nothing:
            raise OperationalError("the database ended the connection")
        return result

    async def _wait(self) -> None:
        if not self._poll.poll(1000 * SILENT_FOR):
            raise OperationalError(_SILENT)
        self._pg.consume_input()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._driver.close()


class PostgresOnLoop(PostgresBare):
    """A connection of an event loop, for one request at a time; the loop goes on while it waits.

    What somebody else holds is not waited for long, since those that come meanwhile, also to read, share a few of these. Then
    it raises Busy, and is as good as before.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, waits=_PATIENCE)
        self._waiter: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._since = 0.0
        self._look_again: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen; to be called on the loop, once."""
        self._loop = loop
        loop.add_reader(self._socket, self._readable)
        self._look()

    def _look(self) -> None:
        # One look for all requests: a timer for each would cost more than many of their statements.
        loop = self._loop
        if loop is None:
            return
        if self._waiter is not None and not self._waiter.done() and loop.time() - self._since > SILENT_FOR:
            self._stop_listening()
            self._wake(OperationalError(_SILENT))
        else:
            self._look_again = loop.call_later(LOOKS_EVERY, self._look)

    def _meant(self, error: Exception) -> Exception:
        return Busy() if isinstance(error, LockNotAvailable) else error

    def _readable(self) -> None:
        error: Exception | None = None
        try:
            self._pg.consume_input()
        except psycopg.Error as broken:
            error = broken
        if error is not None or self._pg.status != ConnStatus.OK:
            self._stop_listening()
            self._wake(error or OperationalError("the database ended the connection"))
        elif not self._pg.is_busy():
            self._wake(None)

    def _wake(self, error: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    async def _flushed(self) -> None:
        while self._pg.flush():
            await self._writable()

    async def _writable(self) -> None:
        if self._loop is None:
            raise InterfaceError("nobody listens to this connection")
        # As for an answer, so that whoever waits also hears that the connection has broken.
        self._since = self._loop.time()
        waiter = self._waiter = self._loop.create_future()
        self._loop.add_writer(self._socket, self._wake, None)
        try:
            await waiter
        finally:
            if self._loop is not None:
                self._loop.remove_writer(self._socket)

    async def _wait(self) -> None:
        if self._loop is None:
            raise InterfaceError("nobody listens to this connection")
        self._since = self._loop.time()
        self._waiter = self._loop.create_future()
        await self._waiter

    def _stop_listening(self) -> None:
        if self._look_again is not None:
            self._look_again.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._loop = None

    def close(self) -> None:
        if not self._closed:
            self._stop_listening()
        super().close()


def _bound(statement: Compiled, values: Mapping[str, Any]) -> tuple[Compiled, list[bytes | None]]:
    return statement, [_given(values[name]) if name in values else own for name, own in _places(statement)]


@cache
def _places(statement: Compiled) -> list[tuple[str, bytes | None]]:
    """What is to be given, and what stands there already."""
    return [(name, _given(statement.own.get(name))) for name in statement.names]


def _given(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"t" if value else b"f"
    raw = str(value).encode()
    if b"\0" in raw:
        # libpq would take the text to end there.
        raise DataError("a text for PostgreSQL cannot hold NUL")
    return raw


def _rows_of(result: Any) -> Rows:
    columns = [(number, _reader(result.ftype(number))) for number in range(result.nfields)]
    get = result.get_value
    return [tuple([None if (raw := get(row, number)) is None else read(raw) for number, read in columns]) for row in range(result.ntuples)]


def _reader(type_: int) -> Any:
    if type_ in _WHOLE:
        return int
    return _is_true if type_ == _TRUTH else bytes.decode


def _is_true(raw: bytes) -> bool:
    return raw == b"t"


def _error(result: Any) -> Exception:
    if result.status == ExecStatus.PIPELINE_ABORTED:
        return OperationalError("an earlier statement failed")
    error: Exception = error_from_result(result)
    return error


