"""How much a database does for an act, counted and not timed: rows read on PostgreSQL, steps of the virtual machine on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, NullPool, bindparam, create_engine, event, text

from tests.waiting import until

Count = Callable[[Callable[[], object]], int]
EVERY = 10
"""Steps of SQLite between two calls of the handler that counts them."""

# What indexes gave counts as read, whether or not the row itself was looked at.
_READ = text(
    "SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables) + (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes)"
)
_THERE = text("SELECT count(*) FROM pg_stat_activity WHERE pid IN :pids").bindparams(bindparam("pids", expanding=True))


@contextmanager
def work_counted(engine: Engine) -> Iterator[Count]:
    """Gives what counts the work of an act. Every connection of the engine is opened anew for it."""
    with (_rows_read if engine.dialect.name == "postgresql" else _steps)(engine) as count:
        yield count


@contextmanager
def _steps(engine: Engine) -> Iterator[Count]:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += EVERY
        return 0

    def watch(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(step, EVERY)

    def count(act: Callable[[], object]) -> int:
        before = steps
        act()
        return steps - before

    engine.dispose()
    event.listen(engine, "connect", watch)
    try:
        yield count
    finally:
        event.remove(engine, "connect", watch)
        engine.dispose()


@contextmanager
def _rows_read(engine: Engine) -> Iterator[Count]:
    """A server process tells what it has read when it ends, at the latest: so all of them end before it is asked."""
    beside, pids = create_engine(engine.url, poolclass=NullPool), list[int]()

    def note(connection: Any, _record: object) -> None:
        pids.append(connection.info.backend_pid)

    def read() -> int:
        engine.dispose()
        assert until(lambda: not pids or not _scalar(beside, _THERE, pids=pids), within=30)
        return _scalar(beside, _READ)

    def count(act: Callable[[], object]) -> int:
        before = read()
        act()
        return read() - before

    engine.dispose()
    event.listen(engine, "connect", note)
    try:
        yield count
    finally:
        event.remove(engine, "connect", note)


def _scalar(engine: Engine, query: Any, **values: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(query, values).scalar_one())
