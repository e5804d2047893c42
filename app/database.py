"""The one way to the database: SQLite (WAL) and PostgreSQL behind one code path."""

import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, BigInteger, Connection, Dialect, Engine, Integer, MetaData, Text, event, func, make_url, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator
from uuid_utils import uuid7

from app.clock import microseconds, now, stored_instant
from app.settings import Settings

Result = TypeVar("Result")
ROWS_AT_A_TIME = 1000
"""Rows held in memory while streaming."""
_NEWER = "needs a new journal entry"
"""What the triggers say (migrations/triggers.py)."""
SQLITE_WAITS = 15
"""Seconds that a writer waits for another before it gives up."""
GIVES_UP_AFTER = 15
"""Seconds after which nothing is tried again for which somebody else holds what it needs: each try has waited by itself."""
_NEXT_TRY = 0.0005
_ENDED_AMID: Final = ("25P03", "25P04")
"""PostgreSQL has ended the connection because a transaction idled or lasted for longer than it was told to allow, as where this machine stood still."""
_FEW_BYTES = 65_536
"""Up to which size it does not matter that PostgreSQL does not know what is in a table."""
# Of one that it has never looked at it says that it has -1 rows (since PostgreSQL 14).
_NEVER_LOOKED_AT = text(
    "SELECT relname FROM pg_class WHERE oid IN (SELECT to_regclass(quote_ident(name)) FROM unnest(CAST(:names AS text[])) AS named(name))"
    " AND reltuples < 0 AND pg_relation_size(oid) > :few ORDER BY relname"
)
_THEIR_CLOCK = select(func.clock_timestamp())
_PENS: dict[str, "Pen"] = {}
IN_UTF_8: Final = {"client_encoding": "UTF8"}
"""How everybody speaks with PostgreSQL, whatever PGCLIENTENCODING, its role or its database say: the hot paths send bytes as they are."""


class BeginAnew(Exception):
    """What a transaction goes by has changed since it was read: it is to be begun anew."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant, kept as whole microseconds since 1970: exact and sortable alike on both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else stored_instant(value)


def same_document(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same one. Python takes true for 1."""
    if one != other or isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, dict):
        return all(same_document(part, other[name]) for name, part in one.items())
    return not isinstance(one, list) or all(map(same_document, one, other))


class _Json(JSON):
    def compare_values(self, x: Any, y: Any) -> bool:
        return same_document(x, y)


# One name for a document column: JSONB where it can be indexed and searched, JSON text elsewhere.
Document = _Json().with_variant(postgresql.JSONB(), "postgresql")
# Byte order, whatever the locale: a merge of two sorted streams must see the order that Python sees.
ByteText = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only where the key is called INTEGER.
Number = BigInteger().with_variant(Integer(), "sqlite")


def new_id() -> str:
    """A UUIDv7 as text: opaque, and close together on disk when made close together in time."""
    return str(uuid7())


def configure(app: Flask, settings: Settings) -> None:
    """Join the engine to the application and teach it our two databases."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    sqlite = settings.database_url.startswith("sqlite")
    ways: dict[str, Any] = (
        {"connect_args": {"timeout": SQLITE_WAITS}}
        if sqlite
        # No column is an hstore, which the first connection of each process would else look for: a third of what it takes.
        else {"connect_args": to_postgresql(settings.database_url), "pool_pre_ping": True, "use_native_hstore": False}
    )
    # What fails is logged, and nobody is to read there what a statement would have written of somebody.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {**ways, "pool_size": 20, "max_overflow": 20, "hide_parameters": True}
    db.init_app(app)
    with app.app_context():
        if sqlite:
            _teach_sqlite(db.engine)
        elif not event.contains(db.engine, "connect", _on_connect_postgresql):
            event.listen(db.engine, "connect", _on_connect_postgresql)


def to_postgresql(url: str) -> dict[str, int | str]:
    """How every connection to PostgreSQL is opened, but for what the URL says itself: a host that is not there, or is gone, is noticed (libpq's manual §34.1.2).

    Linux would go on for a quarter of an hour.
    """
    ways = {"connect_timeout": 5, "tcp_user_timeout": 30_000, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}
    said = make_url(url).query
    return {**{name: value for name, value in ways.items() if name not in said}, **IN_UTF_8}


def _on_connect_postgresql(connection: Any, _record: object) -> None:
    # Compiling a query to machine code costs a second before the first row of a plan, and saves less than that.
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")
        # A database may have another by default. Whoever counts once more under a lock has to see what was committed while they waited for it.
        cursor.execute("SET default_transaction_isolation = 'read committed'")
    connection.commit()


def wait_at_most(engine: Engine, seconds: float) -> None:
    """On PostgreSQL, connections of this engine wait no longer than this for a row that somebody else holds; on SQLite none does anyway."""
    if engine.dialect.name != "postgresql":
        return

    def limit(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(seconds * 1000)}")
        connection.commit()

    event.listen(engine, "connect", limit)
    # Those that were opened before know nothing of it.
    engine.dispose()


def _teach_sqlite(engine: Engine) -> None:
    if event.contains(engine, "connect", _on_connect):
        return
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    # SQLite makes its file for everybody to read, and the -wal as that is. Changed by its name: to close a file that SQLite has open ends its locks.
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    with suppress(OSError):
        if os.stat(file).st_size == 0 and os.stat(file).st_mode & 0o004:
            os.chmod(file, 0o600)
    # The driver's own BEGIN comes too late for BEGIN IMMEDIATE; we say it ourselves in _on_begin.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={SQLITE_WAITS * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail with "database is locked" when
    # another wrote in between; taking the write lock at once makes it wait instead.
    writes = not connection.get_execution_options().get("doorlist_reads", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction() -> Iterator[Session]:
    """One write transaction: everything in it is committed together, or nothing is."""
    with pen(db.engine), Session(db.engine, expire_on_commit=False) as session, session.begin():
        yield session


class Pen:
    """The right to write to one SQLite file: one thread of a process at a time, and one process.

    Processes take turns: whoever is next stands in the door, so that none whose threads write one after the other keeps the others waiting.
    """

    def __init__(self, path: str) -> None:
        self._threads = threading.Lock()
        self._file, self._door = _lockable(f"{path}-pen"), _lockable(f"{path}-pen-next")

    def take(self, until: float) -> bool:
        """Whether it was free in time. What a process held is free again when it has died."""
        if not self._threads.acquire(timeout=max(0.0, until - time.monotonic())):
            return False
        had = False
        if _locked(self._door, until):
            had = _locked(self._file, until)
            _unlock(self._door)
        if not had:
            self._threads.release()
        return had

    def give_back(self) -> None:
        _unlock(self._file)
        self._threads.release()

    def close(self) -> None:
        """Nobody here writes to that file any more."""
        for file in (self._file, self._door):
            if file is not None:
                os.close(file)
        self._file = self._door = None


def _lockable(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # SQLite will say what is wrong with the place, better than we could.
        return None


def _locked(file: int | None, until: float) -> bool:
    """Whether it could be locked in time; what could not be opened is nobody's."""
    while file is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_NEXT_TRY)
        else:
            break
    return True


def _unlock(file: int | None) -> None:
    if file is not None:
        fcntl.flock(file, fcntl.LOCK_UN)


def pen_of(engine: Engine) -> Pen | None:
    """The pen of a SQLite file; None for what is none."""
    path = engine.engine.url.database if engine.dialect.name == "sqlite" else None
    if not path:
        return None
    # Two threads may both make the first one; only one is kept.
    return _PENS.get(path) or _PENS.setdefault(path, Pen(path))


@contextmanager
def pen(engine: Engine) -> Iterator[None]:
    """Let everybody write to SQLite one after the other, as it would have it anyway.

    Who waits here is on within half a millisecond; in SQLite itself they would sleep for up to 100 ms between two tries.
    Nobody is kept out when the wait is too long: who holds the file in another way is met there.
    """
    mine = pen_of(engine)
    if mine is None:
        yield
        return
    had = mine.take(time.monotonic() + SQLITE_WAITS)
    try:
        yield
    finally:
        if had:
            mine.give_back()


def reading_engine() -> Engine:
    """The engine for transactions that only read. Where a session is needed use `reading`, for single questions `asking`."""
    kept = current_app.extensions
    if "doorlist_reads" not in kept:
        kept["doorlist_reads"] = db.engine.execution_options(doorlist_reads=True)
    engine: Engine = kept["doorlist_reads"]
    return engine


@contextmanager
def asking() -> Iterator[Connection]:
    """A connection for single questions, each of which sees what is committed when it is asked.

    On PostgreSQL, where they would see no more in a transaction, none is begun: to begin one and to end it takes as long as two questions.
    """
    kept = current_app.extensions
    if "doorlist_asks" not in kept:
        alone = {"isolation_level": "AUTOCOMMIT"} if db.engine.dialect.name == "postgresql" else {}
        kept["doorlist_asks"] = reading_engine().execution_options(**alone)
    engine: Engine = kept["doorlist_asks"]
    with engine.connect() as connection:
        yield connection


@contextmanager
def reading() -> Iterator[Session]:
    """A transaction that only reads, and takes no write lock."""
    with Session(reading_engine(), autoflush=False, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def one_moment() -> Iterator[Session]:
    """A transaction that only reads and sees one moment all through, however long it takes: else what it reads first would not fit the rest."""
    with reading() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def clocks_apart(session: Session | Connection) -> timedelta:
    """How far the clock of PostgreSQL, which machines share, is ahead of this one's; a file is on one machine."""
    connection = session if isinstance(session, Connection) else session.connection()
    if connection.dialect.name != "postgresql":
        return timedelta()
    theirs: datetime = connection.scalars(_THEIR_CLOCK).one()
    return theirs - now()


def look_at(session: Session, *tables: type[Base]) -> None:
    """Let PostgreSQL see what is in tables that have just been filled.

    By itself it looks a minute later. Until then it takes every condition for a rare one, and may read a whole table for each of its rows.
    SQLite plans without having looked.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        _analyze(connection, [table.__tablename__ for table in tables])


def look_at_what_is_new(session: Session) -> None:
    """PostgreSQL: the same of every table that it has never looked at and that somebody, such as a directory that pushes, has filled meanwhile.

    Asked now and then it costs a look at the sizes of those tables, and nothing once they have been looked at.
    """
    connection = session.connection()
    found = connection.execute(_NEVER_LOOKED_AT, {"names": sorted(Base.metadata.tables), "few": _FEW_BYTES}).scalars().all()
    if found:
        _analyze(connection, found)


def _analyze(connection: Connection, names: Iterable[str]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    connection.exec_driver_sql(f"ANALYZE {', '.join(quote(name) for name in names)}")


def in_transaction(act: Callable[[Session], Result], *, attempts: int = 6) -> Result:
    """Run `act` in one transaction, again where the database asks for it (deadlock, serialisation, lock wait), or `act` by BeginAnew.

    Once more, too, where PostgreSQL says that a name or id is taken: whoever took it meanwhile is seen then, as on SQLite.
    `act` must be safe to run again: it only touches the session it is given.
    """
    began, taken = time.monotonic(), 0
    for attempt in range(attempts):
        try:
            with transaction() as session:
                return act(session)
        except (DBAPIError, BeginAnew) as error:
            taken += _state_of(error) == "23505"
            if attempt + 1 == attempts or not _worth_another_try(error, first=taken == 1) or time.monotonic() - began > GIVES_UP_AFTER:
                raise
            time.sleep(random.uniform(0.005, 0.02) * 2**attempt)
    raise AssertionError("unreachable")


def is_read_only(error: BaseException) -> bool:
    """Whether PostgreSQL takes no change just now: it is a standby, or was told to take none."""
    return _state_of(error) == "25006"


def is_away(error: BaseException) -> bool:
    """Whether the database could not be asked, or takes nothing just now, which passes; not that what was asked is wrong."""
    return isinstance(error, InterfaceError | OperationalError) or is_read_only(error) or _state_of(error) in _ENDED_AMID


def _state_of(error: BaseException) -> str | None:
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state


def _worth_another_try(error: DBAPIError | BeginAnew, *, first: bool) -> bool:
    if isinstance(error, BeginAnew):
        return True
    state = _state_of(error)
    amid = state in ("40001", "40P01", "55P03") or (first and state == "23505") or "database is locked" in str(error.orig)
    # The last: another transaction, with a newer journal entry, changed the row between our entry and our change.
    return amid or (state == "P0001" and _NEWER in str(error.orig))
