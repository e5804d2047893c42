"""Databases on PostgreSQL, lent to one test after another: to empty one takes a fraction of the time of making one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import errors, sql

from tests.servers.postgres import DatabaseName, Postgres

Session = psycopg.Connection[tuple[object, ...]]
Shape = list[tuple[object, ...]]

LEFT_WITHIN = 0.2
"""Seconds that a session which was just closed may take to be gone from the server."""

# Whatever changes a schema writes or removes rows of these; what a vacuum does to them in passing is no new row.
_SHAPE = " UNION ALL ".join(
    f"SELECT '{catalogue}', count(*), max(xmin::text::bigint) FROM {catalogue} {only}"
    for catalogue, only in {
        "pg_class": "", "pg_attribute": "", "pg_attrdef": "", "pg_constraint": "", "pg_index": "", "pg_trigger": "", "pg_proc": "",
        "pg_type": "", "pg_namespace": "", "pg_extension": "", "pg_statistic_ext": "",
        "pg_db_role_setting": "WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
        # What ANALYZE has learned of one test's rows would decide how the next one's are looked for.
        "pg_statistic": "WHERE starelid > 16383",
    }.items()
)  # fmt: skip
_WITH_ROWS = """
    SELECT relname::text, pg_relation_size(oid) > 65536 FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0 ORDER BY relname"""
_NUMBERS_ANEW = "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences WHERE last_value IS NOT NULL"
UNGUARDED = "SET LOCAL session_replication_role = replica"
"""Until the transaction ends, nothing that guards rows is asked."""
_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"


@dataclass(frozen=True, kw_only=True)
class _Lent:
    name: DatabaseName
    like: DatabaseName
    shape: Shape
    times: int


@dataclass(kw_only=True)
class LentDatabases:
    """Each is as the one it is like, is nobody else's, and has a name that none had before, so that whatever an earlier test
    has left running finds its database gone.

    It is emptied only when one is wanted again: by then the sessions of the test before have ended. Where they have not, or where that
    test changed the schema, it is left alone and another is made.
    """

    server: Postgres
    times: int
    _desk: Session
    _returned: list[_Lent] = field(default_factory=list)
    _done_with: list[DatabaseName] = field(default_factory=list)
    _rows: dict[DatabaseName, dict[str, bytes]] = field(default_factory=dict)
    """What is in the tables of those that others are like."""

    @contextmanager
    def lent(self, *, like: DatabaseName) -> Iterator[str]:
        """SQLAlchemy's URL of one, for as long as the block lasts. Nobody may be using `like`."""
        database = self._emptied(like) or self._made(like)
        try:
            yield self.server.url(database.name)
        finally:
            self._returned.append(database)

    def _made(self, like: DatabaseName) -> _Lent:
        self._drop_what_is_done_with()
        name = self.server.create(like=like)
        with self.server.connected(name) as session:
            self._rows[like] = {table: rows_of(session, table) for table in with_rows(session)}
            return _Lent(name=name, like=like, shape=_shape_of(session), times=1)

    def _emptied(self, like: DatabaseName) -> _Lent | None:
        for database in [returned for returned in self._returned if returned.like == like]:
            self._returned.remove(database)
            name = database.name
            with suppress(errors.ObjectInUse):
                if self._is_left(name) and database.times < self.times:
                    name = self.server.renamed(name, by=self._desk)
                    with self.server.connected(name) as session, session.transaction():
                        if _shape_of(session) == database.shape:
                            has_new_files = self._empty(session, kept=self._rows[like])
                            shape = _shape_of(session) if has_new_files else database.shape
                            return _Lent(name=name, like=like, shape=shape, times=database.times + 1)
            self._done_with.append(name)
        return None

    def _empty(self, session: Session, *, kept: dict[str, bytes]) -> bool:
        """Whether that needed new files: to truncate a table makes some for each of its indexes, and takes longer than to delete a few rows."""
        tables = {table: is_large for table, is_large in with_rows(session).items() if table not in kept}
        large = [sql.Identifier(table) for table, is_large in tables.items() if is_large]
        small = [sql.SQL("DELETE FROM {}").format(sql.Identifier(table)) for table, is_large in tables.items() if not is_large]
        # All of them go, so whatever refers to a row goes with it, and nothing that guards rows is asked.
        session.execute(sql.SQL("; ").join([sql.SQL(UNGUARDED), *small]))
        if large:
            session.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(large)))
        for table, rows in kept.items():
            if rows_of(session, table) != rows:
                fill(session, table, rows)
        session.execute(_NUMBERS_ANEW)
        return bool(large)

    def _is_left(self, name: DatabaseName) -> bool:
        deadline = time.monotonic() + LEFT_WITHIN
        while self._sessions_in(name):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _drop_what_is_done_with(self) -> None:
        """Those that nobody is in any more: cutting a session off might let a thread of another test fail loudly."""
        for name in list(self._done_with):
            if not self._sessions_in(name):
                with suppress(errors.ObjectInUse):
                    self._desk.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
                    self._done_with.remove(name)

    def _sessions_in(self, name: DatabaseName) -> int:
        return len(self._desk.execute(_SESSIONS, [name]).fetchall())


@contextmanager
def lending(server: Postgres, *, times: int = 100) -> Iterator[LentDatabases]:
    """`times`: how often one is lent. Emptying leaves dead rows behind, in PostgreSQL's own catalogue too, so none may grow too old."""
    with server.connected() as desk:
        yield LentDatabases(server=server, times=times, _desk=desk)


def _shape_of(session: Session) -> Shape:
    return session.execute(_SHAPE).fetchall()


def with_rows(session: Session) -> dict[str, bool]:
    """The tables that hold or held something, and whether that is much."""
    return {str(table): bool(is_large) for table, is_large in session.execute(_WITH_ROWS)}


def rows_of(session: Session, table: str) -> bytes:
    with session.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
        return b"".join(bytes(part) for part in copy)


def fill(session: Session, table: str, rows: bytes) -> None:
    """Leave these in the table and no others. Nothing that guards rows may be asked."""
    session.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    with session.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
        copy.write(rows)
