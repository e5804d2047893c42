"""Who uses which connection: each thread one of its own, an event loop a few that its requests share."""

import asyncio
import sqlite3
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, cast

import psycopg
from flask import Flask
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from app.bare.connection import Acting, Bare, Result, waited
from app.bare.gathered import Gathered
from app.bare.postgres import PostgresBare, PostgresOnLoop
from app.bare.sqlite import SharedSQLite, SQLiteBare
from app.database import db

_KEPT: Final = "doorlist_bare"
DRIVERS_OWN: Final = (psycopg.Error, sqlite3.Error)
"""What comes of a database that is away or does not take something, where nothing stands before the driver; SQLAlchemy has errors of its own for it."""
_MOST: Final = 4
"""Connections of an event loop to PostgreSQL: what waits for the other side waits on as many at once."""


def _bares_of(app: Flask) -> "_Bares":
    kept: _Bares | None = app.extensions.get(_KEPT)
    # Two threads may both make the first; only one is kept.
    return app.extensions.setdefault(_KEPT, _Bares(app)) if kept is None else kept


class _Mine(threading.local):
    bare: "_Owned | None" = None


class _Owned:
    """A connection that ends with whoever owns it."""

    def __init__(self, bare: Bare) -> None:
        self.bare, self.closed = bare, False
        self._end = weakref.finalize(self, bare.close)

    def close(self) -> None:
        self.closed = True
        self._end()


class _Bares:
    """All that are open: they left the engine's pool, and end with the engine all the same."""

    def __init__(self, app: Flask) -> None:
        self.mine = _Mine()
        # The engine holds on to this, and its extension to the engine while the application lives: else none would ever be let go.
        self._app = cast(Flask, weakref.proxy(app))
        self._open: weakref.WeakSet[_Owned] = weakref.WeakSet()
        self.of_loop: _OfLoop | None = None

    @property
    def engine(self) -> Engine:
        with self._app.app_context():
            return db.engine

    def opened(self) -> Bare:
        engine = self.engine
        self.mine.bare = self.owned(PostgresBare(engine) if engine.dialect.name == "postgresql" else SQLiteBare(engine), engine)
        return self.mine.bare.bare

    def owned(self, bare: Bare, engine: Engine) -> _Owned:
        owned = _Owned(bare)
        self._open.add(owned)
        if not event.contains(engine, "engine_disposed", self._close):
            event.listen(engine, "engine_disposed", self._close)
        return owned

    def _close(self, _engine: Engine) -> None:
        self.of_loop = None
        for owned in list(self._open):
            owned.close()


def bare_of(app: Flask) -> Bare:
    """This thread's connection to the application's database. Raises what the driver raises."""
    bares = _bares_of(app)
    mine = bares.mine.bare
    return mine.bare if mine is not None and not mine.closed and mine.bare.is_usable() else bares.opened()


def forget(app: Flask) -> None:
    """Close this thread's connection after it has failed; the next use opens another."""
    bares = _bares_of(app)
    if bares.mine.bare is not None:
        bares.mine.bare.close()


def asked_again(app: Flask, ask: Callable[[Bare], Coroutine[Any, Any, Result]]) -> Result:
    """What is read by this thread's connection. Where that has broken since it was last used, another one is asked, once.

    Only for what writes nothing. Raises what the driver raises.
    """
    try:
        return waited(ask(bare_of(app)))
    except DRIVERS_OWN:
        forget(app)
        return waited(ask(bare_of(app)))


def lent_on_loop(app: Flask) -> AbstractAsyncContextManager[Bare]:
    """A connection for who reads on the running event loop. Raises what the driver raises."""
    return _Lent(_of_loop(app))


def acting_on_loop(app: Flask) -> Acting:
    """Where those on the running event loop write. Raises what the driver raises."""
    return _of_loop(app).acting


def _of_loop(app: Flask) -> "_OfLoop":
    bares = _bares_of(app)
    if bares.of_loop is None:
        bares.of_loop = _OnPostgres(bares) if bares.engine.dialect.name == "postgresql" else _OnSQLite(bares)
    return bares.of_loop


class _Lent:
    """While a connection is lent. A class, since a generator around each request costs as much as its statement."""

    def __init__(self, lender: "_OfLoop") -> None:
        self._lender = lender

    async def __aenter__(self) -> Bare:
        self._owned = await self._lender.take()
        return self._owned.bare

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lender.give_back(self._owned, failed=error is not None and _broke(error))


def _broke(error: BaseException) -> bool:
    """Whether a connection on which this happened is of no more use. What breaks a rule of the database's is not of this kind."""
    if isinstance(error, psycopg.IntegrityError):
        return False
    return isinstance(error, psycopg.Error | SQLAlchemyError) or not isinstance(error, Exception)


class _OfLoop(ABC):
    """The connections of an event loop."""

    acting: Acting

    @abstractmethod
    async def take(self) -> _Owned: ...

    @abstractmethod
    def give_back(self, owned: _Owned, *, failed: bool) -> None: ...


class _OnSQLite(_OfLoop):
    """One that reads and one that writes, for all requests: nothing on SQLite waits in the middle of what it does."""

    def __init__(self, bares: _Bares) -> None:
        engine = bares.engine
        self._reads = bares.owned(SQLiteBare(engine, waits=0), engine)
        self._writes = bares.owned(SharedSQLite(engine), engine)
        self.acting = self._writes.bare

    async def take(self) -> _Owned:
        return self._reads

    def give_back(self, owned: _Owned, *, failed: bool) -> None:
        """It stays: others are using it."""


class _OnPostgres(_OfLoop):
    """A few, each lent to one request at a time; who finds none waits for the next that is given back."""

    def __init__(self, bares: _Bares) -> None:
        self._bares, self._engine = bares, bares.engine
        self._idle: list[_Owned] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._number = 0
        self.acting = Gathered(lambda: _Lent(self))

    async def take(self) -> _Owned:
        while not self._idle:
            if self._number < _MOST:
                return await self._opened()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    # It was their turn: the next one's now.
                    self._wake()
                raise
        return self._idle.pop()

    async def _opened(self) -> _Owned:
        self._number += 1
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, PostgresOnLoop, self._engine)
        try:
            # Whoever breaks off does not stop the thread: what it opens is closed once it is there.
            bare = await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(_close_unwanted)
            self._gone()
            raise
        bare.begin(loop)
        return self._bares.owned(bare, self._engine)

    def give_back(self, owned: _Owned, *, failed: bool) -> None:
        if failed or owned.closed or not owned.bare.is_usable():
            owned.close()
            self._gone()
        else:
            self._idle.append(owned)
            self._wake()

    def _gone(self) -> None:
        self._number -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _close_unwanted(opening: asyncio.Future[PostgresOnLoop]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
